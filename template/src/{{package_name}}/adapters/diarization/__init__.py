"""Providers of diarization; each module is one kind."""

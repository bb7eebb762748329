"""Providers of text generation; each module is one kind."""

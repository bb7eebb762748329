"""Providers of text generation; each module is one kind, except those that begin with `_`."""

"""One module per object: its settings section and its FEATURE. Every module here is discovered."""

"""Commands, one module per object."""

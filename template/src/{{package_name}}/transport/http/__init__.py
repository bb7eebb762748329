"""HTTP routes, one module per object."""

"""An object-service: outside providers behind ports, in layers."""

"""What the service calls: one folder per port, one module per kind of provider."""

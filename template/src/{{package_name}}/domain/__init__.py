"""What the service is about: value objects, ports and behaviour policy. Pure."""

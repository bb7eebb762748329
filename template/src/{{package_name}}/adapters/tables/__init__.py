"""Tables of the service; each module has those of one resource."""

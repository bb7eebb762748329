"""Optional abilities of the service. Every module here that defines FEATURE is discovered, like those in wiring."""

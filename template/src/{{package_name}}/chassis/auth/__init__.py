"""Authentication: who calls, by API keys of the service's own and by whatever capabilities add."""

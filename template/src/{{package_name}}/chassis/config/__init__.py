"""Settings: read from many places, checked all at once, shown with their sources."""

"""The unit tests of the chassis; folders mirror those of the chassis."""

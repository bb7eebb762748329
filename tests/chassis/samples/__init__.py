"""A small service that only exists for the tests of the chassis."""

"""No kind."""

raise AssertionError

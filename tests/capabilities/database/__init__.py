"""Tests of the capability `database`."""

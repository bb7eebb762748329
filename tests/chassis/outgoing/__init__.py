"""Tests of what is fetched for callers."""

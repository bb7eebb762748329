"""Tests of `chassis/web`."""

"""Tests of `chassis/cli`."""

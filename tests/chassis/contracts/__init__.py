"""Tests of `chassis/contracts`."""

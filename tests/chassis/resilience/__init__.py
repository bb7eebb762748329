"""Tests of `chassis/resilience`."""

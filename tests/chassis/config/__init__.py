"""Tests of `chassis/config`."""

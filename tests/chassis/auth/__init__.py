"""Tests of `chassis/auth`."""

"""Tests of `chassis.openapi`."""

"""Tests of `capabilities/oidc`."""

"""Stub: a kind that two objects have."""

from chassis.samples.kinds.stub import KIND

__all__ = ["KIND"]

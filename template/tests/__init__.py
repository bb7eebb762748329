"""Tests: of the owner's code beside it, of every provider in `conformance`, and proofs of what is promised."""

"""The chain: each file leads from the tables of the one before to its own."""

"""Migrations of the jobs, in a chain of their own."""

"""Migrations of the template's own tables, and the environment in which all migrations run."""

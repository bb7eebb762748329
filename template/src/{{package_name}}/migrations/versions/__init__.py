"""The files of your chain; each leads from the tables of the one before to its own."""

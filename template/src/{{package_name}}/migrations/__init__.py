"""Your migrations: the line of changes of your tables."""

"""The command line: commands that every service has, and the session that commands of objects use."""

"""Errors: what ends a command with one sentence instead of a traceback."""


class RefusedError(Exception):
    """The command cannot be done; the text says what was found, what is expected and what to do."""

"""Problem: one thing wrong with the settings, said without the value that is wrong."""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Problem:
    """What was expected of a variable, where its value came from, and what to do."""

    variable: str
    source: str
    expected: str
    fix: str = "correct it or remove it"

    def __str__(self) -> str:
        """Return one line for a person."""
        return f"{self.variable} ({self.source}): expected {self.expected}; {self.fix}"


@dataclass(frozen=True, slots=True)
class Contradiction:
    """Values that are right one by one and wrong together; `field` is the path below the section."""

    field: tuple[str, ...]
    expected: str
    fix: str = "correct it or remove it"


class ConfigurationError(Exception):
    """The settings cannot be used; carries every problem found, not just the first."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        """Keep the problems, ordered by variable."""
        self.problems = tuple(sorted(problems, key=lambda problem: problem.variable))
        super().__init__(str(self))

    def __str__(self) -> str:
        """Return the whole report, a line per problem."""
        count = len(self.problems)
        head = f"configuration: {count} problem{'' if count == 1 else 's'}"
        return "\n".join([head, *(str(problem) for problem in self.problems)])

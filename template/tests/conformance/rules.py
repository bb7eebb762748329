"""Rules: what a provider has to do. Each is a check with a code, a title, a reason and a way to mend it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from enum import Enum, IntEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.conformance.bench import Bench

type Check = Callable[[Bench], Awaitable[None]]


class Tier(IntEnum):
    """How far a provider claims to be; what it claims is checked with every other test."""

    WORKS = 1
    """It answers: fit for trying it out."""
    ROBUST = 2
    """It fails as the pipeline expects: fit for traffic."""
    PRODUCTION = 3
    """It is documented and complete: fit for being left alone."""

    @property
    def word(self) -> str:
        """Return the name as people read it."""
        return self.name.lower()


class Capability(Enum):
    """What a provider has beyond its port's first method; found by looking at it, never claimed.

    The value says what a provider with it does.
    """

    NETWORK = "reaches a vendor over HTTP: its kind is not offline"
    STREAMS = "answers in pieces: it has an operation that returns a stream"
    LONG_RUNNING = "works after the call has returned: it has operations that read and cancel a job"
    PRICED = "costs money that can be calculated: its settings have a `price`"


class ShortfallError(AssertionError):
    """A provider does not do what a rule says."""


def expect(condition: object, message: str) -> None:
    """Raise unless the condition holds; the message says what happened instead.

    Raises:
        ShortfallError: with the message.
    """
    if not condition:
        raise ShortfallError(message)


@dataclass(frozen=True, slots=True)
class Rule:
    """One line of the checklist; `needs` are the capabilities without which it says nothing."""

    code: str
    tier: Tier
    title: str
    why: str
    fix: str
    check: Check
    needs: frozenset[Capability] = frozenset()


RULES: dict[str, Rule] = {}
"""Every rule by its code, in the order of the checklist; `catalogue` fills it."""


def add(rule: Rule) -> None:
    """Take a rule into the checklist.

    Raises:
        ValueError: if its code is taken, or it lacks a word.
    """
    if rule.code in RULES:
        message = f"two rules have the code {rule.code}"
        raise ValueError(message)
    if not all((rule.title, rule.why, rule.fix)):
        message = f"{rule.code} needs a title, a reason and a fix"
        raise ValueError(message)
    RULES[rule.code] = rule


def rule(code: str, tier: Tier, title: str, *needs: Capability, why: str, fix: str) -> Callable[[Check], Check]:
    """Make a check a rule."""

    def register(check: Check) -> Check:
        add(Rule(code, tier, title, why, fix, check, frozenset(needs)))
        return check

    return register

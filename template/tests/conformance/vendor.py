"""Vendor: what the test of a provider declares about it, so that the kit can play its vendor."""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from tests.conformance.rules import Check, Tier
from tests.conformance.server import Answer

__all__ = ["Answer", "Exchange", "Own", "Tier", "Vendor"]

_FEWEST_WORDS = 3


@dataclass(frozen=True, slots=True)
class Exchange:
    """One request to the vendor and its good answer.

    `path` is relative to the base URL; a `*` in it stands for anything. `body` is the JSON of the answer, or a function
    that returns it for a base URL; None: the provider does not read the body. `events` are the blocks of a streamed
    answer, each with its `data:` (and `event:`) lines.
    """

    method: str
    path: str
    body: object | Callable[[str], object] = None
    status: int = 200
    events: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class Own:
    """A check of your own in place of a rule's, and the reason for it."""

    check: Check
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Vendor:
    """A provider as the kit meets it; `VENDOR` of its test module.

    `settings`: what the kind needs beside base URL and key; for a kind without these, a function of the base URL.
    `exchanges`: for each operation of the port the requests of one call, in order. `quota`: how the vendor says that
    what was paid for is used up. `tier`: how far the provider claims to be; rules above it are open, not failing.
    `exempt`: rules that do not hold, by code, each with a reason; `own`: checks that replace those of rules.
    """

    settings: Mapping[str, Any] | Callable[[str], Mapping[str, Any]] = field(default_factory=dict)
    exchanges: Mapping[str, Sequence[Exchange]] = field(default_factory=dict)
    quota: Answer | None = None
    tier: Tier = Tier.WORKS
    exempt: Mapping[str, str] = field(default_factory=dict)
    own: Mapping[str, Own] = field(default_factory=dict)

    def values(self, base_url: str, key: str, known: Collection[str]) -> dict[str, Any]:
        """Return the settings at a base URL; URL and key only where the kind has such fields among the `known`."""
        own = self.settings(base_url) if callable(self.settings) else self.settings
        common = {"base_url": base_url, "api_key": key}
        return {**{name: value for name, value in common.items() if name in known}, **own}

    def __post_init__(self) -> None:
        """Refuse rules that do not exist, and exemptions without a reason.

        Raises:
            ValueError: naming the rule.
        """
        from tests.conformance.catalogue import RULES  # noqa: PLC0415 - the rules know this module

        reasons = {**self.exempt, **{code: own.reason for code, own in self.own.items()}}
        for code, reason in reasons.items():
            if code not in RULES:
                message = f"there is no rule {code!r}; the codes are {', '.join(RULES)}"
                raise ValueError(message)
            if len(reason.split()) < _FEWEST_WORDS:
                message = f"{code}: setting a rule aside needs a reason in words, such as 'the vendor has no quota'"
                raise ValueError(message)
        both = sorted(set(self.exempt) & set(self.own))
        if both:
            message = f"{', '.join(both)}: either exempt or checked in a way of its own, not both"
            raise ValueError(message)

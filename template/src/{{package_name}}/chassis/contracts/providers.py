"""Providers: the configured instances of one port, chosen by name."""

import difflib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from .errors import RequestError

MAX_SHOWN_CHARS = 64
"""Longest part of a name that a message repeats."""


def nearest(name: str, known: Iterable[str]) -> str | None:
    """Return the known name that looks most like `name`, or None when none is near."""
    near = difflib.get_close_matches(name[:MAX_SHOWN_CHARS], list(known), n=1)
    return near[0] if near else None


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Return ` Did you mean 'x'?` for the nearest known name, or nothing."""
    near = nearest(name, known)
    return f" Did you mean {near!r}?" if near else ""


@dataclass(frozen=True, slots=True)
class Provider[P]:
    """One configured instance of a kind, behind its pipeline."""

    name: str
    kind: str
    port: P


@dataclass(frozen=True, slots=True)
class Providers[P]:
    """All instances that a request may name; `default` is the selected one."""

    default: str
    by_name: Mapping[str, Provider[P]]

    def choose(self, name: str | None, above: str = "") -> Provider[P]:
        """Return the named instance, or the selected one for None; `above` is the pointer of the request.

        Raises:
            RequestError: `unknown_provider`, naming the nearest and all available ones.
        """
        provider = self.by_name.get(self.default if name is None else name)
        if provider is None:
            asked = str(name)[:MAX_SHOWN_CHARS]
            message = f"No provider named {asked!r}.{did_you_mean(asked, self.by_name)}"
            message += f" Available: {', '.join(sorted(self.by_name))}."
            raise RequestError(message, code="unknown_provider", pointer=f"{above}/provider")
        return provider

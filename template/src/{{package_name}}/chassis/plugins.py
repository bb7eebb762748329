"""Plug-ins: kinds of provider that other installed packages bring, found by their entry points.

The group is `<package>.<object>`, the name is the kind, and the value a module that defines `KIND`, or `KIND` itself.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.metadata import EntryPoint, entry_points

from .config.section import Problem
from .identity import PACKAGE

_NAME = re.compile(r"[a-z][a-z0-9]*(_[a-z0-9]+)*")


class PluginError(ImportError):
    """A plug-in is installed and cannot be used."""


@dataclass(frozen=True, slots=True)
class Plugin:
    """One kind of an installed package; nothing of it is imported yet."""

    entry: EntryPoint

    @property
    def place(self) -> str:
        """Say where it comes from."""
        package = self.entry.dist.name if self.entry.dist is not None else "unknown"
        return f"{self.entry.value} of the package {package}"

    def load(self) -> object:
        """Import it and return what should be a kind.

        Raises:
            PluginError: if that is not possible, whatever the reason.
        """
        try:
            loaded = self.entry.load()
        except Exception as error:
            message = f"{self.place} cannot be imported ({type(error).__name__}: {error})"
            raise PluginError(message) from error
        return getattr(loaded, "KIND", loaded)


@cache
def _installed() -> Sequence[EntryPoint]:
    """Read the entry points of all packages, once for all objects: 4 ms with 57 packages."""
    return [entry for entry in entry_points() if entry.group.startswith(f"{PACKAGE}.")]


def find_plugins(object_: str, own: Mapping[str, str]) -> tuple[dict[str, Plugin], list[Problem]]:
    """Return the plug-ins of an object by kind, and what is wrong with those that cannot be told apart or named.

    `own` are the kinds that the service itself has, with their places.
    """
    group = f"{PACKAGE}.{object_}"
    found: dict[str, list[Plugin]] = {}
    for entry in _installed():
        if entry.group == group:
            found.setdefault(entry.name, []).append(Plugin(entry))
    plugins, problems = dict[str, Plugin](), list[Problem]()
    for name, (plugin, *others) in sorted(found.items()):
        taken = [own[name]] if name in own else [other.place for other in others]
        if _NAME.fullmatch(name) is None:
            expected = "a name of lower-case letters and digits, its words joined by single underscores"
        elif taken:
            expected = f"a name of its own; {' and '.join(taken)} has the same"
        else:
            plugins[name] = plugin
            continue
        fix = "rename the entry point or uninstall the package"
        problems.append(Problem(f"entry point {name!r} of {group}", plugin.place, expected, fix))
    return plugins, problems

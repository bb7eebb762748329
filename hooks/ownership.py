"""Ownership: who owns which file of a project, read from the file beside this module."""

import tomllib
from collections.abc import Iterable, Mapping
from enum import StrEnum
from fnmatch import fnmatchcase
from functools import cache
from pathlib import Path

_FILE = Path(__file__).with_name("ownership.toml")


class Owner(StrEnum):
    """Who changes a file."""

    MANAGED = "managed"
    MERGED = "merged"
    GENERATED = "generated"
    SEEDED = "seeded"


@cache
def ownership() -> Mapping[Owner, tuple[str, ...]]:
    """Return the patterns of each owner."""
    told = tomllib.loads(_FILE.read_text(encoding="utf-8"))
    return {owner: tuple(told[owner.value]["paths"]) for owner in Owner}


def owners(path: str) -> list[Owner]:
    """Return whose patterns fit a path: one owner for each file that the template renders, none for the owner's own."""
    return [owner for owner, patterns in ownership().items() if any(fits(path, pattern) for pattern in patterns)]


def owned(paths: Iterable[str], *by: Owner) -> list[str]:
    """Return which of these paths belong to one of these owners, sorted."""
    return sorted(path for path in paths if not {*by}.isdisjoint(owners(path)))


def fits(path: str, pattern: str) -> bool:
    """Return whether a pattern names a path: name by name, a slash at the end stands for everything below."""
    names, wanted = path.split("/"), pattern.removesuffix("/").split("/")
    if pattern.endswith("/"):
        names, deep = names[: len(wanted)], len(names) > len(wanted)
        return deep and _same(names, wanted)
    return _same(names, wanted)


def _same(names: list[str], wanted: list[str]) -> bool:
    return len(names) == len(wanted) and all(map(fnmatchcase, names, wanted))

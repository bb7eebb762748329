"""Fleet: one line per service below a folder: its release, its edits of managed files, what an update would do.

    python hooks/fleet.py FOLDER [--json] [--workers N]

Every folder with an answers file counts, at any depth. No service is touched: each is merged in a copy of its own.
"""

import argparse
import json
import os
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from errors import RefusedError
from project import ANSWERS
from status import Status, status

_NEVER = {".git", ".venv", "node_modules"}


@dataclass(frozen=True, slots=True)
class Service:
    """A service of the fleet: its status, or why it could not be told."""

    name: str
    status: Status | None
    problem: str = ""

    @property
    def result(self) -> str:
        """What an update would come to: `newest`, `clean`, a number of conflicts, or the problem."""
        if self.status is None:
            return f"error: {self.problem}"
        if self.status.report is None:
            return "newest"
        outcome = self.status.report.outcome
        parts = [f"{len(outcome.conflicts)} conflicts"] if outcome.conflicts else ["clean"]
        parts += [f"{len(outcome.taken)} edited files go"] if outcome.taken else []
        return ", ".join(parts)

    def document(self) -> dict[str, Any]:
        """Return the service for programs."""
        told = self.status.document() if self.status else {}
        return {"service": self.name, "result": self.result, **told}

    def row(self) -> tuple[str, ...]:
        """Return the service as a row of the table."""
        if self.status is None:
            return (self.name, "?", "?", "?", self.result)
        return (self.name, self.status.release, str(self.status.behind), str(len(self.status.edited)), self.result)


def main(words: list[str]) -> int:
    """Print the fleet; return 0, or 1 when the status of a service cannot be told."""
    parser = argparse.ArgumentParser(prog="fleet", allow_abbrev=False, description="The services below a folder.")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--json", action="store_true", help="print a document")
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1, help="services looked at side by side")
    asked = parser.parse_args(words)
    top = asked.folder.resolve()
    folders = sorted(services(top))
    if not folders:
        print(f"error: no folder below {asked.folder} has a {ANSWERS}", file=sys.stderr)
        return 2
    with ThreadPoolExecutor(max(1, asked.workers)) as workers:
        fleet = list(workers.map(lambda folder: look(folder, top), folders))
    if asked.json:
        print(json.dumps([service.document() for service in fleet], indent=2))
    else:
        print(
            *_table([("service", "release", "behind", "edited", "update"), *(service.row() for service in fleet)]),
            sep="\n",
        )
    return 1 if any(service.status is None for service in fleet) else 0


def services(folder: Path) -> Iterator[Path]:
    """Yield the folders with an answers file; none lies inside another one's."""
    for path, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if name not in _NEVER]
        if ANSWERS in names:
            folders.clear()
            yield Path(path)


def look(folder: Path, top: Path) -> Service:
    """Return a service of the fleet, whatever state it is in."""
    name = folder.relative_to(top).as_posix()
    try:
        return Service(name, status(folder, []))
    except (RefusedError, OSError, ValueError) as error:
        return Service(name, None, (str(error) or type(error).__name__).splitlines()[0])


def _table(rows: list[tuple[str, ...]]) -> list[str]:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return ["  ".join(map(str.ljust, row, widths)).rstrip() for row in rows]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

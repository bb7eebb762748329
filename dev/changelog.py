"""Changelog: keeps a record of managed files, so that none changes without a word to those who run services.

    python3 dev/changelog.py [--unseen REASON]

Managed are the files that updates change in every service. The record holds their digests, and that of the newest
section of the changelog; it is only renewed when that section changed too.
"""

import argparse
import hashlib
import re
import sys
from collections.abc import Collection
from dataclasses import dataclass, field
from pathlib import Path

from sources import managed, named, on_disk
from tools import ROOT

RECORD = "dev/managed.txt"
_PAGE = "CHANGELOG.md"
_HEAD = "# Managed files as the changelog knows them. `python3 dev/changelog.py` writes this file; nobody edits it.\n"
_UNSEEN = "# unseen: "
_LINE = re.compile(r"^([0-9a-f]{12})  (\S.*)$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Record:
    """What was written about managed files, and when.

    Attributes:
        version: The release that the newest section of the changelog is about; empty without one.
        section: The digest of that section.
        files: The digest of each managed file, by its path.
        unseen: Why files changed of which that section says nothing.
    """

    version: str = ""
    section: str = ""
    files: dict[str, str] = field(default_factory=dict)
    unseen: tuple[str, ...] = ()

    def text(self) -> str:
        """Return the record as it is kept."""
        entries = {f"{_PAGE} {self.version}": self.section, **self.files}
        reasons = "".join(f"{_UNSEEN}{reason}\n" for reason in self.unseen)
        return _HEAD + reasons + "".join(f"{digest}  {path}\n" for path, digest in sorted(entries.items()))

    def differences(self, other: "Record") -> list[str]:
        """Return the paths that came, changed or went between two records, sorted."""
        ours, theirs = (record.files | {_PAGE: record.section + record.version} for record in (self, other))
        return sorted(path for path in ours.keys() | theirs.keys() if ours.get(path) != theirs.get(path))


def sections(root: Path) -> dict[str, str]:
    """Return what the changelog says of each version, in the order of the page."""
    parts = re.split(r"^## (.+)\n", (root / _PAGE).read_text(encoding="utf-8"), flags=re.MULTILINE)
    return dict(zip(parts[1::2], map(str.strip, parts[2::2]), strict=True))


def recorded(root: Path) -> Record | None:
    """Return the record as it was committed; None when there is none."""
    path = root / RECORD
    if not path.exists():
        return None
    text = path.read_text(encoding="utf-8")
    files = {name: digest for digest, name in _LINE.findall(text)}
    versions = {name: files.pop(name) for name in list(files) if name.startswith(f"{_PAGE} ")}
    (title, section) = next(iter(versions.items()), ("", ""))
    reasons = (line.removeprefix(_UNSEEN) for line in text.splitlines() if line.startswith(_UNSEEN))
    return Record(title.removeprefix(f"{_PAGE} "), section, files, tuple(reasons))


def found(root: Path) -> Record:
    """Return the record of what lies on disk."""
    version, said = next(iter(sections(root).items()), ("", ""))
    files = {path: digest[:12] for path, digest in managed(on_disk(root)).items()}
    return Record(version, hashlib.sha256(said.encode()).hexdigest()[:12], files)


def refusal(before: Record, now: Record, closed: Collection[str]) -> str:
    """Return why a record must not be renewed, empty when it may be.

    Args:
        before: The record as it was committed.
        now: The one of what lies on disk.
        closed: The versions that are released: nothing is added to what was said of them.
    """
    changed = [path for path in before.differences(now) if path != _PAGE]
    if not changed:
        return ""
    ways = 'or give a reason why no user sees it: python3 dev/changelog.py --unseen "REASON"'
    named = f"{len(changed)} managed files changed ({', '.join(changed[:5])}{', ...' if len(changed) > 5 else ''})"  # noqa: PLR2004 - as many as fit a line
    if now.version in closed:
        return f"{named}, and {now.version} is released: begin the next section of {_PAGE}, {ways}"
    if (before.version, before.section) == (now.version, now.section):
        return f"{named}, and the newest section of {_PAGE} did not: say there what a user notices, {ways}"
    return ""


def main(words: list[str]) -> int:
    """Renew the record and return 0, or say why not and return 1."""
    parser = argparse.ArgumentParser(prog="changelog", allow_abbrev=False, description="Renews the record.")
    parser.add_argument("--unseen", metavar="REASON", help="why no user of a service sees what changed; it is kept")
    reason = parser.parse_args(words).unseen
    before, now = recorded(ROOT), found(ROOT)
    reasons = before.unseen if before and before.version == now.version else ()
    if before and not reason and (refused := refusal(before, now, named(ROOT))):
        print(f"error: {refused}", file=sys.stderr)
        return 1
    kept = (*reasons, " ".join(reason.split())) if reason else reasons
    (ROOT / RECORD).write_text(Record(now.version, now.section, now.files, kept).text(), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

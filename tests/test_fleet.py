"""Fleet: one line for each of many services, whatever state they are in."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from releases import LATER, NEXT, begin
from rendering import DEFAULT, Workshop, git, run
from test_update_commands import edit, edit_beside
from tools import ROOT

PROGRAM = str(ROOT / "hooks" / "fleet.py")
TABLE = f"""\
service        release  behind  edited  update
broken         ?        ?       ?       error: Nothing is committed yet: git add -A && git commit
clean          v{NEXT}   1       0       clean
conflicting    v{NEXT}   1       1       1 conflicts
deep/down/new  v{LATER}  0       0       newest
"""


@pytest.fixture(scope="module")
def folder(workshop: Workshop, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with services of every kind."""
    folder = tmp_path_factory.mktemp("fleet")
    begin(workshop, folder / "clean", NEXT, DEFAULT)
    edit(folder / "clean", "README.md")
    begin(workshop, folder / "conflicting", NEXT, DEFAULT)
    edit_beside(folder / "conflicting")
    begin(workshop, folder / "deep" / "down" / "new", LATER, DEFAULT)
    (folder / "broken").mkdir()
    (folder / "broken" / ".copier-answers.yml").write_text("_commit: v1\n", encoding="utf-8")
    git(folder / "broken", "init", "--quiet")
    (folder / "no-service").mkdir()
    return folder


def fleet(*words: str) -> subprocess.CompletedProcess[str]:
    """Run the report."""
    return run(ROOT, sys.executable, PROGRAM, *words)


def test_the_table_has_a_line_for_every_service(folder: Path) -> None:
    """Release, releases behind, own edits, result of an update; what cannot be told says why, and the code is 1."""
    done = fleet(str(folder))
    assert (1, TABLE, "") == (done.returncode, done.stdout, done.stderr)
    assert "" == git(folder / "conflicting", "status", "--porcelain").stdout


def test_programs_get_a_document(folder: Path) -> None:
    """The document names the edited files and everything that an update would do."""
    broken, clean, conflicting, new = json.loads(fleet(str(folder), "--json", "--workers=1").stdout)
    assert {"service": "broken", "result": broken["result"]} == broken
    assert (f"v{NEXT}", LATER, 1, {}) == tuple(clean[name] for name in ("release", "newest", "behind", "edited"))
    assert {"mypy.ini": "changed"} == conflicting["edited"]
    assert ["mypy.ini"] == conflicting["update"]["conflicts"]
    assert ("newest", f"v{LATER}") == (new["result"], new["release"])


def test_an_empty_folder_is_said(tmp_path: Path) -> None:
    """A folder without services is a mistake of the caller."""
    done = fleet(str(tmp_path))
    assert (2, "") == (done.returncode, done.stdout)
    assert "has a .copier-answers.yml" in done.stderr

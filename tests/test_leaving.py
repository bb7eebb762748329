"""Leaving: without the answers file everything works as before, and what updated the service can go, too."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from pages import Reader
from rendering import Workshop, commit, git, run
from tools import ROOT, environment, uv

pytestmark = pytest.mark.gate

PAGE = ROOT / "docs" / "how-to" / "leave-the-template.md"
TIDY = "## Take away what has no use\n"
BACK = "## Come back\n"
RECIPES = ("update", "template-status")
GATE = "uv run just lint && uv run just test-unit tests/test_documents.py"
"""What of `just check` could miss the template: the tools, and the tests that read documents and recipes."""
WHO = {
    f"GIT_{role}_{part}": value
    for role in ("AUTHOR", "COMMITTER")
    for part, value in (("NAME", "Reader"), ("EMAIL", "reader@example.org"))
}


@pytest.fixture(scope="module")
def project(workshop: Workshop) -> Path:
    """Return a service under version control, with the jobs of a CI."""
    made = workshop.install({"objects": [], "ci": "github"}, variant="leaving", typed=True)
    git(made, "init", "--quiet", "--initial-branch=main")
    commit(made, "Start from the template")
    return made


@pytest.fixture
def reader(project: Path, tmp_path: Path) -> Iterator[Reader]:
    """Return somebody who has installed the hooks and does what the page says, in a branch that goes in the end."""
    variables = {
        **WHO,
        "PATH": f"{Path(sys.executable).parent}:{environment()['PATH']}",
        "PRE_COMMIT_HOME": str(tmp_path / "hooks"),
    }
    git(project, "switch", "--quiet", "--create", "leaving")
    person = Reader(project, variables, {}, {"uv run just check": GATE})
    person.follow("```bash\nuv run just setup\n```\n")
    yield person
    run(project, str(project / ".venv" / "bin" / "pre-commit"), "uninstall")
    git(project, "switch", "--quiet", "--force", "main")
    git(project, "branch", "--quiet", "-D", "leaving")


def parts() -> tuple[str, str, str]:
    """Return the page: how to leave, what to take away, how to come back."""
    leave, title, rest = PAGE.read_text(encoding="utf-8").partition(TIDY)
    tidy, back, come_back = rest.partition(BACK)
    return leave, title + tidy, back + come_back


def recipe(project: Path, name: str) -> subprocess.CompletedProcess[str]:
    """Run a recipe as the documents say it."""
    return run(project, str(uv()), "run", "--frozen", "just", name)


def change(reader: Reader) -> None:
    """Change a module as an owner does, and commit it, hooks included."""
    module = next((reader.folder / "src").glob("*/__main__.py"))
    module.write_text(f"{module.read_text(encoding='utf-8')}\n# Changed by its owner.\n", encoding="utf-8")
    reader.follow('```bash\ngit commit --quiet --all --message "Change a module"\n```\n')


def test_without_the_answers_everything_works(project: Path, reader: Reader) -> None:
    """The gate is green, a commit passes the hooks, and both recipes say in one line why they do nothing."""
    reader.follow(parts()[0])
    change(reader)
    assert GATE in reader.done
    for name in RECIPES:
        done = recipe(project, name)
        assert (2, "") == (done.returncode, done.stdout)
        (line,) = done.stderr.splitlines()
        assert line.startswith("error: ")
        assert "has no .copier-answers.yml: it was not made by the template, or has left it." in line
    assert "" == git(project, "status", "--porcelain").stdout


def test_what_updated_the_service_can_go_and_come_back(project: Path, reader: Reader) -> None:
    """Nothing names what was taken away, the gate is green, and two commands bring all of it back."""
    leave, tidy, come_back = parts()
    reader.follow(leave.replace("uv run just check\n", ""))
    reader.follow(tidy)
    assert 1 == reader.done.count(GATE)
    change(reader)
    listed = recipe(project, "--list").stdout
    assert [] == [name for name in RECIPES if f"    {name} " in listed]
    assert [] == named(project)
    reader.follow(come_back)
    assert {*RECIPES} == {name for name in RECIPES if f"    {name} " in recipe(project, "--list").stdout}
    changed = git(project, "diff", "--name-only", "main").stdout.splitlines()
    assert ["__main__.py"] == [Path(path).name for path in changed]


def named(project: Path) -> list[str]:
    """Return the lines that still name something that has gone."""
    words = ("template-status", "just update", "ownership.md", ".template ", "copier-answers", "copier check-update")
    options = [option for word in words for option in ("-e", word)]
    return run(project, "git", "grep", "--line-number", "--fixed-strings", *options).stdout.splitlines()

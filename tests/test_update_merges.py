"""Merges of updates: from every release, for every kind of answers, with scripted and random edits of the owner."""

import sys
from pathlib import Path

import pytest

from edits import SCRIPTED, Traces, beside, conflicted, far, lost, object_renamed, scramble
from ownership import Owner, owned
from releases import LATER, NAMED, NEXT, begin, known, rendered
from rendering import DEFAULT, FULLEST, MINIMAL, Answers, Workshop, commit, contents, run
from tools import ROOT

HOOKS = str(ROOT / "hooks")
STEPS = [(version, NEXT) for version in NAMED] + [(NEXT, LATER)]
"""From every release to what lies on disk, and from there to the release that is to come."""
KINDS: dict[str, Answers] = {"default": DEFAULT, "minimal": MINIMAL, "fullest": FULLEST}
CASES = [
    pytest.param(before, after, answers, id=f"{before}-{after}-{kind}")
    for before, after in STEPS
    for kind, answers in KINDS.items()
]
SEEDS = range(4)


def merge(workshop: Workshop, project: Path, step: tuple[str, str], answers: Answers) -> str:
    """Merge an update into a committed project, and return what was said."""
    base, new = (rendered(workshop, version, known(workshop, version, answers)) for version in step)
    done = run(project, sys.executable, HOOKS, "merge", f"--base={base}", f"--new={new}", "--no-check")
    assert done.returncode in (0, 1), done.stderr
    assert bool(done.returncode) == bool(conflicted(project)), done.stdout
    return done.stdout


def grown(workshop: Workshop, target: Path, version: str, answers: Answers) -> tuple[Path, Traces]:
    """Return a committed project with every scripted edit, and their traces."""
    project, traces = begin(workshop, target, version, known(workshop, version, answers)), Traces()
    for edit in SCRIPTED.values():
        edit(project, traces)
    commit(project, "Our work")
    return project, traces


def texts(project: Path) -> dict[str, bytes]:
    """Return the content of every file but the answers, in which the way to the render stands."""
    return {path: text for path, text in contents(project).items() if path != ".copier-answers.yml"}


@pytest.mark.parametrize(("before", "after", "answers"), CASES)
def test_untouched_becomes_a_fresh_render(
    workshop: Workshop, tmp_path: Path, before: str, after: str, answers: Answers
) -> None:
    """Where nothing was edited, an update gives what a new project has."""
    project = begin(workshop, tmp_path / "project", before, known(workshop, before, answers))
    merge(workshop, project, (before, after), answers)
    assert texts(rendered(workshop, after, known(workshop, after, answers))) == texts(project)


@pytest.mark.parametrize(("before", "after", "answers"), CASES)
def test_edits_of_an_owner_survive(
    workshop: Workshop, tmp_path: Path, before: str, after: str, answers: Answers
) -> None:
    """A dependency, a provider, a setting, a route, a service, deleted files, a table: all stay, nothing conflicts."""
    project, traces = grown(workshop, tmp_path / "project", before, answers)
    said = merge(workshop, project, (before, after), answers)
    assert [] == lost(project, traces, said)
    assert allowed(before, traces) >= conflicted(project)


@pytest.mark.gate
@pytest.mark.parametrize(("before", "after", "answers"), [case for case in CASES if case.values[2] is not DEFAULT])
def test_edited_projects_are_clean_after_the_update(
    workshop: Workshop, tmp_path: Path, before: str, after: str, answers: Answers
) -> None:
    """Lint, format and layers hold for the smallest and the fullest answers too, with the edits in them."""
    project, _ = grown(workshop, tmp_path / "project", before, answers)
    merge(workshop, project, (before, after), answers)
    tools = workshop.install(answers) / ".venv" / "bin"
    for words in (("ruff", "check", "."), ("ruff", "format", "--check", "."), ("lint-imports", "--no-cache")):
        done = run(project, str(tools / words[0]), *words[1:], env={"PYTHONPATH": str(project / "src")})
        assert 0 == done.returncode, done.stdout


def allowed(before: str, traces: Traces) -> set[str]:
    """Return the files that may have conflicts: before 1.0 the text of seeded files changes with a minor release."""
    return set(owned(traces.touched, Owner.SEEDED)) if before in NAMED else set()


@pytest.mark.parametrize(("before", "after", "answers"), CASES)
def test_a_renamed_object_stays_renamed(
    workshop: Workshop, tmp_path: Path, before: str, after: str, answers: Answers
) -> None:
    """Files that the owner gave another name stay where they are, and do not come back under the old one."""
    project, traces = begin(workshop, tmp_path / "project", before, known(workshop, before, answers)), Traces()
    object_renamed(project, traces)
    commit(project, "Another name")
    said = merge(workshop, project, (before, after), answers)
    assert [] == lost(project, traces, said)
    assert set() == conflicted(project)


@pytest.mark.parametrize(("before", "after", "answers"), CASES)
def test_an_edit_beside_a_change_conflicts_and_one_far_from_it_does_not(
    workshop: Workshop, tmp_path: Path, before: str, after: str, answers: Answers
) -> None:
    """Of two managed files that the update changes, only the one edited at the same place has a conflict."""
    base, new = (texts(rendered(workshop, version, known(workshop, version, answers))) for version in (before, after))
    changed = [path for path in owned(base.keys() & new.keys(), Owner.MANAGED) if base[path] != new[path]]
    project, traces = begin(workshop, tmp_path / "project", before, known(workshop, before, answers)), Traces()
    known_texts = {path: (base[path].decode(), new[path].decode()) for path in changed}
    apart = next(path for path in changed if far(project, traces, path, *known_texts[path]))
    near = next(path for path in changed if path != apart)
    beside(project, traces, near, *known_texts[near])
    commit(project, "Our edits")
    said = merge(workshop, project, (before, after), answers)
    assert [] == lost(project, traces, said)
    assert {near} == conflicted(project)
    assert f"  {near}\n" in said


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize(("before", "after", "answers"), CASES)
def test_random_edits_survive(
    workshop: Workshop, tmp_path: Path, before: str, after: str, answers: Answers, seed: int
) -> None:
    """Whatever lines and files an owner changes, moves and deletes: none of it is lost."""
    project, traces = begin(workshop, tmp_path / "project", before, known(workshop, before, answers)), Traces()
    scramble(project, traces, seed)
    commit(project, "Our work")
    ours = texts(project)
    said = merge(workshop, project, (before, after), answers)
    assert [] == lost(project, traces, said)
    base, new = (texts(rendered(workshop, version, known(workshop, version, answers))) for version in (before, after))
    assert {path: text for path, text in ours.items() if base.get(path) == new.get(path)}.items() <= texts(
        project
    ).items()
    assert conflicted(project) <= traces.touched | set(said.split())

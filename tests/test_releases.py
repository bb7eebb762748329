"""Releases: their order, the questions that a new one asks, and old ones with the lowest and the newest Copier."""

import re
import sys
import tarfile
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import yaml

from release import may_change_seeded, seeded_changes
from releases import LATER, NAMED, NEXT, known, releases, rendered
from rendering import DEFAULT, FULLEST, Answers, Workshop, contents, files, git, run
from renders import render, version_of
from sources import named
from tools import ROOT, uv
from upgrades import releases as told_releases

VERSIONS = list(dict.fromkeys([*NAMED, NEXT]))
STEPS = [pytest.param(*step, id="-".join(step)) for step in pairwise([*VERSIONS, LATER])]
CHOICES: dict[str, list[Any]] = {
    "capabilities": [FULLEST["capabilities"]],
    "deploy": [["kubernetes"]],
    "ci": ["github", "gitlab"],
}
"""What questions whose default adds nothing could be answered instead."""
EVERYTHING: Answers = {**FULLEST, "ci": "github"}
(LOWEST,) = re.findall(
    r'^_min_copier_version: "(.+)"$', (ROOT / "copier.yml").read_text(encoding="utf-8"), re.MULTILINE
)
(NEWEST,) = re.findall(r'"(copier>.+)"', (ROOT / "pyproject.toml").read_text(encoding="utf-8"))


def test_owners_keep_their_text_until_a_release_may_change_it() -> None:
    """What lies on disk changes seeded files since the last release only when its version allows that."""
    *_, (last, commit) = named(ROOT).items()
    if may_change_seeded(last, NEXT):
        return
    if git(ROOT, "rev-parse", "--is-shallow-repository").stdout.strip() == "true":
        pytest.skip("the last release is not in the history of this checkout: git fetch --unshallow")
    assert [] == seeded_changes(ROOT, commit)


def test_releases_are_named_in_their_order() -> None:
    """Every named release stands in the data of updates, at most one further one is in the making."""
    told = [release.version for release in told_releases(ROOT / "hooks")]
    assert VERSIONS == told
    assert sorted(told, key=version_of) == told


def answers(project: Path) -> dict[str, Any]:
    """Return the stored answers of a project by question: every question that was asked is there."""
    stored = yaml.safe_load((project / ".copier-answers.yml").read_text(encoding="utf-8"))
    return {name: answer for name, answer in stored.items() if not name.startswith("_")}


def told(workshop: Workshop, before: str, after: str) -> dict[str, str]:
    """Return what existing projects are told about the questions between two releases."""
    passed = (version_of(before), version_of(after))
    entries = told_releases(releases(workshop) / "hooks")
    found = (release.answers for release in entries if passed[0] < version_of(release.version) <= passed[1])
    return {name: words for one in found for name, words in one.items()}


@pytest.mark.parametrize(("before", "after"), STEPS)
def test_every_new_question_says_what_existing_projects_get(workshop: Workshop, before: str, after: str) -> None:
    """The questions that a release has and its predecessor has not are those that its data tell of."""
    old, new = (answers(rendered(workshop, version, DEFAULT)) for version in (before, after))
    assert new.keys() - old.keys() == told(workshop, before, after).keys()


@pytest.mark.parametrize(("before", "after"), STEPS)
def test_existing_projects_get_the_default(workshop: Workshop, tmp_path: Path, before: str, after: str) -> None:
    """An update answers a new question with its default; where that is said to be none, no file comes with it."""
    old, new, fresh = rendered(workshop, before, DEFAULT), tmp_path / "new", rendered(workshop, after, DEFAULT)
    render((old / ".copier-answers.yml").read_bytes(), new, f"--vcs-ref=v{after}", cwd=tmp_path)
    assert answers(fresh) == answers(new)
    assert files(fresh).keys() == files(new).keys()
    for name, words in told(workshop, before, after).items():
        if words.startswith("none"):
            assert answers(new)[name] in ("none", [], "")
            choices = [known(workshop, after, {name: choice}) for choice in CHOICES[name]]
            others = [files(rendered(workshop, after, choice)) for choice in choices]
            assert [] == [path for path in files(new) for other in others if path not in other]


def test_a_renamed_question_takes_the_old_answer(workshop: Workshop, tmp_path: Path) -> None:
    """Nobody is asked again for what they said under another name."""
    old = rendered(workshop, NEXT, {"author": "The night shift"})
    render((old / ".copier-answers.yml").read_bytes(), tmp_path / "new", f"--vcs-ref=v{LATER}", cwd=tmp_path)
    assert "The night shift" == answers(tmp_path / "new")["owner"]


@pytest.mark.gate
@pytest.mark.parametrize("version", VERSIONS)
def test_lowest_and_newest_copier_render_the_same(workshop: Workshop, tmp_path: Path, version: str) -> None:
    """Every release renders with the lowest Copier that is supported and with the newest, and to the same files."""
    exported(releases(workshop), version, tmp_path / "template")
    data = [f"--data={name}={value}" for name, value in known(workshop, version, EVERYTHING).items()]
    trees = []
    for requirement in (f"copier=={LOWEST}", NEWEST):
        copier = (str(uv()), "tool", "run", "--quiet", f"--python={sys.executable}", f"--from={requirement}", "copier")
        said = run(tmp_path, *copier, "--version", check=True).stdout
        target = tmp_path / requirement
        run(tmp_path, *copier, "copy", "--quiet", "--defaults", *data, "template", str(target), check=True)
        trees.append(contents(target))
        assert requirement == NEWEST or f"copier {LOWEST}\n" == said
    assert trees[0] == trees[1]
    assert len(trees[0]) > 100


def exported(template: Path, version: str, target: Path) -> None:
    """Write the files of a release into a folder that is no repository: Copier 9.19.0 needs git 2.43.1 for another one.

    Source: the comment in `clone` of Copier 9.19.1, `copier/_vcs.py`.
    """
    git(template, "archive", f"--output={target}.tar", f"v{version}")
    with tarfile.open(f"{target}.tar") as archive:
        archive.extractall(target, filter="data")

"""Ownership: every rendered file has one owner, whatever was answered, and the page says what the data say."""

from itertools import cycle, product

import pytest

from ownership import Owner, fits, owners, ownership
from ownership_page import page
from rendering import OBJECTS, Answers, Workshop, files
from tools import ROOT

CAPABILITIES: tuple[list[str], ...] = ([], ["database"], ["jobs"], ["oidc"])
CIS = ("github", "gitlab", "none")
EVERYTHING: list[Answers] = [
    {
        "objects": objects,
        "capabilities": capabilities,
        "ci": ci,
        "deploy": ["kubernetes"] if "jobs" in capabilities else [],
    }
    for (objects, capabilities), ci in zip(product(OBJECTS.values(), CAPABILITIES), cycle(CIS), strict=False)
]


@pytest.fixture(scope="module")
def rendered(workshop: Workshop) -> dict[str, set[str]]:
    """Return the files of every combination of objects and capabilities, by their answers."""
    return {str(answers): set(files(workshop.render(answers))) for answers in EVERYTHING}


def test_every_file_has_one_owner(rendered: dict[str, set[str]]) -> None:
    """No rendered file is without an owner, and none has two."""
    wrong = {path: owners(path) for paths in rendered.values() for path in paths if 1 != len(owners(path))}
    assert {} == wrong


def test_every_pattern_names_something(rendered: dict[str, set[str]]) -> None:
    """A pattern that fits no rendered file is a mistake; the lock comes with `uv sync`, owners of code from a fork."""
    paths = set().union(*rendered.values())
    patterns = [pattern for owner in Owner for pattern in ownership()[owner]]
    assert ["CODEOWNERS", "uv.lock"] == [
        pattern for pattern in patterns if not any(fits(path, pattern) for path in paths)
    ]


def test_files_of_the_owner_are_nobody_elses() -> None:
    """A new file beside the template's is the owner's alone, or seeded like its neighbours."""
    assert {"own.just": [], "docs/ours.md": [], "k8s/ours.yaml": []} == {
        path: owners(path) for path in ("own.just", "docs/ours.md", "k8s/ours.yaml")
    }
    assert [Owner.SEEDED] == owners("src/my_service/adapters/genai/ours.py")
    assert [] == owners("src/my_service/ours.py")


@pytest.mark.parametrize(
    ("path", "pattern", "expected"),
    [
        pytest.param("docs/a.md", "docs/", True, id="folder"),
        pytest.param("docs/a/b.md", "docs/", True, id="deep"),
        pytest.param("docs", "docs/", False, id="itself"),
        pytest.param("docs2/a.md", "docs/", False, id="prefix"),
        pytest.param("src/a/b.py", "src/*/b.py", True, id="star"),
        pytest.param("src/a/c/b.py", "src/*/b.py", False, id="star is one name"),
        pytest.param("src/a/c/b.py", "src/*/c/", True, id="star and folder"),
    ],
)
def test_patterns_go_name_by_name(path: str, pattern: str, expected: bool) -> None:  # noqa: FBT001 - a case
    """A star stands for one name, a slash at the end for everything below."""
    assert expected == fits(path, pattern)


def test_the_page_says_what_the_data_say() -> None:
    """The page about ownership is written from the data that updates go by: python3 dev/ownership_page.py."""
    assert page() == (ROOT / "template" / "docs" / "ownership.md").read_text(encoding="utf-8")

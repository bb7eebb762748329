"""The security checklist of a service: every item is held by tests that exist and run, every setting is one."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from rendering import FULLEST, Workshop
from tools import ROOT

PAGE = "docs/security.md"
LEAST = 40
"""Fewer items would mean that the page is read wrongly."""
LEFT_OUT = {"skip", "skipif", "xfail", "image"}
"""Marks of tests that do not run everywhere."""


def _items(page: str) -> Iterator[tuple[str, list[str], list[str]]]:
    """Yield text, settings and tests of each item of the checklist."""
    for line in page.partition("## Checklist")[2].partition("\n## ")[0].splitlines():
        _, *cells, _ = re.split(r"\s*\|\s*", line) if line.startswith("| ") else ("", "")
        if line.startswith("| ") and len(cells) == 3 and not cells[0].startswith(("**", "guard")):
            yield cells[0], re.findall(r"`([A-Z_]+)`", cells[1]), re.findall(r"`(test_\w+)`", cells[2])


def _marks(node: ast.AST) -> set[str]:
    return {part.attr for part in ast.walk(node) if isinstance(part, ast.Attribute)}


def _tests() -> dict[str, list[Path]]:
    """Return the files of each test of the template that runs everywhere, by its name."""
    found: dict[str, list[Path]] = {}
    for path in (ROOT / "tests").rglob("test_*.py"):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        marked = [
            node for node in tree.body if isinstance(node, ast.Assign) and "pytestmark" in ast.dump(node.targets[0])
        ]
        if any(LEFT_OUT & _marks(node) for node in marked):
            continue
        for node in tree.body:
            if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) or not node.name.startswith("test_"):
                continue
            if not any(LEFT_OUT & _marks(mark) for mark in node.decorator_list):
                found.setdefault(node.name, []).append(path)
    return found


@pytest.fixture(scope="module")
def project(workshop: Workshop) -> Path:
    """Return a project with everything."""
    return workshop.render(FULLEST)


def test_every_item_is_held_by_a_test(project: Path) -> None:
    """No item without a proof, and no proof that is gone, skipped, or not among the tests that are collected."""
    items = list(_items((project / PAGE).read_text(encoding="utf-8")))
    known = _tests()

    assert len(items) >= LEAST
    assert [] == [text for text, _, proofs in items if not proofs]
    assert [] == [proof for _, _, proofs in items for proof in proofs if proof not in known]


def test_an_item_without_a_proof_is_found() -> None:
    """The reader of the page misses nothing: neither an empty cell nor a test that nobody wrote."""
    table = ("| guard | setting | test |", "|---|---|---|", "| **All** | | |", "| a | `A__B` | |", "| b | | `test_b` |")
    page = "\n".join(["## Checklist", "", *table, "", "## Left", "", "| c | d | e |"])

    assert [("a", ["A__B"], []), ("b", [], ["test_b"])] == list(_items(page))
    assert "test_b" not in _tests()
    assert "test_the_image_serves_without_rights" not in _tests()


def test_every_setting_of_the_checklist_exists(project: Path) -> None:
    """It stands in the reference, by its whole name."""
    reference = (project / "docs" / "settings.md").read_text(encoding="utf-8")
    items = _items((project / PAGE).read_text(encoding="utf-8"))

    assert [] == [name for _, names, _ in items for name in names if f"`{name}`" not in reference]


def test_the_container_has_no_rights(project: Path) -> None:
    """The image has a user of its own, by number; compose starts the service read-only and without capabilities."""
    image = (project / "Dockerfile").read_text(encoding="utf-8")
    last = image.rpartition("\nFROM ")[2]
    services = yaml.safe_load((project / "compose.yaml").read_text(encoding="utf-8"))["services"]
    own = {name: service for name, service in services.items() if "build" in service}

    assert re.search(r"^USER [1-9]\d*:[1-9]\d*$", last, re.MULTILINE)
    assert own
    for name, service in own.items():
        assert True is service["read_only"], name
        assert ["ALL"] == service["cap_drop"], name
        assert ["no-new-privileges:true"] == service["security_opt"], name


def test_the_image_is_built_from_the_lock(project: Path) -> None:
    """Nothing is resolved anew: each package has the digest that the lock names."""
    image = (project / "Dockerfile").read_text(encoding="utf-8")
    installs = re.findall(r"uv sync [^\n]*", image)

    assert installs
    assert [] == [line for line in installs if "--frozen" not in line]
    assert "COPY pyproject.toml uv.lock" in image
    assert [] == [line for line in re.findall(r"pip install [^\n]*", image) if "--no-deps" not in line]

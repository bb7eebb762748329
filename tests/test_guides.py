"""Guides to the pipeline: what they say about settings, order and faults is what the code says."""

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from object_service.chassis.config.checking import leaves
from object_service.chassis.resilience.assembly import Guards, Surroundings
from object_service.chassis.resilience.settings import Resilience
from pages import Block, blocks
from rendering import DEFAULT, Workshop, install, tool
from tools import ROOT

TUNING = ROOT / "docs" / "how-to" / "tune-resilience.md"
TROUBLESHOOTING = ROOT / "docs" / "how-to" / "troubleshooting.md"
PITFALLS = ROOT / "docs" / "explanation" / "pitfalls.md"
CHECKLIST = ROOT / "template" / "docs" / "checklist.md"
EXPLANATION = ROOT / "docs" / "explanation" / "resilience.md"
HEADLINE = re.compile(r"^## (.+)$", re.MULTILINE)
VARIABLE = re.compile(r"MY_SERVICE_[A-Z_]+")
OWN_STEPS = {"yours"}
EVERYTHING = {
    "rate_limit": {"rate_per_s": 1},
    "cache": {"ttl_s": 1, "stale_if_error_s": 1},
    "fallback": {"name": "other"},
}
FAULTS = """
import json
from tests.faults.table import ALL

first = {case.fault: case.steps[0] for case in ALL}
print(json.dumps({fault: [step.hits, sorted(step.codes)] for fault, step in first.items()}))
"""


def _rows(page: Path, cells: int) -> Iterator[list[str]]:
    """Yield the rows of all tables with so many columns, without their heads."""
    for line in page.read_text(encoding="utf-8").splitlines():
        row = [cell.strip() for cell in line.strip("|").split(" | ")]
        if line.startswith("| ") and len(row) == cells and not row[0].startswith("---"):
            yield row


def _recipes() -> tuple[Mapping[str, str], Mapping[str, Mapping[str, str]]]:
    """Return the variables that come before every recipe, and those of each recipe by its headline."""
    found: dict[str, Mapping[str, str]] = {}
    headline = ""
    for block in blocks(TUNING.read_text(encoding="utf-8")):
        headline = (HEADLINE.findall(block.before) or [headline])[-1]
        if block.language == "dotenv":
            found[headline] = _variables(block)
    first, *_ = found
    return found.pop(first), found


def _variables(block: Block) -> Mapping[str, str]:
    return dict(line.split("=", 1) for line in block.text.splitlines())


@pytest.fixture(scope="module")
def project(workshop: Workshop) -> Path:
    """Return a project that can use Redis."""
    made = workshop.install(DEFAULT, variant="recipes")
    install(made, "--extra", "redis")
    return made


def _shown(project: Path, *words: str, variables: Mapping[str, str]) -> tuple[int, str]:
    done = tool(project, "my-service", *words, env=variables)
    return done.returncode, done.stdout + done.stderr


@pytest.mark.gate
def test_every_recipe_is_a_set_of_settings_that_works(project: Path) -> None:
    """Each recipe passes the strict check, and each of its variables arrives where it belongs."""
    before, recipes = _recipes()
    assert len(recipes) >= 7
    for headline, recipe in recipes.items():
        variables = {**before, **recipe}
        assert (0, "configuration: ok (dev)\n") == _shown(
            project, "config", "check", "--strict", variables=variables
        ), headline
        code, said = _shown(project, "config", "show", "--json", variables=variables)
        rows = {row["variable"]: row for row in json.loads(said)["settings"]}
        assert 0 == code
        assert {"environment"} == {rows[name]["source"] for name in variables}
        assert [] == [name for name, value in recipe.items() if _as_text(rows[name], value) != value]


def _as_text(row: Mapping[str, Any], stated: str) -> str:
    """Return the value that is shown as it would be stated; a secret cannot be compared."""
    value = row["value"]
    if row["secret"]:
        return stated
    return f"{value:g}" if isinstance(value, float) else str(value)


def test_every_variable_of_the_guide_is_a_setting() -> None:
    """No variable that the guide names in its text is made up."""
    known = {"__".join(leaf.path).upper() for leaf in leaves(Resilience, ())}
    named = {
        name.partition("__RESILIENCE__")[2]
        for name in VARIABLE.findall(TUNING.read_text(encoding="utf-8"))
        if "__RESILIENCE__" in name
    }
    assert named
    assert set() == named - known


def test_the_defaults_of_the_guide_are_the_defaults() -> None:
    """Each row of the table names a setting and its default; every number that can be set has a row."""
    defaults = {"__".join(leaf.path).upper(): leaf.field.default for leaf in leaves(Resilience, ())}
    rows = {row[0].strip("`"): row[1] for row in _rows(TUNING, 4) if row[0].startswith("`")}
    for name, stated in rows.items():
        expected = "unset" if defaults[name] is None else f"{defaults[name]:g}"
        assert expected == re.split(r"[:,]", stated)[0], name
    numbers = {name for name, default in defaults.items() if isinstance(default, int | float)}
    explained_elsewhere = {"RATE_LIMIT__REPLICAS", "CACHE__STALE_IF_ERROR_S"}
    assert explained_elsewhere == numbers - set(rows)


def test_the_picture_shows_the_order_of_the_steps() -> None:
    """The numbered steps of the picture are those of a pipeline with everything on, in its order."""
    picture = next(block for block in blocks(EXPLANATION.read_text(encoding="utf-8")) if block.language == "text")
    drawn = re.findall(r"^ *\d+ +(\w+)", picture.text, re.MULTILINE)
    surroundings = Surroundings(spans=_NoSpans())  # type: ignore[arg-type] # only its names are asked for
    guards = Guards("mine", Resilience.model_validate(EVERYTHING), surroundings)

    assert [*guards.pipeline.names] == [name for name in drawn if name not in OWN_STEPS]
    assert 2 == len([name for name in drawn if name in OWN_STEPS])


class _Step:
    """A step of which only the name matters."""

    def __init__(self, name: str) -> None:
        """Take the name."""
        self.name = name

    def __call__(self, call: object, proceed: object) -> Any:
        """Never run."""
        raise NotImplementedError


class _NoSpans:
    """Stands in for tracing, which needs a collector."""

    def __init__(self) -> None:
        """Have the names of the real ones."""
        self.call = _Step("span")
        self.attempt = _Step("attempt_span")


@pytest.mark.gate
def test_the_faults_of_the_explanation_are_those_of_the_table(project: Path) -> None:
    """Every fault that `just faults` plays is explained, with its wire attempts and how its first calls end."""
    done = tool(project, "python", "-c", FAULTS)
    assert 0 == done.returncode, done.stderr
    played: dict[str, tuple[int | list[int], list[str]]] = json.loads(done.stdout)
    explained = {row[0]: (row[1], row[2]) for row in _rows(EXPLANATION, 4) if row[0] in played}
    assert set() == set(played) - set(explained)
    for fault, (hits, codes) in played.items():
        wire, outcome = explained[fault]
        least, most = (hits, hits) if isinstance(hits, int) else hits
        assert least <= int(wire) <= most, fault
        assert [] == [code for code in codes if code not in outcome], fault


def test_every_rule_has_its_pitfall() -> None:
    """The page of pitfalls names each rule of the checklist, and no other."""
    rules = {row[0] for row in _rows(CHECKLIST, 5)} - {"code"}
    named = {code for row in _rows(PITFALLS, 2) for code in row[1].removesuffix(" |").split(", ")} - {"rule"}
    assert len(rules) > 40
    assert rules == named


def test_messages_that_are_explained_are_those_of_a_service(workshop: Workshop) -> None:
    """Each message in the tables of the page on trouble stands in the source of a service."""
    project = workshop.render(DEFAULT)
    source = "\n".join(
        path.read_text(encoding="utf-8") for folder in ("src", "tests") for path in (project / folder).rglob("*.py")
    )
    rows = [row for cells in (3, 4) for row in _rows(TROUBLESHOOTING, cells) if row[0].startswith("`")]
    spans = [span.strip("`") for row in rows for span in row[:2] if span.startswith("`")]
    known = re.compile(r"HTTP \d{3}")
    assert len(spans) >= 15
    assert [] == [span for span in spans if span not in source and not known.fullmatch(span)]

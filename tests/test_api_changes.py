"""The check of the API: each change that breaks callers is found, each other one passes; planted in documents."""

import copy
import io
import json
import shutil
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from template.tests import api_changes
from template.tests.api_changes import NotComparedError, breaking

from api_document import DATES, DOCUMENT, body, path, problem, schema
from rendering import FULLEST, MINIMAL, Workshop, clean_environment, run, tool

type Change = Callable[[dict[str, Any]], object]

TODAY = date(2027, 6, 1)


def found(change: Change, first: Change = lambda _: None, today: date = TODAY) -> list[str]:
    """Return what breaks callers after a change of a document, which was prepared before."""
    old = copy.deepcopy(DOCUMENT)
    first(old)
    new = copy.deepcopy(old)
    change(new)
    return breaking(old, new, today)


GET, POST = "GET /things", "POST /things"
BODY = f"{POST}: body"
BREAKING: dict[str, tuple[Change, str]] = {
    "route": (lambda d: d["paths"].pop("/things"), f"{GET} is gone [route-removed]"),
    "method": (lambda d: path(d).pop("get"), f"{GET} is gone [method-removed]"),
    "status": (lambda d: path(d)["get"]["responses"].pop("200"), f"{GET}: 200 is no longer answered [status-removed]"),
    "new status": (
        lambda d: path(d)["get"]["responses"].update({"202": {}}),
        f"{GET}: 202 is a new way to succeed [status-added]",
    ),
    "header": (
        lambda d: path(d)["post"]["responses"]["201"]["headers"].pop("ETag"),
        f"{POST}: 201.ETag is gone [header-removed]",
    ),
    "form of answers": (
        lambda d: path(d)["post"]["responses"]["201"]["content"].clear(),
        f"{POST}: 201.application/json is no longer answered [media-type-removed]",
    ),
    "form of requests": (
        lambda d: path(d)["post"]["requestBody"]["content"].pop("text/plain"),
        f"{POST}: body.text/plain is no longer taken [media-type-removed]",
    ),
    "body needed": (
        lambda d: path(d)["post"]["requestBody"].update(required=True),
        f"{BODY} is required now [body-required]",
    ),
    "scope": (
        lambda d: path(d)["post"].update({"x-required-scope": "ops"}),
        f"{POST} needs the scope ops, needed things [scope-changed]",
    ),
    "parameter": (lambda d: path(d)["get"]["parameters"].clear(), f"{GET}: query size is gone [parameter-removed]"),
    "parameter needed": (
        lambda d: path(d)["get"]["parameters"][0].update(required=True),
        f"{GET}: query size is required now [parameter-required]",
    ),
    "new parameter": (
        lambda d: path(d)["get"]["parameters"].append({"in": "header", "name": "Who", "required": True}),
        f"{GET}: header Who is new and required [parameter-required]",
    ),
    "range of a parameter": (
        lambda d: path(d)["get"]["parameters"][0]["schema"].update(maximum=50),
        f"{GET}: query size maximum is 50, was 100 [range-narrowed]",
    ),
    "request field": (
        lambda d: body(d)["properties"].pop("kind"),
        f"{BODY}.kind is gone [request-field-removed]",
    ),
    "request field needed": (
        lambda d: body(d)["required"].append("kind"),
        f"{BODY}.kind is required now [request-field-required]",
    ),
    "type": (
        lambda d: body(d)["properties"]["name"].update(type="integer"),
        f"{BODY}.name string became integer [type-narrowed]",
    ),
    "type where anything was": (
        lambda d: body(d)["properties"]["more"].update(type="string"),
        f"{BODY}.more anything became string [type-narrowed]",
    ),
    "whole numbers": (
        lambda d: body(d)["properties"]["weight"]["anyOf"][0].update(type="integer"),
        f"{BODY}.weight number became integer [type-narrowed]",
    ),
    "no null": (
        lambda d: body(d)["properties"]["weight"]["anyOf"].pop(),
        f"{BODY}.weight null became number [type-narrowed]",
    ),
    "no other fields": (
        lambda d: body(d).update(additionalProperties=False),
        f"{BODY} no longer takes other fields [type-narrowed]",
    ),
    "length": (
        lambda d: body(d)["properties"]["name"].update(minLength=1),
        f"{BODY}.name minLength is 1, was not set [range-narrowed]",
    ),
    "pattern": (
        lambda d: body(d)["properties"]["name"].update(pattern="a"),
        f"{BODY}.name pattern is a, was not set [range-narrowed]",
    ),
    "value of requests": (
        lambda d: body(d)["properties"]["kind"]["enum"].remove("b"),
        f"{BODY}.kind no longer takes 'b' [value-removed]",
    ),
    "only some values": (
        lambda d: body(d)["properties"]["name"].update(enum=["x"]),
        f"{BODY}.name no longer takes any value [value-removed]",
    ),
    "answer field": (
        lambda d: schema(d, "Ready")["properties"].pop("colour"),
        f"{POST}: 201.colour is gone [answer-field-removed]",
    ),
    "answer field sometimes": (
        lambda d: schema(d, "Ready")["required"].remove("id"),
        f"{POST}: 201.id may be missing now [answer-field-optional]",
    ),
    "null in answers": (
        lambda d: schema(d, "Ready")["properties"].update(id={"anyOf": [{"type": "string"}, {"type": "null"}]}),
        f"{POST}: 201.id string became null [type-widened]",
    ),
    "value of answers": (
        lambda d: schema(d, "Ready")["properties"]["colour"]["enum"].append("blue"),
        f"{POST}: 201.colour may be 'blue' now [value-added]",
    ),
    "field of problems": (
        lambda d: problem(d)["allOf"][0]["properties"].pop("title"),
        f"{POST}: 409.title is gone [answer-field-removed]",
    ),
}
HARMLESS: dict[str, Change] = {
    "nothing": lambda _: None,
    "texts": lambda d: path(d)["get"].update(summary="New words"),
    "new route": lambda d: d["paths"].update({"/more": {"get": {"responses": {}}}}),
    "new optional field": lambda d: body(d)["properties"].update(extra={"type": "string"}),
    "wider range": lambda d: body(d)["properties"]["name"].update(maxLength=100),
    "another value of requests": lambda d: body(d)["properties"]["kind"]["enum"].append("c"),
    "a field is optional": lambda d: body(d)["required"].clear(),
    "new answer field": lambda d: schema(d, "Ready")["properties"].update(size={"type": "integer"}),
    "fewer values of answers": lambda d: schema(d, "Thing")["oneOf"].pop(),
    "new problem": lambda d: path(d)["get"]["responses"].update({"429": {}}),
    "new code of a problem": lambda d: problem(d)["allOf"][1]["properties"]["code"]["enum"].append("busy"),
}
GOING: dict[str, tuple[Change, Change]] = {
    "method": (lambda d: path(d)["get"].update(DATES), lambda d: path(d).pop("get")),
    "parameter": (
        lambda d: path(d)["get"]["parameters"][0].update(DATES),
        lambda d: path(d)["get"]["parameters"].clear(),
    ),
    "request field": (
        lambda d: body(d)["properties"]["kind"].update(DATES),
        lambda d: body(d)["properties"].pop("kind"),
    ),
    "answer field": (
        lambda d: schema(d, "Ready")["properties"]["colour"].update(DATES),
        lambda d: schema(d, "Ready")["properties"].pop("colour"),
    ),
}


@pytest.mark.parametrize("name", BREAKING)
def test_what_breaks_callers_is_found(name: str) -> None:
    """The line names the operation, the field, what happened and the rule."""
    change, line = BREAKING[name]
    assert line in found(change)


@pytest.mark.parametrize("name", HARMLESS)
def test_what_callers_do_not_notice_passes(name: str) -> None:
    """What may change at any time is not found."""
    assert [] == found(HARMLESS[name])


@pytest.mark.parametrize("name", GOING)
def test_what_was_announced_may_go(name: str) -> None:
    """On the day of its sunset, not before, and only when callers had six months."""
    announce, remove = GOING[name]
    assert [] == found(remove, announce)
    assert 1 == len(found(remove, announce, date(2027, 5, 31)))

    def late(document: dict[str, Any]) -> None:
        announce(document)
        text = json.dumps(document).replace(DATES["x-deprecated-since"], "2027-05-01")
        document.update(json.loads(text))

    assert 1 == len(found(remove, late))


@pytest.mark.parametrize(
    ("printed", "kept", "said"),
    [
        pytest.param("{}", None, "the service printed is no OpenAPI document", id="no paths"),
        pytest.param("", None, "the service printed is no OpenAPI document", id="the service failed"),
        pytest.param('{"paths": {}}', None, "begin with `just api-snapshot`", id="untouched"),
        pytest.param('{"paths": {}}', "<<<<<<<", "docs/openapi.json is no OpenAPI document", id="conflict"),
    ],
)
def test_what_could_not_be_compared_is_no_success(tmp_path: Path, printed: str, kept: str | None, said: str) -> None:
    """Neither a service that cannot print its document nor a missing or damaged snapshot is green."""
    snapshot = tmp_path / "openapi.json"
    if kept is not None:
        snapshot.write_text(kept, encoding="utf-8")
    with pytest.raises(NotComparedError, match=said):
        api_changes.run([], io.StringIO(printed), snapshot, TODAY)


@pytest.mark.gate
def test_the_recipes_keep_and_compare(workshop: Workshop) -> None:
    """A project says how to begin, is green after a snapshot, and names what a release had and the service lacks."""
    project = workshop.install(MINIMAL, "api")
    snapshot = project / "docs" / "openapi.json"
    unreleased = tool(project, "pytest", "-q", "tests/test_api.py")
    assert 0 == unreleased.returncode
    assert "no API was released yet" in unreleased.stdout
    within = {"PATH": f"{project / '.venv' / 'bin'}:{clean_environment()['PATH']}"}
    first = tool(project, "just", "api-check", env=within)
    assert (2, "") == (first.returncode, first.stdout)
    assert "begin with `just api-snapshot`" in first.stderr
    assert 0 == tool(project, "just", "api-snapshot", env=within).returncode
    same = tool(project, "just", "api-check", env=within)
    assert (0, "api-check: no changes break callers\n") == (same.returncode, same.stdout)
    assert "1 passed" in tool(project, "pytest", "-q", "tests/test_api.py").stdout
    document = json.loads(snapshot.read_text(encoding="utf-8"))
    document["paths"]["/v1/old"] = {"get": {"responses": {}}}
    snapshot.write_text(json.dumps(document), encoding="utf-8")
    gone = tool(project, "just", "api-check", env=within)
    assert 1 == gone.returncode
    assert "GET /v1/old is gone [route-removed]\napi-check: 1 changes break callers\n" == gone.stdout
    checked = tool(project, "pytest", "-q", "tests/test_api.py")
    assert 1 == checked.returncode
    assert "GET /v1/old is gone [route-removed]" in checked.stdout


@pytest.mark.gate
def test_a_type_that_loses_what_is_stored_is_found(workshop: Workshop, tmp_path: Path) -> None:
    """A project reads the samples of what earlier releases stored; without a field of a result, its test is red."""
    project, copied = workshop.install(FULLEST), tmp_path / "service"
    shutil.copytree(project, copied, ignore=shutil.ignore_patterns(".venv", ".git", "*_cache", "__pycache__"))
    program, env = str(project / ".venv" / "bin" / "pytest"), {"PYTHONPATH": str(copied / "src")}
    before = run(copied, program, "tests/test_stored.py", env=env)
    assert 0 == before.returncode, before.stdout
    domain = copied / "src" / "my_service" / "domain" / "genai.py"
    text = domain.read_text(encoding="utf-8")
    assert 1 == text.count("    data: Json | None = None\n")
    domain.write_text(text.replace("    data: Json | None = None\n", ""), encoding="utf-8")
    after = run(copied, program, "tests/test_stored.py", env=env)
    assert 1 == after.returncode
    assert "gen_1" in after.stdout

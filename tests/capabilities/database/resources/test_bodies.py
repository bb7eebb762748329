"""Bodies are checked once, and text that a database cannot keep is found wherever it stands."""

import json
from typing import Any

import pytest
from pydantic import BaseModel, ConfigDict

from object_service.capabilities.database.resources.bodies import merged, read_body, read_patch
from object_service.chassis.web.problems import ValidationProblem


class Song(BaseModel):
    """A body with text in every place."""

    model_config = ConfigDict(extra="forbid", strict=True)

    title: str
    tags: list[str] = []
    more: dict[str, Any] = {}


def refused(raw: bytes) -> list[tuple[str, str]]:
    """Return code and pointer of each error."""
    with pytest.raises(ValidationProblem) as caught:
        read_body(Song, raw)
    return [(error["code"], error["pointer"]) for error in caught.value.errors]


def test_a_body_is_read() -> None:
    """An escaped backslash before `u0000` is no NUL, and a whole pair of surrogates is a character."""
    raw = rb'{"title":"a\\u0000 \ud83c\udfb5","tags":["\u00fc"]}'

    assert Song(title="a\\u0000 🎵", tags=["ü"]) == read_body(Song, raw)


@pytest.mark.parametrize("text", [rb"\u0000", rb"a\u0000b", rb"\ud800", rb"\udc00x", rb"\ud800\ud800"])
@pytest.mark.parametrize(
    ("pointer", "body"),
    [
        pytest.param("/title", b'{"title":"%s"}', id="field"),
        pytest.param("/tags/1", b'{"title":"a","tags":["b","%s"]}', id="member"),
        pytest.param("/more/a~1b/0", b'{"title":"a","more":{"a/b":["%s"]}}', id="deep"),
        pytest.param("/more", b'{"title":"a","more":{"%s":1}}', id="name"),
    ],
)
def test_text_that_cannot_be_kept_is_named(pointer: str, body: bytes, text: bytes) -> None:
    """NUL and halves of surrogate pairs are refused with the place where they stand."""
    assert [("invalid_request", pointer)] == refused(body % text)


def test_at_most_twenty_texts_are_named() -> None:
    """A body full of NUL does not make a long answer."""
    assert 20 == len(refused(json.dumps({"title": "a", "tags": ["\0"] * 1000}).encode()))


@pytest.mark.parametrize(
    ("expected", "raw"),
    [
        pytest.param(("malformed_json", ""), b'{"title":', id="cut"),
        pytest.param(("malformed_json", ""), b"", id="empty"),
        pytest.param(("malformed_json", ""), rb'{"title":"\u0000"', id="cut-after-nul"),
        pytest.param(("malformed_json", ""), b'{"title":"\xff"}', id="no-utf-8"),
        pytest.param(("malformed_json", ""), b'{"title":"a","more":' + b"[" * 100_000, id="deep"),
        pytest.param(("invalid_request", ""), b"[]", id="list"),
        pytest.param(("invalid_request", "/title"), b'{"title":1}', id="type"),
        pytest.param(("invalid_request", "/title"), b"{}", id="missing"),
        pytest.param(("unknown_field", "/titel"), b'{"title":"a","titel":1}', id="unknown"),
    ],
)
def test_what_is_wrong_is_named(expected: tuple[str, str], raw: bytes) -> None:
    """What is no JSON, and what has not the form of the model, are told apart."""
    assert [expected] == refused(raw)


@pytest.mark.parametrize(
    ("expected", "document", "patch"),
    [
        ({"a": "c"}, {"a": "b"}, {"a": "c"}),
        ({"a": "b", "b": "c"}, {"a": "b"}, {"b": "c"}),
        ({}, {"a": "b"}, {"a": None}),
        ({"b": "c"}, {"a": "b", "b": "c"}, {"a": None}),
        ({"a": "c"}, {"a": ["b"]}, {"a": "c"}),
        ({"a": ["b"]}, {"a": "c"}, {"a": ["b"]}),
        ({"a": {"b": "d"}}, {"a": {"b": "c"}}, {"a": {"b": "d", "c": None}}),
        ({"a": [1]}, {"a": [{"b": "c"}]}, {"a": [1]}),
        (["c", "d"], ["a", "b"], ["c", "d"]),
        (["c"], {"a": "b"}, ["c"]),
        (None, {"a": "foo"}, None),
        ("bar", {"a": "foo"}, "bar"),
        ({"e": None, "a": 1}, {"e": None}, {"a": 1}),
        ({"a": "b"}, [1, 2], {"a": "b", "c": None}),
        ({"a": {"bb": {}}}, {}, {"a": {"bb": {"ccc": None}}}),
    ],
)
def test_a_merge_patch_does_what_its_standard_says(expected: object, document: object, patch: object) -> None:
    """The examples of RFC 7396, appendix A."""
    assert expected == merged(document, patch)


def test_merging_changes_neither_document_nor_patch() -> None:
    """What was read from the table stays what it was."""
    document, patch = {"a": {"b": 1}}, {"a": {"c": 2}}

    merged(document, patch)

    assert ({"a": {"b": 1}}, {"a": {"c": 2}}) == (document, patch)


def test_a_patch_is_any_object() -> None:
    """Null stays where it stands: it says what to remove."""
    assert {"a": None, "model_extra": {"b": [None]}} == read_patch(b'{"a":null,"model_extra":{"b":[null]}}')


@pytest.mark.parametrize("raw", [b"[]", b'"a"', b"null", rb'{"a":"\u0000"}', b"{"])
def test_a_patch_that_is_no_object_is_refused(raw: bytes) -> None:
    """It would replace the whole record by something that is none."""
    with pytest.raises(ValidationProblem):
        read_patch(raw)

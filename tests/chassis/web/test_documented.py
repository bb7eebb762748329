"""Routes say in the document what only they answer: problems, headers, events."""

import json

import jsonschema_rs
import pytest

from object_service.chassis.web.events import events_of
from object_service.chassis.web.routes import TAGS, headed, problems


def test_problems_stand_under_their_status() -> None:
    """Codes of one status share its answer."""
    found = problems("prompt_too_long", "conflict", "unknown_provider")

    assert {422, 409} == set(found)
    assert ["prompt_too_long", "unknown_provider"] == found[422]["x-codes"]


def test_headers_are_referred_to() -> None:
    """A header is described once, with the components."""
    assert {"ETag": {"$ref": "#/components/headers/ETag"}} == headed(200, "ETag")[200]["headers"]


@pytest.mark.parametrize(
    ("text", "right"), [("*", True), ('"a"', True), ('W/"a", "b"', True), ("", False), ("a", False), ('"a', False)]
)
def test_what_the_document_says_of_tags(text: str, right: bool) -> None:  # noqa: FBT001 - a case of the test
    """A star, or tags in quotation marks."""
    assert right == jsonschema_rs.is_valid(dict(TAGS), text)


def test_events_have_a_name_and_json() -> None:
    """Each event is told apart by its name; its data are JSON text."""
    schema = events_of(delta={"type": "object"})[200]["content"]["text/event-stream"]["schema"]

    assert jsonschema_rs.is_valid(schema, {"event": "delta", "data": json.dumps({})})
    assert not jsonschema_rs.is_valid(schema, {"event": "other", "data": "{}"})

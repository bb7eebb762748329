"""The OpenAPI document is completed so that it says what is really asked and answered."""

from typing import Any

from fastapi import APIRouter

from chassis.web.app import FEATURES
from object_service.chassis.config.loading import load
from object_service.chassis.config.settings import Settings
from object_service.chassis.container import Container
from object_service.chassis.features import Feature
from object_service.chassis.openapi.document import completed, openapi_document
from object_service.chassis.web.access import needs
from object_service.chassis.web.app import build_app

TEXT_OR_NULL = {"anyOf": [{"type": "string"}, {"type": "null"}], "title": "Text"}


def _document(schemas: dict[str, Any], *, asked: str, answered: str) -> dict[str, Any]:
    def content(name: str) -> dict[str, Any]:
        return {"content": {"application/json": {"schema": {"$ref": f"#/components/schemas/{name}"}}}}

    operation = {"requestBody": content(asked), "responses": {"200": content(answered)}}
    return {"paths": {"/x": {"post": operation}}, "components": {"schemas": schemas}}


def _schemas(document: dict[str, object]) -> dict[str, Any]:
    components = document["components"]
    assert isinstance(components, dict)
    found: dict[str, Any] = components["schemas"]
    return found


def test_only_answers_lose_their_null() -> None:
    """A request may state null; an answer leaves out what is unknown."""
    thing = {"type": "object", "properties": {"text": {**TEXT_OR_NULL, "default": None}, "size": {"default": 1}}}
    schemas = _schemas(completed(_document({"In": dict(thing), "Out": dict(thing)}, asked="In", answered="In")))
    both = _document({"Asked": _copy(thing), "Answered": _copy(thing)}, asked="Asked", answered="Answered")
    apart = _schemas(completed(both))

    assert thing == schemas["In"]
    assert thing == apart["Asked"]
    assert {"text": {"title": "Text", "type": "string"}, "size": {"default": 1}} == apart["Answered"]["properties"]
    assert ["size"] == apart["Answered"]["required"]


def _copy(schema: dict[str, Any]) -> dict[str, Any]:
    return {**schema, "properties": {name: dict(field) for name, field in schema["properties"].items()}}


def test_several_types_stay_several() -> None:
    """Only null goes."""
    field = {"anyOf": [{"type": "string"}, {"type": "integer"}, {"type": "null"}]}
    out = {"type": "object", "properties": {"value": field}}
    schemas = _schemas(completed(_document({"In": {}, "Out": out}, asked="In", answered="Out")))

    assert {"anyOf": [{"type": "string"}, {"type": "integer"}]} == schemas["Out"]["properties"]["value"]
    assert "required" not in schemas["Out"]


def test_envelopes_are_told_apart_by_their_status() -> None:
    """Generic names become readable, also where they are referred to."""
    union = {"anyOf": [{"$ref": "#/components/schemas/Succeeded_Thing_"}, {"$ref": "#/components/schemas/Failed"}]}
    members = {"Succeeded_Thing_": {"properties": {"status": {"const": "succeeded"}}}}
    members |= {"Failed": {"properties": {"status": {"const": "failed"}}}}
    schemas = _schemas(
        completed(_document({"In": {}, "Envelope_Thing_": union, **members}, asked="In", answered="Envelope_Thing_"))
    )

    places = {"succeeded": "#/components/schemas/ThingSucceeded", "failed": "#/components/schemas/Failed"}
    assert {"propertyName": "status", "mapping": places} == schemas["ThingEnvelope"]["discriminator"]
    assert list(places.values()) == [option["$ref"] for option in schemas["ThingEnvelope"]["oneOf"]]
    assert {"In", "ThingEnvelope", "ThingSucceeded", "Failed", "ProblemDocument", "ProblemItem"} == set(schemas)


def test_a_union_of_anything_else_stays_as_it_is() -> None:
    """Without a status there is nothing to tell the members apart by."""
    union = {"anyOf": [{"type": "string"}, {"type": "integer"}]}

    assert union == _schemas(completed(_document({"In": {}, "Out": dict(union)}, asked="In", answered="Out")))["Out"]


def test_schemas_inside_of_others_become_components() -> None:
    """What a model brought along for itself is found by its reference."""
    document = _document({"In": {}, "Out": {}}, asked="In", answered="Out")
    inner = {"$ref": "#/components/schemas/Part", "$defs": {"Part": {"type": "object"}}}
    document["paths"]["/x"]["post"]["requestBody"]["content"]["application/json"]["schema"] = inner

    assert {"type": "object"} == _schemas(completed(document))["Part"]
    assert {"$ref": "#/components/schemas/Part"} == inner


def test_a_document_without_routes_has_the_schema_of_problems() -> None:
    """An empty service still says how it fails."""
    assert {"ProblemDocument", "ProblemItem"} == set(_schemas(completed({"paths": {}})))


def test_a_path_with_a_converter_states_what_its_callers_show() -> None:
    """The document has another path than the route; what the route needs is found all the same."""

    def router(_: Settings) -> APIRouter:
        found = APIRouter()

        @found.get("/n/{id:int}", dependencies=[needs("secret")])
        async def number(id: int) -> int:  # noqa: A002 - the name of the path parameter
            return id

        return found

    features = (*FEATURES, Feature(name="numbers", router=router))
    document: dict[str, Any] = openapi_document(build_app(load(features), features, Container()))
    operation = document["paths"]["/n/{id}"]["get"]

    assert ("secret", [{"bearer": []}, {"api_key": []}]) == (operation["x-required-scope"], operation["security"])

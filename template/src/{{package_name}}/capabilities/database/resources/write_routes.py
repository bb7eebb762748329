"""Write routes: how records of a resource are created, changed, deleted and restored over HTTP."""

from collections.abc import Mapping
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request
from fastapi.responses import Response
from pydantic import BaseModel
from pydantic_core import to_json

from ....chassis.web.routes import REF_TEMPLATE, TAGS, headed, media_type, problems, provided
from ..database import Database
from .bodies import read_body, read_patch
from .bulk import MAX_BYTES, MAX_ITEMS, Bulk, BulkBody
from .etags import if_match, tags_in
from .parameters import PURGE, given
from .query import truth
from .resource import Resource
from .writing import Writing, Written

_JSON = "application/json"
_MERGE_PATCH = "application/merge-patch+json"
_NULL = {"type": "null"}
_CHANGED = headed(200, "ETag") | problems("precondition_required")

type Stored = Annotated[Database, Depends(provided(Database))]


class BulkError(BaseModel):
    """Why an item was refused."""

    code: str
    message: str
    retryable: bool
    errors: list[dict[str, str]]


class BulkOutcome(BaseModel):
    """What became of one item: the id of its record, or why there is none."""

    status: int
    id: str | None = None
    error: BulkError | None = None


class BulkAnswer(BaseModel):
    """One outcome per item, in order."""

    items: list[BulkOutcome]


def add_writes(router: APIRouter, resource: Resource) -> None:
    """Add the routes that write; the router has the prefix `/v1/<name>`."""
    writing = Writing(resource)
    _add_creation(router, writing)
    _add_changes(router, writing)
    _add_removal(router, writing)


def _add_creation(router: APIRouter, writing: Writing) -> None:
    resource, bulk = writing.resource, Bulk(writing)
    body, many = _body(resource, _JSON), _bulk_body(resource)

    answers = headed(201, "ETag")

    @router.post("", status_code=201, response_model=resource.record, responses=answers, openapi_extra=body)
    async def create(request: Request, database: Stored) -> Response:
        """Add a record; its address stands in `Location`."""
        media_type(request, _JSON)
        written = await writing.create(database, read_body(resource.body, await request.body()))
        return _answer(written, 201, {"Location": f"/v1/{resource.name}/{written.document['id']}"})

    @router.post("/$bulk", response_model=BulkAnswer, openapi_extra=many, max_body_size=MAX_BYTES)
    async def create_many(request: Request, database: Stored) -> Response:
        """Add up to 10,000 records: all or none of them, or each that is right."""
        media_type(request, _JSON)
        items = await bulk.create(database, read_body(BulkBody, await request.body()))
        return Response(to_json({"items": items}), media_type=_JSON)


def _add_changes(router: APIRouter, writing: Writing) -> None:
    resource = writing.resource
    whole = _body(resource, _JSON) | _conditional(required=True)
    patch: dict[str, Any] = {"schema": _patch(resource)}
    part = {"requestBody": {"required": True, "content": {_MERGE_PATCH: patch, _JSON: patch}}}

    @router.put("/{id}", response_model=resource.record, responses=_CHANGED, openapi_extra=whole)
    async def replace(id: str, request: Request, database: Stored) -> Response:  # noqa: A002 - name of the parameter
        """Put a whole body in the place of what the record says."""
        media_type(request, _JSON)
        asked = if_match(request.headers.getlist("if-match"))
        body = read_body(resource.body, await request.body())
        return _answer(await writing.replace(database, id, body, asked))

    part |= _conditional(required=True)

    @router.patch("/{id}", response_model=resource.record, responses=_CHANGED, openapi_extra=part)
    async def update(id: str, request: Request, database: Stored) -> Response:  # noqa: A002 - name of the parameter
        """Change some fields; null removes one."""
        media_type(request, _MERGE_PATCH, _JSON)
        asked = if_match(request.headers.getlist("if-match"))
        return _answer(await writing.merge(database, id, read_patch(await request.body()), asked))


def _add_removal(router: APIRouter, writing: Writing) -> None:
    lenient, strict = _conditional(required=False), _conditional(required=True)
    strict["parameters"].append(PURGE)

    removed = headed(204, "ETag") | problems("precondition_required")

    @router.delete("/{id}", status_code=204, responses=removed, openapi_extra=strict)
    async def delete(id: str, request: Request, database: Stored) -> Response:  # noqa: A002 - name of the parameter
        """Hide a record until it is restored, or remove it for good."""
        asked = if_match(request.headers.getlist("if-match"))
        if truth(given(request), "purge"):
            await writing.purge(database, id, asked)
            return Response(status_code=204)
        written = await writing.delete(database, id, asked)
        return Response(status_code=204, headers={"ETag": written.etag})

    restored = headed(200, "ETag")

    @router.post("/{id}/$restore", response_model=writing.resource.record, responses=restored, openapi_extra=lenient)
    async def restore(id: str, request: Request, database: Stored) -> Response:  # noqa: A002 - name of the parameter
        """Show a deleted record again."""
        stated = request.headers.getlist("if-match")
        return _answer(await writing.restore(database, id, tags_in(stated, "If-Match") if stated else None))


def _answer(written: Written, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    all_headers = {"ETag": written.etag, **(headers or {})}
    return Response(to_json(written.document), status, all_headers, media_type=_JSON)


def _schema(resource: Resource) -> dict[str, Any]:
    """Return a reference to the schema of the body, which the document moves to its place."""
    name = resource.body.__name__
    schema = resource.body.model_json_schema(ref_template=REF_TEMPLATE)
    return {"$ref": REF_TEMPLATE.format(model=name), "$defs": {name: schema}}


def _patch(resource: Resource) -> dict[str, Any]:
    """Return the schema of a merge patch: any field of the body, and null for those that may be missing."""
    schema = resource.body.model_json_schema(ref_template=REF_TEMPLATE)
    needed = schema.pop("required", ())
    for name, field in schema["properties"].items():
        field.pop("default", None)
        if name not in needed and _NULL not in field.get("anyOf", ()):
            schema["properties"][name] = {"anyOf": [field, _NULL]}
    return {**schema, "title": f"{resource.body.__name__}Patch", "description": "JSON merge patch, RFC 7396."}


def _body(resource: Resource, type_: str) -> dict[str, Any]:
    return {"requestBody": {"required": True, "content": {type_: {"schema": _schema(resource)}}}}


def _bulk_body(resource: Resource) -> dict[str, Any]:
    schema = {
        "type": "object",
        "required": ["items"],
        "additionalProperties": False,
        "properties": {
            "items": {"type": "array", "minItems": 1, "maxItems": MAX_ITEMS, "items": _schema(resource)},
            "mode": {"enum": ["all", "each"], "default": "all"},
        },
    }
    return {"requestBody": {"required": True, "content": {_JSON: {"schema": schema}}}}


def _conditional(*, required: bool) -> dict[str, Any]:
    text = "The ETag of the version that was read, or *."
    header = {"name": "If-Match", "in": "header", "required": required}
    return {"parameters": [{**header, "description": text, "schema": TAGS}]}

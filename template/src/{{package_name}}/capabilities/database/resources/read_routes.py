"""Read routes: one record, parts of the collection, and all of it as a file."""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request
from fastapi.responses import Response
from pydantic import BaseModel, create_model
from pydantic_core import to_json

from ....chassis.contracts.json import Json
from ....chassis.web.routes import Answers, headed, problems, provided
from ..database import Database
from .etags import tags_in
from .export import FORMATS, Exporter, format_of
from .pages import Numbered, asked, links, related_pages, related_parts
from .parameters import DELETED, FORMAT, PAGING, given, parameters_of
from .query import truth
from .reading import Part, Reader
from .resource import Resource

_FILE: Answers = {
    200: {
        "description": "A file",
        "content": {kind.media_type.partition(";")[0]: {"schema": {"type": "string"}} for kind in FORMATS.values()},
    }
}

type Storage = Annotated[Database, Depends(provided(Database))]


def add_reads(router: APIRouter, resource: Resource) -> None:
    """Add the routes that read a resource."""
    reader = Reader(resource)
    questions = parameters_of(reader.grammar, reader.records.names)
    _add_list(router, reader, [*questions, *PAGING])
    _add_export(router, reader, [*questions, FORMAT])
    _add_one(router, reader)


def _add_list(router: APIRouter, reader: Reader, parameters: Sequence[Mapping[str, Any]]) -> None:
    model = _list_model(reader.resource.record)

    @router.get(
        "",
        name="list",
        response_model=model,
        responses=headed(200, "Link") | problems("unknown_field"),
        openapi_extra={"parameters": parameters},
    )
    async def list_(request: Request, database: Storage) -> Response:
        """Return a part of the collection: a page by its number, or what follows on a cursor."""
        stated = given(request)
        query = reader.grammar.query(stated)
        part = asked(stated, query, reader.grammar)
        if isinstance(part, Numbered):
            found = await reader.page(database, query, part)
            headers = links(request.url.path, [*stated.items()], related_pages(part, found.total or 0))
            return _json(found, {"page": part.page, "size": part.size, "total": found.total}, headers)
        found = await reader.following(database, query, part)
        headers = links(request.url.path, [*stated.items()], related_parts(part, found.next))
        return _json(found, {"size": part.size, "next": found.next}, headers)


def _add_export(router: APIRouter, reader: Reader, parameters: Sequence[Mapping[str, Any]]) -> None:
    exporter = Exporter(reader)

    @router.get(
        "/$export",
        name="export",
        response_class=Response,
        responses=_FILE | problems("unknown_field"),
        openapi_extra={"parameters": parameters},
    )
    async def export(request: Request, database: Storage) -> Response:
        """Return every record that is found, as a file."""
        stated = given(request)
        return await exporter.export(database, reader.grammar.query(stated), format_of(stated))


def _add_one(router: APIRouter, reader: Reader) -> None:
    resource = reader.resource

    @router.get(
        "/{id}",
        name="get",
        response_model=resource.record,
        responses=headed(200, "ETag") | headed(304, "ETag", description="The caller has it already"),
        openapi_extra={"parameters": [DELETED]},
    )
    async def get(id: str, request: Request, database: Storage) -> Response:  # noqa: A002 - the name of the parameter
        """Return one record."""
        row = await reader.one(database, id, include_deleted=truth(given(request), "include_deleted"))
        tag = reader.records.etag(row)
        if _has_it(request, tag):
            return Response(status_code=304, headers={"ETag": tag})
        return Response(to_json(reader.records.document(row)), headers={"ETag": tag}, media_type="application/json")


def _has_it(request: Request, tag: str) -> bool:
    """Tell whether the caller has this version; the marks of weak tags do not count (RFC 9110, section 13.1.2)."""
    headers = request.headers.getlist("if-none-match")
    if not headers:
        return False
    tags = tags_in(headers, "If-None-Match")
    return tags is None or tag in {one.removeprefix("W/") for one in tags}


def _json(part: Part, told: Mapping[str, Json], headers: Mapping[str, str]) -> Response:
    document = {"items": part.items, **{name: value for name, value in told.items() if value is not None}}
    return Response(to_json(document), headers=dict(headers), media_type="application/json")


def _list_model(record: type[BaseModel]) -> type[BaseModel]:
    """Return what describes a part of the collection; `fields` may leave out any field of its records."""
    fields: dict[str, Any] = {name: (_optional(field.annotation), None) for name, field in record.model_fields.items()}
    item: Any = create_model(f"{record.__name__}Fields", **fields)
    parts: dict[str, Any] = {"items": (list[item], ...), "size": (int, ...)}
    parts |= {"page": (int | None, None), "total": (int | None, None), "next": (str | None, None)}
    return create_model(f"{record.__name__}List", **parts)


def _optional(annotation: Any) -> Any:
    return annotation | None

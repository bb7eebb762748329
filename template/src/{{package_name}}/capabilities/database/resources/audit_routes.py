"""Audit route: who changed what, newest first."""

import re
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, Request
from fastapi.responses import Response
from pydantic import BaseModel
from pydantic_core import to_json

from ....chassis.contracts.errors import RequestError
from ....chassis.web.access import needs
from ....chassis.web.routes import headed, provided
from ..database import Database
from ..deadlines import TimedRoute
from ..tables import ID_CHARS
from . import audit
from .audit import Action
from .pages import DEFAULT_SIZE, MAX_SIZE, links
from .parameters import given

_CURSOR = re.compile(r"[1-9][0-9]{0,17}")
_NAME = r"^[a-z0-9_-]+$"

type Stored = Annotated[Database, Depends(provided(Database))]
type Name = Annotated[str, Query(max_length=ID_CHARS, pattern=_NAME)]
type After = Annotated[str, Query(json_schema_extra={"pattern": f"^({_CURSOR.pattern})?$"})]
type Size = Annotated[int, Query(ge=1, le=MAX_SIZE)]


class AuditEntry(BaseModel):
    """One change of one record."""

    resource: str
    record_id: str
    action: Action
    actor: str
    correlation_id: str
    at: str
    before: dict[str, Any] | None = None
    after: dict[str, Any] | None = None


class AuditPage(BaseModel):
    """Some entries, newest first; `next` continues with older ones."""

    items: list[AuditEntry]
    size: int
    next: str | None = None


def build_audit_router() -> APIRouter:
    """Return the route that reads the audit; nothing writes it but the changes themselves."""
    router = APIRouter(prefix="/v1/audit", tags=["audit"], route_class=TimedRoute, dependencies=[needs("audit")])

    @router.get("", response_model=AuditPage, responses=headed(200, "Link"))
    async def read(
        request: Request,
        database: Stored,
        resource: Name,
        id: Name | None = None,  # noqa: A002 - name of the parameter
        after: After = "",
        size: Size = DEFAULT_SIZE,
    ) -> Response:
        """Return the changes of a resource, or of one of its records."""
        stated = given(request)
        before = _number(after) if after else None
        items, number = await audit.read(database, resource, id, before=before, size=size)
        page: dict[str, Any] = {"items": items, "size": size}
        if number is None:
            return Response(to_json(page), media_type="application/json")
        following = {"after": str(number), "size": size}
        headers = links(request.url.path, [*stated.items()], {"next": following})
        return Response(to_json({**page, "next": following["after"]}), headers=headers, media_type="application/json")

    return router


def _number(cursor: str) -> int:
    if _CURSOR.fullmatch(cursor) is None:
        message = "Expected the value of `next` from a page of the audit."
        raise RequestError(message, pointer="/after", location="query")
    return int(cursor)

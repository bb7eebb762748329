"""A resource with one of each: constraints, types with a form of their own in JSON, a field that is never shown."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from enum import StrEnum
from typing import Any

import httpx2
from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict, Field
from sqlalchemy import CheckConstraint, ForeignKey, Index, MetaData, Numeric, String, UniqueConstraint, text
from sqlalchemy.orm import Mapped, mapped_column

from object_service.capabilities import database as capability
from object_service.capabilities.database.database import Database
from object_service.capabilities.database.resources.resource import Resource
from object_service.capabilities.database.resources.router import build_router
from object_service.capabilities.database.tables import Document, ResourceTable, Table, TemplateTable
from object_service.chassis.features import Feature
from object_service.chassis.runtime import Runtime
from object_service.chassis.web.app import build_app


class Size(StrEnum):
    """How large a thing is."""

    SMALL = "small"
    LARGE = "large"


class _Apart(ResourceTable):
    """Beside the tables of the service, which other tests compare with its migrations."""

    __abstract__ = True
    metadata = MetaData(naming_convention=Table.metadata.naming_convention)


_SHOWN = text("deleted_at IS NULL")


class ThingRow(_Apart):
    """One thing."""

    __tablename__ = "things"
    __table_args__ = (
        UniqueConstraint("code", "day"),
        CheckConstraint("amount_cents <> 13", name="lucky"),
        Index("uq_things_label", "label", unique=True, sqlite_where=_SHOWN, postgresql_where=_SHOWN),
    )

    code: Mapped[str] = mapped_column(String(20))
    day: Mapped[date | None]
    size: Mapped[Size]
    amount_cents: Mapped[int]
    price: Mapped[Decimal | None] = mapped_column(Numeric(10, 2))
    detail: Mapped[dict[str, Any] | None] = mapped_column(Document)
    parent_id: Mapped[str | None] = mapped_column(ForeignKey("things.id"))
    note: Mapped[str | None] = mapped_column(String(200))
    label: Mapped[str | None] = mapped_column(String(20))
    facts: Mapped[Any | None] = mapped_column(Document)


class Detail(BaseModel):
    """A document inside a thing."""

    model_config = ConfigDict(extra="forbid", strict=True)

    since: datetime | None = None
    words: list[str] = []


class ThingBody(BaseModel):
    """What callers write; a note is kept and never shown."""

    model_config = ConfigDict(extra="forbid", strict=True, hide_input_in_errors=True, allow_inf_nan=False)

    code: str = Field(min_length=1)
    day: date | None = None
    size: Size = Size.SMALL
    amount_cents: int = 0
    price: Decimal | None = None
    detail: Detail | None = None
    parent_id: str | None = None
    note: str | None = None
    label: str | None = None
    facts: Any = None


class Thing(BaseModel):
    """What callers read."""

    id: str
    code: str
    day: date | None = None
    size: Size
    amount_cents: int
    price: Decimal | None = None
    detail: Detail | None = None
    parent_id: str | None = None
    label: str | None = None
    facts: Any = None
    created_at: datetime
    updated_at: datetime
    deleted_at: datetime | None = None


THINGS = Resource(
    name="things", prefix="thi", table=ThingRow, body=ThingBody, record=Thing, filters=("code",), sorts=("code",)
)
URL = "/v1/things"


@dataclass(frozen=True, slots=True)
class Service:
    """A started service with things."""

    client: httpx2.AsyncClient
    database: Database

    async def create(self, **fields: Any) -> httpx2.Response:
        """Return the answer to a creation that succeeded."""
        answer = await self.client.post(URL, json={"code": "a", **fields})
        assert answer.status_code == 201, answer.text
        return answer

    async def audit(self, id_: str | None = None, **parameters: Any) -> list[dict[str, Any]]:
        """Return audit entries, newest first."""
        asked = {"resource": "things", **({"id": id_} if id_ else {}), **parameters}
        answer = await self.client.get("/v1/audit", params=asked)
        assert answer.status_code == 200, answer.text
        items: list[dict[str, Any]] = answer.json()["items"]
        return items

    async def bulk(self, items: list[Any], mode: str = "all", **headers: str) -> httpx2.Response:
        """Return the answer to many creations."""
        return await self.client.post(f"{URL}/$bulk", json={"items": items, "mode": mode}, headers=headers)


def _router(*_: object) -> APIRouter:
    return build_router(THINGS)


@asynccontextmanager
async def serving(url: str) -> AsyncIterator[Service]:
    """Serve things from a database, in this process."""
    runtime = Runtime((capability.FEATURE, Feature(name="things", router=_router)))
    settings = runtime.load({("database", "url"): url})
    async with runtime.started(settings) as container:
        database = container[Database]
        async with database.engine.begin() as connection:
            for metadata in (TemplateTable.metadata, ThingRow.metadata):
                await connection.run_sync(metadata.create_all)
        transport = httpx2.ASGITransport(build_app(settings, runtime.features, container))
        async with httpx2.AsyncClient(transport=transport, base_url="http://service.test") as client:
            yield Service(client, database)

"""A resource whose columns are of every kind that callers can ask for, and the same rows as plain values."""

import random
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any
from urllib.parse import urlencode

import httpx2
from fastapi import APIRouter, FastAPI
from pydantic import BaseModel
from sqlalchemy import BigInteger, Index, MetaData, String, insert
from sqlalchemy.orm import Mapped, mapped_column

from object_service.capabilities.database.database import Database
from object_service.capabilities.database.resources.read_routes import add_reads
from object_service.capabilities.database.resources.resource import Resource
from object_service.capabilities.database.settings import DatabaseSection
from object_service.capabilities.database.tables import Document, ResourceTable, Table
from object_service.chassis.config.loading import load
from object_service.chassis.container import Container
from object_service.chassis.features import Feature
from object_service.chassis.runtime import OWN_FEATURES
from object_service.chassis.web.app import build_app

URL = "/v1/songs"
NOON = datetime(2025, 1, 1, 12, tzinfo=UTC)


class _Apart(ResourceTable):
    """Beside the tables of the service, which other tests compare with its migrations."""

    __abstract__ = True
    metadata = MetaData(naming_convention=Table.metadata.naming_convention)


class SongRow(_Apart):
    """One song."""

    __tablename__ = "songs"
    __table_args__ = (Index(None, "created_at", "id"), Index(None, "duration_s", "id"), Index(None, "title", "id"))

    title: Mapped[str] = mapped_column(String(200))
    singer: Mapped[str | None] = mapped_column(String(200))
    language: Mapped[str | None] = mapped_column(String(35))
    is_active: Mapped[bool]
    duration_s: Mapped[float | None]
    plays: Mapped[int]
    listeners: Mapped[int | None] = mapped_column(BigInteger)
    released: Mapped[date | None]
    tags: Mapped[list[str]] = mapped_column(Document)
    secret: Mapped[str | None] = mapped_column(String(20))


class SongBody(BaseModel):
    """What callers write."""

    title: str
    singer: str | None = None
    language: str | None = None
    is_active: bool = True
    duration_s: float | None = None
    plays: int = 0
    listeners: int | None = None
    released: date | None = None
    tags: list[str] = []


class Song(SongBody):
    """What callers read."""

    id: str
    created_at: datetime
    updated_at: datetime
    deleted_at: datetime | None = None


RANGED = ("title", "language", "duration_s", "plays", "listeners", "released", "created_at")
RANGE_NAMES = {f"{name}[{operator}]" for name in RANGED for operator in ("gt", "gte", "lt", "lte")}
FILTERS = ("title", "language", "is_active", "duration_s", "plays", "listeners", "released", "tags", "created_at")
SORTS = ("title", "language", "duration_s", "plays", "listeners", "released", "created_at")
SONGS = Resource(
    name="songs",
    prefix="son",
    table=SongRow,
    body=SongBody,
    record=Song,
    filters=FILTERS,
    sorts=SORTS,
    search=("title", "singer"),
)


def song(number: int, **values: Any) -> dict[str, Any]:
    """Return one row; what is not stated is the same for all."""
    row: dict[str, Any] = dict.fromkeys(("singer", "language", "duration_s", "listeners", "released"))
    row |= {"title": "Song", "is_active": True, "plays": 0, "tags": [], "secret": "s3cret", "version": 1}
    row |= {"id": f"son_{number:06}", "created_at": NOON, "updated_at": NOON, "deleted_at": None}
    return row | values


def some_songs(seed: int, count: int = 60) -> list[dict[str, Any]]:
    """Return rows with few different values, so that many are equal, and with many that are missing."""
    chance = random.Random(seed)  # noqa: S311 - nothing secret

    def one_of(*values: Any) -> Any:
        return chance.choice(values)

    return [
        song(
            number,
            title=one_of("Alice", "alice", "Ärger", "äRGER", "50% off", "snake_case", "back\\slash", "Z", "", "ﬀ🎵"),
            singer=one_of(None, "Bob", "ALICE Cooper", "Ünal", "a,b"),
            language=one_of(None, "en", "de", "fr"),
            is_active=chance.random() < 0.5,
            duration_s=one_of(None, -1.5, 0.0, 0.1, 3.0, 1e300, chance.random()),
            plays=one_of(0, 1, 2, -(2**31), 2**31 - 1),
            listeners=one_of(None, 0, -(2**63), 2**63 - 1),
            released=one_of(None, date(1, 1, 1), date(2020, 2, 29), date(9999, 12, 31)),
            tags=one_of([], ["a"], ["a", "b"], ["b", "c"], ["ä'\""]),
            created_at=NOON + timedelta(microseconds=one_of(0, 0, 1, 999_999), days=one_of(0, 0, -40, 300_000)),
            deleted_at=one_of(None, None, None, NOON),
        )
        for number in chance.sample(range(count), count)
    ]


@dataclass(frozen=True, slots=True)
class Service:
    """A service with songs."""

    client: httpx2.AsyncClient
    database: Database
    app: FastAPI

    async def get(self, path: str = "", headers: Mapping[str, str] | None = None, **given: Any) -> httpx2.Response:
        """Return what is answered to parameters; `created_at__gte` stands for `created_at[gte]`."""
        names = {name: f"{name.replace('__', '[')}]" if "__" in name else name for name in given}
        query = urlencode({names[name]: value for name, value in given.items()})
        return await self.client.get(f"{URL}{path}?{query}" if query else f"{URL}{path}", headers=headers)

    async def ids(self, **given: Any) -> list[int]:
        """Return the numbers of the songs that are found."""
        answer = await self.get(**given)
        assert answer.status_code == 200, answer.text
        return [int(item["id"][4:]) for item in answer.json()["items"]]

    async def refused(self, path: str = "", **given: Any) -> dict[str, Any]:
        """Return the problem that parameters are answered with."""
        answer = await self.get(path, **given)
        assert (answer.status_code, "application/problem+json") == (422, answer.headers["content-type"]), answer.text
        document: dict[str, Any] = answer.json()
        return document

    async def add(self, *rows: Mapping[str, Any]) -> None:
        """Add rows."""
        async with self.database.writing() as connection:
            for start in range(0, len(rows), 1000):
                await connection.execute(insert(SongRow), list(rows[start : start + 1000]))


@asynccontextmanager
async def serving(url: str, rows: Sequence[Mapping[str, Any]] = ()) -> AsyncIterator[Service]:
    """Serve songs from a database, in this process."""

    def router(_: object) -> APIRouter:
        songs = APIRouter(prefix=URL, tags=["songs"])
        add_reads(songs, SONGS)
        return songs

    features = (*OWN_FEATURES, Feature(name="songs", router=router))
    container = Container()
    database = container.provide(Database, Database(DatabaseSection(url=url)))
    try:
        async with database.engine.begin() as connection:
            await connection.run_sync(SongRow.metadata.create_all)
        app = build_app(load(features), features, container)
        transport = httpx2.ASGITransport(app)
        async with httpx2.AsyncClient(transport=transport, base_url="http://service.test") as client:
            service = Service(client, database, app)
            await service.add(*rows)
            yield service
    finally:
        await database.aclose()

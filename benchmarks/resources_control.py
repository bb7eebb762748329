"""Control: the recordings of the sample resource, written by hand with FastAPI and SQLAlchemy, and nothing around them.

Usage: `python resources_control.py serve URL PORT` or `python resources_control.py fill URL COUNT`. It uses the tables
that `my-service migrate` made, validates the same bodies, writes the same audit, and opens its connections alike. It
has no query language, no error translation, no context, no metrics and no settings: what those cost is measured.
Bodies are FastAPI's to validate; answers are built by hand, which is cheaper than a response model.
"""

import asyncio
import secrets
import sys
import time
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any

import uvicorn
from fastapi import FastAPI, Query, Request
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict, Field
from sqlalchemy import (
    JSON,
    Boolean,
    Column,
    DateTime,
    Float,
    Integer,
    MetaData,
    String,
    Table,
    event,
    func,
    insert,
    select,
)
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

_POOL_CONNECTIONS = 10
_LOCK_WAIT_S = 30
_FILL_AT_ONCE = 10_000
_BEGIN = "begin_mode"
_DOCUMENT = JSON().with_variant(JSONB(), "postgresql")
_METADATA = MetaData()

RECORDINGS = Table(
    "recordings",
    _METADATA,
    Column("id", String(64), primary_key=True),
    Column("version", Integer),
    Column("created_at", DateTime(timezone=True)),
    Column("updated_at", DateTime(timezone=True)),
    Column("deleted_at", DateTime(timezone=True)),
    Column("title", String(200)),
    Column("language", String(35)),
    Column("is_active", Boolean),
    Column("duration_s", Float),
    Column("tags", _DOCUMENT),
)
AUDIT = Table(
    "template_audit",
    _METADATA,
    Column("number", Integer, primary_key=True),
    Column("resource", String(64)),
    Column("record_id", String(64)),
    Column("action", String(16)),
    Column("actor", String(64)),
    Column("correlation_id", String(128)),
    Column("at", DateTime(timezone=True)),
    Column("before", _DOCUMENT),
    Column("after", _DOCUMENT),
)
_SHOWN = [column.name for column in RECORDINGS.columns if column.name != "version"]


class RecordingBody(BaseModel):
    """What callers write."""

    model_config = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)

    title: str = Field(min_length=1, max_length=200)
    language: str | None = Field(default=None, max_length=35, pattern=r"^[a-z]{2,3}(-[A-Za-z0-9]{2,8})*$")
    is_active: bool = True
    duration_s: float | None = Field(default=None, ge=0)
    tags: list[Annotated[str, Field(min_length=1, max_length=40)]] = Field(default=[], max_length=20)


class Bodies(BaseModel):
    """Several new recordings."""

    model_config = ConfigDict(extra="forbid")

    items: list[RecordingBody] = Field(min_length=1, max_length=10_000)


def open_engine(url: str) -> AsyncEngine:
    """Return an engine with the settings that the service has by default."""
    if url.startswith("postgresql"):
        settings = {"application_name": "control", "timezone": "UTC", "statement_timeout": "30000"}
        return create_async_engine(
            url.replace("postgresql:", "postgresql+asyncpg:", 1),
            connect_args={"timeout": 5, "server_settings": settings},
            pool_size=_POOL_CONNECTIONS,
            max_overflow=0,
            pool_recycle=1800,
            pool_pre_ping=True,
        )
    engine = create_async_engine(
        url.replace("sqlite:", "sqlite+aiosqlite:", 1),
        connect_args={"timeout": _LOCK_WAIT_S, "isolation_level": None},
        pool_size=_POOL_CONNECTIONS,
        max_overflow=0,
    )

    @event.listens_for(engine.sync_engine, "connect")
    def set_up(connection: Any, _: object) -> None:
        cursor = connection.cursor()
        for pragma in ("journal_mode=WAL", "synchronous=NORMAL", "foreign_keys=ON"):
            cursor.execute(f"PRAGMA {pragma}")
        cursor.close()

    @event.listens_for(engine.sync_engine, "begin")
    def begin(connection: Any) -> None:
        connection.exec_driver_sql(f"BEGIN {connection.get_execution_options().get(_BEGIN, 'DEFERRED')}")

    return engine


def new_row(body: RecordingBody, at: datetime) -> dict[str, Any]:
    """Return the row of a new recording."""
    id_ = f"rec_{time.time_ns() // 1_000_000:012x}{secrets.token_hex(10)}"
    return {"id": id_, "version": 1, "created_at": at, "updated_at": at, "deleted_at": None, **body.model_dump()}


def document(values: Iterable[Any]) -> dict[str, Any]:
    """Return what callers read; times are kept in UTC, of which SQLite knows nothing."""
    return {
        name: _text(value) if isinstance(value, datetime) else value
        for name, value in zip(_SHOWN, values, strict=True)
        if value is not None
    }


def _text(moment: datetime) -> str:
    return f"{moment.replace(tzinfo=None).isoformat(timespec='microseconds')}Z"


def audit_row(row: Mapping[str, Any], correlation_id: str) -> dict[str, Any]:
    """Return what is kept about a creation."""
    return {
        "resource": "recordings",
        "record_id": row["id"],
        "action": "create",
        "actor": "anonymous",
        "correlation_id": correlation_id,
        "at": row["created_at"],
        "before": None,
        "after": document(row[name] for name in _SHOWN),
    }


def build_app(engine: AsyncEngine) -> FastAPI:
    """Return the application."""
    app = FastAPI(openapi_url=None)

    async def add(rows: list[dict[str, Any]], request: Request) -> None:
        correlation_id = request.headers.get("x-request-id") or secrets.token_hex(16)
        async with engine.connect() as connection:
            await connection.execution_options(**{_BEGIN: "IMMEDIATE"})
            async with connection.begin():
                await connection.execute(insert(RECORDINGS).inline(), rows)
                await connection.execute(insert(AUDIT).inline(), [audit_row(row, correlation_id) for row in rows])

    @app.get("/livez")
    async def livez() -> dict[str, str]:
        return {"status": "ok"}

    @app.post("/v1/recordings")
    async def create(body: RecordingBody, request: Request) -> JSONResponse:
        row = new_row(body, datetime.now(UTC))
        await add([row], request)
        headers = {"Location": f"/v1/recordings/{row['id']}", "ETag": f'"{row["id"]}.{row["version"]}"'}
        return JSONResponse(document(row[name] for name in _SHOWN), 201, headers)

    @app.post("/v1/recordings/$bulk")
    async def bulk(bodies: Bodies, request: Request) -> JSONResponse:
        at = datetime.now(UTC)
        rows = [new_row(body, at) for body in bodies.items]
        await add(rows, request)
        return JSONResponse({"items": [{"status": 201, "id": row["id"]} for row in rows]})

    @app.get("/v1/recordings")
    async def listing(
        page: Annotated[int, Query(ge=1)] = 1, size: Annotated[int, Query(ge=1, le=1000)] = 20
    ) -> JSONResponse:
        columns, visible = [RECORDINGS.c[name] for name in _SHOWN], RECORDINGS.c.deleted_at.is_(None)
        wanted = select(*columns).where(visible).order_by(RECORDINGS.c.id).limit(size).offset((page - 1) * size)
        async with engine.connect() as connection:
            rows = (await connection.execute(wanted)).all()
            count = select(func.count()).select_from(RECORDINGS).where(visible)
            total = (await connection.execute(count)).scalar_one()
        return JSONResponse({"items": [document(row) for row in rows], "page": page, "size": size, "total": total})

    return app


async def fill(url: str, count: int) -> None:
    """Add so many recordings, one second apart, the last one now, without audit."""
    engine = open_engine(url)
    begin = datetime.now(UTC) - timedelta(seconds=count)
    for start in range(0, count, _FILL_AT_ONCE):
        body = RecordingBody(title="An interview of medium length", language="en", duration_s=12.5, tags=["one", "two"])
        rows = [
            {**new_row(body, begin + timedelta(seconds=number)), "id": f"rec_{number:032x}"}
            for number in range(start, min(count, start + _FILL_AT_ONCE))
        ]
        async with engine.begin() as connection:
            await connection.execute(insert(RECORDINGS).inline(), rows)
    await engine.dispose()


if __name__ == "__main__":
    action, address, number = sys.argv[1:]
    if action == "fill":
        asyncio.run(fill(address, int(number)))
    else:
        uvicorn.run(build_app(open_engine(address)), host="127.0.0.1", port=int(number), http="h11", ws="none")

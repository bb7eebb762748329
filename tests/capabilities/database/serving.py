"""The application of a service that has only a database, without a server."""

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager

import httpx2
import pytest
from fastapi import APIRouter

from object_service.capabilities.database import FEATURE
from object_service.capabilities.database.database import Database
from object_service.capabilities.database.tables import TemplateTable
from object_service.chassis.container import Container
from object_service.chassis.features import Feature
from object_service.chassis.identity import ENV_PREFIX
from object_service.chassis.runtime import Runtime
from object_service.chassis.web.app import build_app


@asynccontextmanager
async def served(
    url: str, *, routes: APIRouter | None = None, settings: Mapping[str, object] | None = None, tables: bool = True
) -> AsyncIterator[tuple[httpx2.AsyncClient, Container]]:
    """Yield a client of a started service, and what the service is made of."""
    features: Sequence[Feature] = (FEATURE,)
    if routes is not None:
        features = (*features, Feature(name="own", router=lambda _: routes))
    runtime = Runtime(tuple(features))
    with pytest.MonkeyPatch.context() as patch:
        for name, value in {"url": url, **(settings or {})}.items():
            patch.setenv(f"{ENV_PREFIX}DATABASE__{name.upper()}", str(value))
        loaded = runtime.load()
    async with runtime.started(loaded) as container:
        if tables:
            async with container[Database].writing() as connection:
                await connection.run_sync(TemplateTable.metadata.create_all)
        transport = httpx2.ASGITransport(build_app(loaded, runtime.features, container))
        async with httpx2.AsyncClient(transport=transport, base_url="http://service") as client:
            yield client, container

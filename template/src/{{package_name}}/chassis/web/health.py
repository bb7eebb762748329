"""Health: is the process alive, is it ready, and what is it."""

import asyncio
import logging
from typing import Literal

from fastapi import APIRouter
from fastapi.responses import Response
from pydantic import BaseModel

from ..auth.authentication import Authentication
from ..config.settings import Settings
from ..container import Container, Ping
from ..contracts.context import current
from ..contracts.work import LongWork
from ..identity import SERVICE, TEMPLATE_VERSION, service_version
from .access import OPEN, OPERATIONS
from .routes import json_response

PING_TIMEOUT_S = 2.0

_log = logging.getLogger(__name__)


class Check(BaseModel):
    """Whether one engine of the service answers."""

    status: Literal["ok", "failed"]


class Readiness(BaseModel):
    """Whether everything that the service owns answers; `draining` from SIGTERM on."""

    status: Literal["ok", "failed", "draining"]
    checks: dict[str, Check] | None = None


class Info(BaseModel):
    """What runs here."""

    service: str
    version: str
    environment: str
    capabilities: list[str]
    long_work: Literal["in_process", "durable"]
    template_version: str


def build_router(settings: Settings, container: Container, capabilities: list[str]) -> APIRouter:
    """Return the routes that operators and orchestrators ask."""
    router = APIRouter(tags=["operations"])

    @router.get("/livez", dependencies=[OPEN])
    async def livez() -> dict[str, str]:
        """Tell that the process answers; touches nothing."""
        return {"status": "ok"}

    @router.get(
        "/readyz",
        response_model=Readiness,
        responses={503: {"model": Readiness, "description": "Not ready"}},
        dependencies=[OPEN],
    )
    async def readyz() -> Response:
        """Ask everything the service owns whether it answers; which of it does not is told to operators."""
        if container.stopping.announced:
            return json_response({"status": "draining"}, status=503)
        names = list(container.pings)
        alive = await asyncio.gather(*(_alive(name, container.pings[name]) for name in names))
        checks = {name: {"status": "ok" if ok else "failed"} for name, ok in zip(names, alive, strict=True)}
        ready = all(alive)
        document: dict[str, object] = {"status": "ok" if ready else "failed"}
        if _told_everything(container):
            document["checks"] = checks
        return json_response(document, status=200 if ready else 503)

    @router.get("/info", response_model=Info)
    async def info() -> Response:
        """Tell what runs here."""
        document = {
            "service": SERVICE,
            "version": service_version(),
            "environment": settings.environment,
            "capabilities": capabilities,
            "long_work": container[LongWork].mode if LongWork in container else "in_process",
            "template_version": TEMPLATE_VERSION,
        }
        return json_response(document)

    return router


def _told_everything(container: Container) -> bool:
    principal = current().principal
    guarded = Authentication in container and not container[Authentication].open
    return not guarded or (principal is not None and principal.has(OPERATIONS))


async def _alive(name: str, ping: Ping) -> bool:
    try:
        async with asyncio.timeout(PING_TIMEOUT_S):
            await ping()
    except Exception as error:  # noqa: BLE001 - whatever a ping raises, its engine is not ready
        # Probes ask every few seconds: a trace each time would bury everything else.
        _log.warning("ping_failed", extra={"check": name, "error": f"{type(error).__name__}: {error}"})
        return False
    return True

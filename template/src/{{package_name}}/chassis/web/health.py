"""Health: is the process alive, is it ready, and what is it."""

from collections.abc import Mapping
from typing import Literal

from fastapi import APIRouter
from fastapi.responses import Response
from pydantic import BaseModel, Field

from ..auth.authentication import Authentication
from ..config.settings import Settings
from ..container import Container
from ..contracts.context import current
from ..contracts.work import LongWork
from ..identity import SERVICE, TEMPLATE_VERSION, service_version
from ..metrics import Metrics
from ..resilience.telemetry import ProviderMetrics
from .access import OPEN, OPERATIONS
from .readiness import Readiness as Asked
from .routes import json_response
from .settings import HttpSection

_WORDS = {True: "ok", False: "failed"}


class Check(BaseModel):
    """Whether one engine of the service answers."""

    status: Literal["ok", "failed"]


class Readiness(BaseModel):
    """Whether everything that the service owns answers; `draining` from SIGTERM on. Providers are owned by others."""

    status: Literal["ok", "failed", "draining"]
    checks: dict[str, Check] | None = None
    providers: dict[str, Check] | None = Field(
        default=None,
        description="Providers that are left alone for a while, because they fail; no reason not to be ready.",
    )


class Info(BaseModel):
    """What runs here."""

    service: str
    version: str
    environment: str
    capabilities: list[str]
    long_work: Literal["in_process", "durable"]
    template_version: str


def build_probes(settings: Settings, container: Container, *, detailed: bool = False) -> APIRouter:
    """Return the routes that orchestrators ask; `detailed` tells everybody what is not ready."""
    router = APIRouter(tags=["operations"])
    readiness = Asked(container.pings, settings[HttpSection].ready_hold_s)

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
        alive = await readiness.ask()
        ready = all(alive.values())
        told = detailed or _told_everything(container)
        document = {"status": _WORDS[ready], **(_detail(container, alive) if told else {})}
        return json_response(document, status=200 if ready else 503)

    return router


def build_info(settings: Settings, container: Container, capabilities: list[str]) -> APIRouter:
    """Return the route that tells operators what runs."""
    router = APIRouter(tags=["operations"])

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


def _checks(alive: Mapping[str, bool]) -> dict[str, dict[str, str]]:
    return {name: {"status": _WORDS[ok]} for name, ok in alive.items()}


def _detail(container: Container, alive: Mapping[str, bool]) -> dict[str, object]:
    left_alone = container[Metrics].of(ProviderMetrics).left_alone() if Metrics in container else []
    providers = {"providers": _checks(dict.fromkeys(left_alone, False))} if left_alone else {}
    return {"checks": _checks(alive), **providers}


def _told_everything(container: Container) -> bool:
    principal = current().principal
    guarded = Authentication in container and not container[Authentication].open
    return not guarded or (principal is not None and principal.has(OPERATIONS))

"""Diarization, put together: its settings and its FEATURE."""

import logging
from collections.abc import Iterable
from typing import TYPE_CHECKING, override

from pydantic import Field

from ..adapters import diarization as adapters
from ..chassis.clock import SystemClock
from ..chassis.config.section import Contradiction, Environment, LongWorkSection, Section
from ..chassis.config.settings import Settings
from ..chassis.container import Container
from ..chassis.contracts.policy import Level
from ..chassis.features import Feature
from ..chassis.identity import origin
from ..chassis.polling import Poller
from ..chassis.providers import Catalogue, install_providers
from ..chassis.work import Spool, long_work
from ..domain.diarization import OPERATIONS, DiarizationParams, Diarizer
from ..service.diarization import DiarizationService, WorkTools
from ..transport.cli.diarization import register

if TYPE_CHECKING:
    from fastapi import APIRouter


class DiarizationDefaults(Section):
    """What is asked of the provider where a request states nothing."""

    min_speakers: int | None = Field(default=None, ge=1, description="Fewest speakers to expect.")
    max_speakers: int | None = Field(default=None, ge=1, description="Most speakers to expect.")


class DiarizationSection(LongWorkSection):
    """Settings of diarization."""

    provider: str = Field(default="energy", description="Name of the provider that answers when a request names none.")
    max_upload_bytes: int = Field(default=500 * 1024 * 1024, ge=1, description="Largest upload, in bytes.")
    max_duration_s: float = Field(default=7200, gt=0, description="Longest recording, in seconds.")
    fetch_urls: bool = Field(default=False, description="Accept `audio_url`, which the service fetches itself.")
    params: DiarizationDefaults = Field(
        default=DiarizationDefaults(), description="Params where a request states nothing."
    )

    @override
    def contradictions(self, environment: Environment) -> Iterable[Contradiction]:
        contradiction = DiarizationParams(self.params.min_speakers, self.params.max_speakers).contradiction()
        if contradiction is not None:
            yield Contradiction(("params", "min_speakers"), contradiction)


CATALOGUE: Catalogue[Diarizer] = Catalogue(adapters)


async def install(container: Container, settings: Settings) -> None:
    """Build the providers and the service."""
    logging.getLogger("python_multipart").setLevel(logging.ERROR)  # its warnings quote what a caller sent
    section = settings[DiarizationSection]
    providers = install_providers(
        container,
        settings,
        feature="diarization",
        section=DiarizationSection,
        catalogue=CATALOGUE,
        operations=OPERATIONS,
    )
    timeouts = {instance.name: instance.config.resilience.timeouts for instance in settings.instances}
    work = long_work(container)
    spool = container.provide(Spool, Spool(work.uploads))
    container.on_close(spool.aclose)
    tools = WorkTools(
        runner=work.runner,
        store=work.store,
        poll=Poller(SystemClock()),
        discard=spool.discard,
        job_timeout_s=lambda provider: timeouts[provider].job_s,
        max_duration_s=section.max_duration_s,
    )
    stated = Level("settings", settings.stated_fields(section.params, ("diarization", "params")))
    service = DiarizationService(providers, tools, origin=origin(), clock=SystemClock(), stated=stated)
    container.provide(DiarizationService, service)


def router(settings: Settings) -> "APIRouter":
    """Return the routes."""
    from ..transport.http.diarization import build_router  # noqa: PLC0415 - brings the web framework

    section = settings[DiarizationSection]
    return build_router(section.max_upload_bytes, fetch_urls=section.fetch_urls)


FEATURE = Feature(
    name="diarization",
    section=DiarizationSection,
    install=install,
    catalogue=CATALOGUE,
    router=router,
    commands=register,
    tags={"diarization": "Who spoke when: hand in a recording, look for the result."},
)

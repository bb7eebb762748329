"""Generated text, put together: its settings and its FEATURE."""

from collections.abc import Iterable
from typing import TYPE_CHECKING, Literal, override

from pydantic import Field

from ..adapters import genai as adapters
from ..adapters.genai._schemas import JsonSchema
from ..chassis.clock import SystemClock
from ..chassis.config.section import Contradiction, Environment, ObjectSection, Section
from ..chassis.config.settings import Settings
from ..chassis.container import Container
from ..chassis.contracts.policy import Level
from ..chassis.features import Feature
from ..chassis.identity import origin
from ..chassis.providers import Catalogue, TokenProviderConfig, install_providers
from ..chassis.work import keeping
from ..domain.genai import OPERATIONS, PROFILES, TextGenerator
from ..service.genai import GenAIService
from ..transport.cli.genai import register

if TYPE_CHECKING:
    from fastapi import APIRouter


class GenAIParams(Section):
    """What is asked of the provider where a request states nothing."""

    max_output_tokens: int | None = Field(default=None, ge=1, description="Longest answer, in tokens.")
    temperature: float | None = Field(default=None, ge=0, le=2, description="Randomness, 0 to 2.")


class GenAIPolicy(Section):
    """How answers are treated where a request states nothing."""

    profile: str | None = Field(default=None, description="Profile that is used.")
    allow_partials: bool | None = Field(default=None, description="Keep what is finished when time runs out.")
    on_refusal: Literal["fail", "return"] | None = Field(default=None, description="What a refusal becomes.")


class GenAISection(ObjectSection):
    """Settings of generated text."""

    provider: str = Field(default="echo", description="Name of the provider that answers when a request names none.")
    max_prompt_chars: int = Field(default=100_000, ge=1, description="Longest prompt, in characters.")
    max_concurrent: int = Field(default=8, ge=1, description="Items of one batch that are answered at once.")
    params: GenAIParams = Field(default=GenAIParams(), description="Params where a request states nothing.")
    policy: GenAIPolicy = Field(default=GenAIPolicy(), description="Policy where a request states nothing.")

    @override
    def contradictions(self, environment: Environment) -> Iterable[Contradiction]:
        if self.policy.profile is not None and self.policy.profile not in PROFILES:
            expected = f"one of {', '.join(sorted(PROFILES))}"
            yield Contradiction(("policy", "profile"), expected, "set it to one of these or remove it")


CATALOGUE: Catalogue[TextGenerator] = Catalogue(adapters)


async def install(container: Container, settings: Settings) -> None:
    """Build the providers and the service."""
    section = settings[GenAISection]
    providers = install_providers(
        container, settings, feature="genai", section=GenAISection, catalogue=CATALOGUE, operations=OPERATIONS
    )
    stated = settings.stated_fields(section.params, ("genai", "params"))
    stated |= settings.stated_fields(section.policy, ("genai", "policy"))
    service = GenAIService(
        providers,
        origin=origin(),
        clock=SystemClock(),
        stated=Level("settings", stated),
        max_prompt_chars=section.max_prompt_chars,
        max_concurrent=section.max_concurrent,
        schemas=JsonSchema(),
        prices={
            instance.name: price
            for instance in settings.instances_of("genai")
            if isinstance(instance.config, TokenProviderConfig) and (price := instance.config.price.stated())
        },
        keep=keeping(container),
    )
    container.provide(GenAIService, service)


def router(settings: Settings) -> "APIRouter":
    """Return the routes."""
    from ..transport.http.genai import build_router  # noqa: PLC0415 - brings the web framework

    return build_router(settings[GenAISection].max_prompt_chars)


FEATURE = Feature(
    name="genai",
    section=GenAISection,
    install=install,
    catalogue=CATALOGUE,
    router=router,
    commands=register,
    tags={"genai": "Generated text: whole, in pieces, in batches."},
)

"""Provider kinds: found by the names of their modules, built from their settings, put to work in a container."""

import pkgutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Any

from pydantic import Field, HttpUrl, SecretStr

from .clock import SystemClock
from .config.section import ObjectSection, Section
from .config.settings import Settings
from .container import Container
from .contracts.call import Operation
from .contracts.clock import Clock
from .contracts.envelope import Origin
from .contracts.providers import Provider, Providers
from .contracts.work import LongWork
from .http_client import open_http
from .identity import SERVICE, service_version
from .resilience.pipeline import guard
from .resilience.settings import Resilience
from .resilience.steps import build_pipeline
from .work import InProcessRunner, MemoryStore

if TYPE_CHECKING:
    import httpx2


class ProviderConfig(Section):
    """What every configured provider has; a kind adds its own fields."""

    kind: str = Field(default="", description="Kind of the provider; without it, the provider's name.")
    resilience: Resilience = Field(default=Resilience(), description="What guards its calls.")


class HttpProviderConfig(ProviderConfig):
    """What every provider behind HTTP has."""

    base_url: HttpUrl = Field(description="Where its API begins.")
    api_key: SecretStr = Field(min_length=1, description="Its credential.")


@dataclass(frozen=True, slots=True)
class Resources:
    """What a kind may use to build a provider named `name`."""

    name: str
    clock: Clock
    open_http: Callable[[HttpProviderConfig], "httpx2.AsyncClient"]


@dataclass(frozen=True, slots=True)
class ProviderKind[C: ProviderConfig, P]:
    """A way to provide a port; `KIND` of its module. `offline` kinds answer without any outside system."""

    config: type[C]
    build: Callable[[C, Resources], P]
    offline: bool = False

    def create(self, config: ProviderConfig, resources: Resources) -> P:
        """Build an instance from checked settings."""
        if not isinstance(config, self.config):
            message = f"expected {self.config.__name__}, got {type(config).__name__}"
            raise TypeError(message)
        return self.build(config, resources)


class Catalogue[P]:
    """The kinds of one port: the modules of its adapters folder; a name that starts with `_` is none."""

    def __init__(self, folder: ModuleType) -> None:
        """Remember the folder; nothing in it is imported yet."""
        self._folder = folder

    @cached_property
    def names(self) -> Sequence[str]:
        """Return the kinds in alphabetical order, without importing them."""
        found = (module.name for module in pkgutil.iter_modules(self._folder.__path__))
        return sorted(name for name in found if not name.startswith("_"))

    def kind(self, name: str) -> ProviderKind[Any, P]:
        """Import a kind.

        Raises:
            TypeError: if its module does not define `KIND`.
        """
        module = import_module(f"{self._folder.__name__}.{name}")
        kind = getattr(module, "KIND", None)
        if not isinstance(kind, ProviderKind):
            message = f"{module.__name__} must define KIND = ProviderKind(...)"
            raise TypeError(message)
        return kind


def install_providers[P](
    container: Container,
    settings: Settings,
    *,
    feature: str,
    section: type[ObjectSection],
    catalogue: Catalogue[P],
    operations: Mapping[str, Operation],
) -> Providers[P]:
    """Build every usable instance of a port behind its pipeline; the container closes them."""
    providers: dict[str, Provider[P]] = {}
    for instance in settings.instances_of(feature):
        resources = Resources(instance.name, SystemClock(), open_http)
        port = catalogue.kind(instance.kind).create(instance.config, resources)
        close = getattr(port, "aclose", None)
        if close is None:
            message = f"{type(port).__name__} has no aclose(); every port must be closable"
            raise TypeError(message)
        container.on_close(close)
        pipeline = build_pipeline(instance.config.resilience)
        guarded = guard(port, pipeline, operations, provider=instance.name, kind=instance.kind)
        providers[instance.name] = Provider(instance.name, instance.kind, guarded)
    return Providers(settings[section].provider, providers)


def long_work(container: Container) -> LongWork:
    """Return what a capability provides for long work, otherwise run it inside this process."""
    if LongWork in container:
        return container[LongWork]
    runner = InProcessRunner()
    container.on_close(runner.aclose)
    return container.provide(LongWork, LongWork(runner, MemoryStore(), "in_process"))


def origin() -> Origin:
    """Return how this service names itself in provenances."""
    return Origin(SERVICE, service_version())

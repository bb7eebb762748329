"""Installation: puts the configured providers of an object to work inside a container."""

from collections.abc import Mapping

from .clock import SystemClock
from .config.section import ObjectSection
from .config.settings import Settings
from .container import Container
from .contracts.operation import Operation
from .contracts.provenance import Origin
from .contracts.providers import Provider, Providers
from .contracts.work import LongWork
from .http_client import open_http
from .identity import SERVICE, service_version
from .providers import Catalogue, Resources
from .resilience.build import build_pipeline
from .resilience.proxy import guard
from .work import InProcessRunner, MemoryStore


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

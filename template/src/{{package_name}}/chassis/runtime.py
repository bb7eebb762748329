"""Runtime: the life of a service, from its features to a started container and back."""

import os
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from .auth.authentication import install as install_authentication
from .auth.settings import AuthSection
from .config.loading import load
from .config.settings import Settings
from .config.sources import SettingPath
from .container import Container
from .features import Feature, own_middlewares
from .identity import SERVICE, service_version
from .logs import LogSection, configure_logging
from .metrics import Metrics
from .outgoing.fetching import install as install_outgoing
from .outgoing.settings import OutgoingSection
from .redaction import know, secrets_in
from .redis import RedisSection, open_redis
from .resilience.assembly import Surroundings
from .resilience.telemetry import ProviderMetrics
from .tracing import Tracing, credentials_in, opened
from .web.rates import CallerLimits
from .web.settings import HttpSection, LimitsSection, OpsSection

if TYPE_CHECKING:
    from .resilience.shared import SharedState
    from .resilience.spans import Spans


OWN_FEATURES = (
    Feature(name="http", section=HttpSection),
    Feature(name="log", section=LogSection),
    Feature(name="outgoing", section=OutgoingSection, install=install_outgoing),
    Feature(name="limits", section=LimitsSection),
    Feature(name="redis", section=RedisSection),
    Feature(name="ops", section=OpsSection),
    Feature(name="auth", section=AuthSection, install=install_authentication),
)
"""The chassis' own settings, and what they install."""

_REDIS_URL = ("redis", "url")


@dataclass(frozen=True, slots=True)
class Runtime:
    """What a service is made of."""

    discovered: tuple[Feature, ...]

    @property
    def features(self) -> tuple[Feature, ...]:
        """Return the chassis' own features and the discovered ones."""
        return (*OWN_FEATURES, *self.discovered)

    def load(self, arguments: Mapping[SettingPath, Any] | None = None) -> Settings:
        """Read and check all settings.

        Raises:
            ConfigurationError: with every problem found.
        """
        return load(self.features, arguments)

    @asynccontextmanager
    async def started(self, settings: Settings, *, serving: bool = False) -> AsyncIterator[Container]:
        """Configure logs, install every feature, and close everything in reverse order at the end.

        With `serving` the process stays, and takes up work that others gave to the service; a command makes one call.
        """
        stated = [*settings.sections.values(), *(instance.config for instance in settings.instances)]
        know([*secrets_in(stated), *credentials_in(os.environ)])
        configure_logging(settings[LogSection])
        async with opened(os.environ) as tracing, Container(serving=serving) as container:
            shared = _shared(container, settings)
            container.provide(
                CallerLimits, CallerLimits(settings[LimitsSection], shared if _REDIS_URL in settings.stated else None)
            )
            surroundings = Surroundings(
                pause=container.stopping.pause,
                shared=shared,
                middlewares=own_middlewares(self.features),
                metrics=container.provide(Metrics, Metrics()).of(ProviderMetrics),
                spans=None if tracing is None else _spans(container, tracing),
            )
            container.provide(Surroundings, surroundings)
            for feature in self.features:
                await feature.install(container, settings)
            async with AsyncExitStack() as served:
                for feature in self.features if serving else ():
                    if feature.serve is not None:
                        await served.enter_async_context(feature.serve(container, settings))
                yield container


def _shared(container: Container, settings: Settings) -> "SharedState | None":
    """Return the state that replicas share, where the settings of any provider or of a server ask for it."""
    in_redis = container.serving and _REDIS_URL in settings.stated
    if not in_redis and not any(instance.config.resilience.in_redis() for instance in settings.instances):
        return None
    from .resilience.shared import SharedState  # noqa: PLC0415 - only with something to share

    section = settings[RedisSection]
    shared = SharedState(open_redis(section), SERVICE, timeout_s=section.timeout_s)
    container.on_close(shared.aclose)
    return shared


def _spans(container: Container, tracing: Tracing) -> "Spans":
    from .resilience.spans import Spans  # noqa: PLC0415 - only with tracing on

    container.provide(Tracing, tracing)
    return Spans(tracing.provider.get_tracer(SERVICE, service_version()))

"""Runtime: the life of a service, from its features to a started container and back."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from .config.loading import load
from .config.settings import Settings
from .config.sources import SettingPath
from .container import Container
from .features import Feature, own_middlewares
from .logs import LogSection, configure_logging
from .resilience.assembly import Surroundings
from .web.settings import HttpSection


async def _nothing(container: Container, settings: Settings) -> None:
    del container, settings


OWN_FEATURES = (
    Feature(name="http", section=HttpSection, install=_nothing),
    Feature(name="log", section=LogSection, install=_nothing),
)
"""The chassis' own settings; they install nothing."""


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
    async def started(self, settings: Settings) -> AsyncIterator[Container]:
        """Configure logs, install every feature, and close everything in reverse order at the end."""
        configure_logging(settings[LogSection])
        async with Container() as container:
            own = own_middlewares(self.features)
            container.provide(Surroundings, Surroundings(pause=container.stopping.pause, middlewares=own))
            for feature in self.features:
                await feature.install(container, settings)
            yield container

"""Two objects: weather, with an offline and a remote kind, and tide, which shares the name of one kind."""

from pydantic import Field

from chassis.doubles import Greeter
from chassis.samples import kinds, others
from object_service.chassis.config.section import ObjectSection
from object_service.chassis.config.settings import Settings
from object_service.chassis.container import Container
from object_service.chassis.features import Feature
from object_service.chassis.logs import LogSection
from object_service.chassis.providers import Catalogue
from object_service.chassis.web.settings import HttpSection


class WeatherSection(ObjectSection):
    """Settings of weather."""

    provider: str = Field(default="stub", description="Selected provider.")
    max_days: int = Field(default=3, ge=1, le=14, description="Longest forecast.")


class TideSection(ObjectSection):
    """Settings of tide."""

    provider: str = Field(default="gauge", description="Selected provider.")


async def install(container: Container, settings: Settings) -> None:
    """Install nothing."""
    del container, settings


KINDS: Catalogue[Greeter] = Catalogue(kinds)
OTHERS: Catalogue[Greeter] = Catalogue(others)
WEATHER = Feature(name="weather", section=WeatherSection, install=install, catalogue=KINDS)
TIDE = Feature(name="tide", section=TideSection, install=install, catalogue=OTHERS)
HTTP = Feature(name="http", section=HttpSection, install=install)
LOG = Feature(name="log", section=LogSection, install=install)
SERVICE = (HTTP, LOG, WEATHER)
"""The sample service; without `TIDE`, so that no kind is ambiguous."""

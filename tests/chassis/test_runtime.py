"""The life of a service: settings first, then every feature, and everything closed at the end."""

import logging
from typing import Any

import pytest

from chassis.samples.features import WEATHER, WeatherSection
from object_service.chassis.config.section import ConfigurationError, Section
from object_service.chassis.config.settings import Settings
from object_service.chassis.container import Container
from object_service.chassis.features import Feature
from object_service.chassis.logs import LogSection
from object_service.chassis.resilience.assembly import Surroundings
from object_service.chassis.runtime import Runtime
from object_service.chassis.web.settings import HttpSection


def _feature(name: str, notes: list[str], *, fails: bool = False) -> Feature:
    section: type[Section] = type(name, (Section,), {})

    async def install(container: Container, settings: Settings) -> None:
        assert isinstance(settings[section], section)
        notes.append(f"install {name}")

        async def close() -> None:
            notes.append(f"close {name}")

        container.on_close(close)
        if fails:
            raise OSError(name)

    return Feature(name=name, section=section, install=install)


def test_the_chassis_brings_its_own_settings() -> None:
    """Server and log are there without any object."""
    settings = Runtime(()).load({("http", "port"): 0})

    assert (0, "info") == (settings[HttpSection].port, settings[LogSection].level)
    assert {"http", "log"} <= {feature.name for feature in Runtime(()).features}


def test_wrong_settings_stop_the_start() -> None:
    """Nothing is installed before all settings are right."""
    with pytest.raises(ConfigurationError):
        Runtime((WEATHER,)).load({("weather", "max_days"): 99})


async def test_features_are_installed_in_order_and_closed_in_reverse() -> None:
    """What comes later may use what came before, until the end."""
    notes: list[str] = []
    runtime = Runtime((_feature("a", notes), _feature("b", notes)))

    async with runtime.started(runtime.load()) as container:
        assert isinstance(container, Container)
        notes.append("run")

    assert ["install a", "install b", "run", "close b", "close a"] == notes


async def test_a_failing_feature_closes_those_before() -> None:
    """A start that fails half-way leaves nothing open."""
    notes: list[str] = []
    runtime = Runtime((_feature("a", notes), _feature("b", notes, fails=True), _feature("c", notes)))

    with pytest.raises(OSError, match="b"):
        async with runtime.started(runtime.load()):
            pytest.fail("it started")

    assert ["install a", "install b", "close b", "close a"] == notes


async def test_logging_is_configured_before_anything_is_installed(capsys: pytest.CaptureFixture[str]) -> None:
    """The first feature already logs as the settings say."""

    async def install(container: Container, settings: Settings) -> None:
        del container, settings
        logging.getLogger("a").debug("installing")

    arguments: dict[tuple[str, ...], Any] = {("log", "level"): "debug", ("log", "format"): "json"}
    runtime = Runtime((Feature(name="weather", section=WeatherSection, install=install),))
    async with runtime.started(runtime.load(arguments)):
        pass

    assert '"event": "installing"' in capsys.readouterr().err


@pytest.mark.parametrize("scope", ["process", "redis"])
async def test_redis_is_opened_only_to_share(scope: str) -> None:
    """Nothing of it is touched by a service whose providers share nothing."""
    arguments: dict[tuple[str, ...], Any] = {("providers", "stub", "resilience", "breaker", "scope"): scope}
    runtime = Runtime((WEATHER,))
    async with runtime.started(runtime.load(arguments)) as container:
        assert (scope == "redis") == (container[Surroundings].shared is not None)


async def test_secrets_of_the_settings_are_known_to_the_log(capsys: pytest.CaptureFixture[str]) -> None:
    """From the first line on, whatever they look like: a credential need not have the form of one."""
    given: dict[tuple[str, ...], Any] = {("weather", "provider"): "remote"}
    fields = {"api_key": "zq-plain", "base_url": "https://a.example", "model": "m"}
    given |= {("providers", "remote", name): value for name, value in fields.items()}
    runtime = Runtime((WEATHER,))
    async with runtime.started(runtime.load(given)):
        logging.getLogger("some.library").warning("sent %s", "zq-plain")

    written = capsys.readouterr().err
    assert "zq-plain" not in written
    assert "sent ********" in written

"""Kinds are found by the names of their modules, and built behind the pipeline."""

import re
import sys
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from pydantic import HttpUrl, SecretStr

from chassis.doubles import OPERATIONS, Greeter, VirtualClock
from chassis.samples import kinds
from chassis.samples.features import KINDS, SERVICE, WeatherSection
from chassis.samples.kinds.remote import KIND as REMOTE
from chassis.samples.kinds.remote import RemoteConfig
from object_service.chassis.config.loading import load
from object_service.chassis.config.settings import Settings
from object_service.chassis.container import Container
from object_service.chassis.contracts.errors import RequestError
from object_service.chassis.http_client import open_http
from object_service.chassis.providers import Catalogue, ProviderConfig, ProviderKind, Resources, install_providers
from object_service.chassis.resilience.settings import Budget, Resilience

RESOURCES = Resources("mine", VirtualClock(), open_http)


def _install(container: Container, settings: Settings, catalogue: Catalogue[Any] = KINDS) -> Any:
    return install_providers(
        container, settings, feature="weather", section=WeatherSection, catalogue=catalogue, operations=OPERATIONS
    )


def test_kinds_are_the_modules_in_order() -> None:
    """A module that starts with an underscore is no kind, and listing imports nothing."""
    sys.modules.pop("chassis.samples.kinds.stub", None)

    assert ["remote", "stub"] == list(Catalogue(kinds).names)
    assert "chassis.samples.kinds.stub" not in sys.modules


def test_a_kind_is_imported_by_its_name() -> None:
    """The module's KIND is the kind."""
    assert REMOTE is KINDS.kind("remote")


@pytest.mark.parametrize("text", ["", "KIND = 5"], ids=["missing", "other"])
def test_a_module_without_a_kind_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    """Whoever adds a provider and forgets KIND is told where."""
    package = f"catalogue_{'empty' if not text else 'wrong'}"
    (tmp_path / package).mkdir()
    (tmp_path / package / "acme.py").write_text(text)
    monkeypatch.syspath_prepend(tmp_path)
    folder = ModuleType(package)
    folder.__path__ = [str(tmp_path / package)]

    with pytest.raises(TypeError, match=re.escape(f"{package}.acme must define KIND = ProviderKind(...)")):
        Catalogue(folder).kind("acme")


def test_a_kind_builds_from_its_own_settings_only() -> None:
    """Settings of another kind are a defect of the code."""
    with pytest.raises(TypeError, match="expected RemoteConfig, got ProviderConfig"):
        REMOTE.create(ProviderConfig(), RESOURCES)


def test_a_kind_gets_its_settings_and_resources() -> None:
    """What is built knows its name."""
    seen: list[tuple[ProviderConfig, Resources]] = []

    def build(config: ProviderConfig, resources: Resources) -> Greeter:
        seen.append((config, resources))
        return Greeter()

    config = ProviderConfig(kind="x")
    assert isinstance(ProviderKind(ProviderConfig, build).create(config, RESOURCES), Greeter)
    assert [(config, RESOURCES)] == seen


async def test_every_instance_is_guarded_and_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Requests may name each instance; the container closes what was built."""
    monkeypatch.setenv("OBJECT_SERVICE_PROVIDERS__MINE__KIND", "stub")
    async with Container() as container:
        providers = _install(container, load(SERVICE))
        ports = {name: provider.port for name, provider in providers.by_name.items()}
        assert {"mine": "guarded(Greeter)", "stub": "guarded(Greeter)"} == {n: repr(p) for n, p in ports.items()}
        assert "stub" == providers.choose(None).name
        assert "hello x" == await ports["mine"].greet("x")
    assert [True, True] == [port.closed for port in ports.values()]


async def test_an_incomplete_instance_cannot_be_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is not complete is unknown to requests."""
    monkeypatch.setenv("OBJECT_SERVICE_PROVIDERS__REMOTE__MODEL", "m")
    async with Container() as container:
        providers = _install(container, load(SERVICE))

    with pytest.raises(RequestError, match="Available: stub"):
        providers.choose("remote")


def test_a_port_must_be_closable() -> None:
    """A provider without `aclose` would leak connections, so it is refused at start."""

    class _Endless(Catalogue[object]):
        def kind(self, name: str) -> ProviderKind[Any, object]:
            del name
            return ProviderKind(ProviderConfig, lambda _config, _resources: object())

    with pytest.raises(TypeError, match=re.escape("object has no aclose()")):
        _install(Container(), load(SERVICE), _Endless(kinds))


@pytest.mark.parametrize("fields", [{"api_key": ""}, {"api_key": "k", "base_url": "ftp://x"}], ids=["key", "url"])
def test_a_provider_behind_http_needs_key_and_url(fields: Mapping[str, str]) -> None:
    """Both are checked before anything is opened."""
    with pytest.raises(ValueError, match="RemoteConfig"):
        RemoteConfig.model_validate({"base_url": "https://x", "model": "m", **fields})


def test_what_can_change_answers_is_part_of_the_identity() -> None:
    """The kind and its settings; neither the credential nor what only guards the calls."""
    config = RemoteConfig.model_validate({"api_key": "k-1", "base_url": "https://a.example", "model": "m"})
    same = config.model_copy(update={"api_key": SecretStr("k-2"), "resilience": Resilience(budget=Budget(capacity=9))})
    other = config.model_copy(update={"base_url": HttpUrl("https://b.example")})

    assert config.identity("remote") == same.identity("remote")
    assert 3 == len({config.identity("remote"), other.identity("remote"), config.identity("stub")})
    assert "k-1" not in config.identity("remote")

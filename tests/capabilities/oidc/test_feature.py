"""Tokens in a service: what the settings have to say, and what is refused at the start."""

import logging
from pathlib import Path

import pytest

from issuer import AUDIENCE, Issuer, shown
from object_service.capabilities.oidc import FEATURE
from object_service.chassis.auth.authentication import Authentication, install
from object_service.chassis.auth.settings import AuthSection
from object_service.chassis.config.loading import load
from object_service.chassis.config.section import ConfigurationError
from object_service.chassis.config.settings import Settings
from object_service.chassis.container import Container
from object_service.chassis.features import Feature
from object_service.chassis.identity import ENV_PREFIX

AUTH = Feature(name="auth", section=AuthSection, install=install)
OF = {"OIDC__ISSUER": "https://issuer.example", "OIDC__AUDIENCE": AUDIENCE}


def _settings(monkeypatch: pytest.MonkeyPatch, **variables: str) -> Settings:
    for name, value in variables.items():
        monkeypatch.setenv(f"{ENV_PREFIX}{name}", value)
    return load((AUTH, FEATURE))


async def _installed(settings: Settings, *, serving: bool = True) -> Container:
    container = Container(serving=serving)
    for feature in (AUTH, FEATURE):
        await feature.install(container, settings)
    return container


async def test_without_settings_there_are_no_tokens(monkeypatch: pytest.MonkeyPatch) -> None:
    """The capability does nothing until somebody says whose tokens."""
    assert not (await _installed(_settings(monkeypatch)))[Authentication].possible


async def test_an_unfinished_configuration_is_told(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """In dev with a warning, elsewhere before the start."""
    container = await _installed(_settings(monkeypatch, OIDC__ISSUER="https://issuer.example"))
    assert not container[Authentication].possible
    (line,) = [vars(record) for record in caplog.records if record.levelno == logging.WARNING]
    assert ("oidc_incomplete", ("audience", "keys_url")) == (line["message"], line["missing"])

    with pytest.raises(ConfigurationError) as caught:
        _settings(monkeypatch, ENVIRONMENT="prod")
    expected = {f"{ENV_PREFIX}{name}" for name in ("AUTH__KEYS_FILE", "OIDC__AUDIENCE", "OIDC__KEYS_URL")}
    assert expected == {problem.variable for problem in caught.value.problems}


@pytest.mark.parametrize("url", ["http://issuer.example/keys", "http://10.0.0.1/keys", "ftp://issuer.example/keys"])
def test_keys_come_over_https(monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    """Whoever can change the answer could sign tokens."""
    with pytest.raises(ConfigurationError) as caught:
        _settings(monkeypatch, **OF, OIDC__KEYS_URL=url)

    assert [f"{ENV_PREFIX}OIDC__KEYS_URL"] == [problem.variable for problem in caught.value.problems]


def test_two_sources_of_keys_contradict_each_other(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody could say which one holds."""
    both = {"OIDC__KEYS_URL": "https://issuer.example/keys", "OIDC__KEYS_FILE": "keys.json", "ENVIRONMENT": "staging"}
    with pytest.raises(ConfigurationError, match="either keys_url or keys_file"):
        _settings(monkeypatch, **OF, **both)


async def test_tokens_suffice_in_prod(monkeypatch: pytest.MonkeyPatch) -> None:
    """A service with an issuer needs no API keys; the key set is there before the port opens."""
    issuer = Issuer()
    issuer.rotate("first")
    with shown(issuer) as url:
        settings = _settings(monkeypatch, **OF, OIDC__KEYS_URL=url, ENVIRONMENT="prod")
        async with await _installed(settings) as container:
            assert 1 == issuer.requests
            principal = await container[Authentication].identify(issuer.token())
            assert await container[Authentication].identify("osk_key") is None
        await _installed(settings, serving=False)
        assert 1 == issuer.requests

    assert principal is not None
    assert "oidc:ann" == principal.id


async def test_a_server_does_not_start_without_its_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A file is a matter of configuration; an address that does not answer is an outage."""
    settings = _settings(monkeypatch, **OF, OIDC__KEYS_FILE=str(tmp_path / "keys.json"))
    with pytest.raises(ConfigurationError, match=f"{ENV_PREFIX}OIDC__KEYS_FILE"):
        await _installed(settings)
    monkeypatch.delenv(f"{ENV_PREFIX}OIDC__KEYS_FILE")

    away = await _installed(_settings(monkeypatch, OIDC__KEYS_URL="http://127.0.0.1:9/keys"))

    assert away[Authentication].possible

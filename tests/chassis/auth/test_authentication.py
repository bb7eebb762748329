"""Authentication: who is asked, and what a service refuses to start with."""

from pathlib import Path

import pytest

from object_service.chassis.auth.authentication import Authentication, install
from object_service.chassis.auth.keys import Key, digest, write
from object_service.chassis.auth.settings import AuthSection
from object_service.chassis.config.loading import load
from object_service.chassis.config.section import ConfigurationError, Environment, IdentifyingSection
from object_service.chassis.config.settings import Settings
from object_service.chassis.container import Container
from object_service.chassis.contracts.context import Principal
from object_service.chassis.features import Feature
from object_service.chassis.identity import ENV_PREFIX

AUTH = Feature(name="auth", section=AuthSection, install=install)


class _Badges(IdentifyingSection):
    """Another way to recognise callers."""

    @property
    def identifies(self) -> bool:
        """Tell that it does."""
        return True


def _settings(monkeypatch: pytest.MonkeyPatch, *others: Feature, **variables: str) -> Settings:
    for name, value in variables.items():
        monkeypatch.setenv(f"{ENV_PREFIX}{name}", value)
    return load((AUTH, *others))


async def test_each_authenticator_is_asked_until_one_knows() -> None:
    """In the order in which they were added."""
    asked: list[str] = []
    authentication = Authentication(open=False)
    assert not authentication.possible
    assert await authentication.identify("badge") is None
    for name in ("first", "second", "third"):

        async def authenticator(credential: str, name: str = name) -> Principal | None:
            asked.append(name)
            return Principal(credential) if name == "second" else None

        authentication.add(authenticator)

    assert Principal("badge") == await authentication.identify("badge")
    assert ["first", "second"] == asked
    assert authentication.possible


@pytest.mark.parametrize(
    ("stated", "environment", "expected"),
    [
        (None, Environment.DEV, True),
        (None, Environment.STAGING, False),
        (None, Environment.PROD, False),
        (False, Environment.DEV, False),
        (True, Environment.PROD, True),
    ],
)
def test_a_service_is_open_in_dev_alone(stated: bool | None, environment: Environment, *, expected: bool) -> None:  # noqa: FBT001
    """Unless the setting says otherwise."""
    assert expected == AuthSection(open=stated).serves_everybody(environment)


def test_prod_needs_a_way_to_recognise_callers(monkeypatch: pytest.MonkeyPatch) -> None:
    """A forgotten file of keys is told before anything starts, with both ways out."""
    with pytest.raises(ConfigurationError) as caught:
        _settings(monkeypatch, ENVIRONMENT="prod")

    (problem,) = caught.value.problems
    assert f"{ENV_PREFIX}AUTH__KEYS_FILE" == problem.variable
    assert "keys new" in problem.fix
    assert f"{ENV_PREFIX}AUTH__OPEN=true" in problem.fix
    monkeypatch.setenv(f"{ENV_PREFIX}AUTH__OPEN", "false")
    with pytest.raises(ConfigurationError):
        load((AUTH,))


@pytest.mark.parametrize(
    ("variables", "others"),
    [
        ({"AUTH__OPEN": "true"}, ()),
        ({"AUTH__KEYS_FILE": "keys.toml"}, ()),
        ({}, (Feature(name="badges", section=_Badges),)),
    ],
    ids=["open", "keys", "another-way"],
)
def test_prod_starts_with_any_way(
    monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], others: tuple[Feature, ...]
) -> None:
    """Keys, another authenticator, or the express wish to serve everybody."""
    assert Environment.PROD is _settings(monkeypatch, *others, ENVIRONMENT="prod", **variables).environment


@pytest.mark.parametrize("variables", [{"AUTH__OPEN": "false"}, {"ENVIRONMENT": "staging"}], ids=["closed", "staging"])
async def test_elsewhere_a_service_without_keys_starts_and_knows_nobody(
    monkeypatch: pytest.MonkeyPatch, variables: dict[str, str]
) -> None:
    """A single valid setting never keeps a service from starting."""
    container = Container(serving=True)
    await install(container, _settings(monkeypatch, **variables))

    authentication = container[Authentication]
    assert (False, False) == (authentication.open, authentication.possible)


async def test_the_keys_of_the_file_are_recognised(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Where the setting says that they are."""
    write(tmp_path / "keys.toml", [Key("one", digest("osk_one"))])
    container = Container(serving=True)
    await install(container, _settings(monkeypatch, AUTH__KEYS_FILE=str(tmp_path / "keys.toml")))

    assert Principal("one") == await container[Authentication].identify("osk_one")
    assert await container[Authentication].identify("osk_two") is None


async def test_a_server_does_not_start_with_an_unusable_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The variable, its source and what is wrong; a command that makes one call does not need the file."""
    settings = _settings(monkeypatch, AUTH__KEYS_FILE=str(tmp_path / "keys.toml"))
    with pytest.raises(ConfigurationError) as caught:
        await install(Container(serving=True), settings)

    (problem,) = caught.value.problems
    assert (f"{ENV_PREFIX}AUTH__KEYS_FILE", "environment") == (problem.variable, problem.source)
    assert "a usable file of API keys (No such file or directory)" == problem.expected
    await install(Container(), settings)

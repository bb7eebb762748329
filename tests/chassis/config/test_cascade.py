"""Where several places state a setting, the one of higher precedence counts, and its name is remembered."""

from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from chassis.config.sources import PREFIX, Places
from object_service.chassis.config.section import Environment
from object_service.chassis.web.settings import HttpSection

type Write = Callable[[Places, int], None]

LEVELS: dict[str, Write | None] = {
    "argument": None,
    "environment": lambda places, port: places.environment(HTTP__PORT=str(port)),
    "file:.env.local": lambda places, port: places.dotenv(".env.local", HTTP__PORT=str(port)),
    "file:.env.staging": lambda places, port: places.dotenv(".env.staging", HTTP__PORT=str(port)),
    "file:.env": lambda places, port: places.dotenv(".env", HTTP__PORT=str(port)),
    "config": lambda places, port: places.toml(f"[http]\nport = {port}"),
    "secrets": lambda places, port: (places.secrets(HTTP__PORT=str(port)), None)[1],
    "default": None,
}
PATH = ("http", "port")
NEIGHBOURS = list(pairwise(LEVELS))


def _load(places: Places, stated: dict[str, int]) -> tuple[int, str]:
    places.environment(ENVIRONMENT="staging")
    for source, port in stated.items():
        write = LEVELS[source]
        if write is not None:
            write(places, port)
    arguments: dict[tuple[str, ...], Any] = {PATH: stated["argument"]} if "argument" in stated else {}
    settings = places.load(arguments=arguments)
    return settings[HttpSection].port, settings.stated[PATH].source if PATH in settings.stated else "default"


@pytest.mark.parametrize(("higher", "lower"), NEIGHBOURS, ids=[f"{a}-over-{b}" for a, b in NEIGHBOURS])
def test_each_place_wins_over_the_next(places: Places, higher: str, lower: str) -> None:
    """Arguments, environment, .env.local, .env.<environment>, .env, config file, secrets, defaults: in this order."""
    stated = {higher: 1001, lower: 1002} if lower != "default" else {higher: 1001}

    assert (1001, higher) == _load(places, stated)


def test_all_places_at_once(places: Places) -> None:
    """With every place in use, the argument counts."""
    assert (1000, "argument") == _load(places, {source: 1000 + n for n, source in enumerate(LEVELS)})


def test_without_any_place_the_default_counts(places: Places) -> None:
    """Nothing has to be set."""
    assert (8000, "default") == _load(places, {})


@pytest.mark.parametrize("file", [".env", ".env.local"])
def test_the_environment_may_stand_in_a_file(places: Places, file: str) -> None:
    """`.env` and `.env.local` can select the dotenv file of the environment."""
    places.dotenv(file, ENVIRONMENT="staging")
    places.dotenv(".env.staging", HTTP__PORT="1")
    places.dotenv(".env.prod", HTTP__PORT="2")

    settings = places.load()

    assert (Environment.STAGING, 1) == (settings.environment, settings[HttpSection].port)


def test_the_environment_may_be_an_argument(places: Places) -> None:
    """An argument selects the dotenv file against the environment."""
    places.environment(ENVIRONMENT="prod", WEATHER__ALLOW_OFFLINE="true")
    places.dotenv(".env.dev", HTTP__PORT="1")

    settings = places.load(arguments={("environment",): "dev"})

    assert (Environment.DEV, 1) == (settings.environment, settings[HttpSection].port)


@pytest.mark.parametrize(
    ("source", "write"),
    [
        ("file:.env.dev", lambda places: places.dotenv(".env.dev", ENVIRONMENT="staging")),
        ("config", lambda places: places.toml('environment = "staging"')),
        ("secrets", lambda places: places.secrets(ENVIRONMENT="staging")),
    ],
    ids=["dotenv-of-environment", "config", "secrets"],
)
def test_the_environment_is_refused_where_it_comes_too_late(
    places: Places, source: str, write: Callable[[Places], object]
) -> None:
    """What is read after the dotenv file was selected cannot select another environment silently."""
    write(places)

    problem = places.problems()[0]

    assert (f"{PREFIX}ENVIRONMENT", source) == (problem.variable, problem.source)
    assert ".env.local" in problem.expected


def test_a_file_may_repeat_its_own_environment(places: Places) -> None:
    """`.env.staging` may say that it is staging."""
    places.environment(ENVIRONMENT="staging")
    places.dotenv(".env.staging", ENVIRONMENT="staging")

    assert Environment.STAGING is places.load().environment


def test_a_wrong_environment_reads_no_file(places: Places) -> None:
    """A name from outside is never part of a path."""
    places.environment(ENVIRONMENT="../secrets")
    (places.folder / ".env.").mkdir()

    problem = places.problems()[0]

    assert (f"{PREFIX}ENVIRONMENT", "one of dev, staging, prod") == (problem.variable, problem.expected)


def test_an_empty_value_counts_as_not_stated(places: Places) -> None:
    """An empty variable, also in a file, leaves the decision to the next place."""
    places.environment(HTTP__HOST="")
    places.dotenv(".env.local", HTTP__HOST="")
    places.dotenv(".env", HTTP__HOST='""')
    places.toml('[http]\nhost = ""')
    places.secrets(HTTP__HOST="\n")

    settings = places.load()

    assert "127.0.0.1" == settings[HttpSection].host
    assert ("http", "host") not in settings.stated


def test_names_are_read_in_any_case(places: Places, monkeypatch: pytest.MonkeyPatch) -> None:
    """Lower-case variables and upper-case TOML keys mean the same settings."""
    monkeypatch.setenv("object_service_http__port", "1")
    places.toml('[HTTP]\nHost = "::1"')

    section = places.load()[HttpSection]

    assert (1, "::1") == (section.port, section.host)


def test_paths_are_relative_to_the_folder_of_the_dotenv_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By default everything is looked up in the current folder."""
    (tmp_path / "c.toml").write_text("[http]\nport = 1")
    places = Places(monkeypatch, tmp_path)
    places.environment(CONFIG_FILE="c.toml")

    assert 1 == places.load()[HttpSection].port

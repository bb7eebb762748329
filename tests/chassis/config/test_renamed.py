"""A renamed setting: its old name is read from every place until it is removed, and whoever uses it is told."""

import json
import logging
from collections.abc import Callable
from typing import Annotated

import pytest
from pydantic import Field
from typer.testing import CliRunner

from chassis.config.sources import PREFIX, Places, described
from chassis.samples.features import HTTP, LOG, SERVICE, install
from object_service.chassis.cli.main import _log_oddities, build_cli
from object_service.chassis.cli.reference import env_example, reference_table
from object_service.chassis.config.section import ConfigurationError, Formerly, RenamedVariable, Section
from object_service.chassis.features import Feature
from object_service.chassis.runtime import Runtime

SUNSET = "2027-06-01"


class InnerSection(Section):
    """A section inside another one."""

    depth: Annotated[int, Formerly("level", sunset=SUNSET)] = Field(default=1, description="Depth.")


class PoolSection(Section):
    """Settings of which some had other names."""

    wait_s: Annotated[float | None, Formerly("wait", sunset=SUNSET)] = Field(
        default=None, gt=0, description="Patience."
    )
    hosts: Annotated[tuple[str, ...], Formerly("names", sunset=SUNSET)] = Field(default=(), description="Where.")
    inner: InnerSection = Field(default=InnerSection(), description="More.")


POOL = Feature(name="pool", section=PoolSection, install=install)
ALL = (*SERVICE, POOL)
OLD, NEW = f"{PREFIX}POOL__WAIT", f"{PREFIX}POOL__WAIT_S"
PLACES: dict[str, Callable[[Places], object]] = {
    "environment": lambda places: places.environment(POOL__WAIT="2"),
    "file:.env.local": lambda places: places.dotenv(".env.local", POOL__WAIT="2"),
    "file:.env.dev": lambda places: places.dotenv(".env.dev", POOL__WAIT="2"),
    "file:.env": lambda places: places.dotenv(".env", POOL__WAIT="2"),
    "config": lambda places: places.toml("[pool]\nwait = 2"),
    "secrets": lambda places: places.secrets(POOL__WAIT="2"),
}


@pytest.mark.parametrize("source", PLACES)
def test_the_old_name_is_read_from_every_place(places: Places, source: str) -> None:
    """The value counts, is shown with its place, and the warning names the new name and the sunset."""
    PLACES[source](places)
    settings = places.load(*ALL)
    assert 2 == settings[PoolSection].wait_s
    assert source == settings.stated[("pool", "wait_s")].source
    assert (RenamedVariable(OLD, NEW, SUNSET),) == settings.renamed
    assert () == settings.unknown


def test_old_names_have_the_precedence_of_their_places(places: Places) -> None:
    """Of two places with the old name, the first one decides, as with any name."""
    places.dotenv(".env", POOL__WAIT="3")
    places.environment(POOL__WAIT="2")
    assert 2 == places.load(*ALL)[PoolSection].wait_s


def test_the_new_name_wins_wherever_it_stands(places: Places) -> None:
    """Whoever has set both has begun to move; what the old one says has no effect, and that is said."""
    places.environment(POOL__WAIT="2")
    places.dotenv(".env", POOL__WAIT_S="3")
    settings = places.load(*ALL)
    assert 3 == settings[PoolSection].wait_s
    assert (RenamedVariable(OLD, NEW, SUNSET, used=False),) == settings.renamed


def test_lists_and_settings_of_inner_sections_may_be_renamed(places: Places) -> None:
    """The old name is the last part; the parts before it stay."""
    places.environment(POOL__NAMES='["a", "b"]', POOL__INNER__LEVEL="4")
    section = places.load(*ALL)[PoolSection]
    assert (("a", "b"), 4) == (section.hosts, section.inner.depth)


def test_a_wrong_value_is_reported_by_the_name_it_has(places: Places) -> None:
    """The problem names the variable that somebody wrote, and the warning comes with it."""
    places.environment(POOL__WAIT="-1")
    with pytest.raises(ConfigurationError) as caught:
        places.load(*ALL)
    assert [("POOL__WAIT", "environment")] == described(list(caught.value.problems))
    assert (RenamedVariable(OLD, NEW, SUNSET),) == caught.value.renamed


@pytest.mark.parametrize(("used", "effect"), [(True, ""), (False, " and has no effect, as both are set")])
def test_the_command_line_warns_and_a_strict_check_refuses(
    places: Places, monkeypatch: pytest.MonkeyPatch, *, used: bool, effect: str
) -> None:
    """A deployment that asks for it stops before the sunset does it; elsewhere it is a warning."""
    monkeypatch.chdir(places.folder)
    env = {OLD: "2"} | ({} if used else {NEW: "3"})
    cli = build_cli(Runtime(ALL))
    lenient = CliRunner().invoke(cli, ["config", "check"], env=env)
    strict = CliRunner().invoke(cli, ["config", "check", "--strict", "--json"], env=env)
    assert 0 == lenient.exit_code
    assert f"warning: {OLD} is {NEW} now{effect}; gone on {SUNSET}\n" == lenient.stderr
    document = json.loads(strict.stdout)
    assert (78, "renamed_setting") == (strict.exit_code, document["error"]["code"])
    assert [{"variable": OLD, "now": NEW, "sunset": SUNSET, "used": used}] == document["renamed"]


def test_the_log_of_a_service_has_the_warning(places: Places, caplog: pytest.LogCaptureFixture) -> None:
    """`serve` says it as a line of the log."""
    places.environment(POOL__WAIT="2")
    with caplog.at_level(logging.WARNING):
        _log_oddities(places.load(*ALL))
    (record,) = caplog.records
    assert ("setting_renamed", OLD, NEW) == (record.message, vars(record)["variable"], vars(record)["now"])


def test_the_reference_names_the_old_name() -> None:
    """Both forms say it; the old name is no setting of its own."""
    page, example = reference_table((HTTP, LOG, POOL)), env_example((HTTP, LOG, POOL))
    assert f"Patience. Formerly `{OLD}` until {SUNSET}." in page
    assert f"# Patience. Formerly `{OLD}` until {SUNSET}." in example
    assert f"#{OLD}=" not in example


def test_an_old_name_that_cannot_be_is_refused_at_once() -> None:
    """Another setting's name, that of a whole section, and a sunset that is no date."""
    with pytest.raises(ValueError, match="one is a setting"):
        type(
            "Twice",
            (Section,),
            {"__annotations__": {"one": int, "two": Annotated[int, Formerly("one", sunset=SUNSET)]}},
        )
    with pytest.raises(ValueError, match="a whole section cannot be renamed"):
        type("Whole", (Section,), {"__annotations__": {"one": Annotated[InnerSection, Formerly("old", sunset=SUNSET)]}})
    with pytest.raises(ValueError, match="Invalid isoformat"):
        Formerly("old", sunset="soon")

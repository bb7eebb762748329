"""Everything that is wrong is reported at once, in words that never repeat a value."""

import re
from collections.abc import Mapping, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import Field, SecretStr, field_validator

from chassis.config.sources import PREFIX, REMOTE, Places, described
from chassis.samples.features import SERVICE, WeatherSection, install
from object_service.chassis.config.checking import leaves
from object_service.chassis.config.loading import load
from object_service.chassis.config.section import ConfigurationError, Problem, Section
from object_service.chassis.config.settings import Settings
from object_service.chassis.features import Feature
from object_service.chassis.web.settings import HttpSection

WRONG = {
    "port-text": ("HTTP__PORT", "eighty", "a whole number"),
    "port-fraction": ("HTTP__PORT", "80.5", "a whole number"),
    "port-high": ("HTTP__PORT", "70000", "less than or equal to 65535"),
    "port-low": ("HTTP__PORT", "-1", "greater than or equal to 0"),
    "number": ("HTTP__SHUTDOWN_S", "soon", "a number"),
    "zero": ("HTTP__SHUTDOWN_S", "-0.0", "greater than 0"),
    "nan": ("HTTP__SHUTDOWN_S", "nan", "a finite number"),
    "infinity": ("HTTP__SHUTDOWN_S", "inf", "a finite number"),
    "switch": ("WEATHER__ALLOW_OFFLINE", "perhaps", "true or false"),
    "choice": ("LOG__FORMAT", "yaml", "one of auto, json, text"),
    "enum": ("ENVIRONMENT", "qa", "one of dev, staging, prod"),
    "provider": ("WEATHER__PROVIDER", "stup", "one of remote, stub"),
    "url": ("PROVIDERS__REMOTE__BASE_URL", "not a url", "a URL such as https://host/path"),
    "url-scheme": ("PROVIDERS__REMOTE__BASE_URL", "ftp://host", "a URL that starts with http:// or https://"),
    "list": ("PROVIDERS__REMOTE__REGIONS", "eu,us", 'a JSON list, such as [1, 2] or ["a", "b"]'),
    "list-item": ("PROVIDERS__REMOTE__REGIONS", "[1]", "text"),
    "list-deep": ("PROVIDERS__REMOTE__REGIONS", "[" * 100_000, 'a JSON list, such as [1, 2] or ["a", "b"]'),
    "mapping": ("PROVIDERS__REMOTE__LABELS", '{"a": "b"}', "a whole number"),
    "nested": ("PROVIDERS__STUB__RESILIENCE__TIMEOUTS__TOTAL_S", "ten", "a number"),
}


@pytest.mark.parametrize(("name", "value", "expected"), WRONG.values(), ids=WRONG)
def test_a_wrong_value_names_variable_source_and_expectation(
    places: Places, name: str, value: str, expected: str
) -> None:
    """The line says where the value came from and what was expected instead; never the value."""
    places.environment({name: value})

    problems = places.problems()

    assert [(name, "environment")] == described(problems)
    assert problems[0].expected.startswith(expected)
    assert value not in str(problems[0])


def test_the_report_is_that_of_the_contract(places: Places) -> None:
    """A head with the count, then a line per problem in order of variable; one problem is singular."""
    places.environment(WEATHER__PROVIDER="x", HTTP__PORT="x")
    with pytest.raises(ConfigurationError) as caught:
        places.load()

    assert [
        "configuration: 2 problems",
        f"{PREFIX}HTTP__PORT (environment): expected a whole number; correct it or remove it",
        f"{PREFIX}WEATHER__PROVIDER (environment): expected one of remote, stub; set it to one of these or remove it",
    ] == str(caught.value).splitlines()
    assert "configuration: 1 problem\na (b): expected c; d" == str(ConfigurationError([Problem("a", "b", "c", "d")]))


def test_a_closed_choice_says_how_to_correct_it(places: Places) -> None:
    """Where the possible values are known, the fix speaks of them."""
    places.environment(LOG__LEVEL="loud")

    assert "set it to one of these or remove it" == places.problems()[0].fix


def test_problems_of_all_sections_come_at_once(places: Places) -> None:
    """A typo in one section does not hide the missing keys of the provider that another section selects."""
    places.environment(ENVIRONMENT="qa", HTTP__PORT="x", LOG__LEVEL="loud", WEATHER__MAX_DAYS="99")
    places.dotenv(".env", WEATHER__PROVIDER="remote", PROVIDERS__STUB__RESILIENCE__HTTP__KEEPALIVE_S="-1")

    assert [
        ("ENVIRONMENT", "environment"),
        ("HTTP__PORT", "environment"),
        ("LOG__LEVEL", "environment"),
        ("PROVIDERS__REMOTE__API_KEY", "default"),
        ("PROVIDERS__REMOTE__BASE_URL", "default"),
        ("PROVIDERS__REMOTE__MODEL", "default"),
        ("PROVIDERS__STUB__RESILIENCE__HTTP__KEEPALIVE_S", "file:.env"),
        ("WEATHER__MAX_DAYS", "environment"),
    ] == described(places.problems())


def test_a_missing_value_says_what_it_is(places: Places) -> None:
    """The description of the setting tells what is missing; the fix is to set it."""
    places.environment({name: value for name, value in REMOTE.items() if not name.endswith("API_KEY")})

    line = f"{PREFIX}PROVIDERS__REMOTE__API_KEY (default): expected a value (Its credential.); set it"
    assert [line] == [str(problem) for problem in places.problems()]


def test_half_a_nested_group_misses_its_other_half(places: Places) -> None:
    """A nested field that must be given is named in full, also from a TOML file of the wrong type."""
    places.environment(REMOTE)
    places.toml("[providers.remote.account]\nnumber = 'x'\n[http]\nhost = 5")

    found = places.problems()

    assert [("HTTP__HOST", "config"), ("PROVIDERS__REMOTE__ACCOUNT__NUMBER", "config")] == described(found)
    assert "text" == found[0].expected


class _Checked(Section):
    words: list[str] | None = Field(default=None, description="Words.")
    pin: SecretStr = Field(default=SecretStr(""), description="A secret.")

    @field_validator("pin")
    @classmethod
    def _four_digits(cls, pin: SecretStr) -> SecretStr:
        if pin.get_secret_value() and not re.fullmatch(r"\d{4}", pin.get_secret_value()):
            message = "four digits"
            raise ValueError(message)
        return pin


CHECKED = Feature(name="checked", section=_Checked, install=install)


def test_a_check_of_ones_own_speaks_in_its_own_words(places: Places) -> None:
    """The text of a ValueError becomes the expectation."""
    places.environment(CHECKED__PIN="12")

    assert ["four digits"] == [problem.expected for problem in places.problems(CHECKED)]


@pytest.mark.parametrize(("text", "words"), [('["a", "b"]', ["a", "b"]), ("[]", []), ("null", None)])
def test_lists_are_read_as_json(places: Places, text: str, words: Sequence[str] | None) -> None:
    """An environment variable that stands for a list holds JSON."""
    places.environment(CHECKED__WORDS=text)

    assert words == places.load(CHECKED)[_Checked].words


def test_a_section_is_frozen_and_takes_no_other_names() -> None:
    """Settings do not change after the start, and a typo in code does not pass."""
    with pytest.raises(ValueError, match="frozen"):
        _Checked().words = []  # type: ignore[misc] # the point of the test
    with pytest.raises(ValueError, match="Extra inputs"):
        _Checked.model_validate({"wrods": []})
    with pytest.raises(ValueError, match="valid dictionary"):
        _Checked.model_validate("words")


def test_what_is_stated_is_told_from_what_is_default(places: Places) -> None:
    """Policy asks which fields somebody really set, at any depth, and gets their checked values."""
    places.environment(WEATHER__MAX_DAYS="5", PROVIDERS__STUB__RESILIENCE__TIMEOUTS__TOTAL_S="2")

    settings = places.load()

    assert {"max_days": 5} == settings.stated_fields(settings[WeatherSection], ("weather",))
    path = ("providers", "stub")
    assert {"total_s": 2.0} == settings.stated_fields(settings.instances[0].config, path)
    assert {} == settings.stated_fields(settings[HttpSection], ("http",))


def test_a_section_of_another_type_is_a_key_error(places: Places) -> None:
    """A section is found under its own type only."""
    settings = places.load()
    mixed = Settings({HttpSection: settings[WeatherSection]}, (), {})

    with pytest.raises(KeyError):
        mixed[HttpSection]


class _Fast(Section):
    type: str = Field(default="fast", description="Which variant.")
    speed: int = Field(default=1, description="How fast.")


class _Slow(Section):
    type: str = Field(default="slow", description="Which variant.")
    pause_s: float = Field(default=1, description="How long to wait.")


class _Mixed(Section):
    way: _Fast | _Slow = Field(default=_Fast(), description="How to go.")


def test_every_variant_of_a_union_has_its_settings() -> None:
    """A field that two variants share is one setting."""
    found = [leaf.path for leaf in leaves(_Mixed, ("mixed",))]

    assert [("mixed", "way", name) for name in ("type", "speed", "pause_s")] == found


def test_an_unknown_section_is_a_key_error(places: Places) -> None:
    """Asking for a section that no feature declares is a defect of the code."""
    with pytest.raises(KeyError):
        places.load(*SERVICE)[_Checked]


NAMES = [*dict.fromkeys(name for name, _, _ in WRONG.values()), "PROVIDERS__REMOTE__PAUSE", "CHECKED__PIN"]
VALUES = st.text(st.characters(codec="ascii", categories=["L", "N", "P"]), min_size=6, max_size=20).map("§".__add__)


@given(st.dictionaries(st.sampled_from(NAMES), VALUES, min_size=1), st.sampled_from(["[{}]", "https://a:{}@", "{}"]))
def test_no_report_repeats_any_value(values: Mapping[str, str], form: str) -> None:
    """Whatever stands where it should not, secret or not, is not printed."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in values.items():
            patch.setenv(PREFIX + name, form.format(value))
        with pytest.raises(ConfigurationError) as caught:
            load((*SERVICE, CHECKED))

    report = str(caught.value) + "".join(f"{problem!r}" for problem in caught.value.problems)
    assert not [value for value in values.values() if value in report]
    assert (None, None) == (caught.value.__cause__, caught.value.__context__)

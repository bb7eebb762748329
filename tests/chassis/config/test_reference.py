"""The reference is generated from the declarations, so it cannot say anything else than the code."""

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from dotenv import dotenv_values

from chassis.config.sources import Places
from chassis.samples.features import HTTP, SERVICE
from object_service.chassis.cli.reference import env_example, reference_table, sections
from object_service.chassis.config.checking import leaves
from object_service.chassis.config.section import Section
from object_service.chassis.config.sources import variable_of


def test_the_example_lists_every_setting_commented_out() -> None:
    """A copied example changes nothing until a line is uncommented."""
    lines = env_example(SERVICE).splitlines()

    assert [] == [line for line in lines if line and not line.startswith("#")]
    assert {"#OBJECT_SERVICE_HTTP__PORT=8000", "#OBJECT_SERVICE_PROVIDERS__REMOTE__API_KEY="} <= set(lines)
    assert {"#OBJECT_SERVICE_ENVIRONMENT=dev", "#OBJECT_SERVICE_WEATHER__ALLOW_OFFLINE=false"} <= set(lines)
    assert {"# --- weather", "# --- provider remote"} <= set(lines)
    assert {"# Longest forecast.", "# How to answer. (fast, slow)"} <= set(lines)


def test_an_uncommented_example_is_a_valid_dotenv_file(places: Places, tmp_path: Path) -> None:
    """Every default that the example shows is accepted when it is stated."""
    text = env_example(SERVICE).replace("<NAME>", "STUB")
    (tmp_path / ".env").write_text(re.sub(r"(?m)^#(?=OBJECT_SERVICE)", "", text))

    settings = places.load()

    stated = {name for name, value in dotenv_values(".env").items() if value}
    assert stated == {entry.variable for entry in settings.stated.values()}
    assert {"OBJECT_SERVICE_SECRETS_DIR", "OBJECT_SERVICE_PROVIDERS__REMOTE__REGIONS"} <= stated
    assert () == settings.unknown


def test_the_page_names_values_default_and_meaning() -> None:
    """One row per setting; a setting without default is marked as required, possible values are named."""
    rows = {line.split("`")[1]: line for line in reference_table(SERVICE).splitlines() if line.startswith("| `")}

    for name, words in {
        "HTTP__PORT": ("8000", "Port to listen on"),
        "PROVIDERS__REMOTE__API_KEY": ("required", "secret", "Its credential."),
        "PROVIDERS__REMOTE__BASE_URL": ("required", "URL"),
        "PROVIDERS__REMOTE__REGIONS": ("JSON", "[]"),
        "LOG__FORMAT": ("auto, json, text",),
        "ENVIRONMENT": ("dev, staging, prod",),
        "CONFIG_FILE": ("path", "A TOML file"),
        "PROVIDERS__<NAME>__KIND": ("Kind of the provider",),
    }.items():
        assert [] == [word for word in words if word not in rows[f"OBJECT_SERVICE_{name}"]]


def test_the_page_has_every_setting_of_every_section() -> None:
    """No declared setting is left out, and what providers have in common stands there once."""
    page = reference_table(SERVICE)
    wanted = [variable_of(leaf.path) for f in SERVICE for leaf in leaves(f.section, (f.name,))]

    assert [] == [variable for variable in wanted if f"| `{variable}` |" not in page]
    assert "PROVIDERS__STUB" not in page


def test_without_providers_the_page_has_no_part_for_them() -> None:
    """A service without objects documents no providers."""
    assert "providers" not in reference_table((HTTP,)).casefold().partition("## ")[2]


def test_a_feature_without_settings_has_no_part() -> None:
    """What only registers something, such as a middleware, adds nothing to the page and to the example."""
    silent = replace(HTTP, name="silent", section=Section)

    assert reference_table(SERVICE) == reference_table((*SERVICE, silent))
    assert env_example(SERVICE) == env_example((*SERVICE, silent))


@pytest.mark.parametrize(("write", "mark"), [(reference_table, "##"), (env_example, "# ---")], ids=["page", "example"])
def test_parts_are_told_apart_by_their_titles(write: Callable[..., str], mark: str) -> None:
    """A part runs from its title to the next one; together they are the whole text."""
    found = sections(write(SERVICE))

    assert ["", "service", "http", "log", "weather", "every provider", "provider remote"] == [name for name, _ in found]
    assert [] == [name for name, text in found[1:] if not text.startswith(f"{mark} {name}\n")]
    assert write(SERVICE) == "\n\n".join(text for _, text in found) + "\n"

"""The whole service: each single setting can be set by the environment alone, and is shown with its source."""

from collections.abc import Iterator
from datetime import timedelta
from enum import Enum
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

import pytest
from pydantic import HttpUrl, SecretStr

from chassis.config.sources import PREFIX, Places, described
from chassis.samples.features import SERVICE as SAMPLE
from object_service.bootstrap import runtime
from object_service.chassis.cli.settings import describe
from object_service.chassis.config.checking import Leaf, leaves
from object_service.chassis.config.section import ServiceSection, is_collection
from object_service.chassis.config.sources import SettingPath, variable_of
from object_service.chassis.features import Feature

FEATURES = runtime().features


def _settings(features: tuple[Feature, ...]) -> Iterator[Leaf]:
    yield from leaves(ServiceSection, ())
    for feature in features:
        yield from leaves(feature.section, (feature.name,))
        for kind in feature.catalogue.names if feature.catalogue is not None else ():
            definition = feature.catalogue.kind(kind) if feature.catalogue is not None else None
            assert definition is not None
            yield from leaves(definition.config, ("providers", kind))


def _text(leaf: Leaf, folder: Path) -> str:
    """Return a valid value, other than the default where the type allows it."""
    named = {"provider": str(leaf.field.default), "profile": "precise", "kind": leaf.path[-2:][0]}
    if leaf.path[-1] in named:
        return named[leaf.path[-1]]
    if leaf.path == ("config_file",):
        (folder / "c.toml").touch()
        return "c.toml"
    return _of_type(leaf.field.annotation, leaf.field.default, folder)


def _of_type(annotation: Any, default: Any, folder: Path) -> str:
    if is_collection(annotation):
        return "{}" if "Mapping" in str(annotation) else "[]"
    if get_origin(annotation) is Literal:
        return str(next(choice for choice in get_args(annotation) if choice != default))
    if get_args(annotation):
        return _of_type(get_args(annotation)[0], default, folder)
    if isinstance(annotation, type) and issubclass(annotation, Enum):
        return str(next(member.value for member in annotation if member is not default))
    values: dict[Any, str] = {
        bool: str(not default).lower(),
        int: "2",
        float: "1.5",
        str: "text",
        Path: str(folder),
        SecretStr: "a-secret-value",
        HttpUrl: "https://user:pass@host.example/",
        timedelta: "PT2S",
    }
    return values[annotation]


def _ids(settings: list[Leaf]) -> list[str]:
    return [variable_of(leaf.path).removeprefix(PREFIX) for leaf in settings]


REAL = list(_settings(FEATURES))
ALL = [*REAL, *(leaf for leaf in _settings(SAMPLE) if leaf.path not in {real.path for real in REAL})]


def _companions(path: SettingPath) -> dict[str, str]:
    """Return what a provider behind HTTP needs to be complete, so that its settings can be shown."""
    if path[0] != "providers":
        return {}
    head = f"PROVIDERS__{path[1].upper()}__"
    return {f"{head}BASE_URL": "https://host.example/", f"{head}API_KEY": "key", f"{head}MODEL": "m"}


@pytest.mark.parametrize("leaf", ALL, ids=_ids(ALL))
def test_a_setting_alone_never_makes_the_start_fail(places: Places, leaf: Leaf) -> None:
    """Any single valid value is accepted, and known: no warning."""
    features = FEATURES if leaf in REAL else SAMPLE
    places.environment({variable_of(leaf.path).removeprefix(PREFIX): _text(leaf, places.folder)})

    settings = places.load(*features)

    assert "environment" == settings.stated[leaf.path].source
    assert () == settings.unknown


@pytest.mark.parametrize("leaf", ALL, ids=_ids(ALL))
def test_a_setting_is_shown_with_its_source(places: Places, leaf: Leaf) -> None:
    """`config show` names key, variable, value and source; secrets are masked."""
    features = FEATURES if leaf in REAL else SAMPLE
    places.environment(_companions(leaf.path))
    places.environment({variable_of(leaf.path).removeprefix(PREFIX): _text(leaf, places.folder)})

    rows = {row["key"]: row for row in describe(places.load(*features), features)["settings"]}

    row = rows[".".join(leaf.path)]
    assert {"key", "variable", "value", "source", "secret"} == set(row)
    assert (variable_of(leaf.path), "environment", leaf.secret) == (row["variable"], row["source"], row["secret"])
    assert leaf.secret == (row["value"] == "********")
    assert "pass@" not in str(row["value"])
    assert leaf.field.default != row["value"] or leaf.path[-1] in ("provider", "kind", "secrets_dir", "regions")


@pytest.mark.parametrize("leaf", ALL, ids=_ids(ALL))
def test_every_setting_is_documented(leaf: Leaf) -> None:
    """The description is a sentence; it becomes the reference."""
    assert (leaf.field.description or "").endswith(".")


@pytest.mark.parametrize("leaf", REAL, ids=_ids(REAL))
def test_no_top_level_setting_looks_like_an_injected_variable(leaf: Leaf) -> None:
    """`MY_SERVICE_PORT`, `MY_SERVICE_HOST` and `MY_SERVICE_SERVICE_...` belong to Kubernetes."""
    assert leaf.path[0] not in ("port", "host")
    assert not leaf.path[0].startswith("service")


def test_prod_refuses_what_is_lost_with_the_process(places: Places) -> None:
    """Long work inside the process has to be accepted explicitly, like an offline provider."""
    places.environment(ENVIRONMENT="prod")

    assert [
        ("DIARIZATION__ALLOW_IN_PROCESS", "default"),
        ("DIARIZATION__PROVIDER", "default"),
        ("GENAI__PROVIDER", "default"),
    ] == described(places.problems(*FEATURES))


def test_prod_starts_with_every_allowance(places: Places) -> None:
    """The three variables that the problems name are enough."""
    places.environment(
        ENVIRONMENT="prod",
        DIARIZATION__ALLOW_IN_PROCESS="true",
        DIARIZATION__ALLOW_OFFLINE="true",
        GENAI__ALLOW_OFFLINE="true",
    )

    assert "prod" == places.load(*FEATURES).environment

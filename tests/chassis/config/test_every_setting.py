"""The whole service: each single setting can be set by the environment alone, and is shown with its source."""

import sys
from collections.abc import Iterator
from importlib.machinery import ModuleSpec
from types import ModuleType

import pytest

from chassis.config.examples import SAME_AS_DEFAULT, companions, example, field_of, peer
from chassis.config.sources import PREFIX, Places, described
from chassis.samples.features import SERVICE as SAMPLE
from object_service.bootstrap import runtime
from object_service.chassis.cli.settings import describe
from object_service.chassis.config.checking import Leaf, leaves
from object_service.chassis.config.section import ServiceSection
from object_service.chassis.config.sources import variable_of
from object_service.chassis.features import Feature

FEATURES = runtime().features
IN_PROCESS = tuple(feature for feature in FEATURES if not feature.durable)


def _settings(features: tuple[Feature, ...]) -> Iterator[Leaf]:
    yield from leaves(ServiceSection, ())
    for feature in features:
        yield from leaves(feature.section, (feature.name,))
        for kind in feature.catalogue.names if feature.catalogue is not None else ():
            definition = feature.catalogue.kind(kind) if feature.catalogue is not None else None
            assert definition is not None
            yield from leaves(definition.config, ("providers", kind))


def _ids(settings: list[Leaf]) -> list[str]:
    return [variable_of(leaf.path).removeprefix(PREFIX) for leaf in settings]


REAL = list(_settings(FEATURES))
ALL = [*REAL, *(leaf for leaf in _settings(SAMPLE) if leaf.path not in {real.path for real in REAL})]


OFFLINE = {
    kind: next(name for name in feature.catalogue.names if feature.catalogue.kind(name).offline)
    for feature in (*FEATURES, *SAMPLE)
    if feature.catalogue is not None
    for kind in feature.catalogue.names
}
"""An offline kind of the same object, by kind."""


@pytest.fixture(autouse=True)
def redis_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the settings find the client of Redis, which only some of them need."""
    module = ModuleType("redis")
    module.__spec__ = ModuleSpec("redis", None)
    monkeypatch.setitem(sys.modules, "redis", module)


def _state(places: Places, leaf: Leaf) -> None:
    places.environment(peer(leaf.path, OFFLINE))
    places.environment({variable_of(leaf.path).removeprefix(PREFIX): example(leaf, places.folder)})


@pytest.mark.parametrize("leaf", ALL, ids=_ids(ALL))
def test_a_setting_alone_never_makes_the_start_fail(places: Places, leaf: Leaf) -> None:
    """Any single valid value is accepted, and known: no warning."""
    features = FEATURES if leaf in REAL else SAMPLE
    _state(places, leaf)

    settings = places.load(*features)

    assert "environment" == settings.stated[leaf.path].source
    assert () == settings.unknown


@pytest.mark.parametrize("leaf", ALL, ids=_ids(ALL))
def test_a_setting_is_shown_with_its_source(places: Places, leaf: Leaf) -> None:
    """`config show` names key, variable, value and source; secrets are masked."""
    features = FEATURES if leaf in REAL else SAMPLE
    places.environment(companions(leaf.path))
    _state(places, leaf)

    rows = {row["key"]: row for row in describe(places.load(*features), features)["settings"]}

    row = rows[".".join(leaf.path)]
    assert {"key", "variable", "value", "source", "secret"} == set(row)
    assert (variable_of(leaf.path), "environment", leaf.secret) == (row["variable"], row["source"], row["secret"])
    assert leaf.secret == (row["value"] == "********")
    assert "pass@" not in str(row["value"])
    assert leaf.field.default != row["value"] or {leaf.path[-1], field_of(leaf)} & set(SAME_AS_DEFAULT)


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
    """Long work inside the process has to be accepted explicitly, like an offline provider or no keys."""
    places.environment(ENVIRONMENT="prod")

    assert [
        ("AUTH__KEYS_FILE", "default"),
        ("DIARIZATION__ALLOW_IN_PROCESS", "default"),
        ("DIARIZATION__PROVIDER", "default"),
        ("GENAI__PROVIDER", "default"),
    ] == described(places.problems(*IN_PROCESS))


def test_prod_accepts_work_that_outlives_the_process(places: Places) -> None:
    """With a capability that keeps long work, nothing has to be accepted."""
    places.environment(ENVIRONMENT="prod")

    assert "DIARIZATION__ALLOW_IN_PROCESS" not in dict(described(places.problems(*FEATURES)))


def test_prod_starts_with_every_allowance(places: Places) -> None:
    """The four variables that the problems name are enough."""
    places.environment(
        ENVIRONMENT="prod",
        AUTH__KEYS_FILE="/run/keys/keys.toml",
        DIARIZATION__ALLOW_IN_PROCESS="true",
        DIARIZATION__ALLOW_OFFLINE="true",
        GENAI__ALLOW_OFFLINE="true",
    )

    assert "prod" == places.load(*FEATURES).environment

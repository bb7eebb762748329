"""Settings of the pipeline: a field selects its strategy, and what cannot work is refused with its variable."""

import sys
from collections.abc import Mapping
from dataclasses import replace
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

import pytest

from chassis.config.sources import Places, described
from chassis.doubles import Spy
from chassis.samples.features import SERVICE, WEATHER
from object_service.chassis.cli.settings import describe
from object_service.chassis.features import Feature
from object_service.chassis.resilience.assembly import MiddlewareKind
from object_service.chassis.resilience.settings import Resilience

HEAD = "PROVIDERS__STUB__RESILIENCE__"
CHOOSE = "set it to one of these or remove it"
OWN = replace(WEATHER, middlewares={"stamp": MiddlewareKind(lambda provider: Spy(provider, []))})


def _redis(monkeypatch: pytest.MonkeyPatch, *, installed: bool) -> None:
    module = ModuleType("redis")
    module.__spec__ = ModuleSpec("redis", None)
    monkeypatch.setitem(sys.modules, "redis", module if installed else None)


def _state(places: Places, fields: Mapping[str, str]) -> None:
    places.environment({f"{HEAD}{field}": value for field, value in fields.items()})


def _resilience(places: Places) -> Resilience:
    (found,) = (instance for instance in places.load().instances if instance.name == "stub")
    return found.config.resilience


@pytest.mark.parametrize(
    ("type_", "field", "value"),
    [
        ("gcra", "RATE_LIMIT__RATE_PER_S", "5"),
        ("gcra", "RATE_LIMIT__BURST", "5"),
        ("memory", "CACHE__TTL_S", "5"),
        ("memory", "CACHE__STALE_IF_ERROR_S", "5"),
    ],
)
def test_a_field_without_a_type_selects_the_variant_that_has_it(
    places: Places, type_: str, field: str, value: str
) -> None:
    """One variable switches a strategy on."""
    _state(places, {field: value})

    assert type_ == getattr(_resilience(places), field.partition("__")[0].lower()).type


def test_the_name_of_another_provider_selects_the_fallback_to_it(places: Places) -> None:
    """The name is enough."""
    _state(places, {"FALLBACK__NAME": "other"})
    places.environment(PROVIDERS__OTHER__KIND="stub")

    assert ("provider", "other") == (_resilience(places).fallback.type, _resilience(places).fallback.name)


@pytest.mark.parametrize("strategy", ["RATE_LIMIT", "CACHE", "FALLBACK"])
def test_a_stated_type_wins_over_the_fields(places: Places, strategy: str) -> None:
    """`none` switches off what the fields beside it would switch on."""
    field = {"RATE_LIMIT": "RATE_PER_S", "CACHE": "TTL_S", "FALLBACK": "NAME"}[strategy]
    _state(places, {f"{strategy}__TYPE": "none", f"{strategy}__{field}": "5"})

    assert "none" == getattr(_resilience(places), strategy.lower()).type


def test_fields_from_several_places_make_one_strategy(places: Places) -> None:
    """The rate may stand in a file and the burst in the environment."""
    places.toml("[providers.stub.resilience.rate_limit]\nrate_per_s = 2.5")
    _state(places, {"RATE_LIMIT__BURST": "7"})

    limit = _resilience(places).rate_limit

    assert ("gcra", 2.5, 7) == (limit.type, limit.rate_per_s, limit.burst)


STRATEGIES = {
    "RETRY": "retry",
    "BREAKER": "breaker",
    "BULKHEAD": "bulkhead",
}


@pytest.mark.parametrize(("strategy", "step"), STRATEGIES.items(), ids=STRATEGIES)
def test_a_strategy_that_is_switched_off_is_not_in_the_pipeline(places: Places, strategy: str, step: str) -> None:
    """`config show` lists the steps that really run."""
    before = describe(places.load(), SERVICE)["pipelines"]["stub"]
    _state(places, {f"{strategy}__TYPE": "none"})

    after = describe(places.load(), SERVICE)["pipelines"]["stub"]

    assert step in before
    assert [name for name in before if not name.startswith(step)] == after


REFUSED: dict[str, tuple[dict[str, str], str, str, str]] = {
    "unknown-type": ({"RETRY__TYPE": "linear"}, "RETRY__TYPE", "one of exponential, none", CHOOSE),
    "limit-without-rate": (
        {"RATE_LIMIT__TYPE": "gcra"},
        "RATE_LIMIT__RATE_PER_S",
        "a number above 0 with the type gcra",
        "set it",
    ),
    "fallback-without-name": (
        {"FALLBACK__TYPE": "provider"},
        "FALLBACK__NAME",
        "the name of a provider with the type provider",
        "set it",
    ),
    "attempt-over-total": (
        {"TIMEOUTS__ATTEMPT_S": "3", "TIMEOUTS__TOTAL_S": "2"},
        "TIMEOUTS__ATTEMPT_S",
        "at most total_s (2)",
        "correct it or remove it",
    ),
    "bulkhead-over-pool": (
        {"BULKHEAD__MAX_CONCURRENT": "3", "HTTP__MAX_CONNECTIONS": "2"},
        "BULKHEAD__MAX_CONCURRENT",
        "at most the connections of the pool (2)",
        "correct it or remove it",
    ),
    "unknown-provider": ({"FALLBACK__NAME": "nobody"}, "FALLBACK__NAME", "one of other", CHOOSE),
    "itself": ({"FALLBACK__NAME": "stub"}, "FALLBACK__NAME", "no circle (stub > stub)", "break it at one provider"),
    "unknown-middleware": (
        {"MIDDLEWARES": '["stamp"]'},
        "MIDDLEWARES",
        "names of registered middlewares (there are none)",
        "correct it or remove it",
    ),
}


@pytest.mark.parametrize(("fields", "variable", "expected", "fix"), REFUSED.values(), ids=REFUSED)
def test_what_cannot_work_is_refused(
    places: Places, fields: dict[str, str], variable: str, expected: str, fix: str
) -> None:
    """The problem names the variable, what was expected and what to do."""
    places.environment(PROVIDERS__OTHER__KIND="stub")
    _state(places, fields)

    problems = places.problems()

    assert [(f"{HEAD}{variable}", expected, fix)] == [
        (problem.variable.removeprefix("OBJECT_SERVICE_"), problem.expected, problem.fix) for problem in problems
    ]


def test_a_fallback_where_there_is_only_one_provider_is_refused_in_words(places: Places) -> None:
    """The problem does not offer a list of none."""
    _state(places, {"FALLBACK__NAME": "nobody"})

    (problem,) = places.problems()

    assert "a configured provider; there is no other one" == problem.expected
    assert "configure one or remove it" == problem.fix


def test_a_circle_of_fallbacks_is_refused_at_every_provider_in_it(places: Places) -> None:
    """Whoever breaks it at one provider is done."""
    _state(places, {"FALLBACK__NAME": "other"})
    places.environment(PROVIDERS__OTHER__KIND="stub", PROVIDERS__OTHER__RESILIENCE__FALLBACK__NAME="stub")

    problems = places.problems()

    assert [
        ("PROVIDERS__OTHER__RESILIENCE__FALLBACK__NAME", "environment"),
        (f"{HEAD}FALLBACK__NAME", "environment"),
    ] == described(problems)
    assert ["no circle (other > stub > other)", "no circle (stub > other > stub)"] == [p.expected for p in problems]


def test_a_chain_of_fallbacks_is_no_circle(places: Places) -> None:
    """Each provider may have another one behind it."""
    _state(places, {"FALLBACK__NAME": "other"})
    places.environment(PROVIDERS__OTHER__KIND="stub", PROVIDERS__OTHER__RESILIENCE__FALLBACK__NAME="third")
    places.environment(PROVIDERS__THIRD__KIND="stub")

    assert "other" == _resilience(places).fallback.name


SHARED: dict[str, dict[str, str]] = {
    "breaker": {"BREAKER__SCOPE": "redis"},
    "rate-limit": {"RATE_LIMIT__SCOPE": "redis", "RATE_LIMIT__RATE_PER_S": "5"},
    "cache": {"CACHE__TYPE": "redis"},
}


@pytest.mark.parametrize("fields", SHARED.values(), ids=SHARED)
def test_what_is_shared_needs_the_client_of_redis(
    places: Places, monkeypatch: pytest.MonkeyPatch, fields: dict[str, str]
) -> None:
    """Without the package the problem says how to install it; with it the service starts."""
    _state(places, fields)

    _redis(monkeypatch, installed=False)
    (problem,) = places.problems()
    _redis(monkeypatch, installed=True)
    started = _resilience(places)

    assert f"OBJECT_SERVICE_{HEAD}{next(iter(fields))}" == problem.variable
    assert problem.fix.startswith("uv sync --extra redis")
    assert started.in_redis()


def test_a_bulkhead_alone_raises_the_pool(places: Places) -> None:
    """What is unset follows from what is set, so that one field never makes the start fail."""
    _state(places, {"BULKHEAD__MAX_CONCURRENT": "150"})
    raised = _resilience(places)

    assert (150, 150) == (raised.places()[0], raised.max_connections())


def test_a_pool_alone_bounds_the_bulkhead(places: Places) -> None:
    """No call waits for a connection inside its attempt."""
    _state(places, {"HTTP__MAX_CONNECTIONS": "2"})
    bounded = _resilience(places)

    assert (2, 2) == (bounded.places()[0], bounded.max_connections())


FOLLOWING: dict[str, tuple[dict[str, str], tuple[float, float, float]]] = {
    "defaults": ({}, (120, 30, 600)),
    "attempt": ({"TIMEOUTS__ATTEMPT_S": "90"}, (180, 30, 600)),
    "control": ({"TIMEOUTS__CONTROL_ATTEMPT_S": "20"}, (120, 60, 600)),
    "idle": ({"TIMEOUTS__STREAM_IDLE_S": "5"}, (120, 30, 50)),
}


@pytest.mark.parametrize(("fields", "totals"), FOLLOWING.values(), ids=FOLLOWING)
def test_totals_follow_the_attempts(places: Places, fields: dict[str, str], totals: tuple[float, ...]) -> None:
    """Twice the attempt, three times the control attempt, ten times the idle limit of a stream."""
    _state(places, fields)
    limits = _resilience(places).timeouts

    assert totals == (limits.of_answer()[1], limits.of_control()[1], limits.of_stream())


def test_a_middleware_of_ones_own_is_named_in_settings_and_shown(places: Places) -> None:
    """A registered name is accepted, and `config show` tells where the step stands."""
    features: tuple[Feature, ...] = tuple(OWN if feature is WEATHER else feature for feature in SERVICE)
    _state(places, {"MIDDLEWARES": '["stamp"]'})

    pipelines: dict[str, Any] = describe(places.load(*features), features)["pipelines"]

    steps = pipelines["stub"]
    assert steps.index("deadline") < steps.index("stub") < steps.index("retry")

"""Providers are instances of kinds: named freely, checked when they are selected or stated."""

import pytest

from chassis.config.sources import PREFIX, REMOTE, Places, described
from chassis.samples.features import HTTP, OTHERS, TIDE, WEATHER
from chassis.samples.kinds.remote import RemoteConfig
from object_service.chassis.config.section import ConfigurationError, UnknownVariable
from object_service.chassis.config.settings import Settings

EU = {
    "PROVIDERS__REMOTE_EU__KIND": "remote",
    "PROVIDERS__REMOTE_EU__BASE_URL": "https://eu.example",
    "PROVIDERS__REMOTE_EU__API_KEY": "key",
    "PROVIDERS__REMOTE_EU__MODEL": "m",
}


def _names(settings: Settings, feature: str = "weather") -> list[tuple[str, str]]:
    return [(instance.name, instance.kind) for instance in settings.instances_of(feature)]


def test_the_selected_provider_exists_without_being_configured(places: Places) -> None:
    """The default provider needs no variable; its kind is its name."""
    settings = places.load()

    assert [("stub", "stub")] == _names(settings)
    assert "stub" == settings.instances[0].config.kind


def test_a_provider_of_any_name_states_its_kind(places: Places) -> None:
    """Two instances of one kind stand beside each other, each with settings of its own."""
    places.environment(REMOTE | EU)

    settings = places.load()

    assert [("remote", "remote"), ("remote_eu", "remote")] == _names(settings)
    hosts = [i.config.base_url.host for i in settings.instances if isinstance(i.config, RemoteConfig)]
    assert ["api.example", "eu.example"] == hosts


def test_an_instance_may_be_selected(places: Places) -> None:
    """The setting of the object names the instance, not the kind."""
    places.environment(EU, WEATHER__PROVIDER="remote_eu")

    assert [("remote_eu", "remote")] == _names(places.load())


def test_a_name_that_is_a_kind_may_state_another_kind(places: Places) -> None:
    """`KIND` decides even where the name is that of another kind."""
    places.environment(PROVIDERS__REMOTE__KIND="stub")

    assert [("remote", "stub"), ("stub", "stub")] == _names(places.load())


@pytest.mark.parametrize(
    ("variable", "value", "named"),
    [
        ("PROVIDERS__ACME__MODEL", "m", ("PROVIDERS__ACME__KIND", "default")),
        ("PROVIDERS__ACME__KIND", "acme", ("PROVIDERS__ACME__KIND", "environment")),
        ("PROVIDERS__ACME__KIND", "_hidden", ("PROVIDERS__ACME__KIND", "environment")),
        ("PROVIDERS__ACME__KIND", "../stub", ("PROVIDERS__ACME__KIND", "environment")),
    ],
    ids=["no-kind", "unknown-kind", "hidden-module", "path"],
)
def test_an_unknown_kind_is_a_problem(places: Places, variable: str, value: str, named: tuple[str, str]) -> None:
    """Kinds are the modules of the adapters folder, and nothing else."""
    places.environment({variable: value})

    problems = places.problems()

    assert [named] == described(problems)
    assert ("one of remote, stub", "set it to one of these or remove it") == (problems[0].expected, problems[0].fix)


SHARED = {
    "no-kind": ({"ACME__RESILIENCE__RETRY__ATTEMPTS": "abc"}, ["ACME__KIND", "ACME__RESILIENCE__RETRY__ATTEMPTS"]),
    "unknown-kind": (
        {"ACME__KIND": "ecko", "ACME__RESILIENCE__RETRY__TYPE": "bogus", "ACME__RESILIENCE__TIMEOUTS__JOB_S": "soon"},
        ["ACME__KIND", "ACME__RESILIENCE__RETRY__TYPE", "ACME__RESILIENCE__TIMEOUTS__JOB_S"],
    ),
    "wrong-together": (
        {"ACME__RESILIENCE__TIMEOUTS__ATTEMPT_S": "5", "ACME__RESILIENCE__TIMEOUTS__TOTAL_S": "2"},
        ["ACME__KIND", "ACME__RESILIENCE__TIMEOUTS__ATTEMPT_S"],
    ),
    "name": ({"1A__RESILIENCE__RETRY__ATTEMPTS": "abc"}, ["1A", "1A__RESILIENCE__RETRY__ATTEMPTS"]),
    "name-and-kind": (
        {"1A__KIND": "ecko", "1A__RESILIENCE__RETRY__ATTEMPTS": "abc"},
        ["1A", "1A__KIND", "1A__RESILIENCE__RETRY__ATTEMPTS"],
    ),
    "name-of-a-known-kind": ({"1A__KIND": "remote", "1A__BASE_URL": "nowhere"}, ["1A", "1A__BASE_URL"]),
}


@pytest.mark.parametrize(("variables", "wrong"), SHARED.values(), ids=SHARED)
def test_a_wrong_kind_or_name_hides_no_other_problem(
    places: Places, variables: dict[str, str], wrong: list[str]
) -> None:
    """What guards the calls is checked before anybody knows which provider it guards."""
    places.environment({f"PROVIDERS__{name}": value for name, value in variables.items()})

    assert [f"PROVIDERS__{name}" for name in wrong] == [name for name, _ in described(places.problems())]


def test_a_wrong_kind_of_a_selected_provider_hides_no_other_problem(places: Places) -> None:
    """The name of a kind with another kind stated is no different."""
    places.environment(PROVIDERS__STUB__KIND="stup", PROVIDERS__STUB__RESILIENCE__RETRY__TYPE="bogus")

    names = ["PROVIDERS__STUB__KIND", "PROVIDERS__STUB__RESILIENCE__RETRY__TYPE"]
    assert [(name, "environment") for name in names] == described(places.problems())


def test_a_fallback_of_a_wrong_kind_waits_for_the_kind(places: Places) -> None:
    """Which names are right is known once the kind is."""
    places.environment(PROVIDERS__ACME__KIND="ecko", PROVIDERS__ACME__RESILIENCE__FALLBACK__NAME="stub")

    assert [("PROVIDERS__ACME__KIND", "environment")] == described(places.problems())


def test_a_kind_that_is_no_text_is_one_problem(places: Places) -> None:
    """The kinds that there are say more than that text was expected."""
    places.toml("[providers.acme]\nkind = 5")

    assert ["one of remote, stub"] == [problem.expected for problem in places.problems()]


def test_a_variable_that_the_right_kind_may_have_is_not_called_unknown(places: Places) -> None:
    """With a wrong kind, only names below what all kinds share can be judged."""
    head = "PROVIDERS__ACME"
    places.environment({f"{head}__KIND": "ecko", f"{head}__API_KEY": "k", f"{head}__RESILIENCE__RETRY__ATEMPTS": "1"})
    places.environment({head: "x", "PROVIDERS__REMOTE__API_KYE": "k", "PROVIDERS__REMOTE__MODEL": "m"})

    with pytest.raises(ConfigurationError) as caught:
        places.load()

    assert [
        UnknownVariable(f"{PREFIX}{head}", caught.value.unknown[0].did_you_mean),
        UnknownVariable(f"{PREFIX}{head}__RESILIENCE__RETRY__ATEMPTS", f"{PREFIX}{head}__RESILIENCE__RETRY__ATTEMPTS"),
        UnknownVariable(f"{PREFIX}PROVIDERS__REMOTE__API_KYE", f"{PREFIX}PROVIDERS__REMOTE__API_KEY"),
    ] == list(caught.value.unknown)
    assert ["BASE_URL", "API_KEY"] == [problem.variable.rpartition("__")[2] for problem in caught.value.missing]


def test_an_ambiguous_kind_is_refused(places: Places) -> None:
    """A kind that two objects have belongs to neither; the objects are named."""
    problems = places.problems(WEATHER, TIDE)

    assert [("PROVIDERS__STUB__KIND", "default")] == described(problems)
    assert "rename one of the modules: weather, tide have this kind" == problems[0].fix


def test_an_ambiguous_kind_that_nobody_uses_is_no_problem(places: Places) -> None:
    """Two modules of one name disturb only those who need one of them."""
    places.environment(REMOTE)

    settings = places.load(WEATHER, TIDE)

    assert ([("remote", "remote")], [("gauge", "gauge")]) == (_names(settings), _names(settings, "tide"))


def test_an_object_cannot_select_the_provider_of_another(places: Places) -> None:
    """The provider has to be of a kind that the object has."""
    places.environment(REMOTE, PROVIDERS__MINE__KIND="gauge")
    places.dotenv(".env", WEATHER__PROVIDER="remote")
    places.environment(WEATHER__PROVIDER="mine")

    problems = places.problems(WEATHER, TIDE)

    assert [("WEATHER__PROVIDER", "environment")] == described(problems)
    assert "one of remote, stub" == problems[0].expected


def test_the_instances_of_an_object_are_among_the_suggestions(places: Places) -> None:
    """A wrong selection is answered with kinds and configured instances."""
    places.environment(EU, WEATHER__PROVIDER="remote_us")

    assert ["one of remote, remote_eu, stub"] == [problem.expected for problem in places.problems()]


def test_an_incomplete_provider_that_is_not_selected_is_no_problem(places: Places) -> None:
    """It cannot be named in requests, and its variables are known all the same."""
    places.environment(PROVIDERS__REMOTE__MODEL="m")

    settings = places.load()

    assert [("stub", "stub")] == _names(settings)
    assert () == settings.unknown
    assert ["BASE_URL", "API_KEY"] == [problem.variable.rpartition("__")[2] for problem in settings.missing]


def test_a_wrong_value_of_a_provider_is_a_problem_even_if_not_selected(places: Places) -> None:
    """Only what is missing is forgiven."""
    places.environment(PROVIDERS__REMOTE__BASE_URL="nowhere")

    assert [("PROVIDERS__REMOTE__BASE_URL", "environment")] == described(places.problems())


def test_an_incomplete_provider_that_is_selected_is_a_problem(places: Places) -> None:
    """Every missing value is named."""
    places.environment(WEATHER__PROVIDER="remote")

    assert [f"PROVIDERS__REMOTE__{name}" for name in ("API_KEY", "BASE_URL", "MODEL")] == [
        name for name, _ in described(places.problems())
    ]


@pytest.mark.parametrize("name", ["Acme Inc", "1acme", "acme-eu", "acme_", "é"])
def test_the_name_of_a_provider_is_plain(places: Places, name: str) -> None:
    """Names are lower-case words joined by underscores, as requests and metrics spell them."""
    places.toml(f'[providers."{name}"]\nkind = "stub"')

    problems = places.problems()

    assert [(f"{PREFIX}PROVIDERS__{name.upper()}", "config")] == [(p.variable, p.source) for p in problems]
    assert "rename it" == problems[0].fix


def test_an_empty_credential_is_missing(places: Places) -> None:
    """An empty key is no key."""
    places.environment(REMOTE, PROVIDERS__REMOTE__API_KEY="")

    assert [("PROVIDERS__REMOTE__API_KEY", "default")] == described(places.problems())


def test_a_provider_without_any_field_is_unknown(places: Places) -> None:
    """`PROVIDERS__ACME` alone sets nothing and is reported as unknown."""
    places.environment(PROVIDERS__ACME="x", PROVIDERS="y")

    assert [f"{PREFIX}PROVIDERS", f"{PREFIX}PROVIDERS__ACME"] == [u.variable for u in places.load().unknown]


def test_prod_refuses_an_offline_provider(places: Places) -> None:
    """What answers without any outside system is meant for trying out; the fix names the way to accept it."""
    places.environment(ENVIRONMENT="prod")

    problems = places.problems()

    assert [("WEATHER__PROVIDER", "default")] == described(problems)
    assert "a provider that is not offline, in prod" == problems[0].expected
    assert f"select one, or set {PREFIX}WEATHER__ALLOW_OFFLINE=true" == problems[0].fix


def test_prod_names_where_the_offline_provider_was_selected(places: Places) -> None:
    """An instance of an offline kind is offline too."""
    places.dotenv(".env.prod", WEATHER__PROVIDER="mine", PROVIDERS__MINE__KIND="stub")
    places.environment(ENVIRONMENT="prod")

    assert [("WEATHER__PROVIDER", "file:.env.prod")] == described(places.problems())


@pytest.mark.parametrize("variables", [{"WEATHER__ALLOW_OFFLINE": "true"}, REMOTE], ids=["allowed", "online"])
def test_prod_accepts_what_is_stated(places: Places, variables: dict[str, str]) -> None:
    """An allowance, or a provider with a system behind it; an unselected offline one does not matter."""
    places.environment(variables, ENVIRONMENT="prod", PROVIDERS__MINE__KIND="stub")

    assert "prod" == places.load().environment


@pytest.mark.parametrize("environment", ["dev", "staging"])
def test_elsewhere_offline_providers_are_welcome(places: Places, environment: str) -> None:
    """Only prod is strict."""
    places.environment(ENVIRONMENT=environment)

    assert environment == places.load().environment


def test_an_object_without_a_catalogue_selects_nothing(places: Places) -> None:
    """Features that have no providers take no part in this."""
    assert () == places.load(HTTP).instances
    assert ["gauge", "stub"] == list(OTHERS.names)

"""Variables that are no settings, and providers that cannot be used, are told beside the problems they may cause."""

import json

import pytest

from chassis.cli.service import run
from chassis.cli.test_commands import COMMANDS

PREFIX = "OBJECT_SERVICE_"


@pytest.mark.parametrize("arguments", [a for a in COMMANDS.values() if a != ["config", "reference"]], ids=" ".join)
def test_a_misspelt_variable_is_told_beside_the_problem_that_it_causes(
    monkeypatch: pytest.MonkeyPatch, arguments: list[str]
) -> None:
    """Who reads that a value is missing learns which variable was meant to hold it, and never what it holds."""
    head = "OBJECT_SERVICE_PROVIDERS__REMOTE__"
    monkeypatch.setenv("OBJECT_SERVICE_WEATHER__PROVIDER", "remote")
    for name, value in {"BASE_URL": "https://api.example", "MODEL": "m", "API_KYE": "hunter2"}.items():
        monkeypatch.setenv(head + name, value)

    result = run(*arguments)
    document = json.loads(run(*arguments, "--json").stdout)

    assert (78, "") == (result.exit_code, result.stdout)
    assert [
        "configuration: 1 problem",
        f"{head}API_KEY (default): expected a value (Its credential.); set it",
        f"warning: {head}API_KYE is not a setting; did you mean {head}API_KEY?",
    ] == result.stderr.splitlines()
    assert ["status", "error", "problems", "unknown"] == list(document)
    assert [{"variable": f"{head}API_KYE", "did_you_mean": f"{head}API_KEY"}] == document["unknown"]
    assert "hunter2" not in f"{result.stderr}{document}"


def test_a_provider_that_cannot_be_used_is_told_beside_a_problem(monkeypatch: pytest.MonkeyPatch) -> None:
    """A mistyped selection leaves the provider that was meant unselected, and the rest of what it lacks is said."""
    monkeypatch.setenv("OBJECT_SERVICE_WEATHER__PROVIDER", "remtoe")
    monkeypatch.setenv("OBJECT_SERVICE_PROVIDERS__REMOTE__MODEL", "m")

    lines = run("config", "check").stderr.splitlines()

    assert ["configuration: 1 problem", "OBJECT_SERVICE_WEATHER__PROVIDER"] == [lines[0], lines[1].split()[0]]
    head = "warning: a provider cannot be used: OBJECT_SERVICE_PROVIDERS__REMOTE__"
    assert [f"{head}BASE_URL", f"{head}API_KEY"] == [line.partition(" (")[0] for line in lines[2:]]


@pytest.mark.parametrize("options", [[], ["--strict"]], ids=["lenient", "strict"])
def test_a_check_that_finds_problems_names_unknown_variables_too(options: list[str]) -> None:
    """One run says everything: what is wrong, and what is no setting."""
    env = {f"{PREFIX}HTTP__PORT": "hunter2", f"{PREFIX}WEATHER__PROVDER": "x"}
    result = run("config", "check", *options, "--json", env=env)

    document = json.loads(result.stdout)
    assert (78, "invalid_configuration") == (result.exit_code, document["error"]["code"])
    assert [f"{PREFIX}HTTP__PORT"] == [problem["variable"] for problem in document["problems"]]
    assert [f"{PREFIX}WEATHER__PROVDER"] == [unknown["variable"] for unknown in document["unknown"]]
    assert f"warning: {PREFIX}WEATHER__PROVDER is not a setting" in result.stderr
    assert "hunter2" not in result.output

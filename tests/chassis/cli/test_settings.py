"""Settings are shown with their sources, checked without a start, and documented."""

import json
from typing import Any

import pytest

from chassis.cli.service import RUNTIME, run
from object_service.chassis.cli.reference import env_example, reference_table

PREFIX = "OBJECT_SERVICE_"
REMOTE = {
    f"{PREFIX}PROVIDERS__REMOTE__BASE_URL": "https://app:hunter2@api.example/v1",
    f"{PREFIX}PROVIDERS__REMOTE__API_KEY": "hunter2",
    f"{PREFIX}PROVIDERS__REMOTE__MODEL": "m",
    f"{PREFIX}PROVIDERS__REMOTE__REGIONS": '["eu"]',
    f"{PREFIX}PROVIDERS__REMOTE__LABELS": '{"a": 1}',
    f"{PREFIX}PROVIDERS__REMOTE__MODE": "slow",
}
PIPELINE = [
    *("telemetry", "log", "validate", "deadline", "retry", "breaker_peek", "bulkhead", "breaker"),
    *("attempt_timeout", "map_errors", "call"),
]


def _shown(env: dict[str, str]) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(run("config", "show", "--json", env=env).stdout)
    return document


def _row(document: dict[str, Any], key: str) -> dict[str, Any]:
    row: dict[str, Any] = next(row for row in document["settings"] if row["key"] == key)
    return row


def test_the_document_has_the_form_of_the_contract() -> None:
    """Names, environment, settings in order of key, pipelines, unknown variables."""
    document = _shown({f"{PREFIX}WEATHER__PROVDER": "x", f"{PREFIX}XYZ": "x"})

    assert ["service", "version", "environment", "settings", "pipelines", "unknown"] == list(document)
    assert ("object-service", "dev") == (document["service"], document["environment"])
    keys = [row["key"] for row in document["settings"]]
    assert sorted(keys) == keys
    assert {"environment", "http.port", "log.level", "weather.max_days", "providers.stub.kind"} <= set(keys)
    assert {"stub": PIPELINE} == document["pipelines"]
    assert [
        {"variable": f"{PREFIX}WEATHER__PROVDER", "did_you_mean": f"{PREFIX}WEATHER__PROVIDER"},
        {"variable": f"{PREFIX}XYZ"},
    ] == document["unknown"]


def test_a_row_has_the_form_of_the_contract() -> None:
    """Key, variable, value, source and whether it is a secret."""
    document = _shown({f"{PREFIX}HTTP__PORT": "1"})

    assert {
        "key": "http.port",
        "variable": f"{PREFIX}HTTP__PORT",
        "value": 1,
        "source": "environment",
        "secret": False,
    } == _row(document, "http.port")
    assert {"key", "variable", "source", "secret"} == set(_row(document, "config_file"))
    assert ("stub", "default") == tuple(_row(document, "providers.stub.kind")[name] for name in ("value", "source"))


def test_secrets_are_masked_wherever_they_are_shown() -> None:
    """As JSON and as text; an unset secret has no value."""
    document = _shown(REMOTE)
    text = run("config", "show", env=REMOTE).output

    assert "hunter2" not in f"{document}{text}"
    key = _row(document, "providers.remote.api_key")
    assert ("********", True) == (key["value"], key["secret"])
    assert "https://app:********@api.example/v1" == _row(document, "providers.remote.base_url")["value"]
    assert "value" not in _row(document, "providers.remote.second_key")
    assert _row(document, "providers.remote.second_key")["secret"]


def test_values_keep_their_types() -> None:
    """Lists and mappings are shown as such."""
    document = _shown(REMOTE)

    values = [_row(document, f"providers.remote.{name}")["value"] for name in ("regions", "labels", "mode")]
    assert [["eu"], {"a": 1}, "slow"] == values
    assert _row(document, "weather.allow_offline")["value"] is False


def test_text_names_value_and_source() -> None:
    """One line per setting, then the pipelines."""
    lines = run("config", "show", env={f"{PREFIX}HTTP__PORT": "1"}).stdout.splitlines()
    steps = _shown({})["pipelines"]["stub"]

    assert {f"{PREFIX}HTTP__PORT = 1  (environment)", f"{PREFIX}CONFIG_FILE =   (default)"} <= set(lines)
    assert f"pipeline of stub: {' > '.join(steps)}" == lines[-1]


def test_checking_says_ok() -> None:
    """Nothing is started."""
    assert "configuration: ok (dev)\n" == run("config", "check").stdout
    assert {"status": "ok", "environment": "dev"} == json.loads(run("config", "check", "--json").stdout)


@pytest.mark.parametrize(
    ("code", "variables", "options"),
    [(0, {}, ["--strict"]), (0, {f"{PREFIX}XYZ": "1"}, []), (78, {f"{PREFIX}XYZ": "1"}, ["--strict"])],
    ids=["clean", "lenient", "strict"],
)
def test_a_strict_check_refuses_unknown_variables(code: int, variables: dict[str, str], options: list[str]) -> None:
    """A typo stops a deployment that asks for it."""
    result = run("config", "check", *options, env=variables)

    assert code == result.exit_code
    assert ("warning:" in result.stderr) == bool(variables)
    closing = "error: Some variables are no settings. [unknown_setting]"
    assert (result.stderr.splitlines()[-1:] == [closing]) == (code == 78)
    assert (result.stdout == "") == (code == 78)


def test_a_strict_check_names_unknown_variables_as_json() -> None:
    """With `--json` the refusal is a document that lists them as `config show` does."""
    result = run("config", "check", "--strict", "--json", env={f"{PREFIX}WEATHER__PROVDER": "1", f"{PREFIX}XYZ": "1"})

    assert 78 == result.exit_code
    assert {
        "status": "failed",
        "error": {"code": "unknown_setting", "message": "Some variables are no settings.", "retryable": False},
        "unknown": [
            {"variable": f"{PREFIX}WEATHER__PROVDER", "did_you_mean": f"{PREFIX}WEATHER__PROVIDER"},
            {"variable": f"{PREFIX}XYZ"},
        ],
    } == json.loads(result.stdout)


def test_the_reference_is_printed() -> None:
    """As a page or as a dotenv file, plain or inside JSON."""
    page, example = reference_table(RUNTIME.features), env_example(RUNTIME.features)

    assert page == run("config", "reference").stdout
    assert example == run("config", "reference", "--format", "env").stdout
    assert {"format": "markdown", "text": page} == json.loads(run("config", "reference", "--json").stdout)

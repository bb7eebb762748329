"""Commands: results on stdout, everything else on stderr, and an exit code that says which."""

import json
from typing import Any

import pytest

from chassis.cli.service import RUNTIME, run
from object_service.chassis.cli import main
from object_service.chassis.web import server
from object_service.chassis.web.server import PortInUseError
from object_service.chassis.web.settings import HttpSection

COMMANDS = {
    "serve": ["serve"],
    "openapi": ["openapi"],
    "greet": ["greet", "x"],
    "config-show": ["config", "show"],
    "config-check": ["config", "check"],
    "config-reference": ["config", "reference"],
    "providers": ["providers"],
    "providers-check": ["providers", "check", "stub"],
}


def test_a_result_goes_to_stdout() -> None:
    """What was asked for can be piped on; the log is elsewhere."""
    result = run("greet", "anna")

    assert (0, "HELLO ANNA\n") == (result.exit_code, result.stdout)
    assert "provider_call_succeeded" in result.stderr


def test_a_result_as_json_is_the_envelope() -> None:
    """`--json` prints the same document as the HTTP route."""
    result = run("greet", "anna", "--json")

    document = json.loads(result.stdout)
    assert ("succeeded", "hello anna", "1") == (document["status"], document["result"], document["schema_version"])


def test_a_refused_call_exits_with_1() -> None:
    """The text for callers and the code stand on stderr."""
    result = run("greet", "nobody")

    assert (1, "", "error: There is nobody. [not_found]") == (
        result.exit_code,
        result.stdout,
        result.stderr.splitlines()[-1],
    )


@pytest.mark.parametrize("as_json", [False, True], ids=["text", "json"])
def test_a_failed_call_exits_with_1(as_json: bool) -> None:  # noqa: FBT001 - a parameter of the test
    """With `--json` the failed envelope is printed as well."""
    result = run("greet", "fail", *["--json"] * as_json)

    assert 1 == result.exit_code
    assert "error: The provider did not answer in time. [provider_timeout]" == result.stderr.splitlines()[-1]
    if as_json:
        assert "failed" == json.loads(result.stdout)["status"]
    else:
        assert "" == result.stdout


@pytest.mark.parametrize("arguments", [["no-such"], ["greet"], ["greet", "x", "--no-such"], ["serve", "--port", "x"]])
def test_wrong_usage_exits_with_2(arguments: list[str]) -> None:
    """Unknown commands and options, missing and wrong arguments."""
    result = run(*arguments)

    assert (2, "") == (result.exit_code, result.stdout)
    assert "Usage: object-service" in result.stderr


def test_help_names_every_command() -> None:
    """Own commands and those of the features; without any argument there is help too."""
    result = run("--help")

    assert 0 == result.exit_code
    assert [] == [name for name in ("serve", "openapi", "config", "providers", "greet") if name not in result.stdout]
    assert result.stdout in run().output


@pytest.mark.parametrize("arguments", [a for a in COMMANDS.values() if a != ["config", "reference"]], ids=" ".join)
def test_wrong_settings_exit_with_78(monkeypatch: pytest.MonkeyPatch, arguments: list[str]) -> None:
    """Every command that needs settings reports all problems and does nothing else."""
    monkeypatch.setenv("OBJECT_SERVICE_HTTP__PORT", "x")
    monkeypatch.setenv("OBJECT_SERVICE_LOG__LEVEL", "x")

    result = run(*arguments)

    assert (78, "") == (result.exit_code, result.stdout)
    assert "configuration: 2 problems" == result.stderr.splitlines()[0]
    assert 3 == len(result.stderr.splitlines())


@pytest.mark.parametrize("arguments", [a for a in COMMANDS.values() if a != ["serve"]], ids=" ".join)
def test_every_command_speaks_json(arguments: list[str]) -> None:
    """`--json` makes the whole of stdout one document."""
    result = run(*arguments, "--json")

    assert 0 == result.exit_code
    assert isinstance(json.loads(result.stdout), dict)


def test_an_unknown_variable_is_a_warning(monkeypatch: pytest.MonkeyPatch) -> None:
    """The nearest setting is named; the command goes on."""
    monkeypatch.setenv("OBJECT_SERVICE_WEATHER__PROVDER", "stub")
    monkeypatch.setenv("OBJECT_SERVICE_XYZ", "1")

    result = run("greet", "anna")

    assert 0 == result.exit_code
    assert [
        "warning: OBJECT_SERVICE_WEATHER__PROVDER is not a setting; did you mean OBJECT_SERVICE_WEATHER__PROVIDER?",
        "warning: OBJECT_SERVICE_XYZ is not a setting",
    ] == result.stderr.splitlines()[:2]


def test_the_environment_may_be_chosen() -> None:
    """`--environment` stands before the command and wins over variables."""
    result = run("--environment", "staging", "config", "show", "--json")

    document = json.loads(result.stdout)
    row = next(row for row in document["settings"] if row["key"] == "environment")
    assert ("staging", "staging", "argument") == (document["environment"], row["value"], row["source"])


@pytest.mark.parametrize("as_json", [False, True], ids=["indented", "dense"])
def test_the_openapi_document_is_printed(as_json: bool) -> None:  # noqa: FBT001 - a parameter of the test
    """Indented for people, on one line for machines."""
    result = run("openapi", *["--json"] * as_json)

    assert {"/livez", "/v1/things"} <= set(json.loads(result.stdout)["paths"])
    assert as_json == (1 == len(result.stdout.splitlines()))


class _Server:
    """Stands in for the server: remembers where it was told to listen."""

    def __init__(self, error: Exception | None = None) -> None:
        self.sections: list[HttpSection] = []
        self._error = error

    async def __call__(self, app: object, section: HttpSection) -> None:
        del app
        self.sections.append(section)
        if self._error is not None:
            raise self._error


def test_serve_listens_where_it_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """Options win over variables; what is not given follows the settings."""
    stand_in = _Server()
    monkeypatch.setattr(server, "serve", stand_in)
    monkeypatch.setenv("OBJECT_SERVICE_HTTP__PORT", "9")
    monkeypatch.setenv("OBJECT_SERVICE_HTTP__HOST", "h1")

    assert [0, 0, 0] == [run("serve", *a).exit_code for a in ([], ["--port", "0"], ["--host", "h2", "--port", "1"])]
    assert [("h1", 9), ("h1", 0), ("h2", 1)] == [(s.host, s.port) for s in stand_in.sections]


def test_a_taken_port_exits_with_1(monkeypatch: pytest.MonkeyPatch) -> None:
    """One line says what to do."""
    monkeypatch.setattr(server, "serve", _Server(PortInUseError("h:1 cannot be bound (in use)")))

    result = run("serve")

    assert 1 == result.exit_code
    hint = "choose another one with --port, or 0 for any free one"
    assert f"error: h:1 cannot be bound (in use); {hint}" == result.stderr.splitlines()[-1]


def test_a_wrong_port_on_the_command_line_is_a_problem_of_the_settings() -> None:
    """The source is named as the argument."""
    result = run("serve", "--port", "70000")

    assert 78 == result.exit_code
    assert "OBJECT_SERVICE_HTTP__PORT (argument): expected less than or equal to 65535" in result.stderr


def test_the_process_exits_with_the_code(monkeypatch: pytest.MonkeyPatch) -> None:
    """`run` is what the installed command calls."""
    monkeypatch.setattr("sys.argv", ["object-service", "config", "check"])

    with pytest.raises(SystemExit) as caught:
        main.run(RUNTIME)

    assert 0 == caught.value.code


def _rows(**variables: str) -> list[dict[str, Any]]:
    env = {f"OBJECT_SERVICE_{name}": value for name, value in variables.items()}
    rows: list[dict[str, Any]] = json.loads(run("providers", "--json", env=env).stdout)["providers"]
    return rows


def test_providers_are_listed() -> None:
    """Those that a request may name, with kind, object and whether they are selected."""
    rows = _rows(PROVIDERS__MINE__KIND="stub", PROVIDERS__REMOTE__MODEL="incomplete")

    assert [
        {"name": "mine", "kind": "stub", "object": "weather", "selected": False, "offline": True},
        {"name": "stub", "kind": "stub", "object": "weather", "selected": True, "offline": True},
    ] == rows
    assert "stub (stub): weather, selected, offline\n" == run("providers").stdout


def test_a_provider_that_lacks_a_value_is_pointed_out() -> None:
    """Nobody selects it, so the service runs; who names it in a request would wonder."""
    result = run("providers", env={"OBJECT_SERVICE_PROVIDERS__REMOTE__MODEL": "m"})

    assert "warning: a provider cannot be used: OBJECT_SERVICE_PROVIDERS__REMOTE__API_KEY (default)" in result.stderr
    assert 0 == result.exit_code


def test_a_provider_is_checked() -> None:
    """Complete and buildable is ok; nothing is called."""
    result = run("providers", "check", "stub")

    assert (0, "stub: ok\n") == (result.exit_code, result.stdout)
    assert "ok" == json.loads(run("providers", "check", "stub", "--json").stdout)["status"]
    assert "provider_call" not in result.stderr


def test_an_unknown_provider_is_not_ok() -> None:
    """The nearest name is offered."""
    result = run("providers", "check", "stup")

    assert (1, "") == (result.exit_code, result.stdout)
    line = "error: No provider named 'stup'. Did you mean 'stub'? Available: stub. [unknown_provider]"
    assert line == result.stderr.splitlines()[-1]

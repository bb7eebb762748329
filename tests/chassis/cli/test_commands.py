"""Commands: results on stdout, everything else on stderr, and an exit code that says which."""

import json

import pytest

from chassis.cli.service import RUNTIME, run
from object_service.chassis.cli import main
from object_service.chassis.container import Stopping
from object_service.chassis.web import server
from object_service.chassis.web.server import AddressError, PortInUseError
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


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--environment", "prd", "config", "check"], "'--environment': 'prd' is not one of 'dev', 'staging', 'prod'."),
        (["config", "reference", "--format", "x"], "'--format': 'x' is not one of 'markdown', 'env'."),
    ],
    ids=["own-option", "option-of-a-command"],
)
def test_a_wrong_choice_is_told_in_plain_words(arguments: list[str], told: str) -> None:
    """What can be chosen is named, without the words of the library that found out."""
    result = run(*arguments)

    assert (2, f"Error: Invalid value for {told}") == (result.exit_code, result.stderr.splitlines()[-1])


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


@pytest.mark.parametrize("arguments", [a for a in COMMANDS.values() if a != ["config", "reference"]], ids=" ".join)
def test_wrong_settings_are_told_as_json(monkeypatch: pytest.MonkeyPatch, arguments: list[str]) -> None:
    """With `--json` every command that needs settings prints what is wrong as one document, and never a value."""
    monkeypatch.setenv("OBJECT_SERVICE_HTTP__PORT", "hunter2")

    result = run(*arguments, "--json")

    assert (78, "configuration: 1 problem") == (result.exit_code, result.stderr.splitlines()[0])
    assert {
        "status": "failed",
        "error": {"code": "invalid_configuration", "message": "configuration: 1 problem", "retryable": False},
        "problems": [
            {
                "variable": "OBJECT_SERVICE_HTTP__PORT",
                "source": "environment",
                "expected": "a whole number",
                "fix": "correct it or remove it",
            }
        ],
    } == json.loads(result.stdout)


REFUSED = {
    "call": (["greet", "nobody"], "not_found", "There is nobody."),
    "provider": (
        ["providers", "check", "stup"],
        "unknown_provider",
        "No provider named 'stup'. Did you mean 'stub'? Available: stub.",
    ),
    "group": (
        ["providers", "--json", "check", "nobody"],
        "unknown_provider",
        "No provider named 'nobody'. Available: stub.",
    ),
}


@pytest.mark.parametrize(("arguments", "code", "message"), REFUSED.values(), ids=REFUSED)
def test_a_refusal_is_told_as_json(arguments: list[str], code: str, message: str) -> None:
    """With `--json` a script reads status and code, whether the call was refused or failed."""
    result = run(*arguments, *["--json"] * ("--json" not in arguments))

    error = {"code": code, "message": message, "retryable": False}
    assert {"status": "failed", "error": error} == json.loads(result.stdout)
    assert (1, f"error: {message} [{code}]") == (result.exit_code, result.stderr.splitlines()[-1])


def test_the_flag_of_a_group_holds_for_its_commands() -> None:
    """`providers --json check` prints JSON like `providers check --json`."""
    assert "ok" == json.loads(run("providers", "--json", "check", "stub").stdout)["status"]


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

    async def __call__(self, app: object, section: HttpSection, stopping: Stopping, apart: object) -> None:
        del app, stopping, apart
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
    assert f"error: h:1 cannot be bound (in use); {hint} [port_in_use]" == result.stderr.splitlines()[-1]
    assert "" == result.stdout
    error = json.loads(run("serve", "--json").stdout)["error"]
    assert ("port_in_use", False) == (error["code"], error["retryable"])


def test_an_address_that_cannot_be_had_exits_with_1(monkeypatch: pytest.MonkeyPatch) -> None:
    """Another port would not help, so the line speaks of the host."""
    monkeypatch.setattr(server, "serve", _Server(AddressError("h:1 cannot be bound (no such name)")))

    result = run("serve")

    hint = "choose an address of this machine with --host, and a port that this user may open"
    line = f"error: h:1 cannot be bound (no such name); {hint} [address_unavailable]"
    assert (1, "", line) == (result.exit_code, result.stdout, result.stderr.splitlines()[-1])
    error = json.loads(run("serve", "--json").stdout)["error"]
    assert ("address_unavailable", False) == (error["code"], error["retryable"])


def test_what_is_odd_about_the_settings_is_logged_while_serving(monkeypatch: pytest.MonkeyPatch) -> None:
    """A variable that is no setting and a provider that cannot be used are lines of the log like any other."""
    monkeypatch.setattr(server, "serve", _Server())
    monkeypatch.setenv("OBJECT_SERVICE_WEATHER__PROVDER", "stub")
    monkeypatch.setenv("OBJECT_SERVICE_XYZ", "1")
    monkeypatch.setenv("OBJECT_SERVICE_PROVIDERS__REMOTE__MODEL", "m")

    result = run("serve", "--json")

    lines = [json.loads(line) for line in result.stderr.splitlines()]
    told = [(line["event"], line["variable"], line.get("expected") or line.get("did_you_mean")) for line in lines]
    head = "OBJECT_SERVICE_"
    assert (0, "", {"warning"}) == (result.exit_code, result.stdout, {line["level"] for line in lines})
    assert [
        ("provider_unusable", f"{head}PROVIDERS__REMOTE__BASE_URL", "a value (Where its API begins.)"),
        ("provider_unusable", f"{head}PROVIDERS__REMOTE__API_KEY", "a value (Its credential.)"),
        ("unknown_setting", f"{head}WEATHER__PROVDER", f"{head}WEATHER__PROVIDER"),
        ("unknown_setting", f"{head}XYZ", None),
    ] == told


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

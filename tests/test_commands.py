"""The command line of the default service: results on stdout, everything else on stderr, and fixed exit codes."""

import json
import re
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from rendering import DEFAULT, Workshop
from serving import command, running

pytestmark = pytest.mark.gate

PLANTED = "planted-secret-4711"
ACME = {
    "MY_SERVICE_PROVIDERS__ACME__KIND": "openai_compatible",
    "MY_SERVICE_PROVIDERS__ACME__BASE_URL": "http://127.0.0.1:9/v1",
    "MY_SERVICE_PROVIDERS__ACME__API_KEY": PLANTED,
    "MY_SERVICE_PROVIDERS__ACME__MODEL": "acme-1",
}
KUBERNETES = {
    "MY_SERVICE_SERVICE_HOST": "10.0.0.1",
    "MY_SERVICE_SERVICE_PORT": "8000",
    "MY_SERVICE_SERVICE_PORT_HTTP": "8000",
    "MY_SERVICE_PORT": "tcp://10.0.0.1:8000",
    "MY_SERVICE_PORT_8000_TCP": "tcp://10.0.0.1:8000",
    "MY_SERVICE_PORT_8000_TCP_PROTO": "tcp",
    "MY_SERVICE_PORT_8000_TCP_PORT": "8000",
    "MY_SERVICE_PORT_8000_TCP_ADDR": "10.0.0.1",
}

PIPELINE = "telemetry log validate deadline retry breaker_peek bulkhead breaker attempt_timeout map_errors call"
CHOOSE = "set it to one of these or remove it"
CORRECT = "correct it or remove it"
PROBLEMS = f"""\
configuration: 4 problems
MY_SERVICE_GENAI__PROVIDER (environment): expected one of acme, anthropic_messages, echo, openai_compatible; {CHOOSE}
MY_SERVICE_HTTP__PORT (environment): expected a whole number; {CORRECT}
MY_SERVICE_LOG__LEVEL (environment): expected one of debug, info, warning, error; {CHOOSE}
MY_SERVICE_PROVIDERS__ACME__BASE_URL (environment): expected a URL that starts with http:// or https://; {CORRECT}
warning: a provider cannot be used: MY_SERVICE_PROVIDERS__ACME__MODEL (default): expected a value (Model to ask for.); \
set it
"""

type Command = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def project(workshop: Workshop) -> Path:
    """Return the installed default project."""
    return workshop.install(DEFAULT)


@pytest.fixture
def my_service(project: Path, tmp_path: Path) -> Command:
    """Return the command, run in a folder without any file of settings."""

    def run(*words: str, **env: str) -> subprocess.CompletedProcess[str]:
        return command(project, tmp_path, *words, env=env)

    return run


def test_generate_prints_the_text(my_service: Command) -> None:
    """`generate` prints the text, and with --json the envelope; nothing else comes on stdout."""
    done = my_service("generate", "hello there")
    assert (0, "hello there\n") == (done.returncode, done.stdout)
    envelope = json.loads(my_service("generate", "hello", "--json", "--provider", "echo").stdout)
    assert ("succeeded", "hello", "echo") == (
        *(envelope["status"], envelope["result"]["text"], envelope["provenance"]["provider"]),
    )


def test_logs_go_to_stderr_as_json(my_service: Command) -> None:
    """Every line on stderr is one JSON object when nobody watches."""
    lines = [json.loads(line) for line in my_service("generate", "hello", "--json").stderr.splitlines()]
    assert ["provider_call_succeeded"] == [line["event"] for line in lines]


def test_diarize_prints_the_turns(my_service: Command, project: Path) -> None:
    """`diarize` prints who spoke when, and with --json the envelope."""
    example = str(project / "examples" / "two_speakers.wav")
    done = my_service("diarize", example)
    assert 0 == done.returncode
    assert re.match(r"2 speakers in \d+\.\d\d s\n +\d+\.\d\d +\d+\.\d\d  S1\n", done.stdout)
    envelope = json.loads(my_service("diarize", example, "--json").stdout)
    assert ("succeeded", ["S1", "S2"]) == (envelope["status"], envelope["result"]["speakers"])
    assert Path(example).exists()


FAILING = {
    "unknown provider": (
        ["generate", "hello", "--provider", "ecko"],
        1,
        "Did you mean 'echo'? Available: echo. [",
    ),
    "long prompt": (["generate", "a" * 100_001], 1, "at most 100000 are allowed. [prompt_too_long]"),
    "missing file": (["diarize", "nowhere.wav"], 1, "[unreadable_audio]"),
    "no audio": (["diarize", "."], 1, "[unreadable_audio]"),
    "check of an unknown one": (
        ["providers", "check", "ecko"],
        1,
        "Did you mean 'echo'? Available: echo, energy.",
    ),
    "no such command": (["generat"], 2, "No such command 'generat'"),
    "no such option": (["generate", "a", "--streamed"], 2, "No such option"),
    "missing argument": (["generate"], 2, "Missing argument 'text'"),
    "environment": (["--environment", "moon", "providers"], 2, "'moon' is not one of"),
    "port is text": (["serve", "--port", "x"], 2, "Invalid value for '--port'"),
    "port is too high": (["serve", "--port", "70000"], 78, "configuration: 1 problem"),
}


@pytest.mark.parametrize("case", FAILING)
def test_failure_has_its_exit_code(my_service: Command, case: str) -> None:
    """1 is a call that failed, 2 a wrong use, 78 a wrong setting; the reason stands on stderr, without a trace."""
    words, code, reason = FAILING[case]
    done = my_service(*words)
    assert (code, "") == (done.returncode, done.stdout)
    assert reason in done.stderr
    assert "Traceback" not in done.stderr


def test_failed_call_is_an_envelope_in_json(my_service: Command) -> None:
    """A provider that cannot be reached is a failed envelope on stdout with --json, and exit code 1."""
    done = my_service("generate", "hello", "--provider", "acme", "--json", **ACME)
    assert 1 == done.returncode
    envelope = json.loads(done.stdout)
    assert ("failed", "provider_error", True) == (
        *(envelope["status"], envelope["error"]["code"], envelope["error"]["retryable"]),
    )
    assert ("acme", "openai_compatible") == (envelope["provenance"]["provider"], envelope["provenance"]["kind"])
    assert PLANTED not in done.stdout + done.stderr


REFUSED = {
    "call": (["generate", "hello", "--provider", "ecko", "--json"], 1, "unknown_provider"),
    "provider": (["providers", "check", "ecko", "--json"], 1, "unknown_provider"),
    "settings": (["serve", "--port", "70000", "--json"], 78, "invalid_configuration"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_refusal_is_a_document_in_json(my_service: Command, case: str) -> None:
    """With --json stdout always has one document: a refusal has status and error of a failed envelope."""
    words, code, reason = REFUSED[case]
    done = my_service(*words)
    document = json.loads(done.stdout)
    assert (code, "failed", reason, False) == (
        *(done.returncode, document["status"], document["error"]["code"], document["error"]["retryable"]),
    )


def test_log_of_a_server_is_json_from_its_first_line(project: Path, tmp_path: Path) -> None:
    """A variable that is no setting is a line of the log, not a text beside it."""
    with running(project, tmp_path / "odd", {"MY_SERVICE_GENAI__PROVDER": "echo"}) as service:
        first = service.log()[0]
    assert ("unknown_setting", "MY_SERVICE_GENAI__PROVIDER") == (first["event"], first["did_you_mean"])


def test_providers_are_listed_and_checked(my_service: Command) -> None:
    """`providers` names what a request may name; `providers check` builds one without calling it."""
    listed = my_service("providers", **ACME)
    assert "acme (openai_compatible): genai\necho (echo): genai, selected, offline\n" in listed.stdout
    rows = json.loads(my_service("providers", "--json", **ACME).stdout)["providers"]
    echo = {"name": "echo", "kind": "echo", "object": "genai", "selected": True, "offline": True}
    assert [echo] == [row for row in rows if row["name"] == "echo"]
    assert {"acme", "echo", "energy"} == {row["name"] for row in rows}
    checked = my_service("providers", "check", "acme", **ACME)
    assert (0, "acme: ok\n") == (checked.returncode, checked.stdout)
    assert {"status": "ok", **echo} == json.loads(my_service("providers", "check", "echo", "--json").stdout)


def settings(done: subprocess.CompletedProcess[str]) -> dict[str, dict[str, Any]]:
    """Return what `config show --json` says of each setting."""
    assert 0 == done.returncode, done.stderr
    return {row["key"]: row for row in json.loads(done.stdout)["settings"]}


def test_config_show_tells_every_source(my_service: Command, tmp_path: Path) -> None:
    """`config show --json` is sorted, names the source of each value, and masks secrets."""
    (tmp_path / ".env.local").write_text(f"MY_SERVICE_PROVIDERS__ACME__API_KEY={PLANTED}\nOTHER=1\n", encoding="utf-8")
    (tmp_path / "more.toml").write_text("[genai]\nmax_prompt_chars = 50\n", encoding="utf-8")
    given = {name: value for name, value in ACME.items() if "API_KEY" not in name}
    done = my_service(
        *("--environment", "staging", "config", "show", "--json"),
        **given,
        MY_SERVICE_CONFIG_FILE="more.toml",
        MY_SERVICE_GENAI__PROVDER="echo",
    )
    document = json.loads(done.stdout)
    assert ["service", "version", "environment", "settings", "pipelines", "unknown"] == list(document)
    assert ("my-service", "0.1.0", "staging") == tuple(document[name] for name in ("service", "version", "environment"))
    rows = settings(done)
    assert sorted(rows) == list(rows)
    assert ["argument", "environment", "file:.env.local", "config", "default"] == [
        rows[key]["source"]
        for key in ("environment", "config_file", "providers.acme.api_key", "genai.max_prompt_chars", "http.port")
    ]
    assert {
        "key": "providers.acme.api_key",
        "variable": "MY_SERVICE_PROVIDERS__ACME__API_KEY",
        "value": "********",
        "source": "file:.env.local",
        "secret": True,
    } == rows["providers.acme.api_key"]
    assert {"acme", "echo", "energy"} == set(document["pipelines"])
    assert {PIPELINE} == {" ".join(steps) for steps in document["pipelines"].values()}
    assert [{"variable": "MY_SERVICE_GENAI__PROVDER", "did_you_mean": "MY_SERVICE_GENAI__PROVIDER"}] == document[
        "unknown"
    ]
    assert "OTHER" not in done.stdout
    assert PLANTED not in done.stdout + done.stderr


def test_kubernetes_variables_are_ignored(my_service: Command) -> None:
    """What Kubernetes injects for a service of the same name is neither a setting nor an unknown one."""
    done = my_service("config", "show", "--json", **KUBERNETES)
    assert (8000, "default") == (settings(done)["http.port"]["value"], settings(done)["http.port"]["source"])
    assert [] == json.loads(done.stdout)["unknown"]
    assert 0 == my_service("config", "check", "--strict", **KUBERNETES).returncode


def test_all_problems_are_reported_at_once(my_service: Command) -> None:
    """Every wrong setting is one line that says what was expected and what to do, never the value."""
    wrong = {
        "MY_SERVICE_GENAI__PROVIDER": "ecko",
        "MY_SERVICE_HTTP__PORT": "eighty",
        "MY_SERVICE_LOG__LEVEL": "loud",
        "MY_SERVICE_PROVIDERS__ACME__KIND": "openai_compatible",
        "MY_SERVICE_PROVIDERS__ACME__API_KEY": PLANTED,
        "MY_SERVICE_PROVIDERS__ACME__BASE_URL": f"ftp://user:{PLANTED}@host",
    }
    for words in (["config", "check"], ["serve"], ["generate", "a"]):
        done = my_service(*words, **wrong)
        assert (78, "") == (done.returncode, done.stdout)
        assert PROBLEMS == done.stderr
        assert not re.search(r"ecko|eighty|loud|4711", done.stderr)


def test_contract_example_of_a_problem(my_service: Command) -> None:
    """The line of the contract comes out exactly."""
    done = my_service("config", "check", MY_SERVICE_GENAI__PROVIDER="ecko")
    line = f"expected one of anthropic_messages, echo, openai_compatible; {CHOOSE}"
    expected = f"configuration: 1 problem\nMY_SERVICE_GENAI__PROVIDER (environment): {line}\n"
    assert (78, expected) == (done.returncode, done.stderr)


def test_unknown_variables_are_warned_about(my_service: Command) -> None:
    """A variable that is no setting gives a warning with the nearest one, and 78 when strict."""
    done = my_service("config", "check", "--json", MY_SERVICE_GENAI__PROVDER="echo")
    assert (0, {"status": "ok", "environment": "dev"}) == (done.returncode, json.loads(done.stdout))
    assert "MY_SERVICE_GENAI__PROVDER is not a setting" in done.stderr
    assert "MY_SERVICE_GENAI__PROVIDER" in done.stderr
    strict = my_service("config", "check", "--strict", MY_SERVICE_GENAI__PROVDER="echo")
    assert (78, "") == (strict.returncode, strict.stdout)
    assert "MY_SERVICE_GENAI__PROVDER is not a setting" in strict.stderr


def test_prod_refuses_what_only_works_in_trials(my_service: Command) -> None:
    """In prod an offline provider, work that ends with the process and callers without keys have to be allowed."""
    done = my_service("--environment", "prod", "config", "check")
    assert (78, "configuration: 4 problems") == (done.returncode, done.stderr.splitlines()[0])
    allowed = {f"MY_SERVICE_{name}": "true" for name in ("GENAI__ALLOW_OFFLINE", "DIARIZATION__ALLOW_OFFLINE")}
    allowed |= {"MY_SERVICE_DIARIZATION__ALLOW_IN_PROCESS": "true", "MY_SERVICE_AUTH__OPEN": "true"}
    assert "configuration: ok (prod)\n" == my_service("--environment", "prod", "config", "check", **allowed).stdout


def test_generated_pages_are_fresh(my_service: Command, project: Path) -> None:
    """`config reference` prints the page and the example file that the project carries."""
    assert (project / "docs" / "settings.md").read_text(encoding="utf-8") == my_service("config", "reference").stdout
    example = my_service("config", "reference", "--format", "env").stdout
    assert (project / ".env.example").read_text(encoding="utf-8") == example


def test_openapi_names_every_route(my_service: Command) -> None:
    """`openapi` prints the document with a success and the problems of every operation."""
    document = json.loads(my_service("openapi").stdout)
    operations = [(path, method, found) for path, item in document["paths"].items() for method, found in item.items()]
    assert 11 == len(operations)
    assert [] == [path for path, _, found in operations if not {"422", "431", "500"} <= set(found["responses"])]
    references = set(re.findall(r'"#/components/schemas/([^"]+)"', json.dumps(document)))
    assert set() == references - set(document["components"]["schemas"])


def test_port_in_use_is_said(my_service: Command, project: Path, tmp_path: Path) -> None:
    """A port that is taken is one line and exit code 1."""
    with running(project, tmp_path / "first") as first:
        done = my_service("serve", "--port", str(first.port))
        assert 0 == first.stop()
    assert 1 == done.returncode
    assert "cannot be bound" in done.stderr
    assert "Traceback" not in done.stderr

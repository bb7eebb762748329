"""Providers are listed and checked on the command line."""

import json
from typing import Any

from chassis.cli.service import run


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

"""Writes settings to the places where the service reads them."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from chassis.samples.features import SERVICE
from object_service.chassis.config.loading import load
from object_service.chassis.config.section import ConfigurationError, Problem
from object_service.chassis.config.settings import Settings
from object_service.chassis.features import Feature

PREFIX = "OBJECT_SERVICE_"
REMOTE = {
    "WEATHER__PROVIDER": "remote",
    "PROVIDERS__REMOTE__BASE_URL": "https://api.example/v1",
    "PROVIDERS__REMOTE__API_KEY": "key",
    "PROVIDERS__REMOTE__MODEL": "m",
}
"""The smallest set of variables with which `remote` is complete."""


class Places:
    """The environment and the files of one start."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
        """Take where to write."""
        self._monkeypatch = monkeypatch
        self.folder = folder

    def environment(self, variables: Mapping[str, str] | None = None, /, **more: str) -> None:
        """Set variables; the prefix is added."""
        for name, value in {**(variables or {}), **more}.items():
            self._monkeypatch.setenv(PREFIX + name, value)

    def dotenv(self, name: str, variables: Mapping[str, str] | None = None, /, **more: str) -> None:
        """Write a dotenv file; the prefix is added."""
        lines = [f"{PREFIX}{key}={value}\n" for key, value in {**(variables or {}), **more}.items()]
        (self.folder / name).write_text("".join(lines), encoding="utf-8")

    def toml(self, text: str) -> None:
        """Write a TOML file and name it in the environment."""
        (self.folder / "settings.toml").write_text(text, encoding="utf-8")
        self.environment(CONFIG_FILE="settings.toml")

    def secrets(self, **variables: str) -> Path:
        """Write one file per variable and name their folder in the environment; return it."""
        folder = self.folder / "secrets"
        folder.mkdir(exist_ok=True)
        for name, value in variables.items():
            (folder / (PREFIX + name)).write_text(value, encoding="utf-8")
        self.environment(SECRETS_DIR=str(folder))
        return folder

    def load(self, *features: Feature, arguments: Mapping[tuple[str, ...], Any] | None = None) -> Settings:
        """Load the sample service, or the given features."""
        return load(features or SERVICE, arguments, self.folder)

    def problems(self, *features: Feature) -> list[Problem]:
        """Load, and return what is wrong; a start that succeeds is a failure."""
        with pytest.raises(ConfigurationError) as caught:
            self.load(*features)
        return list(caught.value.problems)


def described(problems: list[Problem]) -> list[tuple[str, str]]:
    """Return variable without prefix, and source, of each problem."""
    return [(problem.variable.removeprefix(PREFIX), problem.source) for problem in problems]

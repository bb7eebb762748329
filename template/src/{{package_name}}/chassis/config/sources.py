"""Sources: the places where settings are stated, read into one shape, highest precedence first."""

import os
import re
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from typing import Any

from dotenv.parser import parse_stream

from ..identity import ENV_PREFIX
from .section import Environment, Problem, ServiceSection

type SettingPath = tuple[str, ...]

DELIMITER = "__"
_SERVICE_LINK = re.compile(r"(\w+_)?(SERVICE_HOST|SERVICE_PORT\w*|PORT_\d+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)")
_DOTENV_NAME = re.compile(r"[\w.-]+")
_SERVICE_LINK_URL = re.compile(r"(tcp|udp|sctp)://")


@dataclass(frozen=True, slots=True)
class Stated:
    """A value as it stands in one source, with the variable to name in messages."""

    value: Any
    source: str
    variable: str


type Layer = dict[SettingPath, Stated]


def variable_of(path: SettingPath) -> str:
    """Return the environment variable of a setting: `("http", "port")` is `MY_SERVICE_HTTP__PORT`."""
    return ENV_PREFIX + DELIMITER.join(path).upper()


def read_sources(arguments: Mapping[SettingPath, Any], directory: Path) -> tuple[list[Layer], list[Problem]]:
    """Read every source, highest precedence first.

    Order: arguments, environment, `.env.local`, `.env.<environment>`, `.env`, config file, secrets directory.
    Foreign names are left out, and so is what Kubernetes injects for a service of the same name. An empty value
    counts as not stated. A source that cannot be read is a problem and stands as an empty layer.
    """
    problems: list[Problem] = []
    given = {path: Stated(value, "argument", variable_of(path)) for path, value in arguments.items()}
    outer: list[Layer] = [given, _from_names(os.environ, "environment")]
    local = _read_dotenv(directory / ".env.local", problems)
    shared = _read_dotenv(directory / ".env", problems)
    environment = _first([*outer, local, shared], "environment")
    staged: Layer = {}
    if environment.value in list(Environment):
        staged = _read_dotenv(directory / f".env.{environment.value}", problems)
    layers = [*outer, local, staged, shared]
    config_file = _first(layers, "config_file")
    if config_file.value is not None:
        layers.append(_read_toml(directory, config_file, problems))
    layers.append(_read_secrets(directory, _first(layers, "secrets_dir"), problems))
    problems += _late_environment(layers, environment.value)
    return layers, problems


def _late_environment(layers: list[Layer], selected: Any) -> Iterator[Problem]:
    """Refuse another environment from a place that is read only after the dotenv file was selected."""
    effective = next((layer[("environment",)] for layer in layers if ("environment",) in layer), None)
    if effective is not None and effective.value != selected:
        expected = "to be set as an argument, in the environment, .env.local or .env only"
        yield Problem(effective.variable, effective.source, expected, "move it there")


def _first(layers: list[Layer], name: str) -> Stated:
    """Return a setting of the service as the first of these layers states it, otherwise its default."""
    default = Stated(ServiceSection.model_fields[name].default, "default", variable_of((name,)))
    return next((layer[(name,)] for layer in layers if (name,) in layer), default)


def _from_names(names: Mapping[str, str | None], source: str) -> Layer:
    layer: Layer = {}
    for name, value in names.items():
        rest = name.upper().removeprefix(ENV_PREFIX)
        if rest != name.upper() and value and not _is_service_link(rest, value):
            path = tuple(part.lower() for part in rest.split(DELIMITER))
            layer[path] = Stated(value, source, name)
    return layer


def _is_service_link(rest: str, value: str) -> bool:
    """Recognise what Kubernetes and Docker links inject: `MY_SERVICE_SERVICE_HOST`, `MY_SERVICE_PORT=tcp://...`."""
    if DELIMITER in rest:
        return False
    is_url = rest.endswith("PORT") and _SERVICE_LINK_URL.match(value) is not None
    return is_url or _SERVICE_LINK.fullmatch(rest) is not None


def _read_dotenv(file: Path, problems: list[Problem]) -> Layer:
    source = f"file:{file.name}"
    try:
        text = file.read_text(encoding="utf-8") if file.is_file() else ""
    except (OSError, ValueError):
        problems.append(Problem(file.name, source, "a readable UTF-8 file", "correct the file or remove it"))
        return {}
    names: dict[str, str | None] = {}
    for found in parse_stream(StringIO(text)):
        if found.error or (found.key is not None and _DOTENV_NAME.fullmatch(found.key) is None):
            written = found.original.string
            line = found.original.line + written[: len(written) - len(written.lstrip())].count("\n")
            problems.append(Problem(file.name, source, f"NAME=value in line {line}", "correct the line or remove it"))
        elif found.key is not None:
            names[found.key] = found.value
    return _from_names(names, source)


def _read_toml(directory: Path, stated: Stated, problems: list[Problem]) -> Layer:
    try:
        document = tomllib.loads((directory / str(stated.value)).read_text(encoding="utf-8-sig"))
    except OSError:
        problems.append(Problem(stated.variable, stated.source, "a readable file", "correct the path or remove it"))
        return {}
    except ValueError:
        problems.append(Problem(stated.variable, stated.source, "a valid TOML file in UTF-8", "correct the file"))
        return {}
    return {path: Stated(value, "config", variable_of(path)) for path, value in _flattened(document, ())}


def _flattened(table: Mapping[str, Any], above: SettingPath) -> Iterator[tuple[SettingPath, Any]]:
    for name, value in table.items():
        path = (*above, name.lower())
        if isinstance(value, Mapping) and value:
            yield from _flattened(value, path)
        elif value != "":
            yield path, value


def _read_secrets(directory: Path, stated: Stated, problems: list[Problem]) -> Layer:
    folder = directory / str(stated.value)
    names: dict[str, str | None] = {}
    try:
        is_default = folder == ServiceSection.model_fields["secrets_dir"].default
        files = [] if is_default and not folder.is_dir() else sorted(folder.iterdir())
        wanted = [file for file in files if file.name.upper().startswith(ENV_PREFIX) and file.is_file()]
        for file in wanted:
            names[file.name] = file.read_text(encoding="utf-8").rstrip("\r\n")
    except (OSError, ValueError):
        expected = "a readable folder of UTF-8 files"
        problems.append(Problem(stated.variable, stated.source, expected, "correct the path or remove it"))
    return _from_names(names, "secrets")

"""New: writes a provider or an object from the scaffolds beside it, for the recipes `just new-...`.

Everything is checked before the first file is written, and no file that exists is touched.
"""
# ruff: noqa: INP001, T201 - a script, and it prints

import ast
import builtins
import difflib
import keyword
import os
import re
import subprocess
import sys
import tomllib
from collections.abc import Callable, Mapping
from functools import partial
from importlib import import_module
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

SCAFFOLDS = Path(__file__).resolve().parent
PROJECT = SCAFFOLDS.parent
SERVICE = str(tomllib.loads((PROJECT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["name"])
PACKAGE = SERVICE.replace("-", "_")
RESERVED = """alembic_version audit auth cache components config config_file database envelopes environment events files
host info jobs keys migrate ml oidc ops otel port providers realtime resources secrets_dir service webhooks worker"""
"""Settings, commands, routes and tables that a service has, or gets with a capability."""
MODULES = {"adapter", "adapters", "chassis", "conftest", "domain", "exercise", "httpx2", "pytest", "service", "tests"}


type Made = tuple[list[Path], dict[str, str]]
"""The files that were written, and the next commands with what they do."""


class RefusedError(Exception):
    """Wrong words; the text says what was expected."""


def main(make: Callable[[], Made]) -> int:
    """Write what is asked for, tell what was written and what comes next, and return the exit code."""
    try:
        written, commands = make()
        commands["uv run just check"] = "is green, and stays so"
    except (RefusedError, OSError, ImportError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2 if isinstance(error, RefusedError) else 1
    print("Written:", *(f"  {path.as_posix()}" for path in written), "Next:", sep="\n")
    print(*(f"  {command:{max(map(len, commands))}}  # {purpose}" for command, purpose in commands.items()), sep="\n")
    return 0


def run(*arguments: str) -> Made:
    """Return the files that were written, and the next commands with what they do."""
    match arguments:
        case "provider", object_, name:
            return new_provider(object_, name)
        case "object", name:
            return new_object(name)
        case _:
            raise RefusedError("expected `just new-provider OBJECT NAME` or `just new-object NAME`")


def new_provider(object_: str, name: str) -> Made:
    """Write a provider of an object."""
    kinds = {feature.name: feature.catalogue.names for feature in service().features if feature.catalogue is not None}
    if object_ not in kinds:
        hint = "".join(f" Did you mean {near!r}?" for near in difflib.get_close_matches(object_, kinds, n=1))
        raise RefusedError(f"there is no object {object_!r}.{hint} Expected one of: {', '.join(kinds) or 'none yet'}")
    check(name, "a provider")
    if any(name in names for names in kinds.values()):
        raise RefusedError(f"{name!r} is a kind of provider already; choose another name")
    if not (SCAFFOLDS / "provider" / object_).is_dir():
        reason = f"{object_!r} has no folder in scaffolds/provider; make one, or copy a module and its test from"
        raise RefusedError(f"{reason} src/{PACKAGE}/adapters/{object_} and tests/adapters/{object_}")
    next_ = {f"uv run just checklist {name}": "says what it lacks", "uv run just fmt": "documents its settings"}
    return write(f"provider/{object_}", {"object": object_, "kind": name, "Kind": class_of(name)}), next_


def new_object(name: str) -> Made:
    """Write an object, with a provider that works offline and a scaffold for others."""
    check(name, "an object")
    check_free(name)
    # What only the name of a provider decides stays open: the object gets a scaffold of its own.
    names = {"object": name, "Object": class_of(name), "kind": "[[kind]]", "Kind": "[[ Kind ]]"}
    route = name.replace("_", "-")
    return write("object", names), {
        f"uv run {SERVICE} {route} hello": f"answers; so does POST /v1/{route}, see docs/{route}.md",
        f"uv run just new-provider {name} acme": "writes its first real provider",
    }


def service() -> Any:
    """Return the service with everything that it has so far."""
    try:
        return import_module(f"{PACKAGE}.bootstrap").runtime()
    except Exception as error:
        message = f"the service cannot be imported ({type(error).__name__}: {error}); repair it first"
        raise ImportError(message) from error


def check(name: str, what: str) -> None:
    """Refuse a name that would not do as a variable, a module and a class."""
    if re.fullmatch(r"(?=.{1,40}\Z)[a-z][a-z0-9]*(_[a-z0-9]+)*", name) is None:
        form = "at most 40 lower-case letters and digits, a letter first, words joined by single underscores"
        raise RefusedError(f"{name!r} cannot be the name of {what}; expected {form}")
    if class_of(name).startswith("Test") or name in MODULES:
        raise RefusedError(f"{name!r} has a meaning in tests or imports; choose another name")
    if {name, class_of(name)} & {*keyword.kwlist, *keyword.softkwlist, *dir(builtins), *sys.stdlib_module_names}:
        raise RefusedError(f"{name!r} is a word or a module of Python; choose another name")


def check_free(name: str) -> None:
    """Refuse a name that the service has given away."""
    taken = {*RESERVED.split()}
    for feature in service().features:
        kinds = feature.catalogue.names if feature.catalogue is not None else ()
        taken |= {feature.name, *(kind.removesuffix("_offline") for kind in kinds)}
    command_line = import_module(f"{PACKAGE}.chassis.cli.main").build_cli(service())
    taken |= {word.replace("-", "_") for word in import_module("typer.main").get_command(command_line).commands}
    for file in (PROJECT / "src" / PACKAGE / "transport" / "http").glob("*.py"):
        taken |= {path.replace("-", "_") for path in re.findall(r'"/v1/([a-z0-9-]+)', file.read_text(encoding="utf-8"))}
    if name in taken or name.startswith(("service_", "sqlite_", "template_")):
        raise RefusedError(f"{name!r} is a setting, a command or a route of the service already; choose another name")


def class_of(name: str) -> str:
    """Return the name of the class that goes with a name."""
    return "".join(map(str.capitalize, name.split("_")))


def write(scaffold: str, names: Mapping[str, str]) -> list[Path]:
    """Render a scaffold and move its files to where they belong, all or none."""
    from copier import run_copy  # noqa: PLC0415 - slow, and a name that is refused does not need it

    with TemporaryDirectory() as folder:
        data = {"scaffold": scaffold, "service": SERVICE, "package": PACKAGE, **names}
        run_copy(str(SCAFFOLDS), folder, data=data, defaults=True, quiet=True)
        files = filter(Path.is_file, sorted(Path(folder).rglob("*")))
        made = {path.relative_to(folder): path.read_bytes() for path in files}
    if there := [path.as_posix() for path in made if os.path.lexists(PROJECT / path)]:
        raise FileExistsError(f"{', '.join(there)} exists, so nothing was written; rename or remove it first")
    sources = [path for path in made if path.suffix == ".py"]
    if twice := {name for path in sources for name in bound_twice(made[path])}:
        raise RefusedError(f"this name would give {', '.join(twice)} two meanings in one file; choose another one")
    for path, content in made.items():
        (PROJECT / path).parent.mkdir(parents=True, exist_ok=True)
        (PROJECT / path).write_bytes(content)
    for step in (["check", "--select=I", "--fix"], ["format"]):  # what fits into a line depends on the names
        ruff = [sys.executable, "-m", "ruff", "--quiet", *step, *map(str, sources)]
        subprocess.run(ruff, cwd=PROJECT, check=True)  # noqa: S603 - files that were just written
    return list(made)


def bound_twice(source: bytes) -> set[str]:
    """Return the names that a module both imports and gives to a class."""
    body = ast.parse(source).body
    imports = {name.asname or name.name for node in body if isinstance(node, ast.ImportFrom) for name in node.names}
    return imports & {node.name for node in body if isinstance(node, ast.ClassDef)}


if __name__ == "__main__":
    sys.exit(main(partial(run, *sys.argv[1:])))

"""Reference: the documentation of every setting, generated from the declarations."""

import json
import re
from collections.abc import Iterator, Sequence
from contextlib import suppress
from decimal import Decimal
from enum import Enum
from pathlib import Path
from types import UnionType
from typing import TYPE_CHECKING, Annotated, Any, Literal, NamedTuple, Union, get_args, get_origin

from pydantic import HttpUrl, RedisDsn, SecretStr
from pydantic_core import PydanticUndefined

from ..config.checking import Leaf, leaves
from ..config.section import Section, ServiceSection, former
from ..config.sources import variable_of
from ..identity import SERVICE
from ..plugins import PluginError

if TYPE_CHECKING:
    from ..features import Feature

_ENV_HEAD = f"""\
# Every setting is optional: copy this file to .env and uncomment what you change. `just fmt` renews it.
# What the values mean and where else they can stand: docs/settings.md, `uv run {SERVICE} config show`."""

_PAGE_HEAD = f"""\
# Settings

Each setting is an environment variable. This page is generated from the declarations beside their owners:
`just fmt` renews it.

The first place that states a value decides:

1. arguments: `--environment` before the command (`{SERVICE} --environment prod serve`), `--host` and `--port` after it
2. environment variables
3. `.env.local`
4. `.env.dev`, `.env.staging` or `.env.prod`; which one, say the places above or `.env`
5. `.env`
6. the TOML file that `{variable_of(("config_file",))}` names: `{variable_of(("http", "port"))}` is `port` in `[http]`
7. the secrets directory, then the default

An empty value counts as not stated; a list is written as JSON. All values are checked together, and what is wrong is
reported at once with exit code 78, before anything starts. A variable with the prefix that is no setting, or
has an old name, gives a warning, and is refused by `uv run {SERVICE} config check --strict`. `uv run {SERVICE} config
show` prints every value with the place that it came from; secrets stay masked."""

_PROVIDERS = """\
A provider is a configured instance of a kind; the kinds are the modules of `adapters/<object>/`. It exists when an
object selects it or when one of its variables is set. Put its name, in capitals, for `<NAME>`; without `KIND` the
name is the kind. Only a selected provider has to be complete."""

_PROVIDER_NAME = "<name>"


class _Group(NamedTuple):
    """Settings that are documented together."""

    title: str
    settings: Sequence[Leaf]
    text: str = ""


def env_example(features: Sequence["Feature"]) -> str:
    """Return the text of `.env.example`: every setting with its default, commented out."""
    blocks = [_ENV_HEAD]
    for group in _groups(features):
        lines = [f"# --- {group.title}"]
        for leaf in group.settings:
            choices = _choices(leaf.field.annotation)
            lines.append(f"# {_meaning(leaf)}{f' ({choices})' if choices else ''}")
            lines.append(f"#{variable_of(leaf.path)}={_default(leaf)}")
        blocks.append("\n".join(lines))
    return "\n\n".join(blocks) + "\n"


def reference_table(features: Sequence["Feature"]) -> str:
    """Return the Markdown page of every setting."""
    blocks = [_PAGE_HEAD]
    for group in _groups(features):
        blocks += [f"## {group.title}", *filter(None, [group.text])]
        lines = ["| variable | value | default | meaning |", "|---|---|---|---|"]
        lines += [_row(leaf) for leaf in group.settings]
        blocks.append("\n".join(lines))
    return "\n\n".join(blocks) + "\n"


def sections(text: str) -> list[tuple[str, str]]:
    """Return title and text of each part of a page or of `.env.example`; what stands above the first has no title."""
    head, *parts = re.split(r"(?m)^(?=(?:##|# ---) )", text)
    titled = ((part.partition("\n")[0].removeprefix("# ---").removeprefix("##").strip(), part) for part in parts)
    return [("", head.rstrip("\n")), *((title, part.rstrip("\n")) for title, part in titled)]


def unusable_kinds(features: Sequence["Feature"]) -> Iterator[str]:
    """Yield why a plug-in is not documented."""
    for catalogue in (feature.catalogue for feature in features if feature.catalogue is not None):
        yield from map(str, catalogue.problems)
        for name in catalogue.names:
            try:
                catalogue.kind(name)
            except PluginError as error:
                yield f"{name}: {error}"


def _row(leaf: Leaf) -> str:
    default = "required" if leaf.field.is_required() else _default(leaf) and f"`{_default(leaf)}`"
    cells = (f"`{variable_of(leaf.path)}`", _values(leaf), default, _meaning(leaf))
    return f"| {' | '.join(cell.replace('|', '\\|') for cell in cells)} |"


def _meaning(leaf: Leaf) -> str:
    old = [f"`{variable_of((*leaf.path[:-1], one.name))}` until {one.sunset}" for one in former(leaf.field)]
    return f"{leaf.field.description}{f' Formerly {", ".join(old)}.' if old else ''}"


def _groups(features: Sequence["Feature"]) -> Iterator[_Group]:
    """Yield the sections, then what all providers have in common, once, and then what each kind adds to it."""
    yield _Group("service", list(leaves(ServiceSection, ())))
    for feature in features:
        own = list(leaves(feature.section, (feature.name,)))
        if own:
            yield _Group(feature.name, own)
    kinds = list(_kinds(features))
    if kinds:
        root = _root(kinds[0][1])
        yield _Group("every provider", list(leaves(root, ("providers", _PROVIDER_NAME))), _PROVIDERS)
    for kind, model in kinds:
        path = ("providers", kind)
        common = [(leaf.path, leaf.field.default) for leaf in leaves(_root(model), path)]
        own = [leaf for leaf in leaves(model, path) if (leaf.path, leaf.field.default) not in common]
        if own:
            yield _Group(f"provider {kind}", own)


def _kinds(features: Sequence["Feature"]) -> Iterator[tuple[str, type[Section]]]:
    for feature in features:
        if feature.catalogue is not None:
            for name in feature.catalogue.names:
                with suppress(PluginError):
                    yield name, feature.catalogue.kind(name).config


def _root(config: type[Section]) -> type[Section]:
    """Return the class that the settings of every provider derive from."""
    return [base for base in config.__mro__ if issubclass(base, Section) and base is not Section][-1]


def _default(leaf: Leaf) -> str:
    default: Any = leaf.field.default
    if default is None or default is PydanticUndefined:
        return ""
    if isinstance(default, Enum):
        return str(default.value)
    if isinstance(default, list | tuple | dict):
        return json.dumps(default)
    return str(default).lower() if isinstance(default, bool) else str(default)


_WORDS = {SecretStr: "secret", HttpUrl: "URL", RedisDsn: "URL", Path: "path", str: "text"} | {
    int: "whole number",
    float: "number",
    Decimal: "number",
}


def _values(leaf: Leaf) -> str:
    """Say in a few words what can be set."""
    return _choices(leaf.field.annotation) or _WORDS.get(_stated(leaf.field.annotation), "JSON")


def _choices(annotation: Any) -> str:
    """Return the values that a setting can only have, or nothing where there are too many to name."""
    stated = _stated(annotation)
    if stated is bool:
        return "true, false"
    if get_origin(stated) is Literal:
        return ", ".join(str(choice) for choice in get_args(stated))
    if isinstance(stated, type) and issubclass(stated, Enum):
        return ", ".join(str(member.value) for member in stated)
    return ""


def _stated(annotation: Any) -> Any:
    """Return an annotation without the None beside it, and without what is added to it."""
    if get_origin(annotation) is Annotated:
        return _stated(get_args(annotation)[0])
    if get_origin(annotation) not in (Union, UnionType):
        return annotation
    return _stated(next(member for member in get_args(annotation) if member is not type(None)))

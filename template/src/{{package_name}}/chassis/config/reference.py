"""Reference: the documentation of every setting, generated from the declarations."""

from collections.abc import Iterator, Sequence
from enum import Enum
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel
from pydantic_core import PydanticUndefined

from .checking import Leaf, leaves
from .section import ServiceSection
from .sources import SettingPath, variable_of

if TYPE_CHECKING:
    from ..features import Feature

_HEAD = """# Settings, all optional; copy to .env and uncomment what you change. Generated: `just fmt` renews it.
# Order: arguments, environment, .env.local, .env.<environment>, .env, config file, secrets directory, defaults.
"""


def env_example(features: Sequence["Feature"]) -> str:
    """Return the text of `.env.example`: every setting with its default, commented out."""
    lines = [_HEAD]
    for title, settings in _groups(features):
        lines.append(f"# {title}")
        for leaf in settings:
            lines.append(f"# {leaf.field.description}")
            lines.append(f"#{variable_of(leaf.path)}={_default(leaf)}")
        lines.append("")
    return "\n".join(lines)


def reference_table(features: Sequence["Feature"]) -> str:
    """Return the Markdown page of every setting."""
    lines = ["# Settings", "", "Generated from the declarations; `just fmt` renews this page.", ""]
    for title, settings in _groups(features):
        lines += [f"## {title}", "", "| variable | default | secret | meaning |", "|---|---|---|---|"]
        for leaf in settings:
            secret = "yes" if leaf.secret else "no"
            default = f"`{_default(leaf)}`" if _default(leaf) else ("required" if leaf.field.is_required() else "")
            lines.append(f"| `{variable_of(leaf.path)}` | {default} | {secret} | {leaf.field.description} |")
        lines.append("")
    return "\n".join(lines)


def _groups(features: Sequence["Feature"]) -> Iterator[tuple[str, list[Leaf]]]:
    yield "service", list(leaves(ServiceSection, ()))
    for feature in features:
        yield feature.name, list(leaves(feature.section, (feature.name,)))
    for feature in features:
        for kind in feature.catalogue.names if feature.catalogue is not None else ():
            model: type[BaseModel] = feature.catalogue.kind(kind).config if feature.catalogue is not None else BaseModel
            path: SettingPath = ("providers", kind)
            yield f"provider {kind} of {feature.name}", list(leaves(model, path))


def _default(leaf: Leaf) -> str:
    default: Any = leaf.field.default
    if default is None or default is PydanticUndefined:
        return ""
    if isinstance(default, Enum):
        return str(default.value)
    return str(default).lower() if isinstance(default, bool) else str(default)

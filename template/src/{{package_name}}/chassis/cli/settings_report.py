"""Settings report: every setting with its value and source, fit for anyone's eyes."""

from collections.abc import Iterator, Sequence
from enum import Enum
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, SecretStr

from ..identity import SERVICE, service_version
from ..redaction import MASK, redact_text
from ..resilience.build import build_pipeline
from ..config.fields import leaves
from ..config.instances import ROOT
from ..config.section import ServiceSection
from ..config.settings import Settings
from ..config.sources import SettingPath, variable_of

if TYPE_CHECKING:
    from ..features import Feature


def describe(settings: Settings, features: Sequence["Feature"]) -> dict[str, Any]:
    """Return the document that `config show --json` prints."""
    sections: list[tuple[SettingPath, BaseModel]] = [((), settings[ServiceSection])]
    sections += [((feature.name,), settings[feature.section]) for feature in features]
    sections += [((ROOT, instance.name), instance.config) for instance in settings.instances]
    rows = [row for path, section in sections for row in _rows(settings, path, section)]
    unknown = [
        {"variable": item.variable} | ({"did_you_mean": item.did_you_mean} if item.did_you_mean else {})
        for item in settings.unknown
    ]
    return {
        "service": SERVICE,
        "version": service_version(),
        "environment": settings.environment.value,
        "settings": sorted(rows, key=lambda row: str(row["key"])),
        "pipelines": {i.name: list(build_pipeline(i.config.resilience).names) for i in settings.instances},
        "unknown": unknown,
    }


def _rows(settings: Settings, above: SettingPath, section: BaseModel) -> Iterator[dict[str, Any]]:
    for leaf in leaves(type(section), above):
        value: Any = section
        for part in leaf.path[len(above) :]:
            value = getattr(value, part, None)
        stated = settings.stated.get(leaf.path)
        row: dict[str, Any] = {"key": ".".join(leaf.path), "variable": variable_of(leaf.path)}
        if value is not None:
            row["value"] = _shown(value)
        yield row | {"source": stated.source if stated else "default", "secret": leaf.secret}


def _shown(value: Any) -> Any:
    match value:
        case SecretStr():
            return MASK
        case Enum():
            return value.value
        case bool() | int() | float():
            return value
        case list() | tuple() | set() | frozenset():
            return [_shown(item) for item in value]
        case dict():
            return {str(name): _shown(item) for name, item in value.items()}
        case _:
            return redact_text(str(value))

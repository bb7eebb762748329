"""Example values for every setting: valid alone, and other than the default where that is possible."""

from collections.abc import Mapping
from datetime import timedelta
from decimal import Decimal
from enum import Enum
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

from pydantic import HttpUrl, RedisDsn, SecretStr

from object_service.chassis.config.checking import Leaf
from object_service.chassis.config.section import is_collection
from object_service.chassis.config.sources import SettingPath

_BY_FIELD: Mapping[str, str] = {
    "breaker.ratio": "0.25",
    "oidc.algorithms": '["ES256"]',
    "oidc.scope_map": '{"staff": ["ops"]}',
    "database.url": "sqlite:///another.db",
    "fallback.name": "other",
    "log.sample": "0.5",
    "fallback.type": "stale",  # a provider would need a name
    "policy.profile": "precise",
    "price.currency": "EUR",
    "webhook.secret": "whsec_" + "A" * 32,
    "webhook.url": "https://host.example/ended",
    "rate_limit.type": "none",  # a limit would need a rate
    "rate_limit.rate_per_s": "2.5",  # 1.5 is the default of a kind
}
_BY_TYPE: Mapping[Any, str] = {
    int: "2",
    float: "1.5",
    Decimal: "1.5",
    str: "text",
    SecretStr: "a-secret-value",
    HttpUrl: "https://user:pass@host.example/",
    RedisDsn: "redis://user:pass@host.example:6379/1",
    timedelta: "PT2S",
}
SAME_AS_DEFAULT = ("provider", "kind", "secrets_dir", "rate_limit.type")
"""Settings whose only harmless example is their default."""


def field_of(leaf: Leaf) -> str:
    """Return the last two parts of a path: group and field."""
    return ".".join(leaf.path[-2:])


def example(leaf: Leaf, folder: Path) -> str:
    """Return the text of a valid value."""
    named = {"provider": str(leaf.field.default), "kind": leaf.path[-2:][0]}
    if leaf.path[-1] in named:
        return named[leaf.path[-1]]
    if leaf.path == ("config_file",):
        (folder / "c.toml").touch()
        return "c.toml"
    return _BY_FIELD.get(field_of(leaf)) or _of_type(leaf.field.annotation, leaf.field.default, folder)


def _of_type(annotation: Any, default: Any, folder: Path) -> str:
    if is_collection(annotation):
        return "{}" if "Mapping" in str(annotation) else "[]"
    if get_origin(annotation) is Literal:
        return str(next(choice for choice in get_args(annotation) if choice != default))
    if get_args(annotation):
        return _of_type(get_args(annotation)[0], default, folder)
    if isinstance(annotation, type) and issubclass(annotation, Enum):
        return str(next(member.value for member in annotation if member is not default))
    return {**_BY_TYPE, bool: str(not default).lower(), Path: str(folder)}[annotation]


def companions(path: SettingPath) -> dict[str, str]:
    """Return what a provider behind HTTP needs to be complete, so that its settings can be shown."""
    if path[0] != "providers":
        return {}
    head = f"PROVIDERS__{path[1].upper()}__"
    prices = {f"{head}PRICE__{side}_PER_MTOK": "1" for side in ("INPUT", "OUTPUT") if path[2] == "price"}
    webhook = {f"{head}WEBHOOK_URL": "https://host.example/", f"{head}WEBHOOK_SECRET": "secret"}
    pairs = prices | (webhook if path[2].startswith("webhook") else {})
    return {f"{head}BASE_URL": "https://host.example/", f"{head}API_KEY": "key", f"{head}MODEL": "m"} | pairs


def peer(path: SettingPath, offline: Mapping[str, str]) -> dict[str, str]:
    """Return a second provider named `other`, of an offline kind of the same object, for a fallback to it."""
    if path == ("jobs", "webhook", "url"):
        return {"JOBS__WEBHOOK__SECRET": _BY_FIELD["webhook.secret"]}
    return {"PROVIDERS__OTHER__KIND": offline[path[1]]} if path[-2:] == ("fallback", "name") else {}

"""Features: what an object or a capability contributes, found by looking into folders."""

import pkgutil
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Any

from .config.section import Section
from .container import Container
from .providers import Catalogue

if TYPE_CHECKING:
    import typer
    from fastapi import APIRouter

    from .cli.session import Session
    from .config.settings import Settings


@dataclass(frozen=True, slots=True, kw_only=True)
class Feature:
    """One object or capability; `FEATURE` of its module.

    `name` is the first part of its settings' variables. `router` and `commands` are functions so that the web
    framework is imported only to serve, and the command line only to parse.
    """

    name: str
    section: type[Section]
    install: "Callable[[Container, Settings], Awaitable[None]]"
    catalogue: Catalogue[Any] | None = None
    router: "Callable[[Settings], APIRouter] | None" = None
    commands: "Callable[[typer.Typer, Session], None] | None" = None
    capability: bool = False


def discover(*folders: ModuleType) -> tuple[Feature, ...]:
    """Import every module of the folders and return their features, in order of folder and name.

    Raises:
        TypeError: if a module does not define `FEATURE`, or two features have one name.
    """
    features: dict[str, Feature] = {}
    for folder in folders:
        for module_info in pkgutil.iter_modules(folder.__path__, f"{folder.__name__}."):
            feature = getattr(import_module(module_info.name), "FEATURE", None)
            if not isinstance(feature, Feature):
                message = f"{module_info.name} must define FEATURE = Feature(...)"
                raise TypeError(message)
            if feature.name in features:
                message = f"{module_info.name}: another feature is named {feature.name!r} already"
                raise TypeError(message)
            features[feature.name] = feature
    return tuple(features.values())

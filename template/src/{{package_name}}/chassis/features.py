"""Features: what an object or a capability contributes, found by looking into folders."""

import pkgutil
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Any

from .config.section import Section
from .container import Container
from .providers import Catalogue
from .resilience.assembly import MiddlewareKind

if TYPE_CHECKING:
    import typer
    from fastapi import APIRouter
    from starlette.types import ASGIApp

    from .cli.session import Session
    from .config.settings import Settings


async def _nothing(container: Container, settings: "Settings") -> None:
    del container, settings


@dataclass(frozen=True, slots=True, kw_only=True)
class Feature:
    """One object or capability; `FEATURE` of its module.

    `name` is the first part of its settings' variables; without a `section` it has none, and without `install` it
    puts nothing into the container. `router` and `commands` are functions so that the web framework is imported only
    to serve, and the command line only to parse. `middlewares` are steps that the settings of a provider may name.
    `around` wraps the whole application in a layer of its own, inside the chassis' own. `serve` is entered in a
    process that stays to serve when everything is installed, and left before anything is closed. `durable` says that
    long work given to it outlives the process. In the OpenAPI document, `tags` describes its groups of routes, and
    `problems` are the codes, by method or `*`, that every route of the service may answer because of it.
    """

    name: str
    section: type[Section] = Section
    install: "Callable[[Container, Settings], Awaitable[None]]" = _nothing
    catalogue: Catalogue[Any] | None = None
    router: "Callable[[Settings], APIRouter] | None" = None
    commands: "Callable[[typer.Typer, Session], None] | None" = None
    capability: bool = False
    durable: bool = False
    serve: "Callable[[Container, Settings], AbstractAsyncContextManager[None]] | None" = None
    around: "Callable[[ASGIApp, Container], ASGIApp] | None" = None
    middlewares: Mapping[str, MiddlewareKind] = field(default_factory=dict)
    tags: Mapping[str, str] = field(default_factory=dict)
    problems: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


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


def own_middlewares(features: Sequence[Feature]) -> dict[str, MiddlewareKind]:
    """Return the middlewares of all features by the names that settings use."""
    return {name: kind for feature in features for name, kind in feature.middlewares.items()}

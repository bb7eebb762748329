"""Provider kinds: found by name, built from their settings, put to work in a container."""

import pkgutil
import re
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from functools import cached_property
from importlib import import_module
from importlib.util import find_spec
from types import ModuleType
from typing import TYPE_CHECKING, Annotated, Any, Protocol, override

from pydantic import AfterValidator, Field, HttpUrl, SecretStr

from .clock import SystemClock
from .config.section import Contradiction, Environment, ObjectSection, Problem, Section
from .config.settings import Settings
from .container import Container
from .contracts.call import Operation
from .contracts.clock import Clock
from .contracts.money import Price
from .contracts.providers import Provider, Providers
from .http_client import open_http
from .plugins import Plugin, PluginError, find_plugins
from .resilience.assembly import Guards, Surroundings
from .resilience.fallback import Route
from .resilience.pipeline import guard
from .resilience.settings import Resilience

if TYPE_CHECKING:
    import httpx2


class ProviderConfig(Section):
    """What every configured provider has; a kind adds its own fields."""

    kind: str = Field(default="", description="Kind of the provider; without it, the provider's name.")
    resilience: Resilience = Field(default=Resilience(), description="What guards its calls.")

    @override
    def contradictions(self, environment: Environment) -> Iterable[Contradiction]:
        for field in self.resilience.in_redis() if find_spec("redis") is None else ():
            fix = "uv sync --extra redis, or set it to another value"
            yield Contradiction(("resilience", *field), "the extra 'redis' to be installed with the value redis", fix)

    def unknown_names(
        self, name: str, peers: Mapping[str, "ProviderConfig"], middlewares: Collection[str]
    ) -> Iterable[Contradiction]:
        """Yield the names in these settings of a provider that lead nowhere, or back to itself."""
        for middleware in self.resilience.middlewares:
            if middleware not in middlewares:
                expected = f"names of registered middlewares ({', '.join(sorted(middlewares)) or 'there are none'})"
                yield Contradiction(("resilience", "middlewares"), expected)
        field = ("resilience", "fallback", "name")
        path, other = [name], self.other()
        while other is not None:
            if other not in peers:
                others = ", ".join(sorted(set(peers) - {name}))
                expected = f"one of {others}" if others else "a configured provider; there is no other one"
                fix = "set it to one of these or remove it" if others else "configure one or remove it"
                yield Contradiction(field, expected, fix)
                return
            if other in path:
                yield Contradiction(field, f"no circle ({' > '.join([*path, other])})", "break it at one provider")
                return
            path.append(other)
            other = peers[other].other()

    def identity(self, kind: str) -> str:
        """Return what changes with any setting that can change answers; the same in every process.

        Secrets show as asterisks in it.
        """
        return f"{kind} {_stable(self.model_dump(exclude={'kind', 'resilience'}))}"

    def other(self) -> str | None:
        """Return the name of the provider that calls fall back to."""
        fallback = self.resilience.fallback
        return fallback.name if fallback.type == "provider" else None


def _stable(value: object) -> str:
    """Write a value down so that equal ones look equal: sets have no order of their own."""
    if isinstance(value, Mapping):
        return f"{{{', '.join(sorted(f'{_stable(key)}: {_stable(item)}' for key, item in value.items()))}}}"
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(_stable, value))}]"
    if isinstance(value, set | frozenset):
        return f"{{{', '.join(sorted(map(_stable, value)))}}}"
    return repr(value)


class HttpProviderConfig(ProviderConfig):
    """What every provider behind HTTP has."""

    base_url: HttpUrl = Field(description="Where its API begins.")
    api_key: SecretStr = Field(min_length=1, description="Its credential.")

    @override
    def contradictions(self, environment: Environment) -> Iterable[Contradiction]:
        yield from super().contradictions(environment)
        key = self.api_key.get_secret_value()
        if not (key.isascii() and key.isprintable() and " " not in key):
            yield Contradiction(("api_key",), "visible ASCII characters only, as a header takes them")
        if environment is Environment.PROD and self.base_url.scheme == "http":
            yield Contradiction(("base_url",), "a URL with https in prod, which hides the credential")


def _currency(code: str) -> str:
    if re.fullmatch("[A-Z]{3}", code) is None:
        raise ValueError("a code of three capital letters, such as EUR")
    return code


class TokenPrice(Section):
    """What a million tokens cost; both prices or none."""

    input_per_mtok: Decimal | None = Field(
        default=None, ge=0, max_digits=20, description="Price of a million input tokens; without prices, no cost."
    )
    output_per_mtok: Decimal | None = Field(
        default=None, ge=0, max_digits=20, description="Price of a million output tokens."
    )
    currency: Annotated[str, AfterValidator(_currency)] = Field(
        default="USD", description="Currency of the prices, such as EUR."
    )

    def stated(self) -> Price | None:
        """Return the price where there is one."""
        if self.input_per_mtok is None or self.output_per_mtok is None:
            return None
        return Price(self.input_per_mtok, self.output_per_mtok, self.currency)

    @override
    def contradictions(self, environment: Environment) -> Iterable[Contradiction]:
        prices = {"input_per_mtok": self.input_per_mtok, "output_per_mtok": self.output_per_mtok}
        absent = [name for name, price in prices.items() if price is None]
        if len(absent) == 1:
            yield Contradiction((absent[0],), "a number, as the other price is set", "set both prices or none")


class TokenProviderConfig(HttpProviderConfig):
    """What every provider behind HTTP has that counts tokens."""

    price: TokenPrice = Field(default=TokenPrice(), description="What its tokens cost.")


class OpenHttp(Protocol):
    """Opens a client for a provider; `headers` replace the bearer token of its settings."""

    def __call__(self, config: HttpProviderConfig, headers: Mapping[str, str] | None = None) -> "httpx2.AsyncClient":
        """Return the client; whoever asked for it closes it."""
        ...


@dataclass(frozen=True, slots=True)
class Resources:
    """What a kind may use to build a provider named `name`."""

    name: str
    clock: Clock
    open_http: OpenHttp


@dataclass(frozen=True, slots=True)
class ProviderKind[C: ProviderConfig, P]:
    """A way to provide a port; `KIND` of its module. `offline` kinds answer without any outside system."""

    config: type[C]
    build: Callable[[C, Resources], P]
    offline: bool = False

    def create(self, config: ProviderConfig, resources: Resources) -> P:
        """Build an instance from checked settings."""
        if not isinstance(config, self.config):
            message = f"expected {self.config.__name__}, got {type(config).__name__}"
            raise TypeError(message)
        return self.build(config, resources)


class Catalogue[P]:
    """The kinds of one port: modules of its adapters folder that do not start with `_`, and plug-ins of packages."""

    def __init__(self, folder: ModuleType) -> None:
        """Remember the folder, which is named like its object; nothing in it is imported yet."""
        self._folder = folder

    @cached_property
    def _modules(self) -> Mapping[str, str]:
        names = (module.name for module in pkgutil.iter_modules(self._folder.__path__))
        return {name: f"{self._folder.__name__}.{name}" for name in names if not name.startswith("_")}

    @cached_property
    def _found(self) -> tuple[Mapping[str, Plugin], Sequence[Problem]]:
        return find_plugins(self._folder.__name__.rpartition(".")[2], self._modules)

    @cached_property
    def names(self) -> Sequence[str]:
        """Return the kinds in alphabetical order, without importing them."""
        return sorted({*self._modules, *self._found[0]})

    @property
    def problems(self) -> Sequence[Problem]:
        """Return what is wrong with plug-ins that are no kinds for it."""
        return self._found[1]

    def kind(self, name: str) -> ProviderKind[Any, P]:
        """Import a kind.

        Raises:
            TypeError: if its module does not define `KIND`; `PluginError` for a plug-in that cannot be used.
        """
        plugin = self._found[0].get(name)
        place = f"{self._folder.__name__}.{name}" if plugin is None else plugin.place
        kind = getattr(import_module(place), "KIND", None) if plugin is None else plugin.load()
        if not isinstance(kind, ProviderKind):
            message = f"{place} must define KIND = ProviderKind(...)"
            raise TypeError(message) if plugin is None else PluginError(message)
        return kind


def install_providers[P](
    container: Container,
    settings: Settings,
    *,
    feature: str,
    section: type[ObjectSection],
    catalogue: Catalogue[P],
    operations: Mapping[str, Operation],
) -> Providers[P]:
    """Build every usable instance of a port behind its pipeline; the container closes them."""
    providers: dict[str, Provider[P]] = {}
    shared = container[Surroundings] if Surroundings in container else Surroundings(container.stopping.pause)
    surroundings = replace(shared, routes={})
    for instance in settings.instances_of(feature):
        resources = Resources(instance.name, SystemClock(), open_http)
        port = catalogue.kind(instance.kind).create(instance.config, resources)
        close = getattr(port, "aclose", None)
        if close is None:
            message = f"{type(port).__name__} has no aclose(); every port must be closable"
            raise TypeError(message)
        container.on_close(close)
        identity = instance.config.identity(instance.kind)
        guards = Guards(instance.name, instance.config.resilience, surroundings, configuration=identity)
        guards.expect(operations)
        surroundings.routes[instance.name] = Route(instance.name, instance.kind, port, guards.pipeline)
        guarded = guard(port, guards.pipeline, operations, provider=instance.name, kind=instance.kind)
        providers[instance.name] = Provider(instance.name, instance.kind, guarded)
    return Providers(settings[section].provider, providers)

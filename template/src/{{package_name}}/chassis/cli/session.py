"""Session: how a command runs a call and tells the outcome; results on stdout, everything else on stderr."""

import asyncio
import json
import sys
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, NoReturn

import typer

from ..config.section import ConfigurationError
from ..config.settings import Settings
from ..config.sources import SettingPath
from ..container import Container
from ..contracts.context import current, entered
from ..contracts.envelope import Failed, Finished
from ..contracts.errors import ServiceError
from ..contracts.json import to_json
from ..runtime import Runtime

EXIT_FAILED = 1
EXIT_CONFIGURATION = 78
"""`EX_CONFIG`. Source: sysexits.h."""

AsJson = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]


@dataclass(frozen=True, slots=True)
class Session:
    """One run of the command line."""

    runtime: Runtime
    arguments: dict[SettingPath, Any] = field(default_factory=dict)

    def settings(self, arguments: Mapping[SettingPath, Any] | None = None) -> Settings:
        """Return checked settings; with problems, print them all and exit with 78."""
        try:
            settings = self.runtime.load({**self.arguments, **(arguments or {})})
        except ConfigurationError as error:
            typer.echo(str(error), err=True)
            raise typer.Exit(EXIT_CONFIGURATION) from None
        for problem in settings.missing:
            typer.echo(f"warning: a provider cannot be used: {problem}", err=True)
        for unknown in settings.unknown:
            hint = f"; did you mean {unknown.did_you_mean}?" if unknown.did_you_mean else ""
            typer.echo(f"warning: {unknown.variable} is not a setting{hint}", err=True)
        return settings

    def run[T](self, call: Callable[[Container], Awaitable[T]]) -> T:
        """Start the service without a server, make one call, and stop it again; exit with 1 if the call is refused."""
        settings = self.settings()

        async def started() -> T:
            with entered(current()):
                async with self.runtime.started(settings) as container:
                    return await call(container)

        try:
            return asyncio.run(started())
        except ServiceError as error:
            fail(f"error: {error.user_message} [{error.code}]")

    def finish[T](self, envelope: Finished[T], *, as_json: bool, summary: Callable[[T], str]) -> None:
        """Print a finished envelope; exit with 1 if it failed."""
        if as_json:
            echo_json(envelope)
        elif not isinstance(envelope, Failed):
            typer.echo(summary(envelope.result))
        if isinstance(envelope, Failed):
            fail(f"error: {envelope.error.message} [{envelope.error.code}]")


def echo_json(value: object) -> None:
    """Print a contract value as readable JSON."""
    typer.echo(json.dumps(to_json(value), ensure_ascii=False, indent=2))


def fail(message: str) -> NoReturn:
    """Say why on stderr and exit with 1."""
    typer.echo(message, err=True)
    sys.exit(EXIT_FAILED)

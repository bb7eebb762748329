"""Session: how a command runs a call and tells the outcome; results on stdout, everything else on stderr."""

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, NoReturn

import typer

from ..config.section import ConfigurationError
from ..config.settings import Settings
from ..config.sources import SettingPath
from ..container import Container
from ..contracts.context import current, entered
from ..contracts.envelope import Failed, Failure, Finished
from ..contracts.errors import ServiceError
from ..contracts.json import to_json
from ..runtime import Runtime

EXIT_FAILED = 1
EXIT_CONFIGURATION = 78
"""`EX_CONFIG`. Source: sysexits.h."""


@dataclass(slots=True)
class Session:
    """One run of the command line; `as_json` tells whether that was asked for."""

    runtime: Runtime
    arguments: dict[SettingPath, Any] = field(default_factory=dict)
    as_json: bool = False

    def load(self, arguments: Mapping[SettingPath, Any] | None = None) -> Settings:
        """Return checked settings; with problems, print them all and exit with 78."""
        try:
            return self.runtime.load({**self.arguments, **(arguments or {})})
        except ConfigurationError as error:
            self.misconfigured(error)

    def misconfigured(self, error: ConfigurationError) -> NoReturn:
        """Print every problem of the settings, and exit with 78."""
        typer.echo(str(error), err=True)
        _warn(error)
        failure = Failure("invalid_configuration", str(error).partition("\n")[0], retryable=False)
        self.refuse(failure, EXIT_CONFIGURATION, problems=error.problems, unknown=error.unknown, renamed=error.renamed)

    def settings(self, arguments: Mapping[SettingPath, Any] | None = None) -> Settings:
        """Return checked settings like `load`, with a warning on stderr about what is odd in them."""
        settings = self.load(arguments)
        _warn(settings)
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
            self.fail(Failure.of(error))

    def finish[T](self, envelope: Finished[T], *, as_json: bool, summary: Callable[[T], str]) -> None:
        """Print a finished envelope; exit with 1 if it failed."""
        if as_json:
            echo_json(envelope)
        elif not isinstance(envelope, Failed):
            typer.echo(summary(envelope.result))
        if isinstance(envelope, Failed):
            _say(envelope.error)
            raise typer.Exit(EXIT_FAILED)

    def fail(self, failure: Failure, exit_code: int = EXIT_FAILED, **details: object) -> NoReturn:
        """Say on stderr why there is no result, and exit, by default with 1."""
        _say(failure)
        self.refuse(failure, exit_code, **details)

    def refuse(self, failure: Failure, exit_code: int, **details: object) -> NoReturn:
        """Exit without a result; where JSON was asked for, stdout gets the failure and the details that are there."""
        if self.as_json:
            echo_json({"status": "failed", "error": failure, **{key: value for key, value in details.items() if value}})
        raise typer.Exit(exit_code) from None


def _remember(context: typer.Context, value: bool) -> bool:  # noqa: FBT001 - the form of a callback
    """Tell the session; what a group was asked for holds for its commands too."""
    session: Session = context.obj
    session.as_json = session.as_json or value
    return session.as_json


AsJson = Annotated[bool, typer.Option("--json", help="Print the outcome as JSON.", callback=_remember)]


def echo_json(value: object) -> None:
    """Print a contract value as readable JSON."""
    typer.echo(json.dumps(to_json(value), ensure_ascii=False, indent=2))


def print_result(document: object, text: str, *, as_json: bool) -> None:
    """Print an outcome in the form that was asked for."""
    if as_json:
        echo_json(document)
    else:
        typer.echo(text)


def _warn(found: Settings | ConfigurationError) -> None:
    """Say on stderr what has no effect; beside a problem, it may be the cause."""
    for problem in found.missing:
        typer.echo(f"warning: a provider cannot be used: {problem}", err=True)
    for unknown in found.unknown:
        hint = f"; did you mean {unknown.did_you_mean}?" if unknown.did_you_mean else ""
        typer.echo(f"warning: {unknown.variable} is not a setting{hint}", err=True)
    for renamed in found.renamed:
        what = "" if renamed.used else " and has no effect, as both are set"
        typer.echo(f"warning: {renamed.variable} is {renamed.now} now{what}; gone on {renamed.sunset}", err=True)


def _say(failure: Failure) -> None:
    typer.echo(f"error: {failure.message} [{failure.code}]", err=True)

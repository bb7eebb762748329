"""Main: the command line of the service, its own commands and those of every feature."""

import asyncio
import json
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from ..auth.authentication import Authentication
from ..config.section import ConfigurationError, Environment
from ..config.settings import Settings
from ..config.sources import variable_of
from ..contracts.envelope import Failure
from ..contracts.errors import ServiceError
from ..identity import SERVICE
from ..runtime import Runtime
from . import keys, providers, settings
from .session import AsJson, Session

_log = logging.getLogger(__name__)


@contextmanager
def _plain_words() -> Iterator[None]:
    """Take the words of the library that checks arguments out of what it says."""
    try:
        yield
    except typer.BadParameter as error:
        error.message = error.message.removeprefix("Value error, ")
        raise


class _Commands(TyperGroup):
    """Speaks of wrong arguments in plain words: its own, and those of its commands."""

    parse_args = _plain_words()(TyperGroup.parse_args)
    invoke = _plain_words()(TyperGroup.invoke)


def build_cli(runtime: Runtime) -> typer.Typer:
    """Return the command line."""
    plain: dict[str, Any] = {"add_completion": False, "rich_markup_mode": None, "pretty_exceptions_enable": False}
    app = typer.Typer(name=SERVICE, cls=_Commands, no_args_is_help=True, **plain)
    session = Session(runtime)

    @app.callback()
    def common(
        context: typer.Context,
        environment: Annotated[Environment | None, typer.Option(help="Where the service runs.")] = None,
    ) -> None:
        """Run the service, or make single calls with it."""
        context.obj = session
        session.arguments |= {} if environment is None else {("environment",): environment.value}

    _register_server(app, session)
    settings.register(app, session)
    providers.register(app, session)
    keys.register(app, session)
    for feature in runtime.discovered:
        if feature.commands is not None:
            feature.commands(app, session)
    return app


def run(runtime: Runtime) -> None:
    """Run the command line and exit with its code."""
    build_cli(runtime)()


def _register_server(app: typer.Typer, session: Session) -> None:

    @app.command()
    def serve(
        host: Annotated[str | None, typer.Option(help="Address to listen on.")] = None,
        port: Annotated[int | None, typer.Option(help="Port to listen on; 0 takes any free one.")] = None,
        as_json: AsJson = False,  # noqa: FBT002 - a flag of the command line
    ) -> None:
        """Serve over HTTP until SIGTERM; the log is on stderr."""
        del as_json  # the session knows it
        given: dict[tuple[str, ...], Any] = {("http", "host"): host, ("http", "port"): port}
        _serve(session, {path: value for path, value in given.items() if value is not None})

    @app.command()
    def openapi(as_json: AsJson = False) -> None:  # noqa: FBT002 - a flag of the command line
        """Print the OpenAPI document of the routes, indented unless --json is given."""
        from ..openapi.document import document_of  # noqa: PLC0415 - brings the web framework

        document = document_of(session.settings(), session.runtime.features)
        typer.echo(json.dumps(document, ensure_ascii=False, indent=None if as_json else 2))


def _serve(session: Session, arguments: dict[tuple[str, ...], Any]) -> None:
    from ..openapi.page import add_pages  # noqa: PLC0415 - brings the web framework
    from ..web.app import build_app, build_operations  # noqa: PLC0415 - as above
    from ..web.server import AddressError, serve  # noqa: PLC0415 - as above
    from ..web.settings import HttpSection, OpsSection  # noqa: PLC0415 - as above

    checked = session.load(arguments)

    async def started() -> None:
        async with session.runtime.started(checked, serving=True) as container:
            _log_oddities(checked)
            _log_access(container[Authentication], checked.environment)
            whole, ops = (checked, session.runtime.features, container), checked[OpsSection]
            app = build_app(*whole, operations=ops.port is None)
            if checked[HttpSection].docs:
                add_pages(app)
            apart = None if ops.port is None else (build_operations(*whole), ops)
            await serve(app, checked[HttpSection], container.stopping, apart)

    try:
        asyncio.run(started())
    except AddressError as error:
        session.fail(Failure(error.code, f"{error}; {error.fix}", retryable=False))
    except ConfigurationError as error:
        session.misconfigured(error)
    except ServiceError as error:
        session.fail(Failure.of(error))


def _log_access(authentication: Authentication, environment: Environment) -> None:
    """Say in the log who can call at all, where that is not what one expects."""
    if authentication.open and environment is not Environment.DEV:
        _log.warning("authentication_off", extra={"variable": variable_of(("auth", "open"))})
    if not authentication.open and not authentication.possible:
        _log.warning("nobody_can_call", extra={"variable": variable_of(("auth", "keys_file"))})


def _log_oddities(settings: Settings) -> None:
    """Write what other commands warn about in plain text to the log, so that it stays one kind of line."""
    for problem in settings.missing:
        fields = {"variable": problem.variable, "expected": problem.expected, "fix": problem.fix}
        _log.warning("provider_unusable", extra=fields)
    for unknown in settings.unknown:
        hint = {"did_you_mean": unknown.did_you_mean} if unknown.did_you_mean else {}
        _log.warning("unknown_setting", extra={"variable": unknown.variable, **hint})
    for renamed in settings.renamed:
        _log.warning("setting_renamed", extra=asdict(renamed))

"""Main: the command line of the service, its own commands and those of every feature."""

import asyncio
import json
from typing import Annotated, Any

import typer

from ..config.section import Environment
from ..container import Container
from ..identity import SERVICE
from ..runtime import Runtime
from . import providers, settings
from .session import AsJson, Session, fail


def build_cli(runtime: Runtime) -> typer.Typer:
    """Return the command line."""
    app = typer.Typer(
        name=SERVICE, no_args_is_help=True, add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False
    )
    session = Session(runtime)

    @app.callback()
    def common(
        environment: Annotated[Environment | None, typer.Option(help="Where the service runs.")] = None,
    ) -> None:
        """Run the service, or make single calls with it."""
        chosen: dict[tuple[str, ...], Any] = {} if environment is None else {("environment",): environment.value}
        session.arguments.update(chosen)

    _register_server(app, session)
    settings.register(app, session)
    providers.register(app, session)
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
    ) -> None:
        """Serve over HTTP until SIGTERM."""
        given: dict[tuple[str, ...], Any] = {("http", "host"): host, ("http", "port"): port}
        _serve(session, {path: value for path, value in given.items() if value is not None})

    @app.command()
    def openapi(as_json: AsJson = False) -> None:  # noqa: FBT002 - a flag of the command line
        """Print the OpenAPI document of the routes, indented unless --json is given."""
        from ..web.app import build_app, openapi_document  # noqa: PLC0415 - brings the web framework

        document = openapi_document(build_app(session.settings(), session.runtime.features, Container()))
        typer.echo(json.dumps(document, ensure_ascii=False, indent=None if as_json else 2))


def _serve(session: Session, arguments: dict[tuple[str, ...], Any]) -> None:
    from ..web.app import build_app  # noqa: PLC0415 - brings the web framework
    from ..web.server import PortInUseError, serve  # noqa: PLC0415 - as above
    from ..web.settings import HttpSection  # noqa: PLC0415 - as above

    checked = session.settings(arguments)

    async def started() -> None:
        async with session.runtime.started(checked) as container:
            app = build_app(checked, session.runtime.features, container)
            await serve(app, checked[HttpSection], container.stopping.begin)

    try:
        asyncio.run(started())
    except PortInUseError as error:
        fail(f"error: {error}; choose another one with --port, or 0 for any free one")

"""Main: the command line of the service, its own commands and those of every feature."""

from typing import Annotated, Any

import typer

from ..config.section import Environment
from ..identity import SERVICE
from ..runtime import Runtime
from . import providers, serving, settings
from .session import Session


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

    serving.register(app, session)
    settings.register(app, session)
    providers.register(app, session)
    for feature in runtime.discovered:
        if feature.commands is not None:
            feature.commands(app, session)
    return app


def run(runtime: Runtime) -> None:
    """Run the command line and exit with its code."""
    build_cli(runtime)()

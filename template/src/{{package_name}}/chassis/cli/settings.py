"""Commands around settings: show them, check them, document them."""

from enum import StrEnum
from typing import Annotated

import typer

from ..config.reference import env_example, reference_table
from .settings_report import describe
from .session import EXIT_CONFIGURATION, AsJson, Session, echo_json


class ReferenceFormat(StrEnum):
    """What the reference looks like."""

    MARKDOWN = "markdown"
    ENV = "env"


def register(app: typer.Typer, session: Session) -> None:
    """Add the commands."""
    config = typer.Typer(no_args_is_help=True, help="Show, check and document the settings.", rich_markup_mode=None)
    app.add_typer(config, name="config")

    @config.command()
    def show(as_json: AsJson = False) -> None:  # noqa: FBT002 - a flag of the command line
        """Print every setting with its source; secrets are masked."""
        document = describe(session.settings(), session.runtime.features)
        if as_json:
            echo_json(document)
            return
        for row in document["settings"]:
            typer.echo(f"{row['variable']} = {row.get('value', '')}  ({row['source']})")
        for name, steps in document["pipelines"].items():
            typer.echo(f"pipeline of {name}: {' > '.join(steps)}")

    @config.command()
    def check(
        strict: Annotated[bool, typer.Option("--strict", help="Refuse variables that are no settings.")] = False,  # noqa: FBT002
        as_json: AsJson = False,  # noqa: FBT002 - a flag of the command line
    ) -> None:
        """Check the settings without starting anything; exit with 78 if they cannot be used."""
        settings = session.settings()
        if strict and settings.unknown:
            raise typer.Exit(EXIT_CONFIGURATION)
        if as_json:
            echo_json({"status": "ok", "environment": settings.environment})
        else:
            typer.echo(f"configuration: ok ({settings.environment})")

    @config.command()
    def reference(
        format_: Annotated[ReferenceFormat, typer.Option("--format", help="A page, or a dotenv file.")] = (
            ReferenceFormat.MARKDOWN
        ),
        as_json: AsJson = False,  # noqa: FBT002 - a flag of the command line
    ) -> None:
        """Print the documentation of every setting."""
        render = env_example if format_ is ReferenceFormat.ENV else reference_table
        text = render(session.runtime.features)
        if as_json:
            echo_json({"format": format_, "text": text})
        else:
            typer.echo(text, nl=False)

"""Commands around providers: list them, check one."""

from collections.abc import Iterator
from typing import Annotated, Any

import typer

from ..config.section import ObjectSection
from ..config.settings import Settings
from ..contracts.envelope import Failure
from ..contracts.providers import did_you_mean
from .session import AsJson, Session, echo_json, print_result


def register(app: typer.Typer, session: Session) -> None:
    """Add the commands."""
    group = typer.Typer(invoke_without_command=True, help="List the providers, or check one.", rich_markup_mode=None)
    app.add_typer(group, name="providers")

    @group.callback()
    def listing(context: typer.Context, as_json: AsJson = False) -> None:  # noqa: FBT002 - a flag
        """List the providers that a request may name."""
        if context.invoked_subcommand is not None:
            return
        rows = list(_rows(session, session.settings()))
        if as_json:
            echo_json({"providers": rows})
            return
        for row in rows:
            marks = [row["object"], "selected" if row["selected"] else "", "offline" if row["offline"] else ""]
            typer.echo(f"{row['name']} ({row['kind']}): {', '.join(filter(None, marks))}")

    @group.command()
    def check(
        name: Annotated[str, typer.Argument(help="Name of a configured provider.")],
        as_json: AsJson = False,  # noqa: FBT002 - a flag of the command line
    ) -> None:
        """Check that a provider is configured completely and can be built; calls nothing."""
        rows = {row["name"]: row for row in _rows(session, session.settings())}
        if name not in rows:
            message = f"No provider named {name!r}.{did_you_mean(name, rows)} Available: {', '.join(sorted(rows))}."
            session.fail(Failure("unknown_provider", message, retryable=False))
        session.run(_built)
        print_result({"status": "ok", **rows[name]}, f"{name}: ok", as_json=as_json)


async def _built(_: object) -> None:
    """Starting the service has built every provider."""


def _rows(session: Session, settings: Settings) -> Iterator[dict[str, Any]]:
    for feature in session.runtime.discovered:
        section = settings[feature.section]
        if feature.catalogue is None or not isinstance(section, ObjectSection):
            continue
        for instance in settings.instances_of(feature.name):
            yield {
                "name": instance.name,
                "kind": instance.kind,
                "object": feature.name,
                "selected": instance.name == section.provider,
                "offline": feature.catalogue.kind(instance.kind).offline,
            }

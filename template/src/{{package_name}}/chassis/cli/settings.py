"""Commands around settings: show them, check them, document them."""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer
from pydantic import BaseModel

from ..config.checking import leaves
from ..config.instances import ROOT
from ..config.section import ServiceSection
from ..config.settings import Settings
from ..config.sources import SettingPath, variable_of
from ..contracts.envelope import Failure
from ..contracts.json import to_json
from ..features import own_middlewares
from ..identity import SERVICE, service_version
from ..redaction import redact
from ..resilience.assembly import Guards, Surroundings
from .reference import env_example, reference_table, unusable_kinds
from .session import EXIT_CONFIGURATION, AsJson, Session, print_result

if TYPE_CHECKING:
    from ..features import Feature


def describe(settings: Settings, features: Sequence["Feature"]) -> dict[str, Any]:
    """Return the document that `config show --json` prints."""
    sections: list[tuple[SettingPath, BaseModel]] = [((), settings[ServiceSection])]
    sections += [((feature.name,), settings[feature.section]) for feature in features]
    sections += [((ROOT, instance.name), instance.config) for instance in settings.instances]
    rows = [row for path, section in sections for row in _rows(settings, path, section)]
    own = Surroundings(middlewares=own_middlewares(features))
    guards = [Guards(i.name, i.config.resilience, own) for i in settings.instances]
    return {
        "service": SERVICE,
        "version": service_version(),
        "environment": settings.environment.value,
        "settings": sorted(rows, key=lambda row: str(row["key"])),
        "pipelines": {item.provider: list(item.pipeline.names) for item in guards},
        "unknown": to_json(settings.unknown),
    }


def _rows(settings: Settings, above: SettingPath, section: BaseModel) -> Iterator[dict[str, Any]]:
    for leaf in leaves(type(section), above):
        value: Any = section
        for part in leaf.path[len(above) :]:
            value = getattr(value, part, None)
        stated = settings.stated.get(leaf.path)
        row: dict[str, Any] = {"key": ".".join(leaf.path), "variable": variable_of(leaf.path)}
        if value is not None:
            row["value"] = redact(value)
        yield row | {"source": stated.source if stated else "default", "secret": leaf.secret}


def register(app: typer.Typer, session: Session) -> None:
    """Add the commands."""
    config = typer.Typer(no_args_is_help=True, help="Show, check and document the settings.", rich_markup_mode=None)
    app.add_typer(config, name="config")

    @config.command()
    def show(as_json: AsJson = False) -> None:  # noqa: FBT002 - a flag of the command line
        """Print every setting with its source; secrets are masked."""
        document = describe(session.settings(), session.runtime.features)
        print_result(document, "\n".join(_lines(document)), as_json=as_json)

    @config.command()
    def check(
        strict: Annotated[bool, typer.Option("--strict", help="Refuse what is no setting, and old names.")] = False,  # noqa: FBT002
        as_json: AsJson = False,  # noqa: FBT002 - a flag of the command line
    ) -> None:
        """Check the settings without starting anything; exit with 78 if they cannot be used."""
        settings = session.settings()
        if strict and settings.unknown:
            failure = Failure("unknown_setting", "Some variables are no settings.", retryable=False)
            session.fail(failure, EXIT_CONFIGURATION, unknown=settings.unknown, renamed=settings.renamed)
        if strict and settings.renamed:
            failure = Failure("renamed_setting", "Some settings have their old names.", retryable=False)
            session.fail(failure, EXIT_CONFIGURATION, renamed=settings.renamed)
        document = {"status": "ok", "environment": settings.environment}
        print_result(document, f"configuration: ok ({settings.environment})", as_json=as_json)

    _register_reference(config, session)


def _lines(document: dict[str, Any]) -> Iterator[str]:
    for row in document["settings"]:
        yield f"{row['variable']} = {row.get('value', '')}  ({row['source']})"
    for name, steps in document["pipelines"].items():
        yield f"pipeline of {name}: {' > '.join(steps)}"


def _register_reference(config: typer.Typer, session: Session) -> None:

    @config.command()
    def reference(
        format_: Annotated[
            Literal["markdown", "env"], typer.Option("--format", help="A page, or a dotenv file.")
        ] = "markdown",
        as_json: AsJson = False,  # noqa: FBT002 - a flag of the command line
    ) -> None:
        """Print the documentation of every setting."""
        render = env_example if format_ == "env" else reference_table
        text = render(session.runtime.features)
        for reason in unusable_kinds(session.runtime.features):
            typer.echo(f"warning: a plug-in is left out: {reason}", err=True)
        print_result({"format": format_, "text": text}, text.removesuffix("\n"), as_json=as_json)

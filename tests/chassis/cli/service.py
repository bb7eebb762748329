"""The command line of a small service, and a way to run it."""

from dataclasses import replace
from typing import Annotated, Any

import typer
from typer.testing import CliRunner, Result

from chassis.contracts.test_envelope import FAILURE, PROVENANCE
from chassis.doubles import OPERATIONS, Greeter
from chassis.samples.features import KINDS, WEATHER, WeatherSection
from chassis.web.app import THINGS
from object_service.chassis.cli.main import build_cli
from object_service.chassis.cli.session import AsJson, Session
from object_service.chassis.config.settings import Settings
from object_service.chassis.container import Container
from object_service.chassis.contracts.envelope import Failed, Finished, Succeeded
from object_service.chassis.contracts.errors import RequestError
from object_service.chassis.contracts.providers import Providers
from object_service.chassis.providers import install_providers
from object_service.chassis.runtime import Runtime


async def _install(container: Container, settings: Settings) -> None:
    providers: Providers[Greeter] = install_providers(
        container, settings, feature="weather", section=WeatherSection, catalogue=KINDS, operations=OPERATIONS
    )
    container.provide(Providers, providers)


def _register(app: typer.Typer, session: Session) -> None:
    @app.command()
    def greet(name: Annotated[str, typer.Argument()], as_json: AsJson = False) -> None:  # noqa: FBT002 - a flag
        """Greet somebody."""

        async def call(container: Container) -> Finished[str]:
            if name == "nobody":
                raise RequestError("There is nobody.", code="not_found")
            if name == "fail":
                return Failed(id="gen_1", error=FAILURE, provenance=PROVENANCE)
            text = await container[Providers].choose(None).port.greet(name)
            return Succeeded(id="gen_1", result=text, provenance=PROVENANCE)

        session.finish(session.run(call), as_json=as_json, summary=str.upper)


RUNTIME = Runtime((replace(WEATHER, install=_install, commands=_register), THINGS))


def run(*arguments: str, **options: Any) -> Result:
    """Run one command."""
    return CliRunner().invoke(build_cli(RUNTIME), list(arguments), **options)

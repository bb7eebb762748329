"""Commands of generated text."""

from typing import Annotated

import typer

from ...chassis.cli.session import AsJson, Session
from ...chassis.container import Container
from ...chassis.contracts.envelope import Finished
from ...domain.genai import Generation, GenerationRequest
from ...service.genai import GenAIService


def register(app: typer.Typer, session: Session) -> None:
    """Add the commands to the command line of the service."""

    @app.command()
    def generate(
        text: Annotated[str, typer.Argument(help="The prompt.")],
        provider: Annotated[str | None, typer.Option(help="Provider to use instead of the selected one.")] = None,
        as_json: AsJson = False,  # noqa: FBT002 - a flag of the command line
    ) -> None:
        """Generate a text."""

        async def call(container: Container) -> Finished[Generation]:
            return await container[GenAIService].generate(GenerationRequest(text, provider))

        session.finish(session.run(call), as_json=as_json, summary=lambda result: result.text)

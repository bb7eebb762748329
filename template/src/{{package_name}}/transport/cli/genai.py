"""Commands of generated text."""

from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Annotated

import typer

from ...chassis.cli.session import AsJson, Session
from ...chassis.container import Container
from ...chassis.contracts.envelope import Finished
from ...domain.genai import Delta, Generation, GenerationRequest
from ...service.genai import GenAIService, StreamItem


def register(app: typer.Typer, session: Session) -> None:
    """Add the commands to the command line of the service."""

    @app.command()
    def generate(
        text: Annotated[str, typer.Argument(help="The prompt.")],
        provider: Annotated[str | None, typer.Option(help="Provider to use instead of the selected one.")] = None,
        stream: Annotated[bool, typer.Option("--stream", help="Print the text while it comes.")] = False,  # noqa: FBT002
        as_json: AsJson = False,  # noqa: FBT002 - a flag of the command line
    ) -> None:
        """Generate a text."""
        request = GenerationRequest(text, provider)

        async def call(container: Container) -> Finished[Generation]:
            service = container[GenAIService]
            return await (_shown(service.stream(request), quiet=as_json) if stream else service.generate(request))

        shown = stream and not as_json
        session.finish(session.run(call), as_json=as_json, summary=lambda result: "" if shown else result.text)


async def _shown(items: AsyncGenerator[StreamItem], *, quiet: bool) -> Finished[Generation]:
    """Print the pieces as they come, unless only the end is asked for, and return the end."""
    async with aclosing(items):
        async for item in items:
            if not isinstance(item, Delta):
                return item
            if not quiet:
                typer.echo(item.text, nl=False)
    raise TypeError("a stream ended without an envelope")

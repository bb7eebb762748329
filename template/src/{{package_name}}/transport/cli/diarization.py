"""Commands of diarization."""

import asyncio
from pathlib import Path
from typing import Annotated

import typer

from ...chassis.cli.session import AsJson, Session
from ...chassis.container import Container
from ...chassis.contracts.envelope import Finished
from ...chassis.contracts.errors import RequestError
from ...chassis.work import describe_file
from ...domain.diarization import AudioFile, Diarization
from ...service.diarization import DiarizationService


def register(app: typer.Typer, session: Session) -> None:
    """Add the commands to the command line of the service."""

    @app.command()
    def diarize(
        file: Annotated[Path, typer.Argument(help="A PCM WAV recording.")],
        provider: Annotated[str | None, typer.Option(help="Provider to use instead of the selected one.")] = None,
        as_json: AsJson = False,  # noqa: FBT002 - a flag of the command line
    ) -> None:
        """Find out who spoke when."""

        async def call(container: Container) -> Finished[Diarization]:
            try:
                described = await asyncio.to_thread(describe_file, file)
            except OSError as error:
                message = f"The file cannot be read ({error.strerror}); expected the path of a PCM WAV recording."
                raise RequestError(message, code="unreadable_audio") from error
            audio = AudioFile(file, described.bytes, described.sha256)
            return await container[DiarizationService].run(audio, provider=provider)

        session.finish(session.run(call), as_json=as_json, summary=_lines)


def _lines(result: Diarization) -> str:
    turns = (f"{turn.start_s:8.2f} {turn.end_s:8.2f}  {turn.speaker}" for turn in result.segments)
    length = "" if result.duration_s is None else f" in {result.duration_s:.2f} s"
    return "\n".join([f"{len(result.speakers)} speakers{length}", *turns])

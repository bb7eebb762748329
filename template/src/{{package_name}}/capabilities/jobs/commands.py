"""Commands of jobs: run them, list them, follow, cancel and retry one."""

import asyncio
import signal
from collections.abc import Awaitable, Callable, Mapping
from contextlib import nullcontext
from typing import TYPE_CHECKING, Annotated

import typer

from ...chassis.cli.session import AsJson, Session, print_result
from ...chassis.config.sources import SettingPath
from ...chassis.container import Container
from ...chassis.contracts.envelope import Failure
from ...chassis.contracts.errors import ServiceError

if TYPE_CHECKING:
    from .management import JobManagement
    from .records import JobRecord

type JobId = Annotated[str, typer.Argument(help="Id of a job.")]


def register(app: typer.Typer, session: Session) -> None:
    """Add the commands to the command line of the service."""

    @app.command()
    def worker(
        ops_port: Annotated[int | None, typer.Option(help="Port for operators; 0 takes any free one.")] = None,
        as_json: AsJson = False,  # noqa: FBT002 - a flag of the command line
    ) -> None:
        """Run jobs until SIGTERM; the log is on stderr. With a port for operators, metrics are there."""
        del as_json  # the session knows it
        _work(session, {} if ops_port is None else {("ops", "port"): ops_port})

    group = typer.Typer(help="List jobs, or look after one.", no_args_is_help=True, rich_markup_mode=None)
    app.add_typer(group, name="jobs")
    _register_reading(group, session)
    _register_changing(group, session)


def _register_reading(group: typer.Typer, session: Session) -> None:

    @group.command(name="list")
    def listing(
        status: Annotated[str | None, typer.Option(help="Only jobs that stand so.")] = None,
        name: Annotated[str | None, typer.Option(help="Only jobs of this name.")] = None,
        size: Annotated[int, typer.Option(min=1, max=1000, help="How many, the newest first.")] = 50,
        as_json: AsJson = False,  # noqa: FBT002 - a flag of the command line
    ) -> None:
        """List jobs, the newest first."""
        from .records import JobStatus  # noqa: PLC0415 - brings DBOS

        if status is not None and status not in list(JobStatus):
            raise typer.BadParameter(f"expected one of {', '.join(JobStatus)}", param_hint="--status")
        asked = None if status is None else JobStatus(status)
        found = _run(session, lambda jobs: jobs.page(status=asked, name=name, size=size))
        print_result({"items": found}, "\n".join(map(_line, found)) or "no jobs", as_json=as_json)

    @group.command()
    def show(
        id_: JobId,
        follow: Annotated[bool, typer.Option("--follow", help="Show the progress until it has ended.")] = False,  # noqa: FBT002 - a flag
        as_json: AsJson = False,  # noqa: FBT002 - as above
    ) -> None:
        """Show a job."""
        found = _run(session, (lambda jobs: _followed(jobs, id_)) if follow else (lambda jobs: jobs.show(id_)))
        print_result(found, _line(found), as_json=as_json)


def _register_changing(group: typer.Typer, session: Session) -> None:

    @group.command()
    def cancel(id_: JobId, as_json: AsJson = False) -> None:  # noqa: FBT002 - a flag of the command line
        """Stop a job."""
        found = _run(session, lambda jobs: jobs.cancel(id_))
        print_result(found, _line(found), as_json=as_json)

    @group.command()
    def retry(id_: JobId, as_json: AsJson = False) -> None:  # noqa: FBT002 - a flag of the command line
        """Enqueue a job again that ended without success; completed steps are not repeated."""
        found = _run(session, lambda jobs: jobs.retry(id_))
        print_result(found, _line(found), as_json=as_json)


def _run[T](session: Session, call: "Callable[[JobManagement], Awaitable[T]]") -> T:
    from .management import JobManagement  # noqa: PLC0415 - brings SQLAlchemy and DBOS

    async def within(container: Container) -> T:
        return await call(container[JobManagement])

    return session.run(within)


async def _followed(jobs: "JobManagement", id_: str) -> "JobRecord":
    last = await jobs.show(id_)
    with typer.progressbar(length=100, label=last.name, file=typer.get_text_stream("stderr")) as bar:
        async for last in jobs.follow(id_):
            bar.update(round(100 * (last.progress or 0)) - bar.pos)
    return last


def _line(job: "JobRecord") -> str:
    progress = "" if job.progress is None else f" {job.progress:4.0%}"
    failure = "" if job.error is None else f"  {job.error.message} [{job.error.code}]"
    return f"{job.id}  {job.name}  {job.status}{progress}{failure}"


def _work(session: Session, arguments: Mapping[SettingPath, int]) -> None:
    from ...chassis.web.app import build_operations  # noqa: PLC0415 - brings the web framework
    from ...chassis.web.server import AddressError, operated  # noqa: PLC0415 - as above
    from ...chassis.web.settings import HttpSection, OpsSection  # noqa: PLC0415 - as above
    from .serving import run_until_stopped  # noqa: PLC0415 - brings SQLAlchemy and DBOS

    settings = session.settings(arguments)
    ops = settings[OpsSection]

    async def started() -> None:
        async with session.runtime.started(settings) as container:
            loop = asyncio.get_running_loop()
            for number in (signal.SIGTERM, signal.SIGINT):
                loop.add_signal_handler(number, container.stopping.begin)
            app = build_operations(settings, session.runtime.features, container)
            async with nullcontext() if ops.port is None else operated(app, settings[HttpSection], ops):
                await run_until_stopped(container, settings)

    try:
        asyncio.run(started())
    except AddressError as error:
        session.fail(Failure(error.code, f"{error}; choose another one with --ops-port", retryable=False))
    except ServiceError as error:
        session.fail(Failure.of(error))

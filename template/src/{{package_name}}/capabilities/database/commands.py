"""Commands of the database."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Annotated

import typer

from ...chassis.cli.session import AsJson, Session, print_result
from ...chassis.contracts.envelope import Failure
from ...chassis.contracts.errors import ServiceError
from .settings import DatabaseSection

if TYPE_CHECKING:
    from .database import Database
    from .migrating import Standing

Check = Annotated[bool, typer.Option("--check", help="Change nothing; exit with 1 if anything is left to do.")]

type _Standings = "tuple[Standing, ...]"


def register(app: typer.Typer, session: Session) -> None:
    """Add the commands to the command line of the service."""

    @app.command()
    def migrate(
        check: Check = False,  # noqa: FBT002 - a flag of the command line
        down: Annotated[int | None, typer.Option(min=1, help="Lead a chain back by so many versions.")] = None,
        chain: Annotated[str, typer.Option(help="The chain to lead back.")] = "own",
        new: Annotated[str | None, typer.Option(help="Write the next migration of your tables, described so.")] = None,
        as_json: AsJson = False,  # noqa: FBT002 - a flag of the command line
    ) -> None:
        """Bring the tables to what this version expects; safe to run twice, and by several at once."""
        if sum([check, down is not None, new is not None]) > 1:
            raise typer.BadParameter("expected one of --check, --down and --new")
        from . import chains, migrating  # noqa: PLC0415 - brings SQLAlchemy and Alembic

        if new is not None:
            path = _run(session, lambda database: migrating.new_migration(database, new))
            print_result({"status": "ok", "path": str(path)}, f"{path}\nRead it before you commit it.", as_json=as_json)
            return
        if down is not None:
            found = _run(session, lambda database: migrating.downgrade(database, chain, down))
        elif check:
            found = _run(session, lambda database: migrating.standings(database, chains.all_chains()))
        else:
            found = _run(session, migrating.upgrade)
        rows = [{"chain": one.chain, "current": one.current, "head": one.head} for one in found]
        if check and not all(one.ready for one in found):
            session.fail(
                Failure("not_migrated", f"The database is behind: {_lines(found)}.", retryable=False), chains=rows
            )
        print_result({"status": "ok", "chains": rows}, _lines(found), as_json=as_json)


def _lines(found: _Standings) -> str:
    return ", ".join(f"{one.chain}: {one.current or 'nothing'}{_beside(one)}" for one in found)


def _beside(one: "Standing") -> str:
    if one.ahead:
        return f" (newer than {one.head})"
    return "" if one.ready else f" of {one.head}"


def _run[T](session: Session, work: "Callable[[Database], Awaitable[T]]") -> T:
    from .database import Database  # noqa: PLC0415 - brings SQLAlchemy

    section = session.settings()[DatabaseSection]

    async def opened() -> T:
        database = Database(section)
        try:
            return await work(database)
        finally:
            await database.aclose()

    try:
        return asyncio.run(opened())
    except ServiceError as error:
        session.fail(Failure(error.code, f"{error}", retryable=error.retryable))

"""Migrating: brings the tables to what the code expects, one process at a time; tells where they stand.

On SQLite everything is one transaction. On PostgreSQL each file is one, so that a file can leave it where the engine
asks for that (`CREATE INDEX CONCURRENTLY`).
"""

import asyncio
import hashlib
import time
from argparse import Namespace
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from alembic.script.revision import RevisionError
from alembic.util import CommandError
from sqlalchemy import Connection, exc, text
from sqlalchemy.ext.asyncio import AsyncConnection

from ...chassis.contracts.errors import ServiceError
from ...chassis.identity import SERVICE
from .chains import OWN, Chain, all_chains
from .database import DanglingError, Database

_ASK_AGAIN_S = 0.2
_LOCK = int.from_bytes(hashlib.sha256(f"{SERVICE}/migrate".encode()).digest()[:8], signed=True)
"""Key of the advisory lock: the same for every process of this service."""


class MigrationError(ServiceError):
    """The tables cannot be migrated; the message says why."""

    default_code = "migration_failed"

    def __init__(self, message: str) -> None:
        """Show the text as it is: whoever migrates is an operator."""
        super().__init__(message, user_message=message)


@dataclass(frozen=True, slots=True)
class Standing:
    """Where the tables of one chain stand, and where the code expects them; None before the first version.

    `ahead` says that the code does not know where they stand: newer code has migrated them.
    """

    chain: str
    current: str | None
    head: str | None
    ahead: bool = False

    @property
    def ready(self) -> bool:
        """Tell whether the code can work with them; tables that are ahead have to suit the version before them too."""
        return self.ahead or self.current == self.head


async def standings(database: Database, chains: Sequence[Chain]) -> tuple[Standing, ...]:
    """Return where the chains stand; changes nothing."""
    heads = await asyncio.to_thread(lambda: [_head(chain) for chain in chains])
    async with database.reading() as connection:
        current = [await connection.run_sync(_current, chain) for chain in chains]
        ahead = [now is not None and now not in _revisions(chain) for chain, now in zip(chains, current, strict=True)]
    names = [chain.name for chain in chains]
    return tuple(map(Standing, names, current, heads, ahead))


async def upgrade(database: Database) -> tuple[Standing, ...]:
    """Bring all chains to their heads; of two who do that at the same time, the second finds nothing left to do.

    Raises:
        MigrationError: if another process migrates for too long, or a chain has several heads.
    """
    chains = all_chains()
    await asyncio.to_thread(lambda: [_head(chain) for chain in chains])
    if database.dialect == "sqlite":
        await _prepare(database, chains)  # in transactions of its own, which would wait for ours
    async with _alone(database) as connection:
        if database.dialect != "sqlite":
            await _prepare(database, chains)
        for chain in chains:
            await connection.run_sync(_within, chain, chains, lambda config: command.upgrade(config, "head"))
    return await standings(database, chains)


async def _prepare(database: Database, chains: Sequence[Chain]) -> None:
    for chain in chains:
        if chain.prepare is not None:
            await chain.prepare(database.section)


async def downgrade(database: Database, name: str, steps: int) -> tuple[Standing, ...]:
    """Lead one chain back by some versions; what only the newer versions could keep is lost.

    Raises:
        MigrationError: if no chain has the name, or it has fewer versions.
    """
    chains = all_chains()
    chain = _named(name, chains)
    async with _alone(database) as connection:
        target = await connection.run_sync(_earlier, chain, steps)
        await connection.run_sync(_within, chain, chains, lambda config: command.downgrade(config, target))
    return await standings(database, chains)


async def new_migration(database: Database, words: str) -> Path:
    """Write the next file of your chain, with what the tables in the code have beyond those in the database.

    Raises:
        MigrationError: if there are no words, or the database is not at the head of your chain.
    """
    if not any(character.isalnum() for character in words):
        raise MigrationError("The file is named after what changes; say it in words.")
    chains = all_chains()
    own = _named(OWN, chains)
    if any(standing.current != standing.head for standing in await standings(database, chains)):
        raise MigrationError("The database is not where the code is; run `migrate` first.")
    taken = _revisions(own)
    number = next(name for name in map("{:04d}".format, count(len(taken) + 1)) if name not in taken)

    def write(config: Config) -> Path:
        made = command.revision(config, words, autogenerate=True, rev_id=number)
        if made is None or isinstance(made, list):
            raise MigrationError("Nothing was written.")
        return Path(made.path)

    async with database.reading() as connection:
        return await connection.run_sync(_within, own, chains, write)


def _named(name: str, chains: Sequence[Chain]) -> Chain:
    for chain in chains:
        if chain.name == name:
            return chain
    raise MigrationError(f"No chain is named {name!r}; expected one of {', '.join(c.name for c in chains)}.")


def _config(chain: Chain) -> Config:
    config = Config(cmd_opts=Namespace(quiet=True))
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations").replace("%", "%%"))
    config.set_main_option("path_separator", "newline")
    config.set_main_option("version_locations", str(chain.versions).replace("%", "%%"))
    config.set_main_option("file_template", "v%%(rev)s_%%(slug)s")
    return config


def _scripts(chain: Chain) -> ScriptDirectory:
    return ScriptDirectory.from_config(_config(chain))


def _head(chain: Chain) -> str | None:
    with _explained(chain):
        heads = _scripts(chain).get_heads()
    if len(heads) > 1:
        raise MigrationError(
            f"The chain {chain.name!r} has several heads: {', '.join(heads)}; let one follow the other."
        )
    return heads[0] if heads else None


def _revisions(chain: Chain) -> set[str]:
    return {script.revision for script in _scripts(chain).walk_revisions()}


def _current(connection: Connection, chain: Chain) -> str | None:
    context = MigrationContext.configure(connection, opts={"version_table": chain.version_table})
    return ", ".join(context.get_current_heads()) or None


def _earlier(connection: Connection, chain: Chain, steps: int) -> str:
    current = _current(connection, chain)
    with _explained(chain):
        scripts = _scripts(chain).walk_revisions("base", current) if current else ()
        passed = [script.revision for script in scripts]
    if not 1 <= steps <= len(passed):
        raise MigrationError(f"The chain {chain.name!r} can be led back by at most {len(passed)} versions.")
    return [*passed, "base"][steps]


def _within[T](connection: Connection, chain: Chain, chains: Sequence[Chain], work: Callable[[Config], T]) -> T:
    config = _config(chain)
    given: dict[str, Any] = {"connection": connection, "chain": chain}
    config.attributes.update(given, others=[other for other in chains if other is not chain])
    if connection.dialect.name != "sqlite":
        connection.commit()  # a file has a transaction of its own where none is open
    with _explained(chain):
        return work(config)


@contextmanager
def _explained(chain: Chain) -> Iterator[None]:
    try:
        yield
    except (CommandError, RevisionError, exc.DBAPIError) as error:
        reason = error.orig if isinstance(error, exc.DBAPIError) else error
        raise MigrationError(f"The chain {chain.name!r} cannot be migrated: {reason}.") from error


@asynccontextmanager
async def _alone(database: Database) -> AsyncIterator[AsyncConnection]:
    """Open a connection for changes of tables, while no other process has one."""
    try:
        async with database.restructuring() as connection:
            if database.dialect != "sqlite":
                await _lock(connection, time.monotonic() + database.section.lock_wait_s)
            yield connection
    except DanglingError as error:
        raise MigrationError(f"Nothing was changed: {error} afterwards.") from error


async def _lock(connection: AsyncConnection, limit: float) -> None:
    """Take a lock that lasts as long as the session of this connection."""
    while not await connection.scalar(text("SELECT pg_try_advisory_lock(:key)"), {"key": _LOCK}):
        await connection.rollback()
        if time.monotonic() > limit:
            raise MigrationError("Another process is migrating; try again when it has finished.")
        await asyncio.sleep(_ASK_AGAIN_S)
    await connection.commit()

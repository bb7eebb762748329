"""Readiness: whether the database answers, and has the tables that this version of the service expects."""

import asyncio
from collections.abc import Sequence
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING

from ...chassis.contracts.errors import StorageUnavailableError
from .database import Database

if TYPE_CHECKING:
    from .chains import Chain


def _migrating() -> "tuple[ModuleType, Sequence[Chain]]":
    """Import Alembic and all that has tables, which takes long enough to hold everybody else up."""
    migrating = import_module(".migrating", __package__)
    return migrating, migrating.all_chains()


class Readiness:
    """Asks the database. Once the tables were found as expected, only for a sign of life: nobody leads them back."""

    def __init__(self, database: Database) -> None:
        """Begin without knowing."""
        self._database = database
        self._migrated = False
        self._warming: asyncio.Task[object] | None = None

    def warm(self) -> None:
        """Import what the first look needs, before a probe waits for it."""
        self._warming = asyncio.create_task(asyncio.to_thread(_migrating))

    async def ping(self) -> None:
        """Return if the service can work with the database.

        Raises:
            StorageUnavailableError: if it does not answer, or `migrate` has not run.
        """
        if self._migrated:
            await self._database.ping()
            return
        migrating, chains = await asyncio.to_thread(_migrating)
        behind = [one for one in await migrating.standings(self._database, chains) if not one.ready]
        if behind:
            names = ", ".join(f"{one.chain} ({one.current or 'nothing'} of {one.head})" for one in behind)
            raise StorageUnavailableError(f"the database is behind: {names}; run `migrate`")
        self._migrated = True

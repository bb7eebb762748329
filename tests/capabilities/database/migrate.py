"""A process that migrates a database with the files of a folder, for tests of several at once and of a sudden end."""

import asyncio
import sys
from pathlib import Path
from unittest.mock import patch

from capabilities.database.chain_files import own_chain
from object_service.capabilities.database import migrating
from object_service.capabilities.database.chains import CHAIN
from object_service.capabilities.database.database import Database
from object_service.capabilities.database.settings import DatabaseSection


async def _migrate(url: str, folder: str) -> None:
    database = Database(DatabaseSection(url=url))
    try:
        with patch.object(migrating, "all_chains", lambda: (CHAIN, own_chain(Path(folder), {}))):
            found = " ".join(str(standing.current) for standing in await migrating.upgrade(database))
            sys.stdout.write(f"{found}\n")
    finally:
        await database.aclose()


if __name__ == "__main__":
    asyncio.run(_migrate(*sys.argv[1:]))

"""Chains: the tables of the jobs, and those of the engine, which brings migrations of its own."""

import asyncio
from pathlib import Path

from ..database.chains import Chain
from ..database.settings import DatabaseSection
from .engine import open_engine
from .internals import TABLES, migrate_engine
from .jobs import reached
from .leases import METADATA


async def migrate_dbos(section: DatabaseSection) -> None:
    """Bring the tables of DBOS to what its installed version expects."""
    engine = open_engine(section, connections=2)
    try:
        with reached(told=True):
            await asyncio.to_thread(migrate_engine, engine)
    finally:
        engine.dispose()


CHAIN = Chain(
    name="jobs",
    versions=Path(__file__).parent / "versions",
    version_table="template_jobs_version",
    metadata=METADATA,
    prepare=migrate_dbos,
    foreign=TABLES,
)

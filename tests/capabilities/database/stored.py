"""What lies in the table of envelopes, looked at and changed behind the back of its owner."""

from collections.abc import Mapping
from typing import Any

from sqlalchemy import Table, select, update

from object_service.capabilities.database.database import Database
from object_service.capabilities.database.tables import EnvelopeRow

TABLE: Table = EnvelopeRow.metadata.tables[EnvelopeRow.__tablename__]


async def row_of(database: Database, id_: str) -> Mapping[str, Any]:
    """Return a row."""
    async with database.reading() as connection:
        found = (await connection.execute(select(TABLE).where(TABLE.c.id == id_))).mappings().one()
    return {str(name): value for name, value in found.items()}


async def change_rows(database: Database, **values: object) -> None:
    """Change every row."""
    async with database.writing() as connection:
        await connection.execute(update(TABLE).values(**values))

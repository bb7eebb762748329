"""Environment in which Alembic runs the files of a chain; it is executed by Alembic, never imported."""

from typing import Any, Literal

from alembic import context
from alembic.autogenerate.api import AutogenContext
from sqlalchemy import JSON, make_url

_given = context.config.attributes
_chain, _others = _given["chain"], _given["others"]
_POSTGRESQL = make_url("postgresql+asyncpg://").get_dialect()()


def _include(name: str | None, kind: str, _: object) -> bool:
    """Leave the tables of other chains out of comparisons."""
    return kind != "table" or name is None or not any(other.owns(name) for other in _others)


def _render(kind: str, item: Any, autogenerating: AutogenContext) -> str | Literal[False]:
    """Write types of this service as those of SQLAlchemy: a migration has to stay what it was."""
    if kind == "type" and type(item).__name__ == "Utc":
        return "sa.DateTime(timezone=True)"
    if kind == "type" and type(item) is JSON and item.compile(_POSTGRESQL) == "JSONB":
        autogenerating.imports.add("from sqlalchemy.dialects import postgresql")
        return 'sa.JSON().with_variant(postgresql.JSONB(), "postgresql")'
    return False


context.configure(
    connection=_given["connection"],
    target_metadata=_chain.metadata,
    version_table=_chain.version_table,
    render_as_batch=True,
    transaction_per_migration=True,
    include_name=_include,
    render_item=_render,
)
with context.begin_transaction():
    context.run_migrations()

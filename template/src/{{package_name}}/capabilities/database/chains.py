"""Chains: lines of migrations, each with a version table of its own, so that they never meet.

Every capability with tables has one, and so do you: updates of the template add to theirs and leave yours alone.
"""

import pkgutil
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

from sqlalchemy import MetaData

from ...chassis.identity import PACKAGE
from .settings import DatabaseSection
from .tables import Table, TemplateTable

OWN = "own"
"""Name of your chain."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Chain:
    """One line of migrations.

    `versions` is the folder of its files, `metadata` the tables that they make. `prepare` migrates what brings
    migrations of its own; `foreign` are the tables that it makes.
    """

    name: str
    versions: Path
    version_table: str
    metadata: MetaData
    prepare: Callable[[DatabaseSection], Awaitable[None]] | None = None
    foreign: frozenset[str] = frozenset()

    def owns(self, table: str) -> bool:
        """Tell whether a table of the database belongs to the chain."""
        return table in self.metadata.tables or table == self.version_table or table in self.foreign


CHAIN = Chain(
    name="database",
    versions=Path(__file__).parent / "migrations" / "versions",
    version_table="template_database_version",
    metadata=TemplateTable.metadata,
)


def all_chains() -> tuple[Chain, ...]:
    """Return the chains of the capabilities, and yours where there is one, in the order in which they are migrated."""
    mine = []
    if find_spec(f"{PACKAGE}.migrations") is not None:
        _import_all(f"{PACKAGE}.adapters.tables")
        versions = Path(import_module(f"{PACKAGE}.migrations").__path__[0]) / "versions"
        mine = [Chain(name=OWN, versions=versions, version_table="alembic_version", metadata=Table.metadata)]
    return (*sorted(_of_capabilities(), key=lambda chain: chain.name), *mine)


def _of_capabilities() -> Iterator[Chain]:
    for module in pkgutil.iter_modules(import_module(f"{PACKAGE}.capabilities").__path__):
        name = f"{PACKAGE}.capabilities.{module.name}.chains"
        if module.ispkg and find_spec(name) is not None:
            chain: Chain = import_module(name).CHAIN
            yield chain


def _import_all(folder: str) -> None:
    if find_spec(folder) is not None:
        for module in pkgutil.iter_modules(import_module(folder).__path__, f"{folder}."):
            import_module(module.name)

"""Resource: what the service owns a collection of, and what callers may ask of it."""

from collections.abc import Sequence
from dataclasses import dataclass

from pydantic import BaseModel

from ..tables import ResourceTable


@dataclass(frozen=True, slots=True, kw_only=True)
class Resource:
    """One collection under `/v1/<name>`; `prefix` begins the ids of its records.

    `body` checks what callers write (creation and replacement); its fields are columns of `table`. `record` describes
    what they read. Callers may filter by the columns in `filters` (equality, and ranges where the column has an
    order; one of JSON holds a list of texts, and is filtered by its members), sort by those in `sorts`, which should
    have an index that ends in the id, and search for words in those in `search`; everything else is refused.
    """

    name: str
    prefix: str
    table: type[ResourceTable]
    body: type[BaseModel]
    record: type[BaseModel]
    filters: Sequence[str]
    sorts: Sequence[str]
    search: Sequence[str] = ()

"""Records: what a declaration has to fit, and what rows look like to callers."""

from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest
from fastapi import APIRouter
from hypothesis import assume, given
from hypothesis import strategies as st
from pydantic import BaseModel, create_model
from sqlalchemy import LargeBinary, MetaData, String, Text
from sqlalchemy.orm import Mapped, mapped_column

from capabilities.database.resources.songs import NOON, SONGS, song
from capabilities.database.resources.things import Size
from object_service.capabilities.database.resources.read_routes import add_reads
from object_service.capabilities.database.resources.records import Records
from object_service.capabilities.database.resources.resource import Resource
from object_service.capabilities.database.tables import ResourceTable
from object_service.chassis.contracts.json import timestamp


class _Apart(ResourceTable):
    """Beside the tables of the service, which other tests compare with its migrations."""

    __abstract__ = True
    metadata = MetaData()


class OddRow(_Apart):
    """A row with columns of unusual types."""

    __tablename__ = "odd"

    price: Mapped[Decimal | None]
    size: Mapped[Size | None]
    day: Mapped[date | None]
    key: Mapped[UUID | None]
    label: Mapped[str] = mapped_column(String(10))
    endless: Mapped[str | None] = mapped_column(Text)
    raw: Mapped[bytes | None] = mapped_column(LargeBinary)


def odd(*fields: str, filters: tuple[str, ...] = (), sorts: tuple[str, ...] = ()) -> Resource:
    """Return a resource of odd rows."""
    annotations: dict[str, Any] = dict.fromkeys(fields, (str, ...))
    record = create_model("Odd", **annotations)
    return Resource(name="odd", prefix="odd", table=OddRow, body=BaseModel, record=record, filters=filters, sorts=sorts)


def test_a_record_has_what_is_known() -> None:
    """Fields stand in the order of the model; what is None is left out, what is false or empty is not."""
    document = Records(SONGS).document(song(1, is_active=False, title=""))
    expected = {"title": "", "is_active": False, "plays": 0, "tags": [], "id": "son_000001"}
    assert {**expected, "created_at": timestamp(NOON), "updated_at": timestamp(NOON)} == document
    assert ["title", "is_active", "plays", "tags", "id", "created_at", "updated_at"] == list(document)


def test_a_part_of_a_record_has_only_that() -> None:
    """As many fields as were chosen."""
    assert {"id": "son_000001", "plays": 0} == Records(SONGS).document(song(1), ("id", "plays", "singer"))


def test_values_without_a_form_in_json_get_one() -> None:
    """Decimals keep their digits; enumerations are their values."""
    key = UUID(int=1)
    row = {"price": Decimal("1.50"), "size": Size.LARGE, "day": date(2025, 1, 31), "key": key}
    expected = {"price": "1.50", "size": "large", "day": "2025-01-31", "key": str(key)}
    assert expected == Records(odd(*row)).document(row)


@given(value=st.datetimes(timezones=st.just(UTC)), hours=st.integers(-23, 23))
def test_moments_look_as_everywhere(value: datetime, hours: int) -> None:
    """Six decimals and Z, in UTC; years have four digits."""
    assume(1 < value.year < 9999)
    text = timestamp(value.astimezone(timezone(timedelta(hours=hours))))
    assert (27, value) == (len(text), datetime.fromisoformat(text))


def test_tags_tell_versions_apart() -> None:
    """Records and their versions have tags of their own."""
    rows = [song(1), song(1, version=2), song(2)]
    assert 3 == len({Records(SONGS).etag(row) for row in rows})


@pytest.mark.parametrize(
    ("resource", "message"),
    [
        pytest.param(odd("nothing"), "no column for the field 'nothing'", id="field-without-a-column"),
        pytest.param(odd("raw"), "the type bytes of the column 'raw' has no form in JSON", id="bytes"),
        pytest.param(odd("label", filters=("nothing",)), "OddRow has no column 'nothing'", id="filter-by-nothing"),
        pytest.param(odd("label", filters=("size",)), "callers cannot state values of odd.size", id="enumeration"),
        pytest.param(odd("label", filters=("price",)), "callers cannot state values of odd.price", id="decimal"),
        pytest.param(odd("label", sorts=("endless",)), "'endless' has no order, or is longer", id="text-without-end"),
    ],
)
def test_a_declaration_that_does_not_fit_is_refused_at_start(resource: Resource, message: str) -> None:
    """The service does not start with it, and says which column it is."""
    with pytest.raises(TypeError, match=message):
        add_reads(APIRouter(), resource)


def test_lists_and_truths_have_no_order() -> None:
    """Sorting by them is refused where it is declared."""
    for name in ("tags", "is_active"):
        declared = Resource(
            name="songs",
            prefix="son",
            table=SONGS.table,
            body=SONGS.body,
            record=SONGS.record,
            filters=(),
            sorts=(name,),
        )
        with pytest.raises(TypeError, match=f"'{name}' has no order"):
            add_reads(APIRouter(), declared)

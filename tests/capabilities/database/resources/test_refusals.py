"""What the tables do not allow is a problem that names the fields, and never a failure of the service."""

from collections.abc import AsyncIterator
from typing import Any

import pytest
from sqlalchemy import exc

from capabilities.database.resources.things import URL, Service, ThingRow, serving
from object_service.capabilities.database.resources.refusals import refused, violated

THINGS = ThingRow.metadata.tables["things"]


@pytest.fixture
async def service(database_url: str) -> AsyncIterator[Service]:
    """Serve things, on either engine."""
    async with serving(database_url) as started:
        yield started


@pytest.mark.parametrize(
    ("fields", "status", "code", "sqlite", "postgresql"),
    [
        pytest.param({"day": "2026-01-01"}, 409, "conflict", ["/code", "/day"], ["/code", "/day"], id="unique"),
        pytest.param({"amount_cents": 13}, 409, "conflict", [""], [""], id="check"),
        pytest.param({"parent_id": "none"}, 409, "conflict", [""], ["/parent_id"], id="foreign-key"),
        pytest.param({"amount_cents": 2**70}, 422, "invalid_request", [""], [""], id="large-number"),
    ],
)
async def test_a_record_that_the_tables_refuse_is_a_problem(
    service: Service, fields: dict[str, Any], status: int, code: str, sqlite: list[str], postgresql: list[str]
) -> None:
    """Creation, replacement and patch answer alike; SQLite does not say which foreign key was violated."""
    expected = sqlite if service.database.dialect == "sqlite" else postgresql
    await service.create(code="a", day="2026-01-01")
    url = (await service.create(code="b")).headers["location"]
    body, headers = {"code": "a", **fields}, {"If-Match": "*"}

    answers = [
        await service.client.post(URL, json=body),
        await service.client.put(url, json=body, headers=headers),
        await service.client.patch(url, json=body, headers=headers),
    ]

    for answer in answers:
        problem = answer.json()
        assert (status, code) == (answer.status_code, problem["code"])
        assert expected == [error["pointer"] for error in problem["errors"]]
    assert 2 == len(await service.audit())


@pytest.mark.parametrize(
    "fields",
    [
        pytest.param({"code": "x" * 21}, id="long-text"),
        pytest.param({"amount_cents": 2**40}, id="number"),
        pytest.param({"price": "1e20"}, id="decimal"),
    ],
)
async def test_a_value_that_does_not_fit_its_column_is_a_problem(postgresql_url: str, fields: dict[str, Any]) -> None:
    """PostgreSQL holds columns to their size; SQLite keeps what it is given."""
    async with serving(postgresql_url) as service:
        answer = await service.client.post(URL, json={"code": "a", **fields})

    assert (422, "invalid_request") == (answer.status_code, answer.json()["code"])


async def test_what_others_refer_to_cannot_be_purged(service: Service) -> None:
    """The purge is refused as a whole, without an entry in the audit."""
    parent = await service.create()
    await service.create(code="b", parent_id=parent.json()["id"])

    answer = await service.client.delete(f"{parent.headers['location']}?purge=true", headers={"If-Match": "*"})

    assert (409, "conflict") == (answer.status_code, answer.json()["code"])
    assert ["create", "create"] == [entry["action"] for entry in await service.audit()]


class DriverError(Exception):
    """What asyncpg raises: an error with the names of what was violated."""

    def __init__(self, **fields: str | None) -> None:
        """Keep the fields."""
        super().__init__("words")
        self.__dict__.update({"constraint_name": None, "column_name": None} | fields)


def integrity_error(text: str = "", **fields: str | None) -> exc.IntegrityError:
    """Return an error of either engine."""
    original = Exception(text)
    original.__cause__ = DriverError(**fields) if fields else None
    return exc.IntegrityError("INSERT", {}, original)


@pytest.mark.parametrize(
    ("expected", "error"),
    [
        pytest.param(("code",), integrity_error(column_name="code"), id="postgresql-not-null"),
        pytest.param(("code", "day"), integrity_error(constraint_name="uq_things_code_day"), id="postgresql-unique"),
        pytest.param((), integrity_error(constraint_name="uq_other"), id="postgresql-unknown"),
        pytest.param(("code",), integrity_error("NOT NULL constraint failed: things.code"), id="sqlite-not-null"),
        pytest.param(("id",), integrity_error("UNIQUE constraint failed: things.id"), id="sqlite-key"),
        pytest.param((), integrity_error("CHECK constraint failed: ck_things_lucky"), id="sqlite-check"),
        pytest.param((), integrity_error("UNIQUE constraint failed: index 'uq_lower'"), id="sqlite-expression"),
        pytest.param((), integrity_error("FOREIGN KEY constraint failed"), id="sqlite-foreign-key"),
    ],
)
def test_a_violated_constraint_is_known_by_its_columns(expected: tuple[str, ...], error: exc.IntegrityError) -> None:
    """Where the engine does not tell, no field is named."""
    assert expected == violated(error, THINGS)


def test_what_the_tables_have_nothing_to_do_with_is_no_refusal() -> None:
    """A failure of the service stays one."""
    assert [] == refused(exc.OperationalError("INSERT", {}, Exception("disk full")), THINGS)

"""What the tables do not allow is a problem that names the fields, and never a failure of the service."""

from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import pytest
from pydantic import ConfigDict
from sqlalchemy import exc

from capabilities.database.resources.things import THINGS as DECLARED
from capabilities.database.resources.things import URL, Service, ThingBody, ThingRow, serving
from object_service.capabilities.database.resources.refusals import refused, violated
from object_service.capabilities.database.resources.writing import Writing
from object_service.chassis.web.problems import ValidationProblem

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
        pytest.param({"amount_cents": 2**31}, 422, "invalid_request", *[["/amount_cents"]] * 2, id="number"),
        pytest.param({"amount_cents": -(2**31) - 1}, 422, "invalid_request", *[["/amount_cents"]] * 2, id="low"),
        pytest.param({"label": "x" * 21}, 422, "invalid_request", *[["/label"]] * 2, id="long-text"),
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
        await service.client.request(method, place, json=body, headers=headers)
        for method, place in (("POST", URL), ("PUT", url), ("PATCH", url))
    ]

    for answer in answers:
        problem = answer.json()
        assert (status, code) == (answer.status_code, problem["code"])
        assert expected == [error["pointer"] for error in problem["errors"]]
    assert 2 == len(await service.audit())


async def test_a_decimal_that_does_not_fit_its_column_is_a_problem(postgresql_url: str) -> None:
    """PostgreSQL holds decimals to their size; SQLite keeps what it is given."""
    async with serving(postgresql_url) as service:
        answer = await service.client.post(URL, json={"code": "a", "price": "1e20"})

    assert (422, "invalid_request") == (answer.status_code, answer.json()["code"])


class Lenient(ThingBody):
    """A body that passes NaN on as it is."""

    model_config = ConfigDict(ser_json_inf_nan="constants")


async def test_a_number_that_json_does_not_know_is_a_problem(service: Service) -> None:
    """Also where a body lets NaN through: one engine would refuse it, and nobody could read it from the other."""
    writing = Writing(replace(DECLARED, body=Lenient))

    with pytest.raises(ValidationProblem) as caught:
        await writing.create(service.database, Lenient(code="a", facts=float("nan")))

    assert [("invalid_request", "")] == [(error["code"], error["pointer"]) for error in caught.value.errors]
    assert "NaN" in caught.value.errors[0]["message"]


async def test_what_just_fits_is_kept(service: Service) -> None:
    """The largest and the smallest number, and the longest text."""
    for number in (2**31 - 1, -(2**31)):
        answer = await service.create(code="x" * 20, amount_cents=number)
        assert number == answer.json()["amount_cents"]


@pytest.mark.parametrize("mode", ["all", "each"])
async def test_an_item_that_does_not_fit_is_named(service: Service, mode: str) -> None:
    """With its place and every field that is wrong."""
    answer = await service.bulk([{"code": "a"}, {"code": "x" * 21, "amount_cents": 2**40}], mode)

    document = answer.json()
    errors = document["errors"] if mode == "all" else document["items"][1]["error"]["errors"]
    assert ["/items/1/amount_cents", "/items/1/code"] == sorted(error["pointer"] for error in errors)
    assert (422 if mode == "all" else 200) == answer.status_code


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

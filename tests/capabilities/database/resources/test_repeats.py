"""A request that is repeated under its idempotency key finds what its first attempt wrote."""

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from sqlalchemy import update

from capabilities.database.resources.things import THINGS, Service, ThingBody, ThingRow, serving
from object_service.capabilities.database.resources.bulk import Bulk, BulkBody
from object_service.capabilities.database.resources.writing import Writing, Written
from object_service.chassis.contracts.context import Context, entered
from object_service.chassis.web.problems import ValidationProblem

ANY = {"If-Match": "*"}


@pytest.fixture
async def service(database_url: str) -> AsyncIterator[Service]:
    """Serve things, on either engine; these tests go below the layer that repeats whole answers."""
    async with serving(database_url) as started:
        yield started


async def create(service: Service, key: str | None, **fields: Any) -> Written:
    """Create a thing, as a request with this key would."""
    with entered(Context("cor-1", idempotency_key=key)):
        return await Writing(THINGS).create(service.database, ThingBody.model_validate({"code": "a", **fields}))


async def test_a_repeat_is_answered_like_the_first_attempt(service: Service) -> None:
    """The record is written once, and comes back as it was then, whatever has become of it."""
    first = await create(service, "key-1", price=Decimal("1.50"), detail={"words": ["x"]})
    await service.client.patch(
        f"/v1/things/{first.document['id']}", json={"code": "changed"}, headers={"If-Match": "*"}
    )

    assert first == await create(service, "key-1", price=Decimal("1.50"), detail={"words": ["x"]})
    assert ["update", "create"] == [entry["action"] for entry in await service.audit()]


async def test_repeats_at_the_same_time_write_once(service: Service) -> None:
    """All of them get the one record."""
    answers = await asyncio.gather(*(create(service, "key-1") for _ in range(5)))

    assert 1 == len({str(answer.document["id"]) for answer in answers})
    assert 1 == len(await service.audit())


async def test_a_key_stands_for_one_body(service: Service) -> None:
    """Another body under the same key is a conflict, not another record."""
    await create(service, "key-1", code="a")

    with pytest.raises(ValidationProblem) as caught:
        await create(service, "key-1", code="b")

    assert [("conflict", "/id")] == [(error["code"], error["pointer"]) for error in caught.value.errors]


async def test_other_keys_and_none_make_records_of_their_own(service: Service) -> None:
    """Equal bodies are no repeats by themselves."""
    ids = {str((await create(service, key)).document["id"]) for key in ("key-1", "key-2", None, None)}

    assert 4 == len(ids)


async def bulk(service: Service, key: str, codes: list[str], mode: str) -> list[Any]:
    """Create several things, as a request with this key would."""
    body = BulkBody.model_validate({"items": [{"code": code, "day": "2026-01-01"} for code in codes], "mode": mode})
    with entered(Context("cor-1", idempotency_key=key)):
        return await Bulk(Writing(THINGS)).create(service.database, body)


@pytest.mark.parametrize("mode", ["all", "each"])
async def test_a_repeated_bulk_writes_nothing_twice(service: Service, mode: str) -> None:
    """Every item finds its record."""
    first = await bulk(service, "key-1", ["a", "b", "c"], mode)

    assert first == await bulk(service, "key-1", ["a", "b", "c"], mode)
    assert 3 == len(await service.audit())


async def test_an_item_that_has_changed_is_a_conflict(service: Service) -> None:
    """The others are found."""
    first = await bulk(service, "key-1", ["a", "b"], "each")

    found, changed = await bulk(service, "key-1", ["a", "other"], "each")

    assert (first[0], 409) == (found, changed["status"])
    assert "/items/1/id" == changed["error"]["errors"][0]["pointer"]


async def age(service: Service, hours: float) -> None:
    """Let every record be older by some hours."""
    things = ThingRow.metadata.tables["things"]
    async with service.database.writing() as connection:
        for id_, at in (
            await connection.execute(things.select().with_only_columns(things.c.id, things.c.created_at))
        ).all():
            older = {"created_at": at - timedelta(hours=hours)}
            await connection.execute(update(things).where(things.c.id == id_).values(older))


@pytest.mark.parametrize("code", ["a", "b"], ids=["same-body", "other-body"])
async def test_a_key_that_has_expired_is_as_good_as_a_new_one(service: Service, code: str) -> None:
    """The request makes a record of its own, whatever became of the old one, and its repeats find that."""
    old = await create(service, "key-1", code="a")
    await service.client.delete(f"/v1/things/{old.document['id']}", headers=ANY)
    for _ in range(2):
        await age(service, 24.1)
        new = await create(service, "key-1", code=code)
        assert old.document["id"] != new.document["id"]
        assert 200 == (await service.client.get(f"/v1/things/{new.document['id']}")).status_code
        assert new == await create(service, "key-1", code=code)
        old = new

    with pytest.raises(ValidationProblem):
        await create(service, "key-1", code="another")
    assert 3 == len([entry for entry in await service.audit() if entry["action"] == "create"])


async def test_a_key_does_not_expire_early(service: Service) -> None:
    """Within its time a repeat finds the record."""
    first = await create(service, "key-1")
    await age(service, 23.9)

    assert first.document["id"] == (await create(service, "key-1")).document["id"]


@pytest.mark.parametrize("mode", ["all", "each"])
async def test_a_bulk_under_an_expired_key_is_a_new_one(service: Service, mode: str) -> None:
    """Items that are new get records of their own."""
    await bulk(service, "key-1", ["a", "b"], mode)
    await age(service, 24.1)

    again = await bulk(service, "key-1", ["c", "d"], mode)

    assert again == await bulk(service, "key-1", ["c", "d"], mode)
    assert [201, 201] == [item["status"] for item in again]
    assert 4 == len({entry["record_id"] for entry in await service.audit()})


async def test_a_repeat_is_known_by_its_values(service: Service) -> None:
    """However the engine writes a number; true is not 1."""
    first = await create(service, "key-1", facts={"large": 1e23, "whole": 1.0, "flag": True})

    assert (
        first.document["id"]
        == (await create(service, "key-1", facts={"large": 1e23, "whole": 1, "flag": True})).document["id"]
    )
    with pytest.raises(ValidationProblem):
        await create(service, "key-1", facts={"large": 1e23, "whole": 1, "flag": 1})

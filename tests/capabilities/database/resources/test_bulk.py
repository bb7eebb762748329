"""Many records are created by one request: all of them or none, or each that is right."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from sqlalchemy import func, select

from capabilities.database.resources.things import URL, Service, ThingRow, serving
from object_service.capabilities.database.resources.bulk import MAX_BYTES
from object_service.capabilities.database.tables import TemplateTable

THINGS = ThingRow.metadata.tables["things"]


@pytest.fixture
async def service(database_url: str) -> AsyncIterator[Service]:
    """Serve things, on either engine."""
    async with serving(database_url) as started:
        yield started


async def count(service: Service) -> int:
    """Return how many records there are."""
    async with service.database.reading() as connection:
        return (await connection.execute(select(func.count()).select_from(THINGS))).scalar_one()


def items(number: int, **wrong: Any) -> list[dict[str, Any]]:
    """Return so many items, each on a day of its own; `wrong` replaces the code of some by their place."""
    found: list[dict[str, Any]] = [{"code": f"c{index}", "day": "2026-01-01"} for index in range(number)]
    for place, code in wrong.items():
        found[int(place.removeprefix("at_"))]["code"] = code
    return found


@pytest.mark.parametrize("mode", ["all", "each"])
async def test_every_item_becomes_a_record_with_its_entry(service: Service, mode: str) -> None:
    """The ids come in the order of the items, more of them than are written at once."""
    answer = await service.bulk(items(250), mode)

    outcomes = answer.json()["items"]
    assert (200, {201}) == (answer.status_code, {outcome["status"] for outcome in outcomes})
    async with service.database.reading() as connection:
        rows = (await connection.execute(select(THINGS.c.id, THINGS.c.code))).all()
    assert [f"c{index}" for index in range(250)] == [dict(rows)[outcome["id"]] for outcome in outcomes]
    entries = await service.audit(size=1000)
    assert {outcome["id"] for outcome in outcomes} == {entry["record_id"] for entry in entries}
    assert {("create", "anonymous")} == {(entry["action"], entry["actor"]) for entry in entries}
    assert all(entry["after"]["id"] == entry["record_id"] for entry in entries)


async def test_one_wrong_item_refuses_them_all(service: Service) -> None:
    """Every wrong item is named, however many there are, and nothing is written."""
    wrong = {f"at_{index}": "" for index in range(0, 60, 2)}

    answer = await service.bulk([*items(60, **wrong), {"code": "a", "odd": 1}, "no object"])

    problem = answer.json()
    assert (422, 0) == (answer.status_code, await count(service))
    expected = [f"/items/{index}/code" for index in range(0, 60, 2)] + ["/items/60/odd", "/items/61"]
    assert expected == [error["pointer"] for error in problem["errors"]]


async def test_one_conflict_refuses_them_all(service: Service) -> None:
    """Items that contradict records or each other are named too, and nothing of the others stays."""
    await service.create(code="taken", day="2026-01-01")

    answer = await service.bulk(items(150, at_3="taken", at_120="c7"))

    problem = answer.json()
    assert (409, "conflict", 1) == (answer.status_code, problem["code"], await count(service))
    pointers = [f"/items/{index}/{name}" for index in (3, 120) for name in ("code", "day")]
    assert pointers == [error["pointer"] for error in problem["errors"]]
    assert 1 == len(await service.audit())


async def test_a_bulk_full_of_conflicts_ends_soon(service: Service) -> None:
    """A hundred of them are enough to refuse the rest."""
    answer = await service.bulk([{"code": "a", "amount_cents": 13}] * 1000)

    problem = answer.json()
    assert (409, 100, 0) == (answer.status_code, len(problem["errors"]), await count(service))


async def test_others_write_while_each_item_is_tried(service: Service) -> None:
    """No transaction has more than a hundred items."""
    whole = asyncio.create_task(service.bulk([{"code": "a", "amount_cents": 13}] * 300, "each"))
    await asyncio.sleep(0.05)
    await service.create()

    assert not whole.done()
    assert {409} == {outcome["status"] for outcome in (await whole).json()["items"]}


@pytest.mark.parametrize("mode", ["all", "each"])
async def test_a_failure_of_the_database_is_none_of_an_item(service: Service, mode: str) -> None:
    """It ends the request, which may be tried again."""
    async with service.database.writing() as connection:
        await connection.run_sync(TemplateTable.metadata.tables["template_audit"].drop)

    answer = await service.bulk(items(3), mode)

    assert (503, "storage_unavailable") == (answer.status_code, answer.json()["code"])


async def test_right_items_are_kept_beside_wrong_ones(service: Service) -> None:
    """In the mode `each` every item has its own status, in order."""
    await service.create(code="taken", day="2026-01-01")
    given = [*items(120, at_1="", at_5="taken"), {"code": "big", "amount_cents": 2**70}, {"code": "a", "odd": 1}]

    answer = await service.bulk(given, "each")

    outcomes = answer.json()["items"]
    failed = {index: outcome for index, outcome in enumerate(outcomes) if outcome["status"] != 201}
    assert {1: 422, 5: 409, 120: 422, 121: 422} == {index: outcome["status"] for index, outcome in failed.items()}
    assert ["invalid_request", "conflict", "invalid_request", "unknown_field"] == [
        outcome["error"]["code"] for outcome in failed.values()
    ]
    assert "/items/121/odd" == failed[121]["error"]["errors"][0]["pointer"]
    assert 119 == await count(service) == len(await service.audit(size=1000))


@pytest.mark.parametrize(
    ("body", "code", "pointer"),
    [
        pytest.param({}, "invalid_request", "/items", id="no-items"),
        pytest.param({"items": []}, "invalid_request", "/items", id="empty"),
        pytest.param({"items": [0] * 10_001}, "invalid_request", "/items", id="too-many"),
        pytest.param({"items": [{}], "mode": "some"}, "invalid_request", "/mode", id="mode"),
        pytest.param({"items": [{}], "modus": "all"}, "unknown_field", "/modus", id="unknown"),
        pytest.param({"items": [{"code": "a"}, {"code": "a\0"}]}, "invalid_request", "/items/1/code", id="nul"),
    ],
)
async def test_a_bulk_has_one_to_ten_thousand_items(
    service: Service, body: dict[str, Any], code: str, pointer: str
) -> None:
    """What is wrong with the request as a whole is named before any item is looked at."""
    answer = await service.client.post(f"{URL}/$bulk", json=body)

    problem = answer.json()
    assert (422, code, pointer) == (answer.status_code, problem["code"], problem["errors"][0]["pointer"])


async def test_a_body_that_is_too_long_is_refused(service: Service) -> None:
    """Eight megabytes are the limit, 128 times that of other routes."""
    headers = {"Content-Type": "application/json"}

    fits = await service.client.post(f"{URL}/$bulk", content=b" " * MAX_BYTES, headers=headers)
    long = await service.client.post(f"{URL}/$bulk", content=b" " * (MAX_BYTES + 1), headers=headers)

    assert (400, 413) == (fits.status_code, long.status_code)


async def test_others_have_their_turn_while_ten_thousand_are_checked(service: Service) -> None:
    """The event loop is given back a hundred times on the way."""
    turns = 0

    async def take_turns() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    other = asyncio.create_task(take_turns())
    answer = await service.bulk([{"code": ""}] * 10_000, "each")
    other.cancel()

    assert {422} == {outcome["status"] for outcome in answer.json()["items"]}
    assert turns >= 100

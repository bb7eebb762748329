"""Replaying: a request that is repeated with its Idempotency-Key is answered once and for all."""

import asyncio
import hashlib
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import httpx2
import pytest
from fastapi import APIRouter, Request, Response
from fastapi.responses import StreamingResponse
from sqlalchemy import text

from capabilities.database.serving import served
from capabilities.database.waiting import until
from object_service.capabilities.database.database import Database
from object_service.chassis.auth.authentication import Authentication
from object_service.chassis.contracts.context import Principal
from object_service.chassis.contracts.errors import RequestError
from object_service.chassis.identity import ENV_PREFIX

KEY = {"Idempotency-Key": "one"}
FORM = (
    '--{0}\r\nContent-Disposition: form-data; name="file"; filename="a.wav"\r\n\r\n{1}\r\n'
    '--{0}\r\nContent-Disposition: form-data; name="provider"\r\n\r\nfirst\r\n--{0}--\r\n'
)


@dataclass(slots=True)
class Kitchen:
    """Routes that count how often they were served; `open` lets the slow one end."""

    served: int = 0
    fail: int = 0
    open: asyncio.Event = field(default_factory=asyncio.Event)

    async def odd(self) -> Response:
        """Answer with a status that no list names."""
        self.served += 1
        return Response(status_code=299)

    def routes(self) -> APIRouter:
        """Return the routes."""
        router = APIRouter()

        async def dish(request: Request) -> Response:
            body = await request.body()
            self.served += 1
            if self.fail:
                self.fail -= 1
                raise RequestError("Not now.", code="conflict")
            answer = json.dumps({"number": self.served, "digest": hashlib.sha256(body).hexdigest()})
            return Response(answer, 201, {"X-Dish": "soup", "Location": "/dishes/1"}, "application/json")

        for path in ("/dishes", "/others", "/dishes/{number}"):
            router.add_api_route(path, dish, methods=["POST", "PUT", "GET", "HEAD"])

        router.add_api_route("/odd", self.odd, methods=["POST"])

        @router.post("/slow")
        async def slow() -> dict[str, int]:
            self.served += 1
            await self.open.wait()
            return {"number": self.served}

        @router.post("/search")
        async def search(q: str) -> dict[str, object]:
            self.served += 1
            return {"q": q, "number": self.served}

        @router.post("/large")
        async def large() -> Response:
            self.served += 1
            return StreamingResponse((b"x" * 50_000 for _ in range(20)), media_type="text/csv")

        @router.post("/events")
        async def events() -> Response:
            self.served += 1
            return StreamingResponse(iter([f"data: {self.served}\n\n"]), media_type="text/event-stream")

        @router.post("/broken")
        async def broken() -> None:
            self.served += 1
            raise ZeroDivisionError

        return router


@asynccontextmanager
async def kitchen_at(url: str, **settings: object) -> AsyncIterator[tuple[Kitchen, httpx2.AsyncClient, Database]]:
    """Yield a served kitchen, its client and its database."""
    kitchen = Kitchen()
    async with served(url, routes=kitchen.routes(), settings=settings) as (client, container):
        yield kitchen, client, container[Database]


@pytest.fixture
async def kitchen(database_url: str) -> AsyncIterator[tuple[Kitchen, httpx2.AsyncClient]]:
    """Yield a served kitchen and its client."""
    async with kitchen_at(database_url) as (kitchen, client, _):
        yield kitchen, client


type Served = tuple[Kitchen, httpx2.AsyncClient]


async def test_a_repeat_gets_the_first_answer(kitchen: Served) -> None:
    """With status, headers and body as they were, and a header that says so; the work is done once."""
    one, client = kitchen
    answers = [await client.post("/dishes", content=b"salt", headers={**KEY, "X-Request-ID": str(n)}) for n in range(3)]
    assert (1, [201] * 3) == (one.served, [answer.status_code for answer in answers])
    assert 1 == len({answer.content for answer in answers})
    assert [None, "true", "true"] == [answer.headers.get("idempotency-replayed") for answer in answers]
    own = {"x-request-id", "idempotency-replayed"}
    kept = [{name: value for name, value in answer.headers.items() if name not in own} for answer in answers]
    assert kept[0] == kept[1] == kept[2]
    assert ["soup", "/dishes/1", "application/json"] == [kept[0][n] for n in ("x-dish", "location", "content-type")]
    assert ["0", "1", "2"] == [answer.headers["x-request-id"] for answer in answers]


async def test_a_repeat_outlives_the_service(database_url: str) -> None:
    """Another process gives the answer of the first one."""
    for _ in range(2):
        async with kitchen_at(database_url) as (_, client, _):
            answer = await client.post("/dishes", content=b"salt", headers=KEY)
            assert (201, 1) == (answer.status_code, answer.json()["number"])


async def test_of_equal_requests_one_is_served(kitchen: Served) -> None:
    """Of 50 at once the others are told to come again, and do so with success."""
    one, client = kitchen
    tasks = [asyncio.create_task(client.post("/slow", headers=KEY)) for _ in range(50)]
    done, (still,) = await _wait_for_all_but_one(tasks)
    problems = {(answer.status_code, answer.json()["code"], answer.headers["retry-after"]) for answer in done}
    assert ({(409, "conflict", "1")}, 1) == (problems, one.served)
    assert all(answer.json()["retryable"] for answer in done)
    one.open.set()
    assert {"number": 1} == (await still).json()
    repeats = await asyncio.gather(*(client.post("/slow", headers=KEY) for _ in range(20)))
    assert [{"number": 1}] * 20 == [answer.json() for answer in repeats]


async def _wait_for_all_but_one(
    tasks: list[asyncio.Task[httpx2.Response]],
) -> tuple[list[httpx2.Response], list[asyncio.Task[httpx2.Response]]]:
    await until(lambda: sum(task.done() for task in tasks) >= len(tasks) - 1)
    return [task.result() for task in tasks if task.done()], [task for task in tasks if not task.done()]


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
@pytest.mark.parametrize(
    "other", [b"pepper", b"salt and more", b"sal", b""], ids=["equal length", "longer", "shorter", "none"]
)
async def test_a_key_is_for_one_request(kitchen: Served, other: bytes) -> None:
    """The same key with another body is refused, and the first answer stays."""
    one, client = kitchen
    first = await client.post("/dishes", content=b"salted", headers=KEY)
    refused = await client.post("/dishes", content=other, headers=KEY)
    assert (422, "invalid_request", False) == (refused.status_code, *(refused.json()[n] for n in ("code", "retryable")))
    again = await client.post("/dishes", content=b"salted", headers=KEY)
    assert (1, first.content) == (one.served, again.content)


DIFFERENT: dict[str, tuple[str, Mapping[str, str]]] = {
    "key": ("/search?q=a", {"Idempotency-Key": "two"}),
    "caller": ("/search?q=a", {**KEY, "Authorization": "Bearer second"}),
    "caller with a key of another kind": ("/search?q=a", {**KEY, "X-API-Key": "second"}),
    "query": ("/search?q=b", KEY),
    "route": ("/others", KEY),
}


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
@pytest.mark.parametrize("case", DIFFERENT)
async def test_answers_are_not_shared(kitchen: Served, case: str) -> None:
    """Another caller, route, query or key has an answer of its own."""
    one, client = kitchen
    path, headers = DIFFERENT[case]
    first = {"Authorization": "Bearer first"} if "caller" in case else {}
    await client.post("/search?q=a", headers={**KEY, **first})
    await client.post(path, headers=headers)
    assert 2 == one.served
    await client.post("/search?q=a", headers={**KEY, **first})
    await client.post(path, headers=headers)
    assert 2 == one.served


async def test_credentials_are_not_stored(database_url: str) -> None:
    """Who called enters a digest and nothing else."""
    async with kitchen_at(database_url) as (_, client, database):
        await client.post("/dishes", content=b"salt", headers={**KEY, "Authorization": "Bearer hunter22"})
        async with database.reading() as connection:
            rows = (await connection.execute(text("SELECT * FROM template_replies"))).all()
    assert 1 == len(rows)
    assert "hunter22" not in str(rows)


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT"])
async def test_other_methods_are_left_alone(kitchen: Served, method: str) -> None:
    """What may be repeated anyway is served each time."""
    one, client = kitchen
    for _ in range(2):
        answer = await client.request(method, "/dishes", headers=KEY)
        assert "idempotency-replayed" not in answer.headers
    assert 2 == one.served
    await client.post("/dishes", content=b"salt")
    await client.post("/dishes", content=b"salt")
    assert 4 == one.served


async def test_failures_are_not_kept(kitchen: Served) -> None:
    """What failed is tried again by the repeat, and the first success is kept."""
    one, client = kitchen
    one.fail = 2
    statuses = [(await client.post("/dishes", content=b"salt", headers=KEY)).status_code for _ in range(4)]
    assert ([409, 409, 201, 201], 3) == (statuses, one.served)


async def test_defects_give_the_key_back(kitchen: Served) -> None:
    """A route that breaks leaves nothing claimed."""
    one, client = kitchen
    assert [500, 500] == [(await client.post("/broken", headers=KEY)).status_code for _ in range(2)]
    assert 2 == one.served


async def test_events_are_not_kept(kitchen: Served) -> None:
    """A stream reaches its caller piece by piece, each time anew."""
    one, client = kitchen
    answers = [await client.post("/events", headers=KEY) for _ in range(2)]
    assert (["data: 1\n\n", "data: 2\n\n"], 2) == ([answer.text for answer in answers], one.served)


async def test_large_answers_are_compressed(database_url: str) -> None:
    """An answer that comes in pieces is kept as a whole, in little room."""
    async with kitchen_at(database_url) as (one, client, database):
        answers = [await client.post("/large", headers=KEY) for _ in range(2)]
        assert (1, [b"x" * 10**6] * 2) == (one.served, [answer.content for answer in answers])
        async with database.reading() as connection:
            assert 10_000 > (await connection.scalar(text("SELECT length(body) FROM template_replies")) or 0)


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
@pytest.mark.parametrize("step", [1, 7, 64, 10**6], ids=lambda step: f"pieces of {step}")
async def test_a_form_is_the_same_with_another_boundary(kitchen: Served, step: int) -> None:
    """Clients choose a boundary for each request; wherever a body is cut into pieces, only its content counts."""
    one, client = kitchen

    async def post(boundary: str, content: str) -> httpx2.Response:
        body = FORM.format(boundary, content).encode()

        async def pieces() -> AsyncIterator[bytes]:
            for start in range(0, len(body), step):
                yield body[start : start + step]

        headers = {**KEY, "Content-Type": f'multipart/form-data; boundary="{boundary}"'}
        return await client.post("/dishes", content=pieces(), headers=headers)

    first = await post("----abc123", "sound --and ----abc12 more")
    assert 201 == first.status_code
    for boundary in ("----zyx987654", "b", "----abc123"):
        again = await post(boundary, "sound --and ----abc12 more")
        expected = 201 if boundary != "b" else 422  # one that occurs in the content is none
        assert expected == again.status_code
    assert 422 == (await post("----zyx", "silence")).status_code
    assert 1 == one.served


async def test_without_the_tables_a_key_cannot_be_honoured(database_url: str) -> None:
    """A request that must not be served twice is not served; one without a key is."""
    async with kitchen_at(database_url) as (one, client, database):
        async with database.writing() as connection:
            await connection.execute(text("DROP TABLE template_replies"))
        answer = await client.post("/dishes", content=b"salt", headers=KEY)
        assert (503, "storage_unavailable", "1", 0) == (
            *(answer.status_code, answer.json()["code"], answer.headers["retry-after"], one.served),
        )
        assert 201 == (await client.post("/dishes", content=b"salt")).status_code


async def test_an_answer_that_cannot_be_kept_is_given(database_url: str) -> None:
    """Who was served is answered, whatever becomes of the copy."""
    async with kitchen_at(database_url) as (one, client, database):
        task = asyncio.create_task(client.post("/slow", headers=KEY))
        await until(lambda: one.served)
        async with database.writing() as connection:
            await connection.execute(text("DROP TABLE template_replies"))
        one.open.set()
        assert {"number": 1} == (await task).json()


async def test_a_caller_who_is_known_has_the_answer_with_every_key(database_url: str) -> None:
    """The next key of a rotation is the same caller; who lost the scope gets no answer that was kept."""
    kitchen = Kitchen()
    scopes = {"old": {"own"}, "new": {"own"}, "less": set[str]()}

    async def known(credential: str) -> Principal | None:
        return Principal("ann", frozenset(scopes[credential])) if credential in scopes else None

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(f"{ENV_PREFIX}AUTH__OPEN", "false")
        async with served(database_url, routes=kitchen.routes()) as (client, container):
            container[Authentication].add(known)
            found = {
                who: await client.post("/dishes", content="x", headers={**KEY, "X-API-Key": who})
                for who in ("old", "new", "less", "wrong")
            }

    assert [201, 201, 403, 401] == [response.status_code for response in found.values()]
    assert found["old"].content == found["new"].content
    assert "true" == found["new"].headers["idempotency-replayed"]
    assert 1 == kitchen.served

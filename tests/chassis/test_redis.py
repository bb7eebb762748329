"""Redis: its settings show no password, its client repeats nothing, and the line to it closes cleanly."""

import asyncio
import gc
import logging
import sys
from pathlib import Path
from typing import Any

import pytest
from redis.exceptions import TimeoutError as RedisTimeoutError

from object_service.chassis.config.checking import validate
from object_service.chassis.config.sources import SettingPath, Stated
from object_service.chassis.contracts.context import Context, entered
from object_service.chassis.logs import JsonFormatter
from object_service.chassis.redaction import redact
from object_service.chassis.redis import MissingExtraError, Reach, RedisLine, RedisSection, open_redis
from redis_server import RedisServer, broken_server, clients_of, command, replica, reserve

PASSWORD = "hunter-zwei"  # noqa: S105 - made up


def test_the_password_is_not_shown() -> None:
    """`config show` and the representation of the section keep it to themselves."""
    section = RedisSection.model_validate({"url": f"rediss://user:{PASSWORD}@host:7000/3"})

    assert redact(section.url) == "rediss://user:********@host:7000/3"
    assert PASSWORD not in repr(section)


def test_a_url_of_another_kind_is_refused() -> None:
    """The report names the schemes that there are."""
    stated: dict[SettingPath, Stated] = {("redis", "url"): Stated("https://host", "environment", "REDIS__URL")}

    section, problems = validate(RedisSection, ("redis",), stated)

    assert section is None
    assert ["a URL that starts with redis:// or rediss://"] == [problem.expected for problem in problems]


class _Pipeline:
    """Commands whose answers a test gives."""

    def __init__(self) -> None:
        self.answers: asyncio.Future[list[Any]] = asyncio.Future()

    def execute_command(self, *arguments: object) -> None:
        """Take a command."""

    async def execute(self, *, raise_on_error: bool) -> list[Any]:
        """Wait for the test."""
        assert not raise_on_error
        return await self.answers


class _Redis:
    """A client that hands out pipelines and keeps them."""

    def __init__(self) -> None:
        self.pipelines: list[_Pipeline] = []

    def pipeline(self, *, transaction: bool) -> _Pipeline:
        """Return an empty list of commands."""
        assert not transaction
        self.pipelines.append(_Pipeline())
        return self.pipelines[-1]

    async def aclose(self) -> None:
        """Do nothing."""


@pytest.mark.parametrize("missing", ["redis.asyncio", "redis.backoff"])
def test_without_the_extra_the_command_to_run_is_named(missing: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever opens Redis without its package reads how to install it."""
    monkeypatch.setitem(sys.modules, missing, None)

    with pytest.raises(MissingExtraError, match=r"^Redis needs the extra 'redis': uv sync --extra redis$"):
        open_redis(RedisSection())


async def test_the_service_gives_redis_its_name_and_password(tmp_path: Path) -> None:
    """The connection is authenticated, and carries the service's name for those who look into Redis."""
    with RedisServer(tmp_path, "--requirepass", PASSWORD) as server:
        url = server.url.replace("redis://", f"redis://:{PASSWORD}@")
        async with replica(url) as state:
            assert (True, 0) == await reserve(state)
            assert len(await clients_of(url)) == 1
            assert b" name=object-service " in await command(url, "CLIENT", "LIST")


async def test_the_log_says_nothing_that_quotes_the_password(caplog: pytest.LogCaptureFixture) -> None:
    """A server that repeats what it was told does not get it into a line."""
    caplog.set_level(logging.DEBUG)
    answer = f"-ERR unknown command `AUTH`, with args beginning with: `{PASSWORD}`\r\n".encode()
    async with (
        broken_server(b"", greeting=answer) as (url, opened),
        replica(url.replace("//", f"//:{PASSWORD}@")) as state,
    ):
        assert await reserve(state) is None
        assert opened

    lines = [str(vars(record)) for record in caplog.records if "redis" in record.name]
    assert len(lines) == 1
    assert "'reason': 'ResponseError'" in lines[0]
    assert PASSWORD not in lines[0]


async def test_an_outage_belongs_to_no_call(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """The line about it does not carry the identity of the caller who happened to notice."""
    caplog.handler.setFormatter(JsonFormatter())
    with entered(Context("3f0c")):
        async with replica(RedisServer(tmp_path).url) as state:
            assert await reserve(state) is None

    assert "redis_unavailable" in caplog.text
    assert "correlation_id" not in caplog.text


async def test_an_answer_from_before_the_outage_does_not_end_it() -> None:
    """While one line has found that Redis is away, what another had asked before proves nothing."""
    redis, reach = _Redis(), Reach(lambda: 0.0)
    lines = [RedisLine(redis, reach, "check", timeout_s=5, most_at_once=1) for _ in range(2)]
    asking = [asyncio.ensure_future(line.ask(str, "GET", "key")) for line in lines]
    await asyncio.sleep(0.01)
    first, second = redis.pipelines

    first.answers.set_exception(ConnectionError())
    assert await asking[0] is None
    second.answers.set_result([1])

    assert await asking[1] == "1"
    assert reach.away


async def test_a_command_is_not_repeated() -> None:
    """When the connection ends instead of an answer, the command may have been run: it is not sent again."""
    received: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(65536)
        writer.write(b"+OK\r\n")
        received.append(await reader.read(65536))
        writer.close()

    listener = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with replica(f"redis://127.0.0.1:{listener.sockets[0].getsockname()[1]}/0") as state:
        assert await reserve(state) is None
    listener.close()

    assert len(received) == 1


@pytest.mark.parametrize("greeting", [b"", b"+OK\r\n"], ids=["connecting", "asking"])
async def test_the_client_itself_waits_no_longer_than_set(greeting: bytes) -> None:
    """Whoever uses the client without a line has the time limit too."""
    async with broken_server(b"", greeting=greeting) as (url, _):
        redis = open_redis(RedisSection.model_validate({"url": url, "timeout_s": 0.1}))
        pipeline = redis.pipeline(transaction=False)
        pipeline.execute_command("PING")

        async with asyncio.timeout(1):
            with pytest.raises(RedisTimeoutError):
                await pipeline.execute(raise_on_error=False)

        await redis.aclose()


async def test_closing_waits_for_what_is_under_way_and_can_be_repeated(tmp_path: Path) -> None:
    """After that no task and no connection is left, and whoever still asks hears None."""
    with RedisServer(tmp_path) as server:
        async with replica(server.url) as state:
            await state.store("v", b"x", 60)
            asking = asyncio.ensure_future(reserve(state))
            await asyncio.sleep(0)

            await asyncio.gather(state.aclose(), state.aclose())

            assert (True, 0) == await asking
            assert await reserve(state) is None
            assert {asyncio.current_task()} == asyncio.all_tasks()
            assert set() == await clients_of(server.url)


async def test_nobody_waits_for_an_answer_that_cannot_come() -> None:
    """When the task that asks is cancelled, as at the end of a loop, whoever waits for it hears None."""
    async with broken_server(b"") as (url, _), replica(url) as state:
        asking = asyncio.ensure_future(reserve(state))
        await asyncio.sleep(0.01)
        sending = state._line._sending
        assert sending is not None

        sending.cancel()

        async with asyncio.timeout(1):
            assert await asking is None


def test_a_loop_that_ends_without_closing_leaves_no_task_behind(caplog: pytest.LogCaptureFixture) -> None:
    """A question under way when the loop ends is given up without a complaint of asyncio."""

    async def ask_and_leave() -> None:
        async with broken_server(b"") as (url, opened):
            context = replica(url)
            asking = asyncio.ensure_future(reserve(await anext(context.gen)))
            while not opened:  # noqa: ASYNC110 - the server is a double without an event
                await asyncio.sleep(0)
            asking.cancel()

    asyncio.run(ask_and_leave())
    gc.collect()

    assert [] == [record for record in caplog.records if record.name == "asyncio"]

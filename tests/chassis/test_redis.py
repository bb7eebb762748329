"""Redis: its settings show no password, its client repeats nothing, and the line to it closes cleanly."""

import asyncio
import gc
import logging
import sys
from pathlib import Path

import pytest

from object_service.chassis.config.checking import validate
from object_service.chassis.config.sources import SettingPath, Stated
from object_service.chassis.redaction import redact
from object_service.chassis.redis import MissingExtraError, RedisSection, open_redis
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
    async with broken_server(answer) as (url, opened), replica(url.replace("//", f"//:{PASSWORD}@")) as state:
        assert await reserve(state) is None
        assert opened

    lines = [str(vars(record)) for record in caplog.records if "redis" in record.name]
    assert len(lines) == 1
    assert "'reason': 'ResponseError'" in lines[0]
    assert PASSWORD not in lines[0]


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

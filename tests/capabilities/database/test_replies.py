"""Replies: of several who claim the right to answer one gets it, and what it answered is kept."""

import asyncio
from collections.abc import Callable
from datetime import timedelta

import pytest
from sqlalchemy import Table, select

from object_service.capabilities.database.database import Database
from object_service.capabilities.database.packing import packed, unpacked
from object_service.capabilities.database.replies import Claim, Replies, Reply, scope_of
from object_service.capabilities.database.tables import ReplyRow
from object_service.chassis.contracts.errors import StorageUnavailableError

TABLE: Table = ReplyRow.metadata.tables[ReplyRow.__tablename__]
REPLY = Reply("5:digest", 201, [("content-type", "text/plain"), ("x-twice", "1"), ("x-twice", "2")], b"\x00hello\xff")
type OpenReplies = Callable[..., Replies]


@pytest.fixture
def open_replies(database: Database) -> OpenReplies:
    """Return what opens replies as another process would."""

    def open_replies(kept_s: float = 3600, lease_s: float = 30, compress_over_bytes: int = 100) -> Replies:
        kept = timedelta(seconds=kept_s)
        return Replies(database, kept=kept, compress_over_bytes=compress_over_bytes, lease_s=lease_s)

    return open_replies


async def _claim(replies: Replies, scope: str = "s") -> Claim:
    found = await replies.claim(scope)
    assert isinstance(found, Claim)
    return found


@pytest.mark.parametrize("body", [b"", b"\x00\x01", b"long " * 10_000], ids=["empty", "short", "long"])
async def test_the_answer_is_given_again_as_it_was(open_replies: OpenReplies, database: Database, body: bytes) -> None:
    """Status, headers in their order and every byte of the body; long ones take less room."""
    reply = Reply(REPLY.request, REPLY.status, REPLY.headers, body)
    await (await _claim(open_replies())).keep(reply)
    assert reply == await open_replies().claim("s")
    async with database.reading() as connection:
        stored = (await connection.execute(select(TABLE.c.body))).scalar_one()
    assert len(stored) <= min(len(body) + 1, 1000)


@pytest.mark.parametrize("processes", [1, 5], ids=["one process", "five processes"])
async def test_of_many_at_once_one_answers(open_replies: OpenReplies, processes: int) -> None:
    """The others learn that somebody works on it, and get the answer as soon as it is there."""
    several = [open_replies() for _ in range(processes)]
    found = await asyncio.gather(*(several[number % processes].claim("s") for number in range(50)))
    claims = [claim for claim in found if isinstance(claim, Claim)]
    assert (1, 49) == (len(claims), found.count(None))
    await claims[0].keep(REPLY)
    assert [REPLY] * 20 == await asyncio.gather(*(several[0].claim("s") for _ in range(20)))


async def test_what_was_given_up_is_free(open_replies: OpenReplies) -> None:
    """After a failure the next one answers; the claim of another is not touched by a late one."""
    replies = open_replies()
    first = await _claim(replies)
    await first.give_up()
    second = await _claim(replies)
    await first.give_up()
    await first.keep(Reply("0:other", 200, [], b""))
    assert await replies.claim("s") is None
    await second.keep(REPLY)
    assert REPLY == await replies.claim("s")


async def test_a_claim_ends_with_its_process(open_replies: OpenReplies) -> None:
    """While signs of life are shown nobody else answers; when they stop, the next one may after the lease."""
    replies = open_replies(lease_s=0.3)
    claim = await _claim(replies)
    await asyncio.sleep(0.7)
    assert await replies.claim("s") is None
    await claim._end()
    assert await replies.claim("s") is None
    await asyncio.sleep(0.35)
    next_ = await _claim(replies)
    await next_.keep(REPLY)
    assert REPLY == await replies.claim("s")


async def test_an_answer_is_kept_for_its_time(open_replies: OpenReplies) -> None:
    """After that the same key is as good as a new one."""
    replies = open_replies(kept_s=0.2)
    await (await _claim(replies)).keep(REPLY)
    assert REPLY == await replies.claim("s")
    await asyncio.sleep(0.25)
    await (await _claim(replies)).give_up()


async def test_work_in_progress_does_not_expire(open_replies: OpenReplies) -> None:
    """However long it takes, nobody else begins it, as long as signs of life are shown."""
    replies = open_replies(kept_s=0.1)
    claim = await _claim(replies)
    await asyncio.sleep(0.2)
    assert await replies.claim("s") is None
    await claim.give_up()


async def test_what_cannot_be_stored_is_told(empty: Database) -> None:
    """Without the tables nobody can claim, and a claim that loses them cannot keep its answer."""
    replies = Replies(empty, kept=timedelta(hours=1), compress_over_bytes=0, lease_s=30)
    with pytest.raises(StorageUnavailableError):
        await replies.claim("s")
    async with empty.writing() as connection:
        await connection.run_sync(TABLE.create)
    claim = await _claim(replies)
    async with empty.writing() as connection:
        await connection.run_sync(TABLE.drop)
    with pytest.raises(StorageUnavailableError):
        await claim.keep(REPLY)
    await claim.give_up()


async def test_cancelling_who_keeps_an_answer_is_not_lost(open_replies: OpenReplies) -> None:
    """Whoever is cancelled while the signs of life end is cancelled."""
    claim = await _claim(open_replies())
    task = asyncio.create_task(claim.keep(REPLY))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await claim.give_up()


def test_scopes_are_told_apart() -> None:
    """Each part counts, and where one ends and the next begins."""
    scopes = {scope_of("a", "b", "c"), scope_of("ab", "", "c"), scope_of("a", "bc"), scope_of("a", "b", "d")}
    assert (4, {64}) == (len(scopes), {len(scope) for scope in scopes})
    assert scope_of("a", "b", "c") in scopes


@pytest.mark.parametrize("content", [b"", b"\x00", b"\x01abc", b"a" * 1000], ids=["empty", "zero", "one", "long"])
@pytest.mark.parametrize("over_bytes", [0, 3, 4, 10**6])
def test_packed_bytes_are_unpacked(content: bytes, over_bytes: int) -> None:
    """Whatever the limit was when they were packed."""
    assert content == unpacked(packed(content, over_bytes))
    assert (len(content) > over_bytes) == packed(content, over_bytes).startswith(b"\x01")

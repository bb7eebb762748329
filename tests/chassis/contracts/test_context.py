"""The context of a call: a deadline only ever comes nearer, and blocks restore what was there before."""

import asyncio
import re
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from object_service.chassis.contracts import context as module
from object_service.chassis.contracts.call import CallRecord, current_record, recording
from object_service.chassis.contracts.context import Context, Principal, current, current_or_none, entered


@pytest.fixture
def at_100_s(monkeypatch: pytest.MonkeyPatch) -> None:
    """Stop the clock of the contexts at 100 seconds."""
    monkeypatch.setattr(module, "time", SimpleNamespace(monotonic=lambda: 100.0))


@pytest.mark.usefixtures("at_100_s")
@pytest.mark.parametrize(
    ("expected", "deadline", "seconds"),
    [(105.0, None, 5.0), (105.0, 200.0, 5.0), (101.0, 101.0, 5.0), (100.0, 200.0, 0.0)],
    ids=["first", "nearer", "kept", "now"],
)
def test_a_deadline_only_shortens(expected: float, deadline: float | None, seconds: float) -> None:
    """The nearer of the two counts."""
    assert expected == Context("c", deadline=deadline).shortened(seconds).deadline


@given(st.lists(st.floats(0, 1e6), min_size=1, max_size=8))
def test_no_row_of_limits_ever_lengthens(limits: list[float]) -> None:
    """Whatever is asked for on the way, the time left never grows."""
    context = Context("c")
    for limit in limits:
        shorter = context.shortened(limit)
        assert shorter.deadline is not None
        assert context.deadline is None or shorter.deadline <= context.deadline
        context = shorter


@pytest.mark.usefixtures("at_100_s")
@pytest.mark.parametrize(
    ("expected", "deadline"), [(None, None), (2.5, 102.5), (0.0, 99.0)], ids=["none", "some", "passed"]
)
def test_the_seconds_left_are_never_negative(expected: float | None, deadline: float | None) -> None:
    """None means that nobody set a deadline, 0 that it has passed."""
    assert expected == Context("c", deadline=deadline).remaining_s()


ANN = Principal("ann", frozenset({"genai"}))


def test_shortening_keeps_everything_else() -> None:
    """Correlation id, idempotency key, trace and principal go along."""
    shortened = Context("c", "key", "trace", caller="who", principal=ANN).shortened(1)

    assert Context("c", "key", "trace", shortened.deadline, "who", ANN) == shortened
    assert shortened.deadline is not None


def test_parts_of_a_call_have_keys_of_their_own() -> None:
    """A provider must not take two parts for one request that was repeated; without a key there is none to share."""
    context = Context("c", "key", deadline=5.0)

    assert [Context("c", "key-0", deadline=5.0), Context("c", "key-7", deadline=5.0)] == [
        context.part(0),
        context.part(7),
    ]
    assert Context("c") == Context("c").part(3)


@pytest.mark.parametrize("length", [252, 253, 254, 255])
def test_the_key_of_a_part_is_never_too_long(length: int) -> None:
    """Long keys are shortened, and stay different for different keys and parts."""
    keys = {Context("c", first + "k" * (length - 1)).part(part).idempotency_key for first in "ab" for part in (1, 99)}

    assert 4 == len(keys)
    assert all(key is not None and re.fullmatch(r"[\x21-\x7e]{1,255}", key) for key in keys)


def test_a_trace_is_part_of_its_parent() -> None:
    """Its id is the second field; without a parent it follows from the correlation id, in the same form."""
    parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"

    assert "0af7651916cd43dd8448eb211c80319c" == Context("c", traceparent=parent).trace_id
    assert re.fullmatch("[0-9a-f]{32}", Context("c").trace_id)
    assert Context("c").trace_id == Context("c", "key").trace_id != Context("d").trace_id


def test_outside_any_call_a_context_is_fresh() -> None:
    """There is always a correlation id, even where nobody entered a context."""
    first, second = current(), current()

    assert current_or_none() is None
    assert re.fullmatch(r"cor_[a-z0-9_]{1,60}", first.correlation_id)
    assert first.correlation_id != second.correlation_id


def test_blocks_nest_and_restore() -> None:
    """Leaving a block, also by an exception, brings back the context around it."""
    outer, inner = Context("outer"), Context("inner")
    with entered(outer):
        with entered(inner) as got:
            assert got is current() is inner
        with pytest.raises(KeyError), entered(inner):
            raise KeyError
        assert current_or_none() is outer
    assert current_or_none() is None


async def test_tasks_started_in_a_block_inherit_its_context() -> None:
    """A task keeps the context it was started in; its own changes stay with it."""

    async def change() -> str:
        with entered(Context("mine")):
            await asyncio.sleep(0)
            return current().correlation_id

    with entered(Context("parent")):
        task = asyncio.create_task(change())
        await asyncio.sleep(0)
        assert "parent" == current().correlation_id
    assert "mine" == await task


def test_a_record_belongs_to_its_block() -> None:
    """Every recording starts at zero, nests, and is gone at the end."""
    assert current_record() is None
    with recording() as outer:
        outer.attempts = 3
        with recording() as inner:
            assert current_record() is inner
            assert CallRecord() == inner
        assert current_record() is outer
    assert current_record() is None

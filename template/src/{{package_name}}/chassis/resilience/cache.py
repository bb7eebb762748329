"""Cache: answers that are used again, and one call for all who ask for the same at once."""

import asyncio
import json
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol, get_type_hints

from pydantic import TypeAdapter, ValidationError

from ..contracts.call import CallRecord, current_record, recording
from ..contracts.context import current, entered
from ..contracts.identity import fingerprint
from ..contracts.json import to_json
from .deadlines import within
from .pipeline import Call, Proceed

if TYPE_CHECKING:
    from .shared import SharedState

MAX_ANSWERS = 1000
"""Answers of one provider that are kept in memory; the one used longest ago goes first."""


@dataclass(frozen=True, slots=True)
class Kept:
    """An answer and when it came, in seconds since 1970."""

    answer: Any
    came_at: float


class Answers(Protocol):
    """Where answers are kept."""

    async def load(self, key: str, call: Call) -> Kept | None:
        """Return what is kept under a key, however old."""
        ...

    async def store(self, key: str, kept: Kept, call: Call) -> None:
        """Keep an answer."""
        ...


class MemoryAnswers:
    """Answers in this process."""

    def __init__(self, ttl_s: float, now: Callable[[], float] = time.time) -> None:
        """Begin empty; an answer is forgotten after `ttl_s`."""
        self._ttl_s = ttl_s
        self._now = now
        self._kept: OrderedDict[str, Kept] = OrderedDict()

    async def load(self, key: str, call: Call) -> Kept | None:
        """Return what is kept under a key, however old."""
        del call
        kept = self._kept.get(key)
        if kept is None:
            return None
        if self._now() - kept.came_at >= self._ttl_s:
            del self._kept[key]
            return None
        self._kept.move_to_end(key)
        return kept

    async def store(self, key: str, kept: Kept, call: Call) -> None:
        """Keep an answer; the one used longest ago makes room for it."""
        del call
        self._kept[key] = kept
        self._kept.move_to_end(key)
        if len(self._kept) > MAX_ANSWERS:
            self._kept.popitem(last=False)


class SharedAnswers:
    """Answers that all replicas share; while Redis is away, nothing is kept."""

    def __init__(self, shared: "SharedState", ttl_s: float) -> None:
        """Take the shared state, and how long it keeps an answer."""
        self._shared = shared
        self._ttl_s = ttl_s

    async def load(self, key: str, call: Call) -> Kept | None:
        """Return what is kept under a key; what another release has written differently counts as nothing."""
        content = await self._shared.load(key)
        if content is None:
            return None
        try:
            document = json.loads(content)
            return Kept(_adapter(call).validate_python(document["answer"]), float(document["came_at"]))
        except (ValueError, KeyError, TypeError, ValidationError):
            return None

    async def store(self, key: str, kept: Kept, call: Call) -> None:
        """Keep an answer."""
        document = {"answer": _adapter(call).dump_python(kept.answer, mode="json"), "came_at": kept.came_at}
        await self._shared.store(key, json.dumps(document).encode(), self._ttl_s)


def _adapter(call: Call) -> TypeAdapter[Any]:
    return TypeAdapter(get_type_hints(call.method)["return"])


@dataclass(slots=True)
class _Flight:
    """A call that is under way, what it did, and how many wait for it."""

    task: asyncio.Task[Any]
    record: CallRecord
    waiting: int = 0


@dataclass(slots=True)
class Cache:
    """Returns a kept answer; otherwise one call serves all who ask for the same.

    The call is shielded: it goes on when the first who asked gives up, and ends when nobody waits any more. Each
    waits until its own deadline. `total_s` bounds the call itself. `configuration` tells apart what differently
    configured providers of one name answer.
    """

    answers: Answers
    ttl_s: float
    total_s: float
    configuration: str = ""
    now: Callable[[], float] = time.time
    name: str = "cache"
    _flights: dict[str, _Flight] = field(default_factory=dict)

    async def __call__(self, call: Call, proceed: Proceed) -> Any:
        """Return an answer; streams and the steering of long work are passed on."""
        key = self._key(call)
        if key is None:
            return await proceed(call)
        kept = await self.answers.load(key, call)
        if kept is not None and self.now() - kept.came_at < self.ttl_s:
            return kept.answer
        flight = self._flights.get(key)
        if flight is None:
            record = CallRecord()
            flight = _Flight(asyncio.create_task(self._load(key, call, proceed, record)), record)
            flight.task.add_done_callback(lambda task: task.cancelled() or task.exception())
            self._flights[key] = flight
        flight.waiting += 1
        try:
            return await within(call, asyncio.shield(flight.task))
        finally:
            flight.waiting -= 1
            _copy(flight.record)
            if flight.waiting == 0:
                flight.task.cancel()
                if self._flights.get(key) is flight:
                    del self._flights[key]

    async def kept(self, call: Call) -> Kept | None:
        """Return what is kept for a call, however old."""
        key = self._key(call)
        return None if key is None else await self.answers.load(key, call)

    async def _load(self, key: str, call: Call, proceed: Proceed, record: CallRecord) -> Any:
        alone = current()._replace(deadline=None).shortened(self.total_s)
        with entered(alone), recording(record):
            answer = await proceed(call)
            await self.answers.store(key, Kept(answer, self.now()), call)
            return answer

    def _key(self, call: Call) -> str | None:
        if call.pipe is not None or call.operation.control:
            return None
        try:
            arguments = {"args": to_json(call.args), "kwargs": to_json(call.kwargs)}
            return f"{call.provider}:{fingerprint(call.operation.name, arguments, {'by': self.configuration})}"
        except (TypeError, ValueError):
            return None


def _copy(record: CallRecord) -> None:
    """Have the caller's record say what the common call did."""
    mine = current_record()
    if mine is not None:
        mine.attempts += record.attempts

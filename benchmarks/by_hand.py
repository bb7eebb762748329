"""By hand: a call guarded as tightly as a careful author would write it; what the pipeline is held against.

Everything that the default pipeline does for a call, less its metrics and its warnings about retries and breakers,
stands in one function. Only what happens when something fails or is full is elsewhere: it costs an ordinary call
nothing. The limits are the defaults.
"""

import asyncio
import logging
import random
from collections import deque
from collections.abc import Sequence
from concurrent.futures import Future
from time import monotonic
from typing import Any, NoReturn, Protocol, cast

from object_service.chassis.contracts.call import HELD, current_record
from object_service.chassis.contracts.context import CURRENT, Context, current
from object_service.chassis.contracts.errors import (
    AdapterCircuitOpenError,
    AdapterDeadlineError,
    AdapterError,
    AdapterOverloadedError,
    AdapterRateLimitedError,
    AdapterResponseError,
    AdapterStreamInterruptedError,
    AdapterTimeoutError,
    AdapterTransientError,
    RequestState,
    ServiceError,
)

_log = logging.getLogger(__name__)

_TOTAL_S, _ATTEMPT_S = 120.0, 60.0
_ATTEMPTS, _BASE_S, _CAP_S, _MAX_RETRY_AFTER_S = 3, 0.1, 5.0, 30.0
_CAPACITY, _COST, _THROTTLE_COST = 500, 14, 5
_RATIO, _MINIMUM_CALLS, _SLICE_S, _CONSECUTIVE = 0.5, 20, 12.0, 5
_OPEN_S, _MAX_OPEN_S, _LEASE_S = 5.0, 60.0, 600.0
_COUNTED = (AdapterTransientError, AdapterResponseError, AdapterStreamInterruptedError)
_LOCAL = (AdapterCircuitOpenError, AdapterOverloadedError, AdapterDeadlineError)
_WHERE: dict[str, Any] = {"adapter": "provider", "operation": "ask"}


class Port(Protocol):
    """What every contender is, and what it guards."""

    async def ask(self, text: str) -> str:
        """Return an answer."""
        ...


class ByHand:
    """The guarded port; its state are plain attributes."""

    def __init__(self, port: Port, *, places: int = 50, queue: int = 100, logs: bool = True) -> None:
        """Begin closed, empty and with a full budget."""
        self.port = port
        self.logs = logs
        self.places, self.queue = places, queue
        self.in_use = 0
        self.waiters: deque[asyncio.Future[None]] = deque()
        self.tokens = _CAPACITY
        self.reopens_at: float | None = None
        self.open_s = _OPEN_S
        self.closed = object()
        self.probe: tuple[float] | None = None
        self.consecutive = 0
        self.slices: dict[int, list[int]] = {}
        self.slice = [0, 0]
        self.slice_ends_at = 0.0

    async def ask(self, text: str) -> str:  # noqa: C901, PLR0912, PLR0915 - in one function: a second one costs time
        """Return the answer of the port."""
        begun = monotonic()
        deadline = begun + _TOTAL_S
        context = CURRENT.get() or current()
        if context.deadline is None or deadline < context.deadline:
            context = tuple.__new__(Context, (context[0], context[1], context[2], deadline))
        else:
            deadline = context.deadline
            if deadline <= begun:
                raise self._logged(AdapterDeadlineError("the deadline passed", **_WHERE), begun)
        token = CURRENT.set(context)
        paid: tuple[int, ...] = ()
        try:
            while True:
                if self.reopens_at is not None:
                    self._look(paid)
                if self.in_use < self.places:
                    self.in_use += 1
                else:
                    await self._wait(deadline, paid)
                threads: list[Future[Any]] = []
                held = HELD.set(threads)
                try:
                    permit = self.closed if self.reopens_at is None else self._take_probe(paid)
                    limit = monotonic() + _ATTEMPT_S
                    timer = asyncio.timeout_at(limit if limit < deadline else deadline)  # noqa: FURB136 - cheaper
                    try:
                        async with timer:
                            record = current_record()
                            if record is not None:
                                record.attempts += 1
                            answer = await self.port.ask(text)
                    except BaseException as caught:  # noqa: BLE001 - every one is raised again, or repeated
                        error = self._failed(caught, permit, cut=timer.expired() and limit >= deadline)
                    else:
                        if permit is self.closed:
                            self.consecutive = 0
                            now = monotonic()
                            if now >= self.slice_ends_at:
                                self._next_slice(now)
                            self.slice[0] += 1
                        else:
                            self._probe_succeeded(permit)
                        if paid:
                            self.tokens = min(_CAPACITY, self.tokens + sum(paid))
                        elif self.tokens < _CAPACITY:
                            self.tokens += 1
                        if self.logs and _log.isEnabledFor(logging.INFO):
                            _log.info("provider_call_succeeded", extra=_fields(begun))
                        return answer
                finally:
                    HELD.reset(held)
                    if threads:
                        self._release_after(threads)
                    elif self.waiters:
                        self._release()
                    else:
                        self.in_use -= 1
                paid = await self._pause(error, paid, context)
        except ServiceError as final:
            self._logged(final, begun)
            raise
        finally:
            CURRENT.reset(token)

    def _logged(self, error: ServiceError, begun: float) -> ServiceError:
        if self.logs:
            level = logging.WARNING if isinstance(error, AdapterError) else logging.INFO
            fields = _fields(begun) | {"code": error.code, "error": str(error)}
            if error.__cause__ is not None:
                fields["cause"] = type(error.__cause__).__name__
            _log.log(level, "provider_call_failed", extra=fields)
        return error

    def _failed(self, caught: BaseException, permit: object, *, cut: bool) -> AdapterError:
        """Report to the breaker; return the error of an attempt, raise whatever is none."""
        error = _translated(caught, cut=cut)
        counts = isinstance(error, _COUNTED) and not isinstance(error, AdapterRateLimitedError)
        if permit is self.closed:
            if counts:
                now = monotonic()
                if now >= self.slice_ends_at:
                    self._next_slice(now)
                self.slice[1] += 1
                self.consecutive += 1
                if self._too_many():
                    self._open(_OPEN_S)
        elif permit is self.probe and self.probe is not None:
            alive = monotonic() < self.probe[0]
            self.probe = None
            if counts and alive:
                self._open(min(2 * self.open_s, _MAX_OPEN_S))
        if not isinstance(error, AdapterError):
            raise error
        return error

    async def _pause(self, error: AdapterError, paid: tuple[int, ...], context: Context) -> tuple[int, ...]:
        """Pay for another attempt and wait before it, or raise the error; return what was paid so far."""
        unclear = error.request_state is RequestState.UNKNOWN and context.idempotency_key is None
        final = not error.retryable or isinstance(error, _LOCAL) or unclear or len(paid) + 1 >= _ATTEMPTS
        pause_s = error.retry_after_s
        if pause_s is None:
            pause_s = random.random() * min(_CAP_S, _BASE_S * 2 ** len(paid))  # noqa: S311 - no secret
        elif pause_s > _MAX_RETRY_AFTER_S:
            raise error
        remaining_s = context.remaining_s()
        cost = _THROTTLE_COST if isinstance(error, AdapterRateLimitedError) else _COST
        if final or cost > self.tokens or (remaining_s is not None and pause_s >= remaining_s):
            raise error
        self.tokens -= cost
        await asyncio.sleep(pause_s)
        return (*paid, cost)

    def _refuse(self, error: AdapterError, paid: tuple[int, ...]) -> NoReturn:
        """Raise a refusal; the retry that it hits was no load on the provider."""
        if paid:
            self.tokens += paid[-1]
        raise error

    def _look(self, paid: tuple[int, ...]) -> None:
        now = monotonic()
        wait_s = cast("float", self.reopens_at) - now
        if wait_s <= 0 and self.probe is not None:
            wait_s = min(_OPEN_S, self.probe[0] - now)
        if wait_s > 0:
            self._refuse(AdapterCircuitOpenError("the circuit is open", retry_after_s=wait_s, **_WHERE), paid)

    def _take_probe(self, paid: tuple[int, ...]) -> object:
        self._look(paid)
        self.probe = (monotonic() + _LEASE_S,)
        return self.probe

    def _probe_succeeded(self, permit: object) -> None:
        if permit is self.probe and self.probe is not None and monotonic() < self.probe[0]:
            self.reopens_at = self.probe = None
            self.consecutive, self.slices, self.slice_ends_at = 0, {}, 0.0

    def _open(self, open_s: float) -> None:
        self.open_s, self.reopens_at = open_s, monotonic() + open_s
        self.probe, self.closed = None, object()

    def _too_many(self) -> bool:
        failed = sum(failures for _, failures in self.slices.values())
        calls = failed + sum(successes for successes, _ in self.slices.values())
        return self.consecutive >= _CONSECUTIVE or (calls >= _MINIMUM_CALLS and failed / calls >= _RATIO)

    def _next_slice(self, now: float) -> None:
        index = int(now / _SLICE_S)
        self.slices = {old: kept for old, kept in self.slices.items() if old > index - 10}
        self.slice = self.slices[index] = [0, 0]
        self.slice_ends_at = (index + 1) * _SLICE_S

    async def _wait(self, deadline: float, paid: tuple[int, ...]) -> None:
        if len(self.waiters) >= self.queue:
            self._refuse(AdapterOverloadedError("the bulkhead and its queue are full", **_WHERE), paid)
        waiter = asyncio.get_running_loop().create_future()
        self.waiters.append(waiter)
        try:
            async with asyncio.timeout_at(deadline):
                await waiter
        except BaseException as caught:
            if waiter.done() and not waiter.cancelled():
                self._release()
            elif waiter in self.waiters:
                self.waiters.remove(waiter)
            if isinstance(caught, TimeoutError):
                self._refuse(AdapterDeadlineError("the deadline passed", **_WHERE), paid)
            raise

    def _release(self) -> None:
        while self.waiters:
            waiter = self.waiters.popleft()
            if not waiter.done():
                waiter.set_result(None)
                return
        self.in_use -= 1

    def _release_after(self, threads: Sequence[Future[Any]]) -> None:
        left, loop = len(threads), asyncio.get_running_loop()

        def ended() -> None:
            nonlocal left
            left -= 1
            if left == 0:
                self._release()

        for thread in threads:
            thread.add_done_callback(lambda _: loop.call_soon_threadsafe(ended))


def _fields(begun: float) -> dict[str, object]:
    record = current_record()
    return {
        "provider": _WHERE["adapter"],
        "operation": _WHERE["operation"],
        "attempts": 0 if record is None else record.attempts,
        "duration_ms": round((monotonic() - begun) * 1000, 3),
    }


def _translated(caught: BaseException, *, cut: bool) -> BaseException:
    if cut and isinstance(caught, TimeoutError):
        return AdapterDeadlineError("the deadline passed", cause=caught, **_WHERE)
    if isinstance(caught, ServiceError) or not isinstance(caught, Exception):
        return caught
    made = AdapterTimeoutError if isinstance(caught, TimeoutError) else AdapterResponseError
    return made(f"untranslated {type(caught).__name__}", cause=caught, **_WHERE)

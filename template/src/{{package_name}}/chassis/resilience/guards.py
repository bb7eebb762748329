"""Guards: the steps that refuse or delay an attempt before it reaches the provider."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import Future
from contextvars import Context
from functools import partial
from typing import Any, Protocol

from ..contracts.call import HELD
from ..contracts.context import current
from ..contracts.errors import (
    AdapterCircuitOpenError,
    AdapterDeadlineError,
    AdapterError,
    AdapterOverloadedError,
    AdapterRateLimitedError,
    AdapterResponseError,
    AdapterStreamInterruptedError,
    AdapterTransientError,
    RequestState,
)
from ..contracts.identity import new_id
from .breaker import Breaker, Breakers, BreakerState, Permit
from .deadlines import within
from .limits import Bulkhead
from .pipeline import Call, Proceed
from .streams import do_nothing

_log = logging.getLogger(__name__)

_ASK_AGAIN_S = 1.0
_COUNTED = (AdapterTransientError, AdapterResponseError, AdapterStreamInterruptedError)
_HARMLESS: type[AdapterError] = AdapterRateLimitedError
"""What says that the provider fails; a limit of its rate does not."""


class Admission(Protocol):
    """Leave to probe, shared by all replicas."""

    async def admit(self, call: Call, token: str) -> bool:
        """Tell whether this probe may run."""
        ...

    def end(self, call: Call, token: str) -> None:
        """Give the place of a probe back, without waiting; a second time does nothing."""
        ...


class BreakerPeek:
    """Refuses at once while the breaker is open, before any place or turn is taken."""

    name = "breaker_peek"

    def __init__(self, breakers: Breakers) -> None:
        """Take the breakers of the provider."""
        self._breakers = breakers

    def __call__(self, call: Call, proceed: Proceed) -> Awaitable[Any]:
        """Pass the call on, or refuse it.

        Raises:
            AdapterCircuitOpenError: while the breaker lets nothing through.
        """
        refusal_s = self._breakers[call.operation.name].peek()
        if refusal_s is not None:
            raise _circuit_open(call, refusal_s)
        return proceed(call)


class RateGuard:
    """Waits for the turn of the attempt, at most `max_wait_s` and never beyond the deadline."""

    name = "rate_limit"

    def __init__(self, reserve: Callable[[float], Awaitable[tuple[bool, float]]], max_wait_s: float) -> None:
        """Take what reserves a turn; see `RateLimiter.reserve`."""
        self._reserve = reserve
        self._max_wait_s = max_wait_s
        self.waited: Callable[[float], None] = lambda _: None

    async def __call__(self, call: Call, proceed: Proceed) -> Any:
        """Begin the attempt in its turn.

        Raises:
            AdapterOverloadedError: when the turn would come too late.
        """
        remaining_s = current().remaining_s()
        most_s = self._max_wait_s if remaining_s is None else min(self._max_wait_s, remaining_s)
        taken, wait_s = await self._reserve(most_s)
        if not taken:
            raise _overloaded(call, "the rate limit is reached", wait_s)
        self.waited(wait_s)
        if wait_s > 0:
            await asyncio.sleep(wait_s)
        return await proceed(call)


class BulkheadGuard:
    """Holds a place while the attempt runs, queueing for it if there is none."""

    name = "bulkhead"

    def __init__(self, bulkhead: Bulkhead) -> None:
        """Take the places of the provider."""
        self._bulkhead = bulkhead

    async def __call__(self, call: Call, proceed: Proceed) -> Any:
        """Run the attempt in a place of its own.

        Raises:
            AdapterOverloadedError: when even the queue is full.
            AdapterDeadlineError: when the deadline passes in the queue.
        """
        bulkhead = self._bulkhead
        if not bulkhead.try_acquire():
            if bulkhead.full():
                raise _overloaded(call, "the bulkhead and its queue are full", None)
            try:
                await within(call, bulkhead.wait())
            except AdapterDeadlineError as error:
                error.request_state = RequestState.NOT_SENT
                raise
        threads: list[Future[Any]] = []
        token = HELD.set(threads)
        try:
            return await proceed(call)
        finally:
            HELD.reset(token)
            if threads:
                _when_ended(threads, bulkhead.release)
            else:
                bulkhead.release()


class BreakerGuard:
    """Reports to the breaker how attempts end; takes its permit last, so that who queued asks again.

    With `admission` the probes of a half-open breaker are shared by all replicas.
    """

    name = "breaker"

    def __init__(self, breakers: Breakers, admission: Admission | None = None) -> None:
        """Take the breakers of the provider."""
        self._breakers = breakers
        self._admission = admission

    def __call__(self, call: Call, proceed: Proceed) -> Awaitable[Any]:
        """Run the attempt with a permit.

        Raises:
            AdapterCircuitOpenError: when the breaker lets nothing through.
        """
        breaker = self._breakers[call.operation.name]
        permit = breaker.acquire()
        if not isinstance(permit, Permit):
            raise _circuit_open(call, permit)
        if not permit.probes:
            return _reported(call, proceed, breaker, permit)
        return self._probe(call, proceed, breaker, permit)

    async def _probe(self, call: Call, proceed: Proceed, breaker: Breaker, permit: Permit) -> Any:
        if self._admission is None:
            return await _reported(call, proceed, breaker, permit)
        token = new_id("probe")
        try:
            admitted = await self._admission.admit(call, token)
        except BaseException:
            breaker.release(permit)
            raise
        if not admitted:
            breaker.release(permit)
            raise _circuit_open(call, _ASK_AGAIN_S)
        end = partial(self._admission.end, call, token)
        try:
            return await _reported(call, proceed, breaker, permit, end)
        finally:
            end()


async def _reported(
    call: Call, proceed: Proceed, breaker: Breaker, permit: Permit, end: Callable[[], None] = do_nothing
) -> Any:
    if permit.probes and call.pipe is not None:
        # Its first piece shows that the provider is back; nobody has to wait for the end of a stream.
        def back() -> None:
            _succeeded(call, breaker, permit)
            end()

        call.pipe.on_start = back
    try:
        answer = await proceed(call)
    except AdapterError as error:
        if isinstance(error, _COUNTED) and not isinstance(error, _HARMLESS):
            before = breaker.state
            breaker.failure(permit)
            if before is not BreakerState.OPEN and breaker.state is BreakerState.OPEN:
                _log.warning("breaker_opened", extra=_where(call))
        else:
            breaker.release(permit)
        raise
    except BaseException:
        breaker.release(permit)
        raise
    if permit.probes:
        _succeeded(call, breaker, permit)
    else:
        breaker.success(permit)
    return answer


def _succeeded(call: Call, breaker: Breaker, probe: Permit) -> None:
    before = breaker.state
    breaker.success(probe)
    if before is not BreakerState.CLOSED and breaker.state is BreakerState.CLOSED:
        Context().run(_log.info, "breaker_closed", extra=_where(call))  # held back with no request: news of the process


def _when_ended(threads: Sequence[Future[Any]], release: Callable[[], None]) -> None:
    """Call `release` in the event loop once every thread has ended: none of them can be stopped."""
    loop = asyncio.get_running_loop()
    left = len(threads)

    def ended() -> None:
        nonlocal left
        left -= 1
        if left == 0:
            release()

    for thread in threads:
        thread.add_done_callback(lambda _: loop.call_soon_threadsafe(ended))


def _where(call: Call) -> dict[str, object]:
    return {"provider": call.provider, "operation": call.operation.name}


def _circuit_open(call: Call, retry_after_s: float) -> AdapterCircuitOpenError:
    return AdapterCircuitOpenError(
        "the circuit is open", adapter=call.provider, operation=call.operation.name, retry_after_s=retry_after_s
    )


def _overloaded(call: Call, message: str, retry_after_s: float | None) -> AdapterOverloadedError:
    return AdapterOverloadedError(
        message, adapter=call.provider, operation=call.operation.name, retry_after_s=retry_after_s
    )

"""Retry: repeats an attempt that failed, when the failure allows it and somebody pays for it."""

import logging
import random
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Any

from ..contracts.context import current
from ..contracts.errors import (
    AdapterCircuitOpenError,
    AdapterDeadlineError,
    AdapterError,
    AdapterOverloadedError,
    AdapterRateLimitedError,
    RequestState,
)
from . import settings
from .limits import RetryBudget
from .pipeline import Call, Proceed

_log = logging.getLogger(__name__)

LOCAL = (AdapterCircuitOpenError, AdapterOverloadedError, AdapterDeadlineError)
"""What this service decides by itself: nothing can be learnt from it about the provider."""


class Retry:
    """Makes the first attempt directly; only a failure costs more than passing the call on."""

    name = "retry"

    def __init__(
        self,
        limits: settings.Retry,
        budget: RetryBudget | None,
        pause: Callable[[float], Awaitable[bool]],
        chance: Callable[[], float] = random.random,
    ) -> None:
        """Take the limits; `pause` waits some seconds and returns False when the service is about to stop."""
        self._limits = limits
        self._budget = budget
        self._pause = pause
        self._chance = chance
        self.retries: Counter[str] = Counter()

    async def __call__(self, call: Call, proceed: Proceed) -> Any:
        """Return the first answer; the last failure passes through."""
        try:
            answer = await proceed(call)
        except AdapterError as error:
            return await self._repeat(call, proceed, error)
        if self._budget is not None:
            self._budget.first_success()
        return answer

    async def _repeat(self, call: Call, proceed: Proceed, error: AdapterError) -> Any:
        spent = 0
        for failed in range(1, self._limits.attempts):
            pause_s = self._pause_s(call, error, failed)
            cost = None if pause_s is None else self._pay(call, error)
            if pause_s is None or cost is None:
                break
            _log.warning("provider_call_retried", extra=_fields(call, error, failed + 1, pause_s))
            if not await self._paused(pause_s, cost):
                break
            asked = True
            try:
                answer = await proceed(call)
            except LOCAL as refusal:
                asked = refusal.request_state is not RequestState.NOT_SENT
                if not asked:
                    self._refund(cost)  # it has put no load on the provider
                raise
            except AdapterError as again:
                error, spent = again, spent + cost
            else:
                self._refund(spent + cost)
                return answer
            finally:
                self.retries[call.operation.name] += asked
        raise error

    async def _paused(self, pause_s: float, cost: int) -> bool:
        """Wait; what was paid comes back when the attempt is not made, because the caller or the service goes."""
        going_on = False
        try:
            going_on = await self._pause(pause_s)
        finally:
            if not going_on:
                self._refund(cost)
        return going_on

    def _pause_s(self, call: Call, error: AdapterError, failed: int) -> float | None:
        """Return how long to wait before the next attempt, or None where there must not be one."""
        keyed = self._limits.keys_count and current().idempotency_key is not None
        repeatable = call.operation.idempotent or keyed
        unclear = error.request_state is RequestState.UNKNOWN and not repeatable
        begun = call.pipe is not None and call.pipe.started
        if not error.retryable or isinstance(error, LOCAL) or unclear or begun:
            return None
        if error.retry_after_s is None:
            pause_s = self._chance() * min(self._limits.cap_s, self._limits.base_s * 2 ** (failed - 1))
        else:
            pause_s = error.retry_after_s
            if pause_s > self._limits.max_retry_after_s:
                return None
        remaining_s = current().remaining_s()
        return pause_s if remaining_s is None or pause_s < remaining_s else None

    def _pay(self, call: Call, error: AdapterError) -> int | None:
        if self._budget is None:
            return 0
        cost = self._budget.acquire(throttled=isinstance(error, AdapterRateLimitedError))
        if cost is None:
            _log.warning("retry_budget_exhausted", extra={"provider": call.provider, "operation": call.operation.name})
        return cost

    def _refund(self, cost: int) -> None:
        if self._budget is not None and cost:
            self._budget.refund(cost)


def _fields(call: Call, error: AdapterError, attempt: int, pause_s: float) -> dict[str, object]:
    return {
        "provider": call.provider,
        "operation": call.operation.name,
        "code": error.code,
        "error": str(error),
        "attempt": attempt,
        "pause_s": round(pause_s, 3),
    }

"""Libraries: the same port guarded by what is usually put together for it."""

import asyncio

import stamina
import tenacity
from aiolimiter import AsyncLimiter
from purgatory import AsyncCircuitBreakerFactory

from by_hand import Port
from object_service.chassis.contracts.errors import AdapterTransientError

_TOTAL_S, _ATTEMPT_S, _ATTEMPTS = 120.0, 60.0, 3
_FAILURES, _OPEN_S = 5, 5.0
_RATE_PER_S = 1_000_000
"""Never reached: what is measured is the limiter, not waiting for it."""


class Popular:
    """aiolimiter, a semaphore, purgatory and tenacity, with a timeout for the call and one for each attempt."""

    def __init__(self, port: Port, places: int = 50) -> None:
        """Begin closed and empty."""
        self._port = port
        self._limiter = AsyncLimiter(_RATE_PER_S, 1)
        self._semaphore = asyncio.Semaphore(places)
        self._breakers = AsyncCircuitBreakerFactory(_FAILURES, _OPEN_S)
        # As a decorator: one AsyncRetrying for all calls is not safe under concurrency, and so tenacity copies it.
        self._retried = tenacity.retry(
            stop=tenacity.stop_after_attempt(_ATTEMPTS),
            wait=tenacity.wait_random_exponential(0.1, 5),
            retry=tenacity.retry_if_exception_type(AdapterTransientError),
            reraise=True,
        )(self._attempt)

    async def ask(self, text: str) -> str:
        """Return the answer of the port."""
        async with asyncio.timeout(_TOTAL_S):
            return await self._retried(text)

    async def _attempt(self, text: str) -> str:
        breaker = await self._breakers.get_breaker("ask")
        async with self._limiter, self._semaphore, breaker, asyncio.timeout(_ATTEMPT_S):
            return await self._port.ask(text)


class Stamina:
    """stamina, with purgatory as its breaker and a timeout for each attempt."""

    def __init__(self, port: Port) -> None:
        """Begin closed."""
        self._port = port
        self._breakers = AsyncCircuitBreakerFactory(_FAILURES, _OPEN_S)
        self._retried = stamina.retry(on=AdapterTransientError, attempts=_ATTEMPTS, timeout=_TOTAL_S)(self._attempt)

    async def ask(self, text: str) -> str:
        """Return the answer of the port."""
        return await self._retried(text)

    async def _attempt(self, text: str) -> str:
        breaker = await self._breakers.get_breaker("ask")
        async with breaker, asyncio.timeout(_ATTEMPT_S):
            return await self._port.ask(text)

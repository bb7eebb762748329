"""The clock of the real world agrees with the event loop."""

import asyncio
from datetime import UTC, datetime, timedelta

import pytest

from object_service.chassis.clock import SystemClock


async def test_the_clock_tells_the_time_in_utc() -> None:
    """Moments are aware, seconds are on the scale of the event loop."""
    clock = SystemClock()

    assert timedelta(0) == clock.now().utcoffset()
    assert abs(clock.now() - datetime.now(UTC)) < timedelta(seconds=5)
    assert abs(clock.monotonic() - asyncio.get_running_loop().time()) < 1


async def test_sleeping_takes_time_and_can_be_cancelled() -> None:
    """A pause is at least as long as asked for; cancellation ends it at once."""
    clock = SystemClock()
    begun = clock.monotonic()
    await clock.sleep(0.01)
    assert clock.monotonic() - begun >= 0.009

    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.01):
            await clock.sleep(60)
    assert clock.monotonic() - begun < 30

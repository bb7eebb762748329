"""Waiting for what another task brings about."""

import asyncio
from collections.abc import Callable


async def until(condition: Callable[[], object], within_s: float = 20) -> None:
    """Return as soon as the condition holds.

    Raises:
        TimeoutError: if it does not hold in time.
    """
    async with asyncio.timeout(within_s):
        while not condition():  # noqa: ASYNC110 - what is waited for does not tell
            await asyncio.sleep(0.01)

"""Places: how many URLs are fetched at once, and how many of them for one caller."""

import asyncio
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from typing import Any

from ..contracts.call import HELD
from ..contracts.context import current
from ..contracts.errors import AdapterOverloadedError
from .failures import WHERE

_BUSY = "Too many URLs are fetched at once."


class Places:
    """Places of fetches; a caller who is known has at most half of them, so that there are some for others.

    The thread of a look-up cannot be stopped: a place is free again when it has ended too.
    """

    def __init__(self, most: int) -> None:
        """Begin with all of them free."""
        self._most, self._share = most, max(1, most // 2)
        self._taken = Counter[str | None]()

    @contextmanager
    def one(self) -> Iterator[None]:
        """Hold a place of the current caller for the block, and for the threads that it begins.

        Raises:
            AdapterOverloadedError: if there is none.
        """
        caller, total = current().caller, self._taken.total()
        if total >= self._most or (caller is not None and self._taken[caller] >= self._share):
            message = f"{total} URLs are being fetched, {self._taken[caller]} of them for this caller"
            raise AdapterOverloadedError(message, **WHERE, user_message=_BUSY)
        self._taken[caller] += 1
        threads: list[Future[Any]] = []
        token = HELD.set(threads)
        try:
            yield
        finally:
            HELD.reset(token)
            if threads and not threads[-1].done():  # a fetch has one at a time
                self._keep(caller, threads[-1])
            else:
                self._give_back(caller)

    def _keep(self, caller: str | None, thread: Future[Any]) -> None:
        loop = asyncio.get_running_loop()

        def ended(_: Future[Any]) -> None:
            with suppress(RuntimeError):  # the loop has ended before
                loop.call_soon_threadsafe(self._give_back, caller)

        thread.add_done_callback(ended)

    def _give_back(self, caller: str | None) -> None:
        self._taken[caller] -= 1
        if not self._taken[caller]:
            del self._taken[caller]

"""Heartbeat: keeps the lease of a worker, and takes over the jobs of workers whose lease has lapsed.

It lives in a thread and on a connection of its own: neither a busy event loop nor jobs that hold every connection make
a worker that is alive look dead.
"""

import logging
import os
import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from .leases import Leases

EXIT_LOST = 75
"""`EX_TEMPFAIL`: start me again. Source: sysexits.h."""

_BEATS = 6
"""How often a lease is renewed while it lasts."""

_log = logging.getLogger(__name__)


def leave() -> None:
    """End the process on the spot.

    The jobs run elsewhere by now. Only this ends whatever still runs here, threads included; a process that is started
    anew begins without anything left of the old one.
    """
    for handler in logging.getLogger().handlers:
        handler.flush()
    os._exit(EXIT_LOST)


@dataclass(frozen=True, slots=True, kw_only=True)
class Succession:
    """How jobs are taken over: who runs some, and what hands the jobs of an executor over; both block."""

    executors: Callable[[], Iterable[str]]
    hand_over: Callable[[str], int]


class Heartbeat:
    """Beats from `start` to `stop`.

    A worker that is cut off from the database goes on until it learns that its lease is gone: most often it is the
    database that is away, and then nobody can take anything over. Soon after that, and after the start, the leases
    themselves keep it from ending those of others.
    """

    def __init__(
        self, leases: Leases, executor_id: str, succession: Succession, lost: Callable[[], None] = leave
    ) -> None:
        """Take what to keep; `lost` is called in the thread, and does not return to a process that goes on."""
        self._leases = leases
        self._executor_id = executor_id
        self._succession = succession
        self._lost = lost
        self._every_s = leases.lease_s / _BEATS
        self._stopping = threading.Event()
        # A slow question about others does not keep this worker from telling that it is alive.
        self._threads = [threading.Thread(target=work, daemon=True) for work in (self._beat, self._succeed)]
        self._away = False

    def start(self) -> None:
        """Begin; the lease has been taken."""
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """End, and wait until both threads have ended."""
        self._stopping.set()
        for thread in self._threads:
            if thread.ident is not None:
                thread.join()

    def _beat(self) -> None:
        while not self._stopping.wait(self._every_s):
            try:
                kept = self._leases.renew(self._executor_id)
            except Exception as error:  # noqa: BLE001 - whatever it is, the worker has to go on telling
                if not self._away:
                    _log.warning("worker_cut_off", extra={"error": f"{type(error).__name__}: {error}"})
                self._away = True
                continue
            if not kept:
                _log.error("worker_lease_lost", extra={"executor": self._executor_id})
                self._lost()
                return
            if self._away:
                self._away = False
                _log.info("worker_reconnected", extra={"executor": self._executor_id})

    def _succeed(self) -> None:
        while not self._stopping.wait(self._every_s):
            if self._away:
                continue
            try:
                self._take_over()
            except Exception as error:  # noqa: BLE001 - tried again soon
                _log.warning("jobs_not_taken_over", extra={"error": f"{type(error).__name__}: {error}"})

    def _take_over(self) -> None:
        self._leases.end_lapsed(self._executor_id)
        # Whoever runs a job took a lease before: in this order nobody is missed who has just begun.
        running = set(self._succession.executors())
        for executor_id in sorted(running - self._leases.holders()):
            jobs = self._succession.hand_over(executor_id)
            _log.warning("jobs_taken_over", extra={"executor": executor_id, "jobs": jobs})

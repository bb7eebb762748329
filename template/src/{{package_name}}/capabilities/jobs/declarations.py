"""Declarations: the jobs, queues and schedules of a service, told before any of them runs."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field

from ...chassis.contracts.envelope import Failure
from ...chassis.contracts.json import Json

DEFAULT_QUEUE = "jobs"
"""Where jobs wait that name no queue."""

type JobFunction = Callable[[str, Mapping[str, Json]], Awaitable[Json]]
"""The code of a job: takes its id and its payload, returns plain JSON."""

type GiveUp = Callable[[str, Mapping[str, Json], Failure], Awaitable[None]]
"""Writes how a job ended that was cancelled, or is dead: takes its id, its payload and the reason."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """A kind of job; `max_attempts` follows the settings unless it is given.

    `timeout_s`, None for no limit, is the time from its first beginning to its end, in which it may rest, be handed
    back and be begun again; tried again by somebody, it has that time anew.

    With `give_up`, its code writes down how it ended; where it runs nowhere, `give_up` does so, and a second time
    changes nothing.
    """

    name: str
    function: JobFunction
    queue: str = DEFAULT_QUEUE
    timeout_s: float | None = None
    max_attempts: int | None = None
    give_up: GiveUp | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Queue:
    """A line in which jobs wait, by priority and then by age.

    `concurrency` counts over all processes (1: one after the other, in order), `per_process` in one of them;
    of `rate` = (jobs, seconds), not more than so many begin within so many seconds. `poll_interval_s`, how often a
    process looks for jobs, follows the settings; each queue more that is looked at often costs some CPU.
    """

    name: str
    concurrency: int | None = None
    per_process: int | None = None
    rate: tuple[int, float] | None = None
    poll_interval_s: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Schedule:
    """A job that is enqueued at times, once for all processes; `cron` has five fields, or six beginning with seconds.

    With `catch_up`, times that passed while no process ran are made good.
    """

    name: str
    cron: str
    job: str
    payload: Mapping[str, Json] = field(default_factory=dict)
    timezone: str = "UTC"
    catch_up: bool = False

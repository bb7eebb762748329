"""Endings: work that ended where its code could not write that down, such as a dead job, writes it here."""

import asyncio
import logging
from datetime import UTC, datetime, timedelta

from ...chassis.contracts.errors import ServiceError
from .management import STOP_S, JobManagement

EVERY_S = 10.0
"""How often such work is looked for."""

_OWN_S = 2 * STOP_S
"""How long the process that runs the work, or that cancels it, may take to write its end."""

_FIRST_LOOK = timedelta(days=1)
_OVERLAP = timedelta(minutes=1)
"""Clocks of machines differ."""

_log = logging.getLogger(__name__)


async def keep_ending(management: JobManagement) -> None:
    """Write the ends that nobody has written, until cancelled; safe to run by several at once."""
    after = datetime.now(UTC) - _FIRST_LOOK
    while True:
        try:
            after = await end_unwritten(management, after=after, now=datetime.now(UTC))
        except ServiceError as error:
            _log.debug("jobs_not_ended", extra={"error": str(error)})
        await asyncio.sleep(EVERY_S)


async def end_unwritten(management: JobManagement, *, after: datetime, now: datetime) -> datetime:
    """Write the ends of what ended since a time, and return the time to go on from."""
    before = now - timedelta(seconds=_OWN_S)
    for record in await management.unwritten(after=after, before=before):
        try:
            await management.end(record)
        except ServiceError:
            raise
        except Exception as error:  # noqa: BLE001 - one must not keep the others from their end
            reason = f"{type(error).__name__}: {error}"
            _log.warning("job_end_not_written", extra={"job_id": record.id, "error": reason})
        else:
            _log.info("job_end_written", extra={"job_id": record.id, "status": record.status})
    return before - _OVERLAP

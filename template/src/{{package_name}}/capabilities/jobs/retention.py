"""Retention: deletes jobs that finished long ago."""

import asyncio
import logging
from datetime import UTC, datetime, timedelta

from ...chassis.contracts.errors import ServiceError
from ...chassis.contracts.json import timestamp
from .jobs import Jobs, reached

EVERY_S = 3600.0
"""How often old jobs are looked for."""

_PAGE = 500
_FINISHED = ["SUCCESS", "ERROR", "CANCELLED", "MAX_RECOVERY_ATTEMPTS_EXCEEDED"]
_log = logging.getLogger(__name__)


async def delete_finished(jobs: Jobs, *, older_than: timedelta, now: datetime) -> int:
    """Delete jobs that finished earlier, with their steps, and return how many; safe to run by several at once."""
    before, deleted = timestamp(now - older_than), 0
    while True:
        with reached():
            found = await jobs.client.list_workflows_async(
                status=_FINISHED, completed_before=before, limit=_PAGE, load_input=False, load_output=False
            )
            await jobs.client.delete_workflows_async([one.workflow_id for one in found])
        deleted += len(found)
        if len(found) < _PAGE:
            return deleted


async def keep_deleting(jobs: Jobs, retention_days: float) -> None:
    """Delete old jobs every hour, until cancelled."""
    while True:
        try:
            deleted = await delete_finished(jobs, older_than=timedelta(days=retention_days), now=datetime.now(UTC))
        except ServiceError as error:
            _log.warning("old_jobs_not_deleted", extra={"error": str(error)})
        else:
            if deleted:
                _log.info("old_jobs_deleted", extra={"jobs": deleted})
        await asyncio.sleep(EVERY_S)

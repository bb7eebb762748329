"""Retention: deletes jobs that finished long ago."""

import asyncio
import logging
from datetime import UTC, datetime, timedelta
from typing import Any

from ...chassis.contracts.errors import ServiceError
from ...chassis.contracts.json import timestamp
from .jobs import Jobs, reached
from .records import ENGINE_FINISHED, ENGINE_UNFINISHED

EVERY_S = 3600.0
"""How often old jobs are looked for."""

_PAGE = 500
_BARE: dict[str, Any] = {"load_input": False, "load_output": False}
_log = logging.getLogger(__name__)


async def delete_finished(jobs: Jobs, *, older_than: timedelta, now: datetime) -> int:
    """Delete jobs that finished earlier, with their steps, and return how many; safe to run by several at once.

    A child stays as long as its parent, which may ask what it returned, has not finished.
    """
    deleted, kept = 0, 0
    asked: dict[str, Any] = {"status": ENGINE_FINISHED, "completed_before": timestamp(now - older_than), **_BARE}
    while True:
        with reached(told=True):
            found = await jobs.client.list_workflows_async(**asked, limit=_PAGE, offset=kept)
            parents = {one.parent_workflow_id for one in found if one.parent_workflow_id is not None}
            awaiting = await _unfinished(jobs, sorted(parents)) if parents else set()
            old = [one.workflow_id for one in found if one.parent_workflow_id not in awaiting]
            await jobs.client.delete_workflows_async(old)
        deleted, kept = deleted + len(old), kept + len(found) - len(old)
        if len(found) < _PAGE:
            return deleted


async def _unfinished(jobs: Jobs, ids: list[str]) -> set[str]:
    """Return those that may still ask what their children returned."""
    found = await jobs.client.list_workflows_async(workflow_ids=ids, status=ENGINE_UNFINISHED, **_BARE)
    return {one.workflow_id for one in found}


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

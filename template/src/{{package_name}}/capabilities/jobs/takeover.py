"""Takeover: the running jobs of an executor go back to their queues, for whoever has room (blocking).

A job that was handed over has a new owner: what its former run still does, it cannot record.
"""

from typing import Any

from dbos import DBOSClient, WorkflowStatus

from .declarations import DEFAULT_QUEUE
from .internals import hand_over, put_back

_RUNNING: dict[str, Any] = {"status": "PENDING", "load_input": False, "load_output": False}


def executors(client: DBOSClient) -> set[str]:
    """Return whoever runs jobs, as far as the engine knows."""
    return {one.executor_id for one in client.list_workflows(**_RUNNING) if one.executor_id is not None}


def running_on(client: DBOSClient, executor_id: str) -> list[WorkflowStatus]:
    """Return the jobs that an executor runs, as far as the engine knows."""
    return client.list_workflows(executor_id=executor_id, **_RUNNING)


def hand_over_all(client: DBOSClient, executor_id: str) -> int:
    """Return the running jobs of an executor that has ended to their queues, and how many there were."""
    found = running_on(client, executor_id)
    return sum(hand_over(client, one.workflow_id, executor_id, DEFAULT_QUEUE) for one in found)


def put_all_back(client: DBOSClient, executor_id: str) -> int:
    """Return the running jobs of an executor that ends in good order to their queues, and how many there were."""
    return sum(put_back(client, one.workflow_id, executor_id) for one in running_on(client, executor_id))

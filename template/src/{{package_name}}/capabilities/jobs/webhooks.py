"""Webhooks: tell one receiver, signed and until it has heard it, that long work has ended.

Whatever the object, the announcement is enqueued in the transaction that keeps the last envelope, so that there is one
if, and only if, there is the other. Each announcement is a job, and its id is the `webhook-id`: a receiver that gets
it twice knows that it is the same.
"""

import asyncio
import json
import logging
import random
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, override

from sqlalchemy.ext.asyncio import AsyncConnection

from ...chassis.contracts.envelope import Envelope, Failed, Finished, Succeeded
from ...chassis.contracts.errors import ServiceError
from ...chassis.contracts.json import Json, to_json
from ...chassis.http_failures import retry_after
from ...chassis.identity import SERVICE
from ..database.database import Database
from ..database.envelopes import DatabaseStore
from .declarations import Queue
from .jobs import Jobs, key_id
from .running import rest, step
from .webhook_settings import WebhookSection
from .webhook_signing import headers_of, keys_of

if TYPE_CHECKING:
    import httpx2

NAME = "webhook"
"""Of the jobs, one for each announcement."""

QUEUE = Queue(name="webhooks", poll_interval_s=2.0)
"""Where they wait; a receiver that hangs holds up nothing else."""

_STEP = "send"
_SPREAD = 0.1
_LONGEST_S = 24 * 3600.0
_GONE = 410
_log = logging.getLogger(__name__)


class DeliveryError(ServiceError):
    """The receiver did not take an announcement."""

    default_code = "webhook_failed"
    default_message = "The receiver did not take the announcement."
    default_retryable = True


class AnnouncingStore(DatabaseStore):
    """Keeps envelopes of durable work, and enqueues an announcement together with the one that is the last.

    Work that ends twice the same way, since its process ended in between, is announced once.
    """

    def __init__(
        self, database: Database, jobs: Jobs, *, compress_over_bytes: int, durable: Callable[[str], bool]
    ) -> None:
        """Keep envelopes in a database; `durable` tells whether the work of an envelope outlives this process."""
        # Without a lease of its own: a job goes on, whoever began it.
        super().__init__(database, compress_over_bytes=compress_over_bytes, lease_s=None)
        self._jobs = jobs
        self._durable = durable

    @override
    async def save_in(self, connection: AsyncConnection, envelope: Envelope[Any]) -> None:
        """Keep the envelope as a part of a transaction, and what announces it as another one."""
        await super().save_in(connection, envelope)
        if NAME not in self._jobs.declared or not self._durable(envelope.id):
            return
        if isinstance(envelope, Succeeded | Failed):
            id_ = key_id("evt", envelope.id, envelope.status)
            await self._jobs.enqueue_in(connection, NAME, event_of(envelope), id_=id_)


def event_of(envelope: Finished[Any]) -> dict[str, Json]:
    """Return what is announced: that it ended and how, and where to read the rest with the rights that it takes.

    The result is not part of it: it may have megabytes, and is nobody's who only listens.
    Source: Standard Webhooks 1.0.0, "Thin vs full payloads" and "Payload size" (20 kB).
    """
    made = envelope.provenance
    data: dict[str, Json] = {
        "id": envelope.id,
        "object": made.object,
        "status": envelope.status,
        "location": f"/v1/envelopes/{envelope.id}",
        "correlation_id": made.correlation_id,
    }
    if isinstance(envelope, Failed):
        data["error"] = to_json(envelope.error)
    return {"type": f"{made.object}.{envelope.status}", "timestamp": to_json(made.finished_at), "data": data}


class Deliveries:
    """Sends announcements; the client is opened by the first one."""

    def __init__(self, section: WebhookSection) -> None:
        """Take the receiver and how patient to be with it; the settings have been checked."""
        self._url = str(section.url)
        self._keys = keys_of("" if section.secret is None else section.secret.get_secret_value())
        self._timeout_s = section.timeout_s
        self._pauses_s = section.pauses_s
        self._client: httpx2.AsyncClient | None = None

    async def deliver(self, id_: str, event: Mapping[str, Json]) -> Json:
        """Send one announcement until it is taken, as a job, which gives its place away during the pauses.

        The last attempt is the step that a retry repeats.

        Raises:
            DeliveryError: if the receiver wants no more, or did not take it the last time either.
        """
        for attempt, pause_s in enumerate(self._pauses_s, 1):
            try:
                return await step(self._send, id_, event, attempt, name=_STEP)
            except DeliveryError as error:
                if not error.retryable:
                    raise
                spread_s = pause_s * random.uniform(1, 1 + _SPREAD)  # noqa: S311 - spreads load, keeps no secret
                await rest(max(spread_s, min(error.retry_after_s or 0, _LONGEST_S)))
        return await step(self._send, id_, event, len(self._pauses_s) + 1, name=_STEP)

    async def _send(self, id_: str, event: Mapping[str, Json], attempt: int) -> dict[str, Json]:
        fields: dict[str, object] = {"webhook_id": id_, "type": event["type"], "attempt": attempt}
        body = json.dumps(event, ensure_ascii=False, separators=(",", ":")).encode()
        try:
            status = await self._post(id_, body)
        except DeliveryError as error:
            final = attempt > len(self._pauses_s) or not error.retryable
            level = logging.ERROR if final else logging.WARNING
            _log.log(level, "webhook_failed", extra={**fields, "final": final, "error": str(error)})
            raise
        _log.info("webhook_delivered", extra={**fields, "status": status})
        return {"status": status, "attempt": attempt}

    async def _post(self, id_: str, body: bytes) -> int:
        """Make one attempt and return the status of success; nothing of the answer but its head is read."""
        import httpx2  # noqa: PLC0415 - 0.07 s that a service without webhook does not pay

        headers = headers_of(id_, int(time.time()), body, self._keys)
        headers |= {"Content-Type": "application/json", "User-Agent": SERVICE}
        if self._client is None:
            self._client = httpx2.AsyncClient(timeout=None, follow_redirects=False)
        try:
            async with (
                asyncio.timeout(self._timeout_s),
                self._client.stream("POST", self._url, content=body, headers=headers) as answer,
            ):
                status, asked_s = answer.status_code, retry_after(answer.headers.get("retry-after"))
        except TimeoutError as error:
            raise DeliveryError(f"no answer within {self._timeout_s:g} s") from error
        except httpx2.HTTPError as error:
            raise DeliveryError(f"no answer ({type(error).__name__})") from error
        if not answer.is_success:
            raise _refusal(status, asked_s)
        return status

    async def aclose(self) -> None:
        """Close the client."""
        if self._client is not None:
            await self._client.aclose()


def _refusal(status: int, retry_after_s: float | None) -> DeliveryError:
    if status == _GONE:
        return DeliveryError("HTTP 410: the receiver wants no more", code="webhook_gone", retryable=False)
    return DeliveryError(f"HTTP {status}", retry_after_s=retry_after_s)

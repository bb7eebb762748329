"""Pyannote: diarizes at pyannoteAI: the recording is uploaded, a job submitted, its end read or told.

The job id of the port is the vendor's with the length of the recording behind it, which the vendor does not tell: so it
is known after a restart too. The vendor deletes results after 24 hours and recordings after 48. It knows no idempotency
keys: what may have been submitted is never submitted again (see `PyannoteRetry`).

Source: https://docs.pyannote.ai/api-reference/diarize, /get-job and /upload-media.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Collection, Mapping
from urllib.parse import quote

from pydantic import BaseModel, HttpUrl, SecretStr, ValidationError

from ....chassis.contracts.errors import AdapterResponseError, AdapterTimeoutError, RequestError
from ....chassis.contracts.identity import new_id
from ....chassis.http_client import get_json, post_json, put_file
from ....chassis.http_failures import Where
from ....chassis.providers import ProviderKind, Resources
from ....domain.diarization import AudioFile, DiarizationParams, Diarizer, ProviderJob, ProviderState
from .mapping import Job, Upload, job_of, port_id, request_body, split_id
from .recording import check_recording
from .settings import PyannoteConfig
from .upload import is_safe
from .webhook import check_signature

_MAX_ENDS = 1000
_READ_S = 10.0
"""Longest time for reading a job: the limit of an attempt is made for uploads."""
_LARGE_BYTES = 1_000_000
"""Longer answers are taken apart in a thread: 200,000 turns would hold everybody else up for two seconds."""


class Pyannote:
    """One account: a client for the API, and one without the credential for uploads."""

    def __init__(self, config: PyannoteConfig, resources: Resources) -> None:
        """Open the clients; they are closed with the provider."""
        self._name, self._clock, self._config = resources.name, resources.clock, config
        self._client = resources.open_http(config)
        self._storage = resources.open_http(config, headers={})
        self._webhook: str | None = None
        self._ends: OrderedDict[str, ProviderState] = OrderedDict()

    async def start(self, audio: AudioFile, params: DiarizationParams, *, max_duration_s: float) -> str:
        """Upload the recording and submit a job; of files other than PCM WAV only the vendor sees how long they are.

        Raises:
            RequestError: `unreadable_audio`, if the file is empty, too large or too long.
            AdapterError: of the class that fits the failure.
        """
        duration_s = await asyncio.to_thread(check_recording, audio, max_duration_s)
        where = Where(adapter=self._name, operation="start")
        # Nobody can guess the key; the vendor takes letters, digits and -_./ in it.
        media = f"media://{new_id('rec')}"
        upload = _read(Upload, await post_json(self._client, "media/input", {"url": media}, **where), where)
        if not is_safe(upload.url, self._config.base_url.scheme):
            raise AdapterResponseError("the recording cannot be sent to the URL that was given", **where)
        await put_file(self._storage, upload.url, audio.path, **where)
        body = request_body(media, self._config.model, params, self._webhook)
        submitted = _read(Job, await post_json(self._client, "diarize", body, **where), where)
        return port_id(submitted.job_id, duration_s)

    async def get(self, job_id: str) -> ProviderJob:
        """Read the job; one that was cancelled here stays so, and is not asked for.

        Raises:
            AdapterError: of the class that fits the failure.
        """
        if self._ends.get(job_id) is ProviderState.CANCELLED:
            return ProviderJob(ProviderState.CANCELLED)
        where = Where(adapter=self._name, operation="get")
        vendor_id, duration_s = split_id(job_id)
        try:
            async with asyncio.timeout(_READ_S):
                content = await get_json(self._client, f"jobs/{quote(vendor_id, safe='')}", **where)
        except TimeoutError:
            raise AdapterTimeoutError(f"no answer in {_READ_S:g} s", **where) from None
        if len(content) > _LARGE_BYTES:
            job = await asyncio.to_thread(self._job, content, duration_s, where)
        else:
            job = self._job(content, duration_s, where)
        if job.state.ended:
            self._remember(job_id, job.state)
        return job

    async def cancel(self, job_id: str) -> None:
        """Count the job as cancelled, unless it was seen to have ended; the vendor cannot be told, and works on."""
        self._remember(job_id, self._ends.get(job_id, ProviderState.CANCELLED))

    async def aclose(self) -> None:
        """Close the connections."""
        try:
            await self._client.aclose()
        finally:
            await self._storage.aclose()

    def _remember(self, job_id: str, state: ProviderState) -> None:
        self._ends[job_id] = state
        while len(self._ends) > _MAX_ENDS:
            self._ends.popitem(last=False)

    def _job(self, content: bytes, duration_s: float | None, where: Where) -> ProviderJob:
        answer = _read(Job, content, where)
        try:
            return job_of(answer, self._config.model, duration_s)
        except ValueError:
            raise AdapterResponseError("the state or the result of the job cannot be right", **where) from None


class NotifyingPyannote(Pyannote):
    """An account whose jobs tell their end by a signed request; polling goes on, for requests that are lost."""

    def __init__(self, config: PyannoteConfig, resources: Resources, webhook: HttpUrl, secret: SecretStr) -> None:
        """Have jobs tell their end to the URL `webhook`."""
        super().__init__(config, resources)
        self._webhook, self._secret = str(webhook), secret

    def read_notification(
        self, headers: Mapping[str, str], body: bytes, *, awaited: Collection[str]
    ) -> tuple[str, ProviderJob] | None:
        """Check the signature and return which of the `awaited` jobs the vendor tells of; None for another one.

        Raises:
            RequestError: `unauthenticated` or `invalid_request`.
        """
        now_s, tolerance_s = self._clock.now().timestamp(), self._config.webhook_tolerance_s
        check_signature(headers, body, self._secret.get_secret_value(), now_s=now_s, tolerance_s=tolerance_s)
        try:
            told = Job.model_validate_json(body)
            for job_id in awaited:
                vendor_id, duration_s = split_id(job_id)
                if vendor_id == told.job_id:
                    return job_id, job_of(told, self._config.model, duration_s)
        except ValueError:
            raise RequestError("The notification cannot be read.") from None
        return None


def _read[B: BaseModel](model: type[B], content: bytes, where: Where) -> B:
    try:
        return model.model_validate_json(content)
    except ValidationError as error:
        # The text of a validation error would quote the answer.
        message = f"the answer is not what is expected ({error.error_count()} errors)"
        raise AdapterResponseError(message, **where) from None


def _build(config: PyannoteConfig, resources: Resources) -> Pyannote:
    url, secret = config.webhook_url, config.webhook_secret
    if url is None or secret is None:
        return Pyannote(config, resources)
    return NotifyingPyannote(config, resources, url, secret)


KIND: ProviderKind[PyannoteConfig, Diarizer] = ProviderKind(PyannoteConfig, _build)

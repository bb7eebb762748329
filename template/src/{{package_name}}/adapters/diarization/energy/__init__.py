"""Energy: diarizes WAV files on this machine by voice activity and simple acoustics; offline, free."""

import asyncio
import logging
import threading
from dataclasses import asdict, dataclass, field

from pydantic import Field

from ....chassis.concurrency import BlockingBridge
from ....chassis.contracts.errors import AdapterNotFoundError, AdapterOverloadedError, RequestError
from ....chassis.contracts.identity import new_id
from ....chassis.providers import ProviderConfig, ProviderKind, Resources
from ....domain.diarization import AudioFile, Diarization, DiarizationParams, Diarizer, ProviderJob, ProviderState
from .wav import UnreadableAudioError, WavFile, open_wav

_MAX_ENDED_JOBS = 1000
_log = logging.getLogger(__name__)


class EnergyConfig(ProviderConfig):
    """Settings of the offline diarizer."""

    max_threads: int = Field(default=1, ge=1, le=64, description="Recordings analysed at once; others wait.")
    max_jobs: int = Field(default=100, ge=1, description="Recordings that may be analysed or wait; more are refused.")


@dataclass(slots=True)
class _Job:
    progress: float | None = None
    stop: threading.Event = field(default_factory=threading.Event)
    task: asyncio.Task[Diarization] | None = None

    def snapshot(self) -> ProviderJob:
        if self.stop.is_set():
            return ProviderJob(ProviderState.CANCELLED)
        if self.task is None or not self.task.done():
            state = ProviderState.QUEUED if self.progress is None else ProviderState.RUNNING
            return ProviderJob(state, self.progress)
        error = asyncio.CancelledError() if self.task.cancelled() else self.task.exception()
        if error is not None:
            return ProviderJob(ProviderState.FAILED, reason=f"{type(error).__name__}: {error}")
        return ProviderJob(ProviderState.SUCCEEDED, 1.0, self.task.result())


class Energy:
    """Analyses recordings in threads of its own, so that the event loop stays free."""

    def __init__(self, name: str, max_threads: int, max_jobs: int) -> None:
        """Begin with no jobs."""
        self._name, self._max_jobs = name, max_jobs
        self._bridge = BlockingBridge(max_threads)
        self._open: dict[str, _Job] = {}
        self._ended: dict[str, _Job] = {}

    async def start(self, audio: AudioFile, params: DiarizationParams, *, max_duration_s: float) -> str:
        """Check the header, then analyse in the background.

        Raises:
            RequestError: `unreadable_audio`, saying what is wrong with the file.
            AdapterOverloadedError: if too many jobs have not ended; those go on.
        """
        try:
            wav = await asyncio.to_thread(open_wav, audio.path)
        except UnreadableAudioError as error:
            raise RequestError(str(error), code="unreadable_audio", pointer="/file") from error
        if wav.duration_s > max_duration_s:
            message = f"The recording lasts {wav.duration_s:.1f} s; at most {max_duration_s:g} s are accepted."
            raise RequestError(message, code="unreadable_audio", pointer="/file")
        if len(self._open) >= self._max_jobs:
            message = f"{self._max_jobs} jobs have not ended"
            raise AdapterOverloadedError(message, adapter=self._name, operation="start")
        job_id = new_id("nrg")
        job = self._open[job_id] = _Job()
        job.task = asyncio.create_task(self._bridge.run(lambda: _analyse(wav, params, job)))
        job.task.add_done_callback(lambda task: self._end(job_id, task))
        return job_id

    async def get(self, job_id: str) -> ProviderJob:
        """Read the job."""
        return self._job(job_id, "get").snapshot()

    async def cancel(self, job_id: str) -> None:
        """Tell the analysis to stop; its thread ends within a few seconds of audio."""
        job = self._job(job_id, "cancel")
        if job.task is None or not job.task.done():
            job.stop.set()

    async def aclose(self) -> None:
        """Stop every analysis and wait until the threads have ended."""
        for job in self._open.values():
            job.stop.set()
        await self._bridge.aclose()
        self._open, self._ended = {}, {}

    def _end(self, job_id: str, task: asyncio.Task[Diarization]) -> None:
        """Keep the job among those that have ended, of which the oldest are forgotten; tell of a failure."""
        error = None if task.cancelled() else task.exception()
        job = self._open.pop(job_id, None)
        if job is None:
            return
        if error is not None and not job.stop.is_set():
            _log.warning("analysis_failed", extra={"provider": self._name, "job_id": job_id}, exc_info=error)
        self._ended[job_id] = job
        while len(self._ended) > _MAX_ENDED_JOBS:
            del self._ended[next(iter(self._ended))]

    def _job(self, job_id: str, operation: str) -> _Job:
        job = self._open.get(job_id) or self._ended.get(job_id)
        if job is None:
            raise AdapterNotFoundError("no such job", adapter=self._name, operation=operation)
        return job


def _analyse(wav: WavFile, params: DiarizationParams, job: _Job) -> Diarization:
    from .analysis import analyse  # noqa: PLC0415 - brings numpy, which only a running analysis needs

    def report(progress: float) -> None:
        job.progress = progress

    report(0.0)
    return analyse(wav, **asdict(params), on_progress=report, cancelled=job.stop.is_set)


def _build(config: EnergyConfig, resources: Resources) -> Energy:
    return Energy(resources.name, config.max_threads, config.max_jobs)


KIND: ProviderKind[EnergyConfig, Diarizer] = ProviderKind(EnergyConfig, _build, offline=True)

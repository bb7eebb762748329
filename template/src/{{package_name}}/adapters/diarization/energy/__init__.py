"""Energy: diarizes WAV files on this machine by voice activity and simple acoustics; offline, free."""

import asyncio
import threading
from collections import OrderedDict
from dataclasses import dataclass, field

from pydantic import Field

from ....chassis.concurrency import BlockingBridge
from ....chassis.contracts.errors import AdapterNotFoundError, RequestError
from ....chassis.contracts.identity import new_id
from ....chassis.providers import ProviderConfig, ProviderKind, Resources
from ....domain.diarization import AudioFile, Diarization, DiarizationParams, Diarizer, ProviderJob, ProviderState
from .wav import UnreadableAudioError, WavFile, open_wav

_KEPT_JOBS = 1000


class EnergyConfig(ProviderConfig):
    """Settings of the offline diarizer."""

    max_threads: int = Field(default=1, ge=1, le=64, description="Recordings analysed at once; others wait.")


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
        if self.task.cancelled() or self.task.exception() is not None:
            return ProviderJob(ProviderState.FAILED)
        return ProviderJob(ProviderState.SUCCEEDED, 1.0, self.task.result())


class Energy:
    """Analyses recordings in threads of its own, so that the event loop stays free."""

    def __init__(self, name: str, max_threads: int) -> None:
        """Begin with no jobs."""
        self._name = name
        self._bridge = BlockingBridge(max_threads)
        self._jobs: OrderedDict[str, _Job] = OrderedDict()

    async def start(self, audio: AudioFile, params: DiarizationParams, *, max_duration_s: float) -> str:
        """Check the header, then analyse in the background.

        Raises:
            RequestError: `unreadable_audio`, saying what is wrong with the file.
        """
        try:
            wav = await asyncio.to_thread(open_wav, audio.path)
        except UnreadableAudioError as error:
            raise RequestError(str(error), code="unreadable_audio", pointer="/file") from error
        if wav.duration_s > max_duration_s:
            message = f"The recording lasts {wav.duration_s:.1f} s; at most {max_duration_s:g} s are accepted."
            raise RequestError(message, code="unreadable_audio", pointer="/file")
        job_id, job = new_id("nrg"), _Job()
        job.task = asyncio.create_task(self._bridge.run(lambda: _analyse(wav, params, job)))
        # Whoever reads the job learns of an exception; nobody needs to be told that it was never fetched.
        job.task.add_done_callback(lambda task: task.cancelled() or task.exception())
        self._jobs[job_id] = job
        while len(self._jobs) > _KEPT_JOBS:
            self._jobs.popitem(last=False)[1].stop.set()
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
        for job in self._jobs.values():
            job.stop.set()
        await self._bridge.aclose()
        self._jobs.clear()

    def _job(self, job_id: str, operation: str) -> _Job:
        job = self._jobs.get(job_id)
        if job is None:
            message = "no such job"
            raise AdapterNotFoundError(message, adapter=self._name, operation=operation)
        return job


def _analyse(wav: WavFile, params: DiarizationParams, job: _Job) -> Diarization:
    from .analysis import analyse  # noqa: PLC0415 - brings numpy, which only a running analysis needs

    def report(progress: float) -> None:
        job.progress = progress

    report(0.0)
    return analyse(
        wav,
        min_speakers=params.min_speakers,
        max_speakers=params.max_speakers,
        on_progress=report,
        cancelled=job.stop.is_set,
    )


def _build(config: EnergyConfig, resources: Resources) -> Energy:
    return Energy(resources.name, config.max_threads)


KIND: ProviderKind[EnergyConfig, Diarizer] = ProviderKind(EnergyConfig, _build, offline=True)

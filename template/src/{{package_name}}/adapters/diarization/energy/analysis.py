"""Offline diarization of one WAV file: speech by its level over the noise, speakers by pitch and spectral shape.

Limits, all of the method: one voice at a time (overlapping speech goes to one); voices of nearly the same pitch and
timbre are one speaker; speech more than 35 dB softer than the loudest of its minute is taken for background; music,
and any sound that comes and goes, is taken for speech, a steady sound is not; below about 10 dB of signal over noise
the soft ends of turns are lost. The numbers were set on synthetic voices only.
"""

from collections.abc import Callable, Iterator

import numpy as np

from ....domain.diarization import Diarization, Segment
from .activity import PAUSE_ROWS, active_rows
from .frames import HOPS_PER_S, AnalysisCancelledError, measure
from .speakers import Integers, label_rows
from .wav import WavFile

__all__ = ["AnalysisCancelledError", "analyse"]

_MEASURING = 0.9


def analyse(
    wav: WavFile,
    *,
    min_speakers: int | None,
    max_speakers: int | None,
    on_progress: Callable[[float], None],
    cancelled: Callable[[], bool],
) -> Diarization:
    """Who spoke when. Blocks; meant for a worker thread, from which both callbacks are called.

    None leaves the number of speakers to the recording (at most 20). Silence has no segments and no speakers. Times are
    multiples of 0.01 s, except the end of a turn that runs to the very end.

    Raises:
        AnalysisCancelledError: `cancelled` answered True; it is asked every 8 s of audio, and between the stages.
        UnreadableAudioError: the file became shorter since it was opened.
    """
    frames = measure(wav, lambda done: on_progress(_MEASURING * done), cancelled)
    active = active_rows(frames.levels_db)
    if cancelled():
        raise AnalysisCancelledError
    labels = label_rows(frames, active, min_speakers, max_speakers)
    segments = tuple(_segments(np.flatnonzero(active), labels[active], wav.duration_s))
    on_progress(1.0)
    return Diarization(
        tuple(dict.fromkeys(segment.speaker for segment in segments)), segments, duration_s=wav.duration_s
    )


def _segments(rows: Integers, labels: Integers, duration_s: float) -> Iterator[Segment]:
    """The turns: runs of one voice without a long pause. Voices get their names as they appear."""
    if len(rows) == 0:
        return
    breaks = np.flatnonzero((np.diff(rows) > PAUSE_ROWS) | (np.diff(labels) != 0))
    names: dict[int, str] = {}
    for first, last in zip([0, *(breaks + 1).tolist()], [*breaks.tolist(), len(rows) - 1], strict=True):
        name = names.setdefault(int(labels[first]), f"S{len(names) + 1}")
        end_s = min(duration_s, int(rows[last] + 1) / HOPS_PER_S)
        yield Segment(int(rows[first]) / HOPS_PER_S, end_s, name)

"""Scores of a diarization against reference turns: voice-activity error and diarization error; knows no adapter."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import permutations

import numpy as np
from numpy.typing import NDArray

GRID_S = 0.01
COLLAR_S = 0.25

Turn = tuple[float, float, str]
"""Start and end in seconds, and the speaker."""


@dataclass(frozen=True, slots=True)
class ActivityError:
    """Missed and false-alarm time as a share of the recording and of its speech. `worst` is the stricter one."""

    of_total: float
    of_speech: float

    @property
    def worst(self) -> float:
        """The larger share; infinite when something was found where nobody speaks."""
        return max(self.of_total, self.of_speech)


def activity_error(reference: Sequence[Turn], found: Sequence[Turn], duration_s: float) -> ActivityError:
    """How much of the time only one of the two says speech, on a grid of 10 ms, without a collar."""
    truth, guess = (_spoken(turns, duration_s) for turns in (reference, found))
    wrong, speech = int((truth != guess).sum()), int(truth.sum())
    return ActivityError(wrong / len(truth), wrong / speech if speech else float("inf") if wrong else 0.0)


def diarization_error(reference: Sequence[Turn], found: Sequence[Turn], duration_s: float) -> float:
    """Missed, false-alarm and confused time over reference speech, under the best mapping of speakers.

    Time within 0.25 s of a reference boundary is not scored.

    Source: NIST, Rich Transcription 2009 evaluation plan (md-eval).
    """
    scored = np.ones(_cells(duration_s), np.bool_)
    for start_s, end_s, _ in reference:
        for boundary_s in (start_s, end_s):
            scored[_cells(max(0.0, boundary_s - COLLAR_S)) : _cells(boundary_s + COLLAR_S)] = False
    truth, guess = (_by_speaker(turns, duration_s)[:, scored] for turns in (reference, found))
    said, heard = truth.sum(axis=0), guess.sum(axis=0)
    agreed = _best_agreement((truth.astype(int) @ guess.T.astype(int)).astype(int))
    errors = int(np.maximum(said, heard).sum()) - agreed
    return errors / max(1, int(said.sum()))


def _best_agreement(overlap: NDArray[np.int_]) -> int:
    """The most cells a one-to-one mapping of speakers can explain; fine for a handful of speakers."""
    small, large = sorted((overlap, overlap.T), key=len)[:2]
    columns = range(large.shape[0])
    pairs: Iterable[tuple[int, ...]] = permutations(columns, len(small))
    return max(sum(int(small[i, j]) for i, j in enumerate(chosen)) for chosen in pairs)


def _by_speaker(turns: Sequence[Turn], duration_s: float) -> NDArray[np.bool_]:
    """(speakers, cells); one empty speaker when there are none."""
    names = sorted({speaker for _, _, speaker in turns}) or [""]
    return np.array([_spoken([turn for turn in turns if turn[2] == name], duration_s) for name in names])


def _spoken(turns: Sequence[Turn], duration_s: float) -> NDArray[np.bool_]:
    cells = np.zeros(_cells(duration_s), np.bool_)
    for start_s, end_s, _ in turns:
        cells[_cells(start_s) : _cells(end_s)] = True
    return cells


def _cells(seconds: float) -> int:
    return round(seconds / GRID_S)

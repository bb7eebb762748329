"""Speakers: which rows of speech are one voice, by pitch and the shape of the spectrum. Not: what is speech.

Speech is cut into pieces of about a second; pieces are clustered; then every voiced row goes to the voice it resembles
most, with a price on changing the voice (Viterbi), which moves the changes to where they happen.
"""

from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from .frames import BANDS, HOPS_PER_S, Frames

MAX_SPEAKERS = 20
"""The most voices told apart when the caller names no maximum."""

Floats = NDArray[np.float32]
Integers = NDArray[np.intp]

_CEPSTRA = 12
_PITCH_SPREAD = 0.055
_CEPSTRAL_SPREAD = (3.8, 6.0, 5.5, 4.7, 3.1, 3.2, 2.7, 2.4, 2.1, 1.6, 1.4, 1.4)
_SAME_VOICE = 7.5
_SCATTER = 3000.0
_FEWEST_ROWS = 50
_PIECE_ROWS = 80
_PAUSE_ROWS = 20
_GROUP = 400
_ROUNDS = 4
_STEP_ROWS = 5
_FAR = 5.0
_CHANGE_COST = 60.0
_RANGE_DB = 45.0


def label_rows(
    frames: Frames, active: NDArray[np.bool_], min_speakers: int | None, max_speakers: int | None
) -> Integers:
    """The number of the voice of every active row, -1 elsewhere; numbers have no order and may have gaps.

    The limits are met as far as the recording has that many separate pieces of speech.
    """
    labels = np.where(active, 0, -1)
    rows = np.flatnonzero(active & np.isfinite(frames.pitch))
    if len(rows) < _FEWEST_ROWS or max_speakers == 1:
        return labels
    fewest, most = min_speakers or 1, max_speakers or max(MAX_SPEAKERS, min_speakers or 1)
    features = _features(frames, rows)
    centres, sizes = _centres(features, _pieces(rows))
    while len(centres) > _GROUP:
        parts = [slice(first, first + _GROUP) for first in range(0, len(centres), _GROUP)]
        merged = [_merge(centres[part], sizes[part], min(fewest, _GROUP // 2), _GROUP // 2) for part in parts]
        centres, sizes = (np.concatenate(side) for side in zip(*merged, strict=True))
    voiced = np.zeros(len(rows), np.intp)
    for _ in range(_ROUNDS):
        centres, sizes = _merge(centres, sizes, fewest, most)
        voiced = _assign(features, rows, centres)
        centres, sizes = _centres(features, voiced)
    nearest = np.searchsorted((rows[1:] + rows[:-1]) / 2, np.flatnonzero(active))
    labels[active] = voiced[nearest]
    return labels


def _features(frames: Frames, rows: Integers) -> Floats:
    """Pitch and cepstra of these rows, each divided by how much it varies between pieces of one voice."""
    levels = frames.levels_db[rows].astype(np.float32)
    np.maximum(levels, np.percentile(levels.max(axis=1), 98) - _RANGE_DB, out=levels)
    angles = np.outer(np.arange(BANDS) + 0.5, np.arange(1, _CEPSTRA + 1)) * np.pi / BANDS
    cosines = np.cos(angles) * np.sqrt(2 / BANDS) / np.array(_CEPSTRAL_SPREAD)
    features = np.empty((len(rows), _CEPSTRA + 1), np.float32)
    features[:, 0] = frames.pitch[rows] / _PITCH_SPREAD
    features[:, 1:] = levels @ cosines.astype(np.float32)
    return features


def _pieces(rows: Integers) -> Integers:
    """The number of the piece of every voiced row: cut at pauses, and inside them about every 0.8 voiced seconds."""
    edges = [0, *_after_pauses(rows).tolist(), len(rows)]
    cuts = [
        np.linspace(first, last, max(1, round((last - first) / _PIECE_ROWS)), endpoint=False).astype(int)
        for first, last in pairwise(edges)
    ]
    starts = np.concatenate(cuts)
    return np.repeat(np.arange(len(starts)), np.diff(starts, append=len(rows)))


def _after_pauses(rows: Integers) -> Integers:
    """Which of the voiced rows come after a break in the voice of 0.2 s or more."""
    return np.flatnonzero(np.diff(rows) > _PAUSE_ROWS) + 1


def _centres(features: Floats, labels: Integers) -> tuple[Floats, Floats]:
    """The median pitch (it shrugs off octave errors) and mean cepstra of every label, and its count of rows."""
    numbers, sizes = np.unique(labels, return_counts=True)
    groups = [features[labels == number] for number in numbers]
    centres = [np.append(np.median(group[:, 0]), group[:, 1:].mean(axis=0)) for group in groups]
    return np.array(centres, np.float32), sizes.astype(np.float32)


def _merge(centres: Floats, sizes: Floats, fewest: int, most: int) -> tuple[Floats, Floats]:
    """Merge the two nearest centres until no two can be one voice, within the limits."""
    centres, sizes = centres.copy(), sizes.copy()
    distances = np.stack([_distances(centres, sizes, number) for number in range(len(centres))])
    left = len(centres)
    while left > fewest:
        a, b = (int(index) for index in np.unravel_index(int(distances.argmin()), distances.shape))
        if distances[a, b] > 1 and left <= most:
            break
        centres[a] = np.average(centres[[a, b]], axis=0, weights=sizes[[a, b]])
        sizes[a] += sizes[b]
        sizes[b] = 0
        distances[a] = distances[:, a] = _distances(centres, sizes, a)
        distances[b] = distances[:, b] = np.inf
        left -= 1
    return centres[sizes > 0], sizes[sizes > 0]


def _distances(centres: Floats, sizes: Floats, number: int) -> Floats:
    """How far each centre is from this one: over 1 they are two voices (small ones scatter more); inf to itself."""
    spread = _SAME_VOICE**2 + _SCATTER * (1 / np.maximum(sizes, 1) + 1 / max(1.0, float(sizes[number])))
    distances = np.linalg.norm(centres - centres[number], axis=1) / np.sqrt(spread)
    distances[sizes == 0] = np.inf
    distances[number] = np.inf
    return np.asarray(distances, np.float32)


def _assign(features: Floats, rows: Integers, centres: Floats) -> Integers:
    """The voice of every voiced row: the cheapest path through steps of 5 rows, changes being dearer inside a burst."""
    starts = np.union1d(np.arange(0, len(rows), _STEP_ROWS), _after_pauses(rows))
    costs = np.stack([np.add.reduceat(_cost(features, centre), starts) for centre in centres], axis=1)
    gaps_s = (rows[starts] - rows[np.maximum(starts - 1, 0)]) / HOPS_PER_S
    prices = _CHANGE_COST / (1 + 4 * gaps_s)
    came_from = np.empty(costs.shape, np.int16)
    total = costs[0]
    stay = np.arange(len(centres))
    for step in range(1, len(costs)):
        best = int(total.argmin())
        change = total[best] + prices[step]
        changed = total > change
        came_from[step] = np.where(changed, best, stay)
        total = np.where(changed, change, total) + costs[step]
    path = np.empty(len(costs), np.intp)
    path[-1] = total.argmin()
    for step in range(len(costs) - 1, 0, -1):
        path[step - 1] = came_from[step, path[step]]
    return np.repeat(path, np.diff(starts, append=len(rows)))


def _cost(features: Floats, centre: Floats) -> Floats:
    """How unlike this voice each row is; one row may only say so much, for pitch slips by octaves."""
    pitch = np.minimum(np.square((features[:, 0] - centre[0]) / 4), _FAR)
    shape = np.square((features[:, 1:] - centre[1:]) / 3).sum(axis=1)
    return np.asarray(pitch + np.minimum(shape / 4, _FAR), np.float32)

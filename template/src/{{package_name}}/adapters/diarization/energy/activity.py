"""Voice activity: which rows of a recording hold speech, judged against the noise floor measured around them."""

import numpy as np
from numpy.typing import NDArray

from .frames import HOPS_PER_S

PAUSE_ROWS = round(0.55 * HOPS_PER_S)
"""A shorter pause belongs to the turn of the voice around it."""

Floats = NDArray[np.float32]

_BLOCK_ROWS = 60 * HOPS_PER_S
_STRONGEST = 3
_STAY_DB, _ENTER_DB = 3.5, 9.0
_QUIET_DB = 6.0
_RANGE_DB = 35.0
_AUDIBLE_DB = -85.0
_CLICK_ROWS = 3
_SHORTEST_ROWS = round(0.12 * HOPS_PER_S)


def active_rows(levels_db: NDArray[np.float16]) -> NDArray[np.bool_]:
    """True where a row holds speech; pauses inside a turn are False.

    A burst must reach 9 dB above the floor and lasts while it stays 3.5 dB above it (the mean of its three strongest
    bands). The floor is measured anew in blocks of about a minute; it is at most 35 dB below the loud rows there.
    """
    blocks = np.array_split(levels_db, max(1, round(len(levels_db) / _BLOCK_ROWS)))
    excess = np.concatenate([_excess(block.astype(np.float32)) for block in blocks])
    active = np.zeros(len(excess), np.bool_)
    for start, end in spans(excess > _STAY_DB):
        active[start:end] = end - start >= _CLICK_ROWS and excess[start:end].max() > _ENTER_DB
    for start, end in spans(active, PAUSE_ROWS):
        active[start:end] &= end - start >= _SHORTEST_ROWS
    return active


def spans(mask: NDArray[np.bool_], pause_rows: int = 1) -> list[tuple[int, int]]:
    """The runs of True as (start, end) rows, end excluded; runs less than `pause_rows` apart are one."""
    edges = np.flatnonzero(np.diff(mask, prepend=False, append=False))
    starts, ends = edges[::2], edges[1::2]
    apart = starts[1:] - ends[:-1] >= pause_rows
    first = np.concatenate(([True], apart))[: len(starts)]
    last = np.concatenate((apart, [True]))[-len(ends) :] if len(ends) else first
    return list(zip(starts[first].tolist(), ends[last].tolist(), strict=True))


def _excess(levels: Floats) -> Floats:
    """How far the strongest bands of every row stand above the floor of this block, in dB."""
    peaks = levels.max(axis=1)
    audible = peaks[peaks > _AUDIBLE_DB]
    lowest = max(_AUDIBLE_DB, float(np.percentile(audible, 98)) - _RANGE_DB) if len(audible) else 0.0
    floor = np.maximum(np.percentile(levels, 10, axis=0), lowest)
    excess = np.zeros(len(levels))
    for _ in range(3):
        excess = np.sort(np.maximum(levels - floor, 0), axis=1)[:, -_STRONGEST:].mean(axis=1)
        quiet = excess < _QUIET_DB
        if quiet.sum() >= HOPS_PER_S // 5:
            floor = np.maximum(levels[quiet].mean(axis=0) + 1, lowest)
    return np.asarray(excess, np.float32)

"""Short-time measurements of a recording: band levels and pitch, one row every 10 ms, alike at every sample rate."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import chain

import numpy as np
from numpy.typing import NDArray

from .wav import WavFile, read_mono

HOPS_PER_S = 100
BANDS = 20

_CHUNK_S = 8.0
_WINDOW_S = 0.03
_LAG_RATE_HZ = 8000
_BINS = 240  # twice zero-padded windows: a bin every 16.7 Hz, up to 4 kHz, at every sample rate
_BIN_HZ = _LAG_RATE_HZ / 2 / _BINS
_LOW_HZ, _HIGH_HZ = 80.0, 3700.0
_PITCH_BAND_HZ = 1000.0
_MIN_LAG, _MAX_LAG = 20, 114  # 400 Hz and 70 Hz
_OCTAVE_COST = 0.12
_VOICED = 0.6
_TINY = 1e-10

Floats = NDArray[np.float32]


class AnalysisCancelledError(Exception):
    """The caller asked to stop; nothing was produced."""


@dataclass(frozen=True, slots=True)
class Frames:
    """One row per 10 ms, centred on it.

    `levels_db` is (rows, BANDS), in dB of full scale, half precision to stay small; `pitch` is (rows,), in octaves
    above 1 Hz, NaN where the row has no pitch.
    """

    levels_db: NDArray[np.float16]
    pitch: Floats


def measure(wav: WavFile, on_progress: Callable[[float], None], cancelled: Callable[[], bool]) -> Frames:
    """Read the recording once, in chunks of a few seconds; progress runs from 0 to 1.

    Raises:
        AnalysisCancelledError: `cancelled` answered True before a chunk.
        UnreadableAudioError: the file became shorter.
    """
    rows = -(-wav.frames * HOPS_PER_S // wav.sample_rate_hz)
    frames = Frames(np.empty((rows, BANDS), np.float16), np.empty(rows, np.float32))
    window = np.hanning(round(_WINDOW_S * wav.sample_rate_hz) + 2)[1:-1].astype(np.float32)
    band_weights = _band_weights(wav.sample_rate_hz, window)
    row = 0
    for pieces in _pieces(wav, window.size, rows):
        if cancelled():
            raise AnalysisCancelledError
        spectrum = np.fft.rfft(pieces * window, 2 * window.size)[:, :_BINS]
        power = np.square(spectrum.real) + np.square(spectrum.imag)
        here = slice(row, row + len(pieces))
        frames.levels_db[here] = 10 * np.log10(power @ band_weights + _TINY)
        frames.pitch[here] = _pitch(power)
        row = here.stop
        on_progress(row / rows)
    return frames


def _pieces(wav: WavFile, size: int, rows: int) -> Iterator[Floats]:
    """The samples under the window of every row, many rows at a time; row i has its centre at i + 0.5 hops."""
    rate = wav.sample_rate_hz
    silence = np.zeros(size, np.float32)
    buffer = silence[: size // 2 - rate // (2 * HOPS_PER_S)]
    first_sample, row = 0, 0
    for chunk in chain(read_mono(wav, _CHUNK_S), [silence]):
        buffer = np.concatenate((buffer, chunk))
        last_start = first_sample + len(buffer) - size
        end = min(rows, -(-(last_start + 1) * HOPS_PER_S // rate))
        if end > row:
            starts = np.arange(row, end) * rate // HOPS_PER_S - first_sample
            yield np.lib.stride_tricks.sliding_window_view(buffer, size)[starts]
            row = end
        keep = row * rate // HOPS_PER_S - first_sample
        buffer = buffer[keep:]
        first_sample += keep


def _pitch(power: Floats) -> Floats:
    """The strongest peak of the autocorrelation, divided by that of the window; short lags win a close race.

    Source: P. Boersma, "Accurate short-term analysis of the fundamental frequency", IFA Proceedings 17, 1993.
    """
    bins = np.arange(_BINS) * _BIN_HZ
    voice = power * ((bins >= _LOW_HZ) & (bins <= _PITCH_BAND_HZ))
    correlation = np.fft.irfft(voice, 2 * _BINS)
    lags = np.arange(_MIN_LAG, _MAX_LAG + 1)
    x = lags / _BINS
    window = (1 - x) * (2 + np.cos(2 * np.pi * x)) / 3 + np.sin(2 * np.pi * x) / (2 * np.pi)
    strength = correlation[:, lags] / (correlation[:, :1] + _TINY) / window
    best = np.argmax(strength - _OCTAVE_COST * np.log2(lags), axis=1)
    voiced = np.take_along_axis(strength, best[:, None], axis=1)[:, 0] > _VOICED
    return np.where(voiced, np.log2(_LAG_RATE_HZ / lags[best]), np.nan).astype(np.float32)


def _band_weights(rate_hz: int, window: Floats) -> Floats:
    """Overlapping triangles, evenly spaced on the mel scale, for the bins up to 4 kHz.

    Source: D. O'Shaughnessy, "Speech Communication: Human and Machine", 1987 (2595 log10(1 + f / 700)).
    """
    low, high = 2595 * np.log10(1 + np.array([_LOW_HZ, _HIGH_HZ]) / 700)
    edges = 700 * (10 ** (np.linspace(low, high, BANDS + 2) / 2595) - 1)
    bins = np.arange(_BINS)[:, None] * rate_hz / (2 * window.size)
    rising = (bins - edges[:-2]) / (edges[1:-1] - edges[:-2])
    falling = (edges[2:] - bins) / (edges[2:] - edges[1:-1])
    weights = np.clip(np.minimum(rising, falling), 0, None) / window.sum() ** 2
    return np.asarray(weights, np.float32)

"""Recording: what can be seen of a file before it is sent away."""

import wave
from pathlib import Path

from ....chassis.contracts.errors import RequestError
from ....domain.diarization import AudioFile

_MAX_BYTES = 1024**3
"""Source: https://docs.pyannote.ai/api-reference/diarize, 1 GiB."""


def check_recording(audio: AudioFile, max_duration_s: float) -> float | None:
    """Return the length of a PCM WAV file in seconds, or None for another file: only the vendor can read that.

    Raises:
        RequestError: `unreadable_audio`, for a file that is empty, too large or too long.
    """
    duration_s = _duration_of(audio.path)
    wrong = None
    if audio.bytes == 0:
        wrong = "The file is empty; expected a recording."
    elif audio.bytes > _MAX_BYTES:
        wrong = f"The file has {audio.bytes} bytes; the provider takes at most {_MAX_BYTES}."
    elif duration_s is not None and duration_s > max_duration_s:
        wrong = f"The recording lasts {duration_s:.1f} s; at most {max_duration_s:g} s are accepted."
    if wrong is not None:
        raise RequestError(wrong, code="unreadable_audio", pointer="/file")
    return duration_s


def _duration_of(path: Path) -> float | None:
    """Read the header; what it claims counts only as far as the file goes.

    A file that was streamed and never finished claims no sound at all, with the sound behind it: its length is unknown.
    """
    try:
        with path.open("rb") as file, wave.open(file) as header:
            frame_bytes = header.getnchannels() * header.getsampwidth()
            present = path.stat().st_size - file.tell()
            if header.getnframes() == 0 and present > 0:
                return None
            return float(min(header.getnframes(), present // frame_bytes) / header.getframerate())
    # `wave` raises a bare RuntimeError where it cannot skip a chunk: a length is wrong, and other readers mind not.
    except (wave.Error, EOFError, ArithmeticError, RuntimeError):
        return None

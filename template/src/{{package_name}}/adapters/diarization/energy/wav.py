"""PCM WAV files: a checked header, and the samples as mono in bounded memory. Does not know what the samples mean."""

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

MIN_RATE_HZ = 8_000
MAX_RATE_HZ = 48_000
CHANNELS = (1, 2)
BITS = (8, 16, 24)
MAX_CHUNKS = 64

_PCM = 0x0001
_EXTENSIBLE = 0xFFFE
_RIFF_BYTES = 12
_CHUNK_BYTES = 8
_FMT_BYTES = 16
_EXTENSIBLE_BYTES = 40
_PCM_SUBFORMAT = bytes.fromhex("0100000000001000800000aa00389b71")
_STREAMED = 0xFFFFFFFF
_CUT_SHORT = ("The file ends within its header", "a whole WAV file")


class UnreadableAudioError(ValueError):
    """The file is not audio that can be read here. Its text is safe to show: it never says where the file lies."""

    def __init__(self, found: str, expected: str) -> None:
        """Begin with what the file is and what was expected, each a part of one sentence."""
        super().__init__(found, expected)

    def __str__(self) -> str:
        """One sentence: what was found; what was expected."""
        found, expected = self.args
        return f"{found}; expected {expected}."


@dataclass(frozen=True, slots=True)
class WavFile:
    """A WAV file whose header was checked. `frames` counts one sample of every channel; `data_offset` is in bytes."""

    path: Path
    sample_rate_hz: int
    channels: int
    bits: int
    frames: int
    data_offset: int

    @property
    def duration_s(self) -> float:
        """The length of the recording in seconds."""
        return self.frames / self.sample_rate_hz


def open_wav(path: Path) -> WavFile:
    """Read and check the header; the samples are not touched.

    The size field of the outer RIFF chunk is ignored (many writers leave it wrong); that of the data chunk is not.

    Raises:
        UnreadableAudioError: the file is not PCM WAV within the limits of this module, or its header lies.
        OSError: the file cannot be read at all.

    Source: Microsoft, "Multiple Channel Audio Data and WAVE Files" (WAVEFORMATEX, WAVEFORMATEXTENSIBLE).
    """
    file_bytes = path.stat().st_size
    _check(file_bytes > 0, "The file is empty", "a WAV file")
    with path.open("rb") as file:
        head = file.read(_RIFF_BYTES)
        like_wav = b"RIFF".startswith(head[:4]) and b"WAVE".startswith(head[8:])
        _check(like_wav, "The file does not begin with a RIFF/WAVE header", "a WAV file")
        _check(len(head) == _RIFF_BYTES, *_CUT_SHORT)
        fmt, data_bytes = _walk(file)
        offset = file.tell()
    rate_hz, channels, bits = _format(fmt)
    frames = _frames(data_bytes, file_bytes - offset, channels * bits // 8)
    return WavFile(path, rate_hz, channels, bits, frames, offset)


def read_mono(wav: WavFile, chunk_s: float) -> Iterator["NDArray[np.float32]"]:
    """The samples in order, `chunk_s` seconds at a time, between -1 and 1, both channels averaged.

    Raises:
        UnreadableAudioError: the file became shorter since its header was read.
    """
    per_chunk = max(1, int(chunk_s * wav.sample_rate_hz))
    frame_bytes = wav.channels * wav.bits // 8
    with wav.path.open("rb") as file:
        file.seek(wav.data_offset)
        for position in range(0, wav.frames, per_chunk):
            wanted = min(per_chunk, wav.frames - position) * frame_bytes
            raw = file.read(wanted)
            _check(len(raw) == wanted, "The file became shorter while it was read", "no change")
            yield _decode(raw, wav)


def _check(holds: bool, found: str, expected: str) -> None:  # noqa: FBT001 - reads like an assertion
    if not holds:
        raise UnreadableAudioError(found, expected)


def _walk(file: BinaryIO) -> tuple[bytes, int]:
    """The body of the fmt chunk and the size of the data chunk; leaves the file at the first sample."""
    fmt = b""
    for _ in range(MAX_CHUNKS):
        head = file.read(_CHUNK_BYTES)
        _check(head != b"", f"The file has no {'data' if fmt else 'fmt'} chunk", "a fmt and a data chunk")
        _check(len(head) == _CHUNK_BYTES, *_CUT_SHORT)
        name, size = struct.unpack("<4sI", head)
        if name == b"data":
            _check(fmt != b"", "The file has no fmt chunk before its data chunk", "fmt first")
            return fmt, size
        body_end = file.tell() + size + size % 2
        if name == b"fmt ":
            fmt = file.read(min(size, _EXTENSIBLE_BYTES))
            _check(len(fmt) == min(size, _EXTENSIBLE_BYTES), *_CUT_SHORT)
            _check(size >= _FMT_BYTES, f"The fmt chunk has {size} bytes", f"at least {_FMT_BYTES}")
        file.seek(body_end)
    raise UnreadableAudioError(found=f"The file has {MAX_CHUNKS} chunks before its samples", expected="fewer")


def _format(fmt: bytes) -> tuple[int, int, int]:
    """Rate, channels and bits of a fmt chunk, all within the limits."""
    tag, channels, rate_hz, _, block_bytes, bits = struct.unpack_from("<HHIIHH", fmt)
    is_pcm = tag == _PCM or (tag == _EXTENSIBLE and fmt[24:] == _PCM_SUBFORMAT)
    fitting = channels * bits // 8
    _check(is_pcm, f"The samples are not PCM (format 0x{tag:04X})", "uncompressed PCM")
    _check(MIN_RATE_HZ <= rate_hz <= MAX_RATE_HZ, f"The rate is {rate_hz} Hz", f"{MIN_RATE_HZ} to {MAX_RATE_HZ} Hz")
    _check(channels in CHANNELS, f"The number of channels is {channels}", "1 or 2")
    _check(bits in BITS, f"The samples have {bits} bits", "8, 16 or 24")
    _check(block_bytes == fitting, f"The block align is {block_bytes} bytes", f"{fitting}")
    return rate_hz, channels, bits


def _frames(data_bytes: int, available_bytes: int, frame_bytes: int) -> int:
    """How many whole frames the data chunk holds; refuses a size that the file does not keep."""
    is_open = data_bytes == _STREAMED or (data_bytes == 0 and available_bytes > 0)
    claim = f"The header claims {data_bytes} bytes of audio but {available_bytes} follow"
    _check(not is_open, "The header leaves the size of the audio open (a stream)", "the real size")
    _check(data_bytes <= available_bytes, claim, "the whole file")
    _check(data_bytes >= frame_bytes, "The file holds no audio (0 frames)", "at least 1 frame")
    return data_bytes // frame_bytes


def _decode(raw: bytes, wav: WavFile) -> "NDArray[np.float32]":
    """Little-endian PCM as mono float32; 8 bit is unsigned, the others signed."""
    import numpy as np  # noqa: PLC0415 - numpy comes with the first samples, not with the header

    sample_bytes = wav.bits // 8
    widened = np.zeros((len(raw) // sample_bytes, 4), np.uint8)
    widened[:, -sample_bytes:] = np.frombuffer(raw, np.uint8).reshape(-1, sample_bytes)
    if sample_bytes == 1:
        widened ^= np.array([0, 0, 0, 0x80], np.uint8)
    samples = widened.view("<i4")[:, 0].astype(np.float32) * np.float32(2.0**-31)
    return samples if wav.channels == 1 else samples.reshape(-1, 2).mean(axis=1, dtype=np.float32)

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
_BYTE = 8


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
    if file_bytes == 0:
        raise UnreadableAudioError(found="The file is empty", expected="a WAV file")
    with path.open("rb") as file:
        head = file.read(_RIFF_BYTES)
        if not _is_like(head[:4], b"RIFF") or not _is_like(head[8:], b"WAVE"):
            raise UnreadableAudioError(found="The file does not begin with a RIFF/WAVE header", expected="a WAV file")
        if len(head) < _RIFF_BYTES:
            raise _truncated()
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
            if len(raw) < wanted:
                raise UnreadableAudioError(found="The file became shorter while it was read", expected="no change")
            yield _decode(raw, wav)


def _walk(file: BinaryIO) -> tuple[bytes, int]:
    """The body of the fmt chunk and the size of the data chunk; leaves the file at the first sample."""
    fmt: bytes | None = None
    for _ in range(MAX_CHUNKS):
        head = file.read(_CHUNK_BYTES)
        if not head:
            missing = "fmt" if fmt is None else "data"
            raise UnreadableAudioError(found=f"The file has no {missing} chunk", expected="fmt and data chunks")
        if len(head) < _CHUNK_BYTES:
            raise _truncated()
        name, size = struct.unpack("<4sI", head)
        if name == b"data" and fmt is None:
            raise UnreadableAudioError(found="The file has no fmt chunk before its data chunk", expected="fmt first")
        if name == b"data" and fmt is not None:
            return fmt, size
        body_end = file.tell() + size + size % 2
        if name == b"fmt ":
            fmt = file.read(min(size, _EXTENSIBLE_BYTES))
            if len(fmt) < min(size, _EXTENSIBLE_BYTES):
                raise _truncated()
        file.seek(body_end)
    raise UnreadableAudioError(found=f"The file has {MAX_CHUNKS} chunks before its samples", expected="fewer")


def _format(fmt: bytes) -> tuple[int, int, int]:
    """Rate, channels and bits of a fmt chunk, all within the limits."""
    if len(fmt) < _FMT_BYTES:
        raise UnreadableAudioError(found=f"The fmt chunk has {len(fmt)} bytes", expected=f"at least {_FMT_BYTES}")
    tag, channels, rate_hz, _, block_bytes, bits = struct.unpack_from("<HHIIHH", fmt)
    extensible_pcm = tag == _EXTENSIBLE and fmt[24:] == _PCM_SUBFORMAT
    if tag != _PCM and not extensible_pcm:
        raise UnreadableAudioError(found=f"The samples are not PCM (format 0x{tag:04X})", expected="uncompressed PCM")
    if not MIN_RATE_HZ <= rate_hz <= MAX_RATE_HZ:
        raise UnreadableAudioError(found=f"The rate is {rate_hz} Hz", expected=f"{MIN_RATE_HZ} to {MAX_RATE_HZ} Hz")
    if channels not in CHANNELS:
        raise UnreadableAudioError(found=f"The file has {channels} channels", expected="1 or 2")
    if bits not in BITS:
        raise UnreadableAudioError(found=f"The samples have {bits} bits", expected="8, 16 or 24")
    if block_bytes != channels * bits // 8:
        raise UnreadableAudioError(found=f"The block align is {block_bytes} bytes", expected=f"{channels * bits // 8}")
    return rate_hz, channels, bits


def _frames(data_bytes: int, available_bytes: int, frame_bytes: int) -> int:
    """How many whole frames the data chunk holds; refuses a size that the file does not keep."""
    if data_bytes == _STREAMED or (data_bytes == 0 and available_bytes > 0):
        raise UnreadableAudioError(found="The header leaves the size of the audio open", expected="the real size")
    if data_bytes > available_bytes:
        found = f"The header claims {data_bytes} bytes of audio but {available_bytes} follow"
        raise UnreadableAudioError(found, expected="the whole file")
    if data_bytes < frame_bytes:
        raise UnreadableAudioError(found="The file holds no audio (0 frames)", expected="at least 1")
    return data_bytes // frame_bytes


def _decode(raw: bytes, wav: WavFile) -> "NDArray[np.float32]":
    """Little-endian PCM as mono float32; 8 bit is unsigned, the others signed."""
    import numpy as np  # noqa: PLC0415 - numpy comes with the first samples, not with the header

    full_scale = np.float32(2.0 ** (1 - wav.bits))
    if wav.bits == _BYTE:
        samples = (np.frombuffer(raw, np.uint8).astype(np.float32) - np.float32(128)) * full_scale
    elif wav.bits == 2 * _BYTE:
        samples = np.frombuffer(raw, "<i2").astype(np.float32) * full_scale
    else:
        widened = np.zeros((len(raw) // 3, 4), np.uint8)
        widened[:, 1:] = np.frombuffer(raw, np.uint8).reshape(-1, 3)
        samples = widened.view("<i4")[:, 0].astype(np.float32) * np.float32(2.0**-31)
    return samples if wav.channels == 1 else samples.reshape(-1, 2).mean(axis=1, dtype=np.float32)


def _is_like(head: bytes, magic: bytes) -> bool:
    """Whether the bytes are the magic, or as much of it as the file had."""
    return magic.startswith(head)


def _truncated() -> UnreadableAudioError:
    return UnreadableAudioError(found="The file ends within its header", expected="a whole WAV file")

"""WAV files for tests: samples written in any format that the energy diarizer reads."""

import struct
from pathlib import Path

import numpy as np
from numpy.typing import NDArray


def fmt_chunk(
    tag: int = 1, channels: int = 1, rate_hz: int = 8000, bits: int = 16, block_bytes: int | None = None
) -> bytes:
    """A fmt chunk of 16 bytes; the block align fits unless another is given."""
    block = channels * bits // 8 if block_bytes is None else block_bytes
    return b"fmt " + struct.pack("<IHHIIHH", 16, tag, channels, rate_hz, rate_hz * block, block, bits)


def extensible_chunk(bits: int = 16, subformat: int = 1) -> bytes:
    """A WAVE_FORMAT_EXTENSIBLE fmt chunk, mono, 8 kHz."""
    plain = struct.pack("<HHIIHH", 0xFFFE, 1, 8000, 1000 * bits, bits // 8, bits)
    guid = struct.pack("<H", subformat) + bytes.fromhex("0000000010008000 00aa00389b71")
    return b"fmt " + struct.pack("<I", 40) + plain + struct.pack("<HHI", 22, bits, 4) + guid


def data_chunk(data: bytes, size: int | None = None) -> bytes:
    """A data chunk; it tells the truth about its size unless another is given."""
    return b"data" + struct.pack("<I", len(data) if size is None else size) + data


def riff(*chunks: bytes) -> bytes:
    """The chunks as one WAV file."""
    body = b"WAVE" + b"".join(chunks)
    return b"RIFF" + struct.pack("<I", len(body)) + body


def encode(samples: NDArray[np.float64], bits: int) -> bytes:
    """The samples (between -1 and 1) as little-endian PCM."""
    top = 2 ** (bits - 1)
    whole = np.clip(np.rint(samples * top), -top, top - 1).astype("<i4").reshape(-1, 1)
    coded = (whole + 128).astype(np.uint8) if bits == 8 else whole.view(np.uint8)[:, : bits // 8]
    return bytes(coded.tobytes())


def write_wav(
    path: Path,
    samples: NDArray[np.float64],
    rate_hz: int = 8000,
    channels: int = 1,
    bits: int = 16,
) -> Path:
    """Write mono samples, the same in every channel, and give the path back."""
    data = encode(np.repeat(samples, channels), bits)
    path.write_bytes(riff(fmt_chunk(1, channels, rate_hz, bits), data_chunk(data)))
    return path

"""WAV headers are checked before a sample is read, and samples come out the same whatever their format."""

from pathlib import Path

import numpy as np
import pytest

from object_service.adapters.diarization.energy.wav import UnreadableAudioError, WavFile, open_wav, read_mono
from wavfiles import data_chunk, encode, extensible_chunk, fmt_chunk, riff, write_wav

GOOD = riff(fmt_chunk(), data_chunk(bytes(8)))
ODD_CHUNK = b"LIST" + (3).to_bytes(4, "little") + b"abc\0"
BAD_FILES = {
    "empty": (b"", "is empty"),
    "text": (b"hello, this is not audio at all", "RIFF/WAVE"),
    "avi": (GOOD.replace(b"WAVE", b"AVI "), "RIFF/WAVE"),
    "half-a-riff-header": (GOOD[:7], "ends within its header"),
    "half-a-chunk-header": (GOOD[:15], "ends within its header"),
    "half-a-fmt-chunk": (GOOD[:26], "ends within its header"),
    "no-chunks": (riff(), "no fmt chunk"),
    "no-data-chunk": (riff(fmt_chunk()), "no data chunk"),
    "no-fmt-chunk": (riff(data_chunk(bytes(8))), "no fmt chunk"),
    "data-before-fmt": (riff(data_chunk(bytes(8)), fmt_chunk()), "no fmt chunk"),
    "short-fmt-chunk": (riff(b"fmt \x08\0\0\0" + bytes(8), data_chunk(bytes(8))), "fmt chunk has 8 bytes"),
    "endless-chunks": (riff(*[ODD_CHUNK] * 1000, fmt_chunk(), data_chunk(bytes(8))), "64 chunks"),
    "chunk-past-the-end": (riff(fmt_chunk(), b"LIST\xff\xff\xff\x7f"), "no data chunk"),
    "float": (riff(fmt_chunk(tag=3, bits=32), data_chunk(bytes(8))), "not PCM"),
    "mu-law": (riff(fmt_chunk(tag=7, bits=8), data_chunk(bytes(8))), "not PCM"),
    "extensible-float": (riff(extensible_chunk(subformat=3), data_chunk(bytes(8))), "not PCM"),
    "extensible-cut": (riff(fmt_chunk(tag=0xFFFE), data_chunk(bytes(8))), "not PCM"),
    "rate-zero": (riff(fmt_chunk(rate_hz=0), data_chunk(bytes(8))), "0 Hz"),
    "rate-too-low": (riff(fmt_chunk(rate_hz=7999), data_chunk(bytes(8))), "7999 Hz"),
    "rate-too-high": (riff(fmt_chunk(rate_hz=96000), data_chunk(bytes(8))), "96000 Hz"),
    "no-channels": (riff(fmt_chunk(channels=0), data_chunk(bytes(8))), "channels is 0"),
    "three-channels": (riff(fmt_chunk(channels=3), data_chunk(bytes(12))), "channels is 3"),
    "twelve-bits": (riff(fmt_chunk(bits=12), data_chunk(bytes(8))), "12 bits"),
    "32-bits": (riff(fmt_chunk(bits=32), data_chunk(bytes(8))), "32 bits"),
    "block-align-too-large": (riff(fmt_chunk(block_bytes=4), data_chunk(bytes(8))), "block align is 4"),
    "block-align-zero": (riff(fmt_chunk(block_bytes=0), data_chunk(bytes(8))), "block align is 0"),
    "no-frames": (riff(fmt_chunk(), data_chunk(b"")), "0 frames"),
    "half-a-frame": (riff(fmt_chunk(), data_chunk(b"\0")), "0 frames"),
    "lying-size": (riff(fmt_chunk(), data_chunk(bytes(8), size=9)), "claims 9 bytes of audio but 8 follow"),
    "cut-off": (GOOD[:-1], "claims 8 bytes of audio but 7 follow"),
    "streamed-all-ones": (riff(fmt_chunk(), data_chunk(bytes(8), size=0xFFFFFFFF)), "leaves the size"),
    "streamed-zero": (riff(fmt_chunk(), data_chunk(bytes(8), size=0)), "leaves the size"),
}


@pytest.mark.parametrize(("content", "said"), BAD_FILES.values(), ids=BAD_FILES)
def test_a_bad_file_is_refused(content: bytes, said: str, tmp_path: Path) -> None:
    """Each refusal says what was found and what was expected, and not where the file lies."""
    path = tmp_path / "bad.wav"
    path.write_bytes(content)
    with pytest.raises(UnreadableAudioError, match=said) as refused:
        open_wav(path)
    assert "; expected " in str(refused.value)
    assert str(tmp_path) not in str(refused.value)


@pytest.mark.parametrize(
    ("content", "offset"),
    [
        (GOOD, 44),
        (riff(ODD_CHUNK, fmt_chunk(), ODD_CHUNK, data_chunk(bytes(8)), ODD_CHUNK), 68),
        (riff(extensible_chunk(), data_chunk(bytes(8))), 68),
        (riff(fmt_chunk(), data_chunk(bytes(9), size=9)), 44),
    ],
    ids=["plain", "odd-chunks-around", "extensible", "odd-data-size"],
)
def test_a_good_header_is_understood(content: bytes, offset: int, tmp_path: Path) -> None:
    """Other chunks are skipped with their padding; the extensible form of PCM is PCM."""
    path = tmp_path / "good.wav"
    path.write_bytes(content)
    assert WavFile(path, 8000, 1, 16, 4, offset) == open_wav(path)


@pytest.mark.parametrize("bits", [8, 16, 24])
def test_samples_are_scaled_to_one(bits: int, tmp_path: Path) -> None:
    """Every depth is read between -1 and 1, in chunks that add up."""
    samples = np.array([-1.0, -0.5, 0.0, 0.5, 0.25, -0.25, 0.0])
    wav = open_wav(write_wav(tmp_path / "a.wav", samples, bits=bits))
    chunks = list(read_mono(wav, 3 / 8000))
    assert [3, 3, 1] == [len(chunk) for chunk in chunks]
    assert samples.tolist() == np.concatenate(chunks).tolist()
    assert {np.dtype(np.float32)} == {chunk.dtype for chunk in chunks}


def test_channels_are_averaged(tmp_path: Path) -> None:
    """Stereo becomes the mean of both channels."""
    path = tmp_path / "stereo.wav"
    data = encode(np.array([0.5, -0.5, 0.5, 0.25, 0.0, -1.0]), 16)
    path.write_bytes(riff(fmt_chunk(channels=2), data_chunk(data)))
    assert [0.0, 0.375, -0.5] == np.concatenate(list(read_mono(open_wav(path), 1.0))).tolist()


def test_a_file_that_shrinks_is_refused(tmp_path: Path) -> None:
    """A file cut after its header was read is unreadable, not silently short."""
    wav = open_wav(write_wav(tmp_path / "a.wav", np.zeros(100)))
    wav.path.write_bytes(wav.path.read_bytes()[:-50])
    with pytest.raises(UnreadableAudioError, match="became shorter"):
        list(read_mono(wav, 1.0))

"""The offline diarizer finds who spoke when, within its bounds of error, time and memory."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from object_service.adapters.diarization.energy.analysis import AnalysisCancelledError, analyse
from object_service.adapters.diarization.energy.wav import open_wav
from object_service.domain.diarization import Diarization
from scoring import Turn, activity_error, diarization_error
from wavfiles import data_chunk, encode, fmt_chunk, riff, write_wav

Samples = NDArray[np.float64]

ROOT = Path(__file__).parent.parent
DATA = Path(__file__).parent / "data"
RECORDINGS = {
    "two_speakers": ROOT / "template" / "examples" / "two_speakers.wav",
    "no_pause": DATA / "no_pause.wav",
    "three_speakers": DATA / "three_speakers.wav",
}
RATE_HZ = 8000
NOISES = [("none", 0), ("white", 20), ("white", 10), ("pink", 20), ("pink", 10)]
HOUR = """
import resource, sys
from pathlib import Path
from object_service.adapters.diarization.energy.wav import open_wav
wav = open_wav(Path(sys.argv[1]))
assert "numpy" not in sys.modules, "opening a file must not load numpy"
from object_service.adapters.diarization.energy.analysis import analyse
found = analyse(wav, min_speakers=None, max_speakers=None, on_progress=lambda done: None, cancelled=lambda: False)
usage = resource.getrusage(resource.RUSAGE_SELF)
status = Path("/proc/self/status")  # ru_maxrss would count the parent of this process too
peaks = [line.split()[1] for line in status.read_text().splitlines() if line.startswith("VmHWM")]
print(len(found.speakers), len(found.segments), usage.ru_utime + usage.ru_stime, int(peaks[0]) / 1024)
"""


def recording(name: str) -> tuple[Samples, list[Turn]]:
    """The samples and the reference turns of a committed recording (8 kHz, 16 bit, mono)."""
    reference = json.loads((DATA / f"{name}.json").read_text(encoding="utf-8"))
    turns = [(turn["start_s"], turn["end_s"], turn["speaker"]) for turn in reference["turns"]]
    return np.frombuffer(RECORDINGS[name].read_bytes()[44:], "<i2") / 2**15, turns


def noise(count: int, kind: str) -> Samples:
    """Noise of unit power; the same at every call."""
    white = np.random.default_rng(1).standard_normal(count)
    if kind == "pink":
        white = np.fft.irfft(np.fft.rfft(white) / np.sqrt(np.maximum(1, np.arange(count // 2 + 1))), count)
    unit: Samples = white / np.sqrt(np.mean(white**2))
    return unit


def only(samples: Samples, turns: list[Turn]) -> Samples:
    """The samples with silence everywhere but in these turns."""
    kept = np.zeros_like(samples)
    for start_s, end_s, _ in turns:
        here = slice(round(start_s * RATE_HZ), round(end_s * RATE_HZ))
        kept[here] = samples[here]
    return kept


def noisy(samples: Samples, turns: list[Turn], kind: str, snr_db: float) -> Samples:
    """The samples with noise, `snr_db` below the mean power of the speech."""
    if kind == "none":
        return samples
    speech_s = sum(end_s - start_s for start_s, end_s, _ in turns)
    power = np.sum(only(samples, turns) ** 2) / (speech_s * RATE_HZ)
    return samples + noise(len(samples), kind) * float(np.sqrt(power) * 10 ** (-snr_db / 20))


def diarize(path: Path, min_speakers: int | None = None, max_speakers: int | None = None) -> Diarization:
    """Open and analyse a file, nobody watching."""
    return analyse(
        open_wav(path),
        min_speakers=min_speakers,
        max_speakers=max_speakers,
        on_progress=lambda _: None,
        cancelled=lambda: False,
    )


def length_of(found: Diarization) -> float:
    """The length of the recording, which this diarizer knows."""
    assert found.duration_s is not None
    return found.duration_s


def turns_of(found: Diarization) -> list[Turn]:
    """The segments as the scores want them."""
    return [(segment.start_s, segment.end_s, segment.speaker) for segment in found.segments]


@pytest.mark.parametrize(("kind", "snr_db"), NOISES, ids=[f"{kind}-{snr}dB" for kind, snr in NOISES])
@pytest.mark.parametrize("name", RECORDINGS)
def test_speech_and_speakers_are_found(name: str, kind: str, snr_db: int, tmp_path: Path) -> None:
    """Speech is found within 2 % and speakers within 10 %, clean and in noise."""
    samples, turns = recording(name)
    found = diarize(write_wav(tmp_path / "a.wav", noisy(samples, turns, kind, snr_db)))
    assert activity_error(turns, turns_of(found), length_of(found)).worst <= 0.02
    assert diarization_error(turns, turns_of(found), length_of(found)) <= 0.10
    assert len({speaker for _, _, speaker in turns}) == len(found.speakers)


def test_speakers_are_named_in_order_of_first_speech(tmp_path: Path) -> None:
    """Segments are ordered, do not overlap, stay inside the recording and carry S1, S2, ... as voices appear."""
    samples, _ = recording("three_speakers")
    found = diarize(write_wav(tmp_path / "a.wav", samples))
    times = [time for segment in found.segments for time in (segment.start_s, segment.end_s)]
    assert ("S1", "S2", "S3") == found.speakers
    assert ["S1", "S2", "S3", "S1", "S3"] == [segment.speaker for segment in found.segments]
    assert sorted(times) == times
    assert times[-1] <= length_of(found) == len(samples) / RATE_HZ


@pytest.mark.parametrize("speaker", ["ben", "anna"])
def test_one_voice_is_one_speaker(speaker: str, tmp_path: Path) -> None:
    """A recording of one voice has one speaker, all of its turns and nothing else."""
    samples, turns = recording("two_speakers")
    own = [turn for turn in turns if turn[2] == speaker]
    found = diarize(write_wav(tmp_path / "a.wav", only(samples, own)))
    assert ("S1",) == found.speakers
    assert activity_error(own, turns_of(found), length_of(found)).worst <= 0.02


@pytest.mark.parametrize("level", [0.0, 0.001, 0.1], ids=["digital-zero", "low-noise", "loud-noise"])
@pytest.mark.parametrize("kind", ["white", "pink"])
def test_steady_noise_and_silence_have_no_segments(kind: str, level: float, tmp_path: Path) -> None:
    """Where nobody speaks there are no segments and no speakers, however loud the noise."""
    found = diarize(write_wav(tmp_path / "a.wav", noise(70 * RATE_HZ, kind) * level))
    assert ((), ()) == (found.speakers, found.segments)


def test_a_constant_tone_is_not_speech(tmp_path: Path) -> None:
    """A steady tone is part of the floor."""
    tone = 0.3 * np.sin(2 * np.pi * 440 * np.arange(5 * RATE_HZ) / RATE_HZ)
    assert () == diarize(write_wav(tmp_path / "a.wav", tone)).segments


@pytest.mark.parametrize("count", [1, 2, 79, 81, 240, 1000])
def test_clips_shorter_than_a_frame_are_analysed(count: int, tmp_path: Path) -> None:
    """A clip of a single sample, or a few, has a result like any other."""
    found = diarize(write_wav(tmp_path / "a.wav", noise(count, "white") * 0.1))
    assert count / RATE_HZ == found.duration_s


@pytest.mark.parametrize("bits", [8, 16, 24])
@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("rate_hz", [8000, 16000, 22050, 44100, 48000])
def test_turns_do_not_depend_on_the_format(rate_hz: int, channels: int, bits: int, tmp_path: Path) -> None:
    """Every rate, channel count and depth gives the same turns, within 0.2 s."""
    samples, turns = recording("two_speakers")
    length = len(samples) * rate_hz // RATE_HZ
    resampled = np.fft.irfft(np.fft.rfft(samples), length) * (length / len(samples))
    found = diarize(write_wav(tmp_path / "a.wav", resampled, rate_hz, channels, bits))
    expected = [time for start_s, end_s, _ in turns for time in (start_s, end_s)]
    assert ["S1", "S2"] * 3 == [segment.speaker for segment in found.segments]
    assert pytest.approx(expected, abs=0.2) == [
        time for start_s, end_s, _ in turns_of(found) for time in (start_s, end_s)
    ]


@pytest.mark.parametrize(("fewest", "most", "speakers"), [(None, 1, 1), (None, 2, 2), (3, 3, 3), (4, None, 4)])
def test_the_caller_may_bound_the_speakers(fewest: int | None, most: int | None, speakers: int, tmp_path: Path) -> None:
    """A minimum and a maximum number of speakers are kept."""
    samples, _ = recording("three_speakers")
    found = diarize(write_wav(tmp_path / "a.wav", samples), fewest, most)
    assert speakers == len(found.speakers)


def test_progress_rises_to_one(tmp_path: Path) -> None:
    """Progress never falls and ends at 1."""
    samples, _ = recording("two_speakers")
    seen: list[float] = []
    wav = open_wav(write_wav(tmp_path / "a.wav", np.tile(samples, 3)))
    analyse(wav, min_speakers=None, max_speakers=None, on_progress=seen.append, cancelled=lambda: False)
    assert sorted(seen) == seen
    assert seen[-1] == 1.0
    assert len(seen) > 4


def test_a_cancelled_analysis_stops(tmp_path: Path) -> None:
    """The analysis ends within 8 s of audio after the caller asks it to."""
    samples, _ = recording("two_speakers")
    seen: list[float] = []
    wav = open_wav(write_wav(tmp_path / "a.wav", np.tile(samples, 10)))
    with pytest.raises(AnalysisCancelledError):
        analyse(wav, min_speakers=None, max_speakers=None, on_progress=seen.append, cancelled=lambda: len(seen) >= 2)
    assert len(seen) == 2


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="the peak of memory is read from Linux")
def test_an_hour_is_analysed_in_bounded_time_and_memory(tmp_path: Path) -> None:
    """One hour at 16 kHz takes at most 60 s of processor time and 150 MB, numpy included."""
    samples, turns = recording("two_speakers")
    doubled = np.fft.irfft(np.fft.rfft(samples), 2 * len(samples)) * 2
    tiles = 3600 * 2 * RATE_HZ // len(doubled)
    data = encode(doubled, 16) * tiles
    path = tmp_path / "hour.wav"
    path.write_bytes(riff(fmt_chunk(rate_hz=2 * RATE_HZ), data_chunk(data)))
    command = [sys.executable, "-c", HOUR, str(path)]
    run = subprocess.run(
        command,
        cwd=ROOT / "dev",
        env={"PYTHONPATH": "."},
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    speakers, segments, cpu_s, peak_mb = (float(word) for word in run.stdout.split())
    assert (2, tiles * len(turns)) == (speakers, segments)
    assert cpu_s <= 60
    assert peak_mb <= 150

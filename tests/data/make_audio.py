"""The recipe of the committed recordings and of their reference turns.

Run `python tests/data/make_audio.py` after a change: it needs espeak-ng on the path and numpy; the tests need neither
the program nor this module. The same espeak-ng release gives the same bytes.

What counts as speech: each turn is synthesised on its own and trimmed to its first and last 10 ms frame that lies
within 30 dB of the loudest frame of the turn. The trimmed turns are then laid out with digital silence in between, so
the reference marks exactly what was laid out. Pauses inside a turn (a comma, a plosive; all shorter than 0.55 s) are
part of it.
"""

import json
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

Samples = NDArray[np.float64]

DATA = Path(__file__).parent
EXAMPLES = DATA.parent.parent / "template" / "examples"
RATE_HZ = 8000
FRAME = RATE_HZ // 100
TRIM_DB = 30.0
LEVEL = 0.1


@dataclass(frozen=True, slots=True)
class Voice:
    """An espeak-ng voice with its pitch (0 to 99) and its rate in words per minute."""

    name: str
    pitch: int
    words_per_minute: int = 170


@dataclass(frozen=True, slots=True)
class Turn:
    """What one voice says, and the silence in seconds before it."""

    speaker: str
    pause_s: float
    text: str


@dataclass(frozen=True, slots=True)
class Script:
    """One recording: its voices by speaker, and its turns in order."""

    voices: dict[str, Voice]
    turns: tuple[Turn, ...]


ANNA_AND_BEN = Script(
    voices={"ben": Voice("en-us+m3", 35), "anna": Voice("en-us+f3", 60)},
    turns=(
        Turn("ben", 0.4, "Good morning Anna, are you ready?"),
        Turn("anna", 0.6, "Yes, here are the numbers."),
        Turn("ben", 0.6, "How many orders came in?"),
        Turn("anna", 0.6, "Nine hundred, more than ever."),
        Turn("ben", 0.6, "Well done."),
        Turn("anna", 0.6, "Thank you Ben."),
    ),
)

NO_PAUSE = Script(
    voices={"carl": Voice("en-us+m6", 40), "dora": Voice("en-us+steph", 45)},
    turns=(
        Turn("carl", 0.3, "The meeting on Monday will begin at nine in the morning."),
        Turn("dora", 0.0, "Nobody told me, and I am already in another meeting all morning."),
        Turn("carl", 0.0, "Then we are going to move it again."),
    ),
)

THREE_SPEAKERS = Script(
    voices={"emil": Voice("en-us+m5", 20), "fay": Voice("en-us+f3", 65), "gus": Voice("en-us+m2", 85)},
    turns=(
        Turn("emil", 0.5, "My name is Emil and I mind the garden."),
        Turn("fay", 0.3, "I am Fay, and I am the one who owns the animals."),
        Turn("gus", 0.8, "Then let me learn how many animals you own."),
        Turn("emil", 0.25, "No more than eleven, all in all."),
        Turn("gus", 0.6, "Amazing, really amazing."),
    ),
)


def spoken(voice: Voice, text: str) -> Samples:
    """One turn as samples at RATE_HZ, trimmed to its speech and brought to the common level."""
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder) / "turn.wav"
        arguments = ["-v", voice.name, "-p", str(voice.pitch), "-s", str(voice.words_per_minute), "-w", str(target)]
        subprocess.run(["espeak-ng", *arguments, text], check=True)
        raw = target.read_bytes()
    header_bytes = 44
    source_rate_hz = int.from_bytes(raw[24:28], "little")
    samples = np.frombuffer(raw[header_bytes:], "<i2").astype(np.float64) / 2**15
    resampled = resample(samples, source_rate_hz, RATE_HZ)
    trimmed = trim(resampled)
    return trimmed * (LEVEL / float(np.sqrt(np.mean(trimmed**2))))


def resample(samples: Samples, from_hz: int, to_hz: int) -> Samples:
    """The samples at another rate, by cutting or padding the spectrum of the whole signal."""
    spectrum = np.fft.rfft(samples)
    length = round(len(samples) * to_hz / from_hz)
    kept = spectrum[: length // 2 + 1]
    return np.fft.irfft(kept, length) * (length / len(samples))


def trim(samples: Samples) -> Samples:
    """The samples from the first to the last frame that lies within TRIM_DB of the loudest."""
    frames = samples[: len(samples) // FRAME * FRAME].reshape(-1, FRAME)
    power = np.mean(frames**2, axis=1)
    loud = np.flatnonzero(power > power.max() * 10 ** (-TRIM_DB / 10))
    return samples[loud[0] * FRAME : (loud[-1] + 1) * FRAME]


def lay_out(script: Script) -> tuple[Samples, list[dict[str, float | str]]]:
    """The whole recording, and its reference turns in seconds."""
    pieces: list[Samples] = []
    turns: list[dict[str, float | str]] = []
    position = 0
    for turn in script.turns:
        pause = np.zeros(round(turn.pause_s * RATE_HZ))
        speech = spoken(script.voices[turn.speaker], turn.text)
        start = position + len(pause)
        position = start + len(speech)
        pieces += [pause, speech]
        turns.append({"start_s": start / RATE_HZ, "end_s": position / RATE_HZ, "speaker": turn.speaker})
    return np.concatenate([*pieces, np.zeros(round(0.4 * RATE_HZ))]), turns


def write_wav(target: Path, samples: Samples) -> None:
    """Write PCM, 16 bit, mono, at RATE_HZ."""
    data = np.clip(np.rint(samples * 2**15), -(2**15), 2**15 - 1).astype("<i2").tobytes()
    numbers = ((16, 4), (1, 2), (1, 2), (RATE_HZ, 4), (RATE_HZ * 2, 4), (2, 2), (16, 2))
    fmt = b"fmt " + b"".join(value.to_bytes(width, "little") for value, width in numbers)
    body = b"WAVE" + fmt + b"data" + len(data).to_bytes(4, "little") + data
    target.write_bytes(b"RIFF" + len(body).to_bytes(4, "little") + body)


def main() -> None:
    """Write every recording and its reference."""
    plan = (
        (EXAMPLES / "two_speakers.wav", ANNA_AND_BEN),
        (DATA / "no_pause.wav", NO_PAUSE),
        (DATA / "three_speakers.wav", THREE_SPEAKERS),
    )
    for target, script in plan:
        samples, turns = lay_out(script)
        write_wav(target, samples)
        reference = {"duration_s": len(samples) / RATE_HZ, "turns": turns}
        (DATA / f"{target.stem}.json").write_text(json.dumps(reference, indent=2) + "\n", encoding="utf-8")
        sys.stdout.write(f"{target.name}: {len(samples) / RATE_HZ:.2f} s, {len(turns)} turns\n")


if __name__ == "__main__":
    main()

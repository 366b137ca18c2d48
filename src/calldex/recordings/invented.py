"""Recordings of a demo: two voices that take turns, made from the record, the same each time. Nobody's voice."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import numpy as np
import soundfile

from calldex.records.record import Cdr

RATE: Final = 8_000
LONGEST_S: Final = 900


def write(record: Cdr, made: Path) -> None:
    """A WAV file: the caller on the left, the agent on the right, silence on hold; as long as they talked."""
    seconds = min(LONGEST_S, max(1, record.talk_s or record.duration_s))
    chance = np.random.default_rng(int(record.uuid.replace("-", ""), 16) % 2**63)
    both = np.zeros((seconds * RATE, 2), dtype="float32")
    at, speaker = 0.3, 1
    while at < seconds - 0.5:
        length = min(float(chance.uniform(0.8, 5.0)), seconds - at)
        voice = _speech(length, (115.0, 190.0)[speaker], chance)
        start = int(at * RATE)
        both[start : start + len(voice), speaker] += voice[: len(both) - start]
        at += length + float(chance.uniform(0.1, 0.9))
        speaker = 1 - speaker
    _quiet_on_hold(record, both)
    with made.open("wb") as file:
        soundfile.write(file, both, RATE, format="WAV", subtype="ULAW")


def _quiet_on_hold(record: Cdr, both: Any) -> None:
    if record.answered_at is None:
        return
    for event in record.events:
        if event.type == "hold" and event.duration_s:
            start = int((event.at - record.answered_at).total_seconds() * RATE)
            both[max(0, start) : max(0, start + event.duration_s * RATE)] = 0


def _speech(seconds: float, pitch: float, chance: np.random.Generator) -> Any:
    """Syllables: a buzz at the pitch through changing formants, with gaps."""
    count = max(1, int(seconds * RATE))
    times = np.arange(count) / RATE
    steps = max(2, int(seconds * 4.5))
    knots = np.linspace(0, seconds, steps)
    tone = pitch * np.interp(times, knots, chance.uniform(0.85, 1.2, steps))
    phase = 2 * np.pi * np.cumsum(tone) / RATE
    first = np.interp(times, knots, chance.uniform(300, 800, steps))
    second = np.interp(times, knots, chance.uniform(900, 2200, steps))
    sound = np.zeros(count)
    for harmonic in range(1, 9):
        frequency = harmonic * tone
        weight = np.exp(-(((frequency - first) / 180) ** 2)) + 0.5 * np.exp(-(((frequency - second) / 260) ** 2))
        sound += weight * np.sin(harmonic * phase)
    beat = np.clip(np.interp(times, knots, chance.uniform(-0.25, 1.0, steps)), 0, 1)
    return (0.22 * sound * beat * np.minimum(1, np.minimum(times, seconds - times) / 0.03)).astype("float32")

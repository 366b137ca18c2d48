"""Audio files read and written by libsndfile: any form it reads becomes an MP3, or the peaks of a waveform."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import msgspec
import numpy as np
import soundfile

from calldex.errors import NotFound

MOST_PEAKS: Final = 1600
"""Peaks of a channel: more than a waveform on a screen has bars."""
LOUDEST: Final = 127
_BLOCK: Final = 65_536
_LONGEST_S: Final = 24 * 3600


class Peaks(msgspec.Struct, frozen=True):
    """How loud a recording is over its length: for each channel the largest amplitude of equal pieces of time, 0 to
    127."""

    duration_s: float
    channels: list[list[int]]


def peaks_of(path: str) -> Peaks:
    """The peaks of a file, read block by block; `NotFound` names a form that cannot be read."""
    with _open(path) as audio:
        size = max(1, -(-audio.frames // MOST_PEAKS))
        found = [
            np.maximum.reduceat(np.abs(block), np.arange(0, len(block), size), axis=0)
            for block in _blocks(audio, size * max(1, _BLOCK // size))
        ]
        loud = np.concatenate(found) if found else np.zeros((0, audio.channels), dtype="float32")
        loudest = float(loud.max()) if loud.size else 0.0
        # Quiet calls are drawn as large as loud ones: what counts is where somebody speaks.
        levels = np.round(loud / (loudest or 1.0) * LOUDEST).astype(int)
        return Peaks(audio.frames / audio.samplerate, levels.T.tolist())


def write_mp3(path: str, made: Path) -> None:
    """An MP3 of a file, written block by block; `NotFound` names a form that cannot be read."""
    with (
        _open(path) as audio,
        made.open("wb") as file,
        soundfile.SoundFile(
            file,
            "w",
            samplerate=audio.samplerate,
            channels=audio.channels,
            format="MP3",
            subtype="MPEG_LAYER_III",
            bitrate_mode="VARIABLE",
            compression_level=0.7,
        ) as written,
    ):
        for block in _blocks(audio, _BLOCK):
            written.write(block)


def _blocks(audio: Any, size: int) -> Iterator[Any]:
    """A file's samples, a column for each channel. Also of forms in which one cannot seek, such as GSM."""
    while len(block := audio.read(size, dtype="float32", always_2d=True)):
        yield block


@contextmanager
def _open(path: str) -> Iterator[Any]:
    with Path(path).open("rb") as file:
        try:
            audio = soundfile.SoundFile(file)
        except soundfile.LibsndfileError as error:
            file.seek(0)
            form = _form(file.read(12), error)
            raise NotFound(f"the file of this recording can be neither played nor converted: {form}") from None
        with audio:
            if audio.frames > _LONGEST_S * audio.samplerate:
                raise NotFound("this recording is longer than a day")
            yield audio


def _form(head: bytes, error: Exception) -> str:
    """What a file that cannot be read seems to be."""
    if head[:1] and head[0] >> 4 == 0xD:
        return "it seems to be GSM without a header (.gsm)"
    return str(error).rpartition(": ")[2][:100] or "its form is not known"

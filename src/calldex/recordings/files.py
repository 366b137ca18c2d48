"""Recordings: where the file of a call lies, and what is made of it once and kept: an MP3, and the peaks of a waveform.

A record has a reference, as its source gave it; the source's settings say where such files lie (`places`).
Nothing here decides who may listen, and nothing here knows HTTP.
"""

from __future__ import annotations

import hashlib
import os
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

import msgspec

from calldex.clock import now_ms
from calldex.errors import NotFound
from calldex.recordings import invented
from calldex.recordings.audio import Peaks, peaks_of, write_mp3
from calldex.recordings.places import INVENTED, RecordingPlace, opened, path_of
from calldex.records.record import Cdr

KEPT_BYTES: Final = 2 * 2**30
"""What is made is kept up to this size; what was used the longest ago goes first."""
CACHE: Final = "recordings.cache"
"""Its folder in the data directory. It may be deleted while nothing runs."""


class Stored(msgspec.Struct, frozen=True):
    """A recording's file as an open descriptor, which is the caller's to close, and its name's suffix."""

    descriptor: int
    suffix: str

    @property
    def path(self) -> str:
        """A path that names the open file itself, whatever happens to its name."""
        return f"/proc/self/fd/{self.descriptor}"


class Recordings:
    """The recordings of a node. Everything blocks: for threads."""

    def __init__(self, data: Path) -> None:
        self._cache = data / CACHE
        self._making = threading.Lock()  # a player asks for a file and its peaks at once: what both need is made once

    def stored(self, record: Cdr, leg: int | None, settings: Mapping[str, str]) -> Stored:
        """The file as it is stored; `NotFound` says why there is none."""
        reference = reference_of(record, leg)
        place = RecordingPlace.of(settings)
        if place.root == INVENTED:
            made = self._made(f"invented {record.uuid} {leg}", ".wav", lambda path: invented.write(record, path))
            return Stored(os.open(made, os.O_RDONLY), ".wav")
        relative = path_of(place, record, reference)
        return Stored(opened(place.root, relative), Path(relative).suffix.lower())

    def mp3(self, stored: Stored) -> Path | None:
        """The file of an MP3 made of what is stored; None if that is one."""
        if stored.suffix == ".mp3":
            return None
        return self._made(_identity(stored), ".mp3", lambda path: write_mp3(stored.path, path))

    def peaks(self, stored: Stored) -> Peaks:
        """The peaks of its waveform."""

        def write(path: Path) -> None:
            path.write_bytes(msgspec.json.encode(peaks_of(stored.path)))

        return msgspec.json.decode(self._made(_identity(stored), ".peaks", write).read_bytes(), type=Peaks)

    def _made(self, identity: str, suffix: str, write: Callable[[Path], None]) -> Path:
        """What was made of something, or is made now: whole, or not there."""
        with self._making:
            return self._made_alone(identity, suffix, write)

    def _made_alone(self, identity: str, suffix: str, write: Callable[[Path], None]) -> Path:
        self._cache.mkdir(mode=0o700, exist_ok=True)
        kept = self._cache / (hashlib.sha256(identity.encode()).hexdigest() + suffix)
        if kept.is_file():
            os.utime(kept, ns=(now_ms() * 1_000_000, kept.stat().st_mtime_ns))  # used now, but the same as ever
            return kept
        half = kept.with_suffix(f".{os.getpid()}-{os.urandom(4).hex()}.half")
        try:
            write(half)
            half.replace(kept)
        finally:
            half.unlink(missing_ok=True)
        self._trim(kept)
        return kept

    def _trim(self, newest: Path) -> None:
        files = sorted(((path.stat(), path) for path in self._cache.iterdir()), key=lambda each: each[0].st_atime)
        size = sum(status.st_size for status, _ in files)
        for status, path in files:
            if size <= KEPT_BYTES:
                return
            if path != newest:
                path.unlink(missing_ok=True)
                size -= status.st_size


def reference_of(record: Cdr, leg: int | None) -> str:
    """What the source calls the recording of a call, or of one of its legs, counted from 1; `NotFound` without one."""
    if leg is None:
        if record.recording is None:
            raise NotFound("this call has no recording")
        return record.recording
    if not 1 <= leg <= len(record.legs):
        raise NotFound(f"this call has {len(record.legs)} legs; there is no leg {leg}")
    found = record.legs[leg - 1].recording
    if found is None:
        raise NotFound(f"leg {leg} of this call has no recording")
    return found


def _identity(stored: Stored) -> str:
    """Differs when the file does."""
    status = os.fstat(stored.descriptor)
    return f"{status.st_dev} {status.st_ino} {status.st_size} {status.st_mtime_ns}"

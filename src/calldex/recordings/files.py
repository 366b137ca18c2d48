"""Recordings: where the file of a call lies, and what is made of it once and kept: an MP3, and the peaks of a waveform.

A record has a reference, as its source gave it; the source's settings say where such files lie (`places`).
Nothing here decides who may listen, and nothing here knows HTTP.
"""

from __future__ import annotations

import hashlib
import os
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Final

import msgspec

from calldex.buckets import Credentials, Objects
from calldex.clock import now_ms
from calldex.errors import NotFound
from calldex.recordings import invented
from calldex.recordings.audio import Peaks, peaks_of, write_mp3
from calldex.recordings.places import INVENTED, RecordingPlace, missing, names_of, opened, path_of
from calldex.records.record import Cdr
from calldex.targets import S3, Bucket, bucket_of

KEPT_BYTES: Final = 2 * 2**30
"""What is made or fetched is kept up to this size; what was used the longest ago goes first."""
MOST_BYTES: Final = 2**30
"""A larger object is not fetched from a bucket: 18 hours of WAV with 8,000 samples of two bytes each second."""
_LOCKS: Final = 64
_HALF: Final = ".half"
CACHE: Final = "recordings.cache"
"""Its folder in the data directory. It may be deleted while nothing runs."""


class Stored(msgspec.Struct, frozen=True):
    """A recording's file as an open descriptor, which is the caller's to close, its name's suffix, and what differs
    when the file does."""

    descriptor: int
    suffix: str
    identity: str

    @property
    def path(self) -> str:
        """A path that names the open file itself, whatever happens to its name."""
        return f"/proc/self/fd/{self.descriptor}"


class Recordings:
    """The recordings of a node. Everything blocks: for threads."""

    def __init__(self, data: Path) -> None:
        self._cache = data / CACHE
        # A player asks for a file and its peaks at once: what both need is made once. Few locks for many files: who
        # waits for another's now and then waits no longer than for a place.
        self._making = [threading.Lock() for _ in range(_LOCKS)]

    def stored(
        self, record: Cdr, leg: int | None, settings: Mapping[str, str], opens: Callable[[], Credentials | None]
    ) -> Stored:
        """The file as it is stored; `NotFound` says why there is none, `Unavailable` that its bucket does not answer.
        `opens` gives what opens a bucket."""
        reference = reference_of(record, leg)
        place = RecordingPlace.of(settings)
        if place.root == INVENTED:
            made = self._made(f"invented {record.uuid} {leg}", ".wav", lambda path: invented.write(record, path))
            return _kept(made, ".wav")
        relative = path_of(place, record, reference)
        if place.root.startswith(S3):
            return self._fetched(bucket_of(place.root), relative, opens())
        descriptor, name = opened(place.root, relative)
        return Stored(descriptor, _suffix(name), _identity(descriptor))

    def _fetched(self, bucket: Bucket, relative: str, credentials: Credentials | None) -> Stored:
        """A copy of an object, fetched once for each of its versions."""
        objects = Objects(bucket, credentials)
        for name in names_of(relative):
            key = bucket.below(name).key
            found = objects.find(key)
            if found is None:
                continue
            if found.size > MOST_BYTES:
                raise NotFound(f"the file of this recording is larger than {MOST_BYTES >> 20} MiB")

            def write(path: Path, key: str = key, modified_s: float = found.modified_s) -> None:
                with path.open("wb") as file:
                    for piece in objects.pieces(key):
                        file.write(piece)
                os.utime(path, (now_ms() / 1000, modified_s))

            identity = f"{bucket.endpoint} {bucket.bucket} {key} {found.tag}"
            return _kept(self._made(identity, ".object", write), _suffix(name), identity)
        raise missing()

    def mp3(self, stored: Stored) -> Path | None:
        """The file of an MP3 made of what is stored; None if that is one."""
        if stored.suffix == ".mp3":
            return None
        return self._made(stored.identity, ".mp3", lambda path: write_mp3(stored.path, path))

    def peaks(self, stored: Stored) -> Peaks:
        """The peaks of its waveform."""

        def write(path: Path) -> None:
            path.write_bytes(msgspec.json.encode(peaks_of(stored.path)))

        return msgspec.json.decode(self._made(stored.identity, ".peaks", write).read_bytes(), type=Peaks)

    def _made(self, identity: str, suffix: str, write: Callable[[Path], None]) -> Path:
        """What was made of something, or is made now: whole, or not there."""
        name = hashlib.sha256(identity.encode()).hexdigest()
        with self._making[int(name[:8], 16) % _LOCKS]:
            return self._made_alone(name + suffix, write)

    def _made_alone(self, name: str, write: Callable[[Path], None]) -> Path:
        self._cache.mkdir(mode=0o700, exist_ok=True)
        kept = self._cache / name
        if kept.is_file():
            os.utime(kept, ns=(now_ms() * 1_000_000, kept.stat().st_mtime_ns))  # used now, but the same as ever
            return kept
        half = kept.with_suffix(f".{os.getpid()}-{os.urandom(4).hex()}{_HALF}")
        try:
            write(half)
            half.replace(kept)
        finally:
            half.unlink(missing_ok=True)
        self._trim(kept)
        return kept

    def _trim(self, newest: Path) -> None:
        found: list[tuple[os.stat_result, Path]] = []
        for path in self._cache.iterdir():
            with suppress(FileNotFoundError):  # another thread has just given it its name, or removed it
                found.append((path.stat(), path))
        files = sorted((each for each in found if each[1].suffix != _HALF), key=lambda each: each[0].st_atime)
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


def _kept(made: Path, suffix: str, identity: str | None = None) -> Stored:
    descriptor = os.open(made, os.O_RDONLY)
    return Stored(descriptor, suffix, identity or _identity(descriptor))


def _suffix(name: str) -> str:
    return Path(name).suffix.lower()


def _identity(descriptor: int) -> str:
    """Differs when the file does."""
    status = os.fstat(descriptor)
    return f"{status.st_dev} {status.st_ino} {status.st_size} {status.st_mtime_ns}"

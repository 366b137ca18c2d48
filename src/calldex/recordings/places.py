"""Where recordings lie: a folder or a bucket, and how the name of a call's file is put together.

A name comes from a record, which comes from outside: so no name leaves the folder or the bucket's prefix, and no link
is followed out of it.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from typing import Final, Self
from zoneinfo import ZoneInfo

import msgspec

from calldex.errors import NotFound
from calldex.records.record import Cdr
from calldex.targets import S3, VALID_BUCKET, bucket_of
from calldex.zones import timezones

INVENTED: Final = "invented:"
"""The root of a demo: its recordings are made when somebody listens."""
SUFFIXES: Final = (".wav", ".WAV", ".mp3", ".ogg", ".flac", ".gsm")
"""Tried in this order where a name has none of them."""
_PLACES: Final = ("recording", "name", "uuid", "from", "to", "start")
_PLACE: Final = re.compile(r"\{(?P<name>\w+)(?::(?P<format>[^{}]*))?\}")
_TIMES: Final = frozenset("YmdbHMSjy%")


class RecordingPlace(msgspec.Struct, frozen=True, kw_only=True):
    """Where a source's recordings lie, as its settings say."""

    root: str
    path: str
    zone: str

    @classmethod
    def of(cls, settings: Mapping[str, str]) -> Self:
        """The place that settings name; `NotFound` if they name none."""
        root = settings.get("recordings", "")
        if not root:
            raise NotFound("the recordings of this call's source are not configured: its setting `recordings`")
        zone = settings.get("recording_zone") or settings.get("zone") or "UTC"
        return cls(root=root, path=settings.get("recording_path") or "{recording}", zone=zone)


def problem_of(root: str, path: str, zone: str) -> str | None:
    """What is wrong with settings; None if nothing is."""
    if root.startswith(S3):
        try:
            bucket_of(root)
        except ValueError as error:
            return f"recordings: {error}"
    elif root and root != INVENTED and not os.path.isabs(root):  # noqa: PTH117 - a text, not a path that must be there
        return f"recordings: {root!r} is neither an absolute path nor a bucket, {VALID_BUCKET}"
    if zone and zone not in timezones():
        return f"recording_zone: {zone!r} is no IANA name of a time zone"
    for found in _PLACE.finditer(path):
        if found["name"] not in _PLACES:
            return f"recording_path: there is no {{{found['name']}}}; there are {', '.join(_PLACES)}"
        codes = re.findall(r"%(.)", found["format"] or "")
        if wrong := set(codes) - _TIMES:
            return f"recording_path: %{min(wrong)} is not one of {', '.join(f'%{each}' for each in sorted(_TIMES))}"
    return None


def path_of(place: RecordingPlace, record: Cdr, reference: str) -> str:
    """The file's path below the root, not looked up; `NotFound` if it would leave that. An absolute reference below
    the root counts from there."""
    root = place.root.partition("?")[0] if place.root.startswith(S3) else place.root
    below = reference.removeprefix(root.rstrip("/") + "/").lstrip("/")
    values = {
        "recording": below,
        "name": below.rpartition("/")[2],
        "uuid": record.uuid,
        "from": record.from_ or "",
        "to": record.to or "",
    }

    def value(found: re.Match[str]) -> str:
        if found["name"] == "start":
            return record.started_at.astimezone(ZoneInfo(place.zone)).strftime(found["format"] or "%Y-%m-%d")
        return values[found["name"]]

    path = _PLACE.sub(value, place.path)
    if any(part in ("", ".", "..") or "\0" in part for part in path.split("/")):
        raise missing()
    return path


def names_of(path: str) -> list[str]:
    """The names that a file may have: as it is, and with each suffix where it has none."""
    return [path] if path.endswith(SUFFIXES) else [path, *(path + suffix for suffix in SUFFIXES)]


def opened(root: str, relative: str) -> tuple[int, str]:
    """The file of a path that `path_of` made, as an open descriptor, and its name; `NotFound` if it is not there. Each
    folder on the way is opened by itself and without following links, so that no link leads out of the root."""
    parts = relative.split("/")
    try:
        folder = os.open(root, os.O_RDONLY | os.O_DIRECTORY)
    except OSError as error:
        raise NotFound(f"the folder of this source's recordings cannot be opened: {error.strerror}") from None
    try:
        for part in parts[:-1]:
            below = os.open(part, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=folder)
            os.close(folder)
            folder = below
        return _open(parts[-1], folder)
    except OSError:
        raise missing() from None
    finally:
        os.close(folder)


def _open(name: str, folder: int) -> tuple[int, str]:
    for each in names_of(name):
        try:
            # Without NONBLOCK, a pipe of that name would be waited for.
            return os.open(each, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=folder), each
        except FileNotFoundError:
            continue
    raise FileNotFoundError


def missing() -> NotFound:
    """That there is no such file."""
    return NotFound("the file of this recording is not where the source's settings say it is")

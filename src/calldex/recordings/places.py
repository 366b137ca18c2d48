"""Where recordings lie: a folder, and how the name of a call's file is put together.

A name comes from a record, which comes from outside: so no name leaves the folder, and no link is followed out of it.
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
from calldex.zones import timezones

INVENTED: Final = "invented:"
"""The root of a demo: its recordings are made when somebody listens."""
SUFFIXES: Final = (".wav", ".WAV", ".mp3", ".ogg", ".flac", ".gsm")
"""Tried in this order where a name has none of them."""
_PLACES: Final = ("recording", "uuid", "from", "to", "start")
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
    if root and root != INVENTED and not os.path.isabs(root):  # noqa: PTH117 - a text, not a path that must be there
        return f"recordings: {root!r} is not an absolute path"
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
    """The file's path below the root, not looked up. An absolute reference below the root counts from there."""
    below = reference.removeprefix(place.root.rstrip("/") + "/").lstrip("/")
    values = {"recording": below, "uuid": record.uuid, "from": record.from_ or "", "to": record.to or ""}

    def value(found: re.Match[str]) -> str:
        if found["name"] == "start":
            return record.started_at.astimezone(ZoneInfo(place.zone)).strftime(found["format"] or "%Y-%m-%d")
        return values[found["name"]]

    return _PLACE.sub(value, place.path)


def opened(root: str, relative: str) -> int:
    """The file as an open descriptor; `NotFound` if it is not there. Each folder on the way is opened by itself and
    without following links, so that neither `..` nor a link leads out of the root."""
    parts = relative.split("/")
    if any(part in ("", ".", "..") or "\0" in part for part in parts):
        raise _missing()
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
        raise _missing() from None
    finally:
        os.close(folder)


def _open(name: str, folder: int) -> int:
    names = [name] if name.endswith(SUFFIXES) else [name, *(name + suffix for suffix in SUFFIXES)]
    for each in names:
        try:
            # Without NONBLOCK, a pipe of that name would be waited for.
            return os.open(each, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=folder)
        except FileNotFoundError:
            continue
    raise FileNotFoundError


def _missing() -> NotFound:
    return NotFound("the file of this recording is not where the source's settings say it is")

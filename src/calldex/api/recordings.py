"""`/recordings/{uuid}.mp3` and `/recordings/{uuid}/peaks`: a call's recording is played, downloaded, or drawn.

Whoever sees the record and may listen hears it; each time is noted in the audit. Files are found and made in
`recordings`, in threads; the reply sends an open file, with byte ranges.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Final, Literal, TypeVar

import msgspec
from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.responses import FileResponse, Response
from starlette.types import Receive, Scope, Send

from calldex.access import Principal, permit_recording
from calldex.api.audited import audited
from calldex.api.endpoint import ERRORS, Endpoint, parameter
from calldex.buckets import kept_credentials
from calldex.errors import BadParameters, NotFound, Problem, TooMany
from calldex.node import Node
from calldex.recordings.audio import Peaks
from calldex.recordings.files import Recordings, Stored
from calldex.records.record import Cdr, plain_uuid
from calldex.transport.replies import JSON, PRIVATE, tag_matches
from calldex.transport.requests import caller, only, pairs_of
from calldex.transport.workers import Workers

AT_ONCE: Final = 2
WAITING: Final = 32
_TYPES: Final = {".mp3": "audio/mpeg", ".wav": "audio/wav", ".ogg": "audio/ogg", ".flac": "audio/flac"}
_T = TypeVar("_T")


class _OpenFile(FileResponse):
    """An open file, with byte ranges. It is closed however the reply ends, also where its range lies outside, or the
    client is gone."""

    def __init__(self, descriptor: int, media_type: str, name: str | None) -> None:
        super().__init__(
            f"/proc/self/fd/{descriptor}",
            headers=dict(PRIVATE),
            media_type=media_type,
            filename=name,
            stat_result=os.fstat(descriptor),
        )
        self._descriptor = descriptor

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send it, but to who has it already."""
        tag = self.headers["etag"]
        try:
            if tag_matches(Headers(scope=scope).get("if-none-match"), tag.strip('"')):
                await Response(None, 304, {**PRIVATE, "ETag": tag})(scope, receive, send)
            else:
                await super().__call__(scope, receive, send)
        finally:
            os.close(self._descriptor)


class RecordingFiles:
    """The handlers, over a node."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self._recordings = Recordings(node.settings.data)
        self._workers = Workers("recording", AT_ONCE, WAITING, _too_many)

    async def play(self, request: Request) -> Response:
        """The recording as an MP3, or as it is stored (`form=stored`); `mode=download` to keep it."""
        owner, pairs = await caller(request, self._node.directory, await pairs_of(request))
        given = only(pairs, ("mode", "leg", "form"))
        mode = _word("mode", given.get("mode", "play"), ("play", "download"))
        stored_form = _word("form", given.get("form", "mp3"), ("mp3", "stored")) == "stored"
        action: Literal["download", "listen"] = "download" if mode == "download" else "listen"
        async with audited(self._node.audit, request, owner, action) as noted:
            noted.target = request.path_params["uuid"][:36]

            def find() -> tuple[int, str]:
                stored = self._stored(owner, request, _leg(given), action)
                made = None if stored_form else self._recordings.mp3(stored)
                if made is None:
                    return stored.descriptor, stored.suffix
                os.close(stored.descriptor)
                return os.open(made, os.O_RDONLY), ".mp3"

            descriptor, suffix = await self._run(request, find)
            noted.rows = 1
        name = f"{noted.target}{suffix}" if mode == "download" else None
        return _OpenFile(descriptor, _TYPES.get(suffix, "application/octet-stream"), name)

    async def peaks(self, request: Request) -> Response:
        """How loud it is over its length, for a picture of it."""
        owner, pairs = await caller(request, self._node.directory, await pairs_of(request))
        given = only(pairs, ("leg",))
        async with audited(self._node.audit, request, owner, "listen") as noted:
            noted.target = request.path_params["uuid"][:36]
            noted.detail = {"what": "peaks"}

            def find() -> bytes:
                stored = self._stored(owner, request, _leg(given), "listen")
                try:
                    return msgspec.json.encode(self._recordings.peaks(stored))
                finally:
                    os.close(stored.descriptor)

            body = await self._run(request, find)
            noted.rows = 1
        return Response(body, 200, {"Cache-Control": "private, max-age=3600"}, JSON)

    async def _run(self, request: Request, work: Callable[[], _T]) -> _T:
        async with self._workers.place(request.receive):
            return await self._workers.run(work)

    def _stored(
        self, owner: Principal, request: Request, leg: int | None, action: Literal["download", "listen"]
    ) -> Stored:
        record = self._seen(owner, request.path_params["uuid"], leg, action)
        settings = {}
        if record.source is not None:
            try:
                source = self._node.directory.source(record.source)
            except NotFound:
                source = None
            if source is not None and source.account_id == owner.account_id:
                settings = source.settings
        name = record.source or ""
        return self._recordings.stored(
            record, leg, settings, lambda: kept_credentials(self._node.directory, "recordings", name)
        )

    def _seen(self, owner: Principal, text: str, leg: int | None, action: Literal["download", "listen"]) -> Cdr:
        """The record, if its recording is for them."""
        permit_recording(owner, "download_recordings" if action == "download" else "listen", leg=leg is not None)
        uuid = plain_uuid(text)
        if uuid is None:
            raise NotFound(f"there is no record {text[:100]!r}: that is no uuid")
        return self._node.record(owner, uuid)


_UUID: Final = parameter("uuid", "The record's uuid.", {"type": "string"}, where="path")
_LEG: Final = parameter(
    "leg", "The number of a leg, from 1: the recording of that leg.", {"type": "integer", "minimum": 1, "maximum": 1000}
)
ENDPOINTS: Final = (
    Endpoint(
        path="/recordings/{uuid}.mp3",
        handler=lambda handlers: handlers.recordings.play,
        id="play_recording",
        tag="Recordings",
        summary="The recording of a call",
        description=(
            "With byte ranges. `mode=download` needs the permission `download_recordings` in place of `listen`. 404"
            " says why there is none: no recording, no file, or a form that can be neither played nor converted."
        ),
        gives=str,
        media_type="audio/mpeg",
        other_types=tuple(sorted({*_TYPES.values(), "application/octet-stream"} - {"audio/mpeg"})),
        credential="key",
        needs=("see_cdrs", "listen"),
        action="listen",
        limit="recordings",
        parameters=(
            _UUID,
            _LEG,
            parameter("form", "As an MP3, or as it is stored.", {"enum": ["mp3", "stored"], "default": "mp3"}),
            parameter("mode", "To be heard, or to be kept.", {"enum": ["play", "download"], "default": "play"}),
        ),
        errors=(304, *ERRORS, 404, 416),
    ),
    Endpoint(
        path="/recordings/{uuid}/peaks",
        handler=lambda handlers: handlers.recordings.peaks,
        id="recording_peaks",
        tag="Recordings",
        summary="How loud a recording is over its length",
        description="Up to 1,600 values from 0 to 127 for each channel.",
        gives=Peaks,
        credential="key",
        needs=("see_cdrs", "listen"),
        action="listen",
        limit="recordings",
        parameters=(_UUID, _LEG),
        errors=(*ERRORS, 404),
    ),
)


def _leg(given: dict[str, str]) -> int | None:
    text = given.get("leg")
    if text is None:
        return None
    if not (text.isascii() and text.isdigit() and 1 <= len(text) <= 4 and int(text) >= 1):
        raise BadParameters([Problem("leg", text[:100], "is not the number of a leg", "1 for the first")])
    return int(text)


def _word(name: str, given: str, words: tuple[str, ...]) -> str:
    if given not in words:
        raise BadParameters([Problem(name, given[:100], "is not known", ", ".join(words))])
    return given


def _too_many() -> TooMany:
    return TooMany("too many recordings are being made ready; try again shortly", retry_after=2)

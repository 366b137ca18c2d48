"""`/api/v2/cdr/exports`: exports that are made in the background, and fetched when they are done.

Asked for as any reading is, with the parameters of `GET /api/v2/cdr/export`; made by `jobs`; the file is fetched by a
link that is worth nothing else, and not for long.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable
from datetime import datetime
from functools import partial
from typing import Final, TypeVar

import msgspec
from starlette.requests import Request
from starlette.responses import FileResponse, Response

from calldex.access import Permission, Principal, permissions_of, permit
from calldex.api.audited import audited, caller_of
from calldex.api.endpoint import ERRORS, Endpoint, over, parameter
from calldex.audit.chain import Actor, searched
from calldex.audit.noting import noting
from calldex.clock import now_ms
from calldex.directory import Export, maker_of
from calldex.directory.tables import ExportState
from calldex.errors import BadToken, Conflict, Gone, NotFound, OtherNode, ScopeChanged, TooMany
from calldex.exports import FORMATS
from calldex.exports.request import FORMAT_WORDS, ExportRequest
from calldex.jobs.exports import ExportJobs, may_know, still_permitted, those_known
from calldex.node import DAY_MS, Node
from calldex.records.record import from_ms
from calldex.sealing import KEY_BYTES, Sealing
from calldex.search.query import Parameters
from calldex.search.reader import Reader, Reading
from calldex.transport.replies import JSON, tag_matches
from calldex.transport.requests import address_of, caller, only, pairs_of, query_pairs
from calldex.transport.workers import Workers

PATH: Final = "/api/v2/cdr/exports"
LINK_MS: Final = 3_600_000
"""How long a link works."""
AT_ONCE: Final = 2
WAITING: Final = 64
ASK: Final = Reading(action="export_added", needs=("see_cdrs", "export"), takes=Parameters(ExportRequest), waits=False)
EITHER: Final[tuple[Permission, ...]] = ("export", "manage_access")
_T = TypeVar("_T")


class Link(msgspec.Struct, frozen=True, array_like=True):
    """What a link opens: the file of this export, until then (epoch milliseconds)."""

    id: str
    until_ms: int


class ShownExport(msgspec.Struct, frozen=True, kw_only=True):
    """An export. `records` of `total` are written, in `bytes` of the file so far; `sha256` is that of the whole file.
    `link` is where its maker fetches it, until `link_expires_at`; another reading of this gives another one. It is gone
    at `expires_at`. Of others' exports values that were searched for are not told."""

    id: str
    state: ExportState
    format: FORMAT_WORDS
    parameters: dict[str, str | int]
    made_by: str
    credential: str
    schedule: int | None
    day: str | None
    created_at: datetime
    ended_at: datetime | None
    expires_at: datetime
    records: int
    total: int | None
    bytes: int
    sha256: str | None
    reason: str | None
    link: str | None
    link_expires_at: datetime | None


class ExportList(msgspec.Struct, frozen=True):
    """Exports, newest first."""

    exports: list[ShownExport]


class BackgroundExports:
    """The handlers, over a node."""

    def __init__(self, node: Node, reader: Reader, jobs: ExportJobs) -> None:
        self._node = node
        self._directory = node.directory
        self._reader = reader
        self._jobs = jobs
        self._links = Sealing(node.directory.secret("export_link", KEY_BYTES), "calldex export link 1")
        self._workers = Workers("exports", AT_ONCE, WAITING, _too_many)

    async def add(self, request: Request) -> Response:
        """Ask for one."""
        owner, pairs = await caller(request, self._directory, await pairs_of(request))
        async with self._reader.open(caller_of(request, owner), ASK, pairs) as search:
            at_ms = now_ms()
            given = [pair for pair in pairs if pair[1].strip() and pair[0] not in ("format", "timezone")]
            export = Export(
                id=secrets.token_hex(16),
                node=await self._run(request, self._jobs.files.name),
                parameters=[*given, ("format", search.own.format), ("timezone", search.timezone)],
                scope=search.scope.fingerprint(),
                store_id=self._node.store.store_id,
                created_at=at_ms,
                expires_at=at_ms + self._node.settings.export_days * DAY_MS,
                **maker_of(owner),
            )
            search.noted.target, search.noted.status = export.id, 202
            await self._run(request, lambda: self._directory.add_export(export))
        self._jobs.wake()
        reply = _reply(self._shown(export, owner), 202)
        reply.headers["Location"] = f"{PATH}/{export.id}"
        return reply

    async def list(self, request: Request) -> Response:
        """Those of the caller; also those of others for who manages rights, up to their own."""
        owner, pairs = await caller(request, self._directory, await pairs_of(request))
        only(pairs, ())
        permit(owner, EITHER)
        whose = None if "manage_access" in permissions_of(owner) else owner.user_id

        def listed() -> list[Export]:
            return those_known(self._directory, owner, self._directory.exports(owner.account_id, whose))

        found = await self._run(request, listed)
        return _reply(ExportList([self._shown(each, owner) for each in found]))

    async def show(self, request: Request) -> Response:
        """One of them."""
        owner, pairs = await caller(request, self._directory, await pairs_of(request))
        only(pairs, ())
        permit(owner, EITHER)
        export = await self._run(request, lambda: self._own(owner, request.path_params["id"]))
        return _reply(self._shown(export, owner))

    async def remove(self, request: Request) -> Response:
        """Stop and forget it."""
        owner, pairs = await caller(request, self._directory, await pairs_of(request))
        only(pairs, ())
        async with audited(self._node.audit, request, owner, "export_removed") as noted:
            permit(owner, EITHER)

            def removed() -> str:
                export = self._own(owner, request.path_params["id"])
                self._directory.remove_export(export.id)
                return export.id

            noted.target, noted.status = await self._run(request, removed), 204
        self._jobs.wake()
        return Response(None, 204, {"Cache-Control": "no-store"})

    async def file(self, request: Request) -> Response:
        """The file, for who has the link."""
        link = self._link(request)
        export = await self._run(request, lambda: self._fetched(link))
        actor = Actor(
            actor=export.email,
            account_id=export.account_id,
            user_id=export.user_id,
            credential="link",
            address=address_of(request),
            request_id=request.scope["calldex.request_id"],
        )
        if request.method == "GET":
            async with noting(self._node.audit, actor, "export_fetched") as noted:
                noted.target, noted.rows = export.id, export.records
        format_ = FORMATS[_format(export)]
        headers = {"Cache-Control": "private, no-cache", "ETag": f'"{export.digest}"'}
        if tag_matches(request.headers.get("if-none-match"), str(export.digest)):
            return Response(None, 304, headers)
        day = time.strftime("%Y-%m-%d", time.gmtime(export.created_at / 1000))
        return FileResponse(
            self._jobs.files.path(export.id),
            headers=headers,
            media_type=format_.media_type,
            filename=f"calls-{day}.{format_.suffix}",
        )

    # --- in threads ---------------------------------------------------------------------------------------------------

    async def _run(self, request: Request, work: Callable[[], _T]) -> _T:
        async with self._workers.place(request.receive):
            return await self._workers.run(work)

    def _own(self, owner: Principal, id_: str) -> Export:
        """One that the caller may know of; `NotFound`."""
        export = self._directory.export(id_, owner.account_id)
        if not may_know(self._directory, owner, export):
            raise NotFound(f"there is no export {id_[:100]!r} of yours")
        return export

    def _fetched(self, link: Link) -> Export:
        """What a link opens, if its maker may still have it; else its file goes."""
        export = self._directory.export(link.id)
        if export.open:
            raise Conflict(f"this export is {export.state}; its file can be fetched when it is done")
        if export.state == "failed":
            raise Conflict(f"this export failed: {export.reason}")
        here = self._jobs.files.name()
        if export.node != here:
            raise OtherNode(f"the file is kept by the node {export.node}, and this is {here}; ask that one")
        try:
            still_permitted(self._directory, export)
        except ScopeChanged as changed:
            self._jobs.files.remove(export.id)
            self._directory.end_export(export.id, "failed", changed.message)
            raise
        if not self._jobs.files.is_whole(export.id):
            reason = "its file is not there any more; ask for it again"
            self._directory.end_export(export.id, "failed", reason)
            raise Gone(reason)
        return export

    # --- replies ------------------------------------------------------------------------------------------------------

    def _link(self, request: Request) -> Link:
        given = only(query_pairs(request), ("link",))
        link = self._links.unseal(given.get("link", ""), Link)
        if link is None or link.id != request.path_params["id"]:
            raise BadToken("link is not one of ours, or was changed; read the export again for another one")
        if link.until_ms <= now_ms():
            raise Gone("this link has expired; read the export again for another one")
        return link

    def _shown(self, export: Export, to: Principal) -> ShownExport:
        own = (export.account_id, export.user_id) == (to.account_id, to.user_id)
        until_ms = min(now_ms() + LINK_MS, export.expires_at)
        fetched = own and export.state == "done" and export.schedule_id is None
        link = self._links.seal(Link(export.id, until_ms)) if fetched else None
        return ShownExport(
            id=export.id,
            state=export.state,
            format=_format(export),
            parameters=dict(export.parameters) if own else searched(export.parameters, ExportRequest),
            made_by=export.email,
            credential=export.credential,
            schedule=export.schedule_id,
            day=export.day,
            created_at=from_ms(export.created_at),
            ended_at=None if export.ended_at is None else from_ms(export.ended_at),
            expires_at=from_ms(export.expires_at),
            records=export.records,
            total=export.total,
            bytes=export.size,
            sha256=export.digest,
            reason=export.reason,
            link=None if link is None else f"{PATH}/{export.id}/file?link={link}",
            link_expires_at=None if link is None else from_ms(until_ms),
        )


def _format(export: Export) -> FORMAT_WORDS:
    word: FORMAT_WORDS = msgspec.convert(dict(export.parameters)["format"], FORMAT_WORDS)
    return word


def _reply(members: ShownExport | ExportList, status: int = 200) -> Response:
    return Response(msgspec.json.encode(members), status, {"Cache-Control": "no-store"}, JSON)


def _too_many() -> TooMany:
    return TooMany("too many requests about exports are running and waiting; try again shortly", retry_after=1)


_ID: Final = parameter("id", "The export's id.", {"type": "string", "pattern": "^[0-9a-f]{32}$"}, where="path")
_TAG: Final = "Call detail records"
_endpoint: Final = partial(Endpoint, tag=_TAG, limit="administration")
ENDPOINTS: Final = (
    over(ASK)(
        method="POST",
        path=PATH,
        handler=lambda handlers: handlers.export_jobs.add,
        id="add_export",
        summary="Have an export made in the background",
        description=(
            "Takes what `GET /api/v2/cdr/export` takes, in the query string or as members of a JSON object. It holds"
            " the records as of when it begins, whatever happens then, a restart included. Read it again to see how far"
            " it is; its `link` is where the file is fetched. Needs the permission `export`."
        ),
        tag=_TAG,
        limit="administration",
        gives=ShownExport,
        status=202,
    ),
    _endpoint(
        path=PATH,
        handler=lambda handlers: handlers.export_jobs.list,
        id="list_exports",
        summary="List the exports that are made in the background, newest first",
        description=(
            "Those of the caller; those of others, without links to their files, for who may manage access and all"
            " that their makers may. Needs"
            " `export` or `manage_access`."
        ),
        gives=ExportList,
        credential="key",
        needs=EITHER,
        errors=ERRORS,
    ),
    _endpoint(
        path=PATH + "/{id}",
        handler=lambda handlers: handlers.export_jobs.show,
        id="show_export",
        summary="Show how far an export is, and where its file is fetched",
        description="Needs `export` or `manage_access`.",
        gives=ShownExport,
        credential="key",
        needs=EITHER,
        parameters=(_ID,),
        errors=(*ERRORS, 404),
    ),
    _endpoint(
        method="DELETE",
        path=PATH + "/{id}",
        handler=lambda handlers: handlers.export_jobs.remove,
        id="remove_export",
        summary="Stop an export, or delete it and its file",
        description="Needs `export` or `manage_access`.",
        status=204,
        credential="key",
        needs=EITHER,
        action="export_removed",
        parameters=(_ID,),
        errors=(*ERRORS, 404),
    ),
    _endpoint(
        path=PATH + "/{id}/file",
        handler=lambda handlers: handlers.export_jobs.file,
        id="fetch_export",
        summary="Fetch the file of an export",
        description=(
            "By the `link` that the export shows, which needs no key, opens nothing else and soon expires. With byte"
            " ranges and a strong entity tag, the SHA-256 of the file. 409 when it is not done, or has failed, or what"
            " its maker may see has changed since: then the file is deleted. 421 from a node that does not have the"
            " file; its message names the one that has."
        ),
        gives=str,
        media_type=FORMATS["ndjson"].media_type,
        other_types=tuple(dict.fromkeys(f.media_type for f in FORMATS.values() if f.name != "ndjson")),
        action="export_fetched",
        parameters=(_ID, parameter("link", "As the export shows it.", {"type": "string", "maxLength": 300})),
        errors=(400, 404, 409, 410, 416, 421, 429, 500, 503),
    ),
)

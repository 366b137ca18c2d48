"""Exports are made: those that wait, and those that a restart has interrupted.

Runs on the event loop of whoever serves the node; reading and writing is done in threads of its own places, of which
each user has a share. What an export is to hold comes the one way (`search.reader`), under the rights that its maker
has while it is made; when these have changed since it was asked for, it fails, and its file goes.
"""

from __future__ import annotations

import asyncio
import errno
from collections.abc import Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from contextlib import suppress
from functools import partial
from traceback import format_exc
from typing import Any, Final, TypeVar

import msgspec
import structlog

from calldex.access import Principal, permissions_of, scope_of
from calldex.access.guard import is_over
from calldex.audit.chain import Actor
from calldex.audit.noting import noting
from calldex.buckets import kept_credentials
from calldex.clock import now_ms
from calldex.directory import Directory, Export, Maker
from calldex.errors import CalldexError, Conflict, DiskFull, NotFound, ScopeChanged, Unavailable
from calldex.exports import FORMATS, UPDATED_AT
from calldex.exports.request import ExportRequest, made
from calldex.jobs.delivery import deliver, pieces_of
from calldex.jobs.files import ExportFiles
from calldex.jobs.making import Making, point_of
from calldex.jobs.schedules import run_due
from calldex.node import Node
from calldex.search.query import Parameters
from calldex.search.reader import Caller, Point, Reader, Reading, Search
from calldex.transport.shares import ASKER, Asker

AT_ONCE: Final = 2
"""Exports that are made at the same time."""
WAITING: Final = 10_000
LOOK_S: Final = 15.0
"""How often it is looked for what nobody told of: schedules that are due, what has expired."""
MOST_TRIES: Final = 10
MOST_STARTS: Final = 3
"""How often a making may end with the process that does it: as if by a kill, or for want of memory."""
LONGEST_PAUSE_S: Final = 60.0
MAKE: Final = Reading(action="export", needs=("see_cdrs", "export"), takes=Parameters(ExportRequest), places="jobs")
_FULL: Final = (errno.ENOSPC, errno.EDQUOT)
_M = TypeVar("_M", bound=Maker)
_log = structlog.get_logger(__name__)


class ExportJobs:
    """Makes the exports of a node."""

    def __init__(self, node: Node, reader: Reader) -> None:
        self._node = node
        self._directory = node.directory
        self._reader = reader
        self._wake = asyncio.Event()
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._delivering = asyncio.Semaphore(AT_ONCE)
        self.files = ExportFiles(node.settings)

    def wake(self) -> None:
        """Tell it that there is something to do."""
        self._wake.set()

    async def run(self) -> None:
        """Make what there is, until this is cancelled."""
        try:
            while True:
                self._wake.clear()
                try:
                    await self.look()
                except CalldexError as error:
                    _log.warning("exports_not_looked_for", reason=error.message)
                except Exception:  # noqa: BLE001 -- it is tried again, and the log has the reason
                    _log.error("exports_not_looked_for", exception=format_exc())
                with suppress(TimeoutError):
                    await asyncio.wait_for(self._wake.wait(), LOOK_S)
        finally:
            for task in self._tasks.values():
                task.cancel("the server stopped")
            await asyncio.gather(*self._tasks.values(), return_exceptions=True)

    async def look(self) -> None:
        """Begin everything that is to be made, and clear away what has expired."""
        for export in await asyncio.to_thread(self._tidied, frozenset(self._tasks)):
            if export.id not in self._tasks:
                self._tasks[export.id] = task = asyncio.create_task(self._job(export))
                task.add_done_callback(partial(self._ended, export.id))

    def _ended(self, id_: str, _: asyncio.Task[None]) -> None:
        del self._tasks[id_]

    async def settled(self) -> None:
        """Look, and return when all of it has ended."""
        await self.look()
        await asyncio.gather(*self._tasks.values())

    def _tidied(self, being_made: AbstractSet[str]) -> list[Export]:
        """What is to be made, oldest first. The files of those that are being made now are theirs to remove."""
        node = self.files.name()
        run_due(self._node, node, now_ms())
        self._directory.drop_exports(now_ms())
        self._take_back(node)
        self.files.sweep([*self._directory.kept_exports(node), *being_made])
        return self._directory.open_exports(node)[::-1]

    def _take_back(self, node: str) -> None:
        """What its maker may not have any more fails, so that its file does not lie here until it expires."""
        refused: dict[tuple[Any, ...], str | None] = {}
        for export in self._directory.done_exports(node):
            rights = (export.account_id, export.user_id, export.key_id, export.scope)
            if rights not in refused:
                try:
                    still_permitted(self._directory, export)
                    refused[rights] = None
                except ScopeChanged as changed:
                    refused[rights] = changed.message
            if reason := refused[rights]:
                self._directory.end_export(export.id, "failed", reason)

    # --- one of them --------------------------------------------------------------------------------------------------

    async def _job(self, export: Export) -> None:
        """Make it, however often it has to be tried."""
        ASKER.set(Asker(export.account_id, ("maker", export.user_id)))
        for tries in range(1, MOST_TRIES + 1):
            try:
                await self._made(export.id)
                break
            except CalldexError as error:
                if isinstance(error, DiskFull) or not isinstance(error, Unavailable) or tries == MOST_TRIES:
                    await self._fail(export, error.message)
                    break
                _log.info("export_waits", export=export.id, reason=error.message)
                await asyncio.sleep(min(LONGEST_PAUSE_S, 2.0 ** (tries - 1)))
            except Exception:  # noqa: BLE001 -- whatever it is, the others are made, and the log has the reason
                _log.error("export_failed", export=export.id, exception=format_exc())
                await self._fail(export, "a fault of the server's own; its log has the reason")
                break

    async def _fail(self, export: Export, reason: str) -> None:
        def fail() -> None:
            self.files.remove(export.id)
            self._directory.end_export(export.id, "failed", reason)

        _log.warning("export_failed", export=export.id, reason=reason)
        try:
            await asyncio.to_thread(fail)
        except CalldexError as error:  # it is tried again from where it was
            _log.warning("export_not_ended", export=export.id, reason=error.message)

    async def _made(self, id_: str) -> None:
        export = await asyncio.to_thread(self._directory.export, id_)
        if export.digest is None:
            export = await self._written(export)
        if export.schedule_id is not None:
            await self._delivered(export)
        await asyncio.to_thread(self._directory.end_export, id_, "done")
        if export.schedule_id is not None:
            await asyncio.to_thread(self.files.remove, id_)

    async def _written(self, export: Export) -> Export:
        principal = await asyncio.to_thread(self._permitted, export)
        asked = self._reader.open(Caller(principal, actor_of(export)), MAKE, export.parameters, target=export.id)
        async with asked as search:
            if export.scope is None:  # of a schedule: from here on it is what its maker sees now
                export = msgspec.structs.replace(export, scope=search.scope.fingerprint())
                await asyncio.to_thread(self._keep, export, {"scope": export.scope})
            try:
                done = await self._begun(export, search)
            except OSError as error:
                raise _failure(error) from error
        await asyncio.to_thread(self._keep, export, done)
        return await asyncio.to_thread(self._directory.export, export.id)

    async def _begun(self, export: Export, search: Search[ExportRequest]) -> dict[str, Any]:
        """Make its file, unless the server has ended too often in that."""
        starts = await asyncio.to_thread(self.files.begin, export.id)
        try:
            if starts > MOST_STARTS:
                raise CalldexError(
                    f"the server ended {MOST_STARTS} times while it was made, and its log may have the reason; ask for"
                    " fewer days or fields, or another format"
                )
            return await self._streamed(export, search)
        finally:
            await asyncio.to_thread(self.files.end, export.id)

    async def _streamed(self, export: Export, search: Search[ExportRequest]) -> dict[str, Any]:
        own = search.own
        point = await asyncio.to_thread(point_of, export, FORMATS[own.format], self.files)
        async with search.stream(dated=UPDATED_AT in own.fields, at=point) as stream:
            begun = point or Point(as_of=stream.as_of, total=stream.total)
            file = made(own, search.timezone, stream.total, sums=True)

            def save(**values: Any) -> None:
                self._keep(export, values)

            making = await stream.run(lambda: Making(export, file, begun, self.files, save))
            try:
                async for _ in stream.through(making.add, file.convert):
                    pass
                return await stream.run(making.end)
            finally:
                await stream.settled()
                making.close()

    # --- where it goes ------------------------------------------------------------------------------------------------

    async def _delivered(self, export: Export) -> None:
        """Bring it to where its schedule says."""
        async with self._delivering, noting(self._node.audit, actor_of(export), "export_delivered") as noted:
            noted.target, noted.rows = export.id, export.records
            noted.detail = await asyncio.to_thread(self._deliver, export)

    def _deliver(self, export: Export) -> dict[str, str]:
        schedule = self._directory.scheduled(export)
        targets = self._node.settings.export_targets
        if schedule is None or schedule.target not in targets:
            what = "its schedule" if schedule is None else f"{schedule.target} of the setting `export_targets`"
            raise Conflict(f"{what} is not there any more")
        account = self._directory.account_name(export.account_id)
        format_ = FORMATS[dict(export.parameters)["format"]]
        name = f"{account}/{schedule.name}-{export.day}.{format_.suffix}"
        credentials = kept_credentials(self._directory, "export_target", schedule.target)
        deliver(targets[schedule.target], name, self._while_running(export), credentials)
        return {"place": schedule.target, "file": name}

    def _while_running(self, export: Export) -> Iterator[bytes]:
        """The file, piece by piece; an upload keeps no server from stopping."""
        for piece in pieces_of(self.files.path(export.id)):
            if self._node.stopping.is_set():
                raise Unavailable("the server stopped; it is delivered after the restart", retry_after=5)
            yield piece

    # --- rights -------------------------------------------------------------------------------------------------------

    def _keep(self, export: Export, values: Mapping[str, Any]) -> None:
        """Keep how far it is, as long as it is to be made; raises why it is not."""
        self._permitted(export)
        if not self._directory.change_export(export.id, **values):
            raise NotFound("it was deleted while it was made")

    def _permitted(self, export: Export) -> Principal:
        """Its maker, with the rights that they have now."""
        if export.store_id != self._node.store.store_id:
            raise ScopeChanged("the store was restored from a backup since it was asked for; ask for it again")
        return still_permitted(self._directory, export)


def still_permitted(directory: Directory, export: Export) -> Principal:
    """The maker of an export; `ScopeChanged` if they may not have it any more, or would see something else in it."""
    principal = directory.rights_of(export)
    if principal is None:
        raise ScopeChanged("the key that asked for it, or its user, is not valid any more")
    if not permissions_of(principal).issuperset(MAKE.needs):
        raise ScopeChanged("the user who asked for it lost the permission to export")
    if export.scope not in (None, scope_of(principal).fingerprint()):
        raise ScopeChanged("what its maker may see has changed since they asked for it; ask for it again")
    return principal


def may_know(directory: Directory, asker: Principal, maker: Maker) -> bool:
    """Whether somebody may know of an export or a schedule, and end it: who made it, and who may manage access and all
    that its maker may. What nobody may have any more is for everybody who may manage access."""
    if (asker.account_id, asker.user_id) == (maker.account_id, maker.user_id):
        return True
    if "manage_access" not in permissions_of(asker):
        return False
    rights = directory.rights_of(maker)
    return rights is None or is_over(asker, rights)


def those_known(directory: Directory, asker: Principal, made: Sequence[_M]) -> list[_M]:
    """Those of exports or schedules that somebody may know of; each maker's rights are looked at once."""
    makers = {(each.user_id, each.key_id): each for each in made}
    known = {key: may_know(directory, asker, maker) for key, maker in makers.items()}
    return [each for each in made if known[each.user_id, each.key_id]]


def actor_of(export: Export) -> Actor:
    """What the audit calls the maker of an export."""
    return Actor(actor=export.email, account_id=export.account_id, user_id=export.user_id, credential=export.credential)


def _failure(error: OSError) -> CalldexError:
    if error.errno in _FULL:
        return DiskFull("there is no room left on the disk; nothing of it is kept")
    return CalldexError(f"its file cannot be written: {error.strerror}")

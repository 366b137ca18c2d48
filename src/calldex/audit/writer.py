"""Who writes the audit: nothing is answered before what was done is in it.

How to note something:

- in a handler of the API: `async with audited(node.audit, request, principal, "user_changed") as noted:` around all
  of it, and set `noted.target`, `.detail`, `.rows` on the way (`api.audited`); what succeeds or is forbidden is noted;
- anywhere on the event loop: `await node.audit.record(entry(actor, "sign_in_failed", status=401))`;
- in a thread: `node.audit.note(entry(...))`;
- for what the owner of the data directory does: `node.audit.owner("key_created", account_id, email, prefix=prefix)`.

Each returns when the entry is committed, and raises `Unavailable` or `DiskFull` if it cannot be: then the asker is
refused, since nobody acts unseen. One thread writes. It takes everything that has come meanwhile and commits it at
once, so that many who wait pay for one commit.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Sequence
from concurrent.futures import Future
from contextlib import suppress
from traceback import format_exc
from typing import Final

import msgspec
import structlog

from calldex.audit.chain import OWNER, Action, Actor, Entry, Link, entry
from calldex.clock import now_ms
from calldex.directory import Directory
from calldex.errors import CalldexError, DiskFull, Unavailable

PATIENCE_S: Final = 20.0
"""How long is waited for a commit, longer than a database in use lets its writers wait; what is not noted by then may
still be noted later, and is not answered."""
MOST_WAITING: Final = 10_000
"""Entries that may wait to be written; who brings one more is refused."""
TOGETHER: Final = 1_000
"""Entries of one commit."""
TRIMMED_AT_ONCE: Final = 2_000
"""Entries dropped in one commit: others wait for it."""
TRIMS: Final = 500
"""Such commits in a row; what is left is for the next time."""
HEAD_MS: Final = 3_600_000
"""How often the head of the chain goes to the log."""
_DAY_MS: Final = 86_400_000
_log = structlog.get_logger(__name__)


_Done = Future[None] | asyncio.Future[None]


class _Waiting(msgspec.Struct, frozen=True):
    """An entry to be written (None: only to see whether one could be), and who waits for that, on which event loop."""

    entry: Entry | None
    done: _Done
    loop: asyncio.AbstractEventLoop | None


class Auditor:
    """Writes entries into the audit of a directory. Safe to use from several threads and event loops."""

    def __init__(self, directory: Directory) -> None:
        self._directory = directory
        self._writer = directory.audit_writer()
        self._changed = threading.Condition()
        self._waiting: list[_Waiting] = []
        self._thread: threading.Thread | None = None
        self._closed = False
        self._failed = False
        self._head: Link | None = None
        self._told_ms = 0
        self._told_head: Link | None = None

    async def record(self, entry: Entry) -> None:
        """Write an entry, and wait for its commit."""
        await self._awaited(entry)

    def note(self, entry: Entry) -> None:
        """Write an entry, and wait for its commit; for threads."""
        done: Future[None] = Future()
        self._put(entry, done, None)
        try:
            done.result(PATIENCE_S)
        except TimeoutError:
            raise _late() from None

    def owner(
        self, action: Action, account_id: int, target: str = "", *, rows: int | None = None, **detail: str | int
    ) -> None:
        """Note what the owner of the data directory did; for threads."""
        actor = Actor(actor=OWNER, account_id=account_id)
        self.note(entry(actor, action, target=target, rows=rows, detail=detail))

    async def refuse_failed(self) -> None:
        """Raise what stands against writing an entry, if the last one could not be written: to be called before
        something is done that cannot be undone when its entry fails."""
        if self._failed:
            await self._awaited(None)

    def keep(self, now_ms: int, days: int) -> None:
        """What is to be done now and then: drop entries of days so many ago (0: none), tell the log the head."""
        if days:
            # Whole days, so that there is one entry a day about it, and not one whenever this is called.
            before_ms = (now_ms // _DAY_MS - days) * _DAY_MS
            for _ in range(TRIMS):
                if self._directory.trim_audit(before_ms, TRIMMED_AT_ONCE) < TRIMMED_AT_ONCE:
                    break
        if now_ms >= self._told_ms + HEAD_MS:
            self._told_ms = now_ms
            self._tell()

    def close(self) -> None:
        """Write what waits, and end the thread. From now on everything is refused."""
        with self._changed:
            self._closed = True
            self._changed.notify()
        if self._thread is not None:
            self._thread.join()
        self._tell()

    def _tell(self) -> None:
        """Tell the log the head, where whoever writes the database cannot change it, unless it was told already."""
        head = self._head
        if head is not None and head != self._told_head:
            _log.info("audit_head", n=head.n, hash=head.hash.hex())
        self._told_head = head

    async def _awaited(self, entry: Entry | None) -> None:
        loop = asyncio.get_running_loop()
        done: asyncio.Future[None] = loop.create_future()
        self._put(entry, done, loop)
        late = loop.call_later(PATIENCE_S, _give_up, done)  # a fifth of what `asyncio.timeout` takes
        try:
            await done
        finally:
            late.cancel()

    def _put(self, entry: Entry | None, done: _Done, loop: asyncio.AbstractEventLoop | None) -> None:
        timed = entry and msgspec.structs.replace(entry, at_ms=now_ms())
        with self._changed:
            if self._closed:
                raise Unavailable("the audit is closed: the server is shutting down", retry_after=5)
            if len(self._waiting) >= MOST_WAITING:
                raise Unavailable("too many audit entries wait to be written; try again shortly", retry_after=1)
            self._waiting.append(_Waiting(timed, done, loop))
            if self._thread is None:
                self._thread = threading.Thread(target=self._work, name="audit", daemon=True)
                self._thread.start()
            self._changed.notify()

    def _work(self) -> None:
        while some := self._taken():
            try:
                self._head = self._writer.append([each.entry for each in some if each.entry is not None])
                error: CalldexError | None = None
            except CalldexError as failure:
                error = failure
                _log.error("audit_not_written", entries=len(some), reason=failure.message)
            except Exception:  # noqa: BLE001 - whatever it is, those who wait are refused, and the log has the reason
                error = CalldexError("the log has the reason")
                _log.error("audit_not_written", entries=len(some), exception=format_exc())
            self._failed = error is not None
            _tell(some, error)
        self._writer.close()

    def _taken(self) -> list[_Waiting]:
        """What waits, when there is something; nothing at the end."""
        with self._changed:
            self._changed.wait_for(lambda: self._waiting or self._closed)
            some, self._waiting = self._waiting[:TOGETHER], self._waiting[TOGETHER:]
        return some


def _tell(some: Sequence[_Waiting], error: CalldexError | None) -> None:
    """Let those go on who wait: all of one event loop by waking it once."""
    for loop in {each.loop for each in some}:
        waiting = [each.done for each in some if each.loop is loop]
        if loop is None:
            _settle(waiting, error)
        else:
            with suppress(RuntimeError):  # the loop has ended, and so has whoever waited
                loop.call_soon_threadsafe(_settle, waiting, error)


def _settle(waiting: Sequence[_Done], error: CalldexError | None) -> None:
    for done in waiting:
        if done.done():
            continue  # whoever waited has left; what they did is noted all the same
        if error is None:
            done.set_result(None)
        else:
            done.set_exception(_refusal(error))


def _give_up(done: asyncio.Future[None]) -> None:
    if not done.done():
        done.set_exception(_late())


def _late() -> Unavailable:
    return Unavailable(
        f"the audit entry was not written within {PATIENCE_S:g} s, so the request is not answered", retry_after=2
    )


def _refusal(error: CalldexError) -> CalldexError:
    """One of its own for each who waits, as each adds to its traceback."""
    kind = DiskFull if isinstance(error, DiskFull) else Unavailable
    return kind(
        f"this cannot be noted in the audit now, so the request is not answered: {error.message}", retry_after=1
    )

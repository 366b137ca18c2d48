"""What is done under the eyes of the audit: noted when it has ended, with how it ended.

Every surface does what is audited within `noting`. It knows no request: who acts is an `Actor`.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

import msgspec

from calldex.audit.chain import Action, Actor, Detail, entry
from calldex.audit.writer import Auditor
from calldex.errors import CalldexError, Forbidden, Unavailable

_READS: Final[frozenset[Action]] = frozenset(
    (
        "search",
        "look_up",
        "details",
        "listen",
        "download",
        "export",
        "export_fetched",
        "changes_read",
        "audit_read",
        "seen_as",
        "sign_in",
        "sign_in_failed",
    )
)
"""What changes nothing that is kept."""


class Noted(msgspec.Struct):
    """What there is to tell beside who acts; whoever acts sets it on the way. `begun` says that something has left
    already, so that it is noted however it ends."""

    target: str = ""
    detail: Detail = {}
    rows: int | None = None
    status: int = 200
    begun: bool = False


@asynccontextmanager
async def noting(auditor: Auditor, actor: Actor, action: Action) -> AsyncIterator[Noted]:
    """Everything that somebody does once it is known who it is. What they did is noted when it is done, what is
    forbidden is noted as such, and what breaks off after it has begun with the reason; what is refused for another
    reason was not done.

    Raises `Unavailable` or `DiskFull` if it cannot be noted.
    """
    await auditor.refuse_failed()
    noted = Noted()
    try:
        yield noted
    except Forbidden as refused:
        detail = {**noted.detail, "refused": refused.message.replace("\n", "; ")}
        await auditor.record(entry(actor, action, target=noted.target, detail=detail, rows=0, status=refused.status))
        raise
    except BaseException as failure:
        if noted.begun:
            detail = {**noted.detail, "ended": _ending(failure)}
            await auditor.record(
                entry(actor, action, target=noted.target, detail=detail, rows=noted.rows, status=noted.status)
            )
        raise
    try:
        await auditor.record(
            entry(actor, action, target=noted.target, detail=noted.detail, rows=noted.rows, status=noted.status)
        )
    except Unavailable as unnoted:
        if action not in _READS:  # it was done before it could be noted: who sent it has to know
            unnoted.message += "; what was sent is kept nevertheless"
        raise


def _ending(failure: BaseException) -> str:
    """How something ended that had begun."""
    if isinstance(failure, CalldexError):
        return failure.message
    if isinstance(failure, GeneratorExit):
        return "left before its end"
    if isinstance(failure, asyncio.CancelledError):
        return str(failure) or "the server stopped"
    return "a fault of the server's own"

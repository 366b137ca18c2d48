"""What a request does, noted in the audit before it is answered."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import msgspec
from starlette.requests import Request

from calldex.access import Principal
from calldex.audit.chain import Action, Actor, Detail, entry
from calldex.audit.writer import Auditor
from calldex.errors import Forbidden
from calldex.transport.requests import address_of


class Noted(msgspec.Struct):
    """What there is to tell of a request beside who sent it; a handler sets it on the way."""

    target: str = ""
    detail: Detail = {}
    rows: int | None = None
    status: int = 200


@asynccontextmanager
async def audited(auditor: Auditor, request: Request, principal: Principal, action: Action) -> AsyncIterator[Noted]:
    """Everything that a handler does once it knows who asks. What it did is noted when it is done, and what is
    forbidden is noted as such; a request that is refused for another reason did nothing.

    Raises `Unavailable` or `DiskFull` if it cannot be noted.
    """
    await auditor.ready()
    actor, noted = actor_of(request, principal), Noted()
    try:
        yield noted
    except Forbidden as refused:
        detail = {**noted.detail, "refused": refused.message.replace("\n", "; ")}
        await auditor.record(entry(actor, action, target=noted.target, detail=detail, rows=0, status=refused.status))
        raise
    await auditor.record(
        entry(actor, action, target=noted.target, detail=noted.detail, rows=noted.rows, status=noted.status)
    )


def actor_of(request: Request, principal: Principal) -> Actor:
    """Who acts, by a request that he sent."""
    return Actor(
        actor=principal.email,
        account_id=principal.account_id,
        user_id=principal.user_id,
        credential=principal.credential,
        address=address_of(request),
        request_id=request.scope["calldex.request_id"],
    )

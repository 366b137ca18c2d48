"""Who sends a request, as the audit and the readers of records know them."""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager

import msgspec
from starlette.requests import Request

from calldex.access import Principal
from calldex.audit.chain import Action, Actor, Seer
from calldex.audit.noting import Noted, noting
from calldex.audit.writer import Auditor
from calldex.directory import Directory, SessionOwner
from calldex.search.reader import Caller
from calldex.transport.requests import Pairs, address_of, caller, pairs_of


def audited(
    auditor: Auditor, request: Request, principal: Principal, action: Action
) -> AbstractAsyncContextManager[Noted]:
    """See `noting`."""
    return noting(auditor, actor_of(request, principal), action)


async def asked(request: Request, directory: Directory, *, streams: bool = False) -> tuple[Caller, Pairs]:
    """Who asks for records, and by which parameters. Raises what `transport.requests.caller` does."""
    principal, pairs = await caller(request, directory, await pairs_of(request))
    return caller_of(request, principal, streams=streams), pairs


def caller_of(request: Request, principal: Principal, *, streams: bool = False) -> Caller:
    """Who sent a request, for those who read records. A reply that `streams` notices by itself that they left."""
    return Caller(principal, actor_of(request, principal), None if streams else request.receive)


def actor_of(request: Request, principal: Principal) -> Actor:
    """Who acts, by a request that they sent."""
    actor = Actor(
        actor=principal.email,
        account_id=principal.account_id,
        user_id=principal.user_id,
        credential=principal.credential,
        address=address_of(request),
        request_id=request.scope["calldex.request_id"],
    )
    if isinstance(principal, SessionOwner) and principal.seen_as:
        return Seer(**msgspec.structs.asdict(actor), seen_as=principal.seen_as)
    return actor

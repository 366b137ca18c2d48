"""The look-ups: what records call agents, queues, teams, campaigns and wrap-up codes, and who the users are.

Bare JSON arrays. Who sees the whole account sees all of it; others see what the records within their reach name, and
what their reach itself lists. What the mask hides in records is not listed either, and what it masks is masked here.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Final

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from calldex.access import Mask, Scope
from calldex.access.masking import masked_label
from calldex.api.audited import audited
from calldex.api.cdr import readable
from calldex.audit.chain import withheld
from calldex.directory import ListedUser, Named, NamedKind, UserFilter, WrapupCode
from calldex.errors import Forbidden
from calldex.node import Node
from calldex.store import Mentioned
from calldex.transport.replies import JSON, PRIVATE, sized
from calldex.transport.requests import caller, only, pairs_of
from calldex.transport.workers import Workers

KINDS: Final[Mapping[str, NamedKind]] = {
    "agents": "agent",
    "queues": "queue",
    "campaigns": "campaign",
    "teams": "team",
    "wrapup_codes": "wrapup_code",
}
"""The last part of a look-up's path, and what it lists."""
USER_FILTERS: Final[Mapping[str, str]] = {
    "name": "A part of the name.",
    "email": "A part of the e-mail address.",
    "sip_account": "The SIP account.",
    "sag": "The name of the access group.",
    "extension": "The extension.",
    "caller_id": "The caller id.",
    "timezone": "The time zone in which the user's days are cut.",
}

Listed = list[Named] | list[WrapupCode] | list[ListedUser]


class Lookups:
    """The handlers, over a node."""

    def __init__(self, node: Node, workers: Workers) -> None:
        self._directory = node.directory
        self._store = node.store
        self._audit = node.audit
        self._workers = workers

    def of(self, kind: NamedKind) -> Callable[[Request], Awaitable[Response]]:
        """The handler that lists one kind of thing."""

        def listed(scope: Scope, _: Mapping[str, str]) -> Listed:
            seen = self._within(scope)
            if kind == "wrapup_code":
                codes = self._directory.wrapup_codes(scope.account_id)
                return _masked_codes(
                    [each for each in codes if seen is None or each.code in seen.wrapup_codes], scope.mask
                )
            entries = self._directory.lookup(scope.account_id, kind)
            return _masked(
                [each for each in entries if seen is None or each.id in getattr(seen, f"{kind}s")], scope.mask
            )

        async def get(request: Request) -> Response:
            return await self._answer(request, f"{kind}s", (), listed)

        return get

    async def users(self, request: Request) -> Response:
        """The users of the account, or those among them whose records can be seen."""

        def listed(scope: Scope, given: Mapping[str, str]) -> Listed:
            if scope.mask.numbers and "caller_id" in given:
                raise Forbidden("the filter caller_id needs the permission see_numbers")
            seen = self._within(scope)
            return self._directory.list_users(
                scope.account_id,
                UserFilter(**given),
                agents=None if seen is None else seen.agents,
                teams=None if seen is None else seen.teams,
            )

        return await self._answer(request, "users", tuple(USER_FILTERS), listed)

    def _within(self, scope: Scope) -> Mentioned | None:
        """What may be listed: None, all of it."""
        if scope.whole:
            return None
        named = self._store.mentioned(scope)
        return Mentioned(
            agents=named.agents | set(scope.agents),
            queues=named.queues | set(scope.queues),
            campaigns=named.campaigns | set(scope.campaigns),
            teams=named.teams | set(scope.teams),
            wrapup_codes=named.wrapup_codes,
        )

    async def _answer(
        self,
        request: Request,
        name: str,
        known: tuple[str, ...],
        listed: Callable[[Scope, Mapping[str, str]], Listed],
    ) -> Response:
        owner, pairs = await caller(request, self._directory, await pairs_of(request), time.time_ns() // 1_000_000)
        async with audited(self._audit, request, owner, "look_up") as noted:
            noted.target = name
            scope = readable(owner)
            given = only(pairs, known)
            noted.detail = {parameter: withheld(value) for parameter, value in given.items()}
            accept = request.headers.get("accept-encoding", "")

            def answer() -> tuple[Response, int]:
                found = listed(scope, given)
                return sized(msgspec.json.encode(found), accept, JSON, PRIVATE), len(found)

            async with self._workers.place(request.receive):
                reply, noted.rows = await self._workers.run(answer)
        return reply


def _masked(entries: list[Named], mask: Mask) -> list[Named]:
    """What things are called as records say it under a mask; in order of that, since any other would tell more."""
    if not mask.numbers:
        return entries
    return sorted((Named(each.id, masked_label(each.name)) for each in entries), key=lambda each: (each.name, each.id))


def _masked_codes(codes: list[WrapupCode], mask: Mask) -> list[WrapupCode]:
    """The same of wrap-up codes; none where records have them hidden."""
    if "wrapup_code" in mask.hidden:
        return []
    if "wrapup_description" in mask.hidden:
        codes = [WrapupCode(each.code, each.code) for each in codes]
    elif mask.numbers:
        codes = [WrapupCode(each.code, masked_label(each.description)) for each in codes]
    return sorted(codes, key=lambda each: (each.description, each.code))

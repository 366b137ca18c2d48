"""The look-ups: what records call agents, queues, teams, campaigns and wrap-up codes, and who the users are.

Bare JSON arrays, of the asker's account alone.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Final

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from calldex.api.cdr import readable
from calldex.api.inputs import caller, only, pairs_of
from calldex.api.reply import JSON, sized
from calldex.api.workers import Workers
from calldex.directory import ListedUser, Named, NamedKind, UserFilter, WrapupCode
from calldex.node import Node

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
_HEADERS: Final = {"Cache-Control": "private, no-cache", "Vary": "Accept-Encoding, Authorization"}

Listed = list[Named] | list[WrapupCode] | list[ListedUser]


class Lookups:
    """The handlers, over a node."""

    def __init__(self, node: Node, workers: Workers) -> None:
        self._directory = node.directory
        self._workers = workers

    def of(self, kind: NamedKind) -> Callable[[Request], Awaitable[Response]]:
        """The handler that lists one kind of thing."""

        def listed(account_id: int, _: Mapping[str, str]) -> Listed:
            if kind == "wrapup_code":
                return self._directory.wrapup_codes(account_id)
            return self._directory.lookup(account_id, kind)

        async def get(request: Request) -> Response:
            return await self._answer(request, (), listed)

        return get

    async def users(self, request: Request) -> Response:
        """The users of the account."""
        return await self._answer(
            request,
            tuple(USER_FILTERS),
            lambda account_id, given: self._directory.list_users(account_id, UserFilter(**given)),
        )

    async def _answer(
        self, request: Request, known: tuple[str, ...], listed: Callable[[int, Mapping[str, str]], Listed]
    ) -> Response:
        owner, pairs = caller(request, self._directory, await pairs_of(request), time.time_ns() // 1_000_000)
        account_id = readable(owner).account_id
        given = only(pairs, known)
        accept = request.headers.get("accept-encoding", "")

        def answer() -> Response:
            return sized(msgspec.json.encode(listed(account_id, given)), accept, JSON, _HEADERS)

        async with self._workers.place(request.receive):
            return await self._workers.run(answer)

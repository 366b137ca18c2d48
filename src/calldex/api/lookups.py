"""The look-ups: what records call agents, queues, teams, campaigns and wrap-up codes, and who the users are.

Bare JSON arrays. Who sees the whole account sees all of it; others see what the records within their reach name, and
what their reach itself lists. What the mask hides in records is not listed either, and what it masks is masked here.
"""

from __future__ import annotations

import hashlib
from collections.abc import Awaitable, Callable, Mapping
from typing import Annotated, Final

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from calldex.access import Mask
from calldex.access.masking import masked_label
from calldex.api.audited import asked
from calldex.api.endpoint import ERRORS, Endpoint, over
from calldex.directory import ListedUser, Named, NamedKind, UserFilter, WrapupCode
from calldex.errors import Forbidden
from calldex.node import Node
from calldex.search.query import O, Own, Parameters
from calldex.search.reader import Reader, Reading, Search
from calldex.transport.replies import JSON, PRIVATE, coding_for, sized, tag_matches

KINDS: Final[Mapping[str, NamedKind]] = {
    "agents": "agent",
    "queues": "queue",
    "campaigns": "campaign",
    "teams": "team",
    "wrapup_codes": "wrapup_code",
}
"""The last part of a look-up's path, and what it lists."""


class UserOptions(Own, frozen=True, kw_only=True):
    """Which users: those that fit everything that is given."""

    name: Annotated[str, msgspec.Meta(description="A part of the name.")] = ""
    email: Annotated[str, msgspec.Meta(description="A part of the e-mail address.")] = ""
    sip_account: Annotated[str, msgspec.Meta(description="The SIP account.")] = ""
    sag: Annotated[str, msgspec.Meta(description="The name of the access group.")] = ""
    extension: Annotated[str, msgspec.Meta(description="The extension.")] = ""
    caller_id: Annotated[str, msgspec.Meta(description="The caller id.")] = ""
    timezone: Annotated[str, msgspec.Meta(description="The time zone in which the user's days are cut.")] = ""

    def given(self) -> dict[str, str]:
        """What is given of them."""
        return {name: value for name, value in msgspec.structs.asdict(self).items() if value}


LOOK_UP: Final = Reading(action="look_up", takes=Parameters(Own, filters=False, days=False), waits=False)
LIST_USERS: Final = Reading(action="look_up", takes=Parameters(UserOptions, filters=False, days=False), waits=False)

Listed = list[Named] | list[WrapupCode] | list[ListedUser]


class Lookups:
    """The handlers, over a node."""

    def __init__(self, node: Node, reader: Reader) -> None:
        self._directory = node.directory
        self._reader = reader

    def of(self, kind: NamedKind) -> Callable[[Request], Awaitable[Response]]:
        """The handler that lists one kind of thing."""

        def listed(search: Search[Own]) -> Listed:
            scope, seen = search.scope, search.mentioned()
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
            return await self._answer(request, f"{kind}s", LOOK_UP, listed)

        return get

    async def users(self, request: Request) -> Response:
        """The users of the account, or those among them whose records can be seen."""

        def listed(search: Search[UserOptions]) -> Listed:
            scope, seen = search.scope, search.mentioned()
            for name in ("caller_id", "sip_account"):
                if scope.mask.numbers and getattr(search.own, name):
                    raise Forbidden(f"the filter {name} needs the permission see_numbers")
            return self._directory.list_users(
                scope.account_id,
                UserFilter(**search.own.given()),
                agents=None if seen is None else seen.agents,
                teams=None if seen is None else seen.teams,
            )

        return await self._answer(request, "users", LIST_USERS, listed)

    async def _answer(
        self, request: Request, name: str, reading: Reading[O], listed: Callable[[Search[O]], Listed]
    ) -> Response:
        caller, pairs = await asked(request, self._directory)
        async with self._reader.open(caller, reading, pairs, target=name) as search:
            accept = request.headers.get("accept-encoding", "")

            def answer() -> tuple[Response, int]:
                found = listed(search)
                body = msgspec.json.encode(found)
                tag = f"{hashlib.sha256(body).hexdigest()[:32]}-{coding_for(accept)}"
                headers = {**PRIVATE, "ETag": f'"{tag}"'}
                if tag_matches(request.headers.get("if-none-match"), tag):
                    return Response(None, 304, headers), 0
                return sized(body, accept, JSON, headers), len(found)

            reply, search.noted.rows = await search.run(answer)
            search.noted.status = reply.status_code
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


def _endpoint(name: str, kind: NamedKind) -> Endpoint:
    words = name.replace("_codes", "-up codes").replace("wrapup", "wrap")
    return over(LOOK_UP)(
        path=f"/api/v2/cdr/{name}",
        handler=lambda handlers: handlers.lookups.of(kind),
        id=f"look_up_{name}",
        tag="Look-ups",
        summary=f"The {words} that records name",
        description=f"Every one of the {words} seen in a record of the account.",
        gives=list[WrapupCode] if kind == "wrapup_code" else list[Named],
        errors=(304, *ERRORS),
    )


ENDPOINTS: Final = (
    *(_endpoint(name, kind) for name, kind in KINDS.items()),
    over(LIST_USERS)(
        path="/api/v3/cdr/users",
        handler=lambda handlers: handlers.lookups.users,
        id="look_up_users",
        tag="Look-ups",
        summary="The users of the account",
        description="All of them, or those that fit every parameter given. Letter case does not count.",
        gives=list[ListedUser],
        errors=(304, *ERRORS),
    ),
)

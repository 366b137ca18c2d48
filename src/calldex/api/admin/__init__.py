"""The administration over HTTP: users, teams, groups, keys, names and the account, for who may manage them.

Everything here is of the caller's own account; what is another's is not there for them. Who may do what to whom stands
in `rights` alone, and is looked at within the transaction of the change. `VERBS` is the whole surface: its endpoints
are made from it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from starlette.requests import Request
from starlette.responses import Response

from calldex.api.admin import account, groups, keys, names, teams, users
from calldex.api.admin.endpoint import BODY_LIMIT, CSV, PREFIX, Nothing, Verb, answered
from calldex.api.endpoint import ERRORS, ID_SCHEMA, Endpoint, Handler, parameter, query_of
from calldex.errors import CalldexError, TooMany
from calldex.node import Node
from calldex.transport.replies import JSON
from calldex.transport.workers import Workers

AT_ONCE: Final = 2
WAITING: Final = 64
VERBS: Final[tuple[Verb, ...]] = (
    *users.VERBS,
    *teams.VERBS,
    *groups.VERBS,
    *keys.VERBS,
    *names.VERBS,
    *account.VERBS,
)
_IN_PATH: Final = {"id": ID_SCHEMA, "code": {"type": "string", "minLength": 1, "maxLength": 64}}


class Administration:
    """The handlers, over a node."""

    def __init__(self, node: Node) -> None:
        self._node = node
        # Of its own, so that a key can be revoked however busy those are who search and write.
        self._workers = Workers("admin", AT_ONCE, WAITING, _too_many)

    def of(self, verb: Verb) -> Handler:
        """The handler that does something."""

        async def handle(request: Request) -> Response:
            return await answered(self._node, self._workers, verb, request)

        return handle


def _too_many() -> CalldexError:
    return TooMany("too many requests that administer are running and waiting; try again shortly", retry_after=1)


def _endpoint(verb: Verb) -> Endpoint:
    parameters = [
        parameter(name, f"The {name}.", schema, where="path")
        for name, schema in _IN_PATH.items()
        if f"{{{name}}}" in verb.path
    ]
    body: dict[str, Any] | None = None
    if verb.method == "GET":
        parameters += query_of(verb.takes)
    elif verb.takes is bytes:
        body = {CSV: {"type": "string", "maxLength": BODY_LIMIT}}
    elif verb.takes is not Nothing:
        body = {JSON: verb.takes}
    return Endpoint(
        method=verb.method,
        path=PREFIX + verb.path,
        handler=_handler(verb),
        id=verb.id,
        tag="Administration",
        summary=verb.summary,
        description=verb.description,
        gives=None if verb.gives is type(None) else verb.gives,
        status=verb.status,
        credential="key",
        needs=verb.needs,
        action=verb.action,
        limit="administration",
        parameters=tuple(parameters),
        body=body,
        errors=(*ERRORS, 404, 409),
    )


def _handler(verb: Verb) -> Callable[[Any], Handler]:
    return lambda handlers: handlers.administration.of(verb)


ENDPOINTS: Final = tuple(map(_endpoint, VERBS))

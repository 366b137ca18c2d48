"""The administration over HTTP: `/api/admin/v1`, made of the verbs of `admin`; and of other verbs that change what the
directory keeps, at addresses of their own.

A request becomes a verb's subject and what it is given, its result a reply. Decides nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from calldex.admin import VERBS, missed, views
from calldex.admin.verb import Doer, Nothing, Verb, do
from calldex.api.audited import actor_of
from calldex.api.endpoint import ERRORS, ID_SCHEMA, Endpoint, Handler, parameter, query_of
from calldex.errors import BadRequest, CalldexError, TooMany, UnsupportedMedia
from calldex.inputs import from_json, from_members
from calldex.node import Node
from calldex.texts import holds_key
from calldex.transport.replies import JSON, sized
from calldex.transport.requests import Pairs, body_of, caller, media_type_of, only, query_pairs
from calldex.transport.workers import Workers

PREFIX: Final = "/api/admin/v1"
BODY_LIMIT: Final = 1 << 20
CSV: Final = "text/csv"
AT_ONCE: Final = 2
WAITING: Final = 64
_IN_PATH: Final[dict[str, dict[str, Any]]] = {
    "id": ID_SCHEMA,
    "code": {"type": "string", "minLength": 1, "maxLength": 64},
    "uuid": {"type": "string"},
}


class Administration:
    """The handlers, over a node."""

    def __init__(self, node: Node) -> None:
        self._node = node
        # Of its own, so that a key can be revoked however busy those are who search and write.
        self._workers = Workers("admin", AT_ONCE, WAITING, _too_many)

    def of(self, verb: Verb) -> Handler:
        """The handler that does something."""

        async def handle(request: Request) -> Response:
            actor, pairs = await caller(request, self._node.directory, query_pairs(request))
            doer = Doer(principal=actor, actor=actor_of(request, actor))
            subject = "".join(map(str, request.path_params.values()))

            async def receive() -> bytes:
                return await body_of(request, BODY_LIMIT)

            def read(body: bytes) -> Any:
                return _given(request, verb, pairs, body)

            accept = request.headers.get("accept-encoding", "")

            async def run(work: Callable[[], Any]) -> Response:
                async with self._workers.place(request.receive):
                    return await self._workers.run(lambda: _response(verb, work(), accept))

            reply: Response = await do(self._node, verb, doer, subject, receive=receive, read=read, run=run)
            return reply

        return handle


def _response(verb: Verb, reply: Any, accept: str) -> Response:
    headers = {"Cache-Control": "no-store"}
    if reply is None:
        return Response(None, verb.status, headers)
    response = sized(msgspec.json.encode(reply), accept, JSON, headers)
    response.status_code = verb.status
    return response


def _given(request: Request, verb: Verb, pairs: Pairs, body: bytes) -> Any:
    """What was sent, as what the function takes."""
    takes = verb.takes
    if verb.method == "GET" or takes is Nothing:
        if body:
            raise BadRequest("this address takes no body")
        return from_members(only(pairs, takes.__struct_fields__), takes, text=True)
    only(pairs, ())
    wanted = CSV if takes is bytes else JSON
    if media_type_of(request) != wanted:
        raise UnsupportedMedia(f"the body of this request must be sent as {wanted}")
    if request.headers.get("content-encoding", "identity").lower() != "identity":
        raise UnsupportedMedia("the body of this request must not be compressed")
    if holds_key(body.decode("latin-1")):  # or it would be kept as a name
        raise BadRequest("the body holds what looks like a key; a key is sent with the request and nowhere else")
    return body if takes is bytes else from_json(body, takes)


def _too_many() -> CalldexError:
    return TooMany("too many requests that administer are running and waiting; try again shortly", retry_after=1)


def _endpoint(verb: Verb, prefix: str = PREFIX, tag: str = "Administration") -> Endpoint:
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
        path=prefix + verb.path,
        handler=_handler(verb),
        id=verb.id,
        tag=tag,
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


ENDPOINTS: Final = (
    *(_endpoint(verb) for verb in VERBS if verb.path),
    *(_endpoint(verb, "", "Missed calls") for verb in missed.VERBS),
    *(_endpoint(verb, "", "Saved views") for verb in views.VERBS),
)

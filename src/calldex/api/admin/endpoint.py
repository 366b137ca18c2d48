"""An operation of the administration: how a request becomes a call of a function, and its result a reply.

A function is the whole truth of its operation: what it takes and gives back are its annotations, what it does is its
docstring; the OpenAPI document is made from the same. It runs in a thread, and knows no HTTP.
"""

from __future__ import annotations

import inspect
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, nullcontext
from functools import cache
from typing import Annotated, Any, Final, Generic, Literal, TypeVar, get_type_hints

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from calldex.access import Permission, Principal, permit
from calldex.api.audited import audited
from calldex.audit.chain import Action
from calldex.audit.noting import Noted
from calldex.directory import Directory, Imported, NamedKind
from calldex.errors import BadRequest, NotFound, UnsupportedMedia
from calldex.inputs import from_json, from_members
from calldex.node import Node
from calldex.texts import holds_key
from calldex.transport.replies import JSON, sized
from calldex.transport.requests import Pairs, body_of, caller, media_type_of, only, query_pairs
from calldex.transport.workers import Workers

PREFIX: Final = "/api/admin/v1"
BODY_LIMIT: Final = 1 << 20
CSV: Final = "text/csv"
MOST_PER_PAGE: Final = 1_000
MANAGE_USERS: Final[tuple[Permission, ...]] = ("manage_users",)
MANAGE_ACCESS: Final[tuple[Permission, ...]] = ("manage_access",)
EITHER: Final[tuple[Permission, ...]] = ("manage_users", "manage_access")

_WORDS: Final[Mapping[NamedKind, str]] = {
    "agent": "Agents",
    "queue": "Queues",
    "campaign": "Campaigns",
    "wrapup_code": "Wrap-up codes",
}
_TOLD: Final = frozenset(
    (
        "role",
        "groups",
        "permissions",
        "reach",
        "scopes",
        "networks",
        "disabled",
        "sensitive",
        "agents_see_own",
        "vocabulary",
    )
)
"""Members whose values the audit has; of the others, that they were given."""

Method = Literal["GET", "POST", "PUT", "PATCH", "DELETE"]
Id = Annotated[int, msgspec.Meta(ge=1, lt=2**53, description="a whole number from 1 to 9007199254740991")]
T = TypeVar("T")


class Nothing(msgspec.Struct, frozen=True):
    """What an operation takes that needs nothing but its address."""


class Paging(msgspec.Struct, frozen=True, kw_only=True):
    """Which part of a list."""

    page: Annotated[int, msgspec.Meta(ge=1, lt=2**31)] = 1
    per_page: Annotated[int, msgspec.Meta(ge=1, le=MOST_PER_PAGE)] = 100


class Listing(msgspec.Struct, Generic[T], frozen=True):
    """A part of a list, and how many there are in all."""

    items: list[T]
    total: int


def paged(found: Sequence[T], paging: Paging) -> Listing[T]:
    """The part that was asked for."""
    begin = (paging.page - 1) * paging.per_page
    return Listing(list(found[begin : begin + paging.per_page]), len(found))


def note_import(call: Call, done: Imported) -> None:
    """Tell the audit what a file changed."""
    call.noted.detail = {"added": done.added, "changed": done.changed}
    call.noted.rows = done.added + done.changed


class Call(msgspec.Struct, frozen=True):
    """What a function knows of the request: whose it is, the names in its address, the kind of thing that the address
    is about if there are several, and where to tell the audit whom or what it was done to."""

    node: Node
    actor: Principal
    path: Mapping[str, str]
    kind: NamedKind
    noted: Noted

    @property
    def directory(self) -> Directory:
        """The directory to ask and to change."""
        return self.node.directory

    def id(self, noun: str) -> int:
        """The id in the address; `NotFound` where it is none."""
        text = self.path["id"]
        if text.isascii() and text.isdecimal() and text[0] != "0" and int(text[:17]) < 2**53:
            return int(text)
        raise NotFound(f"there is no {noun} {text[:100]!r}; an id is a whole number")


class Verb(msgspec.Struct, frozen=True):
    """An operation: `work` gets the call and what was sent, and returns what is replied.

    A GET takes what was sent from the query string, the others from their JSON body, or as `bytes` from a body of CSV.
    `needs` are permissions of which one will do, `action` what the audit calls it, `kind` what the names of `names` are
    the names of.
    """

    method: Method
    path: str
    work: Callable[..., Any]
    needs: tuple[Permission, ...]
    action: Action | None = None
    kind: NamedKind | None = None

    @property
    def id(self) -> str:
        """What programs call it."""
        return self.work.__name__ + (f"_of_{self.kind}" if self.kind else "")

    @property
    def takes(self) -> Any:
        """The struct it takes, or `bytes`."""
        return list(_annotations(self.work).values())[1]

    @property
    def gives(self) -> Any:
        """The struct it gives back, or `NoneType`."""
        return _annotations(self.work)["return"]

    @property
    def status(self) -> int:
        """The status of its reply."""
        if self.gives is type(None):
            return 204
        return 201 if self.work.__name__.startswith("create_") else 200

    @property
    def summary(self) -> str:
        """What it does, in a line."""
        line = inspect.cleandoc(self.work.__doc__ or "").partition("\n")[0].removesuffix(".")
        return f"{_WORDS[self.kind]}: {line[0].lower()}{line[1:]}" if self.kind else line

    @property
    def description(self) -> str:
        """What else there is to know."""
        more = " ".join(inspect.cleandoc(self.work.__doc__ or "").partition("\n")[2].split())
        return f"{more}\n\nNeeds {' or '.join(f'`{permission}`' for permission in self.needs)}.".strip()


@cache
def _annotations(work: Callable[..., Any]) -> dict[str, Any]:
    return get_type_hints(work, include_extras=True)


async def answered(node: Node, workers: Workers, endpoint: Verb, request: Request) -> Response:
    """The reply to a request for something."""
    actor, pairs = await caller(request, node.directory, query_pairs(request), time.time_ns() // 1_000_000)
    async with _noting(node, request, actor, endpoint) as noted:
        permit(actor, endpoint.needs)
        body = await body_of(request, BODY_LIMIT)
        noted.status = endpoint.status
        path = {name: str(value) for name, value in request.path_params.items()}
        call = Call(node, actor, path, endpoint.kind or "agent", noted)
        accept = request.headers.get("accept-encoding", "")

        def answer() -> Response:
            given = _given(request, endpoint, pairs, body)
            noted.detail = _told(given)
            return _response(endpoint, endpoint.work(call, given), accept)

        async with workers.place(request.receive):
            return await workers.run(answer)


def _noting(node: Node, request: Request, actor: Principal, endpoint: Verb) -> AbstractAsyncContextManager[Noted]:
    if endpoint.action is None:
        return nullcontext(Noted())
    return audited(node.audit, request, actor, endpoint.action)


def _told(given: Any) -> dict[str, str | int]:
    """What the audit tells of what was sent: which members, and the values of those that are about rights."""
    members = {} if isinstance(given, bytes) else msgspec.to_builtins(given)
    told: dict[str, str | int] = {}
    for name, value in members.items():
        text = value if isinstance(value, str) else msgspec.json.encode(value).decode()
        told[name] = text if name in _TOLD else "given"
    return told


def _response(endpoint: Verb, reply: Any, accept: str) -> Response:
    headers = {"Cache-Control": "no-store"}
    if reply is None:
        return Response(None, endpoint.status, headers)
    response = sized(msgspec.json.encode(reply), accept, JSON, headers)
    response.status_code = endpoint.status
    return response


def _given(request: Request, endpoint: Verb, pairs: Pairs, body: bytes) -> Any:
    """What was sent, as what the function takes. For threads: a body of a megabyte takes its time."""
    takes = endpoint.takes
    if endpoint.method == "GET" or takes is Nothing:
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

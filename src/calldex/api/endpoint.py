"""What a route of the public surface declares: everything that its router, the OpenAPI document, `/docs`, the audit and
the limits need to know of it.

Each module of handlers has its endpoints beside them, `routes` lists all, `app` routes them, `openapi` describes them.
A schema says what is accepted, not more.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Iterator, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any, Final, Literal

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from calldex.access import SCOPES, KeyScope, Permission
from calldex.audit.chain import Action
from calldex.inputs import parameters_of
from calldex.records.fields import DAY_PARAMETERS, FILTER_PARAMETERS, FILTERS, Filter, Op, Parameter
from calldex.search.query import Parameters
from calldex.search.reader import Reading
from calldex.transport.replies import JSON

if TYPE_CHECKING:
    from calldex.api.app import Handlers

Json = dict[str, Any]
Handler = Callable[[Request], Awaitable[Response]]
Method = Literal["GET", "POST", "PUT", "PATCH", "DELETE"]
Credential = Literal["key", "session", "none"]
"""What one has to come with: a key or a session, a session, or nothing."""
Limit = Literal["searches", "streams", "jobs", "ingest", "administration", "signing in", "recordings", "none"]
"""Whose places a request takes up: so many run at once, so many wait, who comes then is refused."""

ERRORS: Final = (400, 401, 403, 408, 413, 415, 429, 500, 503)
"""The errors that any request with a key can end in."""
SIGNING_IN_ERRORS: Final = (400, 401, 403, 429, 500, 503)
ID_SCHEMA: Final = {"type": "integer", "minimum": 1, "maximum": 2**53 - 1}
"""The id of something, in a path."""
_UUID: Final = "[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}"
_ID: Final = "[1-9][0-9]{0,14}"


class Endpoint(msgspec.Struct, frozen=True, kw_only=True):
    """One method of one path.

    `gives` is the type of its reply, in JSON unless `media_type` says else (None: no body); `body` the schemas of what
    it takes, by media type. `needs` are its permissions. `errors` are its statuses beside `status`, that of success.
    """

    path: str
    handler: Callable[[Handlers], Handler]
    id: str
    tag: str
    summary: str
    description: str
    gives: Any = None
    method: Method = "GET"
    status: int = 200
    media_type: str = JSON
    other_types: tuple[str, ...] = ()
    """What the reply can be instead: bytes or text of these types."""
    credential: Credential = "none"
    needs: tuple[Permission, ...] = ()
    action: Action | None = None
    limit: Limit = "none"
    parameters: tuple[Json, ...] = ()
    body: Mapping[str, Any] | None = None
    errors: tuple[int, ...] = (500,)
    documented: bool = True
    """Whether it is for programs; the addresses of the page are not."""

    @property
    def scope(self) -> KeyScope | None:
        """The scope that a key needs."""
        return next((scope for scope, permitted in SCOPES.items() if set(self.needs) & permitted), None)


def over(reading: Reading[Any]) -> Callable[..., Endpoint]:
    """An endpoint over records: what follows from its `Reading` is filled in."""
    return partial(
        Endpoint,
        credential="key",
        needs=reading.needs,
        action=reading.action,
        limit=reading.places,
        parameters=taken(reading.takes),
        errors=ERRORS,
    )


# --- parameters -------------------------------------------------------------------------------------------------------


def taken(parameters: Parameters[Any]) -> tuple[Json, ...]:
    """What a route over records takes, by every name."""
    own: type[msgspec.Struct] = parameters.own
    return (
        *query_of(own),
        *(map(_query, DAY_PARAMETERS) if parameters.days else ()),
        *(_filters(related=parameters.related) if parameters.filters else ()),
    )


def query_of(kind: type[msgspec.Struct]) -> Iterator[Json]:
    """The members of a struct as parameters."""
    return map(_query, parameters_of(kind))


def parameter(
    name: str, description: str, schema: Mapping[str, Any], example: Any = None, where: str = "query"
) -> Json:
    """A parameter; one in a path is required. A list is one text with commas between its items: generators send it as
    such, whatever they do with arrays."""
    found: Json = {"name": name, "in": where, "description": description, "schema": dict(schema)}
    if schema.get("type") == "array":
        found |= {"schema": _listed(schema["items"]), "style": "form", "explode": False}
    if where == "path":
        found["required"] = True
    if example not in (None, ""):
        found["example"] = int(example) if schema.get("type") == "integer" else example
    return found


def _query(declared: Parameter) -> Json:
    return parameter(declared.name, declared.description, declared.schema, declared.example)


def _filters(*, related: bool) -> Iterator[Json]:
    if related:
        yield from map(_query, FILTER_PARAMETERS)
    for filter_ in FILTERS:
        if filter_.op is Op.CALLED_BACK and not related:
            continue
        words = ", ".join(f"`{word}`" for word in filter_.all_words)
        described = filter_.description + (f" Values: {words}." if words else "")
        for name in (filter_.name, *filter_.aliases):
            yield parameter(name, described, _schema(filter_), filter_.example)


def _schema(filter_: Filter) -> Json:
    match filter_.op:
        case Op.BEGINS | Op.CONTAINS | Op.IS:
            return {"type": "string", "maxLength": 64}
        case Op.YES | Op.LACKS:
            return {"type": "string", "enum": ["yes", "no"]}
        case Op.SINCE:
            return {"type": "string", "format": "date-time"}
        case Op.LONGER | Op.SHORTER | Op.KNOWN_LONGER | Op.KNOWN_SHORTER:
            return {"type": "integer", "minimum": 0, "maximum": 2**31 - 1}
        case Op.ANY_WORD | Op.ANY_BIT | Op.CALLED_BACK:
            items: Json = {"enum": [*filter_.all_words]}
        case Op.ANY_ID | Op.ANY_OF_SET:
            items = {"pattern": _ID}
        case Op.ANY_UUID:
            items = {"pattern": _UUID}
        case _:
            items = {}
    return {"type": "array", "items": items}


def _listed(items: Mapping[str, Any]) -> Json:
    """Texts with commas between such items. How many may come is told in words: validators take no large bounds."""
    one = "|".join(map(re.escape, map(str, items["enum"]))) if "enum" in items else items.get("pattern")
    return {"type": "string"} | ({"pattern": f"^({one})(,({one}))*$"} if one else {})

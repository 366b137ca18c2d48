"""The OpenAPI document: what the public surface takes and gives, for programs.

Derived from the table (`fields`), the structs that are sent, and a short list of operations. Made once, at start. A
schema says what is accepted, not more; tests hold the server to it.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Mapping
from functools import cache
from http import HTTPStatus
from typing import Any, Final

import msgspec

import calldex
from calldex.api import admin
from calldex.api.admin.endpoint import BODY_LIMIT as ADMIN_BODY_LIMIT
from calldex.api.admin.endpoint import CSV, PREFIX, Endpoint, Id, Nothing
from calldex.api.audit import AUDIT_FILTERS, AuditPage, AuditQuery
from calldex.api.exports import EXPECTED, ExportRequest
from calldex.api.ingest import ARRAY_TYPE, BODY_LIMIT, LINES_TYPES, MOST_RECORDS
from calldex.api.lookups import KINDS, UserOptions
from calldex.api.openid import CALLBACK, START, WAYS, Ways
from calldex.api.signin import Credentials, NewPassword, SessionReply, SignedInUser
from calldex.directory import ListedUser, Named, WrapupCode
from calldex.exports import FORMATS
from calldex.inputs import parameters_of
from calldex.records.fields import DAY_PARAMETERS, FIELDS, FILTERS, MAX_VALUES, Filter, Op
from calldex.records.vocabulary import ALL_WORDS
from calldex.search.query import Own, PageRequest
from calldex.transport.cookies import SESSION
from calldex.transport.replies import JSON, CdrPage, ErrorReply, IngestReply, Readiness, Unready

Json = dict[str, Any]

_REF: Final = "#/components/schemas/{name}"
_MEANING: Final[Mapping[int, str]] = {
    304: "Nothing has changed since the reply whose `ETag` was sent as `If-None-Match`.",
    400: "Something in the request is not understood; `problems` has an entry for each parameter that is wrong.",
    401: "No valid user API key was sent, and nobody is signed in.",
    403: "The key is valid, but does not permit this.",
    404: "There is nothing of that name or id, or not for you.",
    408: "The body came too slowly.",
    409: "What was asked contradicts what is there: the scope of the key changed since the search began, the"
    " `Idempotency-Key` came before with another body, or what is to be added is there already.",
    410: "The `search_token` is too old; start the search again.",
    413: "The body is too large.",
    415: "The body is of a type that is not read.",
    429: "Too many requests, at once or over time; `Retry-After` says when to come again, and `RateLimit` and"
    " `RateLimit-Policy`, which every reply to a key has, how many may come.",
    500: "A fault of the server's own.",
    503: "The server cannot do this now; `Retry-After` says when to come again.",
}
_ERRORS: Final = (400, 401, 403, 408, 413, 415, 429, 500, 503)
"""The errors that any operation with a key can end in."""
_SIGNING_IN_ERRORS: Final = (400, 401, 403, 429, 500, 503)


class Operation(msgspec.Struct, frozen=True, kw_only=True):
    """One operation as the document needs it. `statuses` are those beside `status`, that of its success."""

    path: str
    id: str
    tag: str
    summary: str
    description: str
    reply: Json | None
    method: str = "get"
    status: int = 200
    parameters: tuple[Json, ...] = ()
    body: Json | None = None
    statuses: tuple[int, ...] = (500,)
    with_key: bool = False
    with_session: bool = False
    media_type: str = JSON
    other_types: tuple[str, ...] = ()
    """What the reply can be instead: bytes or text of these types."""


@cache
def document() -> Json:
    """The whole document; the same one each time."""
    sent = (CdrPage, ErrorReply, Unready, IngestReply, Named, WrapupCode, ListedUser, Readiness, AuditPage)
    signing_in = (Credentials, NewPassword, SignedInUser, SessionReply, Ways)
    _, schemas = msgspec.json.schema_components([*sent, *signing_in, *_administered()], ref_template=_REF)
    for schema in schemas.values():
        schema["description"] = inspect.cleandoc(schema["description"])
    _describe_record(schemas["Record"])
    paths: dict[str, Json] = {}
    for operation in operations():
        paths.setdefault(operation.path, {})[operation.method] = _operation(operation)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Calldex",
            "version": calldex.__version__,
            "summary": "Call detail records of a contact centre.",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": "/"}],
        "paths": paths,
        "components": {
            "schemas": schemas,
            "securitySchemes": {
                "key": {"type": "apiKey", "in": "query", "name": "key", "description": "A user API key."},
                "bearer": {"type": "http", "scheme": "bearer", "description": "The same key as a header."},
                "session": {
                    "type": "apiKey",
                    "in": "cookie",
                    "name": SESSION,
                    "description": "The cookie of who signed in; by TLS, `__Host-` stands before its name.",
                },
            },
        },
    }


def operations() -> Iterable[Operation]:
    """Every operation, in the order in which they are documented."""
    yield _cdr()
    yield _export()
    for name, kind in KINDS.items():
        entry = "WrapupCode" if kind == "wrapup_code" else "Named"
        words = name.replace("_codes", "-up codes").replace("wrapup", "wrap")
        yield Operation(
            path=f"/api/v2/cdr/{name}",
            id=f"list_{name}",
            tag="Look-ups",
            summary=f"The {words} that records name",
            description=f"Every one of the {words} seen in a record of the account.",
            reply=_list_of(entry),
            statuses=_ERRORS,
            with_key=True,
        )
    yield Operation(
        path="/api/v3/cdr/users",
        id="list_users",
        tag="Look-ups",
        summary="The users of the account",
        description="All of them, or those that fit every parameter given. Letter case does not count.",
        reply=_list_of("ListedUser"),
        parameters=tuple(_parameter(p.name, p.description, {"type": "string"}) for p in parameters_of(UserOptions)),
        statuses=_ERRORS,
        with_key=True,
    )
    yield _ingest()
    yield from map(_administration, admin.ENDPOINTS)
    yield _audit()
    yield from _signing_in()
    yield from _health()


def _cdr() -> Operation:
    return Operation(
        path="/api/v2/cdr",
        id="search_cdr",
        tag="Call detail records",
        summary="Search call detail records, newest first",
        description=(
            "Filters combine with AND. An empty value means that the parameter is not given. The parameters may be sent"
            " as the members of a JSON object in the request's body instead, with `Content-Type: application/json`.\n\n"
            "`total` counts the whole match. As long as `search_token` is not null there is more: send it with the same"
            " filters to get the next page. A walk sees the records as they were when its first page was made, so that"
            " it gets each of them exactly once, whatever is written meanwhile."
        ),
        reply=_ref("CdrPage"),
        parameters=_searching(PageRequest),
        statuses=(304, *_ERRORS, 409, 410),
        with_key=True,
    )


def _searching(own: type[Own]) -> tuple[Json, ...]:
    """The parameters of a route over records: its own, the days, the filters."""
    return (
        *(_parameter(p.name, p.description, dict(p.schema), p.example) for p in parameters_of(own)),
        *(_parameter(p.name, p.description, dict(p.schema), p.example) for p in DAY_PARAMETERS),
        *(
            _parameter(name, filter_.description, _filter_schema(filter_), _example(filter_))
            for filter_ in FILTERS
            for name in (filter_.name, *filter_.aliases)
        ),
    )


def _export() -> Operation:
    return Operation(
        path="/api/v2/cdr/export",
        id="export_cdr",
        tag="Call detail records",
        summary="Export all call detail records that match, as a file",
        description=(
            "With the filters of the list, of any size, newest first, as of its beginning. Needs the permission"
            f" `export`. `{EXPECTED}` says how many records come. A file that fails on the way is cut off, and never"
            " ends as if it were whole."
        ),
        reply={"type": "string", "description": "The file, in the format that was asked for."},
        media_type=FORMATS["ndjson"].media_type,
        other_types=tuple(dict.fromkeys(f.media_type for f in FORMATS.values() if f.name != "ndjson")),
        parameters=_searching(ExportRequest),
        statuses=_ERRORS,
        with_key=True,
    )


def _ingest() -> Operation:
    lines = {"schema": {"type": "string", "description": "A JSON object on each line."}}
    return Operation(
        path="/api/ingest/v1/records",
        id="post_records",
        method="post",
        tag="Ingest",
        summary="Send records in",
        description=(
            f"Up to {MOST_RECORDS} records or {BODY_LIMIT // 2**20} MiB, as a JSON array or as JSON Lines; gzip is read"
            " (`Content-Encoding: gzip`). Needs a key for ingest. Each record is judged by itself; what is called"
            " accepted or updated is durable and can be searched. A record that is sent again unchanged makes no new"
            " version.\n\nA record has the members of `Record`. Fewer will do: `uuid`, `type`, `disposition`, a begin"
            " (`timestamp` or `started_at`) and a length (`duration`, `duration_s` or `ended_at`)."
        ),
        reply=_ref("IngestReply"),
        parameters=(
            _parameter(
                "Idempotency-Key",
                "Of several requests with one such key, within a day, the first is carried out, and all get its reply.",
                {"type": "string", "pattern": "^[!-~]{1,200}$"},
                "batch-2026-01-31-0001",
                where="header",
            ),
        ),
        body={
            "required": True,
            "content": {
                ARRAY_TYPE: {
                    "schema": {
                        "type": "array",
                        "maxItems": MOST_RECORDS,
                        "items": {"anyOf": [_ref("Record"), {"description": "Rejected, with the reason."}]},
                    }
                },
                **dict.fromkeys(LINES_TYPES, lines),
            },
        },
        statuses=(*_ERRORS, 409),
        with_key=True,
    )


def _signing_in() -> Iterable[Operation]:
    yield from _session()
    yield from _sessions()
    yield from _openid()


def _session() -> Iterable[Operation]:
    yield Operation(
        path="/api/session",
        id="sign_in",
        method="post",
        tag="Signing in",
        summary="Sign in with a password",
        description=(
            "The reply sets a cookie, which every other operation takes in place of a key, from pages of this server"
            " alone: a request that has only the cookie must have `Sec-Fetch-Site` or `Origin`, as browsers send them."
            " Failures make the next attempt wait: 429, with `Retry-After`."
        ),
        reply=_ref("SignedInUser"),
        body={"required": True, "content": {JSON: {"schema": _ref("Credentials")}}},
        statuses=(*_SIGNING_IN_ERRORS, 413, 415),
    )
    yield Operation(
        path="/api/session",
        id="show_session",
        tag="Signing in",
        summary="Who is signed in",
        description="And what he may.",
        reply=_ref("SignedInUser"),
        statuses=_SIGNING_IN_ERRORS,
        with_session=True,
    )
    yield Operation(
        path="/api/session",
        id="sign_out",
        method="delete",
        tag="Signing in",
        summary="Sign out",
        description="Ends the session.",
        reply=None,
        status=204,
        statuses=_SIGNING_IN_ERRORS,
        with_session=True,
    )


def _sessions() -> Iterable[Operation]:
    yield Operation(
        path="/api/session/password",
        id="change_password",
        method="put",
        tag="Signing in",
        summary="Change one's password",
        description="Ends all other sessions. Wrong passwords make the next attempt wait, as they do when signing in.",
        reply=None,
        status=204,
        body={"required": True, "content": {JSON: {"schema": _ref("NewPassword")}}},
        statuses=(*_SIGNING_IN_ERRORS, 413, 415),
        with_session=True,
    )
    yield Operation(
        path="/api/sessions",
        id="list_sessions",
        tag="Signing in",
        summary="Where one is signed in",
        description="The newest session first.",
        reply=_list_of("SessionReply"),
        statuses=_SIGNING_IN_ERRORS,
        with_session=True,
    )
    yield Operation(
        path="/api/sessions/{id}",
        id="end_session",
        method="delete",
        tag="Signing in",
        summary="End one of one's sessions",
        description="At once, and on every node within two seconds.",
        reply=None,
        status=204,
        parameters=(_parameter("id", "The id.", msgspec.json.schema(Id), where="path") | {"required": True},),
        statuses=(*_SIGNING_IN_ERRORS, 404),
        with_session=True,
    )


def _openid() -> Iterable[Operation]:
    account = _parameter("account", "The account, `main` if none is named.", {"type": "string"})
    yield Operation(
        path=WAYS,
        id="ways_to_sign_in",
        tag="Signing in",
        summary="How one can sign in",
        description="Whether an account has a provider; for who has not signed in yet.",
        reply=_ref("Ways"),
        parameters=(account,),
        statuses=(400, 429, 500, 503),
    )
    yield Operation(
        path=START,
        id="start_openid",
        tag="Signing in",
        summary="Sign in by the account's OpenID Connect provider",
        description="For browsers: sends them there.",
        reply=None,
        status=302,
        parameters=(account,),
        statuses=(400, 404, 429, 500, 503),
    )
    yield Operation(
        path=CALLBACK,
        id="finish_openid",
        tag="Signing in",
        summary="Where the provider sends browsers back to",
        description="Begins the session, as signing in with a password does.",
        reply=None,
        status=303,
        statuses=(400, 403, 404, 409, 429, 500, 503),
    )


def _health() -> Iterable[Operation]:
    status = {"type": "object", "properties": {"status": {"const": "ok"}}, "required": ["status"]}
    yield Operation(
        path="/healthz",
        id="alive",
        tag="Health",
        summary="The process lives",
        description="Always 200.",
        reply=status,
    )
    yield Operation(
        path="/readyz",
        id="ready",
        tag="Health",
        summary="Everything is answered",
        description=(
            "503 with the parts that are down: `store`, also while it catches up after a start (searches by `uuid` are"
            " answered all the time), or `directory`."
        ),
        reply=_ref("Readiness"),
        statuses=(500, 503),
    )
    yield Operation(
        path="/metrics",
        id="metrics",
        tag="Health",
        summary="What the server measured",
        description="For Prometheus.",
        reply={"type": "string"},
        media_type="text/plain",
    )


# --- administration ---------------------------------------------------------------------------------------------------


def _administered() -> list[Any]:
    """Every struct that the administration takes or gives."""
    bodies = [endpoint.takes for endpoint in admin.ENDPOINTS if endpoint.method != "GET"]
    kinds = [*bodies, *(endpoint.gives for endpoint in admin.ENDPOINTS)]
    return [kind for kind in dict.fromkeys(kinds) if kind not in (bytes, Nothing, type(None))]


def _administration(endpoint: Endpoint) -> Operation:
    in_path = {"id": msgspec.json.schema(Id), "code": {"type": "string", "minLength": 1, "maxLength": 64}}
    parameters = [
        _parameter(name, f"The {name}.", schema, where="path") | {"required": True}
        for name, schema in in_path.items()
        if f"{{{name}}}" in endpoint.path
    ]
    body: Json | None = None
    if endpoint.method == "GET":
        schema = msgspec.json.schema_components([endpoint.takes])[1][endpoint.takes.__name__]
        parameters += [
            _parameter(name, member.get("description", f"The {name}."), member)
            for name, member in schema["properties"].items()
        ]
    elif endpoint.takes is bytes:
        body = {"required": True, "content": {CSV: {"schema": {"type": "string", "maxLength": ADMIN_BODY_LIMIT}}}}
    elif endpoint.takes is not Nothing:
        body = {"required": True, "content": {JSON: {"schema": _schema(endpoint.takes)}}}
    return Operation(
        path=PREFIX + endpoint.path,
        id=endpoint.id,
        tag="Administration",
        summary=endpoint.summary,
        description=endpoint.description,
        reply=None if endpoint.gives is type(None) else _schema(endpoint.gives),
        method=endpoint.method.lower(),
        status=endpoint.status,
        parameters=tuple(parameters),
        body=body,
        statuses=(*_ERRORS, 404, 409),
        with_key=True,
    )


def _audit() -> Operation:
    schema = msgspec.json.schema_components([AuditQuery])[1][AuditQuery.__name__]
    return Operation(
        path=f"{PREFIX}/audit",
        id="read_audit",
        tag="Administration",
        summary="Who did what",
        description="The audit of the account, newest first. To read it is an entry in it as well.\n\n"
        "Needs `read_audit`.",
        reply=_ref("AuditPage"),
        parameters=tuple(
            _parameter(name, AUDIT_FILTERS[name], member) for name, member in schema["properties"].items()
        ),
        statuses=_ERRORS,
        with_key=True,
        other_types=(CSV,),
    )


def _schema(kind: Any) -> Json:
    return msgspec.json.schema_components([kind], ref_template=_REF)[0][0]


# --- the parts of it --------------------------------------------------------------------------------------------------


def _operation(operation: Operation) -> Json:
    done: Json = {"description": HTTPStatus(operation.status).phrase}
    if operation.reply is not None:
        done["content"] = {operation.media_type: {"schema": operation.reply}}
        for other in operation.other_types:
            done["content"][other] = {"schema": {"type": "object" if other == JSON else "string"}}
    replies: Json = {str(operation.status): done}
    for status in sorted(operation.statuses):
        replies[str(status)] = _error(status, operation)
    found: Json = {
        "operationId": operation.id,
        "tags": [operation.tag],
        "summary": operation.summary,
        "description": operation.description,
        "responses": replies,
    }
    if operation.parameters:
        found["parameters"] = list(operation.parameters)
    if operation.body is not None:
        found["requestBody"] = operation.body
    if operation.with_key:
        found["security"] = [{"key": []}, {"bearer": []}, {"session": []}]
    if operation.with_session:
        found["security"] = [{"session": []}]
    return found


def _error(status: int, operation: Operation) -> Json:
    found: Json = {"description": _MEANING[status]}
    if status != HTTPStatus.NOT_MODIFIED:
        schema = "Unready" if operation.path == "/readyz" and status == HTTPStatus.SERVICE_UNAVAILABLE else "ErrorReply"
        found["content"] = {JSON: {"schema": _ref(schema)}}
    if status in (HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE):
        found["headers"] = {"Retry-After": {"schema": {"type": "integer"}, "description": "Seconds."}}
    return found


def _parameter(name: str, description: str, schema: Json, example: Any = None, where: str = "query") -> Json:
    found: Json = {"name": name, "in": where, "description": description, "schema": schema}
    if schema.get("type") == "array":
        found |= {"style": "form", "explode": False}
    if example not in (None, ""):
        found["example"] = example
    return found


def _filter_schema(filter_: Filter) -> Json:
    match filter_.op:
        case Op.BEGINS | Op.CONTAINS:
            return {"type": "string", "maxLength": 64}
        case Op.YES | Op.LACKS:
            return {"type": "string", "enum": ["yes", "no"]}
        case Op.SINCE:
            return {"type": "string", "format": "date-time"}
        case Op.LONGER | Op.SHORTER:
            return {"type": "integer", "minimum": 0, "maximum": 2**31 - 1}
        case Op.ANY_WORD | Op.ANY_BIT:
            items: Json = {"type": "string", "enum": [*filter_.all_words]}
        case Op.ANY_ID | Op.ANY_OF_SET:
            items = {"type": "integer", "minimum": 1, "maximum": 2**53 - 1}
        case Op.ANY_UUID:
            items = {"type": "string", "format": "uuid"}
        case _:
            items = {"type": "string"}
    return {"type": "array", "maxItems": MAX_VALUES, "items": items}


def _example(filter_: Filter) -> Any:
    schema = _filter_schema(filter_)
    item = schema.get("items", schema)
    value: Any = int(filter_.example) if item["type"] == "integer" else filter_.example
    return [value] if schema["type"] == "array" else value


def _describe_record(schema: Json) -> None:
    """Put the table's descriptions and its order into the schema; a record that is served has all its members."""
    given = schema["properties"]
    schema["properties"] = {field.name: {**given[field.name], "description": field.description} for field in FIELDS}
    schema["properties"]["type"]["enum"] = sorted(ALL_WORDS)
    schema["required"] = [field.name for field in FIELDS]


def _ref(name: str) -> Json:
    return {"$ref": _REF.format(name=name)}


def _list_of(name: str) -> Json:
    return {"type": "array", "items": _ref(name)}

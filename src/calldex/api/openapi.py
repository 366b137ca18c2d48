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
from calldex.api.ingest import ARRAY_TYPE, BODY_LIMIT, LINES_TYPES, MOST_RECORDS
from calldex.api.lookups import KINDS, UserOptions
from calldex.api.openid import CALLBACK, START, WAYS, Ways
from calldex.api.signin import Credentials, NewPassword, SessionReply, SignedInUser
from calldex.directory import ListedUser, Named, WrapupCode
from calldex.inputs import parameters_of
from calldex.records.fields import DAY_PARAMETERS, FIELDS, FILTERS, MAX_VALUES, Filter, Op
from calldex.records.vocabulary import ALL_WORDS
from calldex.search.query import PageRequest
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


@cache
def document() -> Json:
    """The whole document; the same one each time."""
    endpoints = [each for each in ENDPOINTS if each.documented]
    schemas = _schemas(endpoints)
    paths: dict[str, Json] = {}
    for endpoint in endpoints:
        paths.setdefault(endpoint.path, {})[endpoint.method.lower()] = _operation(endpoint)
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


def _schemas(endpoints: Iterable[Endpoint]) -> dict[str, Json]:
    """The schemas of everything that is sent."""
    bodies = (kind for each in endpoints for kind in (each.body or {}).values() if not isinstance(kind, dict))
    kinds = [ErrorReply, Unready, *bodies, *(each.gives for each in endpoints if each.gives not in (None, str))]
    _, schemas = msgspec.json.schema_components(list(dict.fromkeys(kinds)), ref_template=_REF)
    for schema in schemas.values():
        schema["description"] = inspect.cleandoc(schema["description"])
    _describe_record(schemas["Record"])
    return schemas


# --- the parts of it --------------------------------------------------------------------------------------------------


def _operation(operation: Operation) -> Json:
    done: Json = {"description": HTTPStatus(operation.status).phrase}
    if operation.reply is not None:
        done["content"] = {operation.media_type: {"schema": operation.reply}}
        if operation.text_type is not None:
            done["content"][operation.text_type] = {"schema": {"type": "string"}}
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

"""The OpenAPI document: what the public surface takes and gives, for programs.

Derived from the table of routes and the structs that are sent. Made once, at start; tests hold the server to it. What
is beyond OpenAPI stands in members with `x-`: permissions (one of them will do; of a route over records, all are
needed), the scope that a key needs, what the audit calls it, and whose places it takes up.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Mapping
from functools import cache
from http import HTTPStatus
from typing import Any, Final

import msgspec

import calldex
from calldex.api.endpoint import Endpoint, Json
from calldex.api.examples import example_of
from calldex.api.routes import ENDPOINTS
from calldex.records.fields import FIELDS
from calldex.records.vocabulary import ALL_WORDS
from calldex.transport.cookies import SESSION
from calldex.transport.replies import JSON, ErrorReply, Unready

_REF: Final = "#/components/schemas/{name}"
_MEANING: Final[Mapping[int, str]] = {
    304: "Nothing has changed since the reply whose `ETag` was sent as `If-None-Match`.",
    400: "Something in the request is not understood; `problems` has an entry for each parameter that is wrong.",
    401: "No valid user API key was sent, and nobody is signed in.",
    403: "The key is valid, but does not permit this.",
    404: "Not found, or not accessible to you.",
    408: "The body came too slowly.",
    409: "What was asked contradicts what is there: the scope of the key changed since the search began, the"
    " `Idempotency-Key` came before with another body, or what is to be added is there already.",
    410: "The `search_token` is too old; start the search again.",
    413: "The body is too large.",
    415: "The body is of a type that is not read.",
    421: "Another node has it; the message names that one.",
    416: "Nothing of the recording lies in that range.",
    429: "Too many requests, at once or over time; `Retry-After` says when to come again, and `RateLimit` and"
    " `RateLimit-Policy`, which every reply to a key has, how many may come.",
    500: "A fault of the server's own.",
    503: "The server cannot do this now; `Retry-After` says when to come again.",
}


@cache
def document() -> Json:
    """The whole document; the same one each time."""
    endpoints = [each for each in ENDPOINTS if each.documented]
    schemas = _schemas(endpoints)
    paths: dict[str, Json] = {}
    for endpoint in endpoints:
        paths.setdefault(endpoint.path, {})[endpoint.method.lower()] = _operation(endpoint)
    found = {
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
    plain: Json = msgspec.json.decode(msgspec.json.encode(found))  # defaults of schemas are tuples here and there
    return plain


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


def _operation(endpoint: Endpoint) -> Json:
    replies: Json = {str(endpoint.status): _success(endpoint)}
    for status in sorted(endpoint.errors):
        replies[str(status)] = _error(status, endpoint)
    found: Json = {
        "operationId": endpoint.id,
        "tags": [endpoint.tag],
        "summary": endpoint.summary,
        "description": endpoint.description,
        "responses": replies,
    }
    if endpoint.parameters:
        found["parameters"] = list(endpoint.parameters)
    if endpoint.body is not None:
        content = {media_type: {"schema": _schema(kind)} for media_type, kind in endpoint.body.items()}
        found["requestBody"] = {"required": True, "content": content}
    if endpoint.credential != "none":
        keys: list[Json] = [{"key": []}, {"bearer": []}] if endpoint.credential == "key" else []
        found["security"] = [*keys, {"session": []}]
    if endpoint.needs:
        found |= {"x-permissions": list(endpoint.needs), "x-key-scope": endpoint.scope}
    if endpoint.action is not None:
        found["x-audited-as"] = endpoint.action
    if endpoint.limit != "none":
        found["x-limit"] = endpoint.limit
    return found


def _success(endpoint: Endpoint) -> Json:
    done: Json = {"description": HTTPStatus(endpoint.status).phrase}
    if endpoint.gives is not None:
        example = example_of(endpoint.gives)
        done["content"] = {endpoint.media_type: {"schema": _schema(endpoint.gives), "example": example}}
        for other in endpoint.other_types:
            done["content"][other] = {"schema": {"type": "object" if other == JSON else "string"}}
    return done


def _error(status: int, endpoint: Endpoint) -> Json:
    found: Json = {"description": _MEANING[status]}
    if status != HTTPStatus.NOT_MODIFIED:
        unready = endpoint.path == "/readyz" and status == HTTPStatus.SERVICE_UNAVAILABLE
        found["content"] = {JSON: {"schema": _schema(Unready if unready else ErrorReply)}}
    if status in (HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE):
        found["headers"] = {"Retry-After": {"schema": {"type": "integer"}, "description": "Seconds."}}
    return found


def _schema(kind: Any) -> Json:
    """The schema of a type, or what is one already."""
    return kind if isinstance(kind, dict) else msgspec.json.schema_components([kind], ref_template=_REF)[0][0]


def _describe_record(schema: Json) -> None:
    """Put the table's descriptions and its order into the schema; a record that is served has all its members."""
    given = schema["properties"]
    schema["properties"] = {field.name: {**given[field.name], "description": field.description} for field in FIELDS}
    schema["properties"]["type"]["enum"] = sorted(ALL_WORDS)
    schema["required"] = [field.name for field in FIELDS]

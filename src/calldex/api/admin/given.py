"""What a client sent, as the structs that a change is made of: from a JSON body, or from the query string.

Every member is read by itself, so that a reply names all that are wrong, each with what was given and what is valid.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import islice
from typing import Any, Final, TypeVar

import msgspec

from calldex.errors import MOST_PROBLEMS, BadParameters, BadRequest, Problem, suggest

S = TypeVar("S", bound=msgspec.Struct)

_AT: Final = re.compile(r" - at `\$(.*)`\Z")
_SHOWN: Final = 100


def from_json(body: bytes, kind: type[S]) -> S:
    """The struct that a body is: a JSON object with members of the struct alone, each at most once."""
    try:
        found = msgspec.json.decode(body)
        if isinstance(found, dict):
            json.loads(body, object_pairs_hook=_once)
    except (msgspec.DecodeError, ValueError, RecursionError) as error:
        raise BadRequest(f"the body is not JSON: {str(error)[:200]}") from None
    if not isinstance(found, dict):
        raise BadRequest("the body must be a JSON object")
    return from_members(found, kind)


def from_members(found: Mapping[str, Any], kind: type[S], *, text: bool = False) -> S:
    """The struct with these members; with `text`, they are texts, as in a query string."""
    fields = {field.encode_name: field for field in msgspec.structs.fields(kind)}
    unknown = islice(((name, value) for name, value in found.items() if name not in fields), MOST_PROBLEMS)
    problems = [
        Problem(name[:_SHOWN], _shown(value), f"unknown member{suggest(name, fields)}", ", ".join(fields))
        for name, value in unknown
    ]
    read: dict[str, Any] = {}
    for name, field in fields.items():
        if name in found:
            try:
                read[field.name] = msgspec.convert(found[name], field.type, strict=not text)
            except msgspec.ValidationError as error:
                problems.append(_problem(name, found[name], field.type, str(error)))
        elif field.required:
            problems.append(Problem(name, "", "is missing", _valid(field.type)))
    if problems:
        raise BadParameters(problems)
    return kind(**read)


def _once(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) < len(pairs):
        twice = sorted({name[:_SHOWN] for name, count in Counter(name for name, _ in pairs).items() if count > 1})
        raise BadParameters(Problem(name, "", "given more than once", "one value") for name in twice)
    return members


def _problem(name: str, given: Any, kind: Any, message: str) -> Problem:
    found = _AT.search(message)
    told = message[: found.start()] if found else message
    return Problem(name + (found[1] if found else ""), _shown(given), told[0].lower() + told[1:], _valid(kind))


def _shown(given: Any) -> str:
    return (given if isinstance(given, str) else msgspec.json.encode(given).decode())[:_SHOWN]


def _valid(kind: Any) -> str:
    """What a type takes, in a few words."""
    return _words(msgspec.json.schema(kind))


def _words(schema: dict[str, Any]) -> str:
    if "description" in schema:
        return str(schema["description"])
    if "enum" in schema:
        return ", ".join(map(str, schema["enum"]))
    if "anyOf" in schema:
        return " or ".join(map(_words, schema["anyOf"]))
    match schema.get("type"):
        case "array":
            return f"a list of: {_words(schema['items'])}"
        case "integer":
            return f"a whole number from {schema.get('minimum', 0)} to {schema.get('maximum', 2**53 - 1)}"
        case "boolean":
            return "true or false"
        case "string":
            return "a time with its zone, as 2026-01-31T08:00:00Z" if schema.get("format") else "text"
        case "null":
            return "null"
    return "an object"

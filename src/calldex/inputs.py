"""What a client sent, as structs: from a JSON body, or from the texts of a query string.

A struct declares what a route takes: its members' types say what is valid, `Meta` what they mean. Every member is read
by itself, so that a reply names all that are wrong, each with what was given and what is valid. Knows no route.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from itertools import islice
from typing import Any, Final, Literal, TypeVar

import msgspec

from calldex.errors import MOST_PROBLEMS, BadParameters, BadRequest, Problem, suggest
from calldex.records.fields import Parameter
from calldex.texts import listed

S = TypeVar("S", bound=msgspec.Struct)
Form = Literal["number", "list", "other"]
"""How a value is written in a query string: a whole number, values between commas, or else."""

SECRET: Final = {"format": "password"}
"""The `extra_json_schema` of a member that is secret: of what is wrong in its struct, no reply repeats it."""
_AT: Final = re.compile(r" - at `\$(.*)`\Z")
_NO_WORD: Final = re.compile(r"Invalid enum value '(.*)'", re.DOTALL)
_SHOWN: Final = 100
_LONGEST_NUMBER: Final = 18


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
    problems: list[Problem] = []
    read = read_members(found, kind, problems, text=text)
    if read is None:
        raise BadParameters(problems)
    return read


def read_members(found: Mapping[str, Any], kind: type[S], problems: list[Problem], *, text: bool = False) -> S | None:
    """The struct with these members; None if something is wrong with them, which `problems` gets."""
    forms = _forms(kind)
    if found.keys() <= forms.keys():
        try:  # what is right is read at once; one by one takes as long as all the rest of a search's parameters
            values = {name: _of_text(value, forms[name]) for name, value in found.items()} if text else found
            return msgspec.convert(values, kind, strict=not text)
        except ValueError:  # msgspec's are of this kind
            pass
    before = len(problems)
    members = dict(_members(found, kind, problems, text=text))
    if _is_secret(kind):  # as a whole: a member that is misspelt holds what another was to hold
        problems[before:] = [msgspec.structs.replace(each, given="") for each in problems[before:]]
    return kind(**members) if len(problems) == before else None


def _members(
    found: Mapping[str, Any], kind: type[msgspec.Struct], problems: list[Problem], *, text: bool
) -> Iterator[tuple[str, Any]]:
    """The members that can be read, by their attributes."""
    fields, forms = _fields(kind), _forms(kind)
    unknown = islice(((name, value) for name, value in found.items() if name not in fields), MOST_PROBLEMS)
    problems += [
        Problem(name[:_SHOWN], _shown(value), f"unknown member{suggest(name, fields)}", ", ".join(fields))
        for name, value in unknown
    ]
    for name, field in fields.items():
        if name in found:
            try:
                value = _of_text(found[name], forms[name]) if text else found[name]
                yield field.name, msgspec.convert(value, field.type, strict=not text)
            except ValueError as error:
                problems.append(_problem(name, found[name], field.type, str(error), text=text))
        elif field.required:
            problems.append(Problem(name, "", "is missing", _valid(field.type)))


@cache
def _is_secret(kind: type[msgspec.Struct]) -> bool:
    return any(_schema(field.type).items() >= SECRET.items() for field in _fields(kind).values())


@cache
def _forms(kind: type[msgspec.Struct]) -> Mapping[str, Form]:
    """How each member is written in a query string."""
    return {name: form_of(field.type) for name, field in _fields(kind).items()}


@cache
def _fields(kind: type[msgspec.Struct]) -> Mapping[str, msgspec.structs.FieldInfo]:
    """The fields of a struct by the names of their members. Once: finding their types out takes a quarter of the time
    that a small request does."""
    return {field.encode_name: field for field in msgspec.structs.fields(kind)}


def _of_text(text: str, form: Form) -> Any:
    """The value that a text stands for, as far as `msgspec` would read it too freely or not at all."""
    match form:
        case "number":
            # What is no number is something that no number may be: null might be allowed.
            return int(text) if text.isascii() and text.isdigit() and len(text) <= _LONGEST_NUMBER else []
        case "list":
            return listed(text)
    return text


@cache
def form_of(kind: Any) -> Form:
    """How a value of this type is written in a query string."""
    found = _bare(msgspec.inspect.type_info(kind))
    parts = found.types if isinstance(found, msgspec.inspect.UnionType) else (found,)
    for part in map(_bare, parts):
        match part:
            case msgspec.inspect.IntType():
                return "number"
            case msgspec.inspect.VarTupleType() | msgspec.inspect.ListType():
                return "list"
    return "other"


@cache
def words_of(kind: Any) -> frozenset[str]:
    """The words that a value of this type, or each item of it where it is a list, is one of; none if it may be else."""
    found = _bare(msgspec.inspect.type_info(kind))
    parts = found.types if isinstance(found, msgspec.inspect.UnionType) else (found,)
    for part in map(_bare, parts):
        if isinstance(part, msgspec.inspect.LiteralType):
            return frozenset(map(str, part.values))
        if isinstance(part, msgspec.inspect.VarTupleType):
            item = _bare(part.item_type)
            return frozenset(map(str, item.values)) if isinstance(item, msgspec.inspect.LiteralType) else frozenset()
    return frozenset()


def _bare(part: msgspec.inspect.Type) -> msgspec.inspect.Type:
    return part.type if isinstance(part, msgspec.inspect.Metadata) else part


@cache
def parameters_of(kind: type[msgspec.Struct]) -> tuple[Parameter, ...]:
    """The members of a struct as parameters of a query string, for documents."""
    (_, components) = msgspec.json.schema_components([kind])
    described = components[kind.__name__]["properties"]
    return tuple(_parameter(name, dict(schema)) for name, schema in described.items())


def _parameter(name: str, schema: dict[str, Any]) -> Parameter:
    """As it is described where it is given: its default says that it need not be, and null cannot be written."""
    if "anyOf" in schema:
        (given,) = (part for part in schema.pop("anyOf") if part != {"type": "null"})
        schema |= given
    if schema.get("default", "") in ("", None):
        schema.pop("default", None)
    description = schema.pop("description", f"The {name}.")
    example = next(iter(schema.pop("examples", ())), "")
    shown = ",".join(map(str, example)) if isinstance(example, list | tuple) else str(example)
    return Parameter(name, description, shown, schema)


def _schema(kind: Any) -> dict[str, Any]:
    schema = msgspec.json.schema(kind)
    return next((part for part in schema.get("anyOf", ()) if part != {"type": "null"}), schema)


def _once(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) < len(pairs):
        twice = sorted({name[:_SHOWN] for name, count in Counter(name for name, _ in pairs).items() if count > 1})
        raise BadParameters(Problem(name, "", "given more than once", "one value") for name in twice)
    return members


def _problem(name: str, given: Any, kind: Any, message: str, *, text: bool) -> Problem:
    if text and form_of(kind) == "number":
        # The type's description says what the parameter means, not what is valid.
        valid = _words({name: part for name, part in _schema(kind).items() if name != "description"})
        return Problem(name, _shown(given), "is not a whole number in range", valid)
    found = _AT.search(message)
    said = message[: found.start()] if found else message
    where = "" if text or not found else found[1]
    if word := _NO_WORD.match(said):
        said = f"is not a value{suggest(word[1], words_of(kind))}"
        return Problem(name + where, word[1][:_SHOWN], said, _valid(kind, text=text))
    return Problem(name + where, _shown(given), said[0].lower() + said[1:], _valid(kind, text=text))


def _shown(given: Any) -> str:
    return (given if isinstance(given, str) else msgspec.json.encode(given).decode())[:_SHOWN]


def _valid(kind: Any, *, text: bool = False) -> str:
    """What a type takes, in a few words; null cannot be written as a text."""
    schema = msgspec.json.schema(kind)
    if text and "anyOf" in schema:
        schema["anyOf"] = [part for part in schema["anyOf"] if part != {"type": "null"}]
    return _words(schema)


def _words(schema: dict[str, Any]) -> str:
    if "enum" in schema:
        return ", ".join(map(str, schema["enum"]))
    if "enum" in schema.get("items", ()):
        return f"some of {_words(schema['items'])}"
    if "description" in schema:
        return str(schema["description"])
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

"""Writes `docs/reference` from the code: `python -m docs.generate`, or `make docs`.

What a parameter, field, setting, error or command means is said once, where it is declared; here it is only laid out.
`pages` makes the texts without touching a file, so that a test can tell whether the files are current.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

import click
import msgspec
from msgspec import NODEFAULT
from msgspec import inspect as types

from calldex import cli
from calldex.address import Address
from calldex.api.changes import CHANGES
from calldex.api.docs import LOOPS
from calldex.api.exports import EXPORT
from calldex.api.lookups import UserOptions
from calldex.api.missed import MISSED
from calldex.api.statistics import CHECKSUMS, STATS
from calldex.errors import CalldexError, Unavailable
from calldex.formats import RowFormat, formats
from calldex.inputs import parameters_of
from calldex.networks import Origins
from calldex.node import Node
from calldex.records.codec import Record
from calldex.records.fields import FIELDS, FILTERS, MAX_VALUES, Filter, Parameter
from calldex.records.record import (
    DISPOSITIONS,
    END_REASONS,
    EPOCH_FORMS,
    EVENT_TYPES,
    INTERACTION_TYPES,
    Event,
    Leg,
    Team,
)
from calldex.search.query import PARAMETERS, RELATED, UNRELATED
from calldex.search.reader import Reading
from calldex.settings import FILE_NAME, OF_CLIENTS, PREFIX, Settings
from calldex.transport.backpressure import Backpressure
from calldex.transport.metrics import Metrics
from calldex.transport.workers import Workers

FOLDER: Final = Path(__file__).parent / "reference"

VOCABULARIES: Final = {
    "type": INTERACTION_TYPES,
    "disposition": DISPOSITIONS,
    "end reason": END_REASONS,
    "event": EVENT_TYPES,
}

PARTS: Final[dict[type[msgspec.Struct], dict[str, str]]] = {
    Team: {"id": "As in the look-up `teams`.", "name": "Its name, where the source gave one."},
    Event: {
        "type": "What happened.",
        "at": "When.",
        "agent": "Who took part in it, or caused it; of a transfer, who handed it over.",
        "queue": "The queue in which it happened.",
        "number": "The number it was about, such as the target of a transfer.",
        "duration_s": "How long it lasted, seconds.",
        "detail": "What else the source said about it.",
        "to_agent": "Of a transfer: the person who took it.",
    },
    Leg: {
        "started_at": "When the path was opened.",
        "answered_at": "When its called side answered; a menu or a queue counts here.",
        "ended_at": "When it was closed.",
        "from": "Its calling party.",
        "to": "What was dialled.",
        "channel": "The channel that called.",
        "peer_channel": "The channel that was called.",
        "agent": "Who sits at the person's end.",
        "application": "What the phone system last did with it.",
        "disposition": "How it ended, in the source's own word.",
        "duration_s": "From begin to end, seconds.",
        "talk_s": "Connected to a person, seconds.",
        "recording": "Reference of the recording of this path, hidden from whom the record's own is hidden.",
    },
}
"""What the members of a record's parts mean."""

LOOP_TITLES: Final = {
    "walk": "Walk past one page",
    "feed": "Keep a copy",
    "export": "Take a file out",
    "stats": "Count",
    "lookups": "What records name",
    "checksums": "Prove a copy equal",
}

OWN: Final[tuple[tuple[str, str, Reading[Any]], ...]] = (
    ("Exports", "/api/v2/cdr/export", EXPORT),
    ("The change feed", "/api/v2/cdr/changes", CHANGES),
    ("Statistics", "/api/v2/cdr/stats", STATS),
    ("Checksums", "/api/v2/cdr/checksums", CHECKSUMS),
    ("Missed calls", "/api/v2/cdr/missed", MISSED),
)
"""What routes take beside filters and days."""

_HEAD: Final = "<!-- Written by `make docs` from the code; a change by hand is lost. -->\n\n"


def pages() -> dict[Path, str]:
    """The text of every generated page, by its file."""
    return {FOLDER / f"{name}.md": _HEAD + "\n\n".join(parts()) + "\n" for name, parts in _PAGES.items()}


def write() -> None:
    """Write every page, and remove what is no page any more."""
    current = pages()
    FOLDER.mkdir(exist_ok=True)
    for path in set(FOLDER.glob("*.md")) - current.keys():
        path.unlink()
    for path, text in current.items():
        path.write_text(text)


# --- the pages --------------------------------------------------------------------------------------------------------


def _loops() -> Iterator[str]:
    yield "# Loops"
    yield (
        "Programs that get everything, in a shell (with the address as `URL` and the key as `KEY`), in Python, and in"
        " JavaScript for Node (both by `CALLDEX_URL` and `CALLDEX_KEY`). Each stops on an error, and its file gets its"
        " name when it is whole. They are run by tests."
    )
    for loop, programs in LOOPS.items():
        yield f"## {LOOP_TITLES[loop]}"
        for kind, language in (("sh", "sh"), ("py", "python"), ("mjs", "js")):
            yield f"```{language}\n{programs[kind]}```"


def _parameters() -> Iterator[str]:
    yield "# Parameters"
    yield (
        "`GET /api/v2/cdr` takes them in the query string, or as a JSON object in the body; nothing may be given twice."
        " Filters combine with AND, the values of one filter with OR. An empty value means that the parameter was not"
        f" given; blanks around a value do not count."
        f" A list holds at most {MAX_VALUES} values. A parameter that is unknown, given twice or not understood"
        " is refused with 400 and the names of all that is wrong."
    )
    yield "## Filters"
    yield _table(
        ("parameter", "example", "meaning"), [(_names(f), f"`{f.example}`", f.description + _words(f)) for f in FILTERS]
    )
    yield "## Days, pages and the key"
    yield _taken(PARAMETERS)
    for heading, path, reading in OWN:
        yield f"## {heading}"
        but = "" if reading.takes.related else f" but `{RELATED[0]}` ({UNRELATED})"
        yield f"`GET {path}` takes the filters{but}, `start_date`, `end_date`, `timezone`, `key`, and these."
        own: type[msgspec.Struct] = reading.takes.own
        yield _taken(parameters_of(own))
    yield "## Users"
    yield "`GET /api/v3/cdr/users` takes `key` and these, in any letter case. Users that fit all are listed."
    yield _table(("parameter", "meaning"), [(f"`{p.name}`", p.description) for p in parameters_of(UserOptions)])
    yield "## Words"
    yield "What each of them means is told in [Words](../words.md)."
    for name, words in VOCABULARIES.items():
        yield f"**{name}**: " + ", ".join(f"`{word}`" for word in words)


def _taken(parameters: Iterable[Parameter]) -> str:
    return _table(
        ("parameter", "valid", "example", "meaning"),
        [(f"`{p.name}`", _valid(p.schema), f"`{p.example}`" if p.example else "", p.description) for p in parameters],
    )


def _record() -> Iterator[str]:
    yield "# A record"
    yield (
        "What `GET /api/v2/cdr` serves in `records`, and what JSON Lines and the ingest over HTTP read. Every member is"
        " always there; what is not known is `null`, or an empty list or object. Members marked **V** are those that"
        " clients of the Voiso CDR API rely on, the others are ours. Instants are ISO 8601 in UTC; an id is a whole"
        " number from 1 to 2^53 - 1."
    )
    types_ = {field.encode_name: field.type for field in msgspec.structs.fields(Record)}
    yield _table(
        ("member", "", "shape", "meaning"),
        [(f"`{f.name}`", "**V**" if f.contract else "", _shape(types_[f.name]), f.description) for f in FIELDS],
    )
    for part, meanings in PARTS.items():
        yield f"## {part.__name__}"
        yield _flat(part.__doc__)
        yield _table(
            ("member", "shape", "meaning"),
            [(f"`{f.encode_name}`", _shape(f.type), meanings[f.encode_name]) for f in msgspec.structs.fields(part)],
        )
    yield (
        "Of events and legs, members that are not known are left out. Records that are read may be looser: `timestamp`"
        " or `started_at`; `duration`, `duration_s` or `ended_at`; words in any letter case; ids and numbers as text;"
        f" times with any offset, or as {EPOCH_FORMS}. A member that is not in this table is refused."
    )


def _settings() -> Iterator[str]:
    yield "# Settings"
    yield (
        "Each is taken from the option of the command if it has one, else from the environment, else from"
        f" `{FILE_NAME}` in the data directory, else it has its default. One that is unknown or out of range stops the"
        " start. `calldex settings` shows them and where each comes from."
        f" {' and '.join(f'`{name}`' for name in OF_CLIENTS)} are no settings: `calldex.client` reads them."
    )
    yield _table(
        ("setting", "environment", "valid", "default", "meaning"),
        [
            (
                f"`{f.name}`",
                f"`{PREFIX}{f.name.upper()}`",
                _shape(f.type).removesuffix(", `null`"),
                "" if f.default in (NODEFAULT, None) or not str(f.default) else f"`{f.default}`",
                _described(f.type),
            )
            for f in msgspec.structs.fields(Settings)
        ],
    )
    yield f"`data` cannot stand in `{FILE_NAME}`, which lies in it."


def _errors() -> Iterator[str]:
    yield "# Errors"
    yield (
        "Every error of the API is a JSON object with `error` (a sentence), the members of RFC 9457 (`type`, `title`,"
        " `status`, `detail`), and where parameters are wrong an entry for each of them. The command line writes the"
        " sentence to standard error and ends with the exit code: 2 says that what was asked has to change, 3 that the"
        " same may work later."
    )
    yield _table(
        ("code", "status", "exit", "when"),
        [(f"`{e.code}`", str(e.status), str(e.exit_code), _first(e.__doc__)) for e in _family(CalldexError)],
    )


def _formats() -> Iterator[str]:
    yield "# Formats"
    yield (
        "How the input of a source is read. A format without required settings can be used without a source"
        " (`calldex import --format`); `calldex sources add NAME --format FORMAT --set SETTING=VALUE` makes a source of"
        " any. A setting that holds several values has them comma-separated."
    )
    for name, format_ in formats().items():
        yield f"## {name}"
        holds = "rows of calls, which are put together" if isinstance(format_, RowFormat) else "whole interactions"
        yield f"{_first(sys.modules[type(format_).__module__].__doc__)} Its input holds {holds}."
        if fields := msgspec.structs.fields(format_.settings):
            yield _flat(format_.settings.__doc__).partition(" `ValueError`")[0]
            yield _table(
                ("setting", "default", "meaning"),
                [(f"`{f.encode_name}`", _default(f), _described(f.type)) for f in fields],
            )


def _metrics() -> Iterator[str]:
    yield "# Metrics"
    yield "What `GET /metrics` tells, in the text format of Prometheus."
    with TemporaryDirectory() as folder, Node(Settings(data=Path(folder))) as node:
        workers = Workers("none", 1, 0, lambda: Unavailable(""))
        lines = Metrics(node, workers, workers, Backpressure()).text().decode().splitlines()
    told = [line.split(" ", 3) for line in lines if line.startswith(("# HELP", "# TYPE")) and "_created" not in line]
    yield _table(
        ("metric", "kind", "meaning"),
        [(f"`{name}`", kind[3], help_) for (_, _, name, help_), kind in zip(told[::2], told[1::2], strict=True)],
    )


def _commands() -> Iterator[str]:
    yield "# Commands"
    yield "What `calldex COMMAND --help` says."
    yield next(text for text in _paragraphs(cli.__doc__) if text.startswith("Exit codes"))
    yield from _command(cli.main, None, "calldex")


def _command(command: click.Command, parent: click.Context | None, name: str) -> Iterator[str]:
    context = click.Context(command, parent, info_name=name, **command.context_settings)
    yield f"## {context.command_path}"
    yield f"```\n{' '.join((context.command_path, *command.collect_usage_pieces(context)))}\n```"
    yield from _paragraphs(command.help)
    records = [r for p in command.get_params(context) if (r := p.get_help_record(context)) is not None]
    if records:
        yield _table(("option", "meaning"), [(f"`{option}`", meaning) for option, meaning in records if meaning])
    yield from _paragraphs(command.epilog)
    if isinstance(command, click.Group):
        for child in command.list_commands(context):
            found = command.get_command(context, child)
            if found is not None and not found.hidden:
                yield from _command(found, context, child)


_PAGES: Final[dict[str, Callable[[], Iterable[str]]]] = {
    "parameters": _parameters,
    "record": _record,
    "loops": _loops,
    "settings": _settings,
    "errors": _errors,
    "commands": _commands,
    "formats": _formats,
    "metrics": _metrics,
}


# --- their parts ------------------------------------------------------------------------------------------------------


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table of Markdown; a cell is one line, and a bar in it is escaped."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(_flat(cell).replace("|", "\\|") for cell in line) + " |" for line in lines)


def _flat(text: str | None) -> str:
    return " ".join((text or "").split())


def _paragraphs(text: str | None) -> Iterator[str]:
    """The paragraphs of a docstring; those that Click is told not to wrap (`\\b`) stay as they are."""
    for paragraph in filter(None, inspect.cleandoc(text or "").split("\n\n")):
        kept = paragraph.removeprefix("\b\n")
        yield _flat(paragraph).replace("<", "&lt;") if kept == paragraph else f"```\n{inspect.cleandoc(kept)}\n```"


def _first(text: str | None) -> str:
    """The first paragraph of a docstring."""
    return next(_paragraphs(text))


def _names(filter_: Filter) -> str:
    return f"`{filter_.name}`" + "".join(f", or `{alias}`" for alias in filter_.aliases)


def _words(filter_: Filter) -> str:
    aliases = [
        f"`{alias}` for {', '.join(f'`{word}`' for word in words)}" for alias, words in filter_.word_aliases.items()
    ]
    return f" Also accepted: {'; '.join(aliases)}." if aliases else ""


def _valid(schema: Any) -> str:
    """What a JSON schema of a parameter allows, in words."""
    if "enum" in schema:
        most_often = f"; `{schema['default']}` if not given" if "default" in schema else ""
        return ", ".join(f"`{word}`" for word in schema["enum"]) + most_often
    if schema["type"] == "array":
        return f"list of up to {schema['maxItems']}: {_valid(schema['items'])}"
    if schema["type"] != "integer":
        return f"up to {schema['maxLength']:,} characters" if "maxLength" in schema else "text"
    most = f" to {schema['maximum']:,}" if "maximum" in schema else ""
    default = f", {schema['default']:,} if not given" if "default" in schema else ""
    return f"whole number from {schema['minimum']}{most}{default}"


def _shape(annotation: Any) -> str:
    return _shape_of(types.type_info(annotation))


_PLAIN: Final[dict[type[types.Type], str]] = {
    types.DateTimeType: "instant",
    types.BoolType: "true or false",
    types.NoneType: "`null`",
}


def _shape_of(kind: types.Type) -> str:
    """A type and its limits, in words."""
    match kind:
        case types.Metadata(type=inner):
            return _shape_of(inner)
        case types.CustomType(cls=cls):
            return _shape_of_ours(cls)
        case types.UnionType(types=members):
            return ", ".join(_shape_of(member) for member in members)
        case types.VarTupleType(item_type=item, max_length=most):
            return f"list{f' of up to {most}' if most else ''}: {_shape_of(item)}"
        case types.DictType(value_type=value, max_length=most):
            return f"object of up to {most} members: {_shape_of(value)}"
        case types.StructType(cls=cls):
            return f"[{cls.__name__}](#{cls.__name__.lower()})"
        case types.LiteralType(values=words):
            return ", ".join(f"`{word}`" for word in words) if len(words) < 6 else "[word](parameters.md#words)"
        case types.IntType(lt=most) if most == 2**53:
            return "id"
        case types.IntType() | types.FloatType():
            return f"{'whole ' if isinstance(kind, types.IntType) else ''}number{_limits(kind)}"
        case types.StrType(pattern=str(pattern)):
            return "uuid" if "a-f" in pattern else "text `HH:MM:SS`"
        case types.StrType(min_length=least, max_length=most):
            return "text" if most is None else f"text of {least or 0} to {most} characters"
    return _PLAIN[type(kind)]


def _shape_of_ours(kind: type) -> str:
    if issubclass(kind, Address):
        return ", ".join(f"`{example}`" for example in kind.examples)
    return "path" if kind is Path else "list of origins" if kind is Origins else "list of networks"


def _limits(kind: types.IntType | types.FloatType) -> str:
    return "" if kind.ge is None else f" from {kind.ge} to {kind.le}"


def _described(annotation: Any) -> str:
    match types.type_info(annotation):
        case types.Metadata(extra_json_schema={"description": str(text)}):
            return text
    raise TypeError(f"no description: {annotation}")


def _default(field: msgspec.structs.FieldInfo) -> str:
    if field.required:
        return "required"
    return f"`{field.default}`" if field.default else "empty"


def _family(root: type[CalldexError]) -> Iterator[type[CalldexError]]:
    yield root
    for child in root.__subclasses__():
        yield from _family(child)


if __name__ == "__main__":
    write()

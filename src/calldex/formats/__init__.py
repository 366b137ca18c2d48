"""The record formats Calldex reads, and what each of them must offer.

A format turns bytes into records and nothing else: it opens no file, asks no clock, knows no store. It never raises
on input: what it cannot read comes out as `Rejected`, so that pieces in = pieces out, always.

There are two kinds. A `RecordFormat` has whole interactions in its input. A `RowFormat` has rows of calls (legs,
queue events) that arrive in any order, in several files, over days; ingest keeps its rows, gathers those of one call,
and lets the format `assemble` them again whenever one is added.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Annotated, Any, Final, Protocol, runtime_checkable

import msgspec

from calldex.errors import BadSettings, Problem, suggest
from calldex.recordings.places import problem_of
from calldex.records.record import CallRow, Cdr, Rejected
from calldex.texts import listed


class FormatSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The settings of a source; each format has its own. Settings that contradict each other raise `ValueError`."""

    recordings: Annotated[
        str,
        msgspec.Meta(
            description="Where the recordings of this source's calls lie: a folder, or what their keys begin with in a"
            " bucket, as `s3://bucket/prefix?endpoint=https://storage.example.com&region=eu-west-1`."
        ),
    ] = ""
    recording_path: Annotated[
        str,
        msgspec.Meta(
            description="The path of a recording below that: text with `{recording}` (what the record says), `{name}`"
            " (what of that is behind its last `/`), `{uuid}`, `{from}`, `{to}` and `{start:%Y/%m/%d}` (the begin, in"
            " the zone of `recording_zone`)."
        ),
    ] = "{recording}"
    recording_zone: Annotated[
        str,
        msgspec.Meta(description="IANA name of the zone of `{start}`; empty: that of `zone`, or UTC."),
    ] = ""

    def __post_init__(self) -> None:
        """Check them."""
        problem = problem_of(self.recordings, self.recording_path, self.recording_zone)
        if problem is not None:
            raise ValueError(problem)


class RowSettings(FormatSettings, frozen=True, kw_only=True):
    """The settings that every source of rows has."""

    settle_after: Annotated[
        str,
        msgspec.Meta(
            pattern=r"^[1-9][0-9]{0,5}[smhd]\Z",
            description="How long after the last thing known of a call that has no end it is taken to be over, as `4h`,"
            " `90m` or `30s`.",
        ),
    ] = "4h"

    @property
    def settle_after_s(self) -> int:
        """The same in seconds."""
        return int(self.settle_after[:-1]) * {"s": 1, "m": 60, "h": 3600, "d": 86_400}[self.settle_after[-1]]


class RecordFormat(Protocol):
    """A format whose input holds whole interactions."""

    name: str
    settings: type[FormatSettings]

    def sniff(self, head: bytes) -> bool:
        """Whether the first bytes of a file (up to 64 KiB) are surely of this format."""

    def read(self, chunks: Iterable[bytes], settings: Any) -> Iterator[Cdr | Rejected]:
        """The records of a byte stream, in its order and in their canonical form; one within which the stream ends is
        rejected as `UNFINISHED`."""


@runtime_checkable
class LineFormat(RecordFormat, Protocol):
    """A record format whose pieces are lines, so that any run of whole lines can be read apart from the others."""

    def read_part(self, chunks: Iterable[bytes], settings: Any, first: int) -> Iterator[Cdr | Rejected]:
        """The records of a part of a stream whose first line has this number; a stream begins with number 1."""


@runtime_checkable
class RowFormat(Protocol):
    """A format whose input holds rows of calls."""

    name: str
    settings: type[RowSettings]

    def sniff(self, head: bytes) -> bool:
        """Whether the first bytes of a file (up to 64 KiB) are surely of this format."""

    def rows(self, chunks: Iterable[bytes], settings: Any) -> Iterator[CallRow | Rejected]:
        """The rows of a byte stream, in its order; one within which the stream ends is rejected as `UNFINISHED`."""

    def links(self, row: CallRow) -> tuple[str, ...]:
        """The links that a row has by what is known today: it may have been kept by an older version."""

    def assemble(self, rows: Sequence[CallRow], settings: Any, source: str) -> Cdr | None:
        """The interaction that these rows (all known of one call) are; the same for every order of the same rows.

        None while the rows do not make a call yet. One that is not over, as far as they tell, has the disposition
        `waiting` or `active` and the flag `provisional`; `ingest.settle` ends it if no row does.
        """


def formats() -> dict[str, RecordFormat | RowFormat]:
    """Every format by its name."""
    from calldex.formats import asterisk, jsonl

    return {f.name: f for f in (jsonl.FORMAT, asterisk.FORMAT)}


UNFINISHED: Final = "unfinished: the file ends within this row; an import of the whole row takes this piece out of here"
"""Why the last piece of a stream is rejected that is still being written, or was cut off: nothing tells the one from
the other. Its place is "line N", the one with which it begins, and its `raw` all that stands there; one with another
place is not recognized when more of it comes."""

LINE_LIMIT: Final = 1 << 20
"""No format reads a line longer than this; a longer one is rejected whole."""


def lines(chunks: Iterable[bytes]) -> Iterator[tuple[bytes, bool]]:
    """Cut a byte stream at line feeds: each line without its end, and whether it had one.

    Memory is bounded: of a line beyond `LINE_LIMIT` only the first `LINE_LIMIT + 1` bytes are kept, so that the
    caller can see that it was too long and reject it.
    """
    begun: list[bytes] = []  # of a line whose end has not come yet: joined once, in however many pieces it comes
    size = 0
    for chunk in chunks:
        *ended, rest = chunk.split(b"\n")
        if ended:
            ended[0] = b"".join((*begun, ended[0]))
            begun, size = [], 0
            for line in ended:
                yield line[: LINE_LIMIT + 1], True
        if rest and size <= LINE_LIMIT:
            begun.append(rest[: LINE_LIMIT + 1 - size])
            size += len(begun[-1])
    if begun:
        yield b"".join(begun), False


def settings_of(format_: RecordFormat | RowFormat, given: Mapping[str, str]) -> FormatSettings:
    """A source's settings from their texts; a setting that holds several values has them as `texts.listed` reads.

    Raises `BadSettings` with everything that is unknown, missing or contradicting.
    """
    fields = {field.encode_name: field for field in msgspec.structs.fields(format_.settings)}
    valid = ", ".join(fields) or "none"
    problems = [
        Problem(name, value[:100], f"is no setting of the format {format_.name}{suggest(name, fields)}", valid)
        for name, value in given.items()
        if name not in fields
    ]
    problems += [
        Problem(name, "", f"is a setting that the format {format_.name} needs", _explained(field))
        for name, field in fields.items()
        if field.required and name not in given
    ]
    if problems:
        raise BadSettings(problems)
    several = {name for name, field in fields.items() if "tuple" in str(field.type)}
    texts = {name: _items(name, value) if name in several else value for name, value in given.items()}
    try:
        return msgspec.convert(texts, format_.settings, strict=False)
    except msgspec.ValidationError as error:
        raise BadSettings([Problem("settings", "", str(error))]) from None  # each says itself what is valid


def _items(name: str, value: str) -> list[str]:
    try:
        return [item for item in listed(value) if item]
    except ValueError as error:
        raise BadSettings([Problem(name, value[:100], str(error), 'one that holds a comma as "a, b"')]) from None


def _explained(field: msgspec.structs.FieldInfo) -> str:
    info = msgspec.inspect.type_info(field.type)
    extra = info.extra_json_schema if isinstance(info, msgspec.inspect.Metadata) else None
    return str((extra or {}).get("description", ""))

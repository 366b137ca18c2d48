"""What a file is asked to be, and the file as it is made: counted, summed, and ended as it was asked to.

For every way in which a file leaves: streamed, made in the background, written by a command.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import Annotated, Any, Literal

import msgspec

from calldex.errors import BadParameters, Problem
from calldex.exports import COLUMN, FORMATS, Format, Layout, Times, Writer, chosen
from calldex.search.query import Own

FORMAT_WORDS = Literal["json", "ndjson", "csv", "csv-excel", "xlsx", "parquet", "arrow"]


class ExportRequest(Own, frozen=True):
    """What a file is to be. `tests/api/test_exports.py` holds the words of `format` to the registry."""

    format: Annotated[
        FORMAT_WORDS,
        msgspec.Meta(
            description="Kind of file. `csv` is exact, for machines; `csv-excel` and `xlsx` are for people: times in"
            " the zone of `timezone`, and nothing in them runs in a spreadsheet. `json` is one object, `ndjson` a"
            " record a line, both as the list has them; `parquet` and `arrow` have typed columns.",
            examples=["ndjson"],
        ),
    ] = "ndjson"
    fields: Annotated[
        tuple[str, ...],
        msgspec.Meta(
            description="Columns, in their order, comma-separated: fields of a record, and `updated_at`, when its"
            " version was committed. All fields of a record if not given.",
            max_length=len(COLUMN),
            extra_json_schema={"items": {"enum": list(COLUMN)}, "uniqueItems": True},
            examples=[("uuid", "started_at", "from", "to")],
        ),
    ] = ()
    end: (
        Annotated[
            Literal["line"],
            msgspec.Meta(
                description="`line`: `ndjson` and `csv` end in a line with the number of records and the SHA-256 of all"
                " bytes before it. Who sends `TE: trailers` gets both behind the body as well.",
                examples=["line"],
            ),
        ]
        | None
    ) = None

    times: Annotated[
        Times,
        msgspec.Meta(
            description="How `csv` tells times, for programs that read no offset: `utc`, as the list does; `local`, on"
            " the clock of `timezone`, without an offset; `epoch_ms`, in milliseconds since 1970.",
            examples=["utc"],
        ),
    ] = "utc"

    def problems(self) -> Iterator[Problem]:
        """What does not go together."""
        if self.end is not None and FORMATS[self.format].last is None:
            valid = f"with format {', '.join(name for name, format_ in FORMATS.items() if format_.last)}"
            yield Problem("end", self.end, f"{self.format} has no lines", valid)
        if self.times != "utc" and self.format != "csv":
            yield Problem("times", self.times, f"{self.format} has a way of its own to tell times", "with format csv")
        try:
            chosen(self.fields)
        except BadParameters as error:
            yield from error.problems


def made(own: ExportRequest, timezone: str, total: int, *, sums: bool = False) -> Made:
    """The file that is asked for, of so many records, to be made; times for people are told in this zone."""
    layout = Layout(chosen(own.fields), timezone, total, bool(own.fields), own.times)
    return Made(FORMATS[own.format], layout, ends=own.end is not None, sums=sums)


class Made:
    """A file as it is made. `ends`: it ends in a line that proves the rest; `sums`: its digest is wanted in any
    case."""

    def __init__(self, format_: Format, layout: Layout, *, ends: bool, sums: bool = False) -> None:
        self._writer: Writer = format_.writer(layout)
        self._last = format_.last if ends else None
        self._digest = hashlib.sha256() if ends or sums else None
        self._count = 0
        self.proof: tuple[int, str] | None = None
        """What the line at the end says, once it was made: the number of records, and the digest of all before it."""

    @property
    def digest(self) -> str:
        """SHA-256 of all bytes so far, in hexadecimal digits."""
        return "" if self._digest is None else self._digest.hexdigest()

    def resume(self, count: int, piece: bytes) -> None:
        """Go on behind what was made before: a piece of it, with so many records."""
        self._count += count
        self._summed(piece)

    def begin(self) -> bytes:
        """What comes before the first record."""
        return self._summed(self._writer.begin())

    def convert(self, records: bytes) -> object:
        """What can be made of some records by themselves, their JSON a line each; several threads at once."""
        return self._writer.convert(records)

    def add(self, converted: Any, count: int) -> bytes:
        """What is ready when so many records, converted, have come."""
        self._count += count
        return self._summed(self._writer.add(converted))

    def end(self) -> bytes:
        """What comes last."""
        rest = self._summed(self._writer.end())
        if self._last is not None:
            self.proof = (self._count, self.digest)
            rest += self._summed(self._last(*self.proof))
        return rest

    def close(self) -> None:
        """Let go of what the format holds."""
        self._writer.close()

    def _summed(self, piece: bytes) -> bytes:
        if self._digest is not None:
            self._digest.update(piece)
        return piece

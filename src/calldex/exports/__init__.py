"""Records leave as files: one module a format, one line each in `FORMATS`.

A format turns batches of records' JSON, which `search.reader` has permitted and masked, into the bytes of a file, in
memory for one batch. It knows no store, no rights and no HTTP. A file that was cut is never whole: JSON lacks its
bracket, XLSX its directory, Parquet its footer, Arrow its mark of the end; NDJSON and CSV can be asked for a last line.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

import msgspec

from calldex.exports.arrow import Arrow
from calldex.exports.columns import COLUMN, UPDATED_AT, Column, Layout, Times, Writer, chosen
from calldex.exports.csv import Csv, CsvExcel, last_row
from calldex.exports.lines import Json, Lines, last_object
from calldex.exports.parquet import Parquet
from calldex.exports.xlsx import Xlsx

__all__ = ("COLUMN", "FORMATS", "UPDATED_AT", "Column", "Format", "Layout", "Times", "Writer", "chosen")


class Format(msgspec.Struct, frozen=True):
    """A kind of file. `compressed`: it is already, so that a connection need not do it. `last`: makes the line that it
    can end in, of the number of records and the digest of all bytes before. `resumes`: what comes next depends on the
    records alone, so that a part of it can be gone on with."""

    name: str
    media_type: str
    suffix: str
    writer: Callable[[Layout], Writer]
    compressed: bool = False
    last: Callable[[int, str], bytes] | None = None
    resumes: bool = False


FORMATS: Final[Mapping[str, Format]] = {
    format_.name: format_
    for format_ in (
        Format("json", "application/json", "json", Json),
        Format("ndjson", "application/x-ndjson", "ndjson", Lines, last=last_object, resumes=True),
        Format("csv", "text/csv; charset=utf-8; header=present", "csv", Csv, last=last_row, resumes=True),
        Format("csv-excel", "text/csv; charset=utf-8; header=present", "csv", CsvExcel, last=last_row, resumes=True),
        Format("xlsx", "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet", "xlsx", Xlsx, True),
        Format("parquet", "application/vnd.apache.parquet", "parquet", Parquet, True),
        Format("arrow", "application/vnd.apache.arrow.stream", "arrows", Arrow),
    )
}

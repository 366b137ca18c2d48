"""Every format holds what the API serves, read back by a reader of its own."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Final
from zoneinfo import ZoneInfo

import arro3.io
import duckdb
import msgspec
import pytest
import python_calamine
from hypothesis import given, settings
from hypothesis import strategies as st

from calldex.exports import COLUMN, FORMATS, Layout, chosen, xlsx
from calldex.exports.columns import DEFAULT, Kind
from calldex.exports.csv import Exact, cell_by_cell, defused
from calldex.exports.request import FORMAT_WORDS, ExportRequest
from calldex.exports.request import made as file_of
from calldex.records import codec
from calldex.records.fields import FIELDS
from calldex.records.record import Cdr, Event, Leg, canonical, from_ms, time_uuid
from tests.examples import examples
from tests.strategies import cdrs

ZONE: Final = "America/New_York"


def served(record: Cdr) -> bytes:
    """A record's JSON as it is stored."""
    return codec.encode(canonical(record))


def awkward(number: int) -> Cdr:
    """A record with all that is hard to write."""
    text = '},{"uuid":"x", \\"custom\\":{"a":1} "quoted", comma,\r\nline <b>&amp; _x0041_ \u2028 =1+1'
    return Cdr(
        uuid=time_uuid(number, "awkward"),
        type="inbound",
        disposition="answered",
        started_at=from_ms(1_780_000_000_123 + number),
        from_="+44 20 7946 0321" if number % 2 else "=HYPERLINK(1)",
        to="sip:bob@example.com",
        agent="-Ann\tLee",
        agent_id=2**53 - 1,
        duration_s=100 * 3600,
        events=(Event(type="queued", at=from_ms(1_780_000_001_000), queue=text),),
        legs=(Leg(started_at=from_ms(1_780_000_000_000), channel=text),),
        tags=("=cmd", text[:60]),
        comment=text,
        score=87.5,
        custom={"custom": text, "uuid": 1, "none": None, "yes": True, "half": 0.5, "brace}": "}{"},
    )


RECORDS: Final = [awkward(number) for number in range(9)]
"""What is written by each format, in three batches."""


def made(name: str, records: Sequence[Cdr], fields: Sequence[str] = ()) -> bytes:
    """The file of some records."""
    layout = Layout(chosen(fields), ZONE, len(records), bool(fields))
    writer = FORMATS[name].writer(layout)
    parts = [writer.begin()]
    batches = [records[first : first + 3] for first in range(0, len(records), 3)]
    parts.extend(writer.add(writer.convert(b"\n".join(map(served, batch)))) for batch in batches)
    parts.append(writer.end())
    writer.close()
    return b"".join(parts)


@pytest.mark.parametrize("name", ["csv", "arrow", "parquet"])
def test_batches_are_converted_side_by_side(name: str) -> None:
    """By several threads at once, each of which gets what it would get alone."""
    writer = FORMATS[name].writer(Layout(chosen(()), ZONE, 64))
    batches = [b"\n".join(map(served, map(awkward, range(first, first + 50)))) for first in range(0, 400, 50)]
    alone = [writer.convert(batch) for batch in batches]
    with ThreadPoolExecutor(4) as threads:
        assert alone == list(threads.map(writer.convert, batches))
    writer.close()


def objects(records: Sequence[Cdr]) -> list[dict[str, Any]]:
    """The records as the API serves them."""
    return [json.loads(served(record)) for record in records]


def test_every_field_has_a_column() -> None:
    """In the order of the table; `updated_at` comes only where it is asked for."""
    assert [field.name for field in FIELDS] == [column.name for column in DEFAULT]
    assert "updated_at" in COLUMN
    assert {Kind.NESTED} == {COLUMN[name].kind for name in ("teams", "events", "legs", "tags", "custom", "flags")}
    assert {Kind.TEXT} == {COLUMN[name].kind for name in ("uuid", "type", "from", "duration", "comment")}


def read_json(file: bytes) -> list[dict[str, Any]]:
    """Of JSON."""
    found = json.loads(file)
    assert len(found["records"]) == found["total"]
    records: list[dict[str, Any]] = found["records"]
    return records


def read_lines(file: bytes) -> list[dict[str, Any]]:
    """Of NDJSON."""
    return [json.loads(line) for line in file.splitlines()]


def read_csv(file: bytes) -> list[dict[str, Any]]:
    """Of exact CSV: every text becomes again what it was, by the kind of its column."""
    rows = list(csv.DictReader(io.StringIO(file.decode(), newline=""), strict=True))
    return [{name: _value(COLUMN[name].kind, text) for name, text in row.items()} for row in rows]


def _value(kind: Kind, text: str) -> Any:
    if text == "":
        return None
    return json.loads(text) if kind in (Kind.NESTED, Kind.WHOLE, Kind.LENGTH, Kind.DECIMAL) else text


@pytest.mark.parametrize(("name", "read"), [("json", read_json), ("ndjson", read_lines), ("csv", read_csv)])
def test_texts_say_what_the_api_serves(name: str, read: Callable[[bytes], list[dict[str, Any]]]) -> None:
    """Every value, whatever it is; of CSV the columns alone."""
    assert objects(RECORDS) == read(made(name, RECORDS))
    fields = ("comment", "uuid", "custom", "events")
    picked = [{field: one[field] for field in fields} for one in objects(RECORDS)]
    assert picked == read(made(name, RECORDS, fields))
    assert [list(fields)] * 9 == [list(one) for one in read(made(name, RECORDS, fields))]
    assert [] == read(made(name, []))


def test_rows_with_escapes_stand_between_others() -> None:
    """In their order; a text that looks like JSON is a text, and null is what has no quotes."""
    plain = [
        msgspec.structs.replace(awkward(n), comment=text, agent=None, events=(), legs=(), tags=(), custom={})
        for n, text in enumerate(("null", "[1,2]", "{}", None, "a,b"))
    ]
    mixed = [*plain[:2], awkward(7), awkward(8), *plain[2:]]
    assert objects(mixed) == read_csv(made("csv", mixed))
    assert b'comment,agent\r\n"null",\r\n"[1,2]",\r\n"{}",\r\n,\r\n"a,b",\r\n' == made(
        "csv", plain, ("comment", "agent")
    )


@pytest.mark.parametrize("name", [name for name, each in FORMATS.items() if each.resumes])
def test_a_file_that_is_gone_on_with(name: str) -> None:
    """It ends as if it had been made at once: its last line counts all records, and is the digest of all bytes."""
    first, second = (b"\n".join(map(served, some)) for some in (RECORDS[:4], RECORDS[4:]))
    asked = ExportRequest(format=msgspec.convert(name, FORMAT_WORDS), end="line")
    once, again = file_of(asked, ZONE, len(RECORDS)), file_of(asked, ZONE, len(RECORDS))
    begun = once.begin() + once.add(once.convert(first), 4)
    again.resume(4, begun)
    assert once.add(once.convert(second), 5) + once.end() == again.add(again.convert(second), 5) + again.end()


@settings(max_examples=examples(30), deadline=None)
@given(st.lists(cdrs(), min_size=1, max_size=4))
def test_any_records(records: list[Cdr]) -> None:
    """Of any records, lines and Arrow hold as many as came, and lines what was served."""
    assert objects(records) == read_lines(made("ndjson", records))
    assert objects(records) == read_csv(made("csv", records))
    table = arro3.io.read_ipc_stream(io.BytesIO(made("arrow", records))).read_all()
    assert len(records) == table.num_rows


NUMBERS: Final = st.one_of(
    st.floats(allow_nan=False, allow_infinity=False),
    st.integers(),
    st.decimals(allow_nan=False, allow_infinity=False, places=6, min_value=-(10**9), max_value=10**9).map(float),
    st.integers(-400, 400).map(lambda power: float(f"1e{power // 10}")),
)


@settings(max_examples=examples(60), deadline=None)
@given(st.lists(cdrs(), min_size=1, max_size=4), st.lists(NUMBERS, max_size=5), st.floats(0, 100))
def test_csv_is_the_same_however_it_is_made(records: list[Cdr], numbers: list[float], score: float) -> None:
    """All at once or cell by cell: the same bytes, of whatever numbers and texts, and of any columns."""
    extreme = msgspec.structs.replace(records[0], custom=dict(zip("abcde", numbers, strict=False)), score=score)
    stored = b"\n".join(map(served, [*records, extreme]))
    for columns in (DEFAULT, chosen(("comment", "custom", "score")), chosen(("comment",)), chosen(("talk_s", "tags"))):
        one = Exact(columns)
        assert cell_by_cell(columns)(stored) == one.rows(stored)
        one.close()


def test_csv_is_made_at_once() -> None:
    """Unless its JSON has what may be written in several ways, which is control characters and extreme numbers."""
    one = Exact(DEFAULT)
    for value, expected in (
        *((1e16, False), (10**17, False), (1e-6, False), (1e-5, False), ("\x07", False)),
        *((12.5, True), (10**15, True), ("1e5", True), ('a "b"\r\nc, \\ d', True)),
    ):
        stored = served(msgspec.structs.replace(RECORDS[0], custom={"n": value, "m": 1}))
        assert expected == (one.at_once(stored) is not None), value
    one.close()


@pytest.mark.slow
def test_nothing_lies_beneath_a_null() -> None:
    """What memory held before, perhaps of another reader's records, is in no file: equal records are equal bytes."""
    empty = [
        Cdr(uuid=time_uuid(n, "empty"), type="inbound", disposition="answered", started_at=from_ms(n), duration_s=n)
        for n in range(9)
    ]
    files = set()
    for _ in range(5):
        made("arrow", RECORDS * 40)
        files.add(made("arrow", empty))
    assert 1 == len(files)


def test_typed_columns(tmp_path: Path) -> None:
    """Parquet and Arrow have the same types, which do not depend on what is in them; `custom` is JSON text."""
    for name, records in (("all", RECORDS), ("none", [])):
        (tmp_path / f"{name}.parquet").write_bytes(made("parquet", records))
    query = "SELECT column_name, column_type FROM (DESCRIBE SELECT * FROM '{}')"
    with duckdb.connect() as engine:
        types = [dict(engine.execute(query.format(tmp_path / f"{n}.parquet")).fetchall()) for n in ("all", "none")]
        assert types[0] == types[1]
        assert ("TIMESTAMP WITH TIME ZONE", "BIGINT", "DOUBLE") == (
            *(types[0][name] for name in ("started_at", "duration_s", "score")),
        )
        assert types[0]["events"].startswith("STRUCT(")
        assert types[0]["tags"] == "VARCHAR[]"
        found = engine.execute(
            "SELECT uuid, epoch_ms(started_at), events[1].queue, legs[1].channel, tags, custom, agent_id"
            f" FROM '{tmp_path}/all.parquet'"
        ).fetchall()
    assert [
        (
            one.uuid,
            1_780_000_000_123 + number,
            one.events[0].queue,
            one.legs[0].channel,
            list(one.tags),
            one.custom,
            one.agent_id,
        )
        for number, one in enumerate(RECORDS)
    ] == [(*row[:5], json.loads(row[5]), row[6]) for row in found]
    arrow = arro3.io.read_ipc_stream(io.BytesIO(made("arrow", RECORDS))).read_all()
    parquet = arro3.io.read_parquet(tmp_path / "all.parquet").read_all()
    assert arrow.schema == parquet.schema
    assert arrow.num_rows == parquet.num_rows == 9


def test_times_have_no_dictionary(tmp_path: Path) -> None:
    """A time hardly ever comes again, neither that of a record nor that of an event: a dictionary takes time and room
    for nothing."""
    file = tmp_path / "all.parquet"
    file.write_bytes(made("parquet", RECORDS))
    with duckdb.connect() as engine:
        found = engine.execute(f"SELECT path_in_schema, encodings FROM parquet_metadata('{file}')").fetchall()
    kept = {path.replace(", ", "."): "DICTIONARY" in encodings for path, encodings in found}
    times = {path for path in kept if path.endswith(("_at", ".at", "timestamp"))}
    assert {"started_at", "timestamp", "events.list.item.at", "legs.list.item.answered_at"} <= times
    assert (set(), True) == ({path for path in times if kept[path]}, kept["events.list.item.queue"])


def rows_of(file: bytes) -> list[list[list[Any]]]:
    """The rows of each sheet of a workbook."""
    book = python_calamine.CalamineWorkbook.from_filelike(io.BytesIO(file))
    return [book.get_sheet_by_name(name).to_python() for name in book.sheet_names]


def test_a_workbook() -> None:
    """Real times in the reader's zone, real lengths, text that stays text, numbers beyond 15 digits whole."""
    fields = ("started_at", "duration_s", "from", "agent", "agent_id", "score", "comment", "tags", "answered_at")
    ((head, *rows),) = rows_of(made("xlsx", RECORDS, fields))
    assert [f"started_at ({ZONE})", "duration_s", "from"] == head[:3]
    for record, row in zip(RECORDS, rows, strict=True):
        local = record.started_at.astimezone(ZoneInfo(ZONE)).replace(tzinfo=None)
        assert abs(row[0] - local) < timedelta(milliseconds=2)
        one = canonical(record)
        assert [timedelta(hours=100), one.from_, one.agent, str(2**53 - 1), 87.5, one.comment] == row[1:7]
        assert list(one.tags) == json.loads(row[7])
        assert "" == row[8]
    assert [[head]] == rows_of(made("xlsx", [], fields))


def test_a_workbook_of_several_sheets() -> None:
    """What one sheet does not hold goes to the next; none is empty."""
    writer = xlsx.Xlsx(Layout(chosen(("uuid",)), "UTC", 9), rows=5)
    file = writer.begin() + writer.add(writer.convert(b"\n".join(map(served, RECORDS)))) + writer.end()
    sheets = rows_of(file)
    assert [5, 5, 2] == [len(sheet) for sheet in sheets]
    assert [one.uuid for one in RECORDS] == [row[0] for sheet in sheets for row in sheet[1:]]


def test_a_cell_holds_so_much() -> None:
    """What is more than a spreadsheet's cell can hold is told instead of breaking the file."""
    record = msgspec.structs.replace(RECORDS[0], tags=tuple("\N{SNOWMAN}" * 60 + f"{n}" for n in range(100)))
    legs = tuple(Leg(started_at=from_ms(n), channel="x" * 190) for n in range(1000))
    ((_, row),) = rows_of(made("xlsx", [msgspec.structs.replace(record, legs=legs)], ("uuid", "legs")))
    assert re.fullmatch(r"\(\d+ characters, more than a cell holds; .*\)", row[1])


@pytest.mark.parametrize(
    ("cell", "expected"),
    [
        ("=HYPERLINK(1)", "'=HYPERLINK(1)"),
        ("@SUM(1)", "'@SUM(1)"),
        ("-Ann", "'-Ann"),
        ("  =1", "'  =1"),
        ("\t=1", "'\t=1"),
        ("\uff1d1+1", "'\uff1d1+1"),
        ("\ufeff=1", "'\ufeff=1"),
        ("\u200b\u2060=1", "'\u200b\u2060=1"),
        ("+447700900412", "+447700900412"),
        ("-12.5", "-12.5"),
        ("+44 20 7946 0321", "+44 20 7946 0321"),
        ("-1+cmd|' /C calc'!A0", "'-1+cmd|' /C calc'!A0"),
        ("Ann\x1b[2J", "Ann\N{REPLACEMENT CHARACTER}[2J"),
        ("Ann", "Ann"),
        ("", ""),
        (7, 7),
        (None, None),
    ],
)
def test_a_cell_for_people_runs_nothing(cell: Any, expected: Any) -> None:
    """A spreadsheet shows it; numbers of telephones and negative ones stay as they are."""
    assert expected == defused(cell)


def test_csv_for_people() -> None:
    """A byte order mark, times in the reader's zone, which the headings name, nothing that runs."""
    fields = ("started_at", "from", "agent", "tags")
    file = made("csv-excel", RECORDS, fields)
    assert file.startswith(b"\xef\xbb\xbf")
    head, *rows = csv.reader(io.StringIO(file.decode("utf-8-sig"), newline=""), strict=True)
    assert [f"started_at ({ZONE})", "from", "agent", "tags"] == head
    local = datetime.strptime(rows[0][0], "%Y-%m-%d %H:%M:%S").replace(tzinfo=ZoneInfo(ZONE))
    assert RECORDS[0].started_at.replace(microsecond=0) == local
    assert ("'=HYPERLINK(1)", "'-Ann") == (rows[0][1], rows[0][2][:5])


def pieces(name: str) -> Iterator[bytes]:
    """A file as it would be if it had been cut at each of many places."""
    file = made(name, RECORDS)
    for end in range(0, len(file), max(1, len(file) // 60)):
        yield file[:end]


def test_a_cut_file_is_not_whole(tmp_path: Path) -> None:
    """JSON, XLSX, Parquet and Arrow cannot be read as whole when they were cut anywhere."""

    def arrow_is_whole(file: bytes) -> bool:
        return file.endswith(b"\xff\xff\xff\xff\0\0\0\0")

    for cut in pieces("json"):
        with pytest.raises(ValueError, match=r".*"):
            json.loads(cut)
    for cut in pieces("xlsx"):
        with pytest.raises((python_calamine.CalamineError, OSError)):
            rows_of(cut)
    for cut in pieces("parquet"):
        (tmp_path / "cut.parquet").write_bytes(cut)
        with duckdb.connect() as engine, pytest.raises(duckdb.Error):
            engine.execute(f"SELECT * FROM '{tmp_path}/cut.parquet'").fetchall()
    assert not any(map(arrow_is_whole, pieces("arrow")))
    assert arrow_is_whole(made("arrow", RECORDS))

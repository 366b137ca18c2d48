"""Asterisk: what rows are read from which bytes."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from datetime import UTC, datetime

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from calldex.formats import LINE_LIMIT, UNFINISHED, RowFormat
from calldex.formats.asterisk import FORMAT
from calldex.formats.asterisk.rows import CdrRow
from calldex.formats.asterisk.settings import COLUMNS, AsteriskSettings
from calldex.records.record import CallRow, Cdr, Rejected
from tests.formats.tools import (
    PLAIN,
    SHIPPED_CUSTOM,
    calls,
    csv_line,
    groups,
    kept,
    line,
    one,
    read,
    rejected,
)


def test_the_format_is_a_row_format_and_its_row_has_the_columns() -> None:
    """It offers what ingest needs; each column that can be named is kept."""
    assert isinstance(FORMAT, RowFormat)
    assert COLUMNS == CdrRow.__struct_fields__


@pytest.mark.parametrize(
    ("width", "seventeenth", "expected"),
    [
        (16, "", {"uniqueid": "", "userfield": "", "linkedid": ""}),
        (17, "1782900000.10", {"uniqueid": "1782900000.10", "userfield": ""}),
        (17, "pbx1-1782900000.10", {"uniqueid": "pbx1-1782900000.10", "userfield": ""}),
        (17, "did:44", {"uniqueid": "", "userfield": "did:44"}),
        (18, "1782900000.10", {"uniqueid": "1782900000.10", "userfield": "U"}),
        (19, "", {"uniqueid": "", "peeraccount": "P", "linkedid": "1782900000.9", "sequence": "7"}),
        (20, "1782900000.10", {"uniqueid": "1782900000.10", "userfield": "", "linkedid": "1782900000.9"}),
        (20, "did:44", {"uniqueid": "", "userfield": "did:44", "linkedid": "1782900000.9"}),
        (21, "1782900000.10", {"uniqueid": "1782900000.10", "userfield": "U", "sequence": "7"}),
    ],
)
def test_the_number_of_columns_says_which_they_are(width: int, seventeenth: str, expected: dict[str, str]) -> None:
    """The uniqueid, the user field and the three new columns are each there or not; one alone is told by its form."""
    base = next(csv.reader([line().decode()]))[:16]
    more = {
        16: [],
        17: [seventeenth],
        18: [seventeenth, "U"],
        19: ["P", "1782900000.9", "7"],
        20: [seventeenth, "P", "1782900000.9", "7"],
        21: [seventeenth, "U", "P", "1782900000.9", "7"],
    }[width]
    (row,) = read(csv_line([*base, *more]))
    assert isinstance(row, CallRow)
    kept = msgspec.json.decode(row.text, type=CdrRow)
    assert expected == {name: getattr(kept, name) for name in expected}


def test_a_row_of_sixteen_columns_is_a_call() -> None:
    """Without any id a row is known by its channel and its time."""
    base = next(csv.reader([line(channel="Console/dsp").decode()]))[:16]
    assert ("447700900100", 70) == (one(csv_line(base)).from_, one(csv_line(base)).duration_s)


def test_the_same_row_in_another_file_is_the_same_row() -> None:
    """`Master.csv` and the file of the account code hold the same line; neither place nor charset are part of it."""
    first, other = kept(line() + line(sequence="2"))
    assert [first] == kept(b"rubbish\n" + line())
    assert first[0] != other[0]
    latin, russian = (
        read(line(clid="@").replace(b"@", b"\xc9"), AsteriskSettings(zone="UTC", charset=name))
        for name in ("cp1252", "koi8-r")
    )
    assert [row.key for row in latin if isinstance(row, CallRow)] == [
        row.key for row in russian if isinstance(row, CallRow)
    ]


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        (b'"""Hank, Jr."" <1>"', '"Hank, Jr." <1>'),
        (b'""""" <1>"', '"" <1>'),
        (b'"""Juan P\xc3\xa9rez"" <1>"', '"Juan Pérez" <1>'),
        (b'"""Juan P\xe9rez"" <1>"', '"Juan Pérez" <1>'),
        (b'"""Gr\xa5 "" <1>"', '"Gr¥ " <1>'),
        (b'"""A\nnn"" <1>"', '"A nn" <1>'),
        (b'"""A\x00n\x07n"" <1>"', '"Ann" <1>'),
        (b'"NULL"', ""),
        (b'" "', ""),
    ],
)
def test_a_value_is_decoded_by_itself(raw: bytes, expected: str) -> None:
    """Quotes, line breaks, control characters, bytes that are not UTF-8: the row is kept, the value is text."""
    (row,) = read(line(clid="@").replace(b'"@"', raw))
    assert isinstance(row, CallRow)
    assert expected == msgspec.json.decode(row.text, type=CdrRow).clid


def test_bytes_that_are_not_utf8_are_of_the_charset_of_the_source() -> None:
    """Only those: another value of the row that is UTF-8 stays what it is."""
    known = AsteriskSettings(zone="UTC", charset="koi8-r")
    (row,) = read(line(userfield="é", clid="@").replace(b"@", b"\xc9\xd7\xc1\xce"), known)
    assert isinstance(row, CallRow)
    kept = msgspec.json.decode(row.text, type=CdrRow)
    assert ("Иван", "é") == (kept.clid.lower().title(), kept.userfield)


def test_line_ends_marks_and_blank_lines_are_no_part_of_a_row() -> None:
    """A file that went over another system gives the same rows."""
    assert kept(line()) == kept(b"\xef\xbb\xbf" + line().replace(b"\n", b"\r\n") + b"\r\n \n") != []
    log = b"1782900001|1782900000.10|support|NONE|ENTERQUEUE||447700900100|1"
    assert kept(log + b"\n") == kept(b"\xef\xbb\xbf" + log + b"|\r\n") != []


@pytest.mark.parametrize("answer", ["", "0000-00-00 00:00:00", "1970-01-01 00:00:00", "1969-12-31 19:00:00", "NULL"])
def test_a_time_that_means_none_is_none(answer: str) -> None:
    """Empty, zero and epoch 0 as a back end, or a zone west of Greenwich, writes it."""
    call = one(line(answer=answer, billsec="0", disposition="NO ANSWER"))
    assert (None, None, "missed") == (call.answered_at, call.legs[0].answered_at, call.disposition)


def test_without_a_start_the_id_tells_it() -> None:
    """A row of zero dates is placed by its uniqueid; one without even that is rejected."""
    zero = dict.fromkeys(("start", "answer", "end"), "0000-00-00 00:00:00")
    assert datetime(2026, 7, 1, 10, 0, tzinfo=UTC) == one(line(**zero)).started_at
    assert [("line 1", "no time at all: start, answer and end are empty and no unique id holds one")] == rejected(
        line(**zero, uniqueid="", linkedid="")
    )


@pytest.mark.parametrize(
    ("data", "where", "why"),
    [
        (line()[:-1], "line 1", UNFINISHED),
        (line() + line()[:100], "line 2", UNFINISHED),
        (line()[:100] + b"\n" + line(), "line 1", "a quote is never closed"),
        (line() + line()[:64] + b"\n", "line 2", UNFINISHED),
        (line() + line()[:64] + b"\n" + line()[64:100], "line 2", UNFINISHED),
        (b'x"y\nz"\n' + line(), "line 1", "not CSV: new-line character seen in unquoted field"),
        (b"hello\n", "line 1", "1 columns"),
        (csv_line(["x"] * 22), "line 1", "22 columns"),
        (line(start="yesterday"), "line 1", "start is not a time: 'yesterday'"),
        (line(end="2026-02-30 10:00:00"), "line 1", "end is not a time: '2026-02-30 10:00:00' is not in the calendar"),
        (line(src="4.47701E+11"), "line 1", "src is '4.47701E+11', a number as spreadsheets write decimals"),
        (line(dst="4,47701e+11"), "line 1", "dst is '4,47701e+11'"),
        (line(duration="long"), "line 1", "duration is not a number of seconds: 'long'"),
        (line(billsec="9999999999"), "line 1", "billsec is not a number of seconds"),
        (line(linkedid="1" * 151), "line 1", "linkedid is longer than the 150 characters"),
        (b"x" * (LINE_LIMIT + 5) + b"\n" + line(), "line 1", f"longer than {LINE_LIMIT} bytes"),
        (b'"' + b"x\n" * 101 + line(), "line 1", "a quote is open for 101 lines"),
        (b"1|2.3|q|NONE|ENTERQUEUE\n1|2.3|q\n", "line 2", "not a queue_log line"),
    ],
)
def test_what_cannot_be_read_says_where_and_why(data: bytes, where: str, why: str) -> None:
    """One rejection, in its place, with its bytes; what is whole around it is read."""
    (problem,) = [item for item in read(data) if isinstance(item, Rejected)]
    assert where == problem.where
    assert problem.reason.startswith(why)
    assert problem.raw in data


@pytest.mark.parametrize("cut", range(1, len(line(clid='"A\nB" <1>'))))
def test_a_row_cut_anywhere_is_unfinished(cut: int) -> None:
    """Behind each of its bytes but the last, also where what is left would be a row of another width."""
    whole = line(clid='"A\nB" <1>')
    _, piece = read(line() + whole[:cut])
    assert isinstance(piece, Rejected)
    assert (UNFINISHED, "line 2") == (piece.reason, piece.where)
    assert whole[:cut] == piece.raw


def test_a_wrong_column_list_is_told_from_the_shipped_one() -> None:
    """A cdr_custom file read as cdr_csv is rejected with what to do."""
    values = dict(zip(COLUMNS, next(csv.reader([line().decode()])), strict=False))
    data = csv_line(values[name] for name in SHIPPED_CUSTOM)
    assert "of a cdr_custom file name the columns in the setting columns" in rejected(data)[0][1]
    known = AsteriskSettings(zone="UTC", columns=SHIPPED_CUSTOM)
    assert (70, 60, "442079460011") == (one(data, known=known).duration_s, one(data, known=known).talk_s, values["dst"])


@pytest.mark.parametrize(
    ("clid", "lastdata"),
    [('"Hank" <1>', "PJSIP/agent1,20,tT"), ("Hank, Jr.", "PJSIP/agent1,20,tT"), ("Hank, Jr., III", "PJSIP/agent1")],
)
def test_unquoted_commas_are_put_together_again(clid: str, lastdata: str) -> None:
    """A mapping without CSV_QUOTE: channel and times say which value the commas belong to."""
    known = AsteriskSettings(zone="UTC", columns=SHIPPED_CUSTOM)
    values = dict(zip(COLUMNS, next(csv.reader([line().decode()])), strict=False))
    text = ",".join({**values, "clid": clid, "lastdata": lastdata}[name] for name in SHIPPED_CUSTOM)
    (row,) = read(text.encode() + b"\n", known)
    assert isinstance(row, CallRow)
    kept = msgspec.json.decode(row.text, type=CdrRow)
    assert (clid.replace('"', ""), lastdata) == (kept.clid.replace('"', ""), kept.lastdata)


def test_events_about_agents_belong_to_no_call() -> None:
    """They are rows without links; so is what was asked for on the command line."""
    data = (
        b"1782900000|NONE|NONE|NONE|QUEUESTART|\n1782900000|CLI|sales|SIP/1|ADDMEMBER\n"
        b"1782900000|1782900000.1|sales|SIP/1|PAUSE|lunch\n1782900001|REALTIME|sales|SIP/1|WHATEVER\n"
    )
    assert [(), (), (), ()] == [row.links for row in read(data) if isinstance(row, CallRow)]


def test_an_unknown_event_is_kept_with_its_call() -> None:
    """It alone is no call."""
    (row,) = read(b"1782900000|1782900000.10|sales|NONE|Survey|5\n")
    assert isinstance(row, CallRow)
    assert ("id:1782900000.10",) == row.links
    assert None is FORMAT.assemble([row], PLAIN, "pbx")


def test_without_linkedid_rows_meet_by_channel_and_minute() -> None:
    """Both halves of a Local channel in one minute are one call; the same name after a restart is another."""
    local = line(linkedid="", dstchannel="Local/9@q-00000001;1")
    agent = line(linkedid="", channel="Local/9@q-00000001;2", uniqueid="1782900003.12", start="2026-07-01 10:01:05")
    later = line(linkedid="", channel="Local/9@q-00000001;2", uniqueid="1782900300.1", start="2026-07-01 10:05:00")
    later = later.replace(b"10:01:10", b"10:06:00")
    rows = [row for row in read(local + agent + later) if isinstance(row, CallRow)]
    assert [1, 2] == sorted(len(group) for group in groups(rows))


# Any bytes


@given(st.lists(st.binary(max_size=40).map(lambda data: data.replace(b'"', b"").replace(b"\n", b""))))
def test_each_line_gives_one_row_or_one_rejection(parts: Sequence[bytes]) -> None:
    """Lines in are rows and rejections out, whatever the bytes, but for files of another kind; lines of white space are
    no record."""
    data = b"".join(part + b"\n" for part in parts)
    expected = sum(1 for part in data.removeprefix(b"\xef\xbb\xbf").split(b"\n") if part.strip())
    found = read(data)
    if any(isinstance(item, Rejected) and "seems to be" in item.reason for item in found):
        assert len(found) <= expected
    else:
        assert expected == len(found)


PIECES = st.sampled_from(
    [
        *(line(), line(clid='"A\nB" <1>'), line()[:90], b"\n", b'"', b",", b"\x00", b"\xff\xfe", b"\xef\xbb\xbf"),
        *(b"1782900001|1782900000.10|support|NONE|ENTERQUEUE||447700900100|1\n", b"1|||||\n"),
        b"99999999999|1.1|q|a|CONNECT|",
    ]
)


@given(st.lists(PIECES | st.binary(max_size=20), max_size=12), st.lists(st.integers(0, 600), max_size=6))
def test_neither_bytes_nor_chunks_can_raise_or_change_the_rows(pieces: list[bytes], cuts: list[int]) -> None:
    """Whole and broken rows of both kinds in any order; cut anywhere they are the same rows, and make calls."""
    data = b"".join(pieces)
    ends = sorted(min(cut, len(data)) for cut in cuts)
    chunks = [data[start:end] for start, end in zip([0, *ends], [*ends, len(data)], strict=True)]
    found = read(data)
    assert found == list(FORMAT.rows(chunks, PLAIN))
    assert {CallRow, Rejected} >= {type(item) for item in found}
    for call in calls(row for row in found if isinstance(row, CallRow)):
        assert call == msgspec.json.decode(msgspec.json.encode(call), type=Cdr)


VALUES = st.sampled_from(
    ["", "0", "-5", "ANSWERED", "CANCEL", "weird", "s", "Queue", "VoiceMail", "x" * 900, "Local/1@q-00000001;1"]
)
TIMES = st.sampled_from(
    ["", "2026-07-01 10:00:00", "2026-07-01 09:00:00", "9000-12-31 23:59:59", "1971-01-01 00:00:00"]
)


@given(
    st.lists(st.dictionaries(st.sampled_from(COLUMNS[:9] + COLUMNS[14:21]), VALUES, max_size=8), max_size=4),
    st.lists(st.fixed_dictionaries({"start": TIMES, "answer": TIMES, "end": TIMES}), min_size=4, max_size=4),
    st.lists(
        st.tuples(st.integers(0, 10**11 - 1), st.sampled_from(["ENTERQUEUE", "CONNECT", "ABANDON", "COMPLETEAGENT"]))
    ),
)
def test_any_row_that_is_read_makes_a_valid_call(
    values: list[dict[str, str]], times: list[dict[str, str]], events: list[tuple[int, str]]
) -> None:
    """Contradicting, missing and overlong values: the record keeps within its limits and is the same in any order."""
    data = b"".join(line(**{**value, **when}) for value, when in zip(values, times, strict=False))
    log = b"".join(b"%d|1782900000.10|q|a|%s|1|2|3\n" % (at, word.encode()) for at, word in events)
    rows = [row for row in (*read(data), *read(log)) if isinstance(row, CallRow)]
    for call in calls(rows):
        assert call == msgspec.json.decode(msgspec.json.encode(call), type=Cdr)
    assert calls(rows) == calls(reversed(rows))

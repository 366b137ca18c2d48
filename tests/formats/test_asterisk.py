"""Asterisk: what rows are read from which bytes, and what calls they make."""

from __future__ import annotations

import csv
import itertools
import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from calldex.formats import LINE_LIMIT, Row, RowFormat
from calldex.formats.asterisk import FORMAT
from calldex.formats.asterisk_rows import CdrRow
from calldex.formats.asterisk_settings import COLUMNS, AsteriskSettings
from calldex.record import Cdr, Rejected

ROOT = Path(__file__).parents[2]
GOLDENS = Path(__file__).parent / "goldens" / "asterisk"
PBX = ROOT / "tests" / "fixtures" / "asterisk-22"
SAMPLES = ROOT.parent / "shared" / "samples"
ASTERISK_22 = msgspec.json.decode((GOLDENS / "asterisk-22" / "settings.json").read_bytes(), type=AsteriskSettings)
PLAIN = AsteriskSettings(zone="UTC", trunks=("PJSIP/carrier-*",))
SHIPPED_CUSTOM = (
    *("clid", "src", "dst", "dcontext", "channel", "dstchannel", "lastapp", "lastdata", "start", "answer", "end"),
    *("duration", "billsec", "disposition", "amaflags", "accountcode", "uniqueid", "userfield", "sequence"),
)


def read(data: bytes, known: AsteriskSettings = PLAIN) -> list[Row | Rejected]:
    """What a file gives."""
    return list(FORMAT.rows([data], known))


def rows_of(*files: Path, known: AsteriskSettings = PLAIN) -> list[Row]:
    """The rows of files in which everything can be read."""
    found = [row for file in files for row in read(file.read_bytes(), known)]
    assert [row for row in found if isinstance(row, Rejected)] == []
    return [row for row in found if isinstance(row, Row)]


def groups(rows: Iterable[Row]) -> list[list[Row]]:
    """The rows of each call: those that share a link, directly or through others."""
    calls: list[tuple[set[str], list[Row]]] = []
    for row in {row.key: row for row in rows if row.links}.values():
        joined = [call for call in calls if call[0] & set(row.links)]
        calls = [call for call in calls if call not in joined]
        links = set(row.links).union(*(links for links, _ in joined))
        calls.append((links, [row, *itertools.chain.from_iterable(rows for _, rows in joined)]))
    return [rows for _, rows in calls]


def calls(rows: Iterable[Row], known: AsteriskSettings = PLAIN) -> list[Cdr]:
    """The calls that rows make, by start."""
    made = [FORMAT.assemble(group, known, "pbx") for group in groups(rows)]
    return sorted((call for call in made if call is not None), key=lambda call: (call.started_at, call.uuid))


def line(**values: str) -> bytes:
    """A row of cdr_csv with all 21 columns: an answered call from outside, but for what is given."""
    usual = dict.fromkeys(COLUMNS[:21], "") | {
        "src": "447700900100",
        "dst": "442079460011",
        "clid": '"Ann" <447700900100>',
        "channel": "PJSIP/carrier-0000000a",
        "dstchannel": "PJSIP/agent1-0000000b",
        "lastapp": "Dial",
        "start": "2026-07-01 10:00:00",
        "answer": "2026-07-01 10:00:10",
        "end": "2026-07-01 10:01:10",
        "duration": "70",
        "billsec": "60",
        "disposition": "ANSWERED",
        "uniqueid": "1782900000.10",
        "linkedid": "1782900000.10",
    }
    return csv_line({**usual, **values}.values())


def csv_line(values: Iterable[str]) -> bytes:
    """A line as cdr_csv writes it."""
    return ",".join('"' + value.replace('"', '""') + '"' for value in values).encode() + b"\n"


def one(*lines: bytes, known: AsteriskSettings = PLAIN) -> Cdr:
    """The one call that these lines are."""
    (call,) = calls((row for part in lines for row in read(part, known) if isinstance(row, Row)), known)
    return call


def rejected(data: bytes, known: AsteriskSettings = PLAIN) -> list[tuple[str, str]]:
    """Where and why something could not be read."""
    return [(item.where, item.reason) for item in read(data, known) if isinstance(item, Rejected)]


def sample(name: str) -> Path:
    """A recorded file that lies beside the repository, if it does."""
    path = SAMPLES / name
    if not path.exists():
        pytest.skip(f"no {name} beside the repository")
    return path


# Whole calls


@pytest.mark.parametrize("case", sorted(path.name for path in GOLDENS.iterdir()))
def test_the_rows_of_a_golden_make_its_calls(case: str) -> None:
    """Raw files beside their settings give exactly the calls that were written down for them."""
    known = msgspec.json.decode((GOLDENS / case / "settings.json").read_bytes(), type=AsteriskSettings)
    folder = PBX if case == PBX.name else GOLDENS / case
    files = [folder / name for name in ("Master.csv", "queue_log") if (folder / name).exists()]
    expected = msgspec.json.Decoder(Cdr).decode_lines((GOLDENS / case / "expected.jsonl").read_bytes())
    assert expected == calls(rows_of(*files, known=known), known)


def real_calls() -> list[Cdr]:
    """The calls of a real PBX."""
    return calls(rows_of(PBX / "Master.csv", PBX / "queue_log", known=ASTERISK_22), ASTERISK_22)


def channel_events() -> dict[datetime, list[dict[str, str]]]:
    """What the same PBX logged of each call's channels, by the caller's channel: start, calls with that start."""
    names = (
        *("type", "time", "name", "num", "ani", "rdnis", "dnid", "exten", "context", "channel", "app", "data"),
        *("ama", "account", "uniqueid", "linkedid", "peer", "userfield", "userdef", "extra"),
    )
    by_call: dict[str, list[dict[str, str]]] = defaultdict(list)
    with (PBX / "cel.csv").open(newline="") as file:
        for event in csv.DictReader(file, names):
            by_call[event["linkedid"]].append(event)
    found: dict[datetime, list[dict[str, str]]] = defaultdict(list)
    for events in by_call.values():
        bridges: dict[str, set[str]] = defaultdict(set)
        for event in events:
            if event["type"] == "BRIDGE_ENTER":
                bridges[json.loads(event["extra"])["bridge_id"]].add(event["channel"])
        bridged = any(len(channels) > 1 for channels in bridges.values())
        start = datetime.fromtimestamp(int(float(events[0]["time"])), UTC)
        found[start].append({"from": events[0]["num"], "bridged": str(bridged), "dialled": events[0]["exten"]})
    return found


def test_a_call_is_answered_if_the_channel_log_has_two_people_in_one_bridge() -> None:
    """Asterisk's own event log, which is not read by us, agrees on every call: caller, start and answer.

    One of its calls has neither a CDR row nor a queue event: it was still up when the PBX was stopped.
    """
    expected = Counter(
        (start, call["bridged"] == "True", call["dialled"].startswith("442"))
        for start, of_start in channel_events().items()
        for call in of_start
    )
    got = Counter((call.started_at, call.disposition == "answered", call.type == "inbound") for call in real_calls())
    assert [(datetime(2026, 11, 23, 18, 58, 57, tzinfo=UTC), True, True)] == list((expected - got).elements())
    assert [] == list((got - expected).elements())


def test_the_pbx_dialplan_says_how_each_number_ends() -> None:
    """Each number called was given one fate in the dialplan, and its calls have it."""
    expected = {
        "442079460001": {("abandoned", "support", "timeout")},
        "442079460002": {("abandoned", "sales", "customer_disconnect")},
        "442079460011": {("answered", None, None)},
        "442079460012": {("missed", None, None)},
        "442079460013": {("missed", None, None)},
        "442079460014": {("missed", None, None)},
        "442079460015": {("missed", None, None)},
        "442079460016": {("answered", None, None)},
    }
    got: dict[str, set[Any]] = defaultdict(set)
    for call in real_calls():
        if call.did:
            got[call.did].add((call.disposition, call.queue, call.end_reason))
    assert expected == got


def test_a_call_that_only_the_queue_log_knows_is_a_call() -> None:
    """Calls still up have no CDR row yet: answered by who connected, and more is expected of them."""
    found = [call for call in real_calls() if not call.legs]
    assert {("inbound", "answered", "Alice Moreno", "support", ("provisional",))} == {
        (call.type, call.disposition, call.agent, call.queue, call.flags) for call in found
    }
    assert 12 == len(found)


def test_a_member_name_and_a_dialled_channel_are_one_agent() -> None:
    """The queue says `Alice Moreno`, the CDR `PJSIP/agent1`: one name and one id."""
    agents = {(call.agent, call.agent_id) for call in real_calls() if call.agent}
    assert {"Alice Moreno", "Chen Wei"} == {name for name, _ in agents}
    assert 2 == len(agents)


@given(st.randoms(use_true_random=False), st.integers(0, 198))
@settings(max_examples=15, deadline=None)
def test_the_order_of_rows_does_not_matter(random: Any, cut: int) -> None:
    """Rows of two files in any order, in any two parts, end in the same calls; before the end uuids are the same."""
    rows = rows_of(PBX / "Master.csv", PBX / "queue_log", known=ASTERISK_22)
    random.shuffle(rows)
    whole = calls(rows, ASTERISK_22)
    assert real_calls() == whole
    assert {call.uuid for call in calls(rows[:cut], ASTERISK_22)} <= {call.uuid for call in whole}


@pytest.mark.parametrize("case", sorted(path.name for path in GOLDENS.iterdir() if path.name != PBX.name))
def test_every_permutation_of_a_call_is_the_same_call(case: str) -> None:
    """Also where rows share seconds."""
    known = msgspec.json.decode((GOLDENS / case / "settings.json").read_bytes(), type=AsteriskSettings)
    files = [path for path in (GOLDENS / case).iterdir() if path.name in ("Master.csv", "queue_log")]
    for group in groups(rows_of(*files, known=known)):
        orders = itertools.islice(itertools.permutations(group), 500)
        assert 1 == len({msgspec.json.encode(FORMAT.assemble(order, known, "pbx")) for order in orders})


def test_what_is_assembled_is_a_valid_record() -> None:
    """Its JSON can be read back under all limits of the record, and is equal."""
    found = real_calls()
    assert found == [msgspec.json.decode(msgspec.json.encode(call), type=Cdr) for call in found]


# What a row is


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
    assert isinstance(row, Row)
    kept = msgspec.json.decode(row.text, type=CdrRow)
    assert expected == {name: getattr(kept, name) for name in expected}


def test_a_row_of_sixteen_columns_is_a_call() -> None:
    """Without any id a row is known by its channel and its time."""
    base = next(csv.reader([line(channel="Console/dsp").decode()]))[:16]
    assert ("447700900100", 70) == (one(csv_line(base)).from_, one(csv_line(base)).duration_s)


def test_the_same_row_in_another_file_is_the_same_row() -> None:
    """`Master.csv` and the file of the account code hold the same line; neither place nor charset are part of it."""
    first = [row for row in read(line() + line(sequence="2")) if isinstance(row, Row)]
    again = [row for row in read(b"rubbish\n" + line()) if isinstance(row, Row)]
    assert first[:1] == again
    assert first[0].key != first[1].key
    latin, russian = (
        read(line(clid="@").replace(b"@", b"\xc9"), AsteriskSettings(zone="UTC", charset=name))
        for name in ("cp1252", "koi8-r")
    )
    assert [row.key for row in latin if isinstance(row, Row)] == [row.key for row in russian if isinstance(row, Row)]


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
    assert isinstance(row, Row)
    assert expected == msgspec.json.decode(row.text, type=CdrRow).clid


def test_bytes_that_are_not_utf8_are_of_the_charset_of_the_source() -> None:
    """Only those: another value of the row that is UTF-8 stays what it is."""
    known = AsteriskSettings(zone="UTC", charset="koi8-r")
    (row,) = read(line(userfield="é", clid="@").replace(b"@", b"\xc9\xd7\xc1\xce"), known)
    assert isinstance(row, Row)
    kept = msgspec.json.decode(row.text, type=CdrRow)
    assert ("Иван", "é") == (kept.clid.lower().title(), kept.userfield)


def test_line_ends_marks_and_blank_lines_are_no_part_of_a_row() -> None:
    """A file that went over another system gives the same rows."""
    assert read(line()) == read(b"\xef\xbb\xbf" + line().replace(b"\n", b"\r\n") + b"\r\n \n")
    log = b"1782900001|1782900000.10|support|NONE|ENTERQUEUE||447700900100|1"
    assert read(log + b"\n") == read(b"\xef\xbb\xbf" + log + b"|\r\n")


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
        (line()[:-1], "line 1", "half-written"),
        (line() + line()[:100], "line 2", "half-written"),
        (line()[:100] + b"\n" + line(), "line 1", "a quote is never closed"),
        (line() + line()[:64] + b"\n", "line 2", "a quote is never closed"),
        (b"hello\n", "line 1", "1 columns"),
        (csv_line(["x"] * 22), "line 1", "22 columns"),
        (line(start="yesterday"), "line 1", "start is not a time: 'yesterday'"),
        (line(end="2026-02-30 10:00:00"), "line 1", "end is not a time: '2026-02-30 10:00:00' is not in the calendar"),
        (line(duration="long"), "line 1", "duration is not a number of seconds: 'long'"),
        (line(billsec="9999999999"), "line 1", "billsec is not a number of seconds"),
        (line(linkedid="1" * 151), "line 1", "linkedid is longer than the 150 characters"),
        (b"x" * (LINE_LIMIT + 5) + b"\n" + line(), "line 1", f"longer than {LINE_LIMIT} bytes"),
        (b'"' + b"x\n" * 101 + line(), "lines 1-101", "a quote is open for 101 lines"),
        (b"1|2.3|q|NONE|ENTERQUEUE\n1|2.3|q\n", "line 2", "not a queue_log line"),
    ],
)
def test_what_cannot_be_read_says_where_and_why(data: bytes, where: str, why: str) -> None:
    """One rejection, in its place, with its bytes; what is whole around it is read."""
    (problem,) = [item for item in read(data) if isinstance(item, Rejected)]
    assert where == problem.where
    assert problem.reason.startswith(why)
    assert problem.raw in data


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
    assert isinstance(row, Row)
    kept = msgspec.json.decode(row.text, type=CdrRow)
    assert (clid.replace('"', ""), lastdata) == (kept.clid.replace('"', ""), kept.lastdata)


def test_events_about_agents_belong_to_no_call() -> None:
    """They are rows without links; so is what was asked for on the command line."""
    data = (
        b"1782900000|NONE|NONE|NONE|QUEUESTART|\n1782900000|CLI|sales|SIP/1|ADDMEMBER\n"
        b"1782900000|1782900000.1|sales|SIP/1|PAUSE|lunch\n1782900001|REALTIME|sales|SIP/1|WHATEVER\n"
    )
    assert [(), (), (), ()] == [row.links for row in read(data) if isinstance(row, Row)]


def test_an_unknown_event_is_kept_with_its_call() -> None:
    """It alone is no call."""
    (row,) = read(b"1782900000|1782900000.10|sales|NONE|Survey|5\n")
    assert isinstance(row, Row)
    assert ("id:1782900000.10",) == row.links
    assert None is FORMAT.assemble([row], PLAIN, "pbx")


def test_without_linkedid_rows_meet_by_channel_and_minute() -> None:
    """Both halves of a Local channel in one minute are one call; the same name after a restart is another."""
    local = line(linkedid="", dstchannel="Local/9@q-00000001;1")
    agent = line(linkedid="", channel="Local/9@q-00000001;2", uniqueid="1782900003.12", start="2026-07-01 10:01:05")
    later = line(linkedid="", channel="Local/9@q-00000001;2", uniqueid="1782900300.1", start="2026-07-01 10:05:00")
    later = later.replace(b"10:01:10", b"10:06:00")
    rows = [row for row in read(local + agent + later) if isinstance(row, Row)]
    assert [1, 2] == sorted(len(group) for group in groups(rows))


# Any bytes


@given(st.lists(st.binary(max_size=40).map(lambda data: data.replace(b'"', b"").replace(b"\n", b""))))
def test_each_line_gives_one_row_or_one_rejection(parts: Sequence[bytes]) -> None:
    """Lines in are rows and rejections out, whatever the bytes; lines of white space are no record."""
    data = b"".join(part + b"\n" for part in parts)
    expected = sum(1 for part in data.removeprefix(b"\xef\xbb\xbf").split(b"\n") if part.strip())
    assert expected == len(read(data))


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
    assert {Row, Rejected} >= {type(item) for item in found}
    for call in calls(row for row in found if isinstance(row, Row)):
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
    rows = [row for row in (*read(data), *read(log)) if isinstance(row, Row)]
    for call in calls(rows):
        assert call == msgspec.json.decode(msgspec.json.encode(call), type=Cdr)
    assert calls(rows) == calls(reversed(rows))


# What rows mean


def test_an_answer_of_the_dialplan_is_no_answer() -> None:
    """ANSWERED without a B channel, with a Local one, for no second, or by a queue whose log says otherwise."""
    ivr = one(line(dstchannel="", lastapp="BackGround"))
    half = one(line(dstchannel="Local/9@q-00000001;1"))
    short = one(line(billsec="0"))
    queue = one(
        line(lastapp="Queue", lastdata="sales,t"),
        b"1782900001|1782900000.10|sales|NONE|ENTERQUEUE||447700900100|1\n1782900070|1782900000.10|sales|NONE|ABANDON|1|1|69\n",
    )
    assert ["missed", "missed", "missed", "abandoned"] == [call.disposition for call in (ivr, half, short, queue)]
    assert [None] * 4 == [call.answered_at for call in (ivr, half, short, queue)]


@pytest.mark.parametrize(
    ("word", "inbound", "outbound", "flags"),
    [
        ("NO ANSWER", "missed", "no_answer", ()),
        ("BUSY", "missed", "busy", ()),
        ("FAILED", "missed", "failed", ()),
        ("CONGESTION", "missed", "failed", ()),
        ("CANCEL", "missed", "no_answer", ()),
        ("4", "missed", "busy", ()),
        ("", "missed", "no_answer", ("disposition_unknown",)),
        ("GONE", "missed", "no_answer", ("disposition_unknown",)),
    ],
)
def test_the_word_for_the_outcome_depends_on_the_direction(
    word: str, inbound: str, outbound: str, flags: tuple[str, ...]
) -> None:
    """What nobody took is missed from outside and no_answer to outside; an unknown word is decided and flagged."""
    none = {"disposition": word, "answer": "", "billsec": "0"}
    there = one(line(**none, channel="PJSIP/agent1-0000000a", dstchannel="PJSIP/carrier-0000000b"))
    here = one(line(**none))
    assert (inbound, outbound, flags, flags) == (here.disposition, there.disposition, here.flags, there.flags)


@pytest.mark.parametrize(
    ("known", "values", "expected"),
    [
        ({"trunks": ("pjsip/CARRIER-*",)}, {}, "inbound"),
        ({"trunks": ("SIP/other-*",)}, {}, "internal"),
        ({"trunks": ("PJSIP/agent1-*",)}, {}, "outbound"),
        ({"trunks": ("SIP/gw-*",)}, {"dstchannel": "", "lastdata": "SIP/1&SIP/gw/555,30"}, "outbound"),
        ({"trunks": ("SIP/gw-*",)}, {"dstchannel": "", "lastdata": "SIP/555@gw|30"}, "outbound"),
        ({"inbound_contexts": ("from-trunk*",)}, {"dcontext": "from-trunk-sip"}, "inbound"),
        ({"outbound_contexts": ("out",)}, {"dcontext": "out"}, "outbound"),
        ({"extensions": ("10XX",)}, {"dst": "1001"}, "inbound"),
        ({"extensions": ("_10XX",)}, {"src": "1001"}, "outbound"),
        ({"extensions": ("1[0-2]NZ", "9.")}, {"src": "1121", "dst": "95"}, "internal"),
        ({"extensions": ("10XX",)}, {"src": "1001", "dst": "*98"}, "internal"),
        ({}, {"lastapp": "Queue", "lastdata": "sales"}, "inbound"),
        ({}, {}, "internal"),
        ({"dialer": ("auto*",)}, {"userfield": "autumn"}, "internal"),
        ({"dialer": ("aut*",)}, {"userfield": "autumn"}, "dialer"),
        ({"click_to_call": ("c2c",)}, {"accountcode": "C2C"}, "click_to_call"),
    ],
)
def test_the_settings_of_the_source_tell_the_direction(
    known: dict[str, Any], values: dict[str, str], expected: str
) -> None:
    """Markers, then trunks, then contexts, then extensions."""
    assert expected == one(line(**values), known=AsteriskSettings(zone="UTC", **known)).type


@pytest.mark.parametrize(
    ("zone", "expected"), [("UTC", ()), ("Europe/London", ("time_suspect",)), ("Asia/Kathmandu", ("time_suspect",))]
)
def test_a_wrong_zone_shows(zone: str, expected: tuple[str, ...]) -> None:
    """Local text and the second in the id, quarters of an hour apart: flagged, and not shifted."""
    call = one(line(), known=AsteriskSettings(zone=zone))
    assert expected == call.flags
    assert 70 == call.duration_s


@pytest.mark.parametrize(
    "values",
    [
        {"end": "2026-07-01 09:59:00"},
        {"duration": "-1"},
        {"billsec": "99"},
        {"answer": "2026-07-01 09:59:59"},
        {"start": "2026-07-01 09:59:50", "duration": "80"},
    ],
)
def test_times_that_contradict_each_other_are_flagged(values: dict[str, str]) -> None:
    """An end before the start, a negative length, more talk than call, an answer or a start before the beginning."""
    assert ("time_suspect",) == one(line(**values)).flags


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("+44 (20) 7946-0001", "442079460001"),
        ("1001", "1001"),
        ("*98", "*98"),
        ("client1", "client1"),
        ("anonymous", None),
        ("Unknown", None),
        ("s", None),
        ("", None),
        ("9" * 80, "9" * 63 + "…"),
    ],
)
def test_a_number_is_its_digits(text: str, expected: str | None) -> None:
    """Without `+` and separators if nothing else is left; what is no number is none."""
    call = one(line(src=text, clid=""))
    assert (expected, expected) == (call.from_, call.legs[0].from_)


def test_what_a_column_says_is_kept() -> None:
    """Recording, account, DID and the caller's name come from their columns."""
    columns = ("clid", "channel", "dstchannel", "start", "end", "billsec", "disposition", "-", "did", "recordingfile")
    known = AsteriskSettings(zone="UTC", trunks=("PJSIP/carrier-*",), columns=(*columns, "accountcode"))
    start, end = "2026-07-01 10:00:00", "2026-07-01 10:01:10"
    values = ('"Ann" <447700900100>', "PJSIP/carrier-0000000a", "PJSIP/agent1-0000000b", start, end, "60", "ANSWERED")
    call = one(csv_line([*values, "ignored", "442079460011", "in-1.wav", "acme"]), known=known)
    assert ("in-1.wav", "acme", "442079460011", {"caller_name": "Ann"}) == (
        *(call.recording, call.external_account_id, call.did),
        call.custom,
    )
    assert ("447700900100", "442079460011", 60) == (call.from_, call.to, call.talk_s)


def test_the_uuid_does_not_hang_on_which_rows_have_come() -> None:
    """Queue log first, a leg first, all of it: one call, one uuid, beginning with its time; another source, another."""
    log = b"1782900001|1782900000.10|sales|NONE|ENTERQUEUE||447700900100|1\n"
    leg = line(uniqueid="1782900003.12", start="2026-07-01 10:00:03")
    found = [one(log), one(leg), one(log, leg), one(leg, line(), log)]
    assert 1 == len({call.uuid for call in found})
    assert f"{1782900000000:012x}" == found[0].uuid.replace("-", "")[:12]
    (row,) = read(log)
    assert isinstance(row, Row)
    other = FORMAT.assemble([row], PLAIN, "another")
    assert other is not None
    assert other.uuid != found[0].uuid


def test_a_stay_without_end_is_provisional() -> None:
    """A restart leaves no exit event; ABANDON after COMPLETE changes nothing."""
    enter = b"1782900001|1782900000.10|sales|NONE|ENTERQUEUE||447700900100|1\n"
    connect = b"1782900005|1782900000.10|sales|a|CONNECT|4|1782900002.11|3\n"
    done = b"1782900025|1782900000.10|sales|a|COMPLETECALLER|4|20|1\n"
    late = b"1782900026|1782900000.10|sales|NONE|ABANDON|1|1|25\n"
    waiting, talking, over = one(enter), one(enter, connect), one(enter, connect, done, late, line())
    assert [("abandoned", ("provisional",)), ("answered", ("provisional",)), ("answered", ())] == [
        (call.disposition, call.flags) for call in (waiting, talking, over)
    ]
    assert ("customer_disconnect", 20, 4, 3) == (over.end_reason, over.talk_s, over.wait_s, over.ring_s)


# Other people's files


def test_files_of_other_systems() -> None:
    """Old queue logs and Asterisk's own test files: all rows read, and calls as their events say."""
    expected = {
        "asterisk_queue_log/queue_log_three_events.txt": [("answered", 6, 25, 3, "customer_disconnect")],
        "asterisk_queue_log/queue_log_quickstart_2020.txt": [
            ("abandoned", 68, None, None, "customer_disconnect"),
            ("abandoned", None, None, None, None),
        ],
        "asterisk_queue_log/queue_log_two_calls_old_asterisk_2010.txt": [
            ("answered", 1, 3, None, "agent_disconnect"),
            ("answered", 2, 4, None, "customer_disconnect"),
        ],
        "asterisk_queue_log/queue_log_missing_exit_events.txt": [("abandoned", None, None, None, None)] * 3,
        "asterisk_testsuite/Master_selftest.csv": [("no_answer", None, None, None, None)] * 2,
        "asterisk_testsuite/Master_five_dispositions.csv": [("busy", None, None, None, None)],
    }
    for name, outcomes in expected.items():
        found = calls(rows_of(sample(name), known=AsteriskSettings(zone="UTC")), AsteriskSettings(zone="UTC"))
        assert outcomes == [(c.disposition, c.wait_s, c.talk_s, c.ring_s, c.end_reason) for c in found], name


def test_a_truncated_line_of_another_system() -> None:
    """Cut in the middle of a value: rejected whole, although eighteen columns could be seen in it."""
    data = sample("asterisk_testsuite/Master_truncated_line.csv").read_bytes()
    assert [("line 1", "a quote is never closed")] == rejected(data)


def test_a_custom_file_of_another_system() -> None:
    """Fourteen calls over three restarts, channel names used again each time, local time three hours ahead."""
    known = AsteriskSettings(zone="Asia/Baghdad", columns=SHIPPED_CUSTOM)
    found = calls(rows_of(sample("asterisk_cdr_csv/Master_cdr_custom_template_19col.csv"), known=known), known)
    assert (14, {()}) == (len(found), {call.flags for call in found})
    assert (datetime(2023, 7, 25, 22, 51, 32, tzinfo=UTC), 13, 18) == (
        *(found[0].started_at, found[0].talk_s),
        found[0].ring_s,
    )


def test_only_files_of_asterisk_look_like_it() -> None:
    """Of all sample files only CDR CSV and queue logs, also those it cannot read without a column list."""
    sample("INDEX.md")
    found = {p.parent.name for p in SAMPLES.rglob("*") if p.is_file() and FORMAT.sniff(p.read_bytes()[: 1 << 16])}
    assert {"asterisk-22", "asterisk_cdr_csv", "asterisk_queue_log", "asterisk_testsuite"} == found
    assert not FORMAT.sniff(b"")
    assert not FORMAT.sniff(line()[:-1])

"""Asterisk: what calls rows make."""

from __future__ import annotations

import csv
import itertools
import json
import time
from collections import Counter, defaultdict
from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from calldex.formats import UNFINISHED
from calldex.formats.asterisk import FORMAT
from calldex.formats.asterisk.settings import AsteriskSettings
from calldex.records.record import CallRow, Cdr
from tests.examples import examples
from tests.formats.test_asterisk_consistent import EPOCH, at, contradictions, queue_line
from tests.formats.tools import (
    ASTERISK_22,
    GOLDENS,
    PBX,
    PLAIN,
    SAMPLES,
    SHIPPED_CUSTOM,
    calls,
    csv_line,
    groups,
    line,
    one,
    read,
    rejected,
    rows_of,
    sample,
)

# Whole calls


@pytest.mark.parametrize("case", sorted(path.name for path in GOLDENS.iterdir()))
def test_the_rows_of_a_golden_make_its_calls(case: str) -> None:
    """Raw files beside their settings give exactly the calls that were written down for them."""
    known = msgspec.json.decode((GOLDENS / case / "settings.json").read_bytes(), type=AsteriskSettings)
    folder = PBX if case == PBX.name else GOLDENS / case
    files = [folder / name for name in ("Master.csv", "queue_log") if (folder / name).exists()]
    expected = msgspec.json.Decoder(Cdr).decode_lines((GOLDENS / case / "expected.jsonl").read_bytes())
    assert expected == calls(rows_of(*files, known=known), known)
    assert [] == [problem for call in expected for problem in contradictions(call)]


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
    got = Counter(
        (call.started_at, call.disposition in ("answered", "active"), call.type == "inbound") for call in real_calls()
    )
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
    """Calls still up have no CDR row yet: they talk to who connected, and more is expected of them."""
    found = [call for call in real_calls() if not call.legs]
    assert {("inbound", "active", "Alice Moreno", "support", ("provisional",))} == {
        (call.type, call.disposition, call.agent, call.queue, call.flags) for call in found
    }
    assert 12 == len(found)


def test_a_member_name_and_a_dialled_channel_are_one_agent() -> None:
    """The queue says `Alice Moreno`, the CDR `PJSIP/agent1`: one name and one id."""
    agents = {(call.agent, call.agent_id) for call in real_calls() if call.agent}
    assert {"Alice Moreno", "Chen Wei"} == {name for name, _ in agents}
    assert 2 == len(agents)


@given(st.randoms(use_true_random=False), st.integers(0, 198))
@settings(max_examples=examples(15), deadline=None)
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


OUTSIDE: dict[str, Any] = {"trunks": ("PJSIP/carrier-*",), "extensions": ("10XX",)}
"""A source that knows its trunks and its extensions."""
FAILED = {
    "src": "1001",
    "channel": "PJSIP/agent1-0000000a",
    "dstchannel": "",
    "lastapp": "Congestion",
    "answer": "",
    "billsec": "0",
    "disposition": "FAILED",
}
"""An extension's call to a number outside that ended before any channel was chosen for it."""


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
        (OUTSIDE, FAILED, "outbound"),
        (OUTSIDE, {**FAILED, "src": "1001", "lastapp": "Playback", "lastdata": "all-circuits-busy"}, "outbound"),
        (OUTSIDE, {**FAILED, "dst": "1002"}, "internal"),
        (OUTSIDE, {**FAILED, "dst": "*98"}, "internal"),
        (OUTSIDE, {**FAILED, "dst": "s"}, "internal"),
        (OUTSIDE, {**FAILED, "src": "442079460001"}, "internal"),
        (OUTSIDE, {**FAILED, "lastapp": "Dial", "lastdata": "PJSIP/agent1,20"}, "internal"),
        (OUTSIDE, {**FAILED, "lastapp": "Queue", "lastdata": "sales"}, "internal"),
        (OUTSIDE, {**FAILED, "lastapp": "ConfBridge", "disposition": "ANSWERED", "billsec": "60"}, "internal"),
        (OUTSIDE, {**FAILED, "dstchannel": "PJSIP/agent2-0000000b"}, "internal"),
        ({**OUTSIDE, "extensions": ()}, FAILED, "internal"),
        ({"dialer": ("auto*",)}, {"userfield": "autumn"}, "internal"),
        ({"dialer": ("aut*",)}, {"userfield": "autumn"}, "dialer"),
        ({"click_to_call": ("c2c",)}, {"accountcode": "C2C"}, "click_to_call"),
    ],
)
def test_the_settings_of_the_source_tell_the_direction(
    known: dict[str, Any], values: dict[str, str], expected: str
) -> None:
    """Markers, then trunks, then contexts, then extensions: the last also for an attempt that came to no trunk."""
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
        ("RESTRICTED", None),
        ("sip:anonymous@anonymous.invalid", None),
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
    assert isinstance(row, CallRow)
    other = FORMAT.assemble([row], PLAIN, "another")
    assert other is not None
    assert other.uuid != found[0].uuid


def test_a_stay_without_end_goes_on() -> None:
    """Nobody counts it as abandoned or answered before; ABANDON after COMPLETE changes nothing."""
    enter = b"1782900001|1782900000.10|sales|NONE|ENTERQUEUE||447700900100|1\n"
    connect = b"1782900005|1782900000.10|sales|a|CONNECT|4|1782900002.11|3\n"
    done = b"1782900025|1782900000.10|sales|a|COMPLETECALLER|4|20|1\n"
    late = b"1782900026|1782900000.10|sales|NONE|ABANDON|1|1|25\n"
    waiting, talking, over = one(enter), one(enter, connect), one(enter, connect, done, late, line())
    assert [("waiting", ("provisional",)), ("active", ("provisional",)), ("answered", ())] == [
        (call.disposition, call.flags) for call in (waiting, talking, over)
    ]
    assert ("customer_disconnect", 20, 4, 3) == (over.end_reason, over.talk_s, over.wait_s, over.ring_s)


def test_a_system_name_may_have_hyphens() -> None:
    """All rows of a call whose ids begin with one are one call, also the agent's leg that only CONNECT names."""
    name = f"east-1-pbx-{EPOCH}"
    call = one(
        line(uniqueid=f"{name}.10", linkedid=f"{name}.10"),
        line(uniqueid=f"{name}.11", linkedid=f"{name}.11", channel="Local/1@q-00000001;2", start=at(5)),
        f"{EPOCH}|{name}.10|sales|NONE|ENTERQUEUE||447700900100|1\n".encode(),
        f"{EPOCH + 5}|{name}.10|sales|a|CONNECT|5|{name}.11|3\n".encode(),
    )
    assert 2 == len(call.legs)


@pytest.mark.parametrize("counted", [69, 70, 71])
def test_the_length_of_a_call_of_one_row_is_what_the_pbx_counted(counted: int) -> None:
    """It knows the fractions of seconds that the row's times lack; two seconds off, and the times count."""
    assert (counted, 70) == (one(line(duration=str(counted))).duration_s, one(line(duration="73")).duration_s)


@pytest.mark.parametrize(
    ("values", "did", "to"),
    [
        ({"dst": "442079460011"}, "442079460011", "442079460011"),
        ({"dst": "201"}, None, "201"),
        ({"dst": "agent1"}, None, "agent1"),
        ({"dst": "701", "lastapp": "Queue", "lastdata": "701,t"}, None, "701"),
        ({"dst": "300", "dstchannel": "PJSIP/300-0000000b"}, None, "300"),
        ({"dst": "300", "dstchannel": "", "lastdata": "PJSIP/300,20", "disposition": "NO ANSWER"}, None, "300"),
    ],
)
def test_a_did_is_no_extension(values: dict[str, str], did: str | None, to: str) -> None:
    """By the settings, or since what it reached is called so; it is the number called all the same."""
    known = AsteriskSettings(zone="UTC", trunks=("PJSIP/carrier-*",), extensions=("2XX",))
    call = one(line(**values), known=known)
    assert ("inbound", did, to) == (call.type, call.did, call.to)


@pytest.mark.parametrize(
    ("word", "parameters", "event", "detail", "waited"),
    [
        ("EXITWITHTIMEOUT", (1, 1, 30), "exit_timeout", None, 30),
        ("EXITEMPTY", (1, 1, 30), "exit_empty", None, 30),
        ("EXITWITHKEY", (5, 1, 1, 30), "exit_key", "5", 30),
    ],
)
def test_the_ways_out_of_a_queue_are_events(
    word: str, parameters: tuple[int, ...], event: str, detail: str | None, waited: int
) -> None:
    """With the queue and how long the caller had waited."""
    enter = queue_line(0, "701", "NONE", "ENTERQUEUE", "", "447700900100", 1)
    call = one(enter, queue_line(30, "701", "NONE", word, *parameters))
    assert ("abandoned", ()) == (call.disposition, call.flags)
    assert (event, "701", detail, waited) == (
        *(call.events[-1].type, call.events[-1].queue, call.events[-1].detail),
        call.events[-1].duration_s,
    )


def test_an_offer_that_an_agent_let_ring_is_an_event() -> None:
    """Who, and how long in whole seconds; what another one forestalled is none."""
    call = one(
        queue_line(0, "701", "NONE", "ENTERQUEUE", "", "447700900100", 1),
        queue_line(10, "701", "Ada Lin", "RINGNOANSWER", 10_400),
        queue_line(16, "701", "Bo Falk", "RINGCANCELED", 6_000),
        queue_line(16, "701", "Cy Orr", "CONNECT", 16, f"{EPOCH}.4", 6),
        queue_line(76, "701", "Cy Orr", "COMPLETECALLER", 16, 60, 1),
    )
    assert [("Ada Lin", 10)] == [(e.agent, e.duration_s) for e in call.events if e.type == "ring_no_answer"]


def test_contexts_that_are_no_calls() -> None:
    """Their rows make no call, and are no leg of another; the call keeps its uuid."""
    known = AsteriskSettings(zone="UTC", no_calls=("sms-*",))
    text = line(dcontext="sms-in", channel="Local/ussd@incoming-00000010;1")
    assert [] == calls([row for row in read(text, known) if isinstance(row, CallRow)], known)
    later = line(uniqueid="1782900001.11", start=at(1))
    assert (1, one(text, later).uuid) == (len(one(text, later, known=known).legs), one(text, later, known=known).uuid)


# Other people's files


def test_files_of_other_systems() -> None:
    """Old queue logs and Asterisk's own test files: all rows read, and calls as their events say."""
    expected = {
        "asterisk_queue_log/queue_log_three_events.txt": [("answered", 6, 25, 3, "customer_disconnect")],
        "asterisk_queue_log/queue_log_quickstart_2020.txt": [
            ("abandoned", 68, None, None, "customer_disconnect"),
            ("waiting", None, None, None, None),
        ],
        "asterisk_queue_log/queue_log_two_calls_old_asterisk_2010.txt": [
            ("answered", 1, 3, None, "agent_disconnect"),
            ("answered", 2, 4, None, "customer_disconnect"),
        ],
        "asterisk_queue_log/queue_log_missing_exit_events.txt": [("waiting", None, None, None, None)] * 3,
        "asterisk_testsuite/Master_selftest.csv": [("no_answer", None, None, None, None)] * 2,
        "asterisk_testsuite/Master_five_dispositions.csv": [("busy", None, None, None, None)],
    }
    for name, outcomes in expected.items():
        found = calls(rows_of(sample(name), known=AsteriskSettings(zone="UTC")), AsteriskSettings(zone="UTC"))
        assert outcomes == [(c.disposition, c.wait_s, c.talk_s, c.ring_s, c.end_reason) for c in found], name


def test_a_truncated_line_of_another_system() -> None:
    """Cut in the middle of a value: rejected whole, although eighteen columns could be seen in it."""
    data = sample("asterisk_testsuite/Master_truncated_line.csv").read_bytes()
    assert [("line 1", UNFINISHED)] == rejected(data)


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


@pytest.mark.parametrize("time", [20260108, 99999999999])
def test_a_queue_event_of_an_impossible_time_is_suspect(time: int) -> None:
    """A time before there was any Asterisk, as a date without separators is when read as seconds, is flagged, and one
    that lies far ahead."""
    call = one(f"{time}|call-1|support|NONE|ENTERQUEUE||447700900100|1\n".encode())
    assert "time_suspect" in call.flags


# Calls of many rows


def many_rows(count: int) -> list[CallRow]:
    """The rows of one call that is handed over again and again, and enters a queue each time."""
    pieces = []
    for turn in range(count // 2):
        own = {"uniqueid": f"{EPOCH}.10", "linkedid": f"{EPOCH}.10", "channel": "PJSIP/carrier-0000000a"}
        times = {"start": at(turn), "answer": at(turn), "end": at(turn + 1), "duration": "1", "billsec": "1"}
        pieces.append(line(**own, **times, dst=str(1000 + turn % 9), dstchannel=f"PJSIP/agent1-{turn + 100:08x}"))
        pieces.append(queue_line(turn, f"q{turn % 3}", "a", ("ENTERQUEUE", "CONNECT", "TRANSFER")[turn % 3], "1", "2"))
    return [row for row in read(b"".join(pieces)) if isinstance(row, CallRow)]


@pytest.mark.slow
def test_a_call_of_twice_as_many_rows_takes_twice_as_long() -> None:
    """Processor time of putting it together; the median of five."""

    def seconds(rows: list[CallRow]) -> float:
        taken = []
        for _ in range(5):
            begun = time.process_time()
            FORMAT.assemble(rows, PLAIN, "pbx")
            taken.append(time.process_time() - begun)
        return sorted(taken)[2]

    small, large = many_rows(2000), many_rows(4000)
    assert seconds(large) < 2.5 * seconds(small) + 0.05


@pytest.mark.slow
def test_a_call_of_thousands_of_rows_keeps_what_matters() -> None:
    """The conversation is among the legs though it came last, its agent is known, and the rest is counted."""
    own = {"uniqueid": f"{EPOCH}.10", "linkedid": f"{EPOCH}.10", "lastapp": "Queue", "lastdata": "701,t"}
    rang = {"answer": "", "billsec": "0", "disposition": "NO ANSWER"}
    offers = [line(**own, **rang, dstchannel=f"PJSIP/3{n % 40:02}-{n:08x}", sequence=str(n)) for n in range(4000)]
    lets = [queue_line(n // 40, "701", f"PJSIP/3{n % 40:02}", "RINGNOANSWER", 15_000 + n) for n in range(4000)]
    call = one(*offers, *lets, line(**own, start=at(100), answer=at(100), end=at(160), duration="60", sequence="9999"))
    assert ("answered", "PJSIP/agent1", 60) == (call.disposition, call.agent, call.talk_s)
    assert ["PJSIP/agent1"] == [leg.agent for leg in call.legs if leg.talk_s]
    assert {"legs_left_out": 3001, "events_left_out": 3001} == {
        name: value for name, value in call.custom.items() if name.endswith("left_out")
    }
    assert ["answered"] == [event.type for event in call.events if event.type != "ring_no_answer"]
    assert call == msgspec.json.decode(msgspec.json.encode(call), type=Cdr)

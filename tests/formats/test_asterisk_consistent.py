"""Asterisk: whatever rows there are, the record made of them does not contradict itself."""

from __future__ import annotations

from datetime import datetime, timedelta
from itertools import pairwise
from random import Random

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from calldex.formats.asterisk.settings import AsteriskSettings
from calldex.records.record import CallRow, Cdr, Leg
from tests.examples import examples
from tests.formats.tools import calls, line, one, read

ROUNDING = timedelta(seconds=1)


def contradictions(call: Cdr) -> list[str]:
    """What of a record cannot be true together."""
    end, answered, length = call.ended_at, call.answered_at, timedelta(seconds=call.duration_s)
    talk, wait = call.talk_s or 0, call.wait_s or 0
    goes_on = call.disposition in ("waiting", "active")
    problems = {
        "goes on, or is over": goes_on != ("provisional" in call.flags),
        "goes on and has ended": goes_on and end is not None,
        "answered without an answer": (answered is not None) != (call.disposition in ("answered", "active")),
        "talk without an answer": call.talk_s is not None and answered is None,
        "answered outside of the call": answered is not None and not within(call, answered),
        "not as long as from start to end": end is not None and abs(end - call.started_at - length) > ROUNDING,
        "talk and waiting exceed the call": talk + wait > call.duration_s,
        "talk and ringing exceed the call": talk + (call.ring_s or 0) > call.duration_s,
        "talks longer than since the answer": end is not None
        and answered is not None
        and timedelta(seconds=talk) > end - answered + ROUNDING,
        "events are not in order": any(after.at < before.at for before, after in pairwise(call.events)),
        "an event outside of the call": any(not within(call, event.at) for event in call.events),
        "an event lasts longer than the call": any((event.duration_s or 0) > call.duration_s for event in call.events),
    }
    return [text for text, holds in problems.items() if holds] + [
        text for leg in call.legs for text in of_leg(call, leg)
    ]


def within(call: Cdr, moment: datetime) -> bool:
    """Whether a moment lies in a call."""
    return call.started_at <= moment <= (call.ended_at or moment)


def of_leg(call: Cdr, leg: Leg) -> list[str]:
    """What of a leg cannot be true together, or within its call."""
    answered, end = leg.answered_at, leg.ended_at
    length = ROUNDING if end is None else end - leg.started_at + ROUNDING
    after_answer = length if end is None or answered is None else end - answered + ROUNDING
    problems = {
        "a leg is longer than its times": end is not None and timedelta(seconds=leg.duration_s or 0) > length,
        "a leg talks longer than its times": end is not None and timedelta(seconds=leg.talk_s or 0) > after_answer,
        "a leg is answered outside of it": answered is not None and not leg.started_at <= answered <= (end or answered),
        "a leg's talk exceeds it": leg.talk_s is not None
        and leg.duration_s is not None
        and leg.talk_s > leg.duration_s,
        "a leg outside of the call": not within(call, leg.started_at) or (end is not None and not within(call, end)),
    }
    return [text for text, holds in problems.items() if holds]


EPOCH = 1782900000
"""Second 0 of the calls made here, which is 10:00:00 in the rows."""
SECONDS = st.integers(-5, 400)
LENGTHS = st.sampled_from((0, 1, 3, 10, 60, 300, 10**6))


def at(second: int) -> str:
    """A second as a CDR row writes it."""
    return f"2026-07-01 {10 + second // 3600:02}:{second // 60 % 60:02}:{second % 60:02}"


def queue_line(second: int, queue: str, agent: str, event: str, *parameters: object, caller: str = "10") -> bytes:
    """A line of queue_log."""
    return "|".join(map(str, (EPOCH + second, f"{EPOCH}.{caller}", queue, agent, event, *parameters))).encode() + b"\n"


EVENTS = st.one_of(
    st.builds(
        lambda s, q: queue_line(s, q, "NONE", "ENTERQUEUE", "", "447700900100", 1), SECONDS, st.sampled_from("ab")
    ),
    st.builds(
        lambda s, q, wait, ring: queue_line(s, q, "PJSIP/agent1", "CONNECT", wait, f"{EPOCH}.11", ring),
        *(SECONDS, st.sampled_from("ab"), LENGTHS, LENGTHS),
    ),
    st.builds(
        lambda s, q, word, wait, talk: queue_line(s, q, "PJSIP/agent1", word, wait, talk, 1),
        *(SECONDS, st.sampled_from("ab"), st.sampled_from(("COMPLETEAGENT", "COMPLETECALLER")), LENGTHS, LENGTHS),
    ),
    st.builds(
        lambda s, q, word, wait: queue_line(s, q, "NONE", word, 1, 1, wait),
        *(
            SECONDS,
            st.sampled_from("ab"),
            st.sampled_from(("ABANDON", "EXITWITHTIMEOUT", "EXITEMPTY", "EXITWITHKEY")),
            LENGTHS,
        ),
    ),
    st.builds(
        lambda s, q, wait, talk: queue_line(s, q, "PJSIP/agent1", "BLINDTRANSFER", "1002", "out", wait, talk, 1),
        *(SECONDS, st.sampled_from("ab"), LENGTHS, LENGTHS),
    ),
    st.builds(
        lambda s, q, ms: queue_line(s, q, "PJSIP/agent2", "RINGNOANSWER", ms),
        *(SECONDS, st.sampled_from("ab"), st.sampled_from((0, 15_000, 10**9))),
    ),
)
"""Lines of the log of one caller, in any order, missing, doubled and late."""
CHANNELS = st.sampled_from(
    ("PJSIP/carrier-0000000a", "PJSIP/agent1-0000000b", "PJSIP/agent2-0000000c", "Local/9@q-00000001;1", "")
)


@st.composite
def cdr_rows(draw: st.DrawFn) -> bytes:
    """A row of the call, whose lengths may be wrong."""
    start = draw(st.integers(0, 400))
    length = draw(LENGTHS.filter(lambda seconds: seconds < 10**6))
    answer = draw(st.none() | st.integers(0, length + 3))
    billed = draw(st.just(max(0, length - (answer or 0))) | LENGTHS) if answer is not None else 0
    own = draw(st.sampled_from(("10", "12", "13")))
    return line(
        channel=draw(CHANNELS),
        dstchannel=draw(CHANNELS),
        start=at(start),
        answer="" if answer is None else at(start + answer),
        end=at(start + length),
        duration=str(draw(st.just(length) | LENGTHS)),
        billsec=str(billed),
        disposition=draw(st.sampled_from(("ANSWERED", "NO ANSWER", "BUSY", "FAILED"))),
        lastapp=draw(st.sampled_from(("Dial", "Queue", "VoiceMail", "Park", "ConfBridge", "Pickup"))),
        dst=draw(st.sampled_from(("442079460011", "1002", "s"))),
        uniqueid=f"{EPOCH + (0 if own == '10' else start)}.{own}",
        linkedid=f"{EPOCH}.10",
        sequence=str(draw(st.integers(0, 9))),
    )


@settings(max_examples=examples(300), deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.lists(EVENTS | cdr_rows(), min_size=1, max_size=9),
    st.sampled_from(("UTC", "Asia/Kathmandu", "America/New_York")),
    st.randoms(use_true_random=False),
)
def test_a_record_does_not_contradict_itself(pieces: list[bytes], zone: str, random: Random) -> None:
    """Queue events and rows missing, doubled, late and wrong, also in a wrong zone: lengths fit the call, and its times
    each other; and in any order they make the same record."""
    known = AsteriskSettings(zone=zone, trunks=("PJSIP/carrier-*",))
    rows = [row for piece in pieces for row in read(piece, known) if isinstance(row, CallRow)]
    made = calls(rows, known)
    assert [] == [(problem, call) for call in made for problem in contradictions(call)]
    random.shuffle(rows)
    assert made == calls(rows, known)


def test_a_stay_without_an_exit_ends_where_the_next_begins() -> None:
    """The agent of the first queue talked until the caller entered the second one, not until the end of the call."""
    call = one(
        queue_line(0, "a", "NONE", "ENTERQUEUE", "", "447700900100", 1),
        queue_line(10, "a", "PJSIP/agent1", "CONNECT", 10, f"{EPOCH}.11", 5),
        queue_line(110, "b", "NONE", "ENTERQUEUE", "", "447700900100", 1),
        queue_line(120, "b", "PJSIP/agent2", "CONNECT", 10, f"{EPOCH}.12", 5),
        queue_line(320, "b", "PJSIP/agent2", "COMPLETECALLER", 10, 200, 1),
    )
    assert (320, 300, 20, ()) == (call.duration_s, call.talk_s, call.wait_s, call.flags)
    assert [] == contradictions(call)


def test_a_clock_that_was_wrong_by_minutes_moves_nothing_else() -> None:
    """Only quarters of an hour are a zone's fault: the queue log stays where it is."""
    call = one(
        line(start="2026-07-01 09:40:00", answer="2026-07-01 09:40:10", end=at(70), duration="1270", billsec="1260"),
        queue_line(0, "a", "NONE", "ENTERQUEUE", "", "447700900100", 1),
        queue_line(10, "a", "PJSIP/agent1", "CONNECT", 10, f"{EPOCH}.11", 5),
        queue_line(70, "a", "PJSIP/agent1", "COMPLETECALLER", 10, 60, 1),
    )
    assert ("time_suspect",) == call.flags
    assert [EPOCH, EPOCH + 10] == [int(event.at.timestamp()) for event in call.events]
    assert [] == contradictions(call)

"""Asterisk: every way in which a call is handed over is one call, with who handed it to whom."""

from __future__ import annotations

from typing import Any

import pytest

from calldex.formats.asterisk.settings import AsteriskSettings
from calldex.records.record import Cdr
from tests.formats.test_asterisk_consistent import EPOCH, at, contradictions, queue_line
from tests.formats.tools import line, one

KNOWN = AsteriskSettings(
    zone="UTC",
    trunks=("PJSIP/carrier*",),
    extensions=("2XX", "70X"),
    agents=("PJSIP/201=Alice Moreno", "PJSIP/202=Bob Tan", "PJSIP/203=Cy Orr", "Local/201@q=Alice Moreno"),
    click_to_call=("c2c",),
    dialer=("campaign",),
    outbound_prefix="9",
)
CALLER, AGENT, ASKING, ASKED = (
    *("PJSIP/carrier-00000001", "PJSIP/201-00000002", "PJSIP/201-00000003", "PJSIP/202-00000004"),
)


def row(
    one_: str, other: str, start: int, answer: int | None, end: int, *, own: int, linked: int | None = None, **more: str
) -> bytes:
    """A row of two channels; `own` and `linked` are the counters of its uniqueid and linkedid."""
    linked = own if linked is None else linked
    made = {1: 0, 3: 20}.get(own, 0)
    usual = {"dst": "442079460010", "dcontext": "from-carrier", "lastapp": "Dial", "lastdata": "", "clid": ""}
    return line(
        **{**usual, **more},
        channel=one_,
        dstchannel=other,
        start=at(start),
        answer="" if answer is None else at(answer),
        end=at(end),
        duration=str(end - start),
        billsec=str(0 if answer is None else end - answer),
        disposition="NO ANSWER" if answer is None else "ANSWERED",
        uniqueid=f"{EPOCH + made}.{own}",
        linkedid=f"{EPOCH + {3: 20}.get(linked, 0)}.{linked}",
        sequence=str(start),
    )


def call_of(*rows: bytes) -> Cdr:
    """The one call of these rows, which does not contradict itself."""
    call = one(*rows, known=KNOWN)
    assert [] == contradictions(call)
    return call


def handed(call: Cdr) -> list[tuple[Any, ...]]:
    """Who handed a call to whom: kind, second, by whom, to which number, who took it."""
    return [
        (event.type, int(event.at.timestamp()) - EPOCH, event.agent, event.number, event.to_agent)
        for event in call.events
        if event.type not in ("queued", "answered", "ring_no_answer")
    ]


FIRST = row(CALLER, AGENT, 0, 5, 45, own=1)
CONSULTATION = row(ASKING, ASKED, 20, 24, 45, own=3, src="201", dst="202", dcontext="internal")


def test_a_consultation_with_an_own_linkedid_belongs_to_the_call() -> None:
    """Attended: the channel that was asked is what its rows and the call's have in common."""
    call = call_of(FIRST, CONSULTATION, row(CALLER, ASKED, 45, 45, 105, own=1, dst="202"))
    assert (105, 100, "Alice Moreno") == (call.duration_s, call.talk_s, call.agent)
    assert [("attended_transfer", 45, "Alice Moreno", "202", "Bob Tan")] == handed(call)


def test_a_consultation_may_still_ring() -> None:
    """Attended, and completed before the other answers."""
    ringing = row(ASKING, ASKED, 20, None, 45, own=3, src="201", dst="202", dcontext="internal")
    call = call_of(FIRST, ringing, row(CALLER, ASKED, 45, 50, 105, own=1, dst="202"))
    assert [("attended_transfer", 45, "Alice Moreno", "202", "Bob Tan")] == handed(call)
    assert 95 == call.talk_s


def test_a_consultation_that_ends_is_a_call_of_its_own() -> None:
    """Somebody who is only asked shares no channel with the call."""
    with pytest.raises(ValueError, match="too many values"):
        one(FIRST, row(ASKING, ASKED, 20, 24, 30, own=3, src="201", dst="202"), known=KNOWN)


def test_a_consultation_through_local_channels_of_a_queue() -> None:
    """The agent is a queue member through a Local channel, which is joined with who was asked."""
    member = "Local/201@q-00000001"
    call = call_of(
        row(CALLER, f"{member};1", 0, 0, 105, own=1, dst="701", lastapp="Queue", lastdata="701,t"),
        row(f"{member};2", AGENT, 2, 5, 45, own=6, linked=1, dst="201", dcontext="q"),
        CONSULTATION,
        row(f"{member};2", ASKED, 45, 45, 105, own=6, linked=1, dst="201", dcontext="q"),
        queue_line(0, "701", "NONE", "ENTERQUEUE", "", "447700900100", 1, caller="1"),
        queue_line(5, "701", "Local/201@q", "CONNECT", 5, f"{EPOCH}.5", 3, caller="1"),
        queue_line(105, "701", "Local/201@q", "COMPLETECALLER", 5, 100, 1, caller="1"),
    )
    assert [("attended_transfer", 45, "Alice Moreno", "202", "Bob Tan")] == handed(call)
    assert ("Alice Moreno", 100, 5) == (call.agent, call.talk_s, call.wait_s)


def test_a_consultation_by_key_codes_runs_through_a_local_channel() -> None:
    """The feature atxfer calls through a Local channel, which is optimised away afterwards."""
    call = call_of(
        FIRST,
        row(AGENT, "Local/202@x-00000007;1", 20, 24, 45, own=2, linked=1, src="201", dst="202", dcontext="x"),
        row("Local/202@x-00000007;2", ASKED, 20, 24, 46, own=8, linked=1, src="201", dst="202", dcontext="x"),
        row(CALLER, "Local/202@x-00000007;1", 45, 45, 46, own=1),
        row(CALLER, ASKED, 46, 46, 105, own=1),
    )
    assert [("attended_transfer", 45, "Alice Moreno", "202", "Bob Tan")] == handed(call)


def test_a_blind_transfer_of_a_direct_call() -> None:
    """The caller goes to another number within the second in which the agent lets go; each leg has its recording."""
    call = call_of(FIRST, row(CALLER, "PJSIP/202-00000003", 45, 47, 105, own=1, dst="202", dcontext="xfer"))
    assert [("blind_transfer", 45, "Alice Moreno", "202", "Bob Tan")] == handed(call)
    assert (105, 98) == (call.duration_s, call.talk_s)


def test_a_blind_transfer_by_who_called() -> None:
    """Of a call to the outside it is the called channel that goes on."""
    call = call_of(
        row("PJSIP/201-00000001", "PJSIP/carrier-00000002", 0, 5, 45, own=1, src="201", dst="9447700900100"),
        row(
            "PJSIP/carrier-00000002", "PJSIP/202-00000003", 45, 50, 105, own=2, linked=1, src="9447700900100", dst="202"
        ),
    )
    assert [("blind_transfer", 45, "Alice Moreno", "202", "Bob Tan")] == handed(call)
    assert ("outbound", "447700900100") == (call.type, call.to)
    assert ["Alice Moreno", "Bob Tan"] == [leg.agent for leg in call.legs]


def test_a_blind_transfer_that_nobody_takes() -> None:
    """It was handed over all the same."""
    call = call_of(FIRST, row(CALLER, "PJSIP/202-00000003", 45, None, 65, own=1, dst="202", dcontext="xfer"))
    assert [("blind_transfer", 45, "Alice Moreno", "202", None)] == handed(call)
    assert 40 == call.talk_s


def test_a_blind_transfer_through_a_local_channel() -> None:
    """Who took it is behind the Local channel."""
    call = call_of(
        FIRST,
        row(CALLER, "Local/202@x-00000007;1", 45, 45, 105, own=1, dst="202", dcontext="xfer"),
        row("Local/202@x-00000007;2", "PJSIP/202-00000003", 45, 50, 105, own=8, linked=1, dst="202", dcontext="x"),
    )
    assert [("blind_transfer", 45, "Alice Moreno", "202", "Bob Tan")] == handed(call)


def test_a_transfer_to_the_outside() -> None:
    """Nobody of the house took it."""
    call = call_of(
        FIRST, row(CALLER, "PJSIP/carrier2-00000003", 45, 50, 105, own=1, dst="9442079460099", dcontext="out")
    )
    assert [("blind_transfer", 45, "Alice Moreno", "9442079460099", None)] == handed(call)


def test_a_transfer_to_a_queue() -> None:
    """The queue is named; the queue's row is its answer."""
    queue: dict[str, Any] = {"dst": "702", "dcontext": "xfer", "lastapp": "Queue", "lastdata": "702,t"}
    call = call_of(FIRST, row(CALLER, "PJSIP/202-00000003", 45, 50, 105, own=1, **queue))
    assert [("queue_transfer", 45, "Alice Moreno", "702", None)] == handed(call)
    assert ["702"] == [event.queue for event in call.events if event.type == "queue_transfer"]


def test_both_logs_tell_of_one_transfer() -> None:
    """It is one event, with what each log knows."""
    call = call_of(
        row(CALLER, AGENT, 0, 0, 45, own=1, dst="701", lastapp="Queue", lastdata="701,t"),
        row(CALLER, "PJSIP/202-00000003", 45, 50, 105, own=1, dst="202", dcontext="xfer"),
        queue_line(0, "701", "NONE", "ENTERQUEUE", "", "447700900100", 1, caller="1"),
        queue_line(5, "701", "PJSIP/201", "CONNECT", 5, f"{EPOCH}.2", 3, caller="1"),
        queue_line(46, "701", "PJSIP/201", "BLINDTRANSFER", "202", "xfer", 5, 41, 1, caller="1"),
    )
    assert [("blind_transfer", 46, "Alice Moreno", "202", "Bob Tan")] == handed(call)


def test_a_call_is_parked_and_fetched() -> None:
    """Who parked it where, and who fetched it."""
    call = call_of(
        FIRST,
        row(CALLER, "", 45, 45, 80, own=1, lastapp="Park", lastdata="default:701", dst=""),
        row(
            "PJSIP/202-00000009", CALLER, 80, 80, 120, own=9, linked=1, lastapp="ParkedCall", lastdata="701", dst="701"
        ),
    )
    assert [("parked", 45, "Alice Moreno", None, None), ("retrieved", 80, "Bob Tan", None, None)] == handed(call)
    assert ["default:701", "701"] == [event.detail for event in call.events if event.detail]
    assert (80, "Bob Tan") == (call.talk_s, call.legs[-1].agent)


def test_a_call_is_picked_up() -> None:
    """By somebody whose telephone did not ring."""
    call = call_of(
        row(CALLER, AGENT, 0, None, 9, own=1),
        row("PJSIP/202-00000003", "", 8, 8, 69, own=9, linked=1, src="202", dst="*8", lastapp="Pickup"),
        row(CALLER, "PJSIP/202-00000003", 9, 9, 69, own=1),
    )
    assert [("pickup", 8, "Bob Tan", "*8", None)] == handed(call)
    assert ("Bob Tan", 60) == (call.agent, call.talk_s)


def test_a_telephone_forwards_its_calls() -> None:
    """The Dial goes on to a Local channel that it does not name."""
    call = call_of(
        row(CALLER, AGENT, 0, None, 2, own=1, lastdata="PJSIP/201,20"),
        row(CALLER, "Local/203@x-00000007;1", 2, 8, 68, own=1, lastdata="PJSIP/201,20"),
        row("Local/203@x-00000007;2", "PJSIP/203-00000009", 2, 8, 68, own=8, linked=1, dst="203"),
    )
    assert [("forwarded", 2, "Alice Moreno", "203", None)] == handed(call)
    assert ("Cy Orr", 60) == (call.agent, call.talk_s)


def test_a_conference_room() -> None:
    """Which room was entered."""
    call = call_of(row(CALLER, "", 0, 2, 60, own=1, lastapp="ConfBridge", lastdata="8000,default"))
    assert [("conference", "8000")] == [(event.type, event.detail) for event in call.events]


def test_what_is_no_transfer() -> None:
    """One telephone after another, a Local channel that is optimised away, a caller whom the dialplan keeps when the
    agent hung up, and an agent who goes on when the outside hung up."""
    hunted = call_of(row(CALLER, AGENT, 0, None, 20, own=1), row(CALLER, ASKED, 20, 25, 60, own=1))
    optimised = call_of(
        row(CALLER, "Local/201@q-00000001;1", 0, 8, 8, own=1),
        row("Local/201@q-00000001;2", AGENT, 1, 8, 8, own=6, linked=1, dst="201"),
        row(CALLER, AGENT, 8, 8, 68, own=1),
    )
    survey = call_of(FIRST, row(CALLER, "", 45, 45, 60, own=1, dst="s", dcontext="survey", lastapp="Read"))
    outside = row("PJSIP/201-00000001", "PJSIP/carrier-00000002", 0, 5, 45, own=1, src="201", dst="9447700900100")
    wrapped = call_of(outside, row("PJSIP/201-00000001", "", 45, 45, 60, own=1, src="201", dst="299", lastapp="Read"))
    assert [[], [], [], []] == [handed(call) for call in (hunted, optimised, survey, wrapped)]
    assert (7, 60, "Alice Moreno") == (optimised.ring_s, optimised.talk_s, optimised.agent)


def test_each_leg_has_its_recording() -> None:
    """The record's own is the first of them."""
    columns = ("start", "answer", "end", "src", "dst", "channel", "dstchannel", "disposition", "uniqueid", "linkedid")
    known = AsteriskSettings(zone="UTC", columns=(*columns, "recordingfile"))

    def recorded(other: str, start: int, end: int, file: str) -> bytes:
        values = (
            at(start),
            at(start),
            at(end),
            "44",
            "201",
            CALLER,
            other,
            "ANSWERED",
            f"{EPOCH}.1",
            f"{EPOCH}.1",
            file,
        )
        return (",".join(values) + "\n").encode()

    call = one(recorded(AGENT, 0, 60, "one.wav"), recorded(ASKED, 60, 90, "two.wav"), known=known)
    assert ("one.wav", ["one.wav", "two.wav"]) == (call.recording, [leg.recording for leg in call.legs])


def test_two_callers_are_joined() -> None:
    """By whom both talked to."""
    other = row("PJSIP/carrier-00000005", "PJSIP/201-00000006", 20, 22, 45, own=3, src="447700900200")
    call = call_of(FIRST, other, row(CALLER, "PJSIP/carrier-00000005", 45, 45, 90, own=1))
    assert [("attended_transfer", 45, "Alice Moreno", None, None)] == handed(call)


def test_rows_without_an_end_meet_by_their_length() -> None:
    """The table of FreePBX has start and length only."""
    columns = ("start", "src", "dst", "channel", "dstchannel", "duration", "billsec", "disposition")
    known = AsteriskSettings(zone="UTC", columns=(*columns, "uniqueid", "linkedid"), trunks=KNOWN.trunks)

    def short(own: int, start: int, length: int, channels: str, dst: str) -> bytes:
        ids = f"{EPOCH}.{own},{EPOCH}.{own}"
        return f"{at(start)},44,{dst},{channels},{length},{length},ANSWERED,{ids}\n".encode()

    call = one(
        short(1, 0, 345, f"{CALLER},{AGENT}", "442079460010"),
        short(3, 200, 145, f"{ASKING},{ASKED}", "202"),
        short(1, 345, 60, f"{CALLER},{ASKED}", "202"),
        known=known,
    )
    assert [("attended_transfer", 345, "PJSIP/201", "202", "PJSIP/202")] == handed(call)


def test_a_member_behind_a_local_channel_is_who_sits_there() -> None:
    """Where the settings do not name the member itself; and a channel that is being moved is the same one."""
    local = "Local/202@from-queue-00000001"
    call = call_of(
        row(CALLER, f"{local};1", 0, 0, 65, own=1, dst="701", lastapp="Queue", lastdata="701,t"),
        row(f"{local};2", "PJSIP/202-00000002", 2, 5, 65, own=6, linked=1, dst="202"),
        row(f"AsyncGoto/{CALLER}<ZOMBIE>", "", 65, 65, 66, own=7, dst="s"),
        queue_line(0, "701", "NONE", "ENTERQUEUE", "", "447700900100", 1, caller="1"),
        queue_line(5, "701", "Local/202@from-queue/n", "CONNECT", 5, f"{EPOCH}.5", 3, caller="1"),
        queue_line(65, "701", "Local/202@from-queue/n", "COMPLETECALLER", 5, 60, 1, caller="1"),
    )
    assert ("Bob Tan", {"Bob Tan"}) == (call.agent, {event.agent for event in call.events if event.agent})


# Calls that the PBX begins

ORIGINATED: dict[str, Any] = {"src": "201", "dcontext": "c2c", "dst": "447700900100"}
OWN_LEG = row("Local/201@c2c-00000001;2", AGENT, 0, 4, 40, own=2, linked=1, **{**ORIGINATED, "dst": "201"})


@pytest.mark.parametrize(("answer", "word", "talk"), [(None, "no_answer", None), (20, "answered", 20)])
def test_a_click_to_call_is_answered_by_the_far_end(answer: int | None, word: str, talk: int | None) -> None:
    """The agent's own telephone, which rings first, answers nothing; whose it is, is known either way."""
    call = call_of(
        OWN_LEG, row("Local/201@c2c-00000001;1", "PJSIP/carrier-00000003", 4, answer, 40, own=1, **ORIGINATED)
    )
    assert ("click_to_call", word, talk, "Alice Moreno") == (call.type, call.disposition, call.talk_s, call.agent)
    assert "447700900100" == call.to


@pytest.mark.parametrize(("far", "number"), [("PJSIP/carrier-00000003", "447700900100"), ("PJSIP/202-00000003", "202")])
@pytest.mark.parametrize(("answer", "word", "talk"), [(None, "no_answer", None), (20, "answered", 20)])
def test_no_setting_is_needed_to_know_the_own_telephone(
    far: str, number: str, answer: int | None, word: str, talk: int | None
) -> None:
    """A call that the PBX began through a Local channel has not reached anybody when its first telephone is taken up,
    whether or not a context tells that it is a click-to-call."""
    dialled: dict[str, Any] = {"src": "201", "dcontext": "from-internal"}
    local = "Local/201@from-internal-00000001"
    call = call_of(
        row(f"{local};2", AGENT, 0, 4, 40, own=2, linked=1, dst="201", **dialled),
        row(f"{local};1", far, 4, answer, 40, own=1, dst=number, **dialled),
    )
    assert (word, talk, number) == (call.disposition, call.talk_s, call.to)
    assert "Alice Moreno" == call.agent


def test_a_telephone_that_hears_an_announcement_has_answered() -> None:
    """A call that the PBX began for one telephone alone, as to wake somebody, has reached who it is for."""
    local = "Local/201@from-internal-00000001"
    call = call_of(
        row(f"{local};2", AGENT, 0, 4, 40, own=2, linked=1, dst="201", dcontext="from-internal"),
        row(f"{local};1", "", 4, 4, 40, own=1, dst="s", dcontext="wake-up", lastapp="Playback", lastdata="wake-up"),
    )
    assert ("answered", 36) == (call.disposition, call.talk_s)


def test_a_dialer_that_has_no_agent_abandons() -> None:
    """The called person answered, and nobody else was joined with the call."""
    customer = {"dcontext": "campaign", "dst": "447700900100"}
    first = row(
        "Local/447700900100@campaign-00000001;2", "PJSIP/carrier-00000003", 0, 8, 12, own=2, linked=1, **customer
    )
    waits = row(
        "Local/447700900100@campaign-00000001;1", "", 8, 8, 12, own=1, lastapp="Queue", lastdata="701", dst="701"
    )
    taken = row("Local/447700900100@campaign-00000001;1", AGENT, 12, 12, 50, own=1, lastapp="Queue", lastdata="701")
    assert ("dialer_abandoned", None) == (call_of(first, waits).disposition, call_of(first, waits).talk_s)
    assert ("answered", "Alice Moreno", 38) == (
        *(call_of(first, waits, taken).disposition, call_of(first, waits, taken).agent),
        call_of(first, waits, taken).talk_s,
    )

"""The demo's contact centre: the same everywhere, coherent in every record, like a real one in the whole."""

from __future__ import annotations

import hashlib
import re
import tracemalloc
from bisect import bisect_right
from collections import Counter, defaultdict
from datetime import UTC, datetime, timedelta, timezone
from itertools import islice, pairwise
from statistics import mean, median

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from calldex.demo import END, Centre, centre, interactions, users
from calldex.demo.cast import customers
from calldex.demo.course import ANY_TAGS, CALLBACKS, COMMENTS, SOLD, SPOKEN, TAGS, launch, outage
from calldex.demo.roster import Staff
from calldex.records.record import DISPOSITIONS, END_REASONS, EVENT_TYPES, INTERACTION_TYPES, Cdr, to_ms
from tests.examples import examples

ENOUGH = 20_000
DAYS = 28
ON_ANY_CALL = {"answered", "failed"}
ON_PLACED_CALLS = {"busy", "no_answer", "rejected", "machine_answered", "system_reject"}
ON_CONVERSATIONS = {"waiting", "active", "archived"}
ALLOWED = {
    "inbound": ON_ANY_CALL | {"abandoned", "answered_by_VM", "missed", "system_abandoned"},
    "outbound": ON_ANY_CALL | ON_PLACED_CALLS,
    "dialer": ON_ANY_CALL | ON_PLACED_CALLS | {"dialer_abandoned"},
    "click_to_call": ON_ANY_CALL | ON_PLACED_CALLS,
    "queue_callback": ON_ANY_CALL,
    "scheduled_callback": ON_ANY_CALL,
    "internal": ON_ANY_CALL,
    "outbound_sms": {"sent", "not_sent", "delivered", "not_delivered", "route_unavailable"},
    "whatsapp": ON_CONVERSATIONS | {"initiated"},
    "facebook": ON_CONVERSATIONS,
    "instagram": ON_CONVERSATIONS,
    "telegram": ON_CONVERSATIONS,
    "web_chat": ON_CONVERSATIONS,
    "HLR_lookup": {"available", "absent", "failed"},
}
CALLS = {kind for kind, allowed in ALLOWED.items() if "answered" in allowed}
CONVERSATIONS = {kind for kind, allowed in ALLOWED.items() if "archived" in allowed}
FICTION = re.compile(
    r"44(7700900|1632960|3069990|8081570|2079460)\d{3}|44(11[3-8]|121|131|141|151|161)4960\d{3}"
    r"|1\d{3}55501\d\d|33(19900|26191|35301|46571|53649|63998)\d{4}"
    r"|49(3023125|6990009|4066969|2214710|8999998)\d{3}|61[2378](5550|7010)\d{4}"
    r"|24\d{13}|100448081570\d{3}|2\d{3}"  # an account of a messenger, ours there, an extension
)


@pytest.fixture(scope="module")
def sample() -> list[Cdr]:
    """What a middling centre did in four weeks."""
    return list(interactions(ENOUGH, seed=1, days=DAYS))


@pytest.fixture(scope="module")
def cast() -> Centre:
    """The people of `sample`."""
    return centre(1, ENOUGH, DAYS)


def seconds(begin: datetime | None, end: datetime | None) -> int | None:
    """Whole seconds between two instants, if both are known."""
    return None if begin is None or end is None else (end - begin) // timedelta(seconds=1)


def check_times(cdr: Cdr) -> None:
    """Start, answer and end follow each other; lengths are what lies between, and fit into the whole."""
    times = [at for at in (cdr.started_at, cdr.answered_at, cdr.ended_at) if at is not None]
    assert sorted(times) == times
    assert all(at.tzinfo is UTC and at.microsecond % 1000 == 0 for at in times)
    assert (seconds(cdr.started_at, cdr.ended_at) or 0) == cdr.duration_s
    assert (cdr.ended_at is None) == (cdr.disposition in {"waiting", "active"})
    if cdr.ended_at is None:
        return
    talk, wait, ring, hold = (length or 0 for length in (cdr.talk_s, cdr.wait_s, cdr.ring_s, cdr.hold_s))
    assert wait + talk <= cdr.duration_s
    assert ring + talk <= cdr.duration_s
    assert hold <= talk
    if cdr.talk_s is not None:
        assert seconds(cdr.answered_at, cdr.ended_at) == cdr.talk_s


def check_outcome(cdr: Cdr) -> None:
    """The outcome may occur on this type, and agent, queue, talk and recording are there when it says so."""
    assert cdr.disposition in ALLOWED[cdr.type]
    talked = cdr.disposition == "answered" or (cdr.type in CONVERSATIONS and cdr.answered_at is not None)
    took_part = talked or (cdr.type in {"outbound", "click_to_call", "internal"}) or cdr.disposition == "initiated"
    if cdr.type != "outbound_sms":  # sent by a person or by a program
        assert took_part == (cdr.agent is not None)
    assert (cdr.agent is None, cdr.agent is None) == (cdr.agent_id is None, cdr.teams == ())
    assert (cdr.talk_s is not None) == (talked and cdr.disposition != "active")
    assert (cdr.queue is None) == (cdr.queue_id is None)
    if cdr.disposition in {"abandoned", *ON_CONVERSATIONS} or cdr.type in CALLBACKS:
        assert cdr.queue is not None
    if cdr.disposition in {"missed", "system_abandoned", "answered_by_VM"}:
        assert cdr.queue is None
    queued = any(event.type == "queued" for event in cdr.events)
    assert queued == (cdr.queue is not None and cdr.type not in CALLBACKS)
    assert (cdr.wait_s is not None) == (queued and cdr.disposition != "waiting")
    assert (cdr.campaign is not None) == (cdr.type == "dialer")
    assert (cdr.wrapup_code is None) == (cdr.wrapup_s is None)
    assert cdr.wrapup_code is None or cdr.agent is not None
    assert cdr.wrapup_code is None or (cdr.wrapup_description or "").startswith(f"{cdr.wrapup_code}: ")
    if cdr.recording is not None:
        assert cdr.type in CALLS
        assert cdr.disposition in {"answered", "answered_by_VM"}
        assert cdr.uuid in cdr.recording


def check_events(cdr: Cdr) -> None:
    """Events are in order, within the interaction, and agree with its own fields."""
    ats = [event.at for event in cdr.events]
    assert sorted(ats) == ats
    assert all(cdr.started_at <= at and (cdr.ended_at is None or at <= cdr.ended_at) for at in ats)
    answers = [(event.at, event.agent) for event in cdr.events if event.type == "answered"]
    talked = cdr.agent is not None and cdr.answered_at is not None and cdr.disposition != "machine_answered"
    assert answers == ([(cdr.answered_at, cdr.agent)] if talked else [])
    recorded = any(event.type in {"recording_started", "voicemail"} for event in cdr.events)
    assert recorded == (cdr.recording is not None)
    holds = [event.duration_s or 0 for event in cdr.events if event.type == "hold"]
    assert bool(holds) == (cdr.hold_s is not None)
    assert sum(holds) <= (cdr.hold_s or 0) < sum(holds) + len(holds) + 1
    assert [leg.started_at for leg in cdr.legs] == sorted(leg.started_at for leg in cdr.legs)
    assert all(leg.ended_at is not None and cdr.started_at <= leg.started_at <= leg.ended_at for leg in cdr.legs)
    assert all(leg.ended_at <= cdr.ended_at for leg in cdr.legs if leg.ended_at and cdr.ended_at)
    if cdr.disposition == "answered":
        (own,) = [leg for leg in cdr.legs if leg.talk_s is not None and leg.agent == cdr.agent]
        assert (cdr.answered_at, cdr.ended_at, cdr.talk_s) == (own.answered_at, own.ended_at, own.talk_s)
    transfers = [event for event in cdr.events if event.type == "attended_transfer"]
    consulted = [(leg.agent, leg.ended_at) for leg in cdr.legs if leg.application == "Consultation"]
    assert consulted == [(event.to_agent, event.at) for event in transfers]


def check_json(cdr: Cdr) -> None:
    """The JSON of a record is as long as is promised of a demo, and is the record again when read strictly."""
    encoded = msgspec.json.encode(cdr)
    assert len(encoded) >= 600
    assert msgspec.json.decode(encoded, type=Cdr, strict=True) == cdr


def check_whole(cdrs: list[Cdr]) -> None:
    """Records are in order, each has a uuid of its own, and links lead there and back."""
    starts = [cdr.started_at for cdr in cdrs]
    assert sorted(starts) == starts
    by_uuid = {cdr.uuid: cdr for cdr in cdrs}
    assert len(by_uuid) == len(cdrs)
    for cdr in cdrs:
        assert cdr.uuid not in cdr.linked_uuids
        assert all(cdr.uuid in by_uuid[other].linked_uuids for other in cdr.linked_uuids)


def check_all(cdrs: list[Cdr]) -> None:
    """Everything that must hold of any stream of the demo."""
    for cdr in cdrs:
        check_times(cdr)
        check_outcome(cdr)
        check_events(cdr)
        check_json(cdr)
    check_whole(cdrs)


def test_a_middling_centre_is_coherent(sample: list[Cdr]) -> None:
    """Every rule holds of every record of a usual demo."""
    assert len(sample) == ENOUGH
    check_all(sample)


@settings(max_examples=examples(60), deadline=None)
@given(
    records=st.integers(0, 250),
    seed=st.integers(-(2**70), 2**70),
    end=st.datetimes(
        datetime(1970, 6, 1),  # noqa: DTZ001 - Hypothesis adds the zone
        datetime(2200, 1, 1),  # noqa: DTZ001 - likewise
        timezones=st.sampled_from([UTC, timezone(timedelta(hours=5, minutes=30))]),
    ),
    days=st.integers(1, 100),
)
def test_any_centre_is_coherent(records: int, seed: int, end: datetime, days: int) -> None:
    """Every rule holds for any seed, size and span, and as many records begin in the span as were asked for."""
    cdrs = list(interactions(records, seed, end, days))
    assert len(cdrs) == records
    last = to_ms(end)
    assert all(last - days * 86_400_000 <= to_ms(cdr.started_at) < last for cdr in cdrs)
    assert all(to_ms(cdr.ended_at) < last + 3_600_000 for cdr in cdrs if cdr.ended_at is not None)
    check_all(cdrs)


def test_an_end_in_the_busiest_hour_cuts_nothing_in_two() -> None:
    """Where nothing can follow any more, because the span or the number is used up, nothing is promised."""
    end = END + timedelta(hours=11)
    for seed in range(30):
        cdrs = list(interactions(40, seed, end, days=1))
        assert (40, True) == (len(cdrs), cdrs[-1].started_at < end)
        assert all(cdr.ended_at < end + timedelta(hours=1) for cdr in cdrs if cdr.ended_at is not None)
        check_whole(cdrs)


def test_the_same_seed_gives_the_same_bytes_everywhere() -> None:
    """A digest made once holds on every machine and Python; who changes what the demo tells changes it here."""
    digest = hashlib.sha256()
    for cdr in interactions(5_000, seed=42):
        digest.update(msgspec.json.encode(cdr) + b"\n")
    digest.update(msgspec.json.encode(centre(42)))
    assert digest.hexdigest() == "4ba29b344173f6dbdc83afd23f19f442b7764026851f8faac4fb7ae87265fd68"


def test_another_seed_is_another_centre() -> None:
    """Seeds share neither uuids nor people."""
    one, other = list(interactions(500, seed=1)), list(interactions(500, seed=2))
    assert {cdr.uuid for cdr in one}.isdisjoint(cdr.uuid for cdr in other)
    assert [user.email for user in users(centre(1))] != [user.email for user in users(centre(2))]


@pytest.mark.slow
def test_memory_does_not_grow_with_the_number() -> None:
    """A million records of a usual centre can be asked for; only those taken are made, and none is kept."""
    list(interactions(10, seed=3))  # what is made once for all
    tracemalloc.start()
    try:
        taken = sum(1 for _ in islice(interactions(1_000_000, seed=3, days=360), 10_000))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert taken == 10_000
    assert peak < 15_000_000


def test_every_word_of_the_contract_occurs(sample: list[Cdr]) -> None:
    """Each type, outcome, end reason and event can be seen in a demo of usual size."""
    assert set(INTERACTION_TYPES) == {cdr.type for cdr in sample}
    assert set(DISPOSITIONS) == {cdr.disposition for cdr in sample}
    assert set(END_REASONS) == {cdr.end_reason for cdr in sample} - {None}
    assert set(EVENT_TYPES) == {event.type for cdr in sample for event in cdr.events}


def test_optional_fields_are_filled_and_empty(sample: list[Cdr]) -> None:
    """Every field but the flags, which demo records have no need of, is known in some records and not in others."""
    always = {"uuid", "type", "disposition", "started_at", "duration_s", "source"}
    for name in Cdr.__struct_fields__:
        known = sum(getattr(cdr, name) not in (None, (), {}) for cdr in sample)
        expected = known == ENOUGH if name in always else known == 0 if name == "flags" else 20 < known < ENOUGH
        assert expected, f"{name} is known in {known}"


def test_mix_of_types(sample: list[Cdr]) -> None:
    """Somewhat more than half comes in; all the rest is there in smaller parts."""
    parts = {kind: count / ENOUGH for kind, count in Counter(cdr.type for cdr in sample).items()}
    assert 0.5 < parts["inbound"] < 0.64
    assert max(part for kind, part in parts.items() if kind != "inbound") < 0.15


def test_arrivals_follow_the_day_and_the_week(sample: list[Cdr]) -> None:
    """Busy mornings and afternoons, a dip at lunch, quiet nights, few at weekends, nobody at work when closed."""
    hours = Counter(cdr.started_at.hour for cdr in sample)
    assert hours[10] > 1.3 * hours[12] < hours[14]
    assert hours[3] * 50 < hours[10]
    days = Counter(cdr.started_at.weekday() for cdr in sample)
    assert days[0] > 2 * days[5] > 4 * days[6] > 0
    night = [cdr for cdr in sample if cdr.type == "inbound" and (cdr.started_at.hour < 6 or cdr.started_at.hour > 21)]
    assert {"system_abandoned", "answered_by_VM"} == {cdr.disposition for cdr in night}


def occupied(sample: list[Cdr]) -> dict[str, list[tuple[int, int]]]:
    """By agent, from when to when (ms) each was rung, talked or worked on afterwards, in order of begin."""
    found: dict[str, list[tuple[int, int]]] = defaultdict(list)
    for cdr in sample:
        for leg in cdr.legs:
            assert leg.agent is not None
            assert leg.ended_at is not None
            after = (cdr.wrapup_s or 0) if leg.agent == cdr.agent and leg.ended_at == cdr.ended_at else 0
            found[leg.agent].append((to_ms(leg.started_at), to_ms(leg.ended_at) + after * 1000))
    return {agent: sorted(spells) for agent, spells in found.items()}


def test_nobody_is_in_two_calls_at_once(sample: list[Cdr]) -> None:
    """Whoever is rung, talks, consults or works on after a call does nothing else meanwhile."""
    for agent, spells in occupied(sample).items():
        assert [] == [(agent, one, other) for one, other in pairwise(spells) if other[0] < one[1]]


def test_nobody_idles_while_somebody_waits(sample: list[Cdr], cast: Centre) -> None:
    """Whenever a caller waits, everybody who is at work and may take the call is occupied, or was away for a moment
    because their telephone rang in vain or lost its connection."""
    work = occupied(sample)
    away = {agent.name: list[int]() for agent in cast.agents}
    for cdr in sample:
        for leg in cdr.legs:
            if leg.ended_at and leg.agent and (leg.disposition == "NO ANSWER" or cdr.wrapup_s == 0):
                away[leg.agent].append(to_ms(leg.ended_at))
    seats = Staff(cast, 1, 0, {}).seats
    queues = {queue.name: queue for queue in cast.queues}
    checked = 0
    for cdr in sample:
        queued = next((to_ms(event.at) for event in cdr.events if event.type == "queued"), None)
        if cdr.type != "inbound" or queued is None or cdr.queue is None:
            continue
        left = to_ms(cdr.legs[0].started_at if cdr.legs else cdr.ended_at or cdr.started_at)
        if left - queued < 5_000:
            continue
        for at in (queued + 1, (queued + left) // 2, left - 1):
            for seat in seats:
                if queues[cdr.queue].skill not in seat.agent.skills or seat.at_work(at) != at:
                    continue
                name = seat.agent.name
                place = bisect_right(work[name], (at, 2**63)) - 1
                busy = place >= 0 and at <= work[name][place][1] + 1_000
                assert busy or any(0 <= at - since <= 600_000 for since in away[name]), (cdr.uuid, name, at)
                checked += 1
    assert checked > 2_000


def test_callers_are_served_in_turn(sample: list[Cdr]) -> None:
    """Who came into a queue first is the first for whom a telephone rings."""
    turns: dict[str, list[tuple[datetime, datetime]]] = defaultdict(list)
    for cdr in sample:
        if cdr.type == "inbound" and cdr.queue is not None and cdr.legs:
            queued = next(event.at for event in cdr.events if event.type == "queued")
            turns[cdr.queue].append((queued, cdr.legs[0].started_at))
    for turn in turns.values():
        rung = [rang for _, rang in sorted(turn)]
        assert rung == sorted(rung)


def test_queues_differ_as_their_staff_does(sample: list[Cdr]) -> None:
    """Most calls are taken at once, those of a queue that is short of people wait longer, and more of them are lost."""
    level: dict[str, list[bool]] = defaultdict(list)
    lost: dict[str, list[bool]] = defaultdict(list)
    talks: dict[str, list[int]] = defaultdict(list)
    for cdr in sample:
        if cdr.type == "inbound" and cdr.queue is not None and cdr.wait_s is not None:
            lost[cdr.queue].append(cdr.disposition == "abandoned")
            level[cdr.queue].append(cdr.disposition == "answered" and cdr.wait_s <= 20)
            if cdr.talk_s is not None:
                talks[cdr.queue].append(cdr.talk_s)
    assert 0.6 < mean(map(mean, level.values())) < 0.95
    assert mean(level["Technical support"]) < mean(level["Orders and delivery"]) - 0.1
    assert mean(lost["Technical support"]) > mean(lost["Orders and delivery"]) + 0.05
    assert mean(talks["Technical support"]) > 1.5 * mean(talks["Payments"])
    assert 0.03 < mean([each for queue in lost.values() for each in queue]) < 0.15


def test_a_large_centre_waits_less(sample: list[Cdr]) -> None:
    """Ten times the calls and the people who they need: the same load per head, and fewer who give up."""
    large = list(islice(interactions(10 * ENOUGH, seed=1, days=DAYS), 20_000))

    def lost(records: list[Cdr]) -> float:
        return mean(cdr.disposition == "abandoned" for cdr in records if cdr.type == "inbound" and cdr.queue)

    assert 4 * len(centre(1, ENOUGH, DAYS).agents) < len(centre(1, 10 * ENOUGH, DAYS).agents)
    assert lost(large) < lost(sample) / 1.5


def test_who_was_not_answered_calls_again_or_is_called(sample: list[Cdr]) -> None:
    """About a third of those who gave up call again within the hour; some are called by an agent; some are lost."""
    calls: dict[str, list[Cdr]] = defaultdict(list)
    for cdr in sample:
        if cdr.from_ is not None and cdr.to is not None:
            calls[cdr.from_ if cdr.type == "inbound" else cdr.to].append(cdr)
    again, called = list[bool](), list[bool]()
    for cdr in sample:
        if cdr.disposition == "abandoned" and cdr.from_ is not None and cdr.ended_at is not None:
            later = [each for each in calls[cdr.from_] if each.started_at >= cdr.ended_at]
            again.append(
                any(each.did == cdr.did and each.started_at - cdr.ended_at < timedelta(hours=1) for each in later)
            )
            called.append(any(each.type in {"outbound", *CALLBACKS} for each in later))
    assert len(again) > 500
    assert 0.2 < mean(again) < 0.45
    assert 0.2 < mean(called) < 0.6
    assert mean(map(any, zip(again, called, strict=True))) < 0.9


def test_the_dialer_keeps_the_law(sample: list[Cdr]) -> None:
    """Of those who answer the dialer, at most 3 % find nobody, and some do."""
    found = Counter(cdr.disposition for cdr in sample if cdr.type == "dialer")
    assert 0 < found["dialer_abandoned"] <= 0.03 * (found["dialer_abandoned"] + found["answered"])


def test_one_day_is_a_bad_one(sample: list[Cdr]) -> None:
    """In the outage many more call the technicians, most wait in vain, and who gets through hears of it."""
    begin, end = outage(to_ms(END))
    usual, bad = list[bool](), list[bool]()
    for cdr in sample:
        if cdr.queue == "Technical support" and cdr.type == "inbound":
            inside = begin <= to_ms(cdr.started_at) < end
            (bad if inside else usual).append(cdr.disposition == "abandoned")
            told = cdr.wrapup_code == "0330"
            assert not told or begin <= to_ms(cdr.started_at) < end + 3_600_000
    assert len(bad) > 0.04 * len(usual)
    assert mean(bad) > 2 * mean(usual)


def test_a_campaign_was_launched(sample: list[Cdr]) -> None:
    """While it ran, the dialer worked for it, and more people called the sales team."""
    begin, end = launch(to_ms(END))
    upgrade = [cdr for cdr in sample if cdr.campaign == "Broadband upgrade"]
    assert all(begin <= to_ms(cdr.started_at) < end for cdr in upgrade)
    assert len(upgrade) > 0.2 * sum(cdr.type == "dialer" for cdr in sample)
    sales = Counter(begin <= to_ms(cdr.started_at) < end for cdr in sample if cdr.queue == "New business")
    assert sales[True] / 10 > 1.3 * sales[False] / (DAYS - 10)


def test_notes_agree_with_the_call(sample: list[Cdr]) -> None:
    """Nothing is sold in seconds, what was passed on is called so, and labels and comments fit the code."""
    spoken = {text for texts in SPOKEN.values() for text in texts}
    for cdr in sample:
        code = cdr.wrapup_code
        if code in SOLD and cdr.type in CALLS:
            assert (cdr.talk_s or 0) >= 75
        passed = any(event.type.endswith("_transfer") for event in cdr.events)
        assert passed == (code in {"0310", "0920"})
        if code == "0910":
            assert cdr.talk_s is None
        if code in {"0600", "0610", "0430"}:
            assert cdr.campaign in {"Satisfaction survey", "Overdue invoices"}
        assert cdr.comment is None or code is not None
        assert cdr.comment is None or cdr.comment in (*COMMENTS.get(code or "", ()), *spoken)
        assert cdr.tags == () or cdr.tags in (*TAGS.get(code or "", ()), *ANY_TAGS)


def test_people_have_days_off(sample: list[Cdr], cast: Centre) -> None:
    """Everybody works on many days and nobody on every one; some are away for a whole week."""
    days: dict[str, set[int]] = defaultdict(set)
    for agent, spells in occupied(sample).items():
        days[agent] = {begin // 86_400_000 for begin, _ in spells}
    weekdays = sorted({day for worked in days.values() for day in worked if (day + 3) % 7 < 5})
    voices = [agent.name for agent in cast.agents if "writing" not in agent.skills]
    assert all(len(days[name]) > 8 for name in voices)
    missing = {name: [day for day in weekdays if day not in days[name]] for name in voices}
    assert any(len(off) >= 5 for off in missing.values())
    assert sum(map(len, missing.values())) < 0.3 * len(voices) * len(weekdays)


def test_records_are_as_long_as_real_ones(sample: list[Cdr]) -> None:
    """About a kilobyte of JSON."""
    assert 900 < mean(len(msgspec.json.encode(cdr)) for cdr in sample) < 1_250


def test_talks_are_skewed_as_talks_are(sample: list[Cdr]) -> None:
    """Most talks are of a few minutes, some are long: the mean is well above the median."""
    talks = [cdr.talk_s for cdr in sample if cdr.disposition == "answered" and cdr.talk_s is not None]
    assert 120 < median(talks) < 260
    assert 1.2 * median(talks) < mean(talks) < 2 * median(talks)
    assert max(talks) > 1_800


def test_callers_return_and_nobody_is_real(sample: list[Cdr]) -> None:
    """Some call many times, most few times, and no number is one that a subscriber could have."""
    callers = Counter(cdr.from_ for cdr in sample if cdr.type == "inbound" and cdr.from_ is not None)
    assert len(callers) > 6_000
    assert sum(count > 1 for count in callers.values()) > 1_000
    numbers, accounts = customers(1)
    assert len(set(numbers)) == len(numbers) == len(accounts) >= 20_000
    spoken = {number for cdr in sample for number in (cdr.from_, cdr.to, cdr.did) if number is not None}
    assert [] == [number for number in sorted({*spoken, *numbers}) if not FICTION.fullmatch(number)]


def test_a_caller_keeps_their_account(sample: list[Cdr]) -> None:
    """The external account id belongs to the customer, whoever calls whom."""
    accounts: dict[str, set[str | None]] = defaultdict(set)
    for cdr in sample:
        number = cdr.from_ if cdr.type == "inbound" else cdr.to
        if cdr.type in {"inbound", "outbound", "dialer", "click_to_call", *CALLBACKS} and number is not None:
            accounts[number].add(cdr.external_account_id)
    assert all(len(ids) == 1 for ids in accounts.values())


def test_what_follows_from_a_call(sample: list[Cdr]) -> None:
    """A transfer goes on at the instant it happens, with the party it names; a callback calls who asked for it."""
    by_uuid = {cdr.uuid: cdr for cdr in sample}
    followed = Counter[str]()
    for cdr in sample:
        ends = [event for event in cdr.events if event.type.endswith("_transfer") or event.type == "callback_requested"]
        assert len(ends) <= 1
        for event in ends:
            later = by_uuid[cdr.linked_uuids[-1]]
            followed[event.type] += 1
            if event.type == "callback_requested":
                assert later.type in CALLBACKS
                assert (cdr.from_, cdr.queue) == (later.to, later.queue)
            else:
                assert (cdr.ended_at, cdr.from_, cdr.did) == (later.started_at, later.from_, later.did)
                assert later.queue == event.queue
                assert later.agent in ({event.to_agent, None} if event.to_agent else {later.agent})
                assert event.agent == cdr.agent
    assert set(followed) == {"blind_transfer", "attended_transfer", "queue_transfer", "callback_requested"}
    assert followed.total() == sum(len(cdr.linked_uuids) for cdr in sample) / 2


def test_records_name_the_cast(sample: list[Cdr], cast: Centre) -> None:
    """Agents, teams, queues, campaigns, wrap-up codes and own numbers of the records are those of the centre."""
    agents = {(agent.name, agent.id, agent.teams) for agent in cast.agents}
    assert agents == {(cdr.agent, cdr.agent_id, cdr.teams) for cdr in sample if cdr.agent is not None}
    queues = {(queue.name, queue.id) for queue in cast.queues}
    assert queues == {(cdr.queue, cdr.queue_id) for cdr in sample if cdr.queue is not None}
    campaigns = {(campaign.name, campaign.id) for campaign in cast.campaigns}
    assert campaigns == {(cdr.campaign, cdr.campaign_id) for cdr in sample if cdr.campaign is not None}
    codes = {(code.code, code.description) for code in cast.wrapup_codes}
    assert codes == {(cdr.wrapup_code, cdr.wrapup_description) for cdr in sample if cdr.wrapup_code is not None}
    dids = {did for queue in cast.queues for did in queue.dids}
    assert dids == {cdr.did for cdr in sample if cdr.did is not None}
    assert all(cdr.did is not None for cdr in sample if cdr.type == "inbound")


@pytest.mark.parametrize("seed", range(20))
def test_the_cast_fits_together(seed: int) -> None:
    """People have addresses, extensions and ids of their own, and every team a supervisor and members."""
    cast = centre(seed)
    everybody = users(cast)
    teams = {team.id for team in cast.teams}
    assert {"admin": 1, "analyst": 2, "supervisor": len(teams), "agent": len(cast.agents)} == Counter(
        user.role for user in everybody
    )
    for values in (
        [user.email for user in everybody],
        [user.name for user in everybody],
        [user.extension for user in everybody if user.extension],
        [user.agent_id for user in everybody if user.agent_id],
        [did for queue in cast.queues for did in queue.dids],
    ):
        assert len(set(values)) == len(values)
    assert all(re.fullmatch(r"[a-z]+\.[a-z]+@example\.com", user.email) for user in everybody)
    assert any(not user.name.isascii() for user in everybody)
    assert [team for user in everybody for team in user.supervises] == [team.id for team in cast.teams]
    assert teams == {team for user in everybody for team in user.member_of}
    assert set(cast.skills) == {skill for user in everybody for skill in user.skills}
    assert teams >= {queue.team_id for queue in cast.queues}
    assert all(1 <= number < 10_000 for agent in cast.agents for number in (agent.id, int(agent.extension)))
    for ids in (
        [team.id for team in cast.teams],
        [agent.id for agent in cast.agents],
        [queue.id for queue in cast.queues],
        [campaign.id for campaign in cast.campaigns],
    ):
        assert all(before < after for before, after in pairwise(ids))


@pytest.mark.parametrize(
    ("records", "end", "days", "said"),
    [
        (-1, END, 90, "must not be negative; -1 was given"),
        (1, END, 0, "days must be from 1 to 3660; 0 was given"),
        (1, END, 3661, "days must be from 1 to 3660; 3661 was given"),
        (1, END.replace(tzinfo=None), 90, "the end needs a time zone; 2026-10-01T00:00:00 was given"),
    ],
)
def test_what_makes_no_sense_is_refused_at_once(records: int, end: datetime, days: int, said: str) -> None:
    """Arguments are looked at when the stream is asked for, not when its first record is."""
    with pytest.raises(ValueError, match=said):
        interactions(records, 1, end, days)

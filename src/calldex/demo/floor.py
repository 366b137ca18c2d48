"""The people of a demo at work: who calls waits for who is free, and everything else follows from that.

A `Floor` plays what happens in order of time. An interaction is a `Draft` from its begin until all of it is known, when
its record is made; records leave in order of their begin.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterator
from typing import Final

import msgspec

from calldex.demo.cast import (
    MESSAGING,
    NO_CONTACT,
    OUTREACH,
    PASSED_ON,
    SECOND_LINE,
    Agent,
    Campaign,
    Centre,
    Queue,
    customers,
    own_calls_by_team,
)
from calldex.demo.chance import draws, pick
from calldex.demo.course import (
    AGAIN,
    CALLBACKS,
    CHAT_ENDINGS,
    CHATS,
    CLOSED_TYPES,
    DAY,
    DIGITAL,
    ENDINGS,
    HALF_HOUR,
    HAPPENINGS,
    HOLDS,
    HOUR,
    LOOKUP,
    OPEN_TYPES,
    PATIENCE,
    PICKED_UP,
    PICKED_UP_MS,
    PLACED,
    RETURNS,
    SECOND,
    SMS,
    TAKEN,
    TALKS,
    TRANSFERS,
    UNREACHED,
    WRAPUPS,
    is_open,
    launch,
    next_open,
    outage,
    weekday,
)
from calldex.demo.notes import Draft, Notes, leg
from calldex.demo.roster import Seat, Staff, first, idle
from calldex.records.record import (
    Cdr,
    Disposition,
    Event,
    EventType,
    InteractionType,
    Leg,
    from_ms,
    time_uuid,
)

_TRIED: Final = frozenset({"no_answer", "busy", "rejected", "machine_answered"})
_RINGS_IN_VAIN: Final = 15 * SECOND
PAUSED: Final = 120 * SECOND
"""How long nothing is given to an agent whose telephone rang in vain."""
AWAY: Final = 600 * SECOND
"""How long an agent is away whose telephone lost its connection."""
_NOBODY: Final = 20 * 60 * SECOND
"""If nobody will be there for so long, a queue sends its callers away at once."""
_DIALS_AHEAD: Final = 16 * SECOND
"""The dialer calls when an agent is expected to be free so soon."""
_DIALER_WAITS: Final = 2 * SECOND
"""So long somebody who was dialled may wait for an agent."""
_CHATS_AT_ONCE: Final = 3
_OVERTIME: Final = 40 * 60 * SECOND
"""No talk goes on longer after the end of the demo."""


_Play = Callable[["Floor", Draft, int], None]


class Floor:
    """What happens in a centre, in order of time.

    Whoever drives it says how many interactions more there may be (`room`) before each step; those that follow from
    others (`extra`) take the places of some that would begin of themselves.
    """

    def __init__(self, cast: Centre, seed: int, begin: int, end: int) -> None:
        self.room = 0
        self.extra = 0
        self._draw = draws(seed, "interactions")
        self._name = f"calldex demo {seed}"
        self._serial = 0
        self._end = end
        self._outage = outage(end)
        self._launch = launch(end)
        self._later: list[tuple[int, int, _Play, Draft]] = []
        self._drafts: list[tuple[int, int, Draft]] = []
        self._agents = cast.agents
        self._supervisors = tuple(person.name for person in cast.people if person.supervises)
        self._outreach, self._writing = cast.teams[OUTREACH].id, cast.teams[MESSAGING].id
        self._staff = Staff(cast, seed, begin, {self._writing: _CHATS_AT_ONCE})
        self._queues = tuple(queue for queue in cast.queues if queue.dids for _ in range(queue.share))
        self._by_name = {queue.name: queue for queue in cast.queues}
        self._written = tuple(queue for queue in cast.queues if not queue.dids)
        self._desks = own_calls_by_team(cast)
        self._campaigns = cast.campaigns
        self._dialled = [0, 0, 0]  # a day; how many who were dialled were answered on it, and how many were not
        self._own_numbers = tuple(number for queue in cast.queues for number in queue.dids)
        self._numbers, accounts = customers(seed)
        self._notes = Notes(self._draw, cast, accounts, self._outage)

    def play(self, until: int) -> None:
        """What was to happen up to an instant."""
        later = self._later
        while later and later[0][0] <= until:
            at, _, how, draft = heapq.heappop(later)
            how(self, draft, at)

    def finish(self) -> Iterator[Cdr]:
        """Everything that is still to happen; what begins after the end does not."""
        while self._later:
            at = self._later[0][0]
            self.play(at)
        yield from self.records(self._end)

    def records(self, until: int) -> Iterator[Cdr]:
        """The records of what began up to an instant, as far as there is nothing earlier of which not all is known."""
        drafts = self._drafts
        while drafts and drafts[0][0] <= until and drafts[0][2].known:
            yield self._notes.record(heapq.heappop(drafts)[2])

    def begin(self, start: int) -> None:
        """An interaction that begins of itself at this instant."""
        draw = self._draw
        if is_open(start):
            if self._outage[0] <= start < self._outage[1] and draw() < 0.6:
                self._inbound(start, self._by_name["Technical support"])
                return
            launched = self._launch[0] <= start < self._launch[1]
            if launched and draw() < 0.16:
                self._inbound(start, self._by_name["New business"])
                return
            kind = "dialer" if launched and draw() < 0.1 else pick(draw, OPEN_TYPES)
        else:
            kind = pick(draw, CLOSED_TYPES)
        if kind in DIGITAL:
            self._digital(start, kind)
        elif kind == "outbound_sms":
            self._sms(start)
        elif kind == "HLR_lookup":
            draft = self._new(kind, start)
            draft.called = self._customer(draft)
            draft.disposition = pick(draw, LOOKUP)
            draft.end = start + 150 + int(draw() * 2_400)
        elif kind == "inbound" or not self._placed(start, kind):
            self._inbound(start, pick(draw, self._queues))

    def _new(self, kind: InteractionType, start: int) -> Draft:
        self._serial += 1
        draft = Draft(time_uuid(start, self._name, str(self._serial)), kind, start)
        heapq.heappush(self._drafts, (start, self._serial, draft))
        return draft

    def _follows(self, start: int) -> bool:
        """Whether there is room for an interaction that follows from another; if so, its place is taken."""
        if self.extra >= self.room or start >= self._end:
            return False
        self.extra += 1
        return True

    def _plan(self, at: int, how: _Play, draft: Draft) -> None:
        self._serial += 1
        heapq.heappush(self._later, (at, self._serial, how, draft))

    def _customer(self, draft: Draft) -> str:
        """A customer's number; a few customers call often, most seldom."""
        place = self._draw()
        draft.customer = customer = int(place * place * len(self._numbers))
        return self._numbers[customer]

    def _desk(self, at: int) -> Seat | None:
        """Somebody who is idle and may place a call, if three tries find one."""
        for _ in range(3):
            if (seat := idle(self._staff.teams[pick(self._draw, self._desks)], at)) is not None:
                return seat
        return None

    # Calls that come in.

    def _inbound(self, start: int, queue: Queue) -> None:
        draw = self._draw
        draft = self._new("inbound", start)
        number = self._customer(draft)
        if draw() < 0.02:  # withheld
            draft.customer = None
        else:
            draft.caller = number
        draft.did = draft.called = pick(draw, queue.dids)
        self._call(draft, queue)

    def _call(self, draft: Draft, queue: Queue) -> None:
        """A call to one of a queue's numbers: what is heard first, and whether it gets into the queue."""
        draw, start = self._draw, draft.start
        outcome = draw()
        if not _takes_calls(queue, start):
            if outcome < 0.18:
                self._voicemail(draft)
            else:
                self._unreached(draft, "system_abandoned")
        elif outcome < 0.015:
            self._unreached(draft, "missed")
        elif outcome < 0.02:
            self._unreached(draft, "failed")
        else:
            menu = 2_000 + int(draw() * 14_000)
            if outcome < 0.4:
                pressed = from_ms(start + 1_500 + int(draw() * (menu - 1_500)))
                draft.events = (Event(type="dtmf", at=pressed, detail=str(1 + int(draw() * 5))),)
            draft.queue, draft.known = queue, False
            self._plan(start + menu, Floor._enter, draft)

    def _enter(self, draft: Draft, at: int) -> None:
        """A caller enters the queue."""
        queue = _of(draft)
        draft.queued, draft.known = at, False
        draft.patience = pick(self._draw, PATIENCE) * queue.patience // 100 * (4 + draft.again) // 4
        draft.events += (Event(type="queued", at=from_ms(at), queue=queue.name),)
        if first(self._staff.lines[queue.id], at).free - at > _NOBODY:
            self._leave(draft, at + 1_000 + int(self._draw() * 3_000), "exit_empty")
            return
        self._offer(draft, at)

    def _offer(self, draft: Draft, at: int) -> None:
        """The call goes to who is free first, unless the caller, or the queue, has enough of waiting before."""
        draw, queue = self._draw, _of(draft)
        queued = draft.queued or at
        seat = first(self._staff.lines[queue.id], at)
        ready = max(at, seat.free)
        limit = queued + min(draft.patience, queue.limit_s * SECOND)
        if ready >= limit:
            self._give_up(draft, limit)
            return
        rings = 1_000 + int(draw() * 8_000)
        vain = draft.tried < 2 and draw() < 0.035
        until = ready + (_RINGS_IN_VAIN if vain else rings)
        if until > queued + draft.patience:  # hangs up while the telephone rings
            until = queued + draft.patience
            self._rang(draft, seat, ready, until)
            seat.busy(until)
            self._give_up(draft, until)
        elif vain:
            self._rang(draft, seat, ready, until)
            seat.busy(until + PAUSED)
            draft.tried += 1
            self._plan(until, Floor._offer, draft)
        else:
            self._talk(draft, seat, ready, until)

    def _rang(self, draft: Draft, seat: Seat, at: int, until: int) -> None:
        """A telephone rings in vain."""
        agent, seconds = seat.agent, (until - at) // SECOND
        draft.legs += (leg(at, until, (draft.caller, agent.extension), agent, "NO ANSWER"),)
        queue = None if draft.queue is None else draft.queue.name
        draft.events += (
            Event(type="ring_no_answer", at=from_ms(until), agent=agent.name, queue=queue, duration_s=seconds),
        )

    def _give_up(self, draft: Draft, at: int) -> None:
        """A caller leaves the queue, and may ask to be called back."""
        queued = draft.queued or at
        if at - queued < draft.patience:
            self._leave(draft, at, "exit_timeout")
        elif at - queued > 20 * SECOND and draft.caller is not None and self._draw() < 0.12:
            self._leave(draft, at, "exit_key")
        else:
            self._leave(draft, at, None)

    def _leave(self, draft: Draft, at: int, how: EventType | None) -> None:
        """A caller leaves the queue: they hang up, or how it is told."""
        draw, queue = self._draw, _of(draft)
        draft.disposition, draft.end_reason, draft.end, draft.known = "abandoned", "customer_disconnect", at, True
        if how is not None:
            waited = (at - (draft.queued or at)) // SECOND
            key = "1" if how == "exit_key" else None
            draft.events += (Event(type=how, at=from_ms(at), queue=queue.name, duration_s=waited, detail=key),)
            draft.end_reason = "timeout" if how == "exit_timeout" else None
        if draft.caller is None:
            return
        if how == "exit_key":
            kind = pick(draw, CALLBACKS)
            back_at = at + 180 * SECOND + int(draw() * (2_400 if kind == "queue_callback" else 14_400)) * SECOND
            if _takes_calls(queue, back_at) and self._follows(back_at):
                back = self._new(kind, back_at)
                back.customer, back.queue, back.known = draft.customer, queue, False
                back.linked, draft.linked = (draft.uuid,), (*draft.linked, back.uuid)
                draft.events += (Event(type="callback_requested", at=from_ms(at), number=draft.caller),)
                self._plan(back_at, Floor._call_back, back)
                return
        chance = draw()
        if chance < 0.36 and draft.again < 3:
            self._plan(at + pick(draw, AGAIN), Floor._redial, draft)
        elif chance > 0.68:
            self._plan(at + pick(draw, RETURNS), Floor._return, draft)

    def _redial(self, missed: Draft, at: int) -> None:
        """Somebody who was not answered calls again."""
        if not self._follows(at):
            return
        draft = self._new("inbound", at)
        draft.customer, draft.caller = missed.customer, missed.caller
        draft.did = draft.called = missed.did
        draft.again = missed.again + 1
        self._call(draft, _of(missed))

    def _return(self, missed: Draft, at: int) -> None:
        """An agent returns a call that nobody took, as soon as one of the team is idle."""
        seat = idle(self._staff.lines[_of(missed).id], at)
        if seat is None or not is_open(at):
            missed.again += 1
            if missed.again < 9:
                self._plan(next_open(at + HALF_HOUR // 2), Floor._return, missed)
        elif self._follows(at):
            self._to_customer(self._new("outbound", at), seat, missed.customer)

    def _voicemail(self, draft: Draft) -> None:
        greeted = draft.start + 9_000 + int(self._draw() * 6_000)
        spoken = 3_000 + int(self._draw() * 60_000)
        draft.disposition, draft.end_reason = "answered_by_VM", "customer_disconnect"
        draft.end = greeted + spoken
        draft.recorded = True
        draft.events = (Event(type="voicemail", at=from_ms(greeted), duration_s=spoken // SECOND),)

    # Calls that go out.

    def _placed(self, start: int, kind: InteractionType) -> bool:
        """A call that somebody here, or the dialer, makes, if there is somebody for it."""
        if kind == "dialer":
            return self._dial(start)
        seat = self._desk(start)
        if seat is None:
            return False
        if kind == "internal":
            return self._internal(start, seat)
        self._to_customer(self._new(kind, start), seat, None)
        return True

    def _to_customer(self, draft: Draft, seat: Seat, customer: int | None) -> None:
        """An agent calls a customer."""
        draw, start = self._draw, draft.start
        disposition = pick(draw, PLACED[draft.type])
        draft.customer = customer
        draft.caller = pick(draw, self._own_numbers)
        draft.called = self._customer(draft) if customer is None else self._numbers[customer]
        if disposition == "answered":
            self._talk(draft, seat, start, start + 1_400 + int(draw() * 24_000))
            return
        self._unreached(draft, disposition)
        if draft.type not in CALLBACKS:
            self._tried(draft, seat)

    def _tried(self, draft: Draft, seat: Seat) -> None:
        """An agent's part in a call that reached nobody."""
        draft.agent = agent = seat.agent
        end = draft.end or draft.start
        word = _LEG_WORDS.get(draft.disposition, "FAILED")
        draft.legs = (leg(draft.start, end, (agent.extension, draft.called), agent, word),)
        if draft.disposition in _TRIED:
            draft.wrapup, draft.code = 1_000 + int(self._draw() * 8_000), NO_CONTACT
        seat.busy(end + (draft.wrapup or 0))

    def _internal(self, start: int, seat: Seat) -> bool:
        """An agent calls another one who is idle."""
        draw = self._draw
        other = self._desk(start)
        if other is None or other is seat:
            return False
        draft = self._new("internal", start)
        draft.caller, draft.called = seat.agent.extension, other.agent.extension
        if pick(draw, PLACED["internal"]) == "answered":
            end = self._talk(draft, seat, start, start + 2_000 + int(draw() * 8_000))
            other.busy(end)
            draft.legs += (msgspec.structs.replace(draft.legs[0], agent=other.agent.name),)
        else:
            self._unreached(draft, "failed")
            self._tried(draft, seat)
        return True

    def _dial(self, start: int) -> bool:
        """The dialer calls a customer, because somebody is or soon will be free to talk; seldom, nobody is."""
        draw = self._draw
        line = self._staff.teams[self._outreach]
        day, answered, lost = self._dialled
        if day != start // DAY:
            self._dialled = [start // DAY, 0, 0]
            answered = lost = 0
        ahead = _DIALS_AHEAD if lost * 50 <= answered else 0
        if first(line, start).free > start + ahead:
            return False
        draft = self._new("dialer", start)
        draft.campaign = pick(draw, self._running(start))
        draft.caller = pick(draw, self._own_numbers)
        draft.called = self._customer(draft)
        disposition = pick(draw, PLACED["dialer"])
        if disposition != "answered":
            self._unreached(draft, disposition)
            return True
        rang = start + 3_000 + int(draw() * 20_000)
        draft.ring, draft.known = rang - start, False
        self._plan(rang, Floor._connect, draft)
        return True

    def _connect(self, draft: Draft, at: int) -> None:
        """A customer whom the dialer called has answered."""
        seat = first(self._staff.teams[self._outreach], at)
        draft.known = True
        if seat.free <= at + _DIALER_WAITS:
            self._dialled[1] += 1
            begin = max(at, seat.free)
            self._talk(draft, seat, begin, begin)
            return
        self._dialled[2] += 1
        draft.disposition, draft.end_reason = (
            "dialer_abandoned",
            pick(self._draw, UNREACHED["dialer_abandoned"].reasons),
        )
        draft.answered, draft.end = at, at + PICKED_UP_MS

    def _running(self, start: int) -> tuple[Campaign, ...]:
        """The campaigns of that day: some of the office's, by weeks, and the one that was launched."""
        renewals, upgrade, survey, invoices, win_back = self._campaigns
        if self._launch[0] <= start < self._launch[1]:
            return (upgrade, upgrade, upgrade, survey)
        week = start // DAY // 7
        return (survey, (renewals, invoices, win_back)[week % 3], (invoices, win_back, renewals, renewals)[week % 4])

    def _call_back(self, draft: Draft, at: int) -> None:
        """Who asked for it is called back by who is free first."""
        seat = first(self._staff.lines[_of(draft).id], at)
        begin = max(at, seat.free)
        draft.known = True
        draft.caller = pick(self._draw, self._own_numbers)
        draft.called = self._numbers[draft.customer or 0]
        if begin - at > _NOBODY or pick(self._draw, PLACED[draft.type]) != "answered":
            self._unreached(draft, "failed")
            return
        self._talk(draft, seat, begin, begin + 1_400 + int(self._draw() * 20_000))

    def _unreached(self, draft: Draft, disposition: Disposition) -> None:
        """The whole course of a call that reaches nobody."""
        draw, course = self._draw, UNREACHED[disposition]
        length = course.shortest + int(draw() * (course.longest - course.shortest))
        draft.disposition, draft.end_reason = disposition, pick(draw, course.reasons)
        draft.end = draft.start + length
        if disposition in PICKED_UP:
            length -= PICKED_UP_MS
            draft.answered = draft.start + length
        if course.rings:
            draft.ring = length

    # Talks.

    def _talk(self, draft: Draft, seat: Seat, at: int, answered: int) -> int:
        """From the first ring at a seat to the end of the talk, which is given back, and of the work after it."""
        draw, kind, agent = self._draw, draft.type, seat.agent
        if draft.ring is None:
            draft.ring = answered - at
        draft.answered, draft.agent, draft.known = answered, agent, True
        draft.disposition, draft.end_reason = "answered", pick(draw, ENDINGS)
        talk = pick(draw, TALKS) * (55 if kind == "internal" else seat.pace) // 100
        queue = draft.queue
        if queue is not None:
            talk = talk * queue.talk // 100
            if queue.skill == "technical" and self._notes.is_outage(draft):
                talk //= 2
        talk = min(talk, self._end + _OVERTIME - answered)
        if (other_way := pick(draw, TAKEN) if kind in {"inbound", "internal"} else None) == "forwarded":
            other = pick(draw, self._agents)
            draft.events += (Event(type=other_way, at=from_ms(at), agent=other.name, number=agent.extension),)
        elif other_way is not None:
            draft.events += (Event(type=other_way, at=from_ms(answered), agent=agent.name),)
        taken = Event(type="answered", at=from_ms(answered), agent=agent.name)
        if kind != "internal" and draw() < 0.97:
            draft.recorded = True
            draft.events += (taken, Event(type="recording_started", at=from_ms(answered + 250)))
        else:
            draft.events += (taken,)
        end = answered + talk
        if draw() < 0.2 and end < self._end:
            end = self._happenings(draft, answered, talk)
        if kind == "inbound" and draft.end_reason != "timeout" and draw() < 0.07:
            end = self._passes_on(draft, end)
        draft.end = end
        self._notes.close(draft, seat, end - answered)
        away = AWAY if draft.end_reason == "timeout" else draft.wrapup or 0
        seat.busy(end + away)
        outgoing = kind not in {"inbound", "dialer"}
        draft.legs += (
            Leg(
                started_at=from_ms(at),
                answered_at=from_ms(answered),
                ended_at=from_ms(end),
                from_=agent.extension if outgoing else draft.called if kind == "dialer" else draft.caller,
                to=draft.called if outgoing else agent.extension,
                agent=agent.name,
                disposition="ANSWERED",
                duration_s=(end - at) // SECOND,
                talk_s=(end - answered) // SECOND,
            ),
        )
        return end

    def _happenings(self, draft: Draft, answered: int, talk: int) -> int:
        """What happens during a talk, and when it ends; holds make it longer."""
        draw, held, away = self._draw, 0, 0
        for moment in sorted(300 + int(draw() * (talk - 300)) for _ in range(1 + int(draw() * 2.4))):
            happening = pick(draw, HAPPENINGS)
            at = from_ms(answered + moment + held + away)
            if happening == "parked":
                length = pick(draw, HOLDS)
                place = str(701 + int(draw() * 20))
                draft.events += (Event(type=happening, at=at, agent=_name(draft.agent), detail=place),)
                away += length
                at = from_ms(answered + moment + held + away)
                event = Event(type="retrieved", at=at, agent=_name(draft.agent), detail=place)
            elif happening == "hold":
                length = pick(draw, HOLDS)
                held += length
                event = Event(type=happening, at=at, duration_s=length // SECOND)
            elif happening == "dtmf":
                event = Event(type=happening, at=at, detail=str(int(draw() * 10)))
            elif happening == "conference":  # with somebody who is not of the centre
                number = self._numbers[int(draw() * len(self._numbers))]
                event = Event(type=happening, at=at, agent=_name(draft.agent), number=number)
            elif happening == "agent_logged_off":
                talk, draft.end_reason = moment, "timeout"
                event = Event(type=happening, at=at, agent=_name(draft.agent))
            else:
                event = Event(type=happening, at=at, agent=pick(draw, self._supervisors))
            draft.events += (event,)
            if happening == "agent_logged_off":
                break
        draft.hold = held or None
        return answered + talk + held + away

    def _passes_on(self, draft: Draft, end: int) -> int:
        """The agent wants to pass the caller on when they have talked; when their own part ends."""
        draw = self._draw
        draft.how, draft.known = pick(draw, TRANSFERS), False
        draft.consulted = consulted = 6_000 + int(draw() * 50_000) if draft.how == "attended_transfer" else 0
        if consulted:
            draft.hold = (draft.hold or 0) + consulted
            draft.events += (Event(type="hold", at=from_ms(end), duration_s=consulted // SECOND),)
        self._plan(end, Floor._transfer, draft)
        return end + consulted

    def _transfer(self, draft: Draft, at: int) -> None:
        """The talk goes on with somebody else, as an interaction of its own, if there is one who is idle."""
        draw, how, agent = self._draw, draft.how, draft.agent
        draft.known = True
        begin = at + draft.consulted
        seat = None
        technical = draft.queue is not None and draft.queue.skill == "technical"
        queue = self._by_name["Second line"] if technical else pick(draw, self._queues)
        if how == "queue_transfer":
            if queue is draft.queue or not _takes_calls(queue, at):
                return
        else:
            seat = self._desk(at)
            if seat is None or seat.agent is agent:
                return
        if agent is None or how is None or not self._follows(begin):
            return
        later = self._new("inbound", begin)
        later.linked, draft.linked = (draft.uuid,), (*draft.linked, later.uuid)
        later.customer, later.caller, later.did = draft.customer, draft.caller, draft.did
        draft.end_reason = "agent_disconnect"
        draft.code = SECOND_LINE if technical and seat is None else PASSED_ON
        if seat is None:
            later.queue, later.called = queue, pick(draw, queue.dids)
            draft.events += (Event(type=how, at=from_ms(begin), agent=agent.name, queue=queue.name),)
            self._enter(later, begin)
            return
        other = seat.agent
        later.called = other.extension
        draft.events += (
            Event(type=how, at=from_ms(begin), agent=agent.name, number=other.extension, to_agent=other.name),
        )
        if draft.consulted:
            draft.legs += (
                Leg(
                    started_at=from_ms(at),
                    answered_at=from_ms(at + 2_000),
                    ended_at=from_ms(begin),
                    from_=agent.extension,
                    to=other.extension,
                    agent=other.name,
                    application="Consultation",
                    disposition="ANSWERED",
                    duration_s=draft.consulted // SECOND,
                ),
            )
        elif draw() < 0.06:
            self._unreached(later, "missed")
            self._rang(later, seat, begin, later.end or begin)
            seat.busy((later.end or begin) + PAUSED)
            return
        rings = 0 if draft.consulted else 1_000 + int(draw() * 8_000)
        self._talk(later, seat, begin, begin + rings)

    # Messages.

    def _digital(self, start: int, kind: InteractionType) -> None:
        """A conversation in writing. Those of the last day may still be open: waiting for an agent, or active."""
        draw = self._draw
        draft = self._new(kind, start)
        number, own = self._customer(draft), self._own_numbers[0]
        outcome = draw()
        line = self._staff.teams[self._writing]
        if kind == "web_chat":  # a visitor of the site has no number
            draft.customer = None
        elif kind != "whatsapp":
            draft.caller, draft.called = f"24{draft.customer:013d}", f"100{own}"
        elif outcome < 0.15 and (seat := idle(line, start)) is not None:
            draft.disposition, draft.caller, draft.called = "initiated", own, number
            draft.agent = seat.agent
            draft.end = start + 1_000 + int(draw() * 4_000)
            return
        else:
            draft.caller, draft.called = number, own
        draft.queue = queue = self._written[kind == "web_chat"]
        draft.queued = start
        draft.events = (Event(type="queued", at=from_ms(start), queue=queue.name),)
        opens = next_open(start)
        seat = first(line, opens)
        answered = max(opens, seat.free) + 4_000 + int(draw() * 40_000)
        if answered >= self._end:
            draft.disposition = "waiting"
            return
        draft.disposition = "archived"
        patience = pick(draw, PATIENCE) * (2 if kind == "web_chat" else 600)
        if answered - start > patience:
            draft.end, draft.end_reason = start + patience, "customer_disconnect"
            return
        draft.answered, draft.agent = answered, seat.agent
        draft.events += (Event(type="answered", at=from_ms(answered), agent=seat.agent.name),)
        end = answered + pick(draw, CHATS) * seat.pace // 100
        if end >= self._end or (start >= self._end - DAY and outcome > 0.7):
            draft.disposition = "active"
            seat.busy(answered + 600 * SECOND)
            return
        draft.end, draft.end_reason = end, pick(draw, CHAT_ENDINGS)
        draft.wrapup, draft.code = pick(draw, WRAPUPS), pick(draw, self._notes.codes[self._writing])
        seat.busy(end + draft.wrapup)

    def _sms(self, start: int) -> None:
        """A message that an agent sends, or more often a program."""
        draw = self._draw
        draft = self._new("outbound_sms", start)
        draft.caller, draft.called = pick(draw, self._own_numbers), self._customer(draft)
        draft.disposition = pick(draw, SMS)
        draft.end = start + 300 + int(draw() * 7_000)
        if draw() < 0.3 and is_open(start) and (seat := self._desk(start)) is not None:
            draft.agent = seat.agent


_LEG_WORDS: Final = {"no_answer": "NO ANSWER", "busy": "BUSY", "rejected": "BUSY", "machine_answered": "ANSWERED"}


def _takes_calls(queue: Queue, at: int) -> bool:
    """Whether a queue is open; those of the office only from 8 to 18 o'clock from Monday to Friday."""
    return is_open(at) and (not queue.office or (8 * HOUR <= at % DAY < 18 * HOUR and weekday(at) < 5))


def _of(draft: Draft) -> Queue:
    """The queue of a draft that has one."""
    if draft.queue is None:
        raise ValueError(f"{draft.uuid} is in no queue")
    return draft.queue


def _name(agent: Agent | None) -> str | None:
    return None if agent is None else agent.name

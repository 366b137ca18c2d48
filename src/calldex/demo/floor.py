"""The people of a demo at work: one interaction after the other, as `course` says such things go."""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from typing import Final

import msgspec

from calldex.demo.cast import (
    NO_CONTACT,
    Agent,
    Campaign,
    Centre,
    Queue,
    WrapupCode,
    customers,
    wrapup_codes_by_team,
)
from calldex.demo.chance import draws, pick
from calldex.demo.course import (
    CALLBACKS,
    CHAT_ENDINGS,
    CHATS,
    CLOSED_TYPES,
    COMMENTS,
    DAY,
    DIGITAL,
    ENDINGS,
    EXITS,
    HAPPENINGS,
    HOLDS,
    LOOKUP,
    OPEN_TYPES,
    PATIENCE,
    PICKED_UP,
    PICKED_UP_MS,
    PLACED,
    SECOND,
    SMS,
    TAGS,
    TAKEN,
    TALKS,
    TRANSFERS,
    UNREACHED,
    WAITS,
    WRAPUPS,
    is_open,
    next_open,
)
from calldex.records.record import (
    Cdr,
    CustomValue,
    Disposition,
    EndReason,
    Event,
    InteractionType,
    Leg,
    from_ms,
    time_uuid,
)

_CONVERSED: Final = frozenset({"answered", "archived", "active"})
_TRIED: Final = frozenset({"no_answer", "busy", "rejected", "machine_answered"})
_RINGS_IN_VAIN: Final = 15 * SECOND


class Draft(msgspec.Struct, gc=False):
    """An interaction while it is made up; instants and lengths in ms. What follows from others is not here."""

    uuid: str
    type: InteractionType
    start: int
    disposition: Disposition = "failed"
    answered: int | None = None
    end: int | None = None
    customer: int | None = None
    caller: str | None = None
    called: str | None = None
    did: str | None = None
    agent: Agent | None = None
    queue: Queue | None = None
    queued: int | None = None
    campaign: Campaign | None = None
    ring: int | None = None
    hold: int | None = None
    end_reason: EndReason | None = None
    events: tuple[Event, ...] = ()
    legs: tuple[Leg, ...] = ()
    linked: tuple[str, ...] = ()
    recorded: bool = False


class Floor:
    """Makes the interactions of a centre, and keeps those that follow from earlier ones.

    A transferred call is two interactions, and so are a call whose caller asks to be called back and the callback.
    Each names the other's uuid, so the later one is promised (drafted) when the earlier one is made, and waits in
    `promised`, a heap by start, until whoever drives the floor finds it due and hands it to `follow`. Nothing is
    promised while `may_promise` is false.
    """

    def __init__(self, cast: Centre, seed: int, end: int) -> None:
        self.promised: list[tuple[int, str, Draft]] = []
        self.may_promise = False
        self._draw = draws(seed, "interactions")
        self._name = f"calldex demo {seed}"
        self._serial = 0
        self._end = end
        self._agents = cast.agents
        self._supervisors = tuple(person.name for person in cast.people if person.supervises)
        self._team = {team.id: tuple(agent for agent in cast.agents if team in agent.teams) for team in cast.teams}
        self._free_at = dict.fromkeys((agent.id for agent in cast.agents), 0)
        # The first queues are the busiest.
        self._queues = tuple(
            queue for place, queue in enumerate(cast.queues) for _ in range(len(cast.queues) + 3 - place)
        )
        self._campaigns = cast.campaigns
        self._own_numbers = tuple(number for queue in cast.queues for number in queue.dids)
        self._numbers, self._accounts = customers(seed)
        self._wrapup_codes = wrapup_codes_by_team(cast)

    def begin(self, start: int, load: float) -> Draft:
        """An interaction that begins of itself, at this instant; `load` is how busy the centre is (1: a usual peak)."""
        draw = self._draw
        open_now = is_open(start)
        kind = pick(draw, OPEN_TYPES if open_now else CLOSED_TYPES)
        draft = self._new(kind, start)
        if kind == "inbound":
            self._inbound(draft, load, open_now)
        elif kind in DIGITAL:
            self._digital(draft, load, open_now)
        elif kind == "outbound_sms":
            self._sms(draft, open_now)
        elif kind == "HLR_lookup":
            draft.called = self._customer(draft)
            draft.disposition = pick(draw, LOOKUP)
            draft.end = start + 150 + int(draw() * 2_400)
        else:
            self._place(draft)
        return draft

    def follow(self, draft: Draft, load: float) -> Draft:
        """A promised interaction, made up now that its time has come."""
        if draft.type in CALLBACKS:
            self._place(draft)
        elif draft.queue is not None:
            self._wait(draft, draft.queue, draft.start, load)
        else:
            agent, draft.agent = draft.agent, None
            if agent is not None and self._draw() < 0.94:
                self._ring(draft, draft.start, agent)
            else:
                self._unreached(draft, "missed")
        return draft

    def _new(self, kind: InteractionType, start: int) -> Draft:
        self._serial += 1
        return Draft(time_uuid(start, self._name, str(self._serial)), kind, start)

    def _promise(self, draft: Draft, kind: InteractionType, start: int) -> Draft | None:
        """The draft of an interaction that will follow from this one, if there is room for it."""
        if not self.may_promise or start >= self._end:
            return None
        later = self._new(kind, start)
        later.customer = draft.customer
        later.linked = (draft.uuid,)
        draft.linked += (later.uuid,)
        heapq.heappush(self.promised, (start, later.uuid, later))
        return later

    def _customer(self, draft: Draft) -> str:
        """A customer's number; a few customers call often, most seldom."""
        place = self._draw()
        draft.customer = customer = int(place * place * len(self._numbers))
        return self._numbers[customer]

    def _available(self, team: Sequence[Agent], at: int) -> Agent:
        """One of the team who is free, if three tries find one."""
        agent = pick(self._draw, team)
        for _ in range(2):
            if self._free_at[agent.id] <= at:
                break
            agent = pick(self._draw, team)
        return agent

    def _other(self, agent: Agent) -> Agent:
        while (other := pick(self._draw, self._agents)) is agent:
            pass
        return other

    # Calls that come in.

    def _inbound(self, draft: Draft, load: float, open_now: bool) -> None:
        draw = self._draw
        number = self._customer(draft)
        if draw() < 0.02:  # withheld
            draft.customer = None
        else:
            draft.caller = number
        queue = pick(draw, self._queues)
        draft.did = draft.called = pick(draw, queue.dids)
        outcome = draw()
        if not open_now and outcome < 0.18:
            self._voicemail(draft)
        elif not open_now:
            self._unreached(draft, "system_abandoned")
        elif outcome < 0.035:
            self._unreached(draft, "missed")
        elif outcome < 0.04:
            self._unreached(draft, "failed")
        else:
            menu = 2_000 + int(draw() * 14_000)
            if outcome < 0.4:
                pressed = from_ms(draft.start + 1_500 + int(draw() * (menu - 1_500)))
                draft.events = (Event(type="dtmf", at=pressed, detail=str(1 + int(draw() * 5))),)
            self._wait(draft, queue, draft.start + menu, load)

    def _wait(self, draft: Draft, queue: Queue, at: int, load: float) -> None:
        """From entering the queue to an agent, or to losing patience; busy hours mean longer waits and more losses."""
        draw, busy = self._draw, load * load
        draft.queue, draft.queued = queue, at
        outcome = draw()
        if outcome > 0.015 + 0.08 * busy:
            ready = at + int(pick(draw, WAITS) * (0.25 + 1.75 * busy))
            draft.events += (Event(type="queued", at=from_ms(at), queue=queue.name),)
            agent = self._available(self._team[queue.team_id], ready)
            self._ring(draft, self._not_taken(draft, ready) if outcome > 0.92 else ready, agent)
            return
        draft.disposition, draft.end_reason = "abandoned", "customer_disconnect"
        draft.end = end = at + pick(draw, PATIENCE)
        draft.events += (Event(type="queued", at=from_ms(at), queue=queue.name),)
        left = pick(draw, EXITS)
        if left is not None:
            waited = (end - at) // SECOND
            key = "1" if left == "exit_key" else None
            draft.events += (Event(type=left, at=from_ms(end), queue=queue.name, duration_s=waited, detail=key),)
            draft.end_reason = "timeout" if left == "exit_timeout" else None
        if outcome < 0.04 and draft.caller is not None:
            back_at = end + int((180 + draw() * 2_400) * SECOND)
            if is_open(back_at) and (back := self._promise(draft, pick(draw, CALLBACKS), back_at)) is not None:
                back.queue = queue
                draft.events += (Event(type="callback_requested", at=from_ms(end), number=draft.caller),)

    def _not_taken(self, draft: Draft, at: int) -> int:
        """A telephone rings in vain before another is tried; when the other begins to ring."""
        agent = pick(self._draw, self._agents)
        until = at + _RINGS_IN_VAIN
        leg = Leg(
            started_at=from_ms(at),
            ended_at=from_ms(until),
            from_=draft.caller,
            to=agent.extension,
            agent=agent.name,
            disposition="NO ANSWER",
            duration_s=_RINGS_IN_VAIN // SECOND,
        )
        draft.legs = (leg,)
        queue = None if draft.queue is None else draft.queue.name
        rang = Event(
            type="ring_no_answer", at=from_ms(until), agent=agent.name, queue=queue, duration_s=_RINGS_IN_VAIN // SECOND
        )
        draft.events += (rang,)
        return until

    def _voicemail(self, draft: Draft) -> None:
        greeted = draft.start + 9_000 + int(self._draw() * 6_000)
        spoken = 3_000 + int(self._draw() * 60_000)
        draft.disposition, draft.end_reason = "answered_by_VM", "customer_disconnect"
        draft.end = greeted + spoken
        draft.recorded = True
        draft.events = (Event(type="voicemail", at=from_ms(greeted), duration_s=spoken // SECOND),)

    # Calls that go out.

    def _place(self, draft: Draft) -> None:
        """A call that somebody here, or the dialer, makes."""
        draw, start, kind = self._draw, draft.start, draft.type
        disposition = pick(draw, PLACED[kind])
        team = self._agents
        if kind == "dialer":
            draft.campaign = campaign = pick(draw, self._campaigns)
            team = self._team[campaign.team_id]
        elif draft.queue is not None:
            team = self._team[draft.queue.team_id]
        agent = self._available(team, start)
        if kind == "internal":
            draft.caller, draft.called = agent.extension, self._other(agent).extension
        else:
            draft.caller = pick(draw, self._own_numbers)
            draft.called = self._customer(draft) if draft.customer is None else self._numbers[draft.customer]
        if disposition == "answered":
            self._ring(draft, start + 400 + int(draw() * 2_000), agent)
            return
        if kind not in {"dialer", *CALLBACKS}:
            draft.agent = agent
        self._unreached(draft, disposition)

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

    def _ring(self, draft: Draft, at: int, agent: Agent) -> None:
        """From the first ring to the end of the talk."""
        draw, kind = self._draw, draft.type
        draft.ring = ring = 1_000 + int(draw() * (8_000 if kind == "inbound" else 22_000))
        draft.answered = answered = at + ring
        draft.disposition, draft.agent, draft.end_reason = "answered", agent, pick(draw, ENDINGS)
        talk = pick(draw, TALKS)
        taken = Event(type="answered", at=from_ms(answered), agent=agent.name)
        other_way = pick(draw, TAKEN) if kind in {"inbound", "internal"} else None
        if other_way == "forwarded":
            other = self._other(agent)
            draft.events += (Event(type=other_way, at=from_ms(at), agent=other.name, number=agent.extension),)
        elif other_way is not None:
            draft.events += (Event(type=other_way, at=from_ms(answered), agent=agent.name),)
        if kind != "internal" and draw() < 0.97:
            draft.recorded = True
            draft.events += (taken, Event(type="recording_started", at=from_ms(answered + 250)))
        else:
            draft.events += (taken,)
        end = answered + talk
        if draw() < 0.24:
            end = self._happenings(draft, answered, talk)
        if kind == "inbound" and draw() < 0.06:
            end = self._transfer(draft, agent, end)
        draft.end = end
        if draft.legs:
            leg = Leg(
                started_at=from_ms(at),
                answered_at=from_ms(answered),
                ended_at=from_ms(end),
                from_=draft.caller,
                to=agent.extension,
                agent=agent.name,
                disposition="ANSWERED",
                duration_s=(end - at) // SECOND,
                talk_s=(end - answered) // SECOND,
            )
            draft.legs += (leg,)

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
            elif happening == "conference":
                other = pick(draw, self._agents)
                event = Event(type=happening, at=at, agent=other.name, number=other.extension)
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

    def _transfer(self, draft: Draft, agent: Agent, end: int) -> int:
        """The talk goes on with somebody else as an interaction of its own; when that begins, which ends this one."""
        draw = self._draw
        how = pick(draw, TRANSFERS)
        consulted = 6_000 + int(draw() * 50_000) if how == "attended_transfer" else 0
        at = end + consulted
        later = self._promise(draft, "inbound", at)
        if later is None:
            return end
        later.caller, later.did = draft.caller, draft.did
        if consulted:
            draft.hold = (draft.hold or 0) + consulted
            draft.events += (Event(type="hold", at=from_ms(end), duration_s=consulted // SECOND),)
        if how == "queue_transfer":
            later.queue = queue = pick(draw, self._queues)
            later.called = pick(draw, queue.dids)
            draft.events += (Event(type=how, at=from_ms(at), agent=agent.name, queue=queue.name),)
        else:
            later.agent = other = self._other(agent)
            later.called = other.extension
            draft.events += (
                Event(type=how, at=from_ms(at), agent=agent.name, number=other.extension, to_agent=other.name),
            )
        draft.end_reason = "agent_disconnect"
        return at

    # Messages.

    def _digital(self, draft: Draft, load: float, open_now: bool) -> None:
        """A conversation in writing. Those of the last day may still be open: waiting for an agent, or active."""
        draw, start, kind = self._draw, draft.start, draft.type
        number, own = self._customer(draft), self._own_numbers[0]
        outcome = draw()
        if kind == "web_chat":  # a visitor of the site has no number
            draft.customer = None
        elif kind != "whatsapp":
            draft.caller, draft.called = f"24{draft.customer:013d}", f"100{own}"
        elif open_now and outcome < 0.15:
            draft.disposition, draft.caller, draft.called = "initiated", own, number
            draft.agent = self._available(self._agents, start)
            draft.end = start + 1_000 + int(draw() * 4_000)
            return
        else:
            draft.caller, draft.called = number, own
        draft.queue = queue = pick(draw, self._queues)
        draft.queued = start
        draft.events = (Event(type="queued", at=from_ms(start), queue=queue.name),)
        recent = start >= self._end - DAY
        answered = next_open(start) + int(pick(draw, WAITS) * (3 + 4 * load))
        if answered >= self._end or (recent and outcome > 0.85):
            draft.disposition = "waiting"
            return
        draft.disposition = "archived"
        if outcome < 0.19:
            draft.end, draft.end_reason = answered, "customer_disconnect"
            return
        draft.answered = answered
        draft.agent = agent = self._available(self._team[queue.team_id], answered)
        draft.events += (Event(type="answered", at=from_ms(answered), agent=agent.name),)
        end = answered + pick(draw, CHATS)
        if end >= self._end or (recent and outcome > 0.7):
            draft.disposition = "active"
            return
        draft.end, draft.end_reason = end, pick(draw, CHAT_ENDINGS)

    def _sms(self, draft: Draft, open_now: bool) -> None:
        """A message that an agent sends, or more often a program."""
        draw = self._draw
        draft.caller, draft.called = pick(draw, self._own_numbers), self._customer(draft)
        draft.disposition = pick(draw, SMS)
        draft.end = draft.start + 300 + int(draw() * 7_000)
        if open_now and draw() < 0.3:
            draft.agent = self._available(self._agents, draft.start)

    # Records.

    def record(self, draft: Draft) -> Cdr:
        """The record of a draft, with what was noted after it."""
        draw, start, answered, end = self._draw, draft.start, draft.answered, draft.end
        agent, queue, campaign, customer = draft.agent, draft.queue, draft.campaign, draft.customer
        conversed = agent is not None and draft.disposition in _CONVERSED
        wrapup, code = self._wrapup(draft)
        started_at = from_ms(start)
        noted = draw()
        return Cdr(
            uuid=draft.uuid,
            type=draft.type,
            disposition=draft.disposition,
            started_at=started_at,
            answered_at=None if answered is None else from_ms(answered),
            ended_at=None if end is None else from_ms(end),
            from_=draft.caller,
            to=draft.called,
            did=draft.did,
            end_reason=draft.end_reason,
            agent=None if agent is None else agent.name,
            agent_id=None if agent is None else agent.id,
            queue=None if queue is None else queue.name,
            queue_id=None if queue is None else queue.id,
            teams=() if agent is None else agent.teams,
            campaign=None if campaign is None else campaign.name,
            campaign_id=None if campaign is None else campaign.id,
            wrapup_code=None if code is None else code.code,
            wrapup_description=None if code is None else code.description,
            duration_s=_seconds(start, end) or 0,
            talk_s=_seconds(answered, end) if conversed else None,
            ring_s=_seconds(0, draft.ring),
            wait_s=_seconds(draft.queued, end if answered is None else answered),
            hold_s=_seconds(0, draft.hold),
            wrapup_s=_seconds(0, wrapup),
            events=draft.events,
            legs=draft.legs,
            linked_uuids=draft.linked,
            recording=f"{started_at.date().isoformat()}/{draft.uuid}.mp3" if draft.recorded else None,
            external_account_id=None if customer is None else self._accounts[customer],
            tags=pick(draw, TAGS) if noted < 0.12 else (),
            comment=pick(draw, COMMENTS) if conversed and 0.08 < noted < 0.15 else None,
            score=40 + int(draw() * 121) / 2 if conversed and noted > 0.95 else None,
            custom={} if customer is None or noted < 0.45 else self._custom(noted),
            source="demo",
        )

    def _wrapup(self, draft: Draft) -> tuple[int | None, WrapupCode | None]:
        """How long the agent works on after the end, and the code they choose; then they are free again."""
        draw, agent, end = self._draw, draft.agent, draft.end
        if agent is None or end is None:
            return None, None
        wrapup = code = None
        if draft.disposition in _CONVERSED and draft.type != "internal":
            wrapup, code = pick(draw, WRAPUPS), pick(draw, self._wrapup_codes[agent.teams[0].id])
        elif draft.disposition in _TRIED:
            wrapup, code = 1_000 + int(draw() * 8_000), NO_CONTACT
        self._free_at[agent.id] = end + (wrapup or 0)
        return wrapup, code

    def _custom(self, noted: float) -> dict[str, CustomValue]:
        """What a script of the company wrote beside the interaction."""
        number = int(self._draw() * 900_000)
        if noted < 0.75:
            return {"order_id": f"SO-{100_000 + number}"}
        if noted < 0.9:
            return {"crm_ticket": 10_000 + number, "priority": ("low", "normal", "high")[number % 3]}
        return {"order_id": f"SO-{100_000 + number}", "basket_eur": number / 100, "newsletter": number % 2 == 0}


def _seconds(begin: int | None, end: int | None) -> int | None:
    """Whole seconds from one instant (ms) to another, if both are known."""
    return None if begin is None or end is None else (end - begin) // SECOND


def _name(agent: Agent | None) -> str | None:
    return None if agent is None else agent.name

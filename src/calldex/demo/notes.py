"""What is noted of an interaction of the demo: the draft while it goes on, the code when it ends, and the record."""

from __future__ import annotations

from typing import Final

import msgspec

from calldex.demo.cast import (
    CUT_OFF,
    KNOWN_OUTAGE,
    NO_CONTACT,
    WRONG_NUMBER,
    Agent,
    Campaign,
    Centre,
    Queue,
    WrapupCode,
    wrapup_codes_by_team,
)
from calldex.demo.chance import Draw, pick
from calldex.demo.course import ANY_TAGS, COMMENTS, HOUR, SECOND, SHORT_MS, SOLD, SOLD_MS, SPOKEN, TAGS, WRAPUPS
from calldex.demo.roster import Seat
from calldex.records.record import (
    Cdr,
    CustomValue,
    Disposition,
    EndReason,
    Event,
    EventType,
    InteractionType,
    Leg,
    from_ms,
)

_CONVERSED: Final = frozenset({"answered", "archived", "active"})


class Draft(msgspec.Struct, gc=False):
    """An interaction while it is made up; instants and lengths in ms."""

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
    wrapup: int | None = None
    code: WrapupCode | None = None
    events: tuple[Event, ...] = ()
    legs: tuple[Leg, ...] = ()
    linked: tuple[str, ...] = ()
    recorded: bool = False
    # What is not told, but decides how it goes on.
    known: bool = True
    """Whether nothing of it is still to come."""
    patience: int = 0
    tried: int = 0
    """How often a telephone rang in vain; of a call that is to be returned, how often nobody was free for it."""
    again: int = 0
    """How often the caller has tried before."""
    how: EventType | None = None
    consulted: int = 0


def leg(begin: int, end: int, sides: tuple[str | None, str | None], agent: Agent, word: str) -> Leg:
    """A path of a call, from one side to the other, to or from an agent's telephone, from one instant (ms) to another,
    that nobody answered; the word is the telephone system's."""
    return Leg(
        started_at=from_ms(begin),
        ended_at=from_ms(end),
        from_=sides[0],
        to=sides[1],
        agent=agent.name,
        disposition=word,
        duration_s=(end - begin) // SECOND,
    )


class Notes:
    """Who writes down what became of interactions."""

    def __init__(self, draw: Draw, cast: Centre, accounts: list[str | None], outage: tuple[int, int]) -> None:
        """`accounts`: of each customer, the account with the company."""
        self._draw, self._accounts, self._outage = draw, accounts, outage
        self.codes = wrapup_codes_by_team(cast)
        self._campaign_codes = {
            campaign.id: tuple(code for word in campaign.codes for code in cast.wrapup_codes if code.code == word)
            for campaign in cast.campaigns
        }

    def is_outage(self, draft: Draft) -> bool:
        """Whether a call has to do with the outage of the bad day."""
        return self._outage[0] <= draft.start < self._outage[1] + HOUR

    def close(self, draft: Draft, seat: Seat, talked: int) -> None:
        """What the agent notes after the talk, and how long they take for it."""
        draw = self._draw
        if draft.type == "internal":
            return
        draft.wrapup = pick(draw, WRAPUPS)
        if draft.end_reason == "timeout":
            draft.wrapup, draft.code = 0, CUT_OFF
        elif talked < SHORT_MS:
            draft.code = CUT_OFF if draw() < 0.6 else WRONG_NUMBER
        elif draft.queue is not None and draft.queue.skill == "technical" and self.is_outage(draft):
            draft.code = KNOWN_OUTAGE
        else:
            table = self.codes[seat.agent.teams[0].id]
            if draft.campaign is not None:
                table = self._campaign_codes[draft.campaign.id]
            code = pick(draw, table)
            draft.code = table[-1] if code.code in SOLD and talked < SOLD_MS else code

    def record(self, draft: Draft) -> Cdr:
        """The record of a draft, with what was noted after it."""
        draw, start, answered, end = self._draw, draft.start, draft.answered, draft.end
        agent, queue, campaign, customer, code = draft.agent, draft.queue, draft.campaign, draft.customer, draft.code
        conversed = agent is not None and draft.disposition in _CONVERSED
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
            wrapup_s=_seconds(0, draft.wrapup),
            events=draft.events,
            legs=draft.legs,
            linked_uuids=draft.linked,
            recording=f"{started_at.date().isoformat()}/{draft.uuid}.mp3" if draft.recorded else None,
            external_account_id=None if customer is None else self._accounts[customer],
            tags=self._tags(code) if noted < 0.2 else (),
            comment=self._comment(agent, code) if 0.12 < noted < 0.24 else None,
            score=40 + int(draw() * 121) / 2 if conversed and noted > 0.95 else None,
            custom={} if customer is None or noted < 0.45 else self._custom(noted),
            source="demo",
        )

    def _tags(self, code: WrapupCode | None) -> tuple[str, ...]:
        """The labels of a conversation, as far as its code suggests any."""
        return () if code is None or code is NO_CONTACT else pick(self._draw, TAGS.get(code.code, ANY_TAGS))

    def _comment(self, agent: Agent | None, code: WrapupCode | None) -> str | None:
        """What the agent wrote beside the code, in the language that they talked in."""
        if agent is None or code is None or code.code not in COMMENTS:
            return None
        return pick(self._draw, SPOKEN.get(agent.skills[0], COMMENTS[code.code]))

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

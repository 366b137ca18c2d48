"""How a call ended, who took it and in which queue: conclusions from its facts.

Three things a row says are not what they seem. ANSWERED is about the channel: `Answer()`, an announcement and a queue
answer too, so a person's answer is a queue's CONNECT, or a row that is ANSWERED, was billed at least a second and has a
B channel that is not Local. A call that the PBX began has reached nobody when the first telephone is taken up. And the
word for the outcome depends on the direction: what nobody took is no_answer outside, abandoned or missed inside.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Final

from calldex.formats.asterisk.call import Call, queue_of
from calldex.formats.asterisk.direction import is_originated
from calldex.formats.asterisk.rows import CdrPath, CdrRow, fit, is_local
from calldex.formats.asterisk.settings import Profile
from calldex.formats.asterisk.visits import SERVED
from calldex.records.record import Disposition, EndReason, InteractionType

_END_REASONS: Final[dict[str, EndReason]] = {
    "COMPLETEAGENT": "agent_disconnect",
    "COMPLETECALLER": "customer_disconnect",
    "ABANDON": "customer_disconnect",
    "EXITWITHTIMEOUT": "timeout",
}


def answered_at(call: Call, talks: Sequence[CdrPath]) -> datetime | None:
    """When the first person answered."""
    if call.served:
        answers = [visit.answered_at for visit in call.served]
    else:
        answers = [path.answered_at or path.start for path in talks]
    return min((answer for answer in answers if answer is not None), default=None)


def disposition(call: Call, kind: InteractionType, answered: datetime | None) -> Disposition:
    """The outcome in the words that the contract allows for this type; of a call that is not over, how it stands."""
    if call.is_open:
        return "active" if answered is not None else "waiting"
    if answered is not None:
        return "answered"
    if kind == "inbound":
        if any(path.is_voicemail for path in call.paths):
            return "answered_by_VM"
        return "abandoned" if call.visits or call.queue_paths else "missed"
    if kind == "dialer" and call.conversations:
        return "dialer_abandoned"
    own_leg = call.first_device if is_originated(call, kind) else ""
    outcomes = {path.outcome for path in call.paths if not own_leg or path.row.dstchannel != own_leg}
    if "busy" in outcomes:
        return "busy"
    return "failed" if outcomes == {"failed"} else "no_answer"


def end_reason(call: Call, word: Disposition, talks: Sequence[CdrPath]) -> EndReason | None:
    """Who or what ended it, if a queue was the last to have it."""
    last = next((visit.left for visit in reversed(call.visits) if visit.left is not None), None)
    if last is None or word not in ("answered", "abandoned"):
        return None
    served = last.row.event in SERVED
    later = any(path.start >= last.at for path in talks)
    return _END_REASONS.get(last.row.event) if served == (word == "answered") and not later else None


def agent(call: Call, kind: InteractionType, talks: Sequence[CdrPath]) -> str | None:
    """Who answered first, or who called: a name, or what the PBX calls the channel."""
    served = min(call.served, key=lambda visit: visit.answered_at or call.last_seen, default=None)
    if served is not None and served.served is not None and served.served.row.agent not in ("", "NONE"):
        return call.member(served.served.row.agent)
    candidates = talks if kind in ("inbound", "dialer") else call.own_paths
    found = (leg_agent(path.row, call.profile, kind) for path in candidates)
    return next(filter(None, found), None) or _originator(call, kind)


def _originator(call: Call, kind: InteractionType) -> str | None:
    """Whose telephone the PBX called first, of a call that it began for somebody of the house."""
    device = call.first_device
    if kind == "dialer" or not is_originated(call, kind) or not device or call.profile.is_trunk(device):
        return None
    return fit(call.profile.person(device), 200)


def leg_agent(row: CdrRow, known: Profile, kind: InteractionType) -> str | None:
    """The agent at a leg: at the end that was called if calls of this kind come to agents, else at the other one. If a
    trunk is there, as when the outside was transferred, at the end that is none."""
    one, other = (row.dstchannel, row.channel) if kind in ("inbound", "dialer") else (row.channel, row.dstchannel)
    channel = other if known.is_trunk(one) and not known.is_trunk(other) else one
    return person(channel, known)


def person(channel: str, known: Profile) -> str | None:
    """Who is at a channel; nobody of the house at a trunk, nobody at all at a Local channel."""
    return None if not channel or is_local(channel) or known.is_trunk(channel) else fit(known.person(channel), 200)


def queue(call: Call) -> str | None:
    """The queue in which the caller was answered, else the last one that was entered."""
    visited = call.served[:1] or call.visits[-1:]
    if visited:
        return fit(visited[0].queue, 200)
    return next((fit(name, 200) for path in reversed(call.queue_paths) if (name := queue_of(path.row))), None)

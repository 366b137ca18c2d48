"""Who handed a call to whom, read from its CDR rows; what a queue log says of it is told in `events`.

Asterisk writes no row for a transfer. It shows in which channels are joined, one after the other:

* two channels that each were in touch with somebody else before are joined: whoever had called the one, and was
  talking to the other, has put the two together (attended);
* a channel whose conversation ended is joined with a new one, or goes to another number, within two seconds: whoever it
  talked to sent it there (blind; into a queue; into a parking place).

Both halves of a Local channel are one, and whoever calls through one calls what it leads to. So a Local channel that is
optimised away is no transfer.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterator
from typing import Final

from calldex.formats.asterisk.call import Call, queue_of
from calldex.formats.asterisk.outcome import person
from calldex.formats.asterisk.rows import SECOND, CdrPath, dial_targets, fit, is_local, number, whole
from calldex.formats.asterisk.settings import peer_of
from calldex.records.record import Event

_AT_ONCE: Final = 2 * SECOND
_PARKS: Final = frozenset(("park", "parkandannounce"))
_FETCHES: Final = frozenset(("parkedcall",))
_PICKS_UP: Final = frozenset(("pickup", "pickupchan"))
_CONFERENCES: Final = frozenset(("confbridge", "meetme", "conference"))
_LOCAL_TARGET: Final = re.compile(r"Local/([^@]+)@")
_MOST_STEPS: Final = 20
"""Through how many Local channels a caller is followed."""


def row_events(call: Call) -> Iterator[Event]:
    """What the rows tell of transfers, parking places, pick-ups, forwarding and conference rooms."""
    seen = _Seen(call)
    rooms: set[tuple[str, str]] = set()
    for path in call.paths:
        application = path.row.lastapp.lower()
        here = person(path.row.channel, call.profile)
        if application in _FETCHES:
            yield Event(type="retrieved", at=path.start, agent=here, detail=fit(path.row.lastdata, 400))
        elif application in _PICKS_UP:
            yield Event(type="pickup", at=path.answer or path.start, agent=here, number=number(path.row.dst))
        elif application in _CONFERENCES:
            room = path.row.lastdata.split(",")[0]
            if (path.row.channel, room) not in rooms:
                rooms.add((path.row.channel, room))
                yield Event(type="conference", at=path.answer or path.start, agent=here, detail=fit(room, 400))
        else:
            yield from seen.handed_over(path)
        seen.add(path)


class _Seen:
    """What was in touch with what before a row, in the order of rows."""

    def __init__(self, call: Call) -> None:
        self._call = call
        self._callers: dict[str, list[CdrPath]] = defaultdict(list)
        """The rows in which a channel was called, each caller once."""
        self._talk: dict[str, CdrPath] = {}
        """The last conversation of a channel."""
        self._handed: set[int] = set()
        """Conversations that were handed over already."""
        self._pairs: set[tuple[str, str]] = set()
        self._unanswered: dict[tuple[str, str], CdrPath] = {}
        """The last telephone that an application of a channel let ring in vain."""
        self._talks: dict[str, list[CdrPath]] = defaultdict(list)
        """Every conversation of the call by the channel that called, in order of their starts."""
        for path in sorted(call.conversations, key=lambda path: path.start):
            self._talks[whole(path.row.channel)].append(path)

    def add(self, path: CdrPath) -> None:
        """Note what a row joins."""
        row = path.row
        one, other = whole(row.channel), whole(row.dstchannel)
        if not other:
            return
        if (one, other) not in self._pairs:
            self._pairs.add((one, other))
            self._callers[other].append(path)
        if path.is_person:
            self._talk[one] = self._talk[other] = path
        elif path.answer is None or path.outcome != "answered":
            self._unanswered[row.channel, row.lastdata] = path

    def handed_over(self, path: CdrPath) -> Iterator[Event]:
        """The event, if a row begins because somebody handed the call over."""
        forwarded = self._forwarded(path)
        if forwarded is not None:
            yield forwarded
            return
        one, other = whole(path.row.channel), whole(path.row.dstchannel)
        if other and (consulted := self._consulted(one, other)) is not None:
            yield self._attended(path, consulted)
            return
        before = self._talk.get(one)
        if (by := self._between(before, self._talk.get(other), one, other)) is not None:
            yield Event(type="attended_transfer", at=path.start, agent=person(by, self._call.profile))
            return
        if (
            before is None
            or id(before) in self._handed
            or before.end is None
            or abs(path.start - before.end) > _AT_ONCE
            or other in (whole(before.row.channel), whole(before.row.dstchannel))
        ):
            return
        if (event := self._sent_on(path, before)) is not None:
            self._handed.add(id(before))
            yield event

    def _consulted(self, one: str, other: str) -> CdrPath | None:
        """The row in which somebody else had called one of two channels that are joined now, and the other was known
        as well: the consultation."""
        for called, joined in ((other, one), (one, other)):
            before = self._talk.get(joined)
            if before is None or id(before) in self._handed:
                continue
            for row in reversed(self._callers.get(called, ())[-_MOST_STEPS:]):
                if self._origin(whole(row.row.channel)) not in ("", one, other):
                    self._handed.add(id(before))
                    return row
        return None

    def _between(self, one: CdrPath | None, other: CdrPath | None, caller: str, callee: str) -> str | None:
        """Who had two conversations, the parties of which are joined now."""
        if one is None or other is None or one is other or {id(one), id(other)} & self._handed:
            return None
        by, by_too = _party(one, caller), _party(other, callee)
        if is_local(by) or peer_of(by) != peer_of(by_too) or self._call.profile.is_trunk(by):
            return None
        self._handed |= {id(one), id(other)}
        return by

    def _origin(self, channel: str) -> str:
        """Who calls through a channel: itself, or whoever called the Local channel that it is; '' if nobody did."""
        for _ in range(_MOST_STEPS):
            if not is_local(channel):
                return channel
            by = self._callers.get(channel)
            if not by:
                return ""
            channel = whole(by[-1].row.channel)
        return ""

    def _attended(self, path: CdrPath, consulted: CdrPath) -> Event:
        known = self._call.profile
        by = self._origin(whole(consulted.row.channel))
        return Event(
            type="attended_transfer",
            at=path.start,
            agent=person(by, known),
            number=number(consulted.row.dst),
            to_agent=self._behind(consulted),
        )

    def _behind(self, path: CdrPath) -> str | None:
        """Who was called by a row, also through a Local channel."""
        called = path.row.dstchannel
        if is_local(called):
            called = next((talk.row.dstchannel for talk in self._talks[whole(called)]), "")
        return person(called, self._call.profile)

    def _sent_on(self, path: CdrPath, before: CdrPath) -> Event | None:
        """A conversation's party that goes on without the other one, to another number."""
        row, known = path.row, self._call.profile
        by = _party(before, whole(row.channel))
        if known.is_trunk(by):
            return None  # who is outside hung up
        agent, application = person(by, known), row.lastapp.lower()
        if application in _PARKS:
            return Event(type="parked", at=path.start, agent=agent, detail=fit(row.lastdata, 400))
        target = number(row.dst)
        if target is None or (row.dst, row.dcontext) == (before.row.dst, before.row.dcontext):
            return None
        if path.is_queue:
            return Event(
                type="queue_transfer", at=path.start, agent=agent, queue=fit(queue_of(row), 200), number=target
            )
        return Event(
            type="blind_transfer",
            at=path.start,
            agent=agent,
            number=target,
            detail=fit(row.dcontext, 400),
            to_agent=self._reached(path),
        )

    def _reached(self, path: CdrPath) -> str | None:
        """Who answered where a row was sent, also behind its Local channel."""
        ways = {whole(path.row.channel), whole(path.row.dstchannel)} - {""}
        found = (talk for way in ways if (talk := self._next_talk(way, path)) is not None)
        talk = min(found, key=lambda talk: talk.start, default=None)
        return None if talk is None else person(talk.row.dstchannel, self._call.profile)

    def _next_talk(self, channel: str, path: CdrPath) -> CdrPath | None:
        """A channel's first conversation with somebody it called, from a row on."""
        talks = self._talks[channel]
        at = bisect_left(talks, path.start, key=lambda talk: talk.start)
        return talks[at] if at < len(talks) else None

    def _forwarded(self, path: CdrPath) -> Event | None:
        """A telephone that was called had its calls forwarded: the same Dial goes on to a Local channel that it does
        not name."""
        row = path.row
        found = _LOCAL_TARGET.match(row.dstchannel)
        before = self._unanswered.get((row.channel, row.lastdata))
        if found is None or before is None or is_local(before.row.dstchannel) or row.lastapp.lower() != "dial":
            return None
        if any(name.startswith("Local/") and user == found[1] for name, user in dial_targets(row)):
            return None
        return Event(
            type="forwarded",
            at=path.start,
            agent=person(before.row.dstchannel, self._call.profile),
            number=number(found[1]),
        )


def _party(talk: CdrPath, channel: str) -> str:
    """With whom a channel talked."""
    one, other = whole(talk.row.channel), whole(talk.row.dstchannel)
    return other if channel == one else one

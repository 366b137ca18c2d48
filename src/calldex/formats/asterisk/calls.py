"""One Asterisk call, put together from its CDR rows and queue events.

Second station of a record on its way in: `reading` has read the rows, ingest has gathered those of one call, and here
they become one `Cdr`. Pure: the same rows give the same record in any order, and nothing is remembered.

Three things a row says are not what they seem. ANSWERED is about the channel: `Answer()`, an announcement and a queue
answer too, so a person's answer is a queue's CONNECT, or a row that is ANSWERED, was billed at least a second and has a
B channel that is not Local. Times and billing do not tell the direction: the source's settings do. And the word for the
outcome depends on the direction: what nobody took is no_answer outside, abandoned or missed inside.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from functools import cached_property
from typing import Final

import msgspec
from msgspec.json import encode

from calldex.formats.asterisk.rows import (
    MOST_SECONDS,
    SECOND,
    SERVED,
    CdrRow,
    Path,
    QueueEvent,
    QueueRow,
    Visit,
    caller,
    dial_targets,
    digits,
    disagrees,
    epoch_of,
    fit,
    id_rank,
    number,
    order_in_second,
    path_of,
    queue_event_of,
    visits_of,
    whole_seconds,
)
from calldex.formats.asterisk.settings import AsteriskSettings, Profile, profile
from calldex.records.record import (
    Cdr,
    Disposition,
    EndReason,
    Event,
    EventType,
    Flag,
    InteractionType,
    Leg,
    stable_id,
    time_uuid,
    to_ms,
)

_DECODER: Final = msgspec.json.Decoder(CdrRow | QueueRow)
_MOST_PARTS: Final = 1000

_EVENT_ORDER: Final[tuple[EventType, ...]] = (
    *("blind_transfer", "attended_transfer", "queue_transfer"),
    *("queued", "answered", "voicemail"),
)
"""How events of one second follow each other: a transfer makes what comes after it."""

_END_REASONS: Final[dict[str, EndReason]] = {
    "COMPLETEAGENT": "agent_disconnect",
    "COMPLETECALLER": "customer_disconnect",
    "ABANDON": "customer_disconnect",
    "EXITWITHTIMEOUT": "timeout",
}


def assemble(texts: Sequence[str], settings: AsteriskSettings, source: str) -> Cdr | None:
    """The call of these rows, whichever order they are in; None if they show no call (only unknown queue events).

    The uuid hangs on the smallest id (by time, then counter) among the linkedids, uniqueids and callids: that of the
    call's first channel. It changes only if a row arrives that names an older channel, as when a transfer joins what
    were two calls until then, or between rows without linkedid. Rows with no id at all hang on the channel and start of
    the first.
    """
    rows = [_DECODER.decode(text) for text in texts]
    call = _Call(rows, profile(settings))
    if not call.paths and not call.visits and not any(event.row.event == "OUTCALL" for event in call.queue_events):
        return None
    return _cdr(call, source)


class _Call:
    """What the rows of a call say, put in order. Everything here is a fact; what follows from it is decided below."""

    def __init__(self, rows: Iterable[CdrRow | QueueRow], known: Profile) -> None:
        rows = sorted(set(rows), key=encode)
        self.profile = known
        self.paths = sorted(
            (path_of(row, known) for row in rows if isinstance(row, CdrRow)),
            key=lambda path: (path.start, id_rank(path.row.uniqueid), digits(path.row.sequence)),
        )
        self.queue_events = sorted(
            (queue_event_of(row) for row in rows if isinstance(row, QueueRow)),
            key=lambda event: (event.at, order_in_second(event.row)),
        )
        self.visits = visits_of(self.queue_events)

    @cached_property
    def key(self) -> str:
        """The id of the call's first channel; '' if no row has an id."""
        names = {name for path in self.paths for name in (path.row.linkedid, path.row.uniqueid)}
        names |= {event.row.callid for event in self.queue_events}
        return min(names - {""}, key=id_rank, default="")

    @cached_property
    def own_paths(self) -> list[Path]:
        """The rows of the call's first channel, in order; those of the oldest channel known if its own are missing."""
        if not self.paths:
            return []
        first = min(self.paths, key=lambda path: id_rank(path.row.uniqueid))
        return [path for path in self.paths if path.row.uniqueid == first.row.uniqueid]

    @cached_property
    def started_at(self) -> datetime:
        """The first start. If the first channel has no row of its own, the second in its id counts as well."""
        starts = [path.start for path in self.paths]
        epoch = epoch_of(self.key)
        if epoch is not None and not self.zone_suspect and all(path.row.uniqueid != self.key for path in self.paths):
            starts.append(epoch)
        return min(starts or [event.at for event in self.queue_events])

    @cached_property
    def zone_suspect(self) -> bool:
        """Whether local times and ids contradict each other as they do if the source's zone is wrong."""
        first: dict[str, Path] = {}
        for path in self.paths:
            first.setdefault(path.row.uniqueid, path)
        return any(disagrees(path.start, epoch_of(name)) for name, path in first.items())

    @cached_property
    def is_suspect(self) -> bool:
        """Whether times of the call contradict each other."""
        rows = any(path.suspect for path in self.paths) or any(event.suspect for event in self.queue_events)
        return self.zone_suspect or rows

    @cached_property
    def last_seen(self) -> datetime:
        """The last moment that any row tells of."""
        moments = [self.started_at, *(event.at for event in self.queue_events)]
        moments += [moment for path in self.paths for moment in (path.start, path.end) if moment is not None]
        return max(moments)

    @cached_property
    def ended_at(self) -> datetime | None:
        """The end of the last row or queue stay; None while a stay that outlasts it has no end."""
        ends = [path.end for path in self.paths if path.end is not None]
        ends += [visit.left.at for visit in self.visits if visit.left is not None]
        if not ends or (any(visit.left is None for visit in self.visits) and self.last_seen > max(ends)):
            return None
        return max(self.started_at, *ends)

    @cached_property
    def served(self) -> list[Visit]:
        """The queue stays in which an agent answered."""
        return [visit for visit in self.visits if visit.served is not None]

    @cached_property
    def talks(self) -> list[Path]:
        """The rows in which a person was talked to, in order of the answer.

        A queue's own row is none if the queue log says that the caller left unserved.
        """
        unserved = bool(self.visits) and not self.served and all(visit.left is not None for visit in self.visits)
        talks = [path for path in self.paths if path.is_person and not (unserved and path.is_queue)]
        return sorted(talks, key=lambda path: path.answered_at or path.start)

    @cached_property
    def queue_paths(self) -> list[Path]:
        """The rows that a queue wrote."""
        return [path for path in self.paths if path.is_queue]

    @cached_property
    def answered_at(self) -> datetime | None:
        """When the first person answered."""
        answers = [visit.answered_at for visit in self.served]
        if not self.served:
            answers = [path.answered_at or path.start for path in self.talks]
        return min((answer for answer in answers if answer is not None), default=None)

    @cached_property
    def went_somewhere(self) -> bool:
        """Whether anything was called or answered: a channel, what a Dial names, the dialplan itself."""
        return any(path.row.dstchannel or path.outcome == "answered" or dial_targets(path.row) for path in self.paths)

    @cached_property
    def number_from(self) -> str | None:
        """Who calls."""
        numbers = [number(path.row.src) or number(caller(path.row)[1]) for path in self.own_paths]
        numbers += [number(event.row.parameters[1]) for event in self._with("ENTERQUEUE", 2)]
        return next(filter(None, numbers), None)

    @cached_property
    def number_dialled(self) -> str | None:
        """The number the call's first channel dialled, as it was dialled."""
        numbers = [number(path.row.dst) for path in self.own_paths]
        numbers += [number(event.row.queue) for event in self.queue_events if event.row.queue.isdigit()]
        return next(filter(None, numbers), None)

    @cached_property
    def did(self) -> str | None:
        """The number of the house that was called from outside, if something says so or the dialled one looks it."""
        numbers = [number(path.row.did) for path in self.paths]
        numbers += [number(event.row.parameters[0]) for event in self._with("DID", 1)]
        numbers += [dialled for path in self.own_paths if (dialled := number(path.row.dst)) and dialled.isdigit()]
        return next(filter(None, numbers), None)

    def _with(self, event: str, parameters: int) -> list[QueueEvent]:
        return [e for e in self.queue_events if e.row.event == event and len(e.row.parameters) >= parameters]


def _cdr(call: _Call, source: str) -> Cdr:
    kind = _type(call)
    disposition = _disposition(call, kind)
    answered_at = call.answered_at if disposition == "answered" else None
    agent = _agent(call, kind)
    queue = _queue(call)
    dialled = call.number_dialled
    did = call.did if kind == "inbound" else None
    return Cdr(
        uuid=_uuid(call, source),
        type=kind,
        disposition=disposition,
        started_at=call.started_at,
        answered_at=answered_at,
        ended_at=call.ended_at,
        from_=call.number_from,
        to=(did or dialled) if kind == "inbound" else _outside_number(call, kind),
        did=did,
        end_reason=_end_reason(call, disposition),
        agent=agent,
        agent_id=stable_id("agent", agent) if agent else None,
        queue=queue,
        queue_id=stable_id("queue", queue) if queue else None,
        duration_s=_duration(call),
        talk_s=_talk(call) if answered_at else None,
        ring_s=_ring(call),
        wait_s=_wait(call),
        events=tuple(_events(call, kind)),
        legs=tuple(_leg(path, call.profile, kind) for path in call.paths[:_MOST_PARTS]),
        recording=next((fit(path.row.recordingfile, 1000) for path in call.paths if path.row.recordingfile), None),
        external_account_id=next((fit(path.row.accountcode, 64) for path in call.paths if path.row.accountcode), None),
        custom=_custom(call),
        source=source,
        flags=_flags(call),
    )


def _uuid(call: _Call, source: str) -> str:
    if not call.key:
        first = call.paths[0]
        return time_uuid(to_ms(first.start), source, f"{first.row.channel}@{first.row.start or first.row.end}")
    epoch = epoch_of(call.key)
    # An id without a time (ARI lets its user choose) gets none: a start may still change, the uuid must not.
    return time_uuid(to_ms(epoch) if epoch else 0, source, call.key)


def _type(call: _Call) -> InteractionType:
    """The direction: what marks a dialer or a click-to-call, else where the call goes."""
    marks = {
        mark for path in call.paths for mark in (path.row.dcontext, path.row.accountcode, path.row.userfield) if mark
    }
    if any(map(call.profile.dialer.match, marks)):
        return "dialer"
    if any(map(call.profile.click_to_call.match, marks)):
        return "click_to_call"
    if not call.paths:
        if any(event.row.event == "OUTCALL" for event in call.queue_events):
            return "outbound"
        return "internal" if call.profile.is_extension(call.number_from) else "inbound"
    return _type_by_trunk(call) or _type_by_context(call) or _type_by_numbers(call)


def _type_by_trunk(call: _Call) -> InteractionType | None:
    if call.profile.is_trunk(call.own_paths[0].row.channel):
        return "inbound"
    called = {path.row.dstchannel for path in call.paths}
    called |= {channel for path in call.paths for channel, _ in dial_targets(path.row)}
    return "outbound" if any(map(call.profile.is_trunk, called)) else None


def _type_by_context(call: _Call) -> InteractionType | None:
    context = call.own_paths[0].row.dcontext
    if call.profile.inbound_contexts.match(context):
        return "inbound"
    return "outbound" if call.profile.outbound_contexts.match(context) else None


def _type_by_numbers(call: _Call) -> InteractionType:
    """The direction without a sign of the outside: by who is an extension, and a queue is called from outside.

    Where trunks are known and none was used, it is internal, but for an extension's attempt to call a number outside
    that failed before a channel was chosen for it.
    """
    known, dialled = call.profile, call.number_dialled
    if known.is_extension(call.number_from):
        inside = dialled is None or known.is_extension(dialled) or not dialled.isdigit() or _queue(call) is not None
        return "internal" if inside or (known.has_trunks and call.went_somewhere) else "outbound"
    if known.has_trunks:
        return "internal"
    return "inbound" if known.is_extension(dialled) or _queue(call) else "internal"


def _disposition(call: _Call, kind: InteractionType) -> Disposition:
    """The outcome in the words that the contract allows for this type."""
    if call.answered_at is not None:
        return "answered"
    outcomes = {path.outcome for path in call.paths}
    if kind == "inbound":
        if any(path.is_voicemail for path in call.paths):
            return "answered_by_VM"
        if _queue(call):
            return "abandoned"
        return "missed"
    if "busy" in outcomes:
        return "busy"
    return "failed" if outcomes == {"failed"} else "no_answer"


def _end_reason(call: _Call, disposition: Disposition) -> EndReason | None:
    """Who or what ended it, if a queue was the last to have it."""
    last = next((visit.left for visit in reversed(call.visits) if visit.left is not None), None)
    if last is None or disposition not in ("answered", "abandoned"):
        return None
    served = last.row.event in SERVED
    later = any(path.start >= last.at for path in call.talks)
    return _END_REASONS.get(last.row.event) if served == (disposition == "answered") and not later else None


def _agent(call: _Call, kind: InteractionType) -> str | None:
    """Who answered first, or who called: his name, or what the PBX calls his channel."""
    served = min(call.served, key=lambda visit: visit.answered_at or call.last_seen, default=None)
    if served is not None and served.served is not None and served.served.row.agent not in ("", "NONE"):
        return fit(call.profile.person(served.served.row.agent), 200)
    candidates = call.talks if kind in ("inbound", "dialer") else call.own_paths
    return next(filter(None, (_leg_agent(path.row, call.profile, kind) for path in candidates)), None)


def _leg_agent(row: CdrRow, known: Profile, kind: InteractionType) -> str | None:
    channel = row.dstchannel if kind in ("inbound", "dialer") else row.channel
    if not channel or channel.startswith("Local/") or known.is_trunk(channel):
        return None
    return fit(known.person(channel), 200)


def _queue(call: _Call) -> str | None:
    """The queue in which the caller was answered, else the last one he was in."""
    visited = call.served[:1] or call.visits[-1:]
    if visited:
        return fit(visited[0].queue, 200)
    named = [path.row.lastdata.split(",")[0].split("|")[0].strip() for path in call.queue_paths]
    return next((fit(name, 200) for name in reversed(named) if name), None)


def _outside_number(call: _Call, kind: InteractionType) -> str | None:
    """The number called, without what is dialled for an outside line."""
    dialled = call.number_dialled
    if dialled is None:
        targets = [number(target) for path in call.own_paths for _, target in dial_targets(path.row)]
        return next(filter(None, targets), None)
    prefix = call.profile.outbound_prefix
    return dialled.removeprefix(prefix) or dialled if kind != "internal" else dialled


def _duration(call: _Call) -> int:
    """Seconds from start to end, or to the last thing known; if times are suspect, at least what the source counted."""
    by_times = whole_seconds((call.ended_at or call.last_seen) - call.started_at)
    if not call.is_suspect:
        return by_times
    return max(by_times, _sum(_wait(call), _talk(call)))


def _talk(call: _Call) -> int | None:
    """Seconds talked to persons: what the queue says, and the rows that begin when it has let go of the caller."""
    said = [visit.talk_s for visit in call.served]
    if not call.served:
        return _union(call.talks)
    if None in said:
        # The log does not say how long: until the call was over, if that is known.
        unsaid = (visit.answered_at for visit in call.served if visit.talk_s is None)
        open_at = min((moment for moment in unsaid if moment is not None), default=None)
        if open_at is None or call.ended_at is None:
            return None
        return _sum(*said, whole_seconds(call.ended_at - open_at))
    left_at = max(visit.left.at for visit in call.served if visit.left is not None)
    return _sum(*said, _union(path for path in call.talks if path.start >= left_at))


def _sum(*lengths: int | None) -> int:
    """Seconds of all that is known, within a record's limit."""
    return min(sum(filter(None, lengths)), MOST_SECONDS)


def _union(talks: Iterable[Path]) -> int:
    """Seconds in which at least one of these rows was in conversation."""
    total, until = timedelta(), None
    for start, length in sorted((path.answered_at or path.start, path.billsec_s or 0) for path in talks):
        end = start + length * SECOND
        total += max(timedelta(), end - (start if until is None else max(start, until)))
        until = end if until is None else max(until, end)
    return whole_seconds(total)


def _ring(call: _Call) -> int | None:
    """Seconds it rang at the one who answered, or longest at those who did not."""
    if call.served:
        connected = call.served[0].connected
        return connected.seconds(2) if connected is not None else None
    if call.talks:
        winner = call.talks[0]
        return max(0, winner.duration_s - (winner.billsec_s or 0)) if winner.duration_s is not None else None
    rung = [path.duration_s for path in call.paths if path.row.dstchannel and path.answer is None]
    return max((seconds for seconds in rung if seconds is not None), default=None)


def _wait(call: _Call) -> int | None:
    """Seconds in queues; None if the call reached none. Without a queue log, from the queue's first row on."""
    if call.visits:
        known = [visit.wait_s for visit in call.visits if visit.wait_s is not None]
        return _sum(*known) if known else None
    if not call.queue_paths:
        return None
    until = max(path.end or path.start for path in call.queue_paths)
    if call.answered_at is not None:
        until = min(until, call.answered_at)
    return whole_seconds(until - call.queue_paths[0].start)


def _events(call: _Call, kind: InteractionType) -> list[Event]:
    found = [event for visit in call.visits for event in _visit_events(visit, call)]
    if not call.visits:
        found += [Event(type="queued", at=path.start, queue=_queue(call)) for path in call.queue_paths[:1]]
    served = bool(call.served)
    for path in call.talks:
        at = path.answered_at or path.start
        if not served or any(visit.left is not None and path.start >= visit.left.at for visit in call.served):
            found.append(Event(type="answered", at=at, agent=_leg_agent(path.row, call.profile, kind)))
    found += [Event(type="voicemail", at=path.start) for path in call.paths if path.is_voicemail]
    found += _attended_transfers(call)
    return sorted(found, key=lambda event: (event.at, _EVENT_ORDER.index(event.type), encode(event)))[:_MOST_PARTS]


def _attended_transfers(call: _Call) -> Iterable[Event]:
    """The rows in which a channel that somebody else had called before now talks: he handed the call over to it.

    A Local channel that called it before is no somebody: it was only optimized away.
    """
    if call.served:
        return
    for path in call.talks:
        by = [
            other.row
            for other in call.paths
            if other.start < path.start
            and other.row.dstchannel == path.row.dstchannel
            and not other.row.channel.startswith((path.row.channel, "Local/"))
        ]
        if by:
            agent = None if call.profile.is_trunk(by[-1].channel) else fit(call.profile.person(by[-1].channel), 200)
            yield Event(type="attended_transfer", at=path.start, agent=agent, number=number(by[-1].dst))


def _visit_events(visit: Visit, call: _Call) -> Iterable[Event]:
    queue = fit(visit.queue, 200)
    if visit.entered is not None:
        yield Event(type="queued", at=visit.entered.at, queue=queue)
    if visit.served is not None and visit.answered_at is not None:
        agent = fit(call.profile.person(visit.served.row.agent), 200)
        yield Event(type="answered", at=visit.answered_at, queue=queue, agent=agent)
    left = visit.left
    if left is None or "TRANSFER" not in left.row.event:
        return
    agent = fit(call.profile.person(left.row.agent), 200)
    if left.row.event == "ATTENDEDTRANSFER":
        detail = fit(" ".join(left.row.parameters[:-3]), 400)
        yield Event(type="attended_transfer", at=left.at, queue=queue, agent=agent, detail=detail)
        return
    onward = any(
        other.entered is not None and other is not visit and other.entered.at >= left.at for other in call.visits
    )
    word: EventType = "queue_transfer" if onward else "blind_transfer"
    target, context = (*left.row.parameters, "", "")[:2]
    yield Event(type=word, at=left.at, queue=queue, agent=agent, number=number(target), detail=fit(context, 400))


def _leg(path: Path, known: Profile, kind: InteractionType) -> Leg:
    row = path.row
    return Leg(
        started_at=path.start,
        answered_at=path.answer,
        ended_at=path.end,
        from_=number(row.src) or number(caller(row)[1]),
        to=number(row.dst),
        channel=fit(row.channel, 200),
        peer_channel=fit(row.dstchannel, 200),
        agent=_leg_agent(row, known, kind),
        application=fit(row.lastapp, 200),
        disposition=fit(row.disposition, 64),
        duration_s=path.duration_s,
        talk_s=path.billsec_s if path.is_person else None,
    )


def _custom(call: _Call) -> dict[str, str | int | float | bool | None]:
    """What has no field of its own: the caller's name, the user field, and how many rows did not fit among the legs."""
    custom: dict[str, str | int | float | bool | None] = {}
    name = next((caller(path.row)[0] for path in call.own_paths if caller(path.row)[0]), "")
    userfield = next((path.row.userfield for path in call.paths if path.row.userfield), "")
    for word, value in (("caller_name", name), ("userfield", userfield)):
        if value:
            custom[word] = fit(value, 1000)
    if len(call.paths) > _MOST_PARTS:
        custom["legs_left_out"] = len(call.paths) - _MOST_PARTS
    return custom


def _flags(call: _Call) -> tuple[Flag, ...]:
    unfinished = not call.paths or any(visit.left is None for visit in call.visits)
    flags: list[tuple[Flag, bool]] = [
        ("provisional", unfinished),
        ("time_suspect", call.is_suspect),
        ("disposition_unknown", any(path.unknown_word for path in call.paths)),
    ]
    return tuple(flag for flag, is_set in flags if is_set)

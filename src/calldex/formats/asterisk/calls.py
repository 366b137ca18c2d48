"""One Asterisk call, put together from its CDR rows and queue events.

Second station of a record on its way in: `reading` has read the rows, ingest has gathered those of one call, and here
they become one `Cdr`. Pure: the same rows give the same record in any order, and nothing is remembered.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import msgspec

from calldex.formats.asterisk.call import Call
from calldex.formats.asterisk.direction import called_number, kind_of, talks_of
from calldex.formats.asterisk.events import events_of
from calldex.formats.asterisk.lengths import cut, lengths_of
from calldex.formats.asterisk.outcome import agent, answered_at, disposition, end_reason, leg_agent, queue
from calldex.formats.asterisk.rows import MOST_SECONDS, CdrPath, caller, decoded, epoch_of, fit, number, whole_seconds
from calldex.formats.asterisk.settings import AsteriskSettings, Profile, profile
from calldex.records.record import Cdr, Event, Flag, InteractionType, Leg, stable_id, time_uuid, to_ms

_MOST_PARTS: Final = 1000


def assemble(texts: Sequence[str], settings: AsteriskSettings, source: str) -> Cdr | None:
    """The call of these rows, whichever order they are in; None if they show no call: only unknown queue events, or
    only rows of contexts that are no calls.

    The uuid hangs on the smallest id (by time, then counter) among the linkedids, uniqueids and callids: that of the
    call's first channel. It changes only if a row arrives that names an older channel, as when a transfer joins what
    were two calls until then, or between rows without linkedid. Rows with no id at all hang on the channel and start of
    the first.
    """
    call = Call([decoded(text) for text in texts], profile(settings))
    if not call.paths and not call.visits and not any(event.row.event == "OUTCALL" for event in call.queue_events):
        return None
    return _cdr(call, source)


def _cdr(call: Call, source: str) -> Cdr:
    kind = kind_of(call)
    talks = talks_of(call, kind) if call.paths else []
    answered = answered_at(call, talks)
    word = disposition(call, kind, answered)
    who, queue_name = agent(call, kind, talks), queue(call)
    lengths = lengths_of(call, talks, answered)
    events, events_left_out = events_of(call, kind, talks, _MOST_PARTS)
    return Cdr(
        uuid=_uuid(call, source),
        type=kind,
        disposition=word,
        started_at=call.started_at,
        answered_at=answered,
        ended_at=lengths.ended_at,
        from_=call.number_from,
        to=called_number(call, kind),
        did=call.did if kind == "inbound" else None,
        end_reason=end_reason(call, word, talks),
        agent=who,
        agent_id=stable_id("agent", who) if who else None,
        queue=queue_name,
        queue_id=stable_id("queue", queue_name) if queue_name else None,
        duration_s=lengths.duration_s,
        talk_s=lengths.talk_s,
        ring_s=lengths.ring_s,
        wait_s=lengths.wait_s,
        events=tuple(_fitting(event, lengths.duration_s) for event in events),
        legs=_legs(call, kind),
        recording=next((fit(path.row.recordingfile, 1000) for path in call.paths if path.row.recordingfile), None),
        external_account_id=next((fit(path.row.accountcode, 64) for path in call.paths if path.row.accountcode), None),
        custom=_custom(call, events_left_out),
        source=source,
        flags=_flags(call, lengths.is_cut or any((event.duration_s or 0) > lengths.duration_s + 1 for event in events)),
    )


def _uuid(call: Call, source: str) -> str:
    if not call.key:
        first = call.paths[0]
        return time_uuid(to_ms(first.start), source, f"{first.row.channel}@{first.row.start or first.row.end}")
    epoch = epoch_of(call.key)
    # An id without a time (ARI lets its user choose) gets none: a start may still change, the uuid must not.
    return time_uuid(to_ms(epoch) if epoch else 0, source, call.key)


def _fitting(event: Event, most: int) -> Event:
    """An event that lasts no longer than its call."""
    return event if (event.duration_s or 0) <= most else msgspec.structs.replace(event, duration_s=most)


def _legs(call: Call, kind: InteractionType) -> tuple[Leg, ...]:
    """The rows as legs, in order of time. Where there are too many, conversations and recordings are kept first, then
    the earliest."""
    paths = call.paths
    if len(paths) > _MOST_PARTS:
        weight = sorted(
            range(len(paths)), key=lambda at: (not paths[at].is_person, not paths[at].row.recordingfile, at)
        )
        paths = [paths[at] for at in sorted(weight[:_MOST_PARTS])]
    return tuple(_leg(path, call.profile, kind) for path in paths)


def _leg(path: CdrPath, known: Profile, kind: InteractionType) -> Leg:
    row, end = path.row, path.end
    longest = MOST_SECONDS if end is None else whole_seconds(end - path.start) + 1
    longest_talk = longest if end is None or path.answer is None else whole_seconds(end - path.answer) + 1
    return Leg(
        started_at=path.start,
        answered_at=path.answer,
        ended_at=end,
        from_=number(row.src) or number(caller(row)[1]),
        to=number(row.dst),
        channel=fit(row.channel, 200),
        peer_channel=fit(row.dstchannel, 200),
        agent=leg_agent(row, known, kind),
        application=fit(row.lastapp, 200),
        disposition=fit(row.disposition, 64),
        duration_s=cut(path.duration_s, longest),
        talk_s=cut(path.billsec_s, min(longest, longest_talk)) if path.is_person else None,
        recording=fit(row.recordingfile, 1000),
    )


def _custom(call: Call, events_left_out: int) -> dict[str, str | int | float | bool | None]:
    """What has no field of its own: the caller's name, the user field, and how many legs and events did not fit."""
    custom: dict[str, str | int | float | bool | None] = {}
    name = next((caller(path.row)[0] for path in call.own_paths if caller(path.row)[0]), "")
    userfield = next((path.row.userfield for path in call.paths if path.row.userfield), "")
    for word, value in (("caller_name", name), ("userfield", userfield)):
        if value:
            custom[word] = fit(value, 1000)
    if len(call.paths) > _MOST_PARTS:
        custom["legs_left_out"] = len(call.paths) - _MOST_PARTS
    if events_left_out:
        custom["events_left_out"] = events_left_out
    return custom


def _flags(call: Call, is_cut: bool) -> tuple[Flag, ...]:
    flags: list[tuple[Flag, bool]] = [
        ("provisional", call.is_open),
        ("time_suspect", call.is_suspect or is_cut),
        ("disposition_unknown", any(path.unknown_word for path in call.paths)),
    ]
    return tuple(flag for flag, is_set in flags if is_set)

"""How long a call took and what of it was talk, waiting and ringing: lengths that fit each other and the call.

The source counts some of them itself, others follow from times. Where the two contradict each other the record does
not: what the source counted is cut to what the times leave, or, where the times are known to be wrong, the call is
taken to last as long as what happened in it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta

import msgspec

from calldex.formats.asterisk.call import Call
from calldex.formats.asterisk.rows import MOST_SECONDS, SECOND, CdrPath, is_local, whole, whole_seconds


class Lengths(msgspec.Struct, frozen=True):
    """The lengths of a call in seconds, its end, and whether something had to be cut to fit."""

    ended_at: datetime | None
    duration_s: int
    talk_s: int | None
    ring_s: int | None
    wait_s: int | None
    is_cut: bool


def lengths_of(call: Call, talks: Sequence[CdrPath], answered_at: datetime | None) -> Lengths:
    """The lengths of a call that was answered then, if it was."""
    talk = _talk(call, talks) if answered_at is not None else None
    wait, ring = _wait(call, answered_at), _ring(call, talks)
    duration, ended_at = _duration(call), call.ended_at
    if call.is_suspect:
        duration = max(duration, _sum(wait, talk))
        if ended_at is not None:
            ended_at = max(ended_at, call.started_at + duration * SECOND)
    talk_fits = duration
    if answered_at is not None and ended_at is not None:
        talk_fits = min(duration, whole_seconds(ended_at - answered_at) + 1)
    fitting_talk = cut(talk, talk_fits)
    fitting_wait = cut(wait, duration - (fitting_talk or 0))
    over = _sum(talk, wait) - _sum(fitting_talk, fitting_wait)
    fitting_ring = cut(ring, duration - (fitting_talk or 0))
    return Lengths(ended_at, duration, fitting_talk, fitting_ring, fitting_wait, over > 1 + len(call.visits))


def cut(length: int | None, most: int) -> int | None:
    """A length as far as it fits."""
    return None if length is None else min(length, most)


def _sum(*lengths: int | None) -> int:
    """Seconds of all that is known, within a record's limit."""
    return min(sum(filter(None, lengths)), MOST_SECONDS)


def _duration(call: Call) -> int:
    """Seconds from start to end, or to the last thing known. If one row is the whole call, what the PBX counted: it
    knows the fractions of seconds that the times of the row lack."""
    end = call.ended_at or call.last_seen
    by_times = whole_seconds(end - call.started_at)
    counted = [
        path.duration_s
        for path in call.paths
        if path.start == call.started_at and path.end == end and path.duration_s is not None
    ]
    return max((seconds for seconds in counted if abs(seconds - by_times) <= 1), default=by_times)


def _talk(call: Call, talks: Sequence[CdrPath]) -> int | None:
    """Seconds talked to persons: what the queues say, and the rows that begin when they have let go of the caller; None
    while somebody still talks."""
    if not call.served:
        return None if call.is_open else _union(talks)
    said = [visit.talk_s for visit in call.served]
    finishes = [visit.finish for visit in call.served if visit.finish is not None]
    if None in said or len(finishes) < len(said):
        return None
    left_at = max(finishes)
    return _sum(*said, _union(path for path in talks if path.start >= left_at))


def _union(talks: Iterable[CdrPath]) -> int:
    """Seconds in which at least one of these rows was in conversation."""
    total, until = timedelta(), None
    for start, length in sorted((path.answered_at or path.start, path.billsec_s or 0) for path in talks):
        end = start + length * SECOND
        total += max(timedelta(), end - (start if until is None else max(start, until)))
        until = end if until is None else max(until, end)
    return whole_seconds(total)


def _ring(call: Call, talks: Sequence[CdrPath]) -> int | None:
    """Seconds it rang at the one who answered, or longest at those who did not."""
    if call.served:
        connected = call.served[0].connected
        return connected.seconds(2) if connected is not None else None
    if talks:
        return _rung(call, talks[0])
    rung = [path.duration_s for path in call.paths if path.row.dstchannel and path.answer is None]
    return max((seconds for seconds in rung if seconds is not None), default=None)


def _rung(call: Call, winner: CdrPath) -> int | None:
    """Seconds it rang until a row's answer. A row that begins with the answer, because a Local channel was optimised
    away, has its ringing in the row that called the same telephone before, or in the one that called the Local one."""
    if winner.duration_s is None:
        return None
    rung = max(0, winner.duration_s - (winner.billsec_s or 0))
    if rung:
        return rung
    answered = winner.answered_at or winner.start
    callee = whole(winner.row.dstchannel)
    before = [
        path.start
        for path in call.paths
        if path.start < winner.start
        and (
            whole(path.row.dstchannel) == callee
            or (path.row.channel == winner.row.channel and is_local(path.row.dstchannel) and path.end == winner.start)
        )
    ]
    return whole_seconds(answered - max(before)) if before else rung


def _wait(call: Call, answered_at: datetime | None) -> int | None:
    """Seconds in queues; None if the call reached none. Without a queue log, from the queue's first row on."""
    if call.visits:
        known = [visit.wait_s for visit in call.visits if visit.wait_s is not None]
        return _sum(*known) if known else None
    if not call.queue_paths:
        return None
    until = max(path.end or path.start for path in call.queue_paths)
    if answered_at is not None:
        until = min(until, answered_at)
    return whole_seconds(until - call.queue_paths[0].start)

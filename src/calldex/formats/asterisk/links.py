"""How the rows of a call find each other: the names of channels that they share (`Row.links`).

* A CDR row has its linkedid and its uniqueid, a queue_log row its callid, which is the uniqueid of the caller, and in
  CONNECT the uniqueid of the agent's leg. All are names of channels and are one kind of link. A transfer rewrites the
  linkedid of the channels it joins to the oldest one, rows already written keep the old one.
* A consultation before a transfer keeps its own ids, and the row after the transfer has those of the caller: they have
  the channel of whoever was consulted in common, which the one row lost when the other got it. So each channel is a
  link as well, with the minutes in which the row began and ended.
* Without a linkedid (old tables, the shipped cdr_custom) every minute of the row counts, since nothing else ties the
  rows of a Local channel's halves. Both halves are one channel.
* Only names numbered by a counter count where a row has an id: before it the suffix was a memory address, which the
  next call may get within the second.
* A row that has nothing of this is a call of its own. Events of queues and agents (QUEUESTART, PAUSE, ...) are no call.

Rows keep the links with which they came until their source is rebuilt, so what is made here must go on to meet what
was made before.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Final

from calldex.formats.asterisk.rows import SECOND, UNIQUEID, CdrRow, QueueRow, plain
from calldex.formats.asterisk.settings import local_time

ID_LENGTH: Final = 150
"""Characters that Asterisk gives an id."""
_NUMBERED: Final = re.compile(r"(.+-[0-9a-f]{8})(?:;[12])?")
"""The name of a channel in an Asterisk that writes linkedids: all suffixes come from a counter."""
_COUNTED: Final = re.compile(r"(.+-(?:00[0-9a-f]{6}|[0-9a-f]{4}(?=[;,])))(?:[;,][12])?")
"""The name of a channel whose suffix surely comes from a counter."""
ANY_CHANNEL: Final = re.compile(r"(.+-[0-9a-f]{4,16})(?:[;,][12])?")
_MOST_MINUTES: Final = 120
_HANDED_OVER: Final = 2 * SECOND
"""How far the end of a row and the start of the next one of a channel may lie apart."""
_NO_CALL: Final = frozenset(("", "NONE", "CLI", "MANAGER", "REALTIME"))
_NO_CALLER: Final = frozenset(
    (
        *("ADDMEMBER", "REMOVEMEMBER", "PAUSE", "UNPAUSE", "PAUSEALL", "UNPAUSEALL", "PENALTY", "RINGINUSE"),
        *("AGENTLOGIN", "AGENTLOGOFF", "AGENTCALLBACKLOGIN", "AGENTCALLBACKLOGOFF", "CONFIGRELOAD", "QUEUESTART"),
    )
)
"""Events about agents and queues; the channel they name is who asked for them, not a caller in a queue."""


def cdr_links(row: CdrRow, key: bytes) -> tuple[str, ...]:
    """The links of a CDR row; its own key if it has nothing that another row could share."""
    links = [f"id:{name}" for name in dict.fromkeys((row.linkedid, row.uniqueid)) if name]
    counted = _NUMBERED if row.linkedid else _COUNTED if row.uniqueid else ANY_CHANNEL
    matches = (counted.fullmatch(plain(name)) for name in (row.channel, row.dstchannel))
    names = dict.fromkeys(match[1] for match in matches if match)
    minutes = _edges(row) if row.linkedid else _minutes(row)
    links += [f"ch:{name}@{minute:%Y%m%d%H%M}" for name in names for minute in minutes]
    return tuple(links) or (f"row:{key.hex()}",)


def queue_links(row: QueueRow) -> tuple[str, ...]:
    """The links of a queue event; none if it is about no call."""
    if row.callid in _NO_CALL or row.event in _NO_CALLER:
        return ()
    leg = row.parameters[1] if row.event == "CONNECT" and len(row.parameters) > 1 else ""
    if leg != row.callid and UNIQUEID.fullmatch(leg) and len(leg) <= ID_LENGTH:
        return f"id:{row.callid}", f"id:{leg}"
    return (f"id:{row.callid}",)


def _span(row: CdrRow) -> tuple[datetime, datetime] | None:
    """When a row began and ended by the PBX's clock; tables without an end have a length."""
    start, end = local_time(row.start), local_time(row.end)
    first = start or end
    if end is None and first is not None and row.duration:
        end = first + timedelta(seconds=max(0.0, float(row.duration)))
    return None if first is None else (first, max(first, end or first))


def _edges(row: CdrRow) -> Iterable[datetime]:
    """The minutes of the PBX's clock in which a row began and ended, or another one may have just before or after."""
    span = _span(row)
    if span is None:
        return ()
    moments = (span[0] - _HANDED_OVER, span[0], span[1], span[1] + _HANDED_OVER)
    return dict.fromkeys(moment.replace(second=0, microsecond=0) for moment in moments)


def _minutes(row: CdrRow) -> Iterable[datetime]:
    """The minutes of the PBX's clock in which a row was open; of a row beyond two hours its first and last hour."""
    span = _span(row)
    if span is None:
        return ()
    first, last = (moment.replace(second=0, microsecond=0) for moment in span)
    count = (last - first) // timedelta(minutes=1) + 1
    kept = range(count) if count <= _MOST_MINUTES else (*range(60), *range(count - 60, count))
    return [first + timedelta(minutes=minute) for minute in kept]

"""Missed and not returned: which calls nobody took, and what became of their callers. Pure.

A missed call is an inbound one whose outcome is one of `MISSED`. Of what happened since, the first counts: an answered
call that went out to the caller's number (`returned`), or an answered inbound one from it (`answered_later`); `open` if
neither began within so many hours. Numbers are the same that filters find the same, letters A to Z in any case; a
number that is withheld is no number, so such calls stay open and are nobody's but their own. All of it is told by the
records within the reader's reach, as of one commit, and by no clock: a walk gives it the same on every page.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from calldex.records.fields import CALLBACK_STATES
from calldex.records.record import DISPOSITIONS, INTERACTION_TYPES, Cdr, Disposition, InteractionType
from calldex.search.query import Condition

HOUR_MS: Final = 3_600_000
MISSED: Final[tuple[Disposition, ...]] = (
    "failed",
    "busy",
    "no_answer",
    "rejected",
    "abandoned",
    "missed",
    "system_abandoned",
    "answered_by_VM",
    "system_reject",
    "route_unavailable",
)
OUTGOING: Final[tuple[InteractionType, ...]] = (
    "outbound",
    "dialer",
    "click_to_call",
    "queue_callback",
    "scheduled_callback",
)
MISSED_CODES: Final = tuple(DISPOSITIONS.index(word) + 1 for word in MISSED)
OUTGOING_CODES: Final = tuple(INTERACTION_TYPES.index(word) + 1 for word in OUTGOING)
INBOUND_CODE: Final = INTERACTION_TYPES.index("inbound") + 1
ANSWERED_CODE: Final = DISPOSITIONS.index("answered") + 1
OPEN, RETURNED, ANSWERED_LATER = range(1, len(CALLBACK_STATES) + 1)


def is_missed(record: Cdr) -> bool:
    """Whether a record is one of a missed call."""
    return record.type == "inbound" and record.disposition in MISSED


def states(conditions: Sequence[Condition]) -> tuple[int, ...]:
    """The states that these conditions leave."""
    left = set(range(1, len(CALLBACK_STATES) + 1))
    for condition in conditions:
        left = left - set(condition.values) if condition.negated else left & set(condition.values)
    return tuple(sorted(left))

"""Marks on missed calls: that somebody took care of one."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Final

import msgspec

from calldex.access import Permission
from calldex.admin.verb import Call, Nothing, Verb
from calldex.directory import MissedMark
from calldex.directory.model import refuse, text_problem
from calldex.errors import Conflict, NotFound
from calldex.records.record import Uuid, from_ms, plain_uuid, to_ms
from calldex.search.missed import is_missed

MARK: Final[tuple[Permission, ...]] = ("mark_missed",)
LONGEST_NOTE: Final = 500


class NewMark(msgspec.Struct, frozen=True, kw_only=True):
    """A mark: with a note, if there is something to say."""

    note: Annotated[str, msgspec.Meta(max_length=LONGEST_NOTE)] | None = None


class Mark(msgspec.Struct, frozen=True, kw_only=True):
    """A mark on a missed call: which call, by whom (their e-mail address), when, and what they noted; the note is null
    for those who see no full numbers, as it may hold one."""

    uuid: Uuid
    by: str
    at: datetime
    note: str | None


def mark_of(mark: MissedMark, *, masked: bool = False) -> Mark:
    """A mark as it is told."""
    return Mark(uuid=mark.uuid, by=mark.by, at=from_ms(mark.at_ms), note=None if masked else mark.note)


def mark_missed(call: Call, new: NewMark) -> Mark:
    """Mark a missed call as done.

    The call is one within reach that nobody took. A mark that is there is replaced, whoever set it.
    """
    if new.note is not None:
        refuse(text_problem("note", new.note, LONGEST_NOTE))
    uuid = _uuid(call)
    record = call.node.record(call.actor, uuid)
    if not is_missed(record):
        raise Conflict(f"{uuid} is no missed call: it is {record.type} and {record.disposition}")
    found = call.directory.put_mark(
        call.actor.account_id, uuid, to_ms(record.started_at), call.actor.email, new.note or None
    )
    return mark_of(found)


def unmark_missed(call: Call, _: Nothing) -> None:
    """Take the mark of a missed call away."""
    uuid = _uuid(call)
    call.node.record(call.actor, uuid)
    call.directory.remove_mark(call.actor.account_id, uuid)


def _uuid(call: Call) -> str:
    uuid = plain_uuid(call.subject)
    if uuid is None:
        raise NotFound(f"there is no record {call.subject[:100]!r}: that is no uuid")
    call.noted.target = uuid
    return uuid


VERBS: Final = (
    Verb("PUT", "/api/v2/cdr/missed/{uuid}/mark", mark_missed, MARK, "missed_marked"),
    Verb("DELETE", "/api/v2/cdr/missed/{uuid}/mark", unmark_missed, MARK, "missed_unmarked"),
)

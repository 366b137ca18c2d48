"""Calls to send to a CRM, and a pipe's memory."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final, TypeVar

import msgspec

from calldex.sync.crm.base import Crm
from calldex.sync.destinations import Batch, Change, Context, Failed

D = TypeVar("D", bound=Crm)

BEGAN: Final = datetime(2026, 11, 2, 9, 0, tzinfo=UTC)
CUSTOMERS: Final = 7


def uuid_of(at: int) -> str:
    """The uuid of the call of this place."""
    return f"01980c1e-6f3a-8d21-9a3b-{at:012x}"


def customer(at: int) -> str:
    """The number of the customer of the call of this place, as records have it."""
    return f"44770090{at % CUSTOMERS:04}"


def call(at: int, **other: Any) -> dict[str, Any]:
    """A record, as Calldex serves it: the calls of even places are inbound, every third one was not answered."""
    own = "442079460018"
    inbound = at % 2 == 0
    begin = BEGAN + timedelta(minutes=at)
    return {
        "uuid": uuid_of(at),
        "timestamp": begin.strftime("%Y-%m-%dT%H:%M:%SZ"),
        "type": "inbound" if inbound else "dialer",
        "from": customer(at) if inbound else own,
        "to": own if inbound else customer(at),
        "did": own if inbound else None,
        "duration": "00:01:30",
        "disposition": "answered" if at % 3 else "abandoned",
        "agent": "Ann Lee",
        "agent_id": 7,
        "started_at": begin.isoformat().replace("+00:00", "Z"),
        "ended_at": (begin + timedelta(seconds=90)).isoformat().replace("+00:00", "Z"),
        "duration_s": 90,
        "talk_s": 60 if at % 3 else None,
        "queue": "Sales",
        "wrapup_code": "sold",
        "wrapup_description": "Sold",
        **other,
    }


def changed(records: Sequence[dict[str, Any]]) -> Batch:
    """These records are new or changed."""
    return Batch([Change.of(record["uuid"], at, record) for at, record in enumerate(records)])


def erased(*at: int) -> Batch:
    """The records of these places are no more."""
    return Batch([Change(uuid_of(one), 0, None) for one in at])


def destination(kind: type[D], memory: dict[str, str] | None = None, **options: Any) -> D:
    """A destination with these options, and what it remembers."""
    read = msgspec.convert({"timeout_s": 5, **options}, kind.Options)
    return kind(read, Context("calls", "main", (), {} if memory is None else memory))


def words(failed: Sequence[Failed]) -> dict[str, tuple[str, bool]]:
    """Of each that failed, why, and whether it is tried again."""
    return {one.uuid: (one.message, one.retry) for one in failed}

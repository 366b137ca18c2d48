"""Calls from the rows of a source: those that belong together are gathered, and their format makes a record of them.

Writes nothing; `pipeline` does with rows that come in, `rebuild` with those that are kept.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from collections.abc import Set as AbstractSet

import msgspec

from calldex.directory import Directory
from calldex.formats import FormatSettings, RecordFormat, RowFormat
from calldex.ingest.workers import sourced
from calldex.records.record import CallRow, Cdr, canonical, to_ms
from calldex.store import Batch


class Feed(msgspec.Struct, frozen=True, kw_only=True):
    """Where pieces come from and how they are read: a source with its format and settings, or a format alone.

    `source` is the source's name, empty where there is none.
    """

    account_id: int
    source: str
    format: RecordFormat | RowFormat
    settings: FormatSettings


def grouped(rows: Iterable[CallRow]) -> list[list[CallRow]]:
    """The rows, those together that share a link, directly or through others."""
    call_of: dict[str, list[CallRow]] = {}
    calls: dict[int, list[CallRow]] = {}
    for row in rows:
        joined = {id(call): call for link in row.links if (call := call_of.get(link)) is not None}
        call = max(joined.values(), key=len, default=[])
        for other in joined.values():
            if other is not call:
                call += other
                del calls[id(other)]
                for moved in other:
                    call_of.update(dict.fromkeys(moved.links, call))
        call.append(row)
        call_of.update(dict.fromkeys(row.links, call))
        calls[id(call)] = call
    return list(calls.values())


def records_of(batch: Batch) -> list[Cdr]:
    """The records of calls of a batch."""
    return [record for record in batch.records if isinstance(record, Cdr)]


def assembled(
    directory: Directory, feed: Feed, format_: RowFormat, calls: Sequence[Sequence[CallRow]], new: AbstractSet[bytes]
) -> Batch:
    """The records of some calls, the rows that are new or belong to another call now, and the uuids that no call
    has any more."""
    records: list[Cdr] = []
    removed: set[str] = set()
    changed: list[CallRow] = []
    for call in calls:
        before = {row.uuid for row in call if row.uuid is not None}
        record = format_.assemble(call, feed.settings, feed.source) if call[0].links else None
        if record is not None:
            records.append(sourced(canonical(_in_teams(directory, feed.account_id, record)), feed.source))
        uuid = None if record is None else record.uuid
        removed |= before - {uuid}
        changed += [msgspec.structs.replace(r, uuid=uuid) for r in call if r.key in new or r.uuid != uuid]
    return Batch(
        account_id=feed.account_id,
        source=feed.source,
        format=feed.format.name,
        origin="",
        records=records,
        removed=sorted(removed - {record.uuid for record in records}),
        rows=changed,
    )


def _in_teams(directory: Directory, account_id: int, record: Cdr) -> Cdr:
    """The record with the teams in which the directory has its agent when the call began, if it names none: rows
    of phone systems know no teams."""
    if record.agent_id is None or record.teams:
        return record
    teams = directory.teams_at(account_id, record.agent_id, to_ms(record.started_at))
    return msgspec.structs.replace(record, teams=teams) if teams else record

"""What began and what ended in the ledger behind a commit: the rows of the change feed. Reads alone."""

from __future__ import annotations

from uuid import UUID

from calldex.search.query import Query
from calldex.store import Change, Changes
from calldex.store.embedded import sqlite
from calldex.store.sql import SQLITE, meant


def begun(reader: sqlite.Connection, query: Query, after: int, limit: int, complete_ms: int) -> Changes:
    """See `Store.changes`. `complete_ms`: of all that is there, if this is."""
    condition = meant(query, SQLITE)
    found = sqlite.rows(
        reader,
        "SELECT seq, uuid, written_ms, fits, erased, CASE WHEN fits THEN json END FROM ("
        f"SELECT *, json IS NULL AS erased, json IS NOT NULL AND {condition.text} AS fits FROM version"
        " WHERE seq > ? AND account_id = ? ORDER BY seq LIMIT ?)",
        (*condition.parameters, after, query.scope.account_id, limit + 1),
    )
    changes = [
        Change(seq, str(UUID(bytes=uuid)), at, bool(fits), bool(erased), None if json is None else json.encode())
        for seq, uuid, at, fits, erased, json in found[:limit]
    ]
    if len(found) > limit:
        return Changes(changes, changes[-1].seq, True, changes[-1].at_ms)
    return Changes(changes, changes[-1].seq if changes else after, False, complete_ms)


def superseded(reader: sqlite.Connection, query: Query, after: int, since: int, upto: int) -> dict[str, int]:
    """See `Store.superseded`."""
    condition = meant(query, SQLITE)
    found = sqlite.rows(
        reader,
        "SELECT uuid, seq_to FROM version WHERE seq_to > ? AND seq_to <= ? AND seq <= ? AND json IS NOT NULL"
        f" AND {condition.text}",
        (since, upto, after, *condition.parameters),
    )
    return {str(UUID(bytes=uuid)): seq_to for uuid, seq_to in found}


def commit_before(reader: sqlite.Connection, last_seq: int, ms: int) -> int:
    """The greatest number of a commit made before an instant, found by halving; 0 if there is none."""
    low, high = 0, last_seq
    while low < high:
        middle = (low + high + 1) // 2
        found = sqlite.rows(
            reader, "SELECT seq, written_ms FROM version WHERE seq <= ? ORDER BY seq DESC LIMIT 1", (middle,)
        )
        if not found or found[0][1] < ms:
            low = middle
        else:
            high = found[0][0] - 1
    return low

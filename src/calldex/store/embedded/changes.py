"""What began and what ended in the ledger behind a commit: the rows of the change feed. Reads alone."""

from __future__ import annotations

from array import array
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING
from uuid import UUID

from calldex.search.query import Query
from calldex.store import Change, Changes
from calldex.store.embedded import sqlite
from calldex.store.embedded.dialect import SQLITE
from calldex.store.embedded.numbering import NUMBER
from calldex.store.sql import LIVE, meant, numbered, uuid_bytes

if TYPE_CHECKING:
    from calldex.store.embedded.ledger import Ledger


class LedgerLog:
    """See `ChangeLog`: of the ledger, whatever state the columns are in."""

    def __init__(self, ledger: Ledger, refuse: Callable[[Query], None]) -> None:
        """`refuse` raises `StoreNotReady` for a search that asks for values that are not all there yet."""
        self._ledger, self._numbering, self._refuse = ledger, ledger.numbering, refuse

    def since(self, query: Query, after: int, base: int, limit: int) -> Changes:
        """See `ChangeLog.since`. What others wrote behind the account's last version is not looked at."""
        self._refuse(query)
        account_id = query.scope.account_id
        condition = meant(numbered(query, self._ledger.commit_before), SQLITE)
        complete_ms = self._ledger.complete_ms
        own = self._numbering.last(account_id)
        begun, *places = self._places(account_id, base, after, own)
        # By their places, what others wrote in between is passed; by the index, all that the account ever wrote.
        way = "INDEXED BY version_uuid" if own * own < limit * (places[1] - places[0]) else "NOT INDEXED"
        with self._ledger.reader() as reader, sqlite.snapshot(reader):
            found = sqlite.rows(
                reader,
                f"SELECT seq, uuid, written_ms, seq_to > ? AND {condition.text}, seq_to < 0"
                f" FROM version {way} WHERE seq > ? AND seq <= ? AND account_id = ? ORDER BY seq LIMIT ?",
                (begun, *condition.parameters, *places, account_id, limit + 1),
            )
            more = len(found) > limit
            del found[limit:]
            self._ledger.versions.refuse_damaged(row[0] for row in found)
            json = self._ledger.versions.joined_by(reader, array("q", (row[0] for row in found if row[3]))).json
        if not found:
            return Changes([], b"", after, False, complete_ms)
        numbers = self._numbering.numbers(account_id, [row[0] for row in found])
        changes = [
            Change(number, uuid, at_ms, bool(fits), bool(erased))
            for number, (_, uuid, at_ms, fits, erased) in zip(numbers, found, strict=True)
        ]
        return Changes(changes, json, numbers[-1], more, changes[-1].at_ms if more else complete_ms)

    def superseded(self, query: Query, after: int, since: int, upto: int) -> dict[bytes, int]:
        """See `ChangeLog.superseded`."""
        self._refuse(query)
        condition = meant(numbered(query, self._ledger.commit_before), SQLITE)
        with self._ledger.reader() as reader:
            found = sqlite.rows(
                reader,
                f"SELECT uuid, {NUMBER.format('version.seq_to')} FROM version INDEXED BY version_closed"
                f" WHERE seq_to > ? AND seq_to <= ? AND seq_to < {LIVE} AND seq <= ? AND json IS NOT NULL"
                f" AND {condition.text}",
                (*self._places(query.scope.account_id, since, upto, after), *condition.parameters),
            )
        return dict(found)

    def written(self, account_id: int, uuids: Sequence[str], as_of: int) -> dict[str, int]:
        """See `Store.written`."""
        (seq,) = self._places(account_id, as_of)
        with self._ledger.reader() as reader:
            found = sqlite.rows(
                reader,
                "SELECT uuid, written_ms FROM carray(?) CROSS JOIN version ON account_id = ? AND uuid = value"
                " WHERE seq <= ? AND seq_to > ?",
                (sqlite.carray(tuple(map(uuid_bytes, uuids))), account_id, seq, seq),
            )
        return {str(UUID(bytes=uuid)): written_ms for uuid, written_ms in found}

    def last(self, account_id: int) -> int:
        """See `ChangeLog.last`."""
        return self._numbering.last(account_id)

    def before(self, account_id: int, at_ms: int) -> int:
        """See `ChangeLog.before`."""
        return self._numbering.number(account_id, self._ledger.commit_before(at_ms))

    def _places(self, account_id: int, *numbers: int) -> tuple[int, ...]:
        """Where versions of an account lie in the ledger, by their numbers."""
        return tuple(self._numbering.seq(account_id, number) for number in numbers)

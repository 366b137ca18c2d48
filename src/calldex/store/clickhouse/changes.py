"""What was published behind a commit: the rows of the change feed, on ClickHouse. Reads alone."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

from calldex.clock import now_ms
from calldex.search.query import Query
from calldex.store import Change, Changes, Span
from calldex.store.clickhouse.dialect import CDR_TABLE, CLICKHOUSE, ended, not_void
from calldex.store.sql import Sql, conjunction, meant

if TYPE_CHECKING:
    from calldex.store.clickhouse import ClickhouseStore

DATED_MS: Final = 60_000
"""Within this time after it was dated a commit is to be published, or it is given up."""
_UNPUBLISHED_MS: Final = DATED_MS + 30_000
"""A commit is published at most so long after it was dated, by whichever node's clock: the directory takes its time."""


class PublishedLog:
    """See `ChangeLog`."""

    def __init__(self, store: ClickhouseStore) -> None:
        self._store = store

    def since(self, query: Query, after: int, base: int, limit: int) -> Changes:
        """See `ChangeLog.since`."""
        self._store.upgrade.refuse(query)
        complete_ms = now_ms() - _UNPUBLISHED_MS
        account_id = query.scope.account_id
        point = self._store.fresh(account_id)
        rows: list[tuple[Any, ...]] = []
        upto, wide = after, limit + 1
        while len(rows) <= limit and upto < point.seq:
            span = Span(upto + 1, min(upto + wide, point.seq))
            rows += self._begun(query, span, point.void, limit + 1 - len(rows))
            upto, wide = span.last, 8 * wide
        over = frozenset[int]()
        if after < base and rows:
            over = self._ended(account_id, rows[0][0], rows[-1][0], base, point.void)
        changes = [
            Change(seq, uuid, at, bool(meant_) and seq not in over, not content)
            for seq, uuid, at, content, meant_, _ in rows[:limit]
        ]
        json = b"\n".join(row[5] for row, change in zip(rows, changes, strict=False) if change.matches)
        if len(rows) > limit:
            return Changes(changes, json, changes[-1].seq, True, changes[-1].at_ms)
        if changes:  # of one account each commit is dated in its turn, after those before it
            complete_ms = max(complete_ms, changes[-1].at_ms)
        return Changes(changes, json, changes[-1].seq if changes else after, False, complete_ms)

    def _begun(self, query: Query, span: Span, void: Sequence[Span], limit: int) -> list[tuple[Any, ...]]:
        """The first versions that began within a span. Numbers follow each other but for those that are void or purged,
        so a span as long as the page has nearly all of it: the JSON of what lies behind would be read for nothing,
        which is everything for who begins."""
        account_id = query.scope.account_id
        fits = meant(query, CLICKHOUSE)
        begun = conjunction(
            Sql("account_id = ? AND seq BETWEEN ? AND ?", (account_id, span.first, span.last)),
            Sql("(content = 1 OR seq_to = seq)"),
            *not_void("seq", void),
        )
        return self._store.hosts.rows(
            Sql(
                "SELECT seq, uuid, written_ms, content,"
                f" content = 1 AND {fits.text} AS fits, if(fits, json, '') AS text"
                f" FROM {CDR_TABLE} WHERE {begun.text} ORDER BY seq LIMIT 1 BY seq LIMIT ?",
                (*fits.parameters, *begun.parameters, limit),
            )
        )

    def _ended(self, account_id: int, first: int, last: int, base: int, void: Sequence[Span]) -> frozenset[int]:
        """Which of the versions with these numbers ended by a commit. The end may stand in a row of its own."""
        end = conjunction(
            Sql("account_id = ? AND seq BETWEEN ? AND ?", (account_id, first, last)),
            ended(base, void),
        )
        rows = self._store.hosts.rows(Sql(f"SELECT seq FROM {CDR_TABLE} WHERE {end.text}", end.parameters))
        return frozenset(seq for (seq,) in rows)

    def superseded(self, query: Query, after: int, since: int, upto: int) -> dict[bytes, int]:
        """See `ChangeLog.superseded`. The end of a version may stand in a row of its own."""
        self._store.upgrade.refuse(query)
        account_id = query.scope.account_id
        void = self._store.fresh(account_id).void
        end = conjunction(
            Sql("account_id = ? AND seq <= ?", (account_id, after)),
            Sql("seq_to > ? AND seq_to <= ?", (since, upto)),
            *not_void("seq_to", void),
        )
        fits = conjunction(
            meant(query, CLICKHOUSE),
            Sql("content = 1 AND seq <= ?", (after,)),
            *not_void("seq", void),
            Sql(f"seq IN (SELECT seq FROM {CDR_TABLE} WHERE {end.text})", end.parameters),
        )
        rows = self._store.hosts.rows
        ends = dict(rows(Sql(f"SELECT seq, seq_to FROM {CDR_TABLE} WHERE {end.text}", end.parameters)))
        found = rows(Sql(f"SELECT uuid, seq FROM {CDR_TABLE} WHERE {fits.text}", fits.parameters))
        return {uuid: ends[seq] for uuid, seq in found if seq in ends}

    def last(self, account_id: int) -> int:
        """See `ChangeLog.last`."""
        return self._store.fresh(account_id).seq

    def before(self, account_id: int, at_ms: int) -> int:
        """See `ChangeLog.before`."""
        point = self._store.fresh(account_id)
        condition = conjunction(
            Sql("account_id = ? AND seq <= ? AND written_ms BETWEEN 1 AND ?", (account_id, point.seq, at_ms - 1)),
            *not_void("seq", point.void),
        )
        found = self._store.hosts.rows(
            Sql(f"SELECT max(seq) FROM {CDR_TABLE} WHERE {condition.text}", condition.parameters)
        )
        return int(found[0][0]) if found else 0

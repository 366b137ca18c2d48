"""The columns: DuckDB answers questions. Derived: they hold nothing that the ledger lacks, and are made again from it
when in doubt.

One table of versions, and one of what is combined in them (see `combinations`), without any index or constraint
(DuckDB's lose rows, see `docs/decisions`), appended in the order of commits.
`applied` is the last commit it has taken in, changed in the same transaction, so what a query sees is always a whole
number of commits. `engine` is the engine, with the file open.

Beside the table it keeps in memory how many live records of each account began in each quarter of an hour. From that
come the total of an unfiltered search, and the stretch of time in which a page's records must lie: a page costs what
it holds, not what the store holds.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from operator import itemgetter
from pathlib import Path
from typing import Any, Final, NamedTuple
from uuid import UUID

import msgspec
import numpy as np
import structlog
from cachetools import LRUCache

from calldex.access import Scope
from calldex.errors import CalldexError
from calldex.records.fields import Op
from calldex.search.query import Query
from calldex.search.statistics import Grouping
from calldex.store import Mentioned, MissedAsk, MissedLine, Position, callbacks
from calldex.store.aggregates import aggregated
from calldex.store.embedded.by_time import BUCKET_MS, EARLIEST, ByTime
from calldex.store.embedded.combinations import COMBINED, NO_COMBINATION, Combination, Combinations, reach_of
from calldex.store.embedded.dialect import DUCKDB, DUCKDB_FUNCTIONS, DUCKDB_WORDS
from calldex.store.embedded.engine import VERSION, Damaged, Engine, Error, changing
from calldex.store.embedded.index import SEGMENT, Index, halves, is_narrow
from calldex.store.embedded.indexing import INDEXED, SUMS, day_of, indexed
from calldex.store.embedded.schema import COLUMNS
from calldex.store.embedded.segment import Array, Rows
from calldex.store.embedded.versions import ROW_NAMES, Closing
from calldex.store.sql import Sql, conjunction, following, layout, where

_FIRST_LAYOUT: Final = "cd05d5b0940d32cf394902f5e328b595236f6447230fae6acc2a5491fb6e4978"
"""What columns of schema version 1, written by DuckDB 2, are marked with."""
_NEWEST_FIRST: Final = "ORDER BY started_ms DESC, uuid DESC"
_DIRECT_SKIP: Final = 10_000
_FAR: Final = 10**9
_AT_LEAST: Final = 2048
"""Rows that DuckDB looks at together: looking at fewer costs as much, and looking again as much as the first time."""
_TOTALS: Final = 4096
"""Of so many searches the total is remembered."""
_MENTIONS: Final = 256
"""Of so many scopes it is remembered what their records name."""
_BUCKET: Final = f"((started_ms + {_FAR * BUCKET_MS}) // {BUCKET_MS} - {_FAR})"
"""The bucket of a record, before 1970 as well: DuckDB divides towards zero, Python downwards."""
_COUNTED: Final = (
    f"SELECT account_id, {_BUCKET} AS bucket, count(*) FILTER (seq_to > $applied), max(seq),"
    " max(seq_to) FILTER (seq_to <= $applied) FROM kept.cdr GROUP BY account_id, bucket ORDER BY bucket"
)
"""What `ByTime.load` takes."""

Seqs = np.ndarray[tuple[int], np.dtype[np.int64]]
"""Commit numbers."""
Uuids = Callable[[Array], Array | None]
"""Looks up uuids by commit numbers, see `Index`."""

_log = structlog.get_logger(__name__)


class Behind(Damaged):
    """The file is sound, and of an older layout: the next start brings it up to date."""


class _Total(NamedTuple):
    """How many records matched as of a commit."""

    as_of: int
    records: int


class Columns:
    """The open columns of a data directory."""

    def __init__(
        self,
        path: Path,
        store_id: str,
        uuids: Uuids,
        filled: Mapping[str, int],
        *,
        memory_mb: int,
        index_mb: int,
        threads: int,
        timeout_s: float,
        look: bool = False,
    ) -> None:
        """Open or create; with `look`, open without writing anything. Raises `Damaged` when the file is unreadable, of
        another layout, or of another ledger; `NoRoom`. `filled` tells of columns that a migration added up to which
        version the ledger has their values."""
        self._lock = threading.Lock()
        self._changing = threading.Lock()
        self._accounts = ByTime()
        self._totals: LRUCache[tuple[bytes, bytes], _Total] = LRUCache(_TOTALS)
        self._purges = 0
        self._mentions: LRUCache[bytes, tuple[int, Mentioned]] = LRUCache(_MENTIONS)
        self._combinations, self._combinations_kept = Combinations(()), 0
        self._uuids, self._index_bytes = uuids, index_mb << 20
        self._index: Index | None = None
        self._indexing: threading.Thread | None = None
        self.applied = 0
        self.filled: dict[str, int] = {}
        """Of columns that a migration added, up to which version they have their values."""
        self._engine = Engine(path, memory_mb=memory_mb, threads=threads, timeout_s=timeout_s, look=look)
        try:
            with changing():
                self._open(store_id, filled, look)
                self._accounts.load(self._engine.execute(_COUNTED, {"applied": self.applied}).fetchall())
        except BaseException:
            self._engine.stop()
            self._engine.close(fold=False)
            raise

    def _open(self, store_id: str, filled: Mapping[str, int], look: bool) -> None:
        tables = self._engine.execute("FROM duckdb_tables() WHERE database_name = 'kept'").fetchall()
        version = 0
        if tables:
            found = self._engine.execute("SELECT store_id, layout FROM kept.meta").fetchall()
            versions = {(store_id, _layout(migration.number)): migration.number for migration in COLUMNS}
            version = versions.get(found[0], 0) if len(found) == 1 else 0
            if not version:
                raise Damaged("made by another version of the program, or for another ledger")
        if look and version < len(COLUMNS):
            raise Behind("of an older version of the program, or their making was cut short")
        for migration in COLUMNS[version:]:
            with self._engine.change():
                self._engine.execute(migration.text)
                if migration.number == 1:
                    self._engine.execute("INSERT INTO kept.meta VALUES (?, '', 0)", [store_id])
                self._engine.execute("UPDATE kept.meta SET layout = ?", [_layout(migration.number)])
        self.applied = int(self._engine.execute("SELECT applied FROM kept.meta").fetchall()[0][0])
        if not self.applied and not look:  # what is taken in from now on has the values that the ledger has by now
            for name, upto in filled.items():
                self._engine.execute("UPDATE kept.fill SET upto = ? WHERE name = ?", [upto, name])
        self.filled = dict(self._engine.execute("SELECT name, upto FROM kept.fill").fetchall())
        combinations = self._engine.execute(f"SELECT {', '.join(COMBINED)} FROM kept.party ORDER BY party").fetchall()
        self._combinations, self._combinations_kept = Combinations(combinations), len(combinations)

    # --- taking in ----------------------------------------------------------------------------------------------------

    def apply(self, rows: Sequence[tuple[Any, ...]], closings: Sequence[Closing], upto: int) -> None:
        """Take in the ledger's commits up to `upto`: the versions begun since `applied` (as `versions.ROW_NAMES`), and
        those superseded since. Raises `Damaged`."""
        # Rows may be from before a commit that is taken in together with them: which of them are over, closings tell.
        over = {closing.seq: closing.seq_to for closing in closings if closing.seq > self.applied}
        if over:
            rows = [(row[0], over.get(row[0], row[1]), *row[2:]) for row in rows]
            closings = [closing for closing in closings if closing.seq <= self.applied]
        with self._changing:
            arrays = _arrays(rows, self._combinations.numbered([_combination_of(row) for row in rows])) if rows else {}
            self._change(arrays, closings, upto)
            if self._index is not None:
                if rows:
                    self._index.append(indexed(arrays))
                self._index.close([(each.account_id, each.seq, each.seq_to) for each in closings])
            with self._lock:
                self._accounts.remember(rows, closings, upto)
                self.applied = upto

    def _change(self, arrays: Mapping[str, Array], closings: Sequence[Closing], upto: int) -> None:
        fresh = self._combinations.since(self._combinations_kept)
        with self._engine.change():
            if closings:
                self._close_versions(closings)
            if arrays:
                self._append("cdr", arrays)
            if fresh:
                self._append("party", _columns(("party", *COMBINED), fresh))
            self._engine.execute("UPDATE kept.meta SET applied = ?", [upto])
        self._combinations_kept += len(fresh)

    def _append(self, table: str, arrays: Mapping[str, Array]) -> None:
        names = ["uuid::UUID AS uuid" if name == "uuid" else name for name in arrays]
        self._engine.execute_with(arrays, f"INSERT INTO kept.{table} BY NAME SELECT {', '.join(names)} FROM source")

    def _close_versions(self, closings: Sequence[Closing]) -> None:
        self._engine.execute_with(
            {
                "closed": np.array([c.seq for c in closings], dtype=np.int64),
                "closed_by": np.array([c.seq_to for c in closings], dtype=np.int64),
            },
            "UPDATE kept.cdr SET seq_to = closed_by FROM source WHERE seq = closed AND seq BETWEEN ? AND ?",
            [min(c.seq for c in closings), max(c.seq for c in closings)],
        )

    def fill(self, names: Sequence[str], rows: Sequence[tuple[Any, ...]], upto: int) -> None:
        """Set columns of versions (each its number and its values); those up to `upto` have theirs then. Raises
        `Damaged`, `NoRoom`."""
        with self._changing, self._engine.change():
            if rows:
                seqs = [row[0] for row in rows]
                self._engine.execute_with(
                    _columns(("seq", *names), rows),
                    f"UPDATE kept.cdr SET {', '.join(f'{name} = source.{name}' for name in names)} FROM source"
                    " WHERE cdr.seq = source.seq AND cdr.seq BETWEEN ? AND ?",
                    [min(seqs), max(seqs)],
                )
            for name in names:
                self._engine.execute("UPDATE kept.fill SET upto = greatest(upto, ?) WHERE name = ?", [upto, name])
        with self._lock:
            self._totals.clear()
        self.filled |= {name: max(self.filled[name], upto) for name in names}

    def purge(self, upto: int) -> None:
        """Drop the versions superseded at or before a commit."""
        with self._lock:  # first: what changed since totals were counted can soon no longer be told
            self._totals.clear()
            self._purges += 1
        with self._changing:
            with self._engine.change():
                self._engine.execute("DELETE FROM kept.cdr WHERE seq_to <= ?", [upto])
            if self._index is not None:
                self._index.purge(upto)

    # --- the index --------------------------------------------------------------------------------------------------

    def index(self) -> Index:
        """The index, which is made when it is first asked for: who searches once need not wait for it, nor pay."""
        if self._index is None:
            with self._changing:
                if self._index is None:
                    index = Index(self._combinations, self._index_bytes, self._uuids)
                    self._indexing = threading.Thread(target=self._load, args=(index, self.applied), name="index")
                    self._indexing.start()
                    self._index = index
        return self._index

    def _load(self, index: Index, upto: int) -> None:
        began = time.monotonic()
        try:
            index.load(self._indexed_upto(upto))
        except (Damaged, Error, CalldexError, ValueError) as error:  # the last where a combination cannot be
            if not self._engine.closed:
                _log.warning("index_not_made", reason=str(error))
            index.give_up()
        else:
            _log.info(
                "index_ready" if index.complete else "index_too_large",
                records=upto,
                mb=index.nbytes >> 20,
                seconds=round(time.monotonic() - began, 3),
            )

    def _indexed_upto(self, upto: int) -> Iterator[Rows]:
        """What the index keeps of all versions up to a commit, in pieces."""
        for after in range(0, upto, SEGMENT):
            found = self._engine.arrays(INDEXED, (after, min(after + SEGMENT, upto)), math.inf)
            if len(found["seq"]):
                yield found

    def damaged_days(self, as_of: int) -> set[tuple[int, str]]:
        """The accounts and UTC days of which the index, if there is one, does not hold what the table does, as of a
        commit. Then it is made again."""
        index = self._index
        if index is None or not index.complete:
            return set()
        texts = index.has_texts
        found = self._engine.rows(SUMS, (texts, texts, as_of, as_of), math.inf)
        right = {(account_id, day): (count, int(sum_)) for account_id, day, count, sum_ in found}
        differ = {day for day, _ in right.items() ^ index.days(as_of, texts).items()}
        if differ and not self._combinations.full:
            _log.warning("index_damaged", days=len(differ))
            with self._changing:
                self._index = None
            return {(id_, day_of(day)) for id_, day in differ}
        return set()

    # --- answering ----------------------------------------------------------------------------------------------------

    def _where(self, query: Query, as_of: int) -> Sql:
        """What callbacks are asked of, is all of the time that is meant."""
        read = self._read(query, as_of)
        return conjunction(where(query, as_of, read.dialect), *callbacks.asked(query, (None, None), read))

    def _read(self, query: Query, as_of: int) -> callbacks.As:
        conditions = DUCKDB.conditions
        if not self._combinations.full:  # a look at the number takes a sixth of the time that one into the text does
            conditions = {
                **conditions,
                Op.ANY_OF_SET: lambda condition: self._within(reach_of(query.scope.account_id, condition)),
            }
        dialect = msgspec.structs.replace(DUCKDB, reach=self._reach, conditions=conditions)
        return callbacks.As(as_of=as_of, dialect=dialect, words=DUCKDB_WORDS)

    def _reach(self, scope: Scope) -> tuple[Sql, ...]:
        """The conditions of which one suffices for a version to be within the lists of a scope."""
        if scope.whole or scope.nothing or self._combinations.full:
            return DUCKDB.reach(scope)
        return (self._within(scope),)

    def _within(self, scope: Scope) -> Sql:
        """The condition that a version is of a combination that the lists of a scope reach.

        A version that was taken in meanwhile may be of one that had no number yet when the bits were made. As of
        whatever commit it is searched, such a version is not seen.
        """
        numbered_upto = self.applied
        party = f"CASE WHEN seq <= ? THEN party ELSE {NO_COMBINATION} END"
        return Sql(f"get_bit(?::BLOB::BIT, {party}) = 1", (self._combinations.within(scope), numbered_upto))

    def head(self, account_id: int) -> int:
        """The last applied commit that touched an account: searches as of it see all that is applied."""
        with self._lock:
            return self._accounts.of(account_id).head

    def is_counting(self) -> bool:
        """Whether `head` would wait for something that is just being counted, which may take some milliseconds."""
        return self._lock.locked()

    def total(self, query: Query, as_of: int) -> int:
        """How many records match."""
        whole_buckets = not ((query.start_ms or 0) % BUCKET_MS or (query.end_ms or 0) % BUCKET_MS)
        if query.is_whole and whole_buckets:
            with self._lock:
                account = self._accounts.of(query.scope.account_id)
                if account.head <= as_of:
                    return account.between(query.start_ms, query.end_ms)
        found = self.index().count(query, as_of) if is_narrow(query) else None
        return self._counted(query, as_of) if found is None else found

    def _counted(self, query: Query, as_of: int) -> int:
        """How many records match: counted, or what was counted before with what has changed since."""
        key = (query.scope.fingerprint(), query.fingerprint())
        with self._lock:
            known, purges = self._totals.get(key), self._purges
            ended_after = self._accounts.of(query.scope.account_id).ended
        if known is not None and known.as_of == as_of:
            return known.records
        condition = self._where(query, as_of)
        if known is not None and known.as_of < as_of and not query.callbacks:  # callbacks change without a version
            count = known.records + self._count_of(conjunction(Sql("seq > ?", (known.as_of,)), condition))
            if ended_after > known.as_of:
                ended = Sql("seq_to > ? AND seq_to <= ?", (known.as_of, as_of))
                count -= self._count_of(conjunction(ended, self._where(query, known.as_of)))
        else:
            count = self._count_of(condition)
        with self._lock:
            if purges == self._purges:
                self._totals[key] = _Total(as_of, count)
                return count
        return self._count_of(condition)  # what ended since cannot be told any more

    def _count_of(self, condition: Sql) -> int:
        return int(
            self._engine.rows(f"SELECT count(*) FROM kept.cdr WHERE {condition.text}", condition.parameters)[0][0]
        )

    def aggregate(self, query: Query, as_of: int, grouping: Grouping) -> list[tuple[Any, ...]]:
        """See `Store.aggregate`."""
        condition = self._where(query, as_of)
        statement = aggregated(
            grouping, Sql(f"FROM kept.cdr WHERE {condition.text}", condition.parameters), DUCKDB_FUNCTIONS
        )
        return self._engine.rows(statement.text, statement.parameters)

    def missed(self, query: Query, as_of: int, ask: MissedAsk) -> tuple[int, list[MissedLine]]:
        """See `Store.missed`."""
        statement = callbacks.lines(query, ask, self._read(query, as_of))
        found = self._engine.rows(statement.text, statement.parameters)
        return (found[0][0] if found else 0), [callbacks.line(row[1:]) for row in found]

    def mentioned(self, scope: Scope, as_of: int) -> Mentioned:
        """What the records of a scope name. Remembered until the account changes: it is asked for with every page of
        an application, and looks at every record."""
        key = scope.fingerprint()
        with self._lock:
            known = self._mentions.get(key)
        if known is not None and known[0] == as_of:
            return known[1]
        found = self._mentioned(scope, as_of)
        with self._lock:
            self._mentions[key] = (as_of, found)
        return found

    def _mentioned(self, scope: Scope, as_of: int) -> Mentioned:
        condition = self._where(Query(scope=scope), as_of)

        def named(column: str) -> set[Any]:
            text = f"SELECT DISTINCT {column} FROM kept.cdr WHERE {condition.text}"
            found = self._engine.rows(text, condition.parameters)
            return {value for (value,) in found if value}

        return Mentioned(
            agents=frozenset(named("agent_id")),
            queues=frozenset(named("queue_id")),
            campaigns=frozenset(named("campaign_id")),
            teams=frozenset(int(id_) for ids in named("team_ids") for id_ in ids.strip(",").split(",")),
            wrapup_codes=frozenset(named("wrapup_code")),
        )

    def page(self, query: Query, as_of: int, *, limit: int, total: int, after: Position | None, skip: int) -> Seqs:
        """The commit numbers of the first `limit` matching records behind a position, newest first, after skipping
        some."""
        by_index = self._page_by_index(query, as_of, skip + limit, total, after) if is_narrow(query) else None
        if by_index is not None:
            return by_index[skip:]
        read = self._read(query, as_of)
        condition = where(query, as_of, read.dialect)
        end_ms = query.end_ms
        if after is not None:
            condition = conjunction(condition, following(after, DUCKDB))
            end_ms = after.started_ms + 1 if end_ms is None else min(end_ms, after.started_ms + 1)
        if skip > _DIRECT_SKIP:
            whole = conjunction(condition, *callbacks.asked(query, (None, end_ms), read))
            end_ms, skip = self._skipped(query, whole, end_ms, skip, total)
            condition = conjunction(condition, Sql("started_ms < ?", (end_ms,)))
        for start_ms in self._reaches(query, end_ms, (skip + limit), total):
            related = callbacks.asked(query, (start_ms, end_ms), read)
            found = self._page(conjunction(condition, Sql("started_ms >= ?", (start_ms,)), *related), limit, skip)
            if len(found) == limit or start_ms == EARLIEST:
                return found
        raise AssertionError("the last reach is unbounded")

    def _page_by_index(self, query: Query, as_of: int, most: int, total: int, after: Position | None) -> Seqs | None:
        """The first `most` behind a position, if the index can tell."""
        made = self.index()
        position = None if after is None else (after.started_ms, halves([UUID(after.uuid).bytes])[0])
        end_ms = query.end_ms if after is None else after.started_ms + 1
        for start_ms in self._reaches(query, end_ms, most, total):
            begin = query.start_ms if start_ms == EARLIEST else max(start_ms, query.start_ms or start_ms)
            found = made.newest(query, as_of, start_ms=begin, end_ms=query.end_ms, after=position, most=most)
            if found is None or len(found) == most or start_ms == EARLIEST:
                return found
        raise AssertionError("the last reach is unbounded")

    def _reaches(self, query: Query, end_ms: int | None, records: int, total: int) -> Iterator[int]:
        """Instants to look back to, each farther than the one before, the last unbounded.

        The share of the account's records that match tells how far back so many of them lie; where they are sparser
        than on average, as at night within the reach of those who work by day, it takes another look, eight times as
        far.
        """
        with self._lock:
            account = self._accounts.of(query.scope.account_id)
            all_records = max(account.between(query.start_ms, query.end_ms), 1)
        share = max(all_records / max(total, 1), 1.0)
        # Where only some match, their number in a stretch of time varies about its mean by its square root.
        need = 1.1 * share * (records + (3 * math.sqrt(records) if share > 1 else 0))
        if share > 1:
            need = max(need, _AT_LEAST)
        while total:
            with self._lock:
                start_ms = account.reaching_back(end_ms, need)
            if start_ms == EARLIEST or (query.start_ms is not None and start_ms <= query.start_ms):
                break
            yield start_ms
            need *= 8
        yield EARLIEST

    def _page(self, condition: Sql, limit: int, skip: int) -> Seqs:
        text = f"SELECT seq FROM kept.cdr WHERE {condition.text} {_NEWEST_FIRST} LIMIT ? OFFSET ?"
        found = self._engine.arrays(text, (*condition.parameters, limit, skip))
        return np.ascontiguousarray(found["seq"], dtype=np.int64)

    def _skipped(self, query: Query, condition: Sql, end_ms: int | None, skip: int, total: int) -> tuple[int, int]:
        """Jump over many records by counting them: the end of the bucket in which the next ones lie, and how many of
        that bucket are still to be skipped. Counted is no further back than so many should reach."""
        for start_ms in self._reaches(query, end_ms, skip, total):
            within = conjunction(condition, Sql("started_ms >= ?", (start_ms,)))
            left = skip
            for bucket, count in self._engine.rows(
                f"SELECT {_BUCKET} AS bucket, count(*) FROM kept.cdr WHERE {within.text}"
                " GROUP BY bucket ORDER BY bucket DESC",
                within.parameters,
            ):
                if left < count:
                    return (bucket + 1) * BUCKET_MS, left
                left -= count
        return EARLIEST, 0

    def days(self, as_of: int, names: Sequence[str]) -> dict[tuple[int, str], tuple[int, int]]:
        """For each account and UTC day the number of records that were live as of a commit and a checksum over these
        columns of them, see `checksum`; only of those whose combination is what its number stands for."""
        summed = f"concat_ws('|', {', '.join(f'row.{name}' for name in names)})"
        found = self._engine.rows(
            "SELECT account_id, strftime(make_timestamp(started_ms * 1000), '%Y-%m-%d') AS day, count(*),"
            f" sum(md5_number_lower({summed})::HUGEINT) % 18446744073709551616"
            f" FROM kept.cdr AS row LEFT JOIN kept.party USING (party) WHERE seq <= ? AND seq_to > ?"
            f" AND ((party = {NO_COMBINATION} AND ?) OR ({_MEMBERS.format('row')}) = ({_MEMBERS.format('party')}))"
            " GROUP BY account_id, day",
            (as_of, as_of, self._combinations.full),
            math.inf,
        )
        return {(account_id, day): (count, int(checksum)) for account_id, day, count, checksum in found}

    def close(self) -> None:
        """Interrupt what is running, wait for it, and let go of the file. Closed again, nothing happens."""
        self._engine.stop()
        if self._indexing is not None:
            self._indexing.join()
        self._engine.close()


def _layout(version: int) -> str:
    """What columns of a schema version are marked with. Those of another DuckDB are made again."""
    return _FIRST_LAYOUT if version == 1 and VERSION == "2" else f"schema {version} of DuckDB {VERSION}"


_OBJECTS: Final = frozenset({"uuid", *(c.name for c in layout(DUCKDB) if c.type.startswith("VARCHAR"))})


def _arrays(rows: Sequence[tuple[Any, ...]], combinations: Sequence[int]) -> dict[str, Array]:
    """The rows and the numbers of their combinations in order of time, as one array for each column, which DuckDB reads
    in place."""
    arrays = _columns(ROW_NAMES, rows) | {"party": np.array(combinations, dtype=np.int64)}
    started_ms = arrays["started_ms"]
    if (started_ms[1:] >= started_ms[:-1]).all():
        return arrays
    order = started_ms.argsort(kind="stable")
    return {name: array[order] for name, array in arrays.items()}


def _columns(names: Sequence[str], rows: Sequence[tuple[Any, ...]]) -> dict[str, Array]:
    return {
        name: np.array(column, dtype=object if name in _OBJECTS else np.int64)
        for name, column in zip(names, zip(*rows, strict=True), strict=True)
    }


_combination_of: Final[Callable[[tuple[Any, ...]], Combination]] = itemgetter(*map(ROW_NAMES.index, COMBINED))


_MEMBERS: Final = ", ".join(f"{{0}}.{name}" for name in COMBINED)

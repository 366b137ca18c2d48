"""The store on ClickHouse: one server or a cluster, or its engine in this process (`chdb:///path`).

ClickHouse keeps every version of every record and answers all questions. It has no transactions over several parts, so
`commits` (see `store.commits`) counts the commits: what is written under numbers that are not published yet, or that
were given up, is seen by nobody. Several processes may write and read at once; each keeps nothing but totals and names
that it was asked for before.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import date
from pathlib import Path
from typing import Any, Final, NoReturn
from uuid import UUID

import msgspec
from cachetools import LRUCache

from calldex.access import Scope
from calldex.clock import now_ms
from calldex.errors import TokenExpired, Unavailable, UnreadableInput, UsageProblem
from calldex.records.fields import MAX_VALUES
from calldex.records.record import CallRow
from calldex.search.query import Query
from calldex.search.statistics import Grouping
from calldex.store import (
    RECEIPT_MS,
    Batch,
    Capabilities,
    DayCheck,
    Loaded,
    Mentioned,
    MissedAsk,
    MissedLine,
    Outcome,
    Position,
    Quarantined,
    Receipt,
    Slice,
    Span,
    State,
    Version,
    callbacks,
)
from calldex.store.aggregates import aggregated
from calldex.store.clickhouse.address import Dsn
from calldex.store.clickhouse.changes import DATED_MS, PublishedLog
from calldex.store.clickhouse.client import Hosts
from calldex.store.clickhouse.dialect import CDR_TABLE, CLICKHOUSE, FUNCTIONS, WORDS, ended, together
from calldex.store.clickhouse.schema import CDR_TYPES, LOCAL, PLAIN, UUID_TABLE, UUID_TYPES, steps
from calldex.store.clickhouse.upgrade import Upgrade
from calldex.store.clickhouse.writing import (
    Changes,
    Known,
    joined,
    loaded_places,
    loaded_versions,
    parted,
    receipts,
    sharing,
)
from calldex.store.commits import Commits, Point
from calldex.store.sql import Sql, conjunction, following, uuid_bytes, where

_TOTALS: Final = 4096
_MENTIONS: Final = 256
_SLICES: Final = 16
_SLICE_BYTES: Final = 1 << 20
_AHEAD: Final = 4
"""So many times the records of a page may be meant on the stretch that is looked at first."""
_MANY: Final = 10
"""When so many pages match, they are read in order."""
_IN_FLIGHT_MS: Final = 24 * 3600 * 1000
"""So long after numbers were given up nothing that is still under way can arrive under them."""
_DAY_MS: Final = 86_400_000
_EPOCH: Final = date(1970, 1, 1).toordinal()
_DAY: Final = f"intDiv(started_ms - positiveModulo(started_ms, {_DAY_MS}), {_DAY_MS})"
_SUMMED: Final = (
    "sum(reinterpretAsUInt64(substring(MD5(concat(toString(seq), '|', lower(hex(uuid)), '|', json)), 9, 8)))"
)
"""See `checksum` in `calldex.store.embedded`: sums of it wrap at 64 bits."""
_TOGETHER: Final = msgspec.structs.replace(CLICKHOUSE, live=lambda _, as_of, void: together(as_of, void))
"""For searches that have the engine put rows together."""


class ClickhouseStore:
    """See `calldex.store.Store`."""

    capabilities = Capabilities(
        look_every_s=0.5,  # it asks the directory
        batches_at_once=5,
        purge_every_s=86_400,  # it writes parts again
        backed_up_by="ClickHouse's own BACKUP DATABASE",
    )

    def __init__(self, address: Dsn, commits: Commits, *, timeout_s: float, superseded_kept_s: float) -> None:
        """Reach it, and find the tables of this version there; those of an engine in this process are made.

        `UnreadableInput` if it cannot be reached or used, `WrongVersion` if its tables are of another version.
        """
        self._commits = commits
        self.log = PublishedLog(self)
        self._superseded_kept_s = superseded_kept_s
        self.hosts = Hosts(address, timeout_s)
        self._lock = threading.Lock()
        self._points: dict[int, Point] = {}
        self._proved: set[int] = set()
        self._totals: LRUCache[tuple[bytes, bytes, int], int] = LRUCache(_TOTALS)
        self._slices: LRUCache[tuple[bytes, bytes, int], Slice] = LRUCache(_SLICES)
        self._mentions: LRUCache[bytes, tuple[int, Mentioned]] = LRUCache(_MENTIONS)
        self.store_id = commits.name()
        """The same for every node that shares the store."""
        try:
            self.hosts.open()
            if address.path:
                for step in steps(PLAIN[0]):
                    self.hosts.command(Sql(step.statement))
            self._local = self._checked(address)
        except BaseException:
            self.hosts.close()
            raise

    def _checked(self, address: Dsn) -> str:
        """What stands behind the name of the table of versions in a statement that changes tables."""
        found = {
            name: (engine, whole)
            for name, engine, whole in self.hosts.rows(
                Sql(
                    "SELECT name, engine, engine_full FROM system.tables"
                    " WHERE database = currentDatabase() AND name IN ?",
                    ([CDR_TABLE, UUID_TABLE],),
                )
            )
        }
        for name in (CDR_TABLE, UUID_TABLE):
            if name not in found:
                raise UnreadableInput(
                    f"{address} has no table {name}; make the tables with what `calldex schema --engine clickhouse`"
                    " prints"
                )
        engine, whole = found[CDR_TABLE]
        self.hosts.adapt(replicated=engine.startswith(("Replicated", "Shared", "Distributed")))
        cluster = whole.removeprefix("Distributed('").partition("'")[0] if engine == "Distributed" else None
        if cluster and not self.hosts.rows(Sql("SELECT 1 FROM system.clusters WHERE cluster = ? LIMIT 1", (cluster,))):
            raise UnreadableInput(
                f"the table {CDR_TABLE} of {address} is one of the cluster {cluster!r}, which ClickHouse does not know;"
                " correct its `remote_servers`, or make the tables with the name that stands there"
            )
        self.upgrade = Upgrade(self.hosts, cluster)
        self.upgrade.bring(address, self._commits)
        return f"{CDR_TABLE}{LOCAL} ON CLUSTER '{cluster}'" if cluster else CDR_TABLE

    # --- writing ------------------------------------------------------------------------------------------------------

    def write(self, batch: Batch, *, wait: bool = True) -> list[Outcome]:
        """See `Store.write`. What is acknowledged is always visible."""
        return self._write([batch])[0]

    def write_all(self, batches: Sequence[Batch]) -> list[list[Outcome] | Exception]:
        """See `Store.write_all`: they share a turn, its inserts and its transactions."""
        found: list[list[Outcome] | Exception] = []
        while some := sharing(batches[len(found) :]):
            try:
                found += self._write(some)
            except Unavailable as error:
                found += [error] * len(some)
            except Exception as error:  # noqa: BLE001 - it is about one of them, and told to whom that is from
                found += [error] if len(some) == 1 else [each for one in some for each in self.write_all([one])]
        return found

    def assemble(self, account_id: int, make: Callable[[], Batch]) -> list[Outcome]:
        """See `Store.assemble`: it is made within the turn."""

        def made() -> tuple[Sequence[Batch], Changes]:
            batch = make()
            return [batch], Changes(account_id, batch.records, batch.removed)

        return self._written(account_id, made)[0]

    def _write(self, batches: Sequence[Batch]) -> list[list[Outcome]]:
        batch = joined(batches)
        changes = Changes(batch.account_id, batch.records, batch.removed)
        return self._written(batch.account_id, lambda: (batches, changes))

    def _written(self, account_id: int, made: Callable[[], tuple[Sequence[Batch], Changes]]) -> list[list[Outcome]]:
        """What became of the records of some batches that share a turn."""
        self._prove(account_id)
        with self._commits.turn(account_id) as turn:
            batches, changes = made()
            outcomes = parted(batches, changes.decide(self._live(account_id, turn.point, changes.uuids)))
            kept = receipts(batches, outcomes)
            if changes.count:
                first = turn.reserve(changes.count)
                now = now_ms()
                token = f"{self.store_id}-{account_id}-{first}"
                self._insert(changes.places(), changes.versions(first, now), token)
                if now_ms() - now > DATED_MS:
                    raise Unavailable("ClickHouse took too long to take this; send it again", retry_after=1)
            turn.publish(joined(batches), kept, changes.grown)
        return outcomes

    def _prove(self, account_id: int) -> None:
        """Before this process writes to an account for the first time: nothing there has a number that was not given
        yet, as after the directory was restored from an older copy than ClickHouse."""
        if account_id in self._proved:
            return
        ((last,),) = self.hosts.rows(
            Sql(f"SELECT max(greatest(seq, seq_to)) FROM {CDR_TABLE} WHERE account_id = ?", (account_id,))
        )
        reserved = self._commits.reserved(account_id)  # asked after it: what others reserve meanwhile is no fault
        if last > reserved:
            raise Unavailable(
                f"ClickHouse has commits of the account {account_id} up to {last}, the directory counted {reserved}:"
                " one of them was restored from another time; see `Back up` in docs/guides/cluster.md",
                retry_after=60,
            )
        self._proved.add(account_id)

    def _insert(self, places: Sequence[Sequence[Any]], versions: Sequence[Sequence[Any]], token: str) -> None:
        """Both at once: neither is seen before it is published, and a place where nothing is does no harm."""
        tables = ((UUID_TABLE, UUID_TYPES, places), (CDR_TABLE, CDR_TYPES, versions))
        with ThreadPoolExecutor(len(tables), "clickhouse-insert") as pool:
            for done in [pool.submit(self.hosts.insert, *table, token) for table in tables if table[2][0]]:
                done.result()

    def _live(self, account_id: int, point: Point, uuids: Sequence[bytes]) -> dict[bytes, Known]:
        """The live versions of some records."""
        if not point.seq or not uuids:
            return {}
        places = self.hosts.rows(_places(account_id, uuids))
        if not places:
            return {}
        mine = Sql("account_id = ?", (account_id,))
        among = _placed(account_id, list({uuid for _, uuid in places}))
        condition = conjunction(mine, among, CLICKHOUSE.live(_whole(account_id), point.seq, point.void))
        found = self.hosts.rows(
            Sql(
                f"SELECT uuid, seq, started_ms, SHA256(json) FROM {CDR_TABLE} WHERE {condition.text}",
                condition.parameters,
            )
        )
        return {uuid: Known(seq, started_ms, digest) for uuid, seq, started_ms, digest in found}

    def load(self, account_id: int, versions: Sequence[Loaded]) -> None:
        """Take in versions of an account that another store has, in the order of their commits; seen by nobody until
        they are `publish`ed. The same ones may be loaded again. Raises `Conflict` if it was written to otherwise."""
        first, last = versions[0].seq, versions[-1].seq
        token = f"{self.store_id}-{account_id}-load-{first}-{last}"
        self._insert(loaded_places(account_id, versions), loaded_versions(account_id, versions), token)
        self._commits.load(account_id, last)

    def holds_any(self) -> bool:
        """Whether there is a row of any account, whoever wrote it."""
        return bool(self.hosts.rows(Sql(f"SELECT 1 FROM {CDR_TABLE} LIMIT 1")))

    def loaded_upto(self, account_id: int) -> int:
        """Up to which commit an account was loaded."""
        return self._commits.reserved(account_id)

    def publish(self, account_id: int, upto: int) -> None:
        """What was loaded, up to a commit, is all there is: searches see it from now on."""
        whole = where(_whole(account_id), upto, CLICKHOUSE)
        ((live,),) = self.hosts.rows(Sql(f"SELECT count() FROM {CDR_TABLE} WHERE {whole.text}", whole.parameters))
        self._commits.load(account_id, upto, live)

    def settle(self) -> None:
        """See `Store.settle`: nothing is behind."""

    # --- answering ----------------------------------------------------------------------------------------------------

    def head(self, account_id: int) -> int:
        """See `Store.head`."""
        return self.fresh(account_id).seq

    def head_at_once(self, account_id: int) -> int | None:
        """See `Store.head_at_once`: the directory counts commits, and is asked over a network."""
        return None

    def purged_upto(self, account_id: int) -> int:
        """See `Store.purged_upto`."""
        return self.fresh(account_id).purged

    def fresh(self, account_id: int) -> Point:
        """How far an account is now."""
        point = self._commits.point(account_id)
        with self._lock:
            self._points[account_id] = point
        return point

    def _seen(self, account_id: int, as_of: int) -> Point:
        """What is void up to a commit: what was known when that or a later one was the last, is known for ever."""
        with self._lock:
            point = self._points.get(account_id)
        return point if point is not None and point.seq >= as_of else self.fresh(account_id)

    def _from(self, query: Query, as_of: int, stretch: callbacks.Stretch = (None, None)) -> Sql:
        """`FROM` and `WHERE` of a search; `StoreNotReady` if it asks for what is not there yet. Of conditions about
        callbacks, what they say of a stretch of time alone.

        One that names uuids reads some granules alone, and can have the engine put rows together while it reads."""
        self.upgrade.refuse(query)
        account_id = query.scope.account_id
        read = self._read(query, as_of)
        uuids = _uuids(query)
        condition = where(query, read.as_of, _TOGETHER if uuids else CLICKHOUSE, read.void)
        if uuids:
            condition = conjunction(condition, _placed(account_id, uuids))  # behind the scope, which has the account
        condition = conjunction(condition, *callbacks.asked(query, stretch, read))
        return Sql(f"FROM {CDR_TABLE}{' FINAL' if uuids else ''} WHERE {condition.text}", condition.parameters)

    def _read(self, query: Query, as_of: int) -> callbacks.As:
        point = self._seen(query.scope.account_id, as_of)
        return callbacks.As(as_of=min(as_of, point.seq), dialect=CLICKHOUSE, words=WORDS, void=point.void)

    def total(self, query: Query, as_of: int) -> int:
        """See `Store.total`. That of an account's newest state is known with its last commit."""
        if query.is_whole and query.start_ms is None and query.end_ms is None:
            point = self.fresh(query.scope.account_id)
            if point.seq == as_of:
                return point.live
        key = (query.scope.fingerprint(), query.fingerprint(), as_of)
        with self._lock:
            known = self._totals.get(key)
        if known is None and _uuids(query):
            known = self._whole_slice(query, as_of).count
        elif known is None:
            source = self._from(query, as_of)
            ((known,),) = self.hosts.rows(Sql(f"SELECT count() {source.text}", source.parameters))
        self._refuse_purged(query, as_of)
        with self._lock:
            self._totals[key] = known
        return int(known)

    def _whole_slice(self, query: Query, as_of: int) -> Slice:
        """All records of a search that names uuids, which are so few that they are counted by giving them; remembered
        for a moment, as whoever counts them asks for them next."""
        key = (query.scope.fingerprint(), query.fingerprint(), as_of)
        with self._lock:
            known = self._slices.pop(key, None)
        if known is None:
            known = self._slice(query, as_of, MAX_VALUES, total=MAX_VALUES, after=None, skip=0)
            if len(known.json) <= _SLICE_BYTES:
                with self._lock:
                    self._slices[key] = known
        return known

    def slice(
        self, query: Query, as_of: int, *, limit: int, total: int, after: Position | None = None, skip: int = 0
    ) -> Slice:
        """See `Store.slice`. JSON is read of those records alone that are given.

        The primary key has all records in order: where many match, reading ends with the page. Where so few do that a
        good part of all had to be read for it, reading everything at once is faster.
        """
        if _uuids(query) and after is None and not skip and limit >= total:
            found = self._whole_slice(query, as_of)
        else:
            found = self._slice(query, as_of, limit, total=total, after=after, skip=skip)
        self._refuse_purged(query, as_of)
        return found

    def _slice(self, query: Query, as_of: int, limit: int, *, total: int, after: Position | None, skip: int) -> Slice:
        found = Slice(b"", 0, None)
        for stretch in self._stretches(query, as_of, skip + limit, after):
            source = self._from(query, as_of, stretch)
            terms = [] if after is None else [following(after, CLICKHOUSE)]
            if stretch[0] is not None:
                terms.append(Sql("started_ms >= ?", (stretch[0],)))
            found = self._sliced(conjunction(source, *terms), limit, total=total, skip=skip)
            if found.count == limit:
                break
        return found

    def _stretches(self, query: Query, as_of: int, records: int, after: Position | None) -> Iterator[callbacks.Stretch]:
        """The stretches of time to look at for so many records, each longer than the one before, the last as long as
        there is any: as far back as some, then eight times as many lie that may be meant. Of a search that looks at no
        other records, the last alone."""
        end_ms = None if after is None else after.started_ms + 1
        if query.callbacks:
            read = self._read(query, as_of)
            may = "TRUE" if callbacks.everything(query) else callbacks.MISSED
            rows = read.rows("started_ms", query, may)
            if after is not None:
                rows = conjunction(rows, following(after, CLICKHOUSE))
            most = _AHEAD * records
            while True:
                found = self.hosts.rows(
                    Sql(
                        f"SELECT min(started_ms), count() FROM ({rows.text} ORDER BY started_ms DESC LIMIT ?)",
                        (*rows.parameters, most),
                    )
                )
                if found[0][1] < most:
                    break
                yield found[0][0], end_ms
                most *= 8
        yield None, end_ms

    def _sliced(self, source: Sql, limit: int, *, total: int, skip: int) -> Slice:
        json, started_ms, uuids = self.hosts.columns(
            Sql(
                f"SELECT json, started_ms, uuid {source.text} ORDER BY started_ms DESC, uuid DESC LIMIT ? OFFSET ?"
                f" SETTINGS optimize_read_in_order = {int(total > _MANY * (skip + limit))}",
                (*source.parameters, limit, skip),
            )
        ) or ((), (), ())
        if not json:
            return Slice(b"", 0, None)
        last = Position(started_ms[-1], str(UUID(bytes=uuids[-1])))
        return Slice(b"\n".join(json), len(json), last)

    def walk(
        self, query: Query, as_of: int, *, size: int, total: int, passed: int = 0, after: Position | None = None
    ) -> Iterator[Slice]:
        """See `Store.walk`."""
        left = total - passed
        while left > 0:
            found = self.slice(query, as_of, limit=min(size, left), total=total, after=after)
            if not found.count:
                return
            yield found
            after, left = found.last, left - found.count

    def _refuse_purged(self, query: Query, as_of: int) -> None:
        if as_of < self.purged_upto(query.scope.account_id):
            raise TokenExpired("what this search saw has been dropped since it began; start a new search")

    def aggregate(self, query: Query, as_of: int, grouping: Grouping) -> list[tuple[Any, ...]]:
        """See `Store.aggregate`."""
        self.upgrade.refuse(query, [*grouping.by, *(each.column for each in grouping.measures)])
        found = self.hosts.rows(aggregated(grouping, self._from(query, as_of), FUNCTIONS))
        self._refuse_purged(query, as_of)
        return [tuple(row) for row in found]

    def missed(self, query: Query, as_of: int, ask: MissedAsk) -> tuple[int, list[MissedLine]]:
        """See `Store.missed`."""
        self.upgrade.refuse(query)
        found = self.hosts.rows(callbacks.lines(query, ask, self._read(query, as_of)))
        self._refuse_purged(query, as_of)
        return (found[0][0] if found else 0), [callbacks.line(row[1:]) for row in found]

    def mentioned(self, scope: Scope) -> Mentioned:
        """See `Store.mentioned`; remembered until the account changes."""
        as_of, key = self.head(scope.account_id), scope.fingerprint()
        with self._lock:
            known = self._mentions.get(key)
        if known is not None and known[0] == as_of:
            return known[1]
        source = self._from(Query(scope=scope), as_of)
        names = ("agent_id", "queue_id", "campaign_id", "team_ids", "wrapup_code")
        listed = ", ".join(f"groupUniqArray({name})" for name in names)
        agents, queues, campaigns, teams, codes = self.hosts.rows(
            Sql(f"SELECT {listed} {source.text}", source.parameters)
        )[0]
        found = Mentioned(
            agents=frozenset(agents) - {0},
            queues=frozenset(queues) - {0},
            campaigns=frozenset(campaigns) - {0},
            teams=frozenset(int(id_) for ids in teams if ids for id_ in ids.strip(",").split(",")),
            wrapup_codes=frozenset(codes) - {""},
        )
        with self._lock:
            self._mentions[key] = (as_of, found)
        return found

    def get(self, account_id: int, uuid: str) -> Version | None:
        """See `Store.get`."""
        return next((v for v in self.history(account_id, uuid) if v.seq_to is None and v.json is not None), None)

    def written(self, account_id: int, uuids: Sequence[str], as_of: int) -> dict[str, int]:
        """See `Store.written`."""
        point = self._seen(account_id, as_of)
        live = CLICKHOUSE.live(_whole(account_id), min(as_of, point.seq), point.void)
        mine = Sql("account_id = ?", (account_id,))
        condition = conjunction(mine, live, _placed(account_id, [uuid_bytes(uuid) for uuid in uuids]))
        rows = self.hosts.rows(
            Sql(f"SELECT uuid, written_ms FROM {CDR_TABLE} WHERE {condition.text}", condition.parameters)
        )
        return {str(UUID(bytes=uuid)): written_ms for uuid, written_ms in rows}

    def history(self, account_id: int, uuid: str) -> list[Version]:
        """See `Store.history`."""
        point = self.fresh(account_id)
        mine = Sql("account_id = ? AND seq <= ?", (account_id, point.seq))
        condition = conjunction(mine, _placed(account_id, [uuid_bytes(uuid)]))
        rows = self.hosts.rows(
            Sql(
                f"SELECT seq, max(seq_to), max(content), max(written_ms), max(json) AS text FROM {CDR_TABLE}"
                f" WHERE {condition.text} GROUP BY seq ORDER BY seq",
                condition.parameters,
            )
        )
        found = []
        for seq, seq_to, content, written_ms, text in rows:
            if _void(point, seq) or not (content or seq_to == seq):
                continue
            ended = None if seq_to > point.seq or not seq_to or _void(point, seq_to) else seq_to
            found.append(Version(seq, ended, uuid, text if content else None, written_ms))
        return found

    def rows_of_calls(self, account_id: int, source: str, links: Sequence[str]) -> list[CallRow]:
        """See `Store.rows_of_calls`."""
        return self._commits.rows_of_calls(account_id, source, links)

    def rows_of_source(self, account_id: int, source: str, after: int, limit: int) -> list[tuple[int, CallRow]]:
        """See `Store.rows_of_source`."""
        return self._commits.rows_of_source(account_id, source, after, limit)

    def count_rows(self, account_id: int, source: str) -> int:
        """See `Store.count_rows`."""
        return self._commits.count_rows(account_id, source)

    def known_rows(self, account_id: int, source: str, keys: Sequence[bytes]) -> set[bytes]:
        """See `Store.known_rows`."""
        return self._commits.known_rows(account_id, source, keys)

    def receipt(self, account_id: int, key: str) -> Receipt | None:
        """See `Store.receipt`."""
        return self._commits.receipt(account_id, key)

    def quarantined(self, account_id: int | None = None, reason: str | None = None) -> Iterator[Quarantined]:
        """See `Store.quarantined`."""
        return self._commits.quarantined(account_id, reason)

    def quarantine_size(self) -> int:
        """See `Store.quarantine_size`."""
        return self._commits.quarantine_size()

    # --- care ---------------------------------------------------------------------------------------------------------

    def purge(self, now_ms: int) -> int:
        """See `Store.purge`. What was given up long ago goes as well."""
        self._commits.drop_receipts(now_ms - RECEIPT_MS)
        for account_id, span in self._commits.void_before(now_ms - _IN_FLIGHT_MS):
            self._forget(account_id, span)
        before_ms = now_ms - int(self._superseded_kept_s * 1000)
        found = self.hosts.rows(
            Sql(
                f"SELECT account_id, max(seq_to) FROM {CDR_TABLE} WHERE ended_ms BETWEEN 1 AND ? GROUP BY account_id",
                (before_ms - 1,),
            )
        )
        return sum(self._purge(account_id, upto) for account_id, upto in found)

    def _purge(self, account_id: int, upto: int) -> int:
        """Drop the versions of an account that were superseded up to a commit, but for tombstones. First it is
        remembered, so that no search takes what is left for everything."""
        point = self.fresh(account_id)
        upto = min(upto, point.seq)
        self._commits.purged(account_id, upto)
        gone_by = conjunction(Sql("account_id = ? AND seq_to <> seq", (account_id,)), ended(upto, point.void))
        gone = Sql(
            f"account_id = ? AND content = 1 AND seq IN (SELECT seq FROM {CDR_TABLE} WHERE {gone_by.text})",
            (account_id, *gone_by.parameters),
        )
        ((count,),) = self.hosts.rows(Sql(f"SELECT count() FROM {CDR_TABLE} WHERE {gone.text}", gone.parameters))
        # Parts change one after another: a version must not outlive the row that tells of its end.
        self._delete(gone)
        self._delete(conjunction(Sql("content = 0"), gone_by))
        return int(count)

    def _forget(self, account_id: int, span: Span) -> None:
        """Drop all that was written under void numbers, and what it said of other versions' ends: first where that
        stands by itself, so that no merge can add it to a version again."""
        self._delete(
            Sql("account_id = ? AND content = 0 AND seq_to BETWEEN ? AND ?", (account_id, span.first, span.last))
        )
        self.hosts.command(
            Sql(
                f"ALTER TABLE {self._local} UPDATE seq_to = 0, ended_ms = 0"
                " WHERE account_id = ? AND content = 1 AND seq_to BETWEEN ? AND ?",
                (account_id, span.first, span.last),
            )
        )
        self._delete(Sql("account_id = ? AND seq BETWEEN ? AND ?", (account_id, span.first, span.last)))
        self._commits.forgotten(account_id, span)

    def _delete(self, condition: Sql) -> None:
        """From the disk as well. A lightweight DELETE only marks rows: their text would lie in a large part, which is
        never merged again, for ever."""
        self.hosts.command(Sql(f"ALTER TABLE {self._local} DELETE WHERE {condition.text}", condition.parameters))

    def check(self) -> Iterator[DayCheck]:
        """See `Store.check`: what searches see, against what is there when the engine has put all rows of a version
        together."""
        for account_id in self._commits.accounts():
            point = self.fresh(account_id)
            answering = self.days(account_id, point)
            kept = self.days(account_id, point, slowly=True)
            for day in sorted(kept.keys() | answering.keys()):
                one, other = kept.get(day, (0, 0)), answering.get(day, (0, 0))
                yield DayCheck(account_id, day, one[0], other[0], one == other)

    def days(self, account_id: int, point: Point, *, slowly: bool = False) -> dict[str, tuple[int, int]]:
        """For each UTC day the number of live records and a checksum over them; `slowly`: with the
        rows of each version put together."""
        dialect = _TOGETHER if slowly else CLICKHOUSE
        condition = where(_whole(account_id), point.seq, dialect, point.void)
        found = self.hosts.rows(
            Sql(
                f"SELECT {_DAY} AS day, count(), {_SUMMED} FROM {CDR_TABLE}{' FINAL' if slowly else ''}"
                f" WHERE {condition.text} GROUP BY day",
                condition.parameters,
            )
        )
        return {date.fromordinal(_EPOCH + day).isoformat(): (count, int(sum_)) for day, count, sum_ in found}

    def bytes_on_disk(self) -> dict[str, int]:
        """What the tables take on the disk of the node that is asked, with their indexes."""
        found = self.hosts.rows(
            Sql(
                "SELECT table, sum(bytes_on_disk) FROM system.parts WHERE active AND database = currentDatabase()"
                " GROUP BY table"
            )
        )
        return dict(found)

    def integrity(self) -> list[str]:
        """What is wrong with the parts of the tables; of a cluster each node has to be asked by its own means."""
        if self._local != CDR_TABLE:
            return []
        found = self.hosts.rows(Sql(f"CHECK TABLE {CDR_TABLE} SETTINGS check_query_single_value_result = 0"))
        return [f"part {part}: {message}" for part, passed, message in found if not passed]

    def backup(self, target: Path) -> NoReturn:
        """See `Store.backup`: refused."""
        raise UsageProblem(f"records in ClickHouse are backed up by {self.capabilities.backed_up_by}")

    def state(self) -> State:
        """See `Store.state`: nothing is ever behind."""
        return State(ready=True, behind=0, total=0)

    def answers(self) -> str | None:
        """See `Store.answers`: one host that answers is enough."""
        down = self.hosts.down()
        if len(down) == len(self.hosts.names):
            raise Unavailable(f"ClickHouse cannot be used now: {'; '.join(down)}", retry_after=2)
        return "; ".join(down) or None

    def close(self) -> None:
        """See `Store.close`."""
        self.hosts.close()


def _uuids(query: Query) -> list[bytes]:
    """Those that a search names."""
    return [uuid_bytes(str(value)) for each in query.where if each.names_uuids for value in each.values]


def _whole(account_id: int) -> Query:
    return Query(scope=Scope(account_id=account_id, whole=True))


def _places(account_id: int, uuids: Sequence[bytes]) -> Sql:
    """Where records of these uuids begin, or began when they had another version."""
    return Sql(
        f"SELECT started_ms, uuid FROM {UUID_TABLE} WHERE account_id = ? AND uuid IN (SELECT arrayJoin(?))",
        (account_id, list(uuids)),
    )


def _placed(account_id: int, uuids: Sequence[bytes]) -> Sql:
    """The condition that a version of the account is one of these records."""
    places = _places(account_id, uuids)
    return Sql(f"(started_ms, uuid) IN ({places.text})", places.parameters)


def _void(point: Point, seq: int) -> bool:
    return any(span.first <= seq <= span.last for span in point.void)

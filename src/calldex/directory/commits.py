"""Counts the commits of a store whose engine knows no transactions, and keeps what must become durable with them.

Numbers are reserved in one transaction, what is written under them becomes visible by another. Both compare what they
change with what they saw, so that of two who believe that it is their turn only one can publish; numbers that were
reserved and not published are void for ever. See docs/decisions/0019.
"""

from __future__ import annotations

import hashlib
import threading
from collections import defaultdict, deque
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from typing import Final, TypeVar

import msgspec
from sqlalchemy import Connection, Row, delete, func, select, update

from calldex.clock import now_ms
from calldex.directory import tables
from calldex.directory.database import BUSY_TIMEOUT_MS, Database
from calldex.errors import Conflict, Unavailable
from calldex.records.record import CallRow
from calldex.store import RECEIPT_MS, Batch, Quarantined, Receipt, Span
from calldex.store.commits import Point

_AT_ONCE: Final = 500
"""Values in one list: each engine takes at least so many."""
_TURN_LOCK: Final = 0x43445231
"""The first half of the PostgreSQL advisory locks under which an account is written to; its id is the other."""
_MIGRATION_LOCK: Final = 0x43444D31
"""The same of the lock under which tables of the store are changed."""
_LOST: Final = "another node took over the writing of this account; nothing of this was kept. Send it again"

_T = TypeVar("_T")


class Turn:
    """See `store.commits.Turn`."""

    def __init__(self, database: Database, account_id: int, point: Point) -> None:
        self._db = database
        self._account_id = account_id
        self.point = point
        self._reserved: int | None = None

    def reserve(self, count: int) -> int:
        """See `store.commits.Turn.reserve`. What an earlier turn reserved and never published becomes void."""
        commits, void = tables.commits, tables.void_commits
        with self._db.write() as connection:
            published, reserved = _counts(connection, self._account_id)
            if published != self.point.seq:
                raise Unavailable(_LOST, retry_after=1)
            if reserved > published:
                statement = self._db.insert(void).values(
                    account_id=self._account_id, first=published + 1, last=reserved, at_ms=now_ms()
                )
                connection.execute(
                    statement.on_conflict_do_update(
                        index_elements=["account_id", "first"],
                        set_={"last": statement.excluded.last, "at_ms": statement.excluded.at_ms},
                    )
                )
            connection.execute(
                update(commits).where(commits.c.account_id == self._account_id).values(reserved=reserved + count)
            )
        self._reserved = reserved + count
        return reserved + 1

    def publish(self, batch: Batch, receipts: Mapping[str, Receipt], grown: int) -> None:
        """See `store.commits.Turn.publish`."""
        now = now_ms()
        with self._db.write() as connection:
            if self._reserved is not None:
                self._move(connection, self._reserved, grown)
            elif batch.rows and _counts(connection, self._account_id)[0] != self.point.seq:
                raise Unavailable(_LOST, retry_after=1)  # what others kept meanwhile may belong to these rows
            self._put_rows(connection, batch)
            self._put_rejects(connection, batch, now)
            for key, receipt in receipts.items():
                self._put_receipt(connection, key, receipt, now)

    def _move(self, connection: Connection, upto: int, grown: int) -> None:
        commits = tables.commits
        moved = connection.execute(
            update(commits)
            .where(
                commits.c.account_id == self._account_id,
                commits.c.published == self.point.seq,
                commits.c.reserved == upto,
            )
            .values(published=upto, live=commits.c.live + grown)
        )
        if moved.rowcount != 1:
            raise Unavailable(_LOST, retry_after=1)

    def _put_receipt(self, connection: Connection, key: str, receipt: Receipt, now: int) -> None:
        """The first receipt under a key stays, until it is old."""
        statement = self._db.insert(tables.receipts).values(
            account_id=self._account_id, key=key, digest=receipt.digest, answer=receipt.answer, at_ms=now
        )
        connection.execute(
            statement.on_conflict_do_update(
                index_elements=["account_id", "key"],
                set_={name: statement.excluded[name] for name in ("digest", "answer", "at_ms")},
                where=tables.receipts.c.at_ms < now - RECEIPT_MS,
            )
        )

    def _put_rows(self, connection: Connection, batch: Batch) -> None:
        """Rows that are known keep their id and get the call they are part of now."""
        for part in _parts(batch.rows):
            statement = self._db.insert(tables.call_rows).values(
                [
                    {
                        "account_id": self._account_id,
                        "source": batch.source,
                        "key": row.key,
                        "links": msgspec.json.encode(row.links).decode(),
                        "text": row.text.encode(),
                        "uuid": row.uuid,
                    }
                    for row in part
                ]
            )
            kept = connection.execute(
                statement.on_conflict_do_update(
                    index_elements=["account_id", "source", "key"],
                    set_={"uuid": statement.excluded.uuid, "links": statement.excluded.links},
                ).returning(tables.call_rows.c.id, tables.call_rows.c.key)
            )
            ids = {bytes(key): id_ for id_, key in kept}
            links = [
                {"account_id": self._account_id, "source": batch.source, "link": link.encode(), "row_id": ids[row.key]}
                for row in part
                for link in dict.fromkeys(row.links)
            ]
            for some in _parts(links):
                connection.execute(self._db.insert(tables.call_links).values(some).on_conflict_do_nothing())

    def _put_rejects(self, connection: Connection, batch: Batch, now: int) -> None:
        """A piece that lies in the quarantine already stays there once, for the reason that holds now."""
        quarantine = tables.quarantine
        for released in _parts(batch.released):
            connection.execute(delete(quarantine).where(quarantine.c.id.in_(released)))
        pieces = {hashlib.sha256(reject.raw).digest(): reject for reject in batch.rejects}
        for part in _parts(list(pieces.items())):
            statement = self._db.insert(quarantine).values(
                [
                    {
                        "account_id": self._account_id,
                        "source": batch.source,
                        "format": batch.format,
                        "origin": batch.origin,
                        "place": reject.where,
                        "reason": reject.reason,
                        "raw": reject.raw,
                        "digest": digest,
                        "at_ms": now,
                    }
                    for digest, reject in part
                ]
            )
            connection.execute(
                statement.on_conflict_do_update(
                    index_elements=["account_id", "source", "format", "digest"],
                    set_={"reason": statement.excluded.reason},
                    where=quarantine.c.reason != statement.excluded.reason,
                )
            )


class DirectoryCommits:
    """See `store.commits.Commits`."""

    def __init__(self, database: Database) -> None:
        self._db = database
        self._lock = threading.Lock()
        self._lines: defaultdict[int, deque[threading.Event]] = defaultdict(deque)
        """Those of this process who want to write to an account, as they came; the first does."""

    def name(self) -> str:
        """See `Commits.name`."""
        return self._db.secret("store_id", 16).hex()

    def point(self, account_id: int) -> Point:
        """See `Commits.point`."""
        with self._db.read() as connection:
            return _point(connection, account_id)

    def accounts(self) -> list[int]:
        """See `Commits.accounts`."""
        with self._db.read() as connection:
            return list(connection.execute(select(tables.commits.c.account_id).order_by("account_id")).scalars())

    @contextmanager
    def migrating(self) -> Iterator[None]:
        """See `Commits.migrating`. A directory on SQLite has one process, and a store of its own one thread that opens
        it."""
        with nullcontext() if self._db.is_sqlite else self._db.lock(_MIGRATION_LOCK, 0):
            yield

    @contextmanager
    def turn(self, account_id: int) -> Iterator[Turn]:
        """See `Commits.turn`. Within a process a line; among several on PostgreSQL an advisory lock as well, which ends
        with its transaction: at the latest when that was idle for as long as PostgreSQL lets it."""
        with self._in_line(account_id), self._locked(account_id):
            yield self._begun(account_id)

    @contextmanager
    def _in_line(self, account_id: int) -> Iterator[None]:
        """In the order in which they came: with a plain lock, whoever has just had a turn takes the next as well, and
        others are refused after waiting for nothing."""
        mine = threading.Event()
        with self._lock:
            line = self._lines[account_id]
            line.append(mine)
            line[0].set()
        try:
            if not mine.wait(BUSY_TIMEOUT_MS / 1000):
                raise Unavailable("others are writing to this account; try again", retry_after=1)
            yield
        finally:
            with self._lock:
                line.remove(mine)
                if line:
                    line[0].set()

    @contextmanager
    def _locked(self, account_id: int) -> Iterator[None]:
        if self._db.is_sqlite:
            yield
            return
        with self._db.lock(_TURN_LOCK, account_id):
            yield

    def _begun(self, account_id: int) -> Turn:
        point = self.point(account_id)
        if not point.seq:
            first = {"account_id": account_id, "published": 0, "reserved": 0, "live": 0, "purged": 0}
            with self._db.write() as connection:
                connection.execute(self._db.insert(tables.commits).values(first).on_conflict_do_nothing())
        return Turn(self._db, account_id, point)

    def reserved(self, account_id: int) -> int:
        """See `Commits.reserved`."""
        with self._db.read() as connection:
            found = connection.execute(
                select(tables.commits.c.reserved).where(tables.commits.c.account_id == account_id)
            ).scalar()
        return found or 0

    def load(self, account_id: int, upto: int, live: int | None = None) -> None:
        """See `Commits.load`: nothing is published before all of it is."""
        commits = tables.commits
        first = {"account_id": account_id, "published": 0, "reserved": 0, "live": 0, "purged": 0}
        with self._db.write() as connection:
            connection.execute(self._db.insert(commits).values(first).on_conflict_do_nothing())
            published, reserved = _counts(connection, account_id)
            if published or reserved > upto:
                if live is not None and published == reserved == upto:
                    return
                raise Conflict(f"the account {account_id} has records that were not loaded from there")
            connection.execute(
                update(commits)
                .where(commits.c.account_id == account_id)
                .values(reserved=upto, published=0 if live is None else upto, live=live or 0)
            )

    def purged(self, account_id: int, upto: int) -> None:
        """See `Commits.purged`."""
        commits = tables.commits
        with self._db.write() as connection:
            connection.execute(
                update(commits).where(commits.c.account_id == account_id, commits.c.purged < upto).values(purged=upto)
            )

    def void_before(self, at_ms: int) -> list[tuple[int, Span]]:
        """See `Commits.void_before`."""
        void = tables.void_commits
        with self._db.read() as connection:
            found = connection.execute(select(void).where(void.c.at_ms < at_ms)).all()
        return [(row.account_id, Span(row.first, row.last)) for row in found]

    def forgotten(self, account_id: int, span: Span) -> None:
        """See `Commits.forgotten`."""
        void = tables.void_commits
        with self._db.write() as connection:
            connection.execute(
                delete(void).where(
                    void.c.account_id == account_id, void.c.first == span.first, void.c.last == span.last
                )
            )

    def rows_of_calls(self, account_id: int, source: str, links: Sequence[str]) -> list[CallRow]:
        """See `Store.rows_of_calls`: links and rows in turn, until nothing is added."""
        rows, tied = tables.call_rows, tables.call_links
        found: dict[int, CallRow] = {}
        known: set[bytes] = set()
        new = {link.encode() for link in links}
        with self._db.read() as connection:
            while new:
                known |= new
                asked, new = sorted(new), set()
                for part in _parts(asked):
                    statement = (
                        select(rows)
                        .distinct()
                        .join(tied, tied.c.row_id == rows.c.id)
                        .where(tied.c.account_id == account_id, tied.c.source == source, tied.c.link.in_(part))
                    )
                    for row in connection.execute(statement):
                        if row.id not in found:
                            found[row.id] = _kept(row)
                            new |= {link.encode() for link in found[row.id].links} - known
        return list(found.values())

    def rows_of_source(self, account_id: int, source: str, after: int, limit: int) -> list[tuple[int, CallRow]]:
        """See `Store.rows_of_source`."""
        rows = tables.call_rows
        statement = (
            select(rows)
            .where(rows.c.id > after, rows.c.account_id == account_id, rows.c.source == source)
            .order_by(rows.c.id)
            .limit(limit)
        )
        with self._db.read() as connection:
            return [(row.id, _kept(row)) for row in connection.execute(statement)]

    def count_rows(self, account_id: int, source: str) -> int:
        """See `Store.count_rows`."""
        rows = tables.call_rows
        counted = select(func.count()).where(rows.c.account_id == account_id, rows.c.source == source)
        with self._db.read() as connection:
            return int(connection.execute(counted).scalar_one())

    def known_rows(self, account_id: int, source: str, keys: Sequence[bytes]) -> set[bytes]:
        """See `Store.known_rows`."""
        rows = tables.call_rows
        known: set[bytes] = set()
        with self._db.read() as connection:
            for part in _parts(keys):
                statement = select(rows.c.key).where(
                    rows.c.account_id == account_id, rows.c.source == source, rows.c.key.in_(part)
                )
                known |= {bytes(key) for key in connection.execute(statement).scalars()}
        return known

    def receipt(self, account_id: int, key: str) -> Receipt | None:
        """See `Store.receipt`."""
        receipts = tables.receipts
        statement = select(receipts.c.digest, receipts.c.answer).where(
            receipts.c.account_id == account_id, receipts.c.key == key, receipts.c.at_ms >= now_ms() - RECEIPT_MS
        )
        with self._db.read() as connection:
            found = connection.execute(statement).first()
        return None if found is None else Receipt(bytes(found.digest), bytes(found.answer))

    def drop_receipts(self, before_ms: int) -> None:
        """See `Commits.drop_receipts`."""
        with self._db.write() as connection:
            connection.execute(delete(tables.receipts).where(tables.receipts.c.at_ms < before_ms))

    def quarantine_size(self) -> int:
        """See `Store.quarantine_size`."""
        with self._db.read() as connection:
            return connection.execute(select(func.count()).select_from(tables.quarantine)).scalar_one()

    def quarantined(self, account_id: int | None, reason: str | None) -> Iterator[Quarantined]:
        """See `Store.quarantined`, a page at a time."""
        quarantine = tables.quarantine
        statement = select(quarantine).order_by(quarantine.c.id).limit(_AT_ONCE)
        if account_id is not None:
            statement = statement.where(quarantine.c.account_id == account_id)
        if reason is not None:
            statement = statement.where(quarantine.c.reason == reason)
        last = 0
        while True:
            with self._db.read() as connection:
                page = connection.execute(statement.where(quarantine.c.id > last)).all()
            if not page:
                return
            for row in page:
                yield Quarantined(
                    id=row.id,
                    account_id=row.account_id,
                    source=row.source,
                    format=row.format,
                    origin=row.origin,
                    where=row.place,
                    reason=row.reason,
                    raw=bytes(row.raw),
                    at_ms=row.at_ms,
                )
            last = page[-1].id


def _counts(connection: Connection, account_id: int) -> tuple[int, int]:
    """Up to where commits are published and reserved; on PostgreSQL nobody else changes it before this transaction
    ends."""
    commits = tables.commits
    found = connection.execute(
        select(commits.c.published, commits.c.reserved).where(commits.c.account_id == account_id).with_for_update()
    ).one()
    return found.published, found.reserved


def _point(connection: Connection, account_id: int) -> Point:
    commits, void = tables.commits, tables.void_commits
    # What is void and begins below the last commit ends below it as well: it was void before that was made.
    found = connection.execute(
        select(commits.c.published, commits.c.live, commits.c.purged, void.c.first, void.c.last)
        .outerjoin(void, (void.c.account_id == commits.c.account_id) & (void.c.first <= commits.c.published))
        .where(commits.c.account_id == account_id)
        .order_by(void.c.first)
    ).all()
    if not found:
        return Point()
    spans = tuple(Span(row.first, row.last) for row in found if row.first is not None)
    return Point(found[0].published, found[0].live, spans, found[0].purged)


def _kept(row: Row[tuple[object, ...]]) -> CallRow:
    links = msgspec.json.decode(row.links, type=tuple[str, ...])
    return CallRow(bytes(row.key), links, bytes(row.text).decode(), row.uuid)


def _parts(items: Sequence[_T]) -> Iterator[Sequence[_T]]:
    return (items[at : at + _AT_ONCE] for at in range(0, len(items), _AT_ONCE))

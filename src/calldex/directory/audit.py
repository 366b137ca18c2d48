"""The audit in the directory database: appended to, read, trimmed and verified. What an entry is, and how entries form
a chain, is told in `calldex.audit.chain`.

Whoever appends or trims locks the one row that holds head and base first, so that several nodes of one directory, and
several processes of one machine, make one chain.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from typing import Any, Final

import msgspec
from sqlalchemy import (
    ColumnElement,
    Connection,
    LargeBinary,
    Row,
    String,
    bindparam,
    case,
    cast,
    delete,
    func,
    select,
    true,
    update,
)

from calldex.audit import chain
from calldex.audit.chain import Actor, Entry, Fault, Link, Verified
from calldex.clock import now_ms
from calldex.directory.database import Database, Repository
from calldex.directory.tables import audit as entries
from calldex.directory.tables import audit_chain
from calldex.errors import CalldexError, StoreDamaged

MOST_FAULTS: Final = 100
_ROWS_AT_ONCE: Final = 10_000
# Made once: to make a statement takes longer than to carry it out.
_LOCK: Final = select(audit_chain.c.n, audit_chain.c.hash).with_for_update()
_ADVANCE: Final = update(audit_chain).values(n=bindparam("to_n"), hash=bindparam("to_hash"))


class AuditFilter(msgspec.Struct, frozen=True, kw_only=True):
    """Which entries: those that fit everything that is given. Times are epoch milliseconds, `from_ms` included, `to_ms`
    excluded; of entries from `before` on, none."""

    from_ms: int | None = None
    to_ms: int | None = None
    actor: str | None = None
    action: str | None = None
    target: str | None = None
    before: int | None = None


class AuditWriter:
    """Appends to the chain, on a connection of its own. For one thread.

    On SQLite what is appended survives the end of the process, but the last of it perhaps not a loss of power: waiting
    for the disk would cost every request some milliseconds. On PostgreSQL it survives both.
    """

    def __init__(self, database: Database) -> None:
        self._db = database
        self._connection: Connection | None = None

    def append(self, some: Sequence[Entry]) -> Link:
        """Write entries in one commit, and give the chain's new head. Of none, it tries whether some could be written.

        Raises `DiskFull` or `Unavailable`; then none is written.
        """
        try:
            if self._connection is None:
                self._connection = self._db.connection()
            with self._db.write(on=self._connection) as connection:
                return _append(connection, some)
        except BaseException:
            self.close()  # whatever its state is: the next attempt has a new one
            raise

    def close(self) -> None:
        """Close the connection."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None


class Audit(Repository):
    """The audit: what is there, and what is to be kept of it."""

    def audit_writer(self) -> AuditWriter:
        """Somebody who appends to it."""
        return AuditWriter(self._db)

    def audit_head(self) -> Link:
        """The newest entry's link; of an audit without entries, 0 and zeros."""
        with self._db.read() as connection:
            return _head(connection.execute(select(audit_chain.c.n, audit_chain.c.hash)).first())

    def audit_entries(self, account_id: int | None, wanted: AuditFilter, limit: int) -> list[Entry]:
        """The newest entries that fit, of one account or of all, newest first."""
        query = select(entries).where(*self._conditions(account_id, wanted)).order_by(entries.c.n.desc()).limit(limit)
        with self._db.read() as connection:
            return [_read(row) for row in connection.execute(query)]

    def _conditions(self, account_id: int | None, wanted: AuditFilter) -> Iterator[ColumnElement[bool]]:
        if account_id is not None:
            yield entries.c.account_id == account_id
        if wanted.before is not None:
            yield entries.c.n < wanted.before
        if wanted.from_ms is not None:
            yield entries.c.at_ms >= wanted.from_ms
        if wanted.to_ms is not None:
            yield entries.c.at_ms < wanted.to_ms
        if wanted.actor is not None:
            yield entries.c.actor == chain.as_noted(wanted.actor.lower())
        if wanted.action is not None:
            yield entries.c.action == wanted.action
        if wanted.target is not None:
            # In the JSON of an entry a quote within a text has a backslash before it, so no text looks like a member.
            find = func.instr if self._db.is_sqlite else func.strpos
            target = msgspec.json.encode(chain.as_noted(wanted.target)).decode()
            yield find(entries.c.entry, f'"target":{target}') > 0

    def trim_audit(self, before_ms: int, most: int) -> int:
        """Drop the oldest entries, up to the first that is not older than this or `most` of them, and say so in the
        audit, in one commit. Gives how many were dropped."""
        oldest = select(entries.c.n, entries.c.hash, entries.c.at_ms).order_by(entries.c.n).limit(most)
        with self._db.write() as connection:
            _locked(connection)
            dropped = list(itertools.takewhile(lambda row: row.at_ms < before_ms, connection.execute(oldest)))
            if dropped:
                base = Link(dropped[-1].n, dropped[-1].hash)
                connection.execute(delete(entries).where(entries.c.n <= base.n))
                connection.execute(update(audit_chain).values(base_n=base.n, base_hash=base.hash))
                by_itself = Actor(actor=chain.ITSELF)
                told = chain.entry(by_itself, "audit_trimmed", target=str(base), rows=len(dropped))
                _append(connection, [msgspec.structs.replace(told, at_ms=now_ms())])
        return len(dropped)

    def verify_audit(self, expected: Link | None = None) -> Verified:
        """Look at every entry, and at one link that was noted elsewhere."""
        # One statement: it sees one moment on every engine.
        heads = (audit_chain.c.base_n, audit_chain.c.base_hash, audit_chain.c.n, audit_chain.c.hash)
        as_kept = _of_its_kind if self._db.is_sqlite else lambda column: column
        query = (
            select(
                *(as_kept(column).label(f"chain_{column.name}") for column in heads),
                *(as_kept(column).label(column.name) for column in entries.c),
            )
            .join_from(audit_chain, entries, true(), isouter=True)
            .order_by(entries.c.n)
        )
        with (
            self._db.read() as connection,
            connection.execution_options(yield_per=_ROWS_AT_ONCE).execute(query) as rows,
        ):
            first = next(rows, None)
            if first is None:
                return Verified(first=0, last=0, faults=[Fault(0, "the chain's head and base are gone")], more=False)
            base, head = (Link(n if isinstance(n, int) else -1, _bytes(hash_)) for n, hash_ in (first[:2], first[2:4]))
            found = list(
                itertools.islice(
                    chain.faults(base, head, _kept(itertools.chain([first], rows)), expected), MOST_FAULTS + 1
                )
            )
        return Verified(first=base.n + 1, last=head.n, faults=found[:MOST_FAULTS], more=len(found) > MOST_FAULTS)


def _read(row: Row[Any]) -> Entry:
    try:
        return msgspec.json.decode(row.entry, type=Entry)
    except (msgspec.DecodeError, UnicodeError, TypeError):
        raise CalldexError(
            f"entry {row.n} of the audit is not as it was written and cannot be read; `calldex audit verify` tells what"
            " was changed"
        ) from None


def _of_its_kind(column: ColumnElement[Any]) -> ColumnElement[Any]:
    """What a column of SQLite's has, which may be anything: nothing if it is of another kind, and of text its bytes,
    since the driver would refuse what is no text."""
    if isinstance(column.type, String):
        return cast(column, LargeBinary)
    kind = "blob" if isinstance(column.type, LargeBinary) else "integer"
    return case((func.typeof(column) == kind, column))


def _kept(rows: Iterator[Any]) -> Iterator[chain.Row]:
    """The part of the rows behind head and base, which is empty where no entry is kept."""
    for row in rows:
        if row.n is not None:
            n, at_ms, account_id, actor, action, entry, hash_ = row[4:]
            yield chain.Row(n, at_ms, account_id, _text(actor), _text(action), _text(entry), _bytes(hash_))


def _text(value: Any) -> str:
    """A text as it is kept; of what is none something that was never written."""
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)


def _bytes(value: Any) -> bytes:
    return value if isinstance(value, bytes) else str(value).encode()


def _locked(connection: Connection) -> Link:
    """The chain's head, which nobody else changes until this transaction ends. (On SQLite nobody else writes.)"""
    return _head(connection.execute(_LOCK).first())


def _head(row: Sequence[Any] | None) -> Link:
    """`StoreDamaged` for what nothing can be chained to."""
    n, hash_ = row or (None, None)
    if not (isinstance(n, int) and isinstance(hash_, bytes)):
        raise StoreDamaged("the head of the audit's chain is not what was written; `calldex audit verify` tells more")
    return Link(n, hash_)


def _append(connection: Connection, some: Sequence[Entry]) -> Link:
    head = _locked(connection)
    values: list[int | str | bytes] = []
    for each in some:
        numbered = msgspec.structs.replace(each, n=head.n + 1)
        text = chain.written(numbered)
        head = head.next(text)
        values += (
            head.n,
            numbered.at_ms,
            numbered.account_id,
            numbered.actor,
            numbered.action,
            text.decode(),
            head.hash,
        )
    if some:
        # One statement for all. Between two of them this thread waits for the others that run Python, each time.
        mark = "?" if connection.dialect.name == "sqlite" else "%s"
        marks = ", ".join([f"({', '.join([mark] * len(entries.c))})"] * len(some))
        connection.exec_driver_sql(f"INSERT INTO audit VALUES {marks}", tuple(values))  # noqa: S608 - marks alone
    connection.execute(_ADVANCE, {"to_n": head.n, "to_hash": head.hash})
    return head

"""A directory moved from a data directory into a database, and what a ledger keeps beside records taken in with it.

Only for `migrate`. The database is claimed by a mark, which tells another migration from the same one begun again and
stays until all of it is done; nobody serves a store that is marked.
"""

from __future__ import annotations

import hashlib
import sqlite3
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, Final

import msgspec
from sqlalchemy import Connection, Table, create_engine, delete, func, insert, select, text, update
from sqlalchemy.exc import DatabaseError, DataError

from calldex.clock import now_ms
from calldex.directory import tables
from calldex.directory.database import Database, version_of
from calldex.errors import Conflict, UnreadableInput, WrongVersion
from calldex.records.record import CallRow
from calldex.store import Quarantined, Receipt

_MARK: Final = "migration"
_OWN: Final = (_MARK, "store_id")
"""Secrets that belong to the database that is filled, and are not copied into it."""
_KEPT: Final = (
    tables.commits,
    tables.void_commits,
    tables.receipts,
    tables.quarantine,
    tables.call_rows,
    tables.call_links,
    tables.ledger_heads,
    tables.exports,
)
"""Tables that belong to a store, and are not filled from another directory."""
_AT_ONCE: Final = 1000


class Copying:
    """Fills a directory database."""

    def __init__(self, database: Database) -> None:
        self._db = database

    def refuse_unfinished(self) -> None:
        """`Conflict` if a migration into this database has begun and not ended."""
        if self.is_claimed():
            raise Conflict(
                f"a migration into {self._db.name} has begun and is not done: run `calldex migrate` again, to its end"
            )

    def is_claimed(self) -> bool:
        """Whether something is being moved into the database already."""
        return self._mark() is not None

    def begin(self, mark: str, *, new: bool) -> None:
        """Claim the database, or go on: `mark` says what is moved into it. `new`: nothing else may be in it yet.

        Raises `Conflict` if something is, or something else is being moved.
        """
        found = self._mark()
        if found == mark:
            return
        if found is not None:
            raise Conflict(
                f"into {self._db.name} another data directory is being moved, or this one was written to since that"
                " began; begin again with empty databases"
            )
        with self._db.write() as connection:
            used = [table.name for table in _used(new) if connection.execute(select(table).limit(1)).first()]
            if used:
                raise Conflict(
                    f"{self._db.name} is in use already ({', '.join(used)}); move into databases that are empty"
                )
            connection.execute(insert(tables.secrets).values(name=_MARK, value=mark.encode()))

    def end(self) -> None:
        """Everything is moved."""
        with self._db.write(access=True) as connection:
            connection.execute(delete(tables.secrets).where(tables.secrets.c.name == _MARK))

    def _mark(self) -> str | None:
        with self._db.read() as connection:
            value = connection.execute(select(tables.secrets.c.value).where(tables.secrets.c.name == _MARK)).scalar()
        return None if value is None else bytes(value).decode()

    # --- the directory ------------------------------------------------------------------------------------------------

    def directory(self, source: Path, tell: Callable[[int, int], None]) -> int:
        """Put all of the directory in an SQLite file in the place of what is here, in one transaction; how many rows.

        The file is not written. `WrongVersion` if it is of another version, `UnreadableInput` if it cannot be read, or
        holds what this database does not take. `tell` is told how many rows are copied, and of how many.
        """
        uri = f"{source.absolute().as_uri()}?mode=ro"
        engine = create_engine("sqlite://", creator=lambda: sqlite3.connect(uri, uri=True))
        try:
            with engine.connect() as reader, self._db.write(access=True) as writer:
                found = version_of(reader)
                if found != tables.VERSION:
                    raise WrongVersion(
                        f"{source} has version {found}, this program moves version {tables.VERSION}; start this"
                        " Calldex on it once"
                    )
                return _copied(reader, writer, tell)
        except DataError as error:
            raise UnreadableInput(f"{source} holds what {self._db.name} does not take: {error.orig}") from error
        except DatabaseError as error:
            raise UnreadableInput(f"{source} cannot be read: {error.orig}") from error
        finally:
            engine.dispose()

    # --- what a ledger keeps beside records ---------------------------------------------------------------------------

    def upto(self, table: Table) -> int:
        """The greatest id in a table."""
        with self._db.read() as connection:
            return int(connection.execute(select(func.coalesce(func.max(table.c.id), 0))).scalar_one())

    def rows_of_calls(self, rows: Sequence[tuple[int, int, str, CallRow]]) -> None:
        """Keep rows of calls: id, account, source, row."""
        kept = [
            {
                "id": id_,
                "account_id": account_id,
                "source": source,
                "key": row.key,
                "uuid": row.uuid,
                "links": msgspec.json.encode(row.links).decode(),
                "text": row.text.encode(),
            }
            for id_, account_id, source, row in rows
        ]
        links = [
            {"account_id": account_id, "source": source, "link": link.encode(), "row_id": id_}
            for id_, account_id, source, row in rows
            for link in dict.fromkeys(row.links)
        ]
        self._keep((tables.call_rows, kept), (tables.call_links, links))

    def quarantined(self, pieces: Sequence[Quarantined]) -> None:
        """Keep pieces of a quarantine."""
        kept = [
            {
                "id": each.id,
                "account_id": each.account_id,
                "source": each.source,
                "format": each.format,
                "origin": each.origin,
                "place": each.where,
                "reason": each.reason,
                "raw": each.raw,
                "digest": hashlib.sha256(each.raw).digest(),
                "at_ms": each.at_ms,
            }
            for each in pieces
        ]
        self._keep((tables.quarantine, kept))

    def receipts(self, receipts: Iterable[tuple[int, str, Receipt, int]]) -> None:
        """Keep answers given under idempotency keys: account, key, answer, time."""
        for account_id, key, receipt, at_ms in receipts:
            kept = {"account_id": account_id, "key": key, "digest": receipt.digest, "answer": receipt.answer}
            self._keep((tables.receipts, [{**kept, "at_ms": at_ms}]))

    def _keep(self, *parts: tuple[Table, list[dict[str, Any]]]) -> None:
        """Write rows in one transaction; those that are there already stay as they are."""
        with self._db.write() as connection:
            for table, rows in parts:
                if rows:
                    connection.execute(self._db.insert(table).on_conflict_do_nothing(), rows)
                if "id" in table.c:
                    _count_on(connection, table, 0)


def _used(new: bool) -> Sequence[Table]:
    """The tables that have to be empty: of a new directory all that a start does not fill."""
    others = (tables.users, tables.groups, tables.named, tables.sources, tables.audit) if new else ()
    return *others, tables.commits, tables.call_rows, tables.quarantine, tables.receipts


def _copied(reader: Connection, writer: Connection, tell: Callable[[int, int], None]) -> int:
    copied = [table for table in tables.metadata.sorted_tables if table not in _KEPT]
    others = tables.secrets.c.name.not_in(_OWN)
    total = sum(reader.execute(select(func.count()).select_from(table)).scalar_one() for table in copied)
    done = 0
    for table in reversed(copied):
        writer.execute(delete(table).where(others) if table is tables.secrets else delete(table))
    for table in copied:
        query = select(table).where(others) if table is tables.secrets else select(table)
        for part in reader.execution_options(yield_per=_AT_ONCE).execute(query).mappings().partitions():
            writer.execute(insert(table), [dict(row) for row in part])
            done += len(part)
            tell(done, total)
        if "id" in table.c and table.c.id.autoincrement is not False and len(table.primary_key) == 1:
            given = reader.execute(text("SELECT seq FROM sqlite_sequence WHERE name = :name"), {"name": table.name})
            _count_on(writer, table, given.scalar() or 0)
    # Whoever has this directory open reads again what it may have remembered.
    writer.execute(update(tables.change).values(n=tables.change.c.n + now_ms()))
    return done


def _count_on(connection: Connection, table: Table, given: int) -> None:
    """Let the next id be greater than those that are there, and than those that were ever given (up to `given`)."""
    if connection.dialect.name == "postgresql":
        greatest = func.greatest(select(func.coalesce(func.max(table.c.id), 0)).scalar_subquery(), given, 1)
        sequence = func.pg_get_serial_sequence(table.name, "id")
        connection.execute(select(func.setval(sequence, greatest)))

"""The look-ups: what records call agents, queues, teams, campaigns and wrap-up codes.

Ingest notes the names it sees in every batch. The name last seen wins, among names of one millisecond the larger; so
the look-ups depend on the records alone, not on the order in which they came.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable
from typing import Final

from sqlalchemy import Connection, select, tuple_

from calldex.directory.database import Database, Part
from calldex.directory.model import Named, Seen, WrapupCode
from calldex.directory.tables import named
from calldex.record import NamedKind

FLUSH_S: Final = 60
"""How long it may take until it is written that a known name was seen again."""
CACHE_LIMIT: Final = 200_000
"""Names kept in memory; beyond, memory is emptied and fills again."""

_NameKey = tuple[int, NamedKind, int | str]
_Stamp = tuple[int, str]

# Something seen without a name: it loses against every name.
_UNNAMED: Final[_Stamp] = (-(2**62), "")
_UNKNOWN: Final[_Stamp] = (-(2**63), "")


class Lookups(Part):
    """Names by id, per account and kind."""

    def __init__(self, database: Database) -> None:
        super().__init__(database)
        self._lock = threading.Lock()
        self._known: dict[_NameKey, _Stamp] = {}
        self._pending: dict[_NameKey, _Stamp] = {}
        self._flush_at = time.monotonic() + FLUSH_S

    def note_seen(self, account_id: int, seen: Iterable[Seen]) -> None:
        """Note names seen in records of an account.

        A name that is new is written before this returns. That a known name was seen again, later, is kept in memory
        and written within a minute or so; if the process is killed meanwhile, only that time is lost. What is known
        costs no more than a look into memory.
        """
        known = self._known
        news: dict[_NameKey, _Stamp] = {}
        with self._lock:
            for each in seen:
                key = (account_id, each.kind, each.key)
                stamp = _UNNAMED if each.name is None else (each.at_ms, each.name)
                if stamp > (news.get(key) or known.get(key, _UNKNOWN)):
                    news[key] = stamp
            if not news:
                return
            if time.monotonic() >= self._flush_at or any(
                key not in known or known[key][1] != name for key, (_, name) in news.items()
            ):
                self._write(self._pending | news)
            else:
                self._pending |= news
            known |= news
            if len(known) > CACHE_LIMIT:  # it grew by new names, and with those everything pending was written
                known.clear()

    def flush_seen(self) -> None:
        """Write everything that was noted."""
        with self._lock:
            self._write(self._pending)

    def lookup(self, account_id: int, kind: NamedKind) -> list[Named]:
        """The entries of a look-up by name, then id; what records name by its id alone is called by its id."""
        query = select(named.c.id, named.c.name).where(named.c.account_id == account_id, named.c.kind == kind)
        with self._db.read() as connection:
            entries = [Named(id=row.id, name=row.name or str(row.id)) for row in connection.execute(query)]
        return sorted(entries, key=lambda entry: (entry.name, entry.id))

    def wrapup_codes(self, account_id: int) -> list[WrapupCode]:
        """The wrap-up codes by description, then code; one without a description is described by itself."""
        query = select(named.c.code, named.c.name).where(
            named.c.account_id == account_id, named.c.kind == "wrapup_code"
        )
        with self._db.read() as connection:
            codes = [WrapupCode(code=row.code, description=row.name or row.code) for row in connection.execute(query)]
        return sorted(codes, key=lambda entry: (entry.description, entry.code))

    def _write(self, stamps: dict[_NameKey, _Stamp]) -> None:
        if stamps:
            with self._db.write() as connection:
                _upsert(self._db, connection, stamps)
        self._pending = {}
        self._flush_at = time.monotonic() + FLUSH_S


def write_names(database: Database, connection: Connection, account_id: int, seen: Iterable[Seen]) -> None:
    """Note names in a transaction that writes more than them."""
    stamps = {
        (account_id, each.kind, each.key): _UNNAMED if each.name is None else (each.at_ms, each.name) for each in seen
    }
    if stamps:
        _upsert(database, connection, stamps)


def _upsert(database: Database, connection: Connection, stamps: dict[_NameKey, _Stamp]) -> None:
    statement = database.insert(named)
    new = statement.excluded
    statement = statement.on_conflict_do_update(
        index_elements=list(named.primary_key),
        set_={"name": new.name, "seen_ms": new.seen_ms},
        where=tuple_(new.seen_ms, new.name) > tuple_(named.c.seen_ms, named.c.name),
    )
    rows = [
        {
            "account_id": account_id,
            "kind": kind,
            "id": key if isinstance(key, int) else 0,
            "code": key if isinstance(key, str) else "",
            "name": name,
            "seen_ms": at_ms,
        }
        for (account_id, kind, key), (at_ms, name) in stamps.items()
    ]
    # In one order everywhere, so that two nodes that write the same names wait for each other and never cross.
    rows.sort(key=lambda row: (row["account_id"], row["kind"], row["id"], row["code"]))
    connection.execute(statement, rows)

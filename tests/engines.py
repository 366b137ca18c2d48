"""The engines that a store may run on. Another engine is one entry more, and passes the same tests."""

from __future__ import annotations

import atexit
import hashlib
import shutil
import sqlite3
import tempfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import Final, Literal

import apsw
import msgspec

from calldex.access import Scope
from calldex.directory import Directory
from calldex.records.record import Cdr, from_ms
from calldex.search.feed import FeedPage
from calldex.search.query import Query
from calldex.store import Batch, Outcome, Prepared, Store
from calldex.store.clickhouse import ClickhouseStore
from calldex.store.clickhouse.address import Dsn
from calldex.store.embedded import EmbeddedStore
from calldex.store.embedded.packing import Packing

LONG_S: Final = 9 * 86_400.0

Opener = Callable[[Path, float], Store]


def embedded(data: Path, superseded_kept_s: float = LONG_S) -> EmbeddedStore:
    """The store on one machine, small."""
    return EmbeddedStore(data, memory_mb=128, index_mb=64, threads=2, timeout_s=20, superseded_kept_s=superseded_kept_s)


class _Clickhouse(ClickhouseStore):
    """A store whose commits are counted in a directory of its own, which ends with it."""

    def __init__(self, data: Path, superseded_kept_s: float) -> None:
        self._directory = Directory.open(data / "directory.db")
        super().__init__(
            chdb_database(data),
            self._directory.commits(),
            timeout_s=20,
            superseded_kept_s=superseded_kept_s,
        )

    def close(self) -> None:
        """Close both."""
        super().close()
        self._directory.close()


@cache
def _engine() -> Path:
    """The folder of ClickHouse's engine: a process can have one, in which each store has its own database."""
    folder = tempfile.mkdtemp(prefix="calldex-chdb-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return Path(folder)


def chdb_database(data: Path) -> Dsn:
    """The database in this process that belongs to a folder."""
    return Dsn(path=str(_engine()), database=f"d{hashlib.sha256(str(data).encode()).hexdigest()[:16]}")


def chdb(data: Path, superseded_kept_s: float = LONG_S) -> ClickhouseStore:
    """The store on ClickHouse, with its engine in this process."""
    return _Clickhouse(data, superseded_kept_s)


def knowing_json(ledger: sqlite3.Connection, file: Path) -> sqlite3.Connection:
    """A connection to a ledger whose SQL knows `unpacked` and `packed`: the JSON of a version, and as it lies there."""
    with closing(apsw.Connection(str(file), flags=apsw.SQLITE_OPEN_READONLY)) as reader:
        packing = Packing(reader)
    ledger.create_function("unpacked", 1, lambda stored: (packing.plain(stored) or b"").decode())
    ledger.create_function("packed", 1, lambda text: packing.pack([text.encode()])[0])
    return ledger


ENGINES: Final[Mapping[str, Opener]] = {"embedded": embedded, "chdb": chdb}


def put(store: Store, records: Sequence[Cdr | Prepared], account_id: int = 1, *, wait: bool = True) -> list[Outcome]:
    """Write records in one commit."""
    return store.write(
        Batch(account_id=account_id, source="", format="jsonl", origin="test", records=records), wait=wait
    )


def erase(store: Store, account_id: int, uuids: Sequence[str]) -> int:
    """Take records back, as a request does; how many were there."""
    batch = Batch(account_id=account_id, source="", format="", origin="", removed=uuids)
    return store.write(batch).count(Outcome.DELETED)


def everything(account_id: int = 1) -> Query:
    """A search for all that an account has."""
    return Query(scope=Scope(account_id=account_id, whole=True))


class FedChange(msgspec.Struct, frozen=True):
    """A change as the feed tells it: a version that came, or a record that a copy drops (`json` is None)."""

    seq: int
    change: Literal["upsert", "delete"]
    uuid: str
    at: datetime
    record: msgspec.Raw

    @property
    def json(self) -> bytes | None:
        """The record's JSON."""
        assert (self.change == "delete") == (bytes(self.record) == b"null")
        return None if self.change == "delete" else bytes(self.record)


class _Page(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    changes: list[FedChange]
    next_cursor: str
    has_more: bool
    complete_through: datetime


def changes_of(page: FeedPage) -> list[FedChange]:
    """The changes of a page, as its reply has them."""
    reply = msgspec.json.decode(page.body, type=_Page)
    assert (reply.next_cursor, reply.has_more) == (page.cursor, page.more)
    assert (len(reply.changes), reply.complete_through) == (page.count, from_ms(page.complete_ms))
    return reply.changes


def answer(store: Store, query: Query, as_of: int | None = None) -> tuple[int, bytes]:
    """How many records match, and their JSON as one page."""
    seen = store.head(query.scope.account_id) if as_of is None else as_of
    total = store.total(query, seen)
    return total, store.slice(query, seen, limit=10_000, total=total).json


def disagreeing(store: Store) -> list[str]:
    """The days on which the parts of a store differ."""
    return [f"{day.account_id} {day.day}: {day.kept} {day.answering}" for day in store.check() if not day.equal]

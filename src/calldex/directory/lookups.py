"""The look-ups: what records call agents, queues, teams, campaigns and wrap-up codes.

Ingest notes the names it sees in every batch. The name last seen wins, among names of one millisecond the larger; so
the look-ups depend on the records alone, not on the order in which they came. Over a name that somebody set, none of
theirs wins.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Final, get_args

from sqlalchemy import ColumnElement, Connection, delete, select, tuple_

from calldex.directory.database import Database, Repository
from calldex.directory.model import Named, NameEntry, Seen, WrapupCode, id_problem, refuse, text_problem
from calldex.directory.principals import find_account
from calldex.directory.refs import Refs
from calldex.directory.snapshot import Snapshot
from calldex.directory.tables import PINNED_MS, named
from calldex.errors import BadParameters, NotFound, Problem, suggest
from calldex.records.record import NamedKind

FLUSH_S: Final = 60
"""How long it may take until it is written that a known name was seen again."""
CACHE_LIMIT: Final = 200_000
"""Names kept in memory; beyond, memory is emptied and fills again."""

_KINDS: Final = ", ".join(get_args(NamedKind))

_NameKey = tuple[int, NamedKind, int | str]
_Stamp = tuple[int, str]

# Something seen without a name: it loses against every name.
_UNNAMED: Final[_Stamp] = (-(2**62), "")
_UNKNOWN: Final[_Stamp] = (-(2**63), "")


class Lookups(Repository):
    """Names by id, per account and kind."""

    def __init__(self, database: Database) -> None:
        super().__init__(database)
        self._lock = threading.Lock()
        # Of another change in the directory it may be that names were removed: then nothing is known any more.
        self._known = Snapshot(database, self._nothing_known)
        self._pending: dict[_NameKey, _Stamp] = {}
        self._flush_at = time.monotonic() + FLUSH_S

    def note_seen(self, account_id: int, seen: Iterable[Seen]) -> None:
        """Note names seen in records of an account.

        A name that is new is written before this returns. That a known name was seen again, later, is kept in memory
        and written within a minute or so; if the process is killed meanwhile, only that time is lost. What is known
        costs no more than a look into memory.
        """
        news: dict[_NameKey, _Stamp] = {}
        with self._lock:
            known = self._known.recent()
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
            self._known.current()
            self._write(self._pending)

    def lookup(self, account_id: int, kind: NamedKind) -> list[Named]:
        """The entries of a look-up by name, then id; what records name by its id alone is called by its id."""
        query = select(named.c.id, named.c.name).where(named.c.account_id == account_id, named.c.kind == kind)
        with self._db.read() as connection:
            entries = [Named(id=row.id, name=row.name or str(row.id)) for row in connection.execute(query)]
        return sorted(entries, key=lambda entry: (entry.name, entry.id))

    def meant(self, account_id: int, kind: NamedKind, parameter: str, refs: Sequence[int | str]) -> tuple[int, ...]:
        """The ids of what is meant by ids and names. `BadParameters` with the names that nothing or several have; an id
        that nothing has yet may get its thing later."""
        with self._db.read() as connection:
            known = Refs(kind, names_of(connection, account_id, kind))
        named_ = known.ids(parameter, [ref for ref in refs if isinstance(ref, str)])
        return tuple(sorted({*named_, *(ref for ref in refs if isinstance(ref, int))}))

    def wrapup_codes(self, account_id: int) -> list[WrapupCode]:
        """The wrap-up codes by description, then code; one without a description is described by itself."""
        query = select(named.c.code, named.c.name).where(
            named.c.account_id == account_id, named.c.kind == "wrapup_code"
        )
        with self._db.read() as connection:
            codes = [WrapupCode(code=row.code, description=row.name or row.code) for row in connection.execute(query)]
        return sorted(codes, key=lambda entry: (entry.description, entry.code))

    def names(self, account: str, kind: NamedKind) -> list[NameEntry]:
        """What things of a kind are called in an account, by name, then id or code; an empty name is none."""
        with self._db.read() as connection:
            return _names(connection, find_account(connection, account).id, kind)

    def set_name(self, account: str, kind: NamedKind, key: int | str, name: str) -> NameEntry:
        """Set what something is called, whatever records call it from now on; it need not be known yet."""
        refuse([*_key_problem(kind, key), *text_problem("name", name, 200)])
        with self._db.write(access=True) as connection:
            pin(self._db, connection, find_account(connection, account).id, kind, {key: name})
        return NameEntry(key, name, pinned=True)

    def remove_name(self, account: str, kind: NamedKind, key: int | str) -> None:
        """Forget what something is called; it comes back, under the name that records have for it, when one names it
        again. `NotFound` if it has no name; teams are removed by `remove_team`."""
        if kind == "team":
            raise BadParameters([Problem("kind", kind, "a team is removed as a team, not as a name")])
        self.flush_seen()
        with self._db.write(access=True) as connection:
            account_id = find_account(connection, account).id
            known = [entry.key for entry in _names(connection, account_id, kind)]
            if key not in known:
                raise NotFound(f"there is no {kind} {str(key)[:64]!r}{suggest(str(key), map(str, known))}")
            connection.execute(delete(named).where(*_is(account_id, kind, key)))

    def _nothing_known(self, connection: Connection) -> dict[_NameKey, _Stamp]:
        """No names; and of those that wait to be written again only what nobody removed meanwhile."""
        if self._pending:
            accounts = {account_id for account_id, _, _ in self._pending}
            query = select(named.c.account_id, named.c.kind, named.c.id, named.c.code).where(
                named.c.account_id.in_(accounts)
            )
            there = {(account_id, kind, id_ or code) for account_id, kind, id_, code in connection.execute(query)}
            self._pending = {key: stamp for key, stamp in self._pending.items() if key in there}
        return {}

    def _write(self, stamps: dict[_NameKey, _Stamp]) -> None:
        if stamps:
            with self._db.write() as connection:
                _upsert(self._db, connection, stamps)
        self._pending = {}
        self._flush_at = time.monotonic() + FLUSH_S


def pin(
    database: Database, connection: Connection, account_id: int, kind: NamedKind, names: Mapping[int | str, str]
) -> None:
    """Set what things are called; by key."""
    if not names:
        return
    statement = database.insert(named)
    statement = statement.on_conflict_do_update(
        index_elements=list(named.primary_key),
        set_={"name": statement.excluded.name, "seen_ms": statement.excluded.seen_ms},
    )
    connection.execute(statement, [_row(account_id, kind, key, name, PINNED_MS) for key, name in sorted(names.items())])


def unname(connection: Connection, account_id: int, kind: NamedKind, key: int) -> None:
    """Forget what something is called."""
    connection.execute(delete(named).where(*_is(account_id, kind, key)))


def names_of(connection: Connection, account_id: int, kind: NamedKind) -> dict[int, str]:
    """What the things of a kind that have ids are called, by id; an empty name is none."""
    query = select(named.c.id, named.c.name).where(named.c.account_id == account_id, named.c.kind == kind)
    return dict(connection.execute(query).all())


def _names(connection: Connection, account_id: int, kind: NamedKind) -> list[NameEntry]:
    query = select(named.c.id, named.c.code, named.c.name, named.c.seen_ms).where(
        named.c.account_id == account_id, named.c.kind == kind
    )
    entries = [NameEntry(row.id or row.code, row.name, row.seen_ms == PINNED_MS) for row in connection.execute(query)]
    return sorted(entries, key=lambda entry: (entry.name, str(entry.key).zfill(20)))


def _key_problem(kind: NamedKind, key: int | str) -> Iterable[Problem]:
    if kind not in get_args(NamedKind):
        yield Problem(
            "kind", kind[:100], f"is not a kind of thing that has a name{suggest(kind, get_args(NamedKind))}", _KINDS
        )
    elif kind == "wrapup_code" and isinstance(key, str):
        yield from text_problem("key", key, 64)
    elif kind != "wrapup_code" and isinstance(key, int):
        yield from id_problem("key", key)
    else:
        valid = "text" if kind == "wrapup_code" else "a whole number"
        yield Problem("key", str(key)[:100], f"is not the key of a {kind} is known", valid)


def _is(account_id: int, kind: NamedKind, key: int | str) -> tuple[ColumnElement[bool], ...]:
    row = _row(account_id, kind, key, "", 0)
    return tuple(named.c[column] == row[column] for column in ("account_id", "kind", "id", "code"))


def _row(account_id: int, kind: NamedKind, key: int | str, name: str, seen_ms: int) -> dict[str, object]:
    return {
        "account_id": account_id,
        "kind": kind,
        "id": key if isinstance(key, int) else 0,
        "code": key if isinstance(key, str) else "",
        "name": name,
        "seen_ms": seen_ms,
    }


def _upsert(database: Database, connection: Connection, stamps: dict[_NameKey, _Stamp]) -> None:
    statement = database.insert(named)
    new = statement.excluded
    statement = statement.on_conflict_do_update(
        index_elements=list(named.primary_key),
        set_={"name": new.name, "seen_ms": new.seen_ms},
        where=tuple_(new.seen_ms, new.name) > tuple_(named.c.seen_ms, named.c.name),
    )
    # In one order everywhere, so that two nodes that write the same names wait for each other and never cross.
    ordered = sorted(stamps.items(), key=lambda item: (item[0][0], item[0][1], str(item[0][2])))
    connection.execute(
        statement, [_row(account_id, kind, key, name, at_ms) for (account_id, kind, key), (at_ms, name) in ordered]
    )

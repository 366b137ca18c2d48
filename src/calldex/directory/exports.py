"""Exports that are made in the background: who asked for what, how far each is, and what became of it.

Beside the way of a record: the files lie with the node that makes them (`jobs`), which is named here; every node knows
all of them. Whose an export is, is a `Maker`, not a user: under what rights it is made, and may be fetched, is asked
anew each time (`rights_of`), and it is nobody's any more when they are gone.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, Literal

import msgspec
from sqlalchemy import ColumnElement, Connection, delete, func, insert, select, update

from calldex.access import Principal, owner_of
from calldex.clock import now_ms
from calldex.directory.database import Repository
from calldex.directory.principals import principals, read_accounts
from calldex.directory.tables import ExportState, api_keys, exports, users
from calldex.errors import NotFound, TooMany

MOST_OPEN: Final = 5
"""Exports of one user that wait or run; one more is refused."""
MOST_KEPT: Final = 50
"""Exports of one user, whatever became of them; one more is refused."""
MOST_LISTED: Final = 1_000
_OPEN: Final[tuple[ExportState, ...]] = ("queued", "running")


class Maker(msgspec.Struct, frozen=True, kw_only=True):
    """Who made something that is done later, and with what: a key (its id and prefix) or a session. The owner of the
    data directory is user 0."""

    account_id: int
    user_id: int
    key_id: int | None
    email: str
    credential: str


class Export(Maker, frozen=True, kw_only=True):
    """An export. `scope` is the fingerprint of what its maker sees, `after` where the last record stands that is
    written, packed. Times are epoch milliseconds."""

    id: str
    node: str
    parameters: list[tuple[str, str]]
    scope: bytes | None
    store_id: str
    as_of: int | None = None
    total: int | None = None
    records: int = 0
    size: int = 0
    after: bytes | None = None
    state: ExportState = "queued"
    reason: str | None = None
    digest: str | None = None
    schedule_id: int | None = None
    day: str | None = None
    created_at: int
    ended_at: int | None = None
    expires_at: int

    @property
    def open(self) -> bool:
        """Whether it waits or runs."""
        return self.state in _OPEN


def maker_of(principal: Principal) -> dict[str, Any]:
    """The members of a `Maker` who is this."""
    return {
        "account_id": principal.account_id,
        "user_id": principal.user_id,
        "key_id": getattr(principal, "key_id", None),
        "email": principal.email,
        "credential": principal.credential,
    }


class Exports(Repository):
    """Exports."""

    def rights_of(self, maker: Maker) -> Principal | None:
        """What a maker may now: with their key, if it works still, or as themselves. None if nothing."""
        with self._db.read() as connection:
            if maker.user_id == 0:
                account = next(each for each in read_accounts(connection) if each.id == maker.account_id)
                return owner_of(account.id, account.name, account.timezone or "UTC")
            person = principals(connection, users.c.id == maker.user_id, users.c.disabled_at.is_(None)).get(
                maker.user_id
            )
            if person is None or person.account_id != maker.account_id:
                return None
            if maker.key_id is None:
                return msgspec.structs.replace(person, vocabulary="documented", credential=maker.credential)
            key = connection.execute(
                select(api_keys.c.scopes, api_keys.c.expires_at, api_keys.c.vocabulary).where(
                    api_keys.c.id == maker.key_id, api_keys.c.user_id == maker.user_id, api_keys.c.revoked_at.is_(None)
                )
            ).one_or_none()
        if key is None or (key.expires_at is not None and now_ms() >= key.expires_at):
            return None
        return msgspec.structs.replace(
            person,
            scopes=tuple(key.scopes.split(",")),
            vocabulary=key.vocabulary or person.vocabulary,
            credential=maker.credential,
        )

    def account_name(self, account_id: int) -> str:
        """The name of an account."""
        with self._db.read() as connection:
            return next(each.name for each in read_accounts(connection) if each.id == account_id)

    def add_export(self, export: Export) -> None:
        """Keep a new one; `TooMany` if its maker has too many."""
        own = (exports.c.account_id == export.account_id, exports.c.user_id == export.user_id)
        with self._db.write() as connection:
            kept, waiting = connection.execute(
                select(func.count(), func.count().filter(exports.c.state.in_(_OPEN))).where(*own)
            ).one()
            if waiting >= MOST_OPEN:
                raise TooMany(
                    f"{waiting} exports of yours wait or run, and {MOST_OPEN} may; try again when one has"
                    " ended, or delete one",
                    retry_after=10,
                )
            if kept >= MOST_KEPT:
                raise TooMany(f"{kept} of your exports are kept, the most that may be; delete some", retry_after=60)
            insert_export(connection, export)

    def exports(self, account_id: int, user_id: int | None) -> list[Export]:
        """Those of an account, or of one user there, newest first, up to `MOST_LISTED`."""
        own = [] if user_id is None else [exports.c.user_id == user_id]
        return self._exports(exports.c.account_id == account_id, *own)

    def open_exports(self, node: str) -> list[Export]:
        """Those that a node has to make."""
        return self._exports(exports.c.node == node, exports.c.state.in_(_OPEN))

    def done_exports(self, node: str) -> list[Export]:
        """Those whose files wait at a node to be fetched, newest first, up to `MOST_LISTED`."""
        return self._exports(exports.c.node == node, exports.c.state == "done", exports.c.schedule_id.is_(None))

    def kept_exports(self, node: str) -> list[str]:
        """The ids of those whose files a node has, or will."""
        with self._db.read() as connection:
            query = select(exports.c.id).where(exports.c.node == node, exports.c.state != "failed")
            return list(connection.execute(query).scalars())

    def export(self, id_: str, account_id: int | None = None) -> Export:
        """One; `NotFound`."""
        own = [] if account_id is None else [exports.c.account_id == account_id]
        found = self._exports(exports.c.id == id_, *own)
        if not found:
            raise NotFound(f"there is no export {id_[:100]!r}; it was deleted or has expired, or never was")
        return found[0]

    def change_export(self, id_: str, *, among: Sequence[ExportState] = _OPEN, **values: Any) -> bool:
        """Change some of its columns, if its state is among these; whether it was."""
        here = (exports.c.id == id_, exports.c.state.in_(among))
        with self._db.write() as connection:
            return bool(connection.execute(update(exports).where(*here).values(**values)).rowcount)

    def end_export(self, id_: str, state: Literal["done", "failed"], reason: str | None = None) -> bool:
        """It is done, or has failed for a reason; whether it was not deleted before."""
        among = _OPEN if state == "done" else (*_OPEN, "done")
        return self.change_export(id_, among=among, state=state, reason=reason, ended_at=now_ms())

    def remove_export(self, id_: str) -> bool:
        """Forget it; whether it was there."""
        with self._db.write() as connection:
            return bool(connection.execute(delete(exports).where(exports.c.id == id_)).rowcount)

    def drop_exports(self, at_ms: int) -> int:
        """Forget those that have expired; how many."""
        with self._db.read() as connection:
            if connection.execute(select(exports.c.id).where(exports.c.expires_at <= at_ms).limit(1)).first() is None:
                return 0
        with self._db.write() as connection:
            return connection.execute(delete(exports).where(exports.c.expires_at <= at_ms)).rowcount

    def _exports(self, *conditions: ColumnElement[bool]) -> list[Export]:
        query = select(exports).where(*conditions).order_by(exports.c.created_at.desc(), exports.c.id)
        with self._db.read() as connection:
            rows = connection.execute(query.limit(MOST_LISTED)).mappings()
            return [Export(**{**row, "parameters": [tuple(pair) for pair in row["parameters"]]}) for row in rows]


def insert_export(connection: Connection, export: Export) -> None:
    """Write the row of a new one."""
    connection.execute(insert(exports).values(**msgspec.structs.asdict(export)))

"""Saved views: searches under a name, of one user, or shared by them with all of their account."""

from __future__ import annotations

from typing import Any, Final

import msgspec
from sqlalchemy import Connection, delete, func, insert, select, update

from calldex.clock import now_ms
from calldex.directory.database import Repository
from calldex.directory.tables import saved_views, users
from calldex.errors import Conflict, NotFound

MOST_OWN: Final = 200
"""How many views a user may save."""
MOST_SHARED: Final = 500
"""How many an account may share."""


class SavedView(msgspec.Struct, frozen=True, kw_only=True):
    """A saved search: the query string of the list, and whose it is (`by`, e-mail address)."""

    id: int
    user_id: int
    by: str
    name: str
    query: str
    shared: bool
    created_at: int
    changed_at: int


class Views(Repository):
    """Views, by id. Who may change one is for the caller to see to."""

    def views(self, account_id: int, user_id: int) -> list[SavedView]:
        """Their own, and those that others share, by name."""
        with self._db.read() as connection:
            seen = (saved_views.c.user_id == user_id) | saved_views.c.shared
            return sorted(_views(connection, account_id, seen), key=lambda view: (view.name, view.id))

    def view(self, account_id: int, id_: int) -> SavedView:
        """One view; `NotFound`."""
        with self._db.read() as connection:
            return _view(connection, account_id, id_)

    def add_view(self, account_id: int, user_id: int, name: str, query: str, *, shared: bool) -> SavedView:
        """Save a search; `Conflict` if the user has one of the name, or there are too many."""
        with self._db.write() as connection:
            _refuse_taken(connection, account_id, user_id, name)
            _refuse_many(connection, account_id, saved_views.c.user_id == user_id, MOST_OWN, "you have saved")
            if shared:
                _refuse_shared(connection, account_id)
            at = now_ms()
            values = {"name": name, "query": query, "shared": shared, "created_at": at, "changed_at": at}
            added = connection.execute(
                insert(saved_views).values(account_id=account_id, user_id=user_id, **values)
            ).inserted_primary_key
            return _view(connection, account_id, added[0] if added else 0)

    def change_view(self, account_id: int, id_: int, changes: dict[str, Any]) -> SavedView:
        """Change some of `name`, `query`, `shared`; `NotFound`, `Conflict`."""
        with self._db.write() as connection:
            found = _view(connection, account_id, id_)
            if changes.get("name", found.name) != found.name:
                _refuse_taken(connection, account_id, found.user_id, changes["name"])
            if changes.get("shared") and not found.shared:
                _refuse_shared(connection, account_id)
            if changes:
                values = {**changes, "changed_at": now_ms()}
                connection.execute(update(saved_views).where(saved_views.c.id == id_).values(values))
            return _view(connection, account_id, id_)

    def remove_view(self, account_id: int, id_: int) -> None:
        """Forget a view; `NotFound`."""
        with self._db.write() as connection:
            connection.execute(delete(saved_views).where(saved_views.c.id == _view(connection, account_id, id_).id))


def _views(connection: Connection, account_id: int, *which: Any) -> list[SavedView]:
    names = [name for name in SavedView.__struct_fields__ if name != "by"]
    query = (
        select(*(saved_views.c[name] for name in names), users.c.email.label("by"))
        .join_from(saved_views, users)
        .where(saved_views.c.account_id == account_id, *which)
    )
    return [SavedView(**row._asdict()) for row in connection.execute(query)]


def _view(connection: Connection, account_id: int, id_: int) -> SavedView:
    found = _views(connection, account_id, saved_views.c.id == id_)
    if not found:
        raise NotFound(f"there is no saved view {id_}")
    return found[0]


def _refuse_taken(connection: Connection, account_id: int, user_id: int, name: str) -> None:
    if _views(connection, account_id, saved_views.c.user_id == user_id, saved_views.c.name == name):
        raise Conflict(f"there is already a view {name!r} of theirs")


def _refuse_shared(connection: Connection, account_id: int) -> None:
    _refuse_many(connection, account_id, saved_views.c.shared, MOST_SHARED, "the account shares")


def _refuse_many(connection: Connection, account_id: int, which: Any, most: int, who: str) -> None:
    counted = select(func.count()).select_from(saved_views).where(saved_views.c.account_id == account_id, which)
    if connection.execute(counted).scalar_one() >= most:
        raise Conflict(f"{who} {most} views, and there may be no more; remove one first")

"""Schedules of exports: what is made every night, and where it goes.

Beside the way of a record. A schedule has the next day on which it runs; who makes that run (`claim_run`) moves the day
on in the same transaction, so that of several nodes one does, once.
"""

from __future__ import annotations

from typing import Final

import msgspec
from sqlalchemy import ColumnElement, delete, insert, select, update

from calldex.directory.database import Repository
from calldex.directory.exports import Export, Maker, insert_export
from calldex.directory.tables import export_schedules
from calldex.errors import Conflict, NotFound

MOST_SCHEDULES: Final = 50
"""Of an account."""


class Schedule(Maker, frozen=True, kw_only=True):
    """What is made when the day that is cut in its zone has come to `at` (as 02:00): the records of the day before.
    `next_day` is the next day on which it runs."""

    id: int
    name: str
    at: str
    timezone: str
    next_day: str
    parameters: list[tuple[str, str]]
    target: str
    created_at: int


class Schedules(Repository):
    """Schedules."""

    def schedules(self, account_id: int | None = None) -> list[Schedule]:
        """Those of an account, or all of them, by name."""
        own = [] if account_id is None else [export_schedules.c.account_id == account_id]
        return sorted(self._schedules(*own), key=lambda each: (each.name, each.id))

    def schedule(self, account_id: int, reference: int | str) -> Schedule:
        """The one of this id or name; `NotFound`."""
        column = export_schedules.c.id if isinstance(reference, int) else export_schedules.c.name
        found = self._schedules(export_schedules.c.account_id == account_id, column == reference)
        if not found:
            raise NotFound(f"there is no schedule {reference!r}")
        return found[0]

    def scheduled(self, export: Export) -> Schedule | None:
        """The schedule that asked for an export, if it is there still."""
        return next(iter(self._schedules(export_schedules.c.id == export.schedule_id)), None)

    def add_schedule(self, new: Schedule) -> Schedule:
        """Keep a new one, whatever its id; `Conflict` if there is one of that name, or there are too many."""
        values = msgspec.structs.asdict(new)
        del values["id"]
        with self._db.write() as connection:
            names = select(export_schedules.c.name).where(export_schedules.c.account_id == new.account_id)
            taken = list(connection.execute(names).scalars())
            if new.name in taken:
                raise Conflict(f"there is already a schedule {new.name!r}")
            if len(taken) >= MOST_SCHEDULES:
                raise Conflict(f"there are {len(taken)} schedules, and {MOST_SCHEDULES} may be; remove some")
            connection.execute(insert(export_schedules).values(**values))
        return self.schedule(new.account_id, new.name)

    def remove_schedule(self, account_id: int, id_: int) -> None:
        """Forget one; what it has made stays where it is."""
        own = (export_schedules.c.account_id == account_id, export_schedules.c.id == id_)
        with self._db.write() as connection:
            connection.execute(delete(export_schedules).where(*own))

    def claim_run(self, schedule: Schedule, next_day: str, run: Export | None) -> bool:
        """Let the run of its next day be made (without one: left out), and another day be the next; whether nobody else
        was faster."""
        same = (export_schedules.c.id == schedule.id, export_schedules.c.next_day == schedule.next_day)
        with self._db.write() as connection:
            if not connection.execute(update(export_schedules).where(*same).values(next_day=next_day)).rowcount:
                return False
            if run is not None:
                insert_export(connection, run)
        return True

    def _schedules(self, *conditions: ColumnElement[bool]) -> list[Schedule]:
        with self._db.read() as connection:
            rows = connection.execute(select(export_schedules).where(*conditions)).mappings()
            return [Schedule(**{**row, "parameters": [tuple(pair) for pair in row["parameters"]]}) for row in rows]

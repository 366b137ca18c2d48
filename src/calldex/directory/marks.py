"""Marks on missed calls: who took care of one, when, and what they noted. A mark names the call, and no number."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import msgspec
from sqlalchemy import delete, select

from calldex.clock import now_ms
from calldex.directory.database import Repository
from calldex.directory.tables import missed_marks
from calldex.errors import NotFound

_AT_ONCE: Final = 1_000


class MissedMark(msgspec.Struct, frozen=True, kw_only=True):
    """That somebody took care of a missed call, `by` e-mail address."""

    uuid: str
    by: str
    at_ms: int
    note: str | None = None


class Marks(Repository):
    """Marks, by account and uuid of the call."""

    def put_mark(self, account_id: int, uuid: str, started_ms: int, by: str, note: str | None) -> MissedMark:
        """Mark a call, or mark it anew; the caller has seen to it that it is one that may be marked."""
        mark = MissedMark(uuid=uuid, by=by, at_ms=now_ms(), note=note)
        values = {"by": by, "at_ms": mark.at_ms, "note": note}
        key = {"account_id": account_id, "uuid": uuid}
        with self._db.write() as connection:
            statement = self._db.insert(missed_marks).values(started_ms=started_ms, **key, **values)
            connection.execute(statement.on_conflict_do_update(index_elements=list(key), set_=values))
        return mark

    def remove_mark(self, account_id: int, uuid: str) -> None:
        """Take a mark away; `NotFound` if there is none."""
        with self._db.write() as connection:
            gone = delete(missed_marks).where(missed_marks.c.account_id == account_id, missed_marks.c.uuid == uuid)
            if not connection.execute(gone).rowcount:
                raise NotFound(f"there is no mark on {uuid}")

    def marks(self, account_id: int, uuids: Sequence[str]) -> dict[str, MissedMark]:
        """The marks on these calls."""
        found: dict[str, MissedMark] = {}
        with self._db.read() as connection:
            for begin in range(0, len(uuids), _AT_ONCE):
                query = select(missed_marks.c.uuid, missed_marks.c.by, missed_marks.c.at_ms, missed_marks.c.note).where(
                    missed_marks.c.account_id == account_id, missed_marks.c.uuid.in_(uuids[begin : begin + _AT_ONCE])
                )
                for row in connection.execute(query):
                    found[row.uuid] = MissedMark(**row._asdict())
        return found

    def marked(self, account_id: int, start_ms: int | None, end_ms: int | None, most: int) -> list[str]:
        """The uuids of the marked calls that began within some time, the newest `most` of them."""
        query = select(missed_marks.c.uuid).where(missed_marks.c.account_id == account_id)
        if start_ms is not None:
            query = query.where(missed_marks.c.started_ms >= start_ms)
        if end_ms is not None:
            query = query.where(missed_marks.c.started_ms < end_ms)
        with self._db.read() as connection:
            return list(connection.execute(query.order_by(missed_marks.c.started_ms.desc()).limit(most)).scalars())

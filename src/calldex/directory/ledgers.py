"""What the directory knows of the ledgers that belong to it: their names, and how far each had come.

The head of a ledger's chain is kept here as well, so that a ledger that lost its end, or was exchanged, is known as
such. Knows nothing of what a ledger is; compares nothing, that is for `custody`.
"""

from __future__ import annotations

from functools import cached_property

from sqlalchemy import Executable, delete, exists, select

from calldex.directory import tables
from calldex.directory.database import Repository
from calldex.directory.tables import ledger_heads
from calldex.store import Head


class Ledgers(Repository):
    """The heads of ledgers."""

    def ledger_heads(self) -> dict[str, Head]:
        """By the name of its ledger, the head that was kept last. A directory in a data directory has one at most."""
        columns = ledger_heads.c
        with self._db.read() as connection:
            rows = connection.execute(select(columns.store_id, columns.seq, columns.hash)).all()
        return {store_id: Head(seq, bytes(hash_)) for store_id, seq, hash_ in rows}

    def keep_ledger_head(self, store_id: str, head: Head, *, alone: bool = False) -> None:
        """Keep the head of a ledger; on disk when this returns. `alone`: this ledger is the only one from now on.

        Raises `DiskFull` and `Unavailable`.
        """
        with self._db.write() as connection:
            if alone:
                connection.execute(delete(ledger_heads))
            connection.execute(self._keeping, {"store_id": store_id, "seq": head.seq, "hash": head.hash})

    @cached_property
    def _keeping(self) -> Executable:
        """Made once: it takes longer to be made than to be carried out, and is for each commit."""
        statement = self._db.insert(ledger_heads)
        new = {"seq": statement.excluded.seq, "hash": statement.excluded.hash}
        return statement.on_conflict_do_update(index_elements=["store_id"], set_=new)

    def is_used(self) -> bool:
        """Whether anybody did anything here yet: a directory that was just made holds one account and secrets."""
        with self._db.read() as connection:
            return any(
                connection.execute(select(exists(select(table)))).scalar_one()
                for table in (tables.users, tables.audit, tables.sources, tables.named)
            )

"""Replies that were made and lie in memory, since their clients take them slowly: how many bytes, and a bound on them.

Places bound how many replies are made at once, not how many wait to be taken: a page of 10,000 records has ten
megabytes, and one client may have hundreds of connections. Knows no request.
"""

from __future__ import annotations

import asyncio
from typing import Final, Protocol

from calldex.errors import Unavailable
from calldex.transport.shares import ASKER, Asker, of_account, of_one

MOST_BYTES: Final = 256 << 20
"""How much may wait to be taken before no more pages are made."""
PATIENCE_S: Final = 2.0
_PAUSE_S: Final = 0.02


class Connection(Protocol):
    """What replies go out by."""

    def unsent(self) -> int:
        """How many bytes wait to be taken."""

    def asker(self) -> Asker | None:
        """Whose reply that is."""


class Backpressure:
    """The connections whose clients have not taken all of a reply."""

    def __init__(self) -> None:
        self._connections: set[Connection] = set()

    def add(self, connection: Connection) -> None:
        """Something waits to be taken from it."""
        self._connections.add(connection)

    def discard(self, connection: Connection) -> None:
        """All was taken, or never will be."""
        self._connections.discard(connection)

    def bytes(self) -> int:
        """How much waits in all."""
        return sum(connection.unsent() for connection in self._connections)

    def _told(self, asker: Asker | None) -> str:
        """Why no more pages are made for somebody now; empty if they are."""
        all_, account, own = 0, 0, 0
        for connection in self._connections:
            size, owner = connection.unsent(), connection.asker()
            all_ += size
            if asker is not None and owner is not None:
                own += size if owner == asker else 0
                account += size if asker.account_id and owner.account_id == asker.account_id else 0
        if own > of_one(MOST_BYTES // 2):
            return f"more than {of_one(MOST_BYTES // 2) >> 20} MiB of replies to this key wait to be taken"
        if account > of_account(MOST_BYTES // 2):
            return f"more than {of_account(MOST_BYTES // 2) >> 20} MiB of replies to this account wait to be taken"
        return f"more than {MOST_BYTES >> 20} MiB of replies wait to be taken" if all_ > MOST_BYTES else ""

    async def admit(self) -> None:
        """Return when there is room for another page for who asks; `Unavailable` if that takes long. To be called by
        who has a place, so that no more pages than there are places are made at the same moment."""
        asker = ASKER.get()
        deadline = asyncio.get_running_loop().time() + PATIENCE_S
        while told := self._told(asker):
            if asyncio.get_running_loop().time() > deadline:
                raise Unavailable(f"{told} by slow clients; try again shortly", retry_after=1)
            await asyncio.sleep(_PAUSE_S)

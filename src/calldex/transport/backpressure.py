"""Replies that were made and lie in memory, since their clients take them slowly: how many bytes, and a bound on them.

Places bound how many replies are made at once, not how many wait to be taken: a page of 10,000 records has ten
megabytes, and one client may have hundreds of connections. Knows no request.
"""

from __future__ import annotations

import asyncio
from collections import Counter
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


def _shares_account(one: Asker | None, other: Asker | None) -> bool:
    return one is not None and other is not None and one.account_id == other.account_id != 0


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

    def _reason(self, asker: Asker | None) -> str:
        """Why no more pages are made for somebody now; empty if they are. What somebody has beyond their share, of
        pages that were being made already, is not their account's."""
        unsent: Counter[Asker | None] = Counter()
        for connection in self._connections:
            unsent[connection.asker()] += connection.unsent()
        one, of_all = of_one(MOST_BYTES // 2), of_account(MOST_BYTES // 2)
        if asker is not None and unsent[asker] > one:
            return f"more than {one >> 20} MiB of replies to this key wait to be taken"
        theirs = (min(size, one) for owner, size in unsent.items() if _shares_account(owner, asker))
        if sum(theirs) > of_all:
            return f"more than {of_all >> 20} MiB of replies to this account wait to be taken"
        return f"more than {MOST_BYTES >> 20} MiB of replies wait to be taken" if unsent.total() > MOST_BYTES else ""

    async def admit(self) -> None:
        """Return when there is room for another page for who asks; `Unavailable` if that takes long. To be called by
        who has a place, so that no more pages than there are places are made at the same moment."""
        asker = ASKER.get()
        deadline = asyncio.get_running_loop().time() + PATIENCE_S
        while reason := self._reason(asker):
            if asyncio.get_running_loop().time() > deadline:
                raise Unavailable(f"{reason} by slow clients; try again shortly", retry_after=1)
            await asyncio.sleep(_PAUSE_S)

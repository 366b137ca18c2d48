"""Replies that were made and lie in memory, since their clients take them slowly: how many bytes, and a bound on them.

Places bound how many replies are made at once, not how many wait to be taken: a page of 10,000 records has ten
megabytes, and one client may have hundreds of connections. Knows no request.
"""

from __future__ import annotations

import asyncio
from typing import Final, Protocol

from calldex.errors import Unavailable

MOST_BYTES: Final = 256 << 20
"""How much may wait to be taken before no more pages are made."""
PATIENCE_S: Final = 2.0
_PAUSE_S: Final = 0.02


class Connection(Protocol):
    """What replies go out by."""

    def unsent(self) -> int:
        """How many bytes wait to be taken."""


class Untaken:
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

    async def admit(self) -> None:
        """Return when there is room for another page; `Unavailable` if that takes long. To be called by who has a
        place, so that no more pages than there are places are made at the same moment."""
        deadline = asyncio.get_running_loop().time() + PATIENCE_S
        while self.bytes() > MOST_BYTES:
            if asyncio.get_running_loop().time() > deadline:
                raise Unavailable(
                    f"more than {MOST_BYTES >> 20} MiB of replies wait to be taken by slow clients; try again shortly",
                    retry_after=1,
                )
            await asyncio.sleep(_PAUSE_S)

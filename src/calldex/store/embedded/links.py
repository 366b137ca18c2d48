"""The chain of the ledger's commits in its tables, and what is marked there as damaged; `chain` says what it is."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final
from uuid import UUID

from calldex.store import Head
from calldex.store.embedded import chain
from calldex.store.embedded.proof import Fault
from calldex.store.embedded.sqlite import Connection, rows
from calldex.store.sql import uuid_bytes

_FIRST: Final = 15
"""How many values digests of versions are over that were written before there were links: those they have had since
they were written."""
_AT_ONCE: Final = 20_000


def head(connection: Connection) -> Head:
    """The head of a ledger's chain; of one without links, 0 and the link before the first."""
    found = rows(connection, "SELECT seq, hash FROM link ORDER BY seq DESC LIMIT 1")
    return Head(*found[0]) if found else Head(0, chain.NOTHING)


def put(connection: Connection, last: Head, seq: int, digests: bytes, covered: int = len(chain.COVERED)) -> Head:
    """Add the link of a commit behind the last one; the new head."""
    hash_ = chain.link(last.hash, seq, covered, digests)
    connection.execute("INSERT INTO link VALUES (?, ?, ?, ?)", (seq, covered, digests, hash_))
    return Head(seq, hash_)


def link_all(connection: Connection) -> None:
    """Link the versions of a ledger that was made before there were links, as they are now. Those that were purged by
    then have a digest of zeroes."""
    at = Head(0, chain.NOTHING)
    last = rows(connection, "SELECT ifnull(max(seq), 0) FROM version")[0][0]
    names = ", ".join(chain.COVERED[:_FIRST])
    for after in range(0, last, _AT_ONCE):
        upto = min(after + _AT_ONCE, last)
        found = rows(
            connection,
            f"SELECT seq, account_id, uuid, written_ms, CAST(json AS BLOB), {names} FROM version"
            " WHERE seq > ? AND seq <= ?",
            (after, upto),
        )
        known = {row[0]: chain.digest(row[1], row[2], row[3], row[5:], row[4]) for row in found}
        digests = b"".join(known.get(seq, bytes(chain.DIGEST_BYTES)) for seq in range(after + 1, upto + 1))
        at = put(connection, at, upto, digests, _FIRST)
        if purged := upto - after - len(known):
            connection.execute("INSERT INTO link_purged VALUES (?, ?)", (upto, purged))


def marked(connection: Connection) -> dict[int, str]:
    """The versions that were found to be damaged, and the records they are of."""
    return {
        seq: str(UUID(bytes=uuid)) if len(uuid) == 16 else "(whose uuid cannot be read)"
        for seq, uuid in rows(connection, "SELECT seq, uuid FROM damaged")
    }


def mark(connection: Connection, found: Sequence[Fault], commits: tuple[int, int], now_ms: int) -> None:
    """Keep which versions behind the first of two commits, up to the second, are damaged: these, and no others."""
    connection.execute("DELETE FROM damaged WHERE seq > ? AND seq <= ?", commits)
    connection.executemany(
        "INSERT OR REPLACE INTO damaged VALUES (?, ?, ?, ?, ?)",
        [
            (each.seq, each.account_id, uuid_bytes(each.uuid) if each.uuid else b"", each.what, now_ms)
            for each in found
            if each.seq is not None
        ],
    )

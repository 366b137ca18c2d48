"""What the ledger keeps beside versions: the rows of calls, the quarantine, and answers given under idempotency keys.

Written in the same commit as the records they belong to, by the ledger's writer; read by any thread.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Final
from uuid import UUID

import msgspec

from calldex.clock import now_ms
from calldex.records.record import CallRow
from calldex.store import RECEIPT_MS, Batch, Outcome, Quarantined, Receipt
from calldex.store.embedded.sqlite import Connection, Readers, carray, rows
from calldex.store.sql import uuid_bytes

QUARANTINE: Final = (
    "SELECT id, account_id, source, format, origin, place, reason, raw, at_ms FROM quarantine"
    " WHERE id > ? AND account_id = ifnull(?, account_id) AND reason = ifnull(?, reason) ORDER BY id LIMIT ?"
)


def put(writer: Connection, batch: Batch, outcomes: Sequence[Outcome], now: int) -> None:
    """Write what a batch has beside records, whose outcomes are known; within its commit."""
    _put_rows(writer, batch)
    _put_rejects(writer, batch, now)
    if batch.receipt is not None and batch.receipt_key is not None:
        receipt = batch.receipt(outcomes)
        writer.execute(
            "INSERT INTO receipt VALUES (?, ?, ?, ?, ?) ON CONFLICT (account_id, key) DO UPDATE"
            " SET digest = excluded.digest, answer = excluded.answer, at_ms = excluded.at_ms WHERE at_ms < ?",
            (batch.account_id, batch.receipt_key, receipt.digest, receipt.answer, now, now - RECEIPT_MS),
        )


def _put_rows(writer: Connection, batch: Batch) -> None:
    for row in batch.rows:
        links = msgspec.json.encode(row.links).decode()
        uuid = None if row.uuid is None else uuid_bytes(row.uuid)
        row_id = rows(
            writer,
            "INSERT INTO call_row (account_id, source, key, links, text, uuid) VALUES (?, ?, ?, ?, ?, ?)"
            " ON CONFLICT (account_id, source, key) DO UPDATE SET uuid = excluded.uuid, links = excluded.links"
            " RETURNING id",
            (batch.account_id, batch.source, row.key, links, row.text, uuid),
        )[0][0]
        writer.executemany(
            "INSERT OR IGNORE INTO call_link VALUES (?, ?, ?, ?)",
            [(batch.account_id, batch.source, link, row_id) for link in row.links],
        )


def _put_rejects(writer: Connection, batch: Batch, now: int) -> None:
    """A piece that lies in the quarantine already stays there once, for the reason that holds now."""
    writer.executemany("DELETE FROM quarantine WHERE id = ?", [(id_,) for id_ in batch.released])
    writer.executemany(
        "INSERT INTO quarantine (account_id, source, format, origin, place, reason, raw, at_ms)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (account_id, source, format, raw) DO UPDATE"
        " SET reason = excluded.reason WHERE reason != excluded.reason",
        [
            (batch.account_id, batch.source, batch.format, batch.origin, r.where, r.reason, r.raw, now)
            for r in batch.rejects
        ],
    )


class Staging:
    """What is kept of it, for any thread; `readers` gives connections."""

    def __init__(self, readers: Readers) -> None:
        self._readers = readers

    def rows_of_calls(self, account_id: int, source: str, links: Sequence[str]) -> list[CallRow]:
        """Every kept row tied to one of these links, directly or through other rows: links and rows in turn, until
        nothing is added."""
        kept: dict[int, CallRow] = {}
        known: set[str] = set()
        new = set(links)
        with self._readers() as reader:
            while new:
                known |= new
                found = rows(
                    reader,
                    "SELECT DISTINCT r.id, r.key, r.links, r.text, r.uuid FROM carray(?) AS l"
                    " CROSS JOIN call_link AS c ON c.account_id = ? AND c.source = ? AND c.link = l.value"
                    " CROSS JOIN call_row AS r ON r.id = c.row_id",
                    (carray(tuple(new)), account_id, source),
                )
                new = set()
                for id_, key, packed, text, uuid in found:
                    if id_ not in kept:
                        kept[id_] = kept_row(key, packed, text, uuid)
                        new.update(link for link in kept[id_].links if link not in known)
        return list(kept.values())

    def rows_of_source(self, account_id: int, source: str, after: int, limit: int) -> list[tuple[int, CallRow]]:
        """So many kept rows of a source behind an id, in its order."""
        with self._readers() as reader:
            found = rows(
                reader,
                "SELECT id, key, links, text, uuid FROM call_row NOT INDEXED"  # by its index all of the source is read
                " WHERE id > ? AND account_id = ? AND source = ? ORDER BY id LIMIT ?",
                (after, account_id, source, limit),
            )
        return [(id_, kept_row(key, links, text, uuid)) for id_, key, links, text, uuid in found]

    def count_rows(self, account_id: int, source: str) -> int:
        """How many rows of a source are kept."""
        with self._readers() as reader:
            counted = "SELECT count(*) FROM call_row WHERE account_id = ? AND source = ?"
            return int(rows(reader, counted, (account_id, source))[0][0])

    def known_rows(self, account_id: int, source: str, keys: Sequence[bytes]) -> set[bytes]:
        """Which of these rows are kept already."""
        if not keys:
            return set()
        with self._readers() as reader:
            found = rows(
                reader,
                "SELECT key FROM carray(?) CROSS JOIN call_row ON key = value AND account_id = ? AND source = ?",
                (carray(tuple(keys)), account_id, source),
            )
            return {key for (key,) in found}

    def receipt(self, account_id: int, key: str) -> Receipt | None:
        """What was answered under an idempotency key within its time."""
        earliest = now_ms() - RECEIPT_MS
        with self._readers() as reader:
            found = rows(
                reader,
                "SELECT digest, answer FROM receipt WHERE account_id = ? AND key = ? AND at_ms >= ?",
                (account_id, key, earliest),
            )
        return Receipt(*found[0]) if found else None

    def quarantined(self, account_id: int | None = None, reason: str | None = None) -> Iterator[Quarantined]:
        """What lies in the quarantine, of one account or for one reason, oldest first, a page at a time."""
        last = 0
        while True:
            with self._readers() as reader:
                page = rows(reader, QUARANTINE, (last, account_id, reason, 500))
            if not page:
                return
            yield from map(quarantined_of, page)
            last = page[-1][0]

    def quarantine_size(self) -> int:
        """How many pieces lie in the quarantine."""
        with self._readers() as reader:
            return int(rows(reader, "SELECT count(*) FROM quarantine", ())[0][0])


def kept_row(key: bytes, links: str, text: str, uuid: bytes | None) -> CallRow:
    """A row of a call, of its columns."""
    return CallRow(
        key, msgspec.json.decode(links, type=tuple[str, ...]), text, None if uuid is None else str(UUID(bytes=uuid))
    )


def quarantined_of(row: tuple[Any, ...]) -> Quarantined:
    """A piece in the quarantine, of its columns."""
    id_, account_id, source, format_, origin, place, reason, raw, at_ms = row
    return Quarantined(
        id=id_,
        account_id=account_id,
        source=source,
        format=format_,
        origin=origin,
        where=place,
        reason=reason,
        raw=raw,
        at_ms=at_ms,
    )

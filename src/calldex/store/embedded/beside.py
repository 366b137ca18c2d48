"""What the ledger keeps beside versions, written in the same commit: rows of calls, the quarantine, receipts."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from calldex.store import RECEIPT_MS, Batch, Outcome
from calldex.store.embedded.sqlite import Connection, rows
from calldex.store.sql import uuid_bytes


def put(writer: Connection, batch: Batch, outcomes: Sequence[Outcome], now: int) -> None:
    """Write what a batch has of it, within a commit; `outcomes` of its records. Raises what `batch.receipt` does."""
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

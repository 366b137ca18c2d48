"""Commits: what a store of several nodes needs beside its engine, so that a batch becomes visible at one moment.

An engine without transactions keeps the versions; who counts the commits keeps everything that must change with them
in one transaction: up to which number commits are visible, rows of calls, the quarantine, receipts. Implemented by
`directory.commits`; stores know only this. See docs/decisions/0019.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Protocol

import msgspec

from calldex.records.record import CallRow
from calldex.store import Batch, Quarantined, Receipt, Span


class Point(msgspec.Struct, frozen=True):
    """How far an account is: every commit up to `seq` is visible, but for those that were given up (`void`, ascending);
    there are `live` records then; of versions superseded up to `purged` some are gone."""

    seq: int = 0
    live: int = 0
    void: tuple[Span, ...] = ()
    purged: int = 0


class Turn(Protocol):
    """The right to write to an account. Somebody else may take it when its holder is silent for too long: then what
    they reserved is void, and `publish` refuses."""

    @property
    def point(self) -> Point:
        """How far the account was at its begin."""

    def reserve(self, count: int) -> int:
        """Take so many commit numbers, which nobody will be given again; the first of them."""

    def publish(self, batch: Batch, receipts: Mapping[str, Receipt], grown: int) -> None:
        """Make visible what was written under the reserved numbers, by which there are so many live records more.

        In one transaction with it, what else the batch holds is kept, and the receipts under their keys. Raises
        `Unavailable` if the turn was lost; then nothing of it is kept."""


class Commits(Protocol):
    """Counts the commits of every account, each from 1. Safe to use from several threads, processes and machines."""

    def name(self) -> str:
        """What the store is called: the same for every node that shares it."""

    def point(self, account_id: int) -> Point:
        """How far an account is now."""

    def accounts(self) -> list[int]:
        """Those that were ever written to."""

    def migrating(self) -> AbstractContextManager[None]:
        """Wait until nobody else changes tables of the store, and keep others from it meanwhile. Raises `Unavailable`
        when that takes too long."""

    def turn(self, account_id: int) -> AbstractContextManager[Turn]:
        """Wait for the turn to write to an account. Raises `Unavailable` when that takes too long."""

    def reserved(self, account_id: int) -> int:
        """The greatest number that was ever given in an account, or loaded from another store; 0 if none was."""

    def load(self, account_id: int, upto: int, live: int | None = None) -> None:
        """Remember that an account is loaded up to a commit; with `live`, that is all of it, there are so many live
        records, and searches see it. Raises `Conflict` if the account was written to otherwise."""

    def purged(self, account_id: int, upto: int) -> None:
        """Remember that what was superseded up to a commit is dropped."""

    def forgotten(self, account_id: int, span: Span) -> None:
        """Remember that nothing is left of these void commits."""

    def void_before(self, at_ms: int) -> list[tuple[int, Span]]:
        """The commits given up before an instant, with their accounts."""

    def rows_of_calls(self, account_id: int, source: str, links: Sequence[str]) -> list[CallRow]:
        """See `Store.rows_of_calls`."""

    def rows_of_source(self, account_id: int, source: str, after: int, limit: int) -> list[tuple[int, CallRow]]:
        """See `Store.rows_of_source`."""

    def count_rows(self, account_id: int, source: str) -> int:
        """See `Store.count_rows`."""

    def known_rows(self, account_id: int, source: str, keys: Sequence[bytes]) -> set[bytes]:
        """See `Store.known_rows`."""

    def receipt(self, account_id: int, key: str) -> Receipt | None:
        """See `Store.receipt`."""

    def quarantined(self, account_id: int | None, reason: str | None) -> Iterator[Quarantined]:
        """See `Store.quarantined`."""

    def quarantine_size(self) -> int:
        """See `Store.quarantine_size`."""

    def drop_receipts(self, before_ms: int) -> None:
        """Drop the receipts given before an instant."""

"""Batches that came at once are written together: each has its own outcomes, or the reason why it was not written."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import msgspec
import pytest

from calldex.errors import IdempotencyMismatch
from calldex.store import AlreadyAnswered, Outcome, Receipt, Store
from calldex.store.clickhouse import ClickhouseStore
from calldex.store.embedded.ledger import Ledger
from tests.engines import answer, disagreeing, everything, put
from tests.store.test_shared_commits import numbered, of


def _told(found: Sequence[list[Outcome] | Exception]) -> list[object]:
    """Outcomes, and the kinds of errors."""
    return [type(each) if isinstance(each, Exception) else each for each in found]


@pytest.fixture
def commits(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """One for each commit."""
    seen: list[int] = []

    def noted(write: Callable[..., Any]) -> Callable[..., Any]:
        def noting(*given: Any) -> Any:
            seen.append(1)
            return write(*given)

        return noting

    monkeypatch.setattr(ClickhouseStore, "_insert", noted(ClickhouseStore._insert))  # noqa: SLF001 - one for each commit
    monkeypatch.setattr(Ledger, "write", noted(Ledger.write))
    return seen


def test_each_has_its_outcomes(commits: list[int], store: Store) -> None:
    """Of new records, of ones that are there, and of a record that several of them have: as if one had been written
    behind the other, in one commit."""
    put(store, [numbered(1), numbered(2)])
    commits.clear()
    batches = [
        of([numbered(1), numbered(3)]),
        of([]),
        of([numbered(3)]),
        of([numbered(3, 5), numbered(4), numbered(2)]),
    ]
    assert [
        [Outcome.UNCHANGED, Outcome.ACCEPTED],
        [],
        [Outcome.UNCHANGED],
        [Outcome.UPDATED, Outcome.ACCEPTED, Outcome.UNCHANGED],
    ] == store.write_all(batches)
    assert 1 == len(commits)
    assert 4 == answer(store, everything())[0]
    assert [] == disagreeing(store)
    assert [] == store.write_all([])


def test_what_is_refused_is_refused_alone(store: Store) -> None:
    """One whose receipt says that it was answered, one that came with another body, and one with a fault of ours: the
    others are written, and of these nothing."""

    def raising(error: Exception) -> Callable[[Sequence[Outcome]], Receipt]:
        def receipt(outcomes: Sequence[Outcome]) -> Receipt:
            raise error

        return receipt

    batches = [
        of([numbered(1)]),
        of([numbered(2)], raising(AlreadyAnswered(b""))),
        of([numbered(3)], lambda outcomes: Receipt(b"", b"kept")),
        of([numbered(4)], raising(IdempotencyMismatch("another body"))),
        of([numbered(5)], raising(ZeroDivisionError())),
        of([numbered(6)]),
    ]
    accepted = [Outcome.ACCEPTED]
    assert [accepted, AlreadyAnswered, accepted, IdempotencyMismatch, ZeroDivisionError, accepted] == _told(
        store.write_all(batches)
    )
    assert 3 == answer(store, everything())[0]
    kept = store.receipt(1, numbered(3).uuid)
    assert (b"kept", None) == (kept and kept.answer, store.receipt(1, numbered(4).uuid))
    assert [] == disagreeing(store)


def test_accounts_and_what_goes_are_kept_apart(store: Store) -> None:
    """Records of several accounts, and uuids that are taken back between records: in the order in which they came."""
    first = numbered(1)
    batches = [
        of([first]),
        msgspec.structs.replace(of([]), removed=[first.uuid]),
        msgspec.structs.replace(of([first]), account_id=2),
        of([first, numbered(2)]),
    ]
    accepted = Outcome.ACCEPTED
    assert [[accepted], [Outcome.DELETED], [accepted], [accepted, accepted]] == store.write_all(batches)
    assert [2, 1] == [answer(store, everything(account))[0] for account in (1, 2)]
    assert [] == disagreeing(store)


def test_one_key_is_answered_once(store: Store) -> None:
    """Of two batches under one idempotency key the second finds the receipt of the first."""

    def once(outcomes: Sequence[Outcome]) -> Receipt:
        known = store.receipt(1, numbered(1).uuid)
        if known is not None:
            raise AlreadyAnswered(known.answer)
        return Receipt(b"", b"first")

    assert [[Outcome.ACCEPTED], AlreadyAnswered] == _told(
        store.write_all([of([numbered(1)], once), of([numbered(1, 2)], once)])
    )
    assert b'"duration_s":1' in answer(store, everything())[1]

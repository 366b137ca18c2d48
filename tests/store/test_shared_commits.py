"""Batches that wait for their turn at once share a commit; what becomes of one does not touch the others."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing, contextmanager
from pathlib import Path

import msgspec
import pytest

from calldex.errors import IdempotencyMismatch
from calldex.records.record import Cdr, from_ms
from calldex.store import AlreadyAnswered, Batch, Outcome, Receipt
from calldex.store.embedded import EmbeddedStore
from calldex.store.embedded.ledger import Ledger, Written
from tests.engines import answer, disagreeing, embedded, everything

PATIENCE_S = 60.0


def numbered(number: int, seconds: int = 1) -> Cdr:
    """A record."""
    return Cdr(
        uuid=f"01980c1e-6f3a-8d21-9a3b-5c1f0e{number:06d}",
        type="inbound",
        disposition="answered",
        started_at=from_ms(10**12 + number),
        duration_s=seconds,
    )


def of(records: Sequence[Cdr], receipt: Callable[[Sequence[Outcome]], Receipt] | None = None) -> Batch:
    """A batch of records, with something to be done within its commit."""
    key = None if receipt is None else records[0].uuid
    return Batch(
        account_id=1, source="", format="jsonl", origin="test", records=records, receipt_key=key, receipt=receipt
    )


@pytest.fixture
def commits(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many batches each commit had."""
    seen: list[int] = []
    write = Ledger.write

    def noted(self: Ledger, batches: Sequence[Batch]) -> list[Written | IdempotencyMismatch | AlreadyAnswered]:
        seen.append(len(batches))
        return write(self, batches)

    monkeypatch.setattr(Ledger, "write", noted)
    return seen


@pytest.fixture
def store(tmp_path: Path, commits: list[int]) -> Iterator[EmbeddedStore]:
    """A store of the test's own, of whose commits it is noted how many batches they had."""
    commits.clear()
    with closing(embedded(tmp_path)) as opened:
        yield opened


@contextmanager
def behind_another(store: EmbeddedStore, batches: Sequence[Batch]) -> Iterator[list[Future[list[Outcome]]]]:
    """Writes that came while another was being written; they are done when the block ends."""
    begun, waiting = threading.Event(), threading.Barrier(len(batches) + 1)
    go_on = threading.Event()

    def hold(outcomes: Sequence[Outcome]) -> Receipt:
        begun.set()
        assert go_on.wait(PATIENCE_S)
        return Receipt(b"", b"")

    def write(batch: Batch) -> list[Outcome]:
        waiting.wait(PATIENCE_S)
        return store.write(batch)

    with ThreadPoolExecutor(len(batches) + 1) as threads:
        first = threads.submit(store.write, of([numbered(0)], hold))
        assert begun.wait(PATIENCE_S)
        others = [threads.submit(write, batch) for batch in batches]
        waiting.wait(PATIENCE_S)
        while len(store.queue) < len(batches):
            threading.Event().wait(0.001)
        go_on.set()
        assert [Outcome.ACCEPTED] == first.result(PATIENCE_S)
        yield others


def test_those_that_wait_share_a_commit(store: EmbeddedStore, commits: list[int]) -> None:
    """Twenty that come while one is written are the next commit, each with its own outcomes: also of records that
    several of them have."""
    batches = [of([numbered(at), numbered(1000, at % 2)]) for at in range(1, 21)]
    with behind_another(store, batches) as done:
        outcomes = [each.result(PATIENCE_S) for each in done]
    assert [1, 20] == commits
    assert {Outcome.ACCEPTED} == {first for first, _ in outcomes}
    assert 1 == sum(second is Outcome.ACCEPTED for _, second in outcomes)
    assert 22 == answer(store, everything())[0]
    assert [] == disagreeing(store)


def test_one_idempotency_key_is_once_in_a_commit(store: EmbeddedStore, commits: list[int]) -> None:
    """The second of two requests under one key sees what the first was answered, however soon behind it it came; the
    same key of another account is another one."""

    def once(account_id: int, body: bytes) -> Callable[[Sequence[Outcome]], Receipt]:
        def receipt(outcomes: Sequence[Outcome]) -> Receipt:
            known = store.receipt(account_id, "key")
            if known is not None and known.digest != body:
                raise IdempotencyMismatch("another body")
            return Receipt(body, b"answer")

        return receipt

    batches = [
        msgspec.structs.replace(
            of([numbered(n)], once(account_id, b"%d" % n)), receipt_key="key", account_id=account_id
        )
        for n, account_id in ((1, 1), (2, 1), (3, 2), (4, 1))
    ]
    with behind_another(store, batches) as done:
        errors = [type(each.exception(PATIENCE_S)) for each in done]
    assert 2 == errors.count(IdempotencyMismatch)
    assert type(None) is errors[2]
    assert 2 == answer(store, everything())[0]
    assert 1 == answer(store, everything(2))[0]
    assert max(commits) <= 2
    assert [] == disagreeing(store)


def test_what_is_refused_is_refused_alone(store: EmbeddedStore, commits: list[int]) -> None:
    """One whose idempotency key came with another body is not written, and one that cannot be written at all is not;
    the others are, and nothing of those two is left."""

    def mismatch(outcomes: Sequence[Outcome]) -> Receipt:
        raise IdempotencyMismatch("another body")

    def fault(outcomes: Sequence[Outcome]) -> Receipt:
        raise ZeroDivisionError

    batches = [of([numbered(1)]), of([numbered(2)], mismatch), of([numbered(3)], fault), of([numbered(4)])]
    with behind_another(store, batches) as done:
        errors = [type(each.exception(PATIENCE_S)) for each in done]
    assert [type(None), IdempotencyMismatch, ZeroDivisionError, type(None)] == errors
    assert 3 == answer(store, everything())[0]
    assert [1, 4, 1, 1, 1, 1] == commits
    assert [] == disagreeing(store)
    assert [] == store.integrity()

"""What is posted becomes the same records, whoever reads it."""

from __future__ import annotations

import signal
import subprocess
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from calldex.formats import LINE_LIMIT
from calldex.ingest import posted
from calldex.ingest.posted import Piece, Readers, read
from calldex.ingest.workers import Block, block
from calldex.records import codec
from calldex.records.record import Cdr, from_ms, time_uuid
from tests.examples import examples
from tests.strategies import cdrs

JUNK = st.sampled_from((b"{}", b"nonsense", b"\xff\x00", b'{"uuid": 1}', b'{\n"type":\n"inbound"}', b"[]"))


@pytest.fixture
def readers(started: list[subprocess.Popen[bytes]], monkeypatch: pytest.MonkeyPatch) -> Iterator[Readers]:
    """Two processes, which are `started`, that are given whatever is posted."""
    monkeypatch.setattr(posted, "LARGE", 1)
    with closing(Readers()) as made:
        made.block([b"{}"])
        assert 2 == len(started)
        yield made


def here(pieces: Sequence[Piece]) -> Block:
    """The same, read in this process."""
    return block((read(piece, index) for index, piece in enumerate(pieces)), "")


def record(n: int) -> bytes:
    """The n-th record as it is posted."""
    made = Cdr(uuid=time_uuid(n, "post"), type="inbound", disposition="answered", started_at=from_ms(n), duration_s=n)
    return codec.encode(made)


@settings(
    max_examples=examples(25),
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(raws=st.lists(cdrs().map(codec.encode) | JUNK, max_size=9))
def test_who_reads_does_not_matter(readers: Readers, raws: list[bytes]) -> None:
    """The same records and rejects, at the same indexes and in the same order; the same things are named."""
    found, expected = readers.block(raws), here(raws)
    assert expected.records == found.records
    assert expected.rejects == found.rejects
    assert {mention[:2] for mention in expected.mentions} == {mention[:2] for mention in found.mentions}


def test_a_piece_that_is_too_long(readers: Readers) -> None:
    """It is rejected at its index, and the others are read."""
    found = readers.block([record(0), b" " * (LINE_LIMIT + 1), record(1)])
    assert [f"longer than {LINE_LIMIT} bytes"] == [reject.reason for reject in found.rejects]
    assert ["1"] == [reject.where for reject in found.rejects]
    assert 2 == len(found.records)


def test_a_process_that_is_killed(readers: Readers, started: list[subprocess.Popen[bytes]]) -> None:
    """What it was to read is read here, and the next posts have new ones."""
    raws = [record(n) for n in range(40)]
    for _ in range(2):
        started[-1].kill()
        for _ in range(3):
            assert here(raws).records == readers.block(raws).records
    assert 6 == len(started)


def test_small_posts_start_nothing(started: list[subprocess.Popen[bytes]]) -> None:
    """Nor does the first large one wait for a process."""
    with closing(Readers()) as made:
        made.block([record(0)])
        assert [] == started
        assert 1 == len(made.block([b"x" * posted.LARGE]).rejects)
        assert [None, None] == [process.poll() for process in started]


def test_closing_while_posts_are_read(readers: Readers, started: list[subprocess.Popen[bytes]]) -> None:
    """Each is read, there or here; no process is left, and none is started any more."""
    raws, begun = [record(n) for n in range(200)], threading.Event()

    def post() -> int:
        begun.set()
        return sum(len(readers.block(raws).records) for _ in range(10))

    with ThreadPoolExecutor(4) as threads:
        posts = [threads.submit(post) for _ in range(4)]
        begun.wait(30)
        readers.close()
        assert [2000] * 4 == [each.result() for each in posts]
    assert [-signal.SIGKILL] * 2 == [process.returncode for process in started]

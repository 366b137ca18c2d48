"""A stream that a second process reads becomes the same blocks, whatever happens to that process."""

from __future__ import annotations

import os
import signal
import subprocess
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Final

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from calldex.directory import Directory
from calldex.errors import Unavailable
from calldex.formats import LINE_LIMIT
from calldex.formats.jsonl import FORMAT, JsonlSettings
from calldex.ingest import workers
from calldex.ingest.calls import Feed
from calldex.ingest.pipeline import Ingest, Summary
from calldex.ingest.workers import Block, Mention
from calldex.records import codec
from calldex.records.record import Cdr, from_ms, time_uuid
from calldex.store import Prepared, Reject
from tests.engines import answer, embedded, everything
from tests.examples import examples
from tests.strategies import cdrs

SETTINGS: Final = JsonlSettings()


def read(chunks: Sequence[bytes], alone: int, source: str = "crm") -> tuple[list[Prepared], list[Reject], set[Mention]]:
    """All that a stream holds, of which so many bytes are read in this process."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(workers, "ALONE", alone)
        blocks = list(workers.read_blocks(FORMAT, SETTINGS, source, chunks, 5))
    return (
        [record for block in blocks for record in block.records],
        [reject for block in blocks for reject in block.rejects],
        {mention for block in blocks for mention in block.mentions},
    )


def record(n: int) -> Cdr:
    """The n-th record."""
    return Cdr(
        uuid=time_uuid(n, "reading"), type="inbound", disposition="answered", started_at=from_ms(n), duration_s=n
    )


def chunk(numbers: range) -> bytes:
    """Some records, one a line."""
    return b"".join(codec.encode(record(n)) + b"\n" for n in numbers)


JUNK: Final = st.sampled_from((b"", b" ", b"{}", b"nonsense", b"\xff\x00", b'{"uuid": 1}', b"\xef\xbb\xbf", b"\r"))


@settings(max_examples=examples(12), deadline=None)
@given(lines=st.lists(cdrs().map(codec.encode) | JUNK, max_size=12), ended=st.booleans(), data=st.data())
def test_who_reads_does_not_matter(lines: list[bytes], ended: bool, data: st.DataObject) -> None:
    """A stream cut anywhere, read here, by the worker, or begun here and ended there, is what it is in one piece:
    the same records, rejects and line numbers in the same order; of things named the newest mention is the same."""
    stream = data.draw(st.sampled_from((b"", b"\xef\xbb\xbf"))) + b"\n".join(lines) + b"\n" * ended
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=6)))
    chunks = [stream[start:end] for start, end in zip([0, *cuts], [*cuts, len(stream)], strict=True)]
    expected = read([stream], len(stream) + 1)
    for alone in (0, data.draw(st.integers(0, len(stream)))):
        assert expected[:2] == (found := read(chunks, alone))[:2]
        assert newest(expected[2]) == newest(found[2])


def newest(mentions: set[Mention]) -> dict[tuple[str, int | str], tuple[bool, int, str]]:
    """Of each thing the newest mention by name; of one without a name, that it was mentioned."""
    found: dict[tuple[str, int | str], tuple[bool, int, str]] = {}
    for kind, key, name, at_ms in mentions:
        stamp = (True, at_ms, name) if name is not None else (False, 0, "")
        found[kind, key] = max(found.get((kind, key), stamp), stamp)
    return found


def test_line_numbers_go_on(started: list[subprocess.Popen[bytes]]) -> None:
    """A reject's place counts from the begin of the stream, over blank lines and the borders of chunks, and the line
    that two chunks share is one."""
    chunks = [b"a\n\nb", b"b\n", chunk(range(3)) + b"c\n\n\n", b"d\n" + chunk(range(1)), b"\n\ne"]
    with closing(workers.read_blocks(FORMAT, SETTINGS, "", chunks, 5)) as blocks:
        found = [(reject.where, reject.raw) for block in blocks for reject in block.rejects]
    assert [("line 1", b"a"), ("line 3", b"bb"), ("line 7", b"c"), ("line 10", b"d"), ("line 14", b"e")] == found
    assert 2 == len(started)


@pytest.mark.parametrize("ended", [True, False])
def test_a_line_that_is_too_long(ended: bool) -> None:
    """It is rejected with its first bytes, whoever reads it, and the line behind it is read."""
    long = [b"x" * (LINE_LIMIT // 2)] * 5
    chunks = [chunk(range(1)), *long, b"y\n" + chunk(range(1, 2)) if ended else b"y"]
    for alone in (1, 100 * LINE_LIMIT):
        records, rejects, _ = read(chunks, alone)
        assert 1 + ended == len(records)
        assert [(f"longer than {LINE_LIMIT} bytes", "line 2", b"x" * (LINE_LIMIT + 1))] == [
            (reject.reason, reject.where, reject.raw) for reject in rejects
        ]


@pytest.mark.parametrize("given_first", [0, 3])
def test_an_early_end_leaves_no_process(given_first: int, started: list[subprocess.Popen[bytes]]) -> None:
    """Whoever stops reading, or whose stream breaks, leaves no process behind."""

    def broken() -> Iterator[bytes]:
        for n in range(9):
            yield chunk(range(n * 10, n * 10 + 10))
        raise RuntimeError("the stream broke")

    blocks: list[Block] = []
    with closing(workers.read_blocks(FORMAT, SETTINGS, "", broken(), 1000)) as found:
        if given_first:
            blocks += (next(found) for _ in range(given_first))
        else:
            with pytest.raises(RuntimeError, match="the stream broke"):
                blocks.extend(found)
    assert [range(10), range(10, 20)] == [
        range(int(block.records[0].values[0]), int(block.records[-1].values[0]) + 1) for block in blocks[:2]
    ]
    assert [-signal.SIGKILL] * 2 == [process.returncode for process in started]


def test_ctrl_c_is_not_for_a_worker(started: list[subprocess.Popen[bytes]]) -> None:
    """A worker is in no group of processes that a terminal interrupts, and takes no notice of an interrupt."""

    def interrupting() -> Iterator[bytes]:
        for n in range(9):
            if n == 6:
                assert os.getpgid(started[0].pid) != os.getpgid(0)
                started[0].send_signal(signal.SIGINT)
            yield chunk(range(n, n + 1))

    with closing(workers.read_blocks(FORMAT, SETTINGS, "", interrupting(), 1000)) as blocks:
        assert list(range(9)) == [record.values[0] for block in blocks for record in block.records]


def test_a_worker_that_is_killed(
    started: list[subprocess.Popen[bytes]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The import ends with an error that says so; what it counted until then is kept and can be found, and the same
    import again brings the rest."""
    monkeypatch.setattr("calldex.ingest.pipeline.BATCH", 10)
    chunks = [chunk(range(n * 10, n * 10 + 10)) for n in range(20)]
    told: list[int] = []

    def killing() -> Iterator[bytes]:
        for n, each in enumerate(chunks):
            if n == 12:
                started[0].kill()
            yield each

    with closing(embedded(tmp_path)) as store, Directory.open(tmp_path / "directory.db") as directory:
        ingest = Ingest(directory, store)
        feed = Feed(account_id=directory.account().id, source="", format=FORMAT, settings=SETTINGS)
        with pytest.raises(Unavailable, match=r"ended \(exit code -9\) .* imported again"):
            ingest.run(feed, killing(), "file", lambda summary: told.append(summary.read))
        store.settle()
        kept = answer(store, everything(feed.account_id))[0]
        assert told[-1] == kept < 200
        again = ingest.run(feed, chunks, "file")
        assert Summary(accepted=200 - kept, unchanged=kept, interactions=200 - kept) == again
        assert 200 == answer(store, everything(feed.account_id))[0]
    assert Counter({-signal.SIGKILL: 4}) == Counter(process.returncode for process in started)

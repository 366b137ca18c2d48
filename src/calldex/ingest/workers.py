"""A byte stream becomes blocks of records that are ready to be stored, in other processes when the stream is large.

Stands between formats and ingest. Making a record from its text and the stored form from the record takes longer than
the commit, and both hold the interpreter: of a large stream whose pieces are lines worker processes make the blocks
while this one commits those before. Small streams, and other formats, are read here. A worker knows neither store nor
directory, and ends with the process that started it. Writes nothing and counts nothing; that is for `ingest`.
"""

from __future__ import annotations

import gc
import os
import pickle
import re
import signal
import socket
import subprocess
import sys
from codecs import BOM_UTF8
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from datetime import datetime
from functools import partial
from itertools import chain, cycle
from types import TracebackType
from typing import Final, Self, TypeVar

import msgspec

from calldex.errors import Unavailable
from calldex.formats import LINE_LIMIT, FormatSettings, LineFormat, RecordFormat
from calldex.records.record import Cdr, NamedKind, Rejected, to_ms
from calldex.store import Prepared, Quarantined, Reject
from calldex.store.sql import prepared

ALONE: Final = 8 << 20
"""How many bytes of a stream are read in this process before workers are started for the rest of it."""
BATCH_BYTES: Final = 64 << 20
"""A batch ends when so many bytes of the stream were taken for it, however few pieces they are: a piece may be as long
as `LINE_LIMIT`. It may be over by a chunk, and by what the workers have ahead."""
WORKERS: Final = 2
"""How many processes read a large stream. To read a record takes longer than everything that is done with it after
that, and less than twice as long: two are enough to be ahead of the commit, and share two cores with it evenly."""
_AHEAD: Final = 2 * WORKERS
"""How many parts of a stream the workers may have, or have done, before the first of them is taken."""
GC_THRESHOLDS: Final = (50_000, 20, 100)
"""How the collector of garbage rests where records are read: a batch is tens of thousands of young objects that live
until it is committed, and no cycles. Looking at them again every 700 allocations costs a fifth of the time a record is
read in."""
_SIZE_BYTES: Final = 8
_LINE: Final = re.compile(r"line ([1-9][0-9]*)")

Mention = tuple[NamedKind, int | str, str | None, int]
"""What a thing (by kind and key) was called, and at which epoch millisecond: see `directory.Seen`."""
Portion = tuple[int, bytes]
"""Some pieces of a stream, as whole lines if nothing else is said, and the number of the first."""


class Block(msgspec.Struct, frozen=True, array_like=True):
    """Some pieces of a stream: records, what could not be read, and of each thing named the newest mention; of sources
    that records name themselves, when the newest of their records began (epoch milliseconds)."""

    records: list[Prepared]
    rejects: list[Reject]
    mentions: list[Mention]
    newest: dict[str, int] = {}


class Metered:
    """A byte stream, and how many bytes of it were taken so far."""

    def __init__(self, chunks: Iterable[bytes]) -> None:
        self._chunks = chunks
        self.taken = 0

    def __iter__(self) -> Iterator[bytes]:
        for chunk in self._chunks:
            self.taken += len(chunk)
            yield chunk


class Followed:
    """A byte stream, and which unfinished pieces of the quarantine stand in it with more behind them than there was.

    Such a piece must stand in its own line, of whichever file of the source (a file may have been rotated since), with
    all that was there. Then nothing is lost with it, and what a file really ended with is not among `continued`. One
    whose place is no line is not followed: it stays until somebody retries or drops it.
    """

    def __init__(self, chunks: Iterable[bytes], unfinished: Iterable[Quarantined]) -> None:
        self._chunks = chunks
        self.continued: set[int] = set()
        """Ids of pieces."""
        self._wanted: dict[int, list[tuple[int, bytes]]] = {}
        """By line: the ids of pieces, and what has to stand there."""
        for piece in unfinished:
            place = _LINE.fullmatch(piece.where)
            if place is None:
                continue
            line = int(place[1])
            wanted = self._wanted.setdefault(line, [])
            wanted.append((piece.id, piece.raw))
            if line == 1:
                wanted.append((piece.id, BOM_UTF8 + piece.raw))  # which is no part of what the first line says

    def __iter__(self) -> Iterator[bytes]:
        if not self._wanted:
            yield from self._chunks
            return
        line, awaited = 1, self._wanted.pop(1, [])
        for chunk in self._chunks:
            awaited = self._still(awaited, chunk)
            last, start = line + chunk.count(b"\n"), 0
            for begun in sorted(number for number in self._wanted if number <= last):
                while line < begun:
                    start = chunk.index(b"\n", start) + 1
                    line += 1
                awaited += self._still(self._wanted.pop(begun), chunk[start:])
            line = last
            yield chunk

    def _still(self, awaited: Iterable[tuple[int, bytes]], text: bytes) -> list[tuple[int, bytes]]:
        """What of the pieces is still to come when this text has come."""
        left = []
        for id_, raw in awaited:
            if len(text) > len(raw) and text.startswith(raw):
                self.continued.add(id_)
            elif raw.startswith(text):
                left.append((id_, raw[len(text) :]))
        return left


_ENCODE: Final = msgspec.msgpack.Encoder().encode
_DECODE: Final = msgspec.msgpack.Decoder(Block).decode


def read_blocks(
    format_: RecordFormat, settings: FormatSettings, source: str, chunks: Iterable[bytes], size: int
) -> Generator[Block, None, None]:
    """The blocks of a byte stream, in its order; to be closed if it is left early.

    A block made here has `size` pieces, one made by a worker those of a chunk, so chunks should be large. Raises
    `Unavailable` when a worker ends before its work is done: its blocks are those that were not given yet.
    """
    stream = Metered(chunks)
    if not isinstance(format_, LineFormat):
        for pieces in batches(format_.read(stream, settings), size, stream):
            yield block(pieces, source)
        return
    parts = _parts(stream)
    alone = (piece for first, text in _up_to(ALONE, parts) for piece in format_.read_part([text], settings, first))
    for pieces in batches(alone, size, stream):
        yield block(pieces, source)
    begin = next(parts, None)
    if begin is None:
        return
    with ExitStack() as stack:
        read = partial(_read_lines, format_, settings)
        workers = [stack.enter_context(Worker(read, source)) for _ in range(WORKERS)]
        ahead: deque[Future[Block]] = deque()
        for worker, part in zip(cycle(workers), chain([begin], parts), strict=False):
            ahead.append(worker.block(part))
            if len(ahead) == _AHEAD:
                yield ahead.popleft().result()
        while ahead:
            yield ahead.popleft().result()


def block(pieces: Iterable[Cdr | Rejected], source: str) -> Block:
    """What a format read, as it is stored; a record that names no source is of this one."""
    records: list[Prepared] = []
    rejects: list[Reject] = []
    newest: dict[str, int] = {}

    def read() -> Iterator[Cdr]:
        """Each record is made ready at once: a list of them made ready afterwards, when the processor's cache has
        lost the first ones, takes an eighth longer."""
        for piece in pieces:
            if isinstance(piece, Rejected):
                rejects.append(Reject(piece.reason, piece.where, piece.raw))
            else:
                record = sourced(piece, source)
                records.append(made := prepared(record))
                if record.source is not None and record.source != source:
                    newest[record.source] = max(newest.get(record.source, 0), int(made.values[0]))
                yield record

    found = mentions(read())
    return Block(records, rejects, found, newest)


def sourced(record: Cdr, source: str) -> Cdr:
    """The record, with its source if it named none."""
    return record if record.source is not None or not source else msgspec.structs.replace(record, source=source)


def mentions(records: Iterable[Cdr]) -> list[Mention]:
    """What records call things: of each the newest name."""
    seen: dict[tuple[NamedKind, int | str], tuple[datetime, str | None]] = {}
    for record in records:
        at = record.started_at
        for kind, key, name in _named(record):
            known = seen.get((kind, key))
            if known is None or (name is not None and (known[1] is None or (at, name) > (known[0], known[1]))):
                seen[kind, key] = (at, name)
    return [(kind, key, name, to_ms(at)) for (kind, key), (at, name) in seen.items()]


def _named(record: Cdr) -> Iterator[tuple[NamedKind, int | str, str | None]]:
    if record.agent_id is not None:
        yield "agent", record.agent_id, record.agent
    if record.queue_id is not None:
        yield "queue", record.queue_id, record.queue
    if record.campaign_id is not None:
        yield "campaign", record.campaign_id, record.campaign
    if record.wrapup_code is not None:
        yield "wrapup_code", record.wrapup_code, record.wrapup_description
    for team in record.teams:
        yield "team", team.id, team.name


_T = TypeVar("_T")


def batches(pieces: Iterable[_T], size: int, stream: Metered) -> Iterator[list[_T]]:
    """The pieces of a stream, so many at a time; fewer at the end, and where they are `BATCH_BYTES` of it."""
    batch: list[_T] = []
    begun = 0
    for piece in pieces:
        batch.append(piece)
        if len(batch) == size or stream.taken - begun >= BATCH_BYTES:
            yield batch
            batch, begun = [], stream.taken
    if batch:
        yield batch


def _parts(chunks: Iterable[bytes]) -> Iterator[Portion]:
    """The chunks, cut so that each ends with a line; only the last may lack its line feed.

    Memory is bounded as in `formats.lines`: of a line beyond `LINE_LIMIT` enough is kept to see that it is too long.
    """
    first, rest = 1, b""
    for chunk in chunks:
        end = chunk.rfind(b"\n") + 1
        if not end:
            rest = (rest + chunk)[: LINE_LIMIT + 1]
            continue
        text = rest + chunk[:end]
        yield first, text
        first += text.count(b"\n")
        rest = chunk[end:][: LINE_LIMIT + 1]
    if rest:
        yield first, rest


def _up_to(size: int, parts: Iterator[Portion]) -> Iterator[Portion]:
    """The first parts, until they have this size together; the others stay in `parts`."""
    while size > 0 and (part := next(parts, None)) is not None:
        size -= len(part[1])
        yield part


# --- a worker ---------------------------------------------------------------------------------------------------------
# `multiprocessing` is not used: its workers read the caller's main module again, need a process more to watch over
# them, and stay behind if their parent is killed. This one ends when its end of the connection does.


def _read_lines(format_: LineFormat, settings: FormatSettings, first: int, text: bytes) -> Iterator[Cdr | Rejected]:
    return format_.read_part([text], settings, first)


class Worker:
    """A process that makes blocks of parts, one after another in the order in which they are given."""

    def __init__(self, read: Callable[[int, bytes], Iterable[Cdr | Rejected]], source: str) -> None:
        """`read` is given each part, and can be pickled; see `block` for `source`."""
        self._socket, its = socket.socketpair()
        with its:
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-c", "from calldex.ingest.workers import work; work()"],
                stdin=its.fileno(),
                stdout=subprocess.DEVNULL,
                env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
                process_group=0,  # Ctrl-C is for the process that waits for this one
            )
        # Sending waits until the worker takes a part, receiving until it has made one: neither must hold up the other.
        self._sending = ThreadPoolExecutor(1, thread_name_prefix="to-reader")
        self._receiving = ThreadPoolExecutor(1, thread_name_prefix="from-reader")
        self._sending.submit(self._send, pickle.dumps((read, source)))

    def block(self, part: Portion) -> Future[Block]:
        """Let a part be read; the block that it becomes, or `Unavailable`."""
        self._sending.submit(self._send, _ENCODE(part))
        return self._receiving.submit(self._receive)

    def _send(self, message: bytes) -> None:
        """A worker that has ended takes nothing; `_receive` tells so."""
        try:
            _send(self._socket, message)
        except OSError:
            return

    def _receive(self) -> Block:
        message = _received(self._socket)
        if message is None:
            code = self._process.wait()
            raise Unavailable(
                f"the process that reads the records ended (exit code {code}) before it was done; what was committed is"
                " kept, and the same can be imported again"
            )
        return _DECODE(message)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.end()

    def end(self) -> None:
        """End the process, whatever it is doing; of what it was to do, nobody hears any more."""
        self._process.kill()
        self._process.wait()
        self._sending.shutdown(cancel_futures=True)
        self._receiving.shutdown(cancel_futures=True)
        self._socket.close()


def work() -> None:
    """What a worker does: read parts from its standard input, a socket, until that ends, and reply with blocks."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    gc.set_threshold(*GC_THRESHOLDS)
    with socket.socket(fileno=sys.stdin.fileno()) as parent:
        begin = _received(parent)
        if begin is None:
            return
        read, source = pickle.loads(begin)  # noqa: S301 - from the process that started this one
        decode = msgspec.msgpack.Decoder(Portion).decode
        while (message := _received(parent)) is not None:
            first, text = decode(message)
            try:
                _send(parent, _ENCODE(block(read(first, text), source)))
            except ConnectionError:
                return


def _send(to: socket.socket, message: bytes) -> None:
    """Whole messages go in single calls: each call more waits for the interpreter while a commit holds it."""
    to.sendall(len(message).to_bytes(_SIZE_BYTES) + message)


def _received(sender: socket.socket) -> bytes | None:
    """The next message; None if the other side has gone."""
    try:
        size = sender.recv(_SIZE_BYTES, socket.MSG_WAITALL)
        if len(size) < _SIZE_BYTES:
            return None
        wanted = int.from_bytes(size)
        message = sender.recv(wanted, socket.MSG_WAITALL)
    except ConnectionResetError:
        return None
    return message if len(message) == wanted else None

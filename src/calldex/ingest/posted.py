"""The pieces that a request posts become a block of records; large requests are read in other processes.

Reading records holds the interpreter for longer than all else that a post causes, so a server that gets large posts
from several clients would spend its one interpreter on that. Knows no HTTP and writes nothing.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import CancelledError
from contextlib import suppress
from typing import Final

import msgspec

from calldex.errors import Unavailable
from calldex.formats import LINE_LIMIT
from calldex.ingest.workers import WORKERS, Block, Worker, block
from calldex.records import codec
from calldex.records.record import Cdr, Rejected

Piece = bytes | Cdr | Rejected
"""The JSON of a record, or what was read already."""
LARGE: Final = 256 << 10
"""From so many bytes on a post is worth the way to another process and back."""
_ENCODE: Final = msgspec.msgpack.Encoder().encode
_DECODE: Final = msgspec.msgpack.Decoder(list[bytes]).decode


def read(piece: Piece, index: int) -> Cdr | Rejected:
    """The record that a piece of a post is; it stands at its index, whatever who read it calls its place."""
    if isinstance(piece, Cdr):
        return piece
    if isinstance(piece, Rejected):
        return msgspec.structs.replace(piece, where=str(index))
    if len(piece) > LINE_LIMIT:
        return Rejected(f"longer than {LINE_LIMIT} bytes", str(index), piece)
    return codec.decode(piece, str(index))


def _read(first: int, packed: bytes) -> Iterator[Cdr | Rejected]:
    return (read(text, index) for index, text in enumerate(_DECODE(packed), first))


class Readers:
    """Reads posts; any thread. The processes are started by the first large one, which is still read here, and stay
    until `close`."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._workers: list[Worker] = []
        self._wanted = len(os.sched_getaffinity(0)) > 1

    def block(self, pieces: Sequence[Piece]) -> Block:
        """The records of a post; the place of what is rejected is its index."""
        texts = [piece for piece in pieces if isinstance(piece, bytes)]
        workers = self._for(sum(map(len, texts)))
        if workers and len(texts) == len(pieces):
            size = -(-len(texts) // len(workers))
            parts = [(first, _ENCODE(texts[first : first + size])) for first in range(0, len(texts), size)]
            with suppress(RuntimeError):  # they have just been ended
                blocks = [worker.block(part) for worker, part in zip(workers, parts, strict=False)]
                try:
                    return _joined([each.result() for each in blocks])
                except (Unavailable, CancelledError):  # one has ended
                    self._end(workers)
        return block((read(piece, index) for index, piece in enumerate(pieces)), "")

    def _for(self, size: int) -> list[Worker]:
        """The processes that a post of so many bytes is for; none where there are none yet."""
        if size < LARGE or not self._wanted:
            return []
        with self._lock:
            if not self._workers and self._wanted:
                self._workers = [Worker(_read, "") for _ in range(WORKERS)]
                return []
            return self._workers

    def _end(self, workers: list[Worker]) -> None:
        """End these, unless somebody has; the next large post starts others."""
        with self._lock:
            if self._workers is not workers:
                return
            self._workers = []
        for worker in workers:
            worker.end()

    def close(self) -> None:
        """End the processes, for good."""
        with self._lock:
            self._wanted, workers = False, self._workers
        self._end(workers)


def _joined(blocks: Sequence[Block]) -> Block:
    return Block(
        [record for each in blocks for record in each.records],
        [reject for each in blocks for reject in each.rejects],
        [mention for each in blocks for mention in each.mentions],
        {name: max(other.newest.get(name, 0) for other in blocks) for each in blocks for name in each.newest},
    )

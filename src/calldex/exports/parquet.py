"""Parquet: the columns of the Arrow stream, compressed, a group of rows for some batches.

The writer of arro3 asks for its batches and writes in one call, so it runs in a thread of its own and both sides take
turns: `add` hands a batch over and waits until the next is asked for.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from typing import Final

from arro3.core import DataType, RecordBatch, RecordBatchReader
from arro3.io import write_parquet

from calldex.exports.arrow import INSTANT, Batches
from calldex.exports.columns import Layout
from calldex.exports.sink import Sink

_UNLIKE: Final = frozenset(("uuid", "recording", "external_account_id", "comment"))
"""Texts that hardly ever come again, as times do: a dictionary of them takes time and room."""
GROUP: Final = 100_000
"""Rows of a group: what a reader reads at once, and what is in memory while it is made."""


def _times(type_: DataType, path: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
    """Where times lie in values of a type, as Parquet names places: those of an event as well."""
    if type_ == INSTANT:
        yield path
    if type_.value_field is not None:
        yield from _times(type_.value_field.type, (*path, "list", type_.value_field.name))
    for field in type_.fields or ():
        yield from _times(field.type, (*path, field.name))


class Parquet:
    """Writes the file."""

    def __init__(self, layout: Layout) -> None:
        self._batches = Batches(layout)
        types = {column.name: self._batches.schema.field(column.name).type for column in layout.columns}
        unlike = [path for name, type_ in types.items() for path in _times(type_, (name,))]
        unlike += [(name,) for name in types if name in _UNLIKE]
        self._dictionaries: dict[str | Sequence[str], bool] = dict.fromkeys(unlike, False)
        self._sink = Sink()
        self._next: list[RecordBatch] | None = []
        self._given = threading.Semaphore(0)
        self._asked = threading.Semaphore(0)
        self._failure: BaseException | None = None
        self._thread = threading.Thread(target=self._write, name="parquet", daemon=True)

    def begin(self) -> bytes:
        """The mark of the format."""
        self._thread.start()
        self._asked.acquire()
        return self._sink.taken()

    def convert(self, records: bytes) -> list[RecordBatch]:
        """The records as batches."""
        return self._batches.read(records)

    def add(self, converted: list[RecordBatch]) -> bytes:
        """What is written when these records have come; nothing, until a group is full."""
        return self._turn(converted)

    def end(self) -> bytes:
        """The rest, and the directory without which it is no Parquet."""
        return self._turn(None)

    def close(self) -> None:
        """Let the thread end."""
        self._sink.stopped = True
        if self._thread.is_alive():
            self._next = None
            self._given.release()
            self._thread.join()
        self._batches.close()

    def _turn(self, batches: list[RecordBatch] | None) -> bytes:
        self._next = batches
        self._given.release()
        self._asked.acquire()
        if self._failure is not None:
            raise self._failure
        return self._sink.taken()

    def _pull(self) -> Iterator[RecordBatch]:
        while True:
            self._asked.release()
            self._given.acquire()
            if self._next is None:
                return
            yield from self._next

    def _write(self) -> None:
        try:
            reader = RecordBatchReader.from_batches(self._batches.schema, self._pull())
            write_parquet(
                reader,
                self._sink.file,
                compression="zstd(1)",
                column_dictionary_enabled=self._dictionaries,
                max_row_group_size=GROUP,
            )
        except BaseException as failure:  # noqa: BLE001 - told to who waits for it
            self._failure = failure
        finally:
            self._asked.release()

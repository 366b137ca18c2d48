"""What the libraries alone need for a record, of all that an import and a post do with it: what is below this is out of
reach for a program that uses them, however it calls them.

Each is called as the program does, by one thread, with everything ready that it takes: nothing is counted but the call.
"""

from __future__ import annotations

import gc
import hashlib
import time
from collections.abc import Callable, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, Final

import duckdb
import msgspec
import numpy as np

from bench.figures import Figures
from calldex.records.codec import Record
from calldex.store.embedded import opening, sqlite
from calldex.store.embedded.packing import Packing
from calldex.store.embedded.versions import KEPT
from calldex.store.sql import LIVE, prepared, uuid_bytes

MOST: Final = 100_000
_AT_ONCE: Final = 10_000
"""So many records an import commits, and the columns take in, at once."""


def floors(folder: Path, file: Path) -> Figures:
    """Processor time for a record, in µs, of the first of a file of records."""
    with file.open("rb") as lines:
        texts = [line.rstrip() for line in islice(lines, MOST)]
    decode = msgspec.json.Decoder(Record).decode
    found: Figures = {}
    read, found["floor_decode_us"] = _only(texts, lambda some: list(map(decode, some)))
    made = [prepared(cdr) for cdr in read]
    json = [each.json for each in made]
    _, found["floor_encode_us"] = _only(read, lambda some: list(map(msgspec.json.Encoder().encode, some)))
    _, found["floor_digest_us"] = _only(json, lambda some: [hashlib.sha256(text).digest() for text in some])
    (folder / "floors").mkdir()
    writer = sqlite.connect(folder / "floors" / "ledger.db")
    try:
        opening.migrate(writer, "ledger.db")
        packed, found["floor_compress_us"] = _only(json, Packing(writer).pack)
        rows = [
            (seq, LIVE, 1, uuid_bytes(each.uuid), *each.values, text, 0)
            for seq, (each, text) in enumerate(zip(made, packed, strict=True), 1)
        ]
        insert = f"INSERT INTO version ({', '.join(KEPT)}, json, written_ms) VALUES ({', '.join('?' * len(rows[0]))})"  # noqa: S608

        def commit(some: Sequence[Any]) -> list[Any]:
            with sqlite.commit(writer):
                sqlite.insert(writer, insert, some)
            sqlite.fold(writer)
            return []

        _, found["floor_sqlite_us"] = _only(rows, commit)
    finally:
        writer.close()
    arrays = [_arrays(rows[at : at + _AT_ONCE]) for at in range(0, len(rows), _AT_ONCE)]
    with duckdb.connect(str(folder / "floors" / "columns.duckdb")) as engine:
        engine.register("source", arrays[0])
        engine.execute("CREATE TABLE cdr AS FROM source LIMIT 0")

        def append(some: Sequence[Any]) -> list[Any]:
            for source in some:
                engine.register("source", source)
                engine.execute("INSERT INTO cdr FROM source")
            return []

        _, spent = _only(arrays, append)
        found["floor_duckdb_us"] = round(spent * len(arrays) / len(rows), 2)
    found["floor_us"] = round(sum(found.values()), 1)
    return found


def _only(given: Sequence[Any], work: Callable[[Sequence[Any]], list[Any]]) -> tuple[list[Any], float]:
    """What is made of all that is given, some at once, and the processor time in µs for one."""
    made: list[Any] = []
    gc.collect()
    gc.disable()  # it is for what this keeps, and not the library's
    began = time.process_time()
    for at in range(0, len(given), _AT_ONCE):
        made += work(given[at : at + _AT_ONCE])
    spent = time.process_time() - began
    gc.enable()
    return made, round(spent / len(given) * 1e6, 2)


def _arrays(rows: Sequence[tuple[Any, ...]]) -> dict[str, Any]:
    """Rows without JSON and time, as columns."""
    columns = list(zip(*rows, strict=True))[: len(KEPT)]
    return {
        name: np.array(column, dtype=np.int64 if isinstance(column[0], int) else object)
        for name, column in zip(KEPT, columns, strict=True)
    }

"""A file that is made in the background, batch by batch, so that it survives a restart.

Every second or so what is written goes to disk, and how far it is to the directory (`Export.records`, `.size`,
`.after`). Whoever goes on there gets the bytes of a file that was never interrupted: it is as of the same commit, and
what comes next depends on nothing else. Formats of which that is not so (`Format.resumes`) begin anew, as of the same
commit. Blocks: for threads.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from typing import IO, Any, Final

import msgspec

from calldex.directory import Export
from calldex.exports import FORMATS, Format
from calldex.exports.request import Made
from calldex.jobs.files import ExportFiles
from calldex.search.reader import Batch, Point
from calldex.store import Position

SAVE_S: Final = 1.0
"""How often the disk and the directory hear of what is written."""
_PIECE: Final = 1 << 20


def point_of(export: Export, format_: Format, files: ExportFiles) -> Point | None:
    """Where its stream begins: as of the commit of the first time, behind what is sure to be written."""
    if export.as_of is None or export.total is None:
        return None
    if not format_.resumes or export.after is None or files.size_of_half(export.id) < export.size:
        return Point(as_of=export.as_of, total=export.total)
    after = msgspec.msgpack.decode(export.after, type=Position)
    return Point(as_of=export.as_of, total=export.total, passed=export.records, after=after)


class Making:
    """Makes the file of one export, from a point on. `save` keeps columns of its row, and raises when it is to be made
    no more."""

    def __init__(
        self,
        export: Export,
        made: Made,
        point: Point,
        files: ExportFiles,
        save: Callable[..., None],
    ) -> None:
        self._id = export.id
        self._files = files
        self._save = save
        self._made = made
        self._format = FORMATS[dict(export.parameters).get("format", "ndjson")]
        self._records = self._bytes = 0
        self._saved_at = time.monotonic()
        half = files.half(export.id)
        files.check_room()
        if point.after is not None:
            self._file: IO[bytes] = half.open("r+b")
            self._go_on(point.passed, export.size)
        else:
            self._file = half.open("wb")
            save(as_of=point.as_of, total=point.total, state="running", records=0, size=0, after=None)
            self._write(self._made.begin())

    def add(self, batch: Batch) -> None:
        """Write some records, converted."""
        self._write(self._made.add(batch.converted, batch.count))
        self._records += batch.count
        if time.monotonic() > self._saved_at + SAVE_S:
            self._files.check_room()
            self._keep(batch.after)
            self._saved_at = time.monotonic()

    def end(self) -> dict[str, Any]:
        """Write the rest, and give it its name; what is to be kept of it."""
        self._write(self._made.end())
        self._synced()
        self.close()
        self._files.finish(self._id)
        return {"records": self._records, "size": self._bytes, "digest": self._made.digest}

    def close(self) -> None:
        """Let go of what is held."""
        self._file.close()
        self._made.close()

    def _go_on(self, records: int, size: int) -> None:
        while self._bytes < size:
            piece = self._file.read(min(_PIECE, size - self._bytes))
            self._made.resume(0, piece)
            self._bytes += len(piece)
        self._file.truncate(size)
        self._made.resume(records, b"")
        self._records = records

    def _keep(self, after: Position | None) -> None:
        if self._format.resumes:
            self._synced()
            self._save(records=self._records, size=self._bytes, after=msgspec.msgpack.encode(after))
        else:
            self._save(records=self._records, size=self._bytes)

    def _write(self, piece: bytes) -> None:
        self._file.write(piece)
        self._bytes += len(piece)

    def _synced(self) -> None:
        self._file.flush()
        os.fsync(self._file.fileno())

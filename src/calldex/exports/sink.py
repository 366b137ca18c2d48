"""A file that cannot go back: what is written to it is taken from it, piece by piece."""

from __future__ import annotations

import io
from typing import IO, cast


class Sink(io.RawIOBase):
    """Takes what a library writes. `stopped`: nobody wants more, and who writes more is told."""

    def __init__(self) -> None:
        super().__init__()
        self._parts: list[bytes] = []
        self._size = 0
        self.stopped = False

    @property
    def file(self) -> IO[bytes]:
        """Itself, as libraries declare what they write to."""
        return cast(IO[bytes], self)

    def writable(self) -> bool:
        """It is."""
        return True

    def write(self, part: object) -> int:
        """Keep it; `BrokenPipeError` when nobody wants it."""
        if self.stopped:
            raise BrokenPipeError
        kept = bytes(cast(bytes, part))
        self._parts.append(kept)
        self._size += len(kept)
        return len(kept)

    def taken(self) -> bytes:
        """What came since the last time."""
        parts, self._parts = self._parts, []
        return b"".join(parts)

"""JSON, and JSON Lines (NDJSON): records as the API serves them, or of them the chosen members in the chosen order."""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from calldex.exports.columns import Layout


def _picked(layout: Layout) -> Callable[[bytes], list[bytes]]:
    """What gives each record's JSON with the chosen members alone."""
    names = [column.name for column in layout.columns]
    keys = [msgspec.json.encode(name) + b":" for name in names]
    decode = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode_lines
    absent = msgspec.Raw(b"null")

    def pick(records: bytes) -> list[bytes]:
        return [
            b"{%b}" % b",".join(key + record.get(name, absent) for key, name in zip(keys, names, strict=True))
            for record in decode(records)
        ]

    return pick


def last_object(records: int, digest: str) -> bytes:
    """The line that says that the file is whole."""
    return b'{"$end":{"records":%d,"sha256":"%b"}}\n' % (records, digest.encode())


class Lines:
    """Writes NDJSON: a record a line, each ended by a line feed."""

    def __init__(self, layout: Layout) -> None:
        self._pick = _picked(layout) if layout.chosen else None

    def begin(self) -> bytes:
        """Nothing."""
        return b""

    def convert(self, records: bytes) -> bytes:
        """As they are."""
        return records

    def add(self, converted: bytes) -> bytes:
        """A line each."""
        if self._pick is not None:
            return b"".join(line + b"\n" for line in self._pick(converted))
        return converted + b"\n"

    def end(self) -> bytes:
        """Nothing."""
        return b""

    def close(self) -> None:
        """Nothing is held."""


class Json:
    """Writes one JSON object: `{"records": […], "total": N}`."""

    def __init__(self, layout: Layout) -> None:
        self._pick = _picked(layout) if layout.chosen else None
        self._total = layout.total
        self._comma = b""

    def begin(self) -> bytes:
        """The opening."""
        return b'{"records":['

    def convert(self, records: bytes) -> bytes:
        """As they are."""
        return records

    def add(self, converted: bytes) -> bytes:
        """The records, between commas."""
        comma, self._comma = self._comma, b","
        return comma + (b",".join(self._pick(converted)) if self._pick is not None else converted.replace(b"\n", b","))

    def end(self) -> bytes:
        """The bracket without which it is no JSON."""
        return b'],"total":%d}' % self._total

    def close(self) -> None:
        """Nothing is held."""

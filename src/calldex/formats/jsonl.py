"""JSON Lines: one record a line, in the shape version 2 of the API serves (`records.codec`).

What the API serves can be imported again and is equal. A line of another system may be looser, see
`records.codec.decode`. Blank lines count as nothing; the last line needs no line feed, since a JSON object shows where
it ends. If that end is missing, the line is still being written, or was cut off.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final

import msgspec

from calldex.formats import LINE_LIMIT, UNFINISHED, FormatSettings, LineFormat, lines
from calldex.records import codec
from calldex.records.record import Cdr, Rejected

_BOM: Final = b"\xef\xbb\xbf"
_TRUNCATED: Final = "Input data was truncated"
"""What msgspec says of JSON that lacks its end."""


class JsonlSettings(FormatSettings, frozen=True):
    """JSON Lines needs no settings."""


class Jsonl:
    """The format."""

    name = "jsonl"
    settings: type[FormatSettings] = JsonlSettings

    def sniff(self, head: bytes) -> bool:
        """The first line begins a JSON object, and if all of it is there, ends it: JSON may be written over lines."""
        first, ended, _ = head.removeprefix(_BOM).lstrip().partition(b"\n")
        return first.startswith(b"{") and (not ended or first.rstrip().endswith(b"}"))

    def read(self, chunks: Iterable[bytes], settings: FormatSettings) -> Iterator[Cdr | Rejected]:
        """Each line's record."""
        return self.read_part(chunks, settings, 1)

    def read_part(self, chunks: Iterable[bytes], settings: FormatSettings, first: int) -> Iterator[Cdr | Rejected]:
        """Each line's record."""
        for number, (line, ended) in enumerate(lines(chunks), first):
            text = line.removeprefix(_BOM) if number == 1 else line
            if len(line) > LINE_LIMIT:
                yield Rejected(f"longer than {LINE_LIMIT} bytes", f"line {number}", line)
            elif text and not text.isspace():
                found = codec.decode(text, f"line {number}")
                is_cut = not ended and isinstance(found, Rejected) and _is_cut(text)
                yield Rejected(UNFINISHED, f"line {number}", text) if is_cut else found


def _is_cut(text: bytes) -> bool:
    """Whether a text is the beginning of a JSON object, and no more than that."""
    try:
        # A number cut behind one of these would be told otherwise.
        msgspec.json.decode(codec.without_halves(text).rstrip(b"+-.eE"))
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        return text.lstrip().startswith(b"{") and str(error) == _TRUNCATED
    return False


FORMAT: Final[LineFormat] = Jsonl()

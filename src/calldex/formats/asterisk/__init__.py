"""Asterisk: calls from rows of `Master.csv` (cdr_csv, cdr_custom) and of `queue_log`.

A record's way: `reading` makes rows of bytes, `links` ties those of one call together, and `calls` makes a call of
them, step by step: `rows` what a row says, `visits` stays in queues, `call` the facts in order, `direction` which way
it went, `outcome` how it ended, `transfers` who handed it to whom, `lengths` how long all of it took. `settings` holds
what an administrator has to say about the phone system. Nothing here opens a file or knows a store.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Final

from calldex.formats import RowSettings, lines
from calldex.formats.asterisk.calls import assemble
from calldex.formats.asterisk.links import cdr_links, queue_links
from calldex.formats.asterisk.reading import Reader, recognised
from calldex.formats.asterisk.rows import CdrRow, decoded
from calldex.formats.asterisk.settings import AsteriskSettings
from calldex.records.record import CallRow, Cdr, Rejected


class AsteriskFormat:
    """Asterisk's CDR rows and queue log; see `formats.RowFormat`."""

    name = "asterisk"
    settings: type[RowSettings] = AsteriskSettings

    def sniff(self, head: bytes) -> bool:
        """Whether a complete line among the first ones is a row of cdr_csv, shipped cdr_custom or queue_log."""
        return recognised(head)

    def rows(self, chunks: Iterable[bytes], settings: AsteriskSettings) -> Iterator[CallRow | Rejected]:
        """The rows of a byte stream. Lines of nothing but white space are no record.

        A last line without line end is `UNFINISHED`, whatever can be seen in it: a row cut behind one of its columns
        is a row of another width. So is a last row in a value of which the stream ends.
        """
        reader = Reader(settings)
        for line, ended in lines(chunks):
            yield from reader.line(line, ended)
        yield from reader.line(b"", ended=False)
        yield from reader.finish()

    def links(self, row: CallRow) -> tuple[str, ...]:
        """What ties a row to others; see `links`."""
        said = decoded(row.text)
        return cdr_links(said, row.key) if isinstance(said, CdrRow) else queue_links(said)

    def assemble(self, rows: Sequence[CallRow], settings: AsteriskSettings, source: str) -> Cdr | None:
        """The call that these rows are; see `calls.assemble`."""
        return assemble([row.text for row in rows], settings, source)


FORMAT: Final = AsteriskFormat()

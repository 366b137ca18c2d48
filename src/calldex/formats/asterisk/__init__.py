"""Asterisk: calls from rows of `Master.csv` (cdr_csv, cdr_custom) and of `queue_log`.

`reading` makes rows of bytes, `rows` says what one row means, `calls` makes calls of rows, `settings` holds what an
administrator has to say about the phone system. Nothing here opens a file or knows a store.

How the rows of a call find each other (`Row.links`)
----------------------------------------------------
* A CDR row has its linkedid and its uniqueid, a queue_log row its callid, which is the uniqueid of the caller, and in
  CONNECT the uniqueid of the agent's leg. All are names of channels and are one kind of link. A transfer rewrites the
  linkedid of the channels it joins to the oldest one, rows already written keep the old one; the uniqueid, which is on
  rows of both kinds, ties them, so that a call and the consultation that led to its transfer are one call.
* Without a linkedid (old tables, the shipped cdr_custom) rows are tied by uniqueid and by channels of the same name
  in use in the same minute, both halves of a Local channel being one. Only names numbered by a counter count: before
  it the suffix was a memory address, which the next call may get within the second.
* A row that has nothing of this is a call of its own. Events of queues and agents (QUEUESTART, PAUSE, ...) are no call.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Final

from calldex.formats import FormatSettings, Row, lines
from calldex.formats.asterisk.calls import assemble
from calldex.formats.asterisk.reading import Reader, recognised
from calldex.formats.asterisk.settings import AsteriskSettings
from calldex.records.record import Cdr, Rejected


class AsteriskFormat:
    """Asterisk's CDR rows and queue log; see `formats.RowFormat`."""

    name = "asterisk"
    settings: type[FormatSettings] = AsteriskSettings

    def sniff(self, head: bytes) -> bool:
        """Whether a complete line among the first ones is a row of cdr_csv, shipped cdr_custom or queue_log."""
        return recognised(head)

    def rows(self, chunks: Iterable[bytes], settings: AsteriskSettings) -> Iterator[Row | Rejected]:
        """The rows of a byte stream. Lines of nothing but white space are no record.

        A last line without line end is `UNFINISHED`, whatever can be seen in it: a row cut behind one of its columns
        is a row of another width. So is a last row in a value of which the stream ends.
        """
        reader = Reader(settings)
        for line, ended in lines(chunks):
            yield from reader.line(line, ended)
        yield from reader.line(b"", ended=False)

    def assemble(self, rows: Sequence[Row], settings: AsteriskSettings, source: str) -> Cdr | None:
        """The call that these rows are; see `calls.assemble`."""
        return assemble([row.text for row in rows], settings, source)


FORMAT: Final = AsteriskFormat()

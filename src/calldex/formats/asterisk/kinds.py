"""Files that are no CDR rows and no queue_log: what they seem to be, and what to do instead.

Somebody who gives such a file is told so once. A line is looked at by itself, and only if it could not be read.
"""

from __future__ import annotations

import csv
import re
from typing import Final

import msgspec

from calldex.formats.asterisk.rows import UNIQUEID
from calldex.formats.asterisk.settings import COLUMNS, SKIPPED
from calldex.formats.asterisk.visits import SERVED, WAITED

SUPPORTED: Final = "Master.csv of cdr_csv or cdr_custom, and queue_log"
_CHANNEL_EVENTS: Final = frozenset(
    (
        *("CHAN_START", "CHAN_END", "ANSWER", "HANGUP", "APP_START", "APP_END", "BRIDGE_ENTER", "BRIDGE_EXIT"),
        *("BRIDGE_START", "BRIDGE_END", "BLINDTRANSFER", "ATTENDEDTRANSFER", "PICKUP", "PARK_START", "PARK_END"),
        *("FORWARD", "LOCAL_OPTIMIZE", "LOCAL_OPTIMIZE_BEGIN", "LINKEDID_END", "USER_DEFINED", "CONF_START"),
    )
)
_QUEUE_EVENTS: Final = frozenset((*SERVED, *WAITED, "ENTERQUEUE", "CONNECT", "RINGNOANSWER", "DID", "QUEUESTART"))
_3CX: Final = re.compile(rb"Call \d+,|(?:historyid|callid)[,;]", re.IGNORECASE)
_SQL: Final = re.compile(rb"\s*(?:INSERT INTO|CREATE TABLE|DROP TABLE|SET time_zone|-- MySQL dump)\b", re.IGNORECASE)
_RENAMED: Final = {"calldate": "start", "recordingfile": "recordingfile", "accountid": "accountcode"}
_CEL_WIDTH: Final = 16
_LONGEST: Final = 64 * 1024
"""Bytes of a line that are looked at."""


class Kind(msgspec.Struct, frozen=True):
    """What a file seems to be, and what to do about it."""

    name: str
    advice: str


_CEL: Final = Kind("CEL, Asterisk's log of channel events", "switch on CDR (cdr.conf) and give its Master.csv")
_QUEUE_TABLE: Final = Kind(
    "the table queue_log as CSV", "give the file queue_log, or export lines of time|callid|queue|agent|event|parameters"
)
_3CX_LOG: Final = Kind("a call log of 3CX", "records of another system can be imported as JSON Lines (--format jsonl)")
_JSON: Final = Kind("JSON", "records of another system can be imported as JSON Lines (--format jsonl)")
_XML: Final = Kind("XML", "records of another system can be imported as JSON Lines (--format jsonl)")
_SQL_DUMP: Final = Kind("an SQL dump", "export the table cdr as CSV and name its columns in the setting columns")
_PACKED: Final = Kind("a compressed file", "decompress it first")


def kind_of(line: bytes, has_columns: bool) -> Kind | None:
    """What a line that could not be read seems to be of; None if it shows nothing.

    Where the source names the columns, a header is only no row.
    """
    line = line[:_LONGEST]
    if line.startswith((b"\x1f\x8b", b"PK\x03\x04", b"BZh", b"\xfd7zXZ", b"\x28\xb5\x2f\xfd")):
        return _PACKED
    for start, kind in ((b'{"', _JSON), (b'[{"', _JSON), (b"<?xml", _XML), (b"<cdr", _XML)):
        if line.lstrip().startswith(start):
            return kind
    if line.strip() in (b"{", b"["):
        return _JSON
    if _SQL.match(line):
        return _SQL_DUMP
    if _3CX.match(line):
        return _3CX_LOG
    try:
        values = next(csv.reader((line.decode("latin-1").replace("\0", "").replace("\r", ""),)), [])
    except csv.Error:
        return None
    return _by_values(values, has_columns)


def _by_values(values: list[str], has_columns: bool) -> Kind | None:
    found = set(values)
    names = {value.strip().lower() for value in values}
    if names >= {"eventtype", "eventtime"} or (len(values) >= _CEL_WIDTH and found & _CHANNEL_EVENTS):
        return _CEL
    if names >= {"callid", "event"} or (found & _QUEUE_EVENTS and any(map(UNIQUEID.fullmatch, values))):
        return _QUEUE_TABLE
    if not has_columns and {"channel", "dstchannel", "disposition"} <= names:
        return Kind("a table of CDR rows with a header", f"set columns={_columns(values)}")
    return None


def _columns(header: list[str]) -> str:
    """The setting that reads a table with this header."""
    columns, left = [], set(COLUMNS)
    for name in header:
        column = _RENAMED.get(name.strip().lower(), name.strip().lower())
        columns.append(column if column in left else SKIPPED)
        left.discard(column)
    return ",".join(columns)

"""What the tests of Asterisk's format read, and how they look at what it gives."""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from pathlib import Path

import msgspec
import pytest

from calldex.formats.asterisk import FORMAT
from calldex.formats.asterisk.settings import COLUMNS, AsteriskSettings
from calldex.records.record import CallRow, Cdr, Rejected

ROOT = Path(__file__).parents[2]
GOLDENS = Path(__file__).parent / "goldens" / "asterisk"
PBX = ROOT / "tests" / "fixtures" / "asterisk-22"
SAMPLES = ROOT.parent / "shared" / "samples"
ASTERISK_22 = msgspec.json.decode((GOLDENS / "asterisk-22" / "settings.json").read_bytes(), type=AsteriskSettings)
PLAIN = AsteriskSettings(zone="UTC", trunks=("PJSIP/carrier-*",))
SHIPPED_CUSTOM = (
    *("clid", "src", "dst", "dcontext", "channel", "dstchannel", "lastapp", "lastdata", "start", "answer", "end"),
    *("duration", "billsec", "disposition", "amaflags", "accountcode", "uniqueid", "userfield", "sequence"),
)


def read(data: bytes, known: AsteriskSettings = PLAIN) -> list[CallRow | Rejected]:
    """What a file gives."""
    return list(FORMAT.rows([data], known))


def rows_of(*files: Path, known: AsteriskSettings = PLAIN) -> list[CallRow]:
    """The rows of files in which everything can be read."""
    found = [row for file in files for row in read(file.read_bytes(), known)]
    assert [row for row in found if isinstance(row, Rejected)] == []
    return [row for row in found if isinstance(row, CallRow)]


def kept(data: bytes) -> list[tuple[bytes, tuple[str, ...], str]]:
    """What is kept of the rows of a file: all but where they stood."""
    return [(row.key, row.links, row.text) for row in read(data) if isinstance(row, CallRow)]


def groups(rows: Iterable[CallRow]) -> list[list[CallRow]]:
    """The rows of each call: those that share a link, directly or through others."""
    calls: list[tuple[set[str], list[CallRow]]] = []
    for row in {row.key: row for row in rows if row.links}.values():
        joined = [call for call in calls if call[0] & set(row.links)]
        calls = [call for call in calls if call not in joined]
        links = set(row.links).union(*(links for links, _ in joined))
        calls.append((links, [row, *itertools.chain.from_iterable(rows for _, rows in joined)]))
    return [rows for _, rows in calls]


def calls(rows: Iterable[CallRow], known: AsteriskSettings = PLAIN) -> list[Cdr]:
    """The calls that rows make, by start."""
    made = [FORMAT.assemble(group, known, "pbx") for group in groups(rows)]
    return sorted((call for call in made if call is not None), key=lambda call: (call.started_at, call.uuid))


def line(**values: str) -> bytes:
    """A row of cdr_csv with all 21 columns: an answered call from outside, but for what is given."""
    usual = dict.fromkeys(COLUMNS[:21], "") | {
        "src": "447700900100",
        "dst": "442079460011",
        "clid": '"Ann" <447700900100>',
        "channel": "PJSIP/carrier-0000000a",
        "dstchannel": "PJSIP/agent1-0000000b",
        "lastapp": "Dial",
        "start": "2026-07-01 10:00:00",
        "answer": "2026-07-01 10:00:10",
        "end": "2026-07-01 10:01:10",
        "duration": "70",
        "billsec": "60",
        "disposition": "ANSWERED",
        "uniqueid": "1782900000.10",
        "linkedid": "1782900000.10",
    }
    return csv_line({**usual, **values}.values())


def csv_line(values: Iterable[str]) -> bytes:
    """A line as cdr_csv writes it."""
    return ",".join('"' + value.replace('"', '""') + '"' for value in values).encode() + b"\n"


def one(*lines: bytes, known: AsteriskSettings = PLAIN) -> Cdr:
    """The one call that these lines are."""
    (call,) = calls((row for part in lines for row in read(part, known) if isinstance(row, CallRow)), known)
    return call


def rejected(data: bytes, known: AsteriskSettings = PLAIN) -> list[tuple[str, str]]:
    """Where and why something could not be read."""
    return [(item.where, item.reason) for item in read(data, known) if isinstance(item, Rejected)]


def sample(name: str) -> Path:
    """A recorded file that lies beside the repository, if it does."""
    path = SAMPLES / name
    if not path.exists():
        pytest.skip(f"no {name} beside the repository")
    return path

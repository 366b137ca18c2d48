"""The files of an embedded store that nobody has open, looked at and compared. Changes nothing in them, but marks the
versions that are damaged."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import msgspec

from calldex.errors import CalldexError, StoreDamaged
from calldex.store import DayCheck
from calldex.store.embedded import COLUMNS_FILE, LEDGER_FILE
from calldex.store.embedded.columns import Behind, Columns
from calldex.store.embedded.comparing import compared, filled_columns
from calldex.store.embedded.proof import in_lines
from calldex.store.embedded.reader import LedgerReader, proved


class Looked(msgspec.Struct):
    """What was found."""

    days: list[DayCheck]
    problems: list[str]
    notes: list[str]


def look(data: Path, memory_mb: int, threads: int) -> Looked:
    """Look at the store of a data directory. Raises `UnreadableInput` if the ledger is none, `WrongVersion`."""
    found = Looked([], [], [])
    path = data / LEDGER_FILE
    if not path.exists():
        found.notes.append("the first start was not finished: there are no records yet")
        return found
    with LedgerReader(path) as ledger:
        faults = ledger.faults()
        found.problems += [*in_lines(faults), *ledger.integrity()]
    if faults:
        try:
            proved(path)
        except CalldexError as error:
            found.problems.append(f"what is damaged could not be marked, so it is still given: {error.message}")
    with LedgerReader(path) as ledger:
        _compare(found, ledger, data / COLUMNS_FILE, memory_mb, threads)
    return found


def _compare(found: Looked, ledger: LedgerReader, path: Path, memory_mb: int, threads: int) -> None:
    """The days of both, as of the last commit that the columns have taken in."""
    as_of, answering, names = ledger.last_seq, None, filled_columns(ledger.gaps, {})
    if not path.exists():
        found.notes.append("the columns are not there; the next start makes them again from the ledger")
    else:
        try:
            with closing(
                Columns(
                    path,
                    ledger.store_id,
                    lambda seqs: None,
                    {},
                    memory_mb=memory_mb,
                    index_mb=0,
                    threads=threads,
                    timeout_s=math.inf,
                    look=True,
                )
            ) as columns:
                as_of = min(columns.applied, ledger.last_seq)
                names = filled_columns(ledger.gaps, columns.filled)
                answering = columns.days(as_of, names)
        except Behind as error:
            found.notes.append(f"the columns are {error}; the next start brings them up to date")
        except Exception as error:  # noqa: BLE001 - whatever the engine says, the columns can be made again
            found.problems.append(f"the columns cannot be read ({error}); the next start makes them again")
        if as_of < ledger.last_seq:
            found.notes.append(
                f"the columns are {ledger.last_seq - as_of} commits behind the ledger; the next start brings them up to"
                " date"
            )
    try:
        days = list(compared(_days(ledger, as_of), answering or {}, names))
    except StoreDamaged as error:
        found.problems.append(f"days could not be compared: {error.message}")
        return
    found.days += days if answering is not None else [msgspec.structs.replace(day, equal=True) for day in days]


def _days(ledger: LedgerReader, as_of: int) -> Iterator[tuple[str, tuple[Any, ...]]]:
    return ledger.versions_by_day(as_of)

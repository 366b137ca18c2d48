"""How the ledger and the columns compare, day by day, by number and checksum. Pure."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any
from uuid import UUID

from calldex.store import DayCheck
from calldex.store.embedded.ledger import Gap
from calldex.store.embedded.versions import ROW_NAMES


def filled_columns(gaps: Mapping[str, Gap], filled: Mapping[str, int]) -> list[str]:
    """The columns (of `versions.ROW_NAMES`) whose values are all there, in a ledger and in columns; but for `seq_to`,
    which the columns may hear of later."""
    lacking = {name for name, gap in gaps.items() if min(gap.upto, filled.get(name, gap.last)) < gap.last}
    return [name for name in ROW_NAMES if name != "seq_to" and name not in lacking]


def checksum(row: Sequence[Any], columns: Sequence[int]) -> int:
    """What one version (as `versions.ROW_NAMES`) adds to the checksum of its day: the 64 bits that DuckDB calls the
    lower half of the MD5 of some of its values, given by their places. Sums do not depend on the order of records."""
    values = [row[column] for column in columns]
    text = "|".join(map(_shown, values))
    return int.from_bytes(hashlib.md5(text.encode(), usedforsecurity=False).digest()[8:], "little")


def _shown(value: object) -> str:
    """A value as DuckDB shows it; one that is not of its column's kind, since somebody changed it, in any way."""
    return str(UUID(bytes=value)) if isinstance(value, bytes) and len(value) == 16 else str(value)


def _of_any_kind(key: tuple[object, ...]) -> list[tuple[str, object]]:
    """Sorts keys of which a part may be of another kind than it should be."""
    return [(type(part).__name__, part) for part in key]


def compared(
    kept_rows: Iterable[tuple[str, tuple[Any, ...]]],
    answering: Mapping[tuple[int, str], tuple[int, int]],
    names: Sequence[str],
) -> Iterator[DayCheck]:
    """How the days of the ledger (see `Versions.days`) compare with those of the columns, by these of their columns."""
    places = [ROW_NAMES.index(name) for name in names]
    kept: dict[tuple[int, str], tuple[int, int]] = {}
    for day, row in kept_rows:
        count, sum_ = kept.get((row[2], day), (0, 0))
        kept[row[2], day] = (count + 1, (sum_ + checksum(row, places)) % 2**64)
    for account_id, day in sorted(kept.keys() | answering.keys(), key=_of_any_kind):
        one, other = kept.get((account_id, day), (0, 0)), answering.get((account_id, day), (0, 0))
        yield DayCheck(account_id, day, one[0], other[0], one == other)

"""What a batch changes, and the rows of ClickHouse's tables that say so. Pure.

Numbers are counted from 0 within the batch until it is known how many are needed, and so which ones.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec

from calldex.record import Cdr
from calldex.store import Outcome, Ready
from calldex.store.clickhouse.schema import CDR_TYPES
from calldex.store.sql import VALUE_NAMES, ready, uuid_bytes

_VALUES: Final = tuple((name, VALUE_NAMES.index(name)) for name in CDR_TYPES if name in VALUE_NAMES)
_NOTHING: Final = {name: "" if "String" in type_ else 0 for name, type_ in CDR_TYPES.items()}
"""The values of a row without content."""
_STARTED: Final = VALUE_NAMES.index("started_ms")


class Known(msgspec.Struct, frozen=True):
    """The live version of a record: its commit number, when the record begins, and the SHA-256 of its JSON."""

    seq: int
    started_ms: int
    digest: bytes


class _New(msgspec.Struct):
    """A version of this batch, or a tombstone (without `made`); `ended` is the number that ends it, if it is of this
    batch as well."""

    uuid: bytes
    started_ms: int
    made: Ready | None
    ended: int | None = None


class _Closing(msgspec.Struct, frozen=True):
    """An earlier version that a number of this batch ends."""

    uuid: bytes
    known: Known
    ended: int


class Changes:
    """The changes of a batch to the records of an account."""

    def __init__(self, account_id: int, records: Sequence[Cdr | Ready], removed: Sequence[str]) -> None:
        self._account_id = account_id
        self._records = [record if isinstance(record, Ready) else ready(record) for record in records]
        self._uuids = [uuid_bytes(made.uuid) for made in self._records]
        self._removed = sorted({uuid_bytes(uuid) for uuid in removed})
        self._new: list[_New] = []
        self._closings: list[_Closing] = []
        self._placed: set[tuple[bytes, int]] = set()

    @property
    def uuids(self) -> list[bytes]:
        """Those of which the live version must be known."""
        return list(dict.fromkeys((*self._uuids, *self._removed)))

    @property
    def count(self) -> int:
        """How many commit numbers it takes."""
        return len(self._new)

    @property
    def gone(self) -> int:
        """How many records it takes away."""
        return sum(new.made is None for new in self._new)

    def decide(self, live: Mapping[bytes, Known]) -> list[Outcome]:
        """What becomes of each record, in their order; those removed come last."""
        self._placed = {(uuid, known.started_ms) for uuid, known in live.items()}
        now: dict[bytes, Known | int] = dict(live)
        outcomes = []
        for uuid, made in zip(self._uuids, self._records, strict=True):
            known = now.get(uuid)
            if known is not None and self._is(known, made):
                outcomes.append(Outcome.UNCHANGED)
                continue
            self._add(now, uuid, _New(uuid, int(made.values[_STARTED]), made))
            outcomes.append(Outcome.ACCEPTED if known is None else Outcome.UPDATED)
        for uuid in self._removed:
            known = now.get(uuid)
            if known is not None:
                started_ms = known.started_ms if isinstance(known, Known) else self._new[known].started_ms
                self._add(now, uuid, _New(uuid, started_ms, None, ended=len(self._new)))
        return outcomes

    def _is(self, known: Known | int, made: Ready) -> bool:
        """Whether a record is what the live version says."""
        if isinstance(known, Known):
            return hashlib.sha256(made.json).digest() == known.digest
        before = self._new[known].made
        return before is not None and before.json == made.json

    def _add(self, now: dict[bytes, Known | int], uuid: bytes, new: _New) -> None:
        number = len(self._new)
        known = now.get(uuid)
        if isinstance(known, Known):
            self._closings.append(_Closing(uuid, known, number))
        elif known is not None:
            self._new[known].ended = number
        self._new.append(new)
        now[uuid] = number

    def places(self) -> list[list[Any]]:
        """The columns of `UUID_TYPES`: where records are that were not there before."""
        places = dict.fromkeys((new.uuid, new.started_ms) for new in self._new if new.made is not None)
        fresh = [place for place in places if place not in self._placed]
        return [[self._account_id] * len(fresh), [uuid for uuid, _ in fresh], [started_ms for _, started_ms in fresh]]

    def versions(self, first: int, now_ms: int) -> list[Sequence[Any]]:
        """The columns of `CDR_TYPES`: the versions and tombstones, numbered from `first`, and the ends of others."""
        new, closings = self._new, self._closings
        whole = [each for each in new if each.made is not None]
        gone = [each for each in new if each.made is None]
        number = {id(each): first + at for at, each in enumerate(new)}
        ended = [0 if each.ended is None else first + each.ended for each in (*whole, *gone)]
        columns: dict[str, Sequence[Any]] = {
            "account_id": [self._account_id] * (len(new) + len(closings)),
            "started_ms": [each.started_ms for each in (*whole, *gone)] + [each.known.started_ms for each in closings],
            "uuid": [each.uuid for each in (*whole, *gone)] + [each.uuid for each in closings],
            "seq": [number[id(each)] for each in (*whole, *gone)] + [each.known.seq for each in closings],
            "seq_to": ended + [first + each.ended for each in closings],
            "content": [1] * len(whole) + [0] * (len(gone) + len(closings)),
            "written_ms": [now_ms] * len(new) + [0] * len(closings),
            "ended_ms": [now_ms if end else 0 for end in ended[: len(whole)]]
            + [0] * len(gone)
            + [now_ms] * len(closings),
            "json": [each.made.json for each in whole if each.made] + [b""] * (len(gone) + len(closings)),
        }
        empty = len(gone) + len(closings)
        values = tuple(zip(*(each.made.values for each in whole if each.made), strict=True))
        for name, at in _VALUES:
            if name not in columns:
                columns[name] = [*(values[at] if values else ()), *([_NOTHING[name]] * empty)]
        return [columns[name] for name in CDR_TYPES]

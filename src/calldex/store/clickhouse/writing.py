"""What a batch changes, and the rows of ClickHouse's tables that say so. Pure.

Numbers are counted from 0 within the batch until it is known how many are needed, and so which ones.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from itertools import islice
from typing import Any, Final

import msgspec

from calldex.records.record import Cdr
from calldex.store import Batch, Loaded, Outcome, Prepared, Receipt
from calldex.store.clickhouse.schema import CDR_TYPES
from calldex.store.sql import VALUE_NAMES, prepared, uuid_bytes

TOGETHER: Final = 10_000
"""So many records are committed together."""
_VALUES: Final = tuple((name, VALUE_NAMES.index(name)) for name in CDR_TYPES if name in VALUE_NAMES)
_NOTHING: Final = {name: "" if "String" in type_ else 0 for name, type_ in CDR_TYPES.items()}
"""The values of a row without content."""
_STARTED: Final = VALUE_NAMES.index("started_ms")


class Known(msgspec.Struct, frozen=True):
    """The live version of a record: its commit number, when the record begins, and the SHA-256 of its JSON."""

    seq: int
    started_ms: int
    digest: bytes


class _Closing(msgspec.Struct, frozen=True):
    """An earlier version that a number of this batch ends."""

    uuid: bytes
    known: Known
    ended: int


class Changes:
    """The changes of a batch to the records of an account."""

    def __init__(self, account_id: int, records: Sequence[Cdr | Prepared], removed: Sequence[str]) -> None:
        self._account_id = account_id
        self._records = [record if isinstance(record, Prepared) else prepared(record) for record in records]
        self._uuids = [uuid_bytes(made.uuid) for made in self._records]
        self._removed = [uuid_bytes(uuid) for uuid in removed]
        # By number: whose version it is, when it begins, what it is (None: a tombstone), and the number that ends it.
        self._new_uuids: list[bytes] = []
        self._new_started: list[int] = []
        self._new_made: list[Prepared | None] = []
        self._ended: dict[int, int] = {}
        self._closings: list[_Closing] = []
        self._placed: set[tuple[bytes, int]] = set()
        self._accepted = 0

    @property
    def uuids(self) -> list[bytes]:
        """Those of which the live version must be known."""
        return list(dict.fromkeys((*self._uuids, *self._removed)))

    @property
    def count(self) -> int:
        """How many commit numbers it takes."""
        return len(self._new_made)

    @property
    def gone(self) -> int:
        """How many records it takes away."""
        return self._new_made.count(None)

    @property
    def grown(self) -> int:
        """How many more live records there are after it."""
        return self._accepted - self.gone

    def decide(self, live: Mapping[bytes, Known]) -> list[Outcome]:
        """What becomes of each record, in their order, then of each that is removed."""
        self._placed = {(uuid, known.started_ms) for uuid, known in live.items()}
        now: dict[bytes, Known | int] = dict(live)
        outcomes = []
        for uuid, made in zip(self._uuids, self._records, strict=True):
            known = now.get(uuid)
            if known is not None and self._is(known, made):
                outcomes.append(Outcome.UNCHANGED)
                continue
            self._add(now, uuid, made.values[_STARTED], made)
            self._accepted += known is None
            outcomes.append(Outcome.ACCEPTED if known is None else Outcome.UPDATED)
        gone = set()
        for uuid in sorted(set(self._removed)):
            known = now.get(uuid)
            if known is not None:
                self._ended[self.count] = self.count
                self._add(now, uuid, known.started_ms if isinstance(known, Known) else self._new_started[known], None)
                gone.add(uuid)
        for uuid in self._removed:
            outcomes.append(Outcome.DELETED if uuid in gone else Outcome.ABSENT)
            gone.discard(uuid)  # one that is named twice is there the first time only
        return outcomes

    def _is(self, known: Known | int, made: Prepared) -> bool:
        """Whether a record is what the live version says."""
        if isinstance(known, Known):
            return hashlib.sha256(made.json).digest() == known.digest
        before = self._new_made[known]
        return before is not None and before.json == made.json

    def _add(self, now: dict[bytes, Known | int], uuid: bytes, started_ms: Any, made: Prepared | None) -> None:
        number = len(self._new_made)
        known = now.get(uuid)
        if isinstance(known, Known):
            self._closings.append(_Closing(uuid, known, number))
        elif known is not None:
            self._ended[known] = number
        self._new_uuids.append(uuid)
        self._new_started.append(started_ms)
        self._new_made.append(made)
        now[uuid] = number

    def places(self) -> list[list[Any]]:
        """The columns of `UUID_TYPES`: where records are that were not there before."""
        places = dict.fromkeys(zip(self._new_uuids, self._new_started, strict=True))
        fresh = [place for place in places if place not in self._placed] if self._placed else list(places)
        return [[self._account_id] * len(fresh), [uuid for uuid, _ in fresh], [started_ms for _, started_ms in fresh]]

    def versions(self, first: int, now_ms: int) -> list[list[Any]]:
        """The columns of `CDR_TYPES`: the versions, the tombstones, numbered from `first`, and the ends of others."""
        made = [each for each in self._new_made if each is not None]
        closings, gone = self._closings, self.gone
        whole, empty = len(made), gone + len(closings)
        seq_to = [0] * (whole + gone)
        for number, ended in self._ended.items():
            seq_to[number] = first + ended
        columns: dict[str, list[Any]] = {
            "account_id": [self._account_id] * (whole + empty),
            "started_ms": self._new_started + [each.known.started_ms for each in closings],
            "uuid": self._new_uuids + [each.uuid for each in closings],
            "seq": [*range(first, first + whole + gone)] + [each.known.seq for each in closings],
            "seq_to": seq_to + [first + each.ended for each in closings],
            "content": [1] * whole + [0] * empty,
            "written_ms": [now_ms] * (whole + gone) + [0] * len(closings),
            "ended_ms": [now_ms if end else 0 for end in seq_to[:whole]] + [0] * gone + [now_ms] * len(closings),
            "json": [each.json for each in made] + [b""] * empty,
        }
        values = tuple(zip(*[each.values for each in made], strict=True))
        for name, at in _VALUES:
            if name not in columns:
                columns[name] = [*(values[at] if values else ()), *([_NOTHING[name]] * empty)]
        return [columns[name] for name in CDR_TYPES]


def sharing(batches: Sequence[Batch]) -> Sequence[Batch]:
    """The first of some batches, and those behind it that can share a commit with it: records of the same account and
    nothing else. Of two under one idempotency key the second must find the receipt of the first."""
    some: list[Batch] = []
    keys: set[str] = set()
    size = 0
    for batch in batches:
        alone = bool(batch.removed or batch.rows or batch.rejects or batch.released)
        size += len(batch.records)
        if some and (alone or batch.account_id != some[0].account_id or batch.receipt_key in keys or size > TOGETHER):
            break
        some.append(batch)
        if alone:
            break
        if batch.receipt_key is not None:
            keys.add(batch.receipt_key)
    return some


def joined(batches: Sequence[Batch]) -> Batch:
    """Some batches that share a commit, as one."""
    if len(batches) == 1:
        return batches[0]
    return msgspec.structs.replace(batches[0], records=[record for batch in batches for record in batch.records])


def parted(batches: Sequence[Batch], outcomes: Sequence[Outcome]) -> list[list[Outcome]]:
    """The outcomes of each of some batches that share a commit."""
    left = iter(outcomes)
    return [list(islice(left, len(batch.records) + len(batch.removed))) for batch in batches]


def receipts(batches: Sequence[Batch], outcomes: Sequence[Sequence[Outcome]]) -> dict[str, Receipt]:
    """The receipts of some batches, by their keys. Raises what making one does."""
    return {
        batch.receipt_key: batch.receipt(of_batch)
        for batch, of_batch in zip(batches, outcomes, strict=True)
        if batch.receipt is not None and batch.receipt_key is not None
    }


def loaded_places(account_id: int, versions: Sequence[Loaded]) -> list[list[Any]]:
    """The columns of `UUID_TYPES` for versions of another store."""
    places = list(dict.fromkeys((version.uuid, version.values[_STARTED]) for version in versions))
    return [[account_id] * len(places), [uuid for uuid, _ in places], [started_ms for _, started_ms in places]]


def loaded_versions(account_id: int, versions: Sequence[Loaded]) -> list[list[Any]]:
    """The columns of `CDR_TYPES` for versions of another store. A tombstone ends with itself."""
    columns: dict[str, list[Any]] = {
        "account_id": [account_id] * len(versions),
        "uuid": [each.uuid for each in versions],
        "seq": [each.seq for each in versions],
        "seq_to": [each.seq if each.json is None else each.seq_to or 0 for each in versions],
        "content": [int(each.json is not None) for each in versions],
        "written_ms": [each.written_ms for each in versions],
        "ended_ms": [each.ended_ms for each in versions],
        "json": [each.json or b"" for each in versions],
    }
    for name, at in _VALUES:
        columns[name] = [
            each.values[at] if each.json is not None or at == _STARTED else _NOTHING[name] for each in versions
        ]
    return [columns[name] for name in CDR_TYPES]

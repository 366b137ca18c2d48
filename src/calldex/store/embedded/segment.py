"""A part of the index: the versions that some consecutive commits began, by combination and start, and by number.

Does not change, but for the commits that end its versions. No engine, no files.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterator, Mapping, Sequence
from operator import attrgetter
from typing import Any, Final, NamedTuple

import numpy as np

from calldex.records.fields import COLUMN
from calldex.store.embedded.parts import Parts, Places, stretched
from calldex.store.sql import LIVE

Array = np.ndarray[Any, Any]
Rows = Mapping[str, Array]
"""Versions as one array for each column of the columns' table, and `party`."""

_HALVED: Final = 2048
"""Where combinations have more versions than these, on average, a stretch of time is found by halving in each; where
they have fewer, the start of each is looked at."""
WORDS: Final = "wrapup_code"
KEPT: Final = {
    "type": np.uint8,
    "disposition": np.uint8,
    "end_reason": np.uint8,
    "events": np.uint16 if len(COLUMN["events"].words) <= 16 else np.uint32,
    "duration_s": np.uint32,
    WORDS: np.uint32,
}
"""The columns kept beside combinations, numbers and times, and how."""
NUMBERS: Final = ("caller", "callee")
TEXTS: Final = {name: f"{name}_text" for name in NUMBERS}
"""What versions have for each number beside its key: its text, if that is not what the key says."""


class Keys(NamedTuple):
    """The numbers from one key to another, both included."""

    column: str
    low: int
    high: int


class Containing(NamedTuple):
    """Numbers, in one of these columns, that contain a part; by code of a text, whether it does."""

    columns: tuple[str, ...]
    part: str
    texts: Array


class Wanted(NamedTuple):
    """A search, as segments are asked: by combination whether it is meant (None: all are), by column which values are,
    which numbers are; as of which commit, and from when until when."""

    combinations: Array | None
    tests: tuple[tuple[str, Callable[[Array], Array]], ...]
    keys: tuple[Keys, ...]
    parts: tuple[Containing, ...]
    as_of: int
    start_ms: int | None
    end_ms: int | None


class Chosen(NamedTuple):
    """Where in a segment to look: stretches of it, or the places of some numbers; which numbers are meant there, and
    whether all there began within the time that is meant."""

    stretches: Sequence[slice]
    places: Places | None
    keys: Sequence[Keys]
    within: Sequence[Places]
    in_time: bool

    @property
    def size(self) -> int:
        """How many versions that are."""
        return sum(each.stop - each.start for each in self.stretches) if self.places is None else self.places.size

    def of(self, column: Array) -> Array:
        """A column's values there."""
        if self.places is not None:
            return column[self.places.all]
        if len(self.stretches) == 1:
            return column[self.stretches[0]]
        return np.concatenate([column[each] for each in self.stretches])


class Segment:
    """Versions by combination, those of one by start; combinations of the same teams and queue lie together."""

    __slots__ = (
        "_nbytes",
        "by_number",
        "combinations",
        "earliest",
        "ended",
        "first",
        "kept",
        "last",
        "latest",
        "parts",
        "seqs",
        "started_ms",
        "starts",
    )

    def __init__(self, rows: Rows, arranged: Callable[[Array], Array]) -> None:
        """`rows`: not none, with `seq`, `seq_to`, `started_ms`, `party`, those of `KEPT`, and of each number its key,
        see `keys_of`, and the code of its text. `arranged`: see `Combinations`."""
        self.combinations = arranged(np.flatnonzero(np.bincount(rows["party"])))
        places = np.empty(int(self.combinations.max()) + 1, dtype=np.int64)
        places[self.combinations] = np.arange(len(self.combinations))
        place = places[rows["party"]]
        order = np.lexsort((rows["started_ms"], place))
        seqs = rows["seq"]
        self.first, self.last = int(seqs.min()), int(seqs.max())
        narrow = self.last - self.first < 1 << 32
        self.seqs = (seqs[order] - self.first).astype(np.uint32 if narrow else np.int64)
        self.started_ms = rows["started_ms"][order]
        self.earliest, self.latest = int(self.started_ms.min()), int(self.started_ms.max())
        self.starts = np.concatenate(([0], np.cumsum(np.bincount(place))))
        self.kept = {name: rows[name][order].astype(type_, copy=False) for name, type_ in KEPT.items()}
        self.by_number: dict[str, Array] = {}
        self.parts: dict[str, Parts] = {}
        for name, text in TEXTS.items():
            keys, codes = rows[name][order], rows[text][order]
            by_key = np.lexsort((codes, keys)) if codes.any() else np.argsort(keys, kind="stable")
            self.kept[name], self.by_number[name] = keys, by_key.astype(np.uint32)
            self.parts[name] = Parts(keys[by_key], codes[by_key])
        ended = rows["seq_to"][order]
        self.ended: Array | None = None if (ended == LIVE).all() else ended
        arrays = [self.seqs, self.started_ms, self.starts, self.combinations]
        arrays += [*self.kept.values(), *self.by_number.values()]
        self._nbytes = sum(each.nbytes for each in arrays) + sum(each.nbytes for each in self.parts.values())

    def __len__(self) -> int:
        return len(self.seqs)

    @property
    def nbytes(self) -> int:
        """The memory that its arrays take."""
        return self._nbytes + (0 if self.ended is None else self.ended.nbytes)

    def rows(self) -> dict[str, Array]:
        """What it was made of, as it is now."""
        return {
            "seq": self.seqs.astype(np.int64) + self.first,
            "seq_to": np.full(len(self), LIVE, dtype=np.int64) if self.ended is None else self.ended,
            "started_ms": self.started_ms,
            "party": np.repeat(self.combinations, np.diff(self.starts)),
            **self.kept,
            **{text: self._texts(name) for name, text in TEXTS.items()},
        }

    def _texts(self, name: str) -> Array:
        codes = np.empty(len(self), dtype=np.uint32)
        codes[self.by_number[name]] = self.parts[name].of_versions()
        return codes

    def close(self, ended_by: Mapping[int, int]) -> None:
        """Note which commits ended versions of it."""
        closed = np.array([seq - self.first for seq in ended_by], dtype=np.int64)
        if len(closed) <= 16:
            places = [np.flatnonzero(self.seqs == seq) for seq in closed.astype(self.seqs.dtype)]
        else:
            places = list(np.flatnonzero(np.isin(self.seqs, closed.astype(self.seqs.dtype)))[:, None])
        ended = np.full(len(self), LIVE, dtype=np.int64) if self.ended is None else self.ended
        for place in places:
            if len(place):
                ended[place] = ended_by[int(self.seqs[place[0]]) + self.first]
        self.ended = ended

    def chosen(self, wanted: Wanted) -> Chosen:
        """Where to look: by the numbers that are the rarest here, or by combination and time."""
        stretches, in_time = self._stretches(wanted)
        found = Chosen(stretches, None, (), (), in_time)
        if not found.size:
            return found
        between = [self._between(each) for each in wanted.keys]
        within = [self._containing(each) for each in wanted.parts]
        rarest = min((*between, *within), key=attrgetter("size"), default=None)
        # A part that may be anywhere was looked for already: a look at all versions instead spares nothing.
        anywhere = wanted.combinations is None and rarest in within
        if rarest is not None and rarest.size * 16 >= found.size and not anywhere:
            rarest = None
        keys = [each for each, places in zip(wanted.keys, between, strict=True) if places is not rarest]
        others = [each for each in within if each is not rarest]
        return Chosen(stretches, rarest, keys, others, in_time and rarest is None)

    def _between(self, keys: Keys) -> Places:
        order, key = self.by_number[keys.column], self.kept[keys.column].item
        begin = bisect_left(order, keys.low, key=key)
        end = bisect_right(order, keys.high, key=key, lo=begin)
        return Places(end - begin, lambda: order[begin:end])

    def _containing(self, part: Containing) -> Places:
        found = {name: self.parts[name].containing(part.part, part.texts) for name in part.columns}
        sizes = {name: int(stretches[:, 1].sum()) for name, stretches in found.items()}
        if len(found) == 1 or not all(sizes.values()):
            name = max(sizes, key=sizes.__getitem__)
            return Places(sizes[name], lambda: self.by_number[name][stretched(found[name])])
        either = np.zeros(len(self), dtype=np.bool_)
        for name, stretches in found.items():
            either[self.by_number[name][stretched(stretches)]] = True
        return Places(int(np.count_nonzero(either)), lambda: np.flatnonzero(either))

    def _stretches(self, wanted: Wanted) -> tuple[list[slice], bool]:
        """Where the combinations lie that are meant, and whether all there began within the time that is."""
        start_ms, end_ms = wanted.start_ms, wanted.end_ms
        if (start_ms is not None and self.latest < start_ms) or (end_ms is not None and self.earliest >= end_ms):
            return [], True
        if wanted.combinations is None:
            return [slice(0, len(self))], False
        meant = wanted.combinations[self.combinations]
        edges = self.starts[np.flatnonzero(np.diff(meant, prepend=False, append=False))]
        begins, ends = edges[::2], edges[1::2]
        cut = (start_ms is not None and start_ms > self.earliest) or (end_ms is not None and end_ms <= self.latest)
        if cut and int((ends - begins).sum()) > _HALVED * np.count_nonzero(meant):
            return self._halved(np.flatnonzero(meant), start_ms, end_ms), True
        return [slice(a, b) for a, b in zip(begins.tolist(), ends.tolist(), strict=True)], not cut

    def _halved(self, which: Array, start_ms: int | None, end_ms: int | None) -> list[slice]:
        """Where the versions of some of its combinations lie that began within some time: by halving in each."""
        begins, ends = self.starts[which].tolist(), self.starts[which + 1].tolist()
        if start_ms is not None:
            begins = [a + int(self.started_ms[a:b].searchsorted(start_ms)) for a, b in zip(begins, ends, strict=True)]
        if end_ms is not None:
            ends = [a + int(self.started_ms[a:b].searchsorted(end_ms)) for a, b in zip(begins, ends, strict=True)]
        return [slice(a, b) for a, b in zip(begins, ends, strict=True) if a < b]

    def matching(self, wanted: Wanted, chosen: Chosen) -> Array | None:
        """Which of the chosen are meant; None if all of them are."""
        terms = [test(chosen.of(self.kept[name])) for name, test in wanted.tests]
        for column, low, high in chosen.keys:
            keys = chosen.of(self.kept[column])
            terms.append((keys >= np.uint64(low)) & (keys <= np.uint64(high)))
        for places in chosen.within:
            among = np.zeros(len(self), dtype=np.bool_)
            among[places.all] = True
            terms.append(chosen.of(among))
        if self.last > wanted.as_of:
            terms.append(chosen.of(self.seqs).astype(np.int64) <= wanted.as_of - self.first)
        if self.ended is not None:
            terms.append(chosen.of(self.ended) > wanted.as_of)
        terms += self._beside(wanted, chosen)
        if not terms:
            return None
        mask: Array = np.logical_and.reduce(terms) if len(terms) > 1 else terms[0]
        return mask

    def _beside(self, wanted: Wanted, chosen: Chosen) -> Iterator[Array]:
        """Combination and time, where no stretches tell them."""
        if wanted.combinations is not None and chosen.places is not None:
            combination = self.starts.searchsorted(chosen.places.all, side="right") - 1
            yield wanted.combinations[self.combinations[combination]]
        if chosen.in_time:
            return
        if wanted.start_ms is not None and wanted.start_ms > self.earliest:
            yield chosen.of(self.started_ms) >= wanted.start_ms
        if wanted.end_ms is not None and wanted.end_ms <= self.latest:
            yield chosen.of(self.started_ms) < wanted.end_ms


def joined(parts: Sequence[Rows]) -> Rows:
    """Some rows behind each other."""
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}

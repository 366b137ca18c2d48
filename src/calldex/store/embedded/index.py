"""The index: what searches of one agent, queue, team or number need of each version, in memory.

Such searches mean few of many records, and everybody asks their own: wallboards, agents' lists. The columns would look
at every record twice for each of them; here the versions of an account lie by combination and start, and by number: a
search looks at those that it may mean. What it cannot answer, or not faster than the columns, it leaves to them.

Derived from the columns' table and made again from it at each start; bounded in bytes, beyond which it is let go. No
engine, no files.

A segment (`segment`) is what some consecutive commits began. One thread adds, closes and merges; any thread asks.
"""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import Final

import numpy as np

from calldex.records.fields import PREFIX_DIGITS, Op, prefix_key, prefix_range
from calldex.search.query import Condition, Query
from calldex.store.embedded.combinations import COMBINED, Combinations, reach_of
from calldex.store.embedded.parts import Parts, Texts
from calldex.store.embedded.segment import (
    KEPT,
    NUMBERS,
    TEXTS,
    WORDS,
    Array,
    Chosen,
    Containing,
    Keys,
    Rows,
    Segment,
    Wanted,
    joined,
)

SEGMENT: Final = 1 << 20
"""So many versions a segment may have: to merge as many takes a fifth of a second, in which nothing is taken in."""
_MOST_ROWS: Final = 1 << 21
"""Of more versions than these, lying together, the columns tell faster."""
_MOST_PLACES: Final = 1 << 19
"""The same of versions that lie apart."""
_MOST_COUNTED: Final = 1 << 23
_MOST_ORDERED: Final = 1 << 15
"""The same where parts of numbers are asked for. To count, the columns would look into the text of every version; for
a page of what is frequent they look at few."""
_MOST_STRETCHES: Final = 4096
"""The same of stretches of versions: each costs a microsecond or two."""
_MOST_EQUAL: Final = 4096
"""Of so many versions that began in the same millisecond the uuids are looked up, for their order."""
_WAITING: Final = 8192
"""So many versions wait for the next search before they are sorted all the same."""

_BY_COMBINATION: Final = frozenset({Op.ANY_ID, Op.ANY_OF_SET})
_TESTS: Final[Mapping[Op, Callable[[int, Array], Array]]] = {
    Op.ANY_WORD: lambda number, column: column == number,
    Op.ANY_TEXT: lambda number, column: column == number,
    Op.ANY_BIT: lambda number, column: (column & column.dtype.type(number)) != 0,
    Op.LONGER: lambda number, column: column > number,
    Op.SHORTER: lambda number, column: column < number,
}
"""Conditions on columns that are kept. Those with several values are true of any of them."""


class _Account:
    """The segments of an account in the order of commits, and what waits to become one."""

    __slots__ = ("segments", "waiting")

    def __init__(self) -> None:
        self.segments: tuple[Segment, ...] = ()
        self.waiting: list[Rows] = []


class Index:
    """The index of a store. Knows nothing until it is `complete`."""

    def __init__(self, combinations: Combinations, most_bytes: int, uuids: Callable[[Array], Array | None]) -> None:
        """`uuids` looks up those of commit numbers, as their halves (two columns of unsigned 64-bit integers); None if
        not all of them are there any more."""
        self._combinations = combinations
        self._segment = partial(Segment, arranged=combinations.arranged)
        self.most_bytes = most_bytes
        self._uuids = uuids
        self._lock = threading.Lock()
        self._changing = threading.Lock()
        self._accounts: dict[int, _Account] = {}
        self._words: dict[str, int] = {}
        self._texts = Texts()
        self._closed: list[tuple[int, int, int]] | None = []
        """What was closed while the index was being made: account, commit, the commit that ended it."""
        self.given_up = most_bytes == 0

    @property
    def complete(self) -> bool:
        """Whether it has all versions."""
        return self._closed is None and not self.given_up

    @property
    def nbytes(self) -> int:
        """The memory that its segments take."""
        with self._lock:
            return sum(segment.nbytes for account in self._accounts.values() for segment in account.segments)

    def segments(self, account_id: int) -> tuple[Segment, ...]:
        """Those of an account, with all that was taken in."""
        with self._lock:
            account = self._accounts.get(account_id)
            if account is None:
                return ()
            self._settle(account)
            return account.segments

    # --- taking in ----------------------------------------------------------------------------------------------------

    def load(self, chunks: Iterator[Rows]) -> None:
        """Take in all versions up to the commit at which taking in began, in the order of commits; then it is
        complete."""
        loaded: dict[int, list[Segment]] = {}
        used = 0
        for rows in chunks:
            for account_id, own in _by_account(rows):
                segment = self._segment(self._coded(own))
                loaded.setdefault(account_id, []).append(segment)
                used += segment.nbytes
            if used > self.most_bytes:
                self.give_up()
            if self.given_up:
                return
        with self._changing, self._lock:
            for account_id, segments in loaded.items():
                account = self._accounts.setdefault(account_id, _Account())
                account.segments = (*segments, *account.segments)
            self._close(self._closed or ())
            self._closed = None

    def append(self, rows: Rows) -> None:
        """Take in the versions that the next commits began."""
        if self.given_up:
            return
        for account_id, own in _by_account(rows):
            coded = self._coded(own)
            with self._lock:
                account = self._accounts.setdefault(account_id, _Account())
                account.waiting.append(coded)
                if sum(len(each["seq"]) for each in account.waiting) >= _WAITING:
                    self._settle(account)
            self._merge(account)
        if self.nbytes > self.most_bytes:
            self.give_up()

    def close(self, closed: Sequence[tuple[int, int, int]]) -> None:
        """Note which versions were ended: account, commit, the commit that ended it."""
        with self._changing, self._lock:
            if self._closed is not None:
                self._closed += closed
            self._close(closed)

    def _close(self, closed: Sequence[tuple[int, int, int]]) -> None:
        by_account: dict[int, dict[int, int]] = {}
        for account_id, seq, seq_to in closed:
            by_account.setdefault(account_id, {})[seq] = seq_to
        for account_id, ended_by in by_account.items():
            account = self._accounts.get(account_id, _Account())
            self._settle(account)
            for segment in account.segments:
                own = {seq: by for seq, by in ended_by.items() if segment.first <= seq <= segment.last}
                if own:
                    segment.close(own)

    def purge(self, upto: int) -> None:
        """Drop the versions superseded at or before a commit."""
        with self._changing:
            for account in self._accounts.values():
                segments = [self._purged(segment, upto) for segment in account.segments]
                with self._lock:
                    fresh = account.segments[len(segments) :]
                    account.segments = (*(each for each in segments if each is not None), *fresh)

    def _settle(self, account: _Account) -> None:
        """Make a segment of what waits."""
        if account.waiting:
            account.segments += (self._segment(joined(account.waiting)),)
            account.waiting = []

    def _purged(self, segment: Segment, upto: int) -> Segment | None:
        """A segment without the versions that ended up to a commit; None if nothing is left."""
        if segment.ended is None or (keep := segment.ended > upto).all():
            return segment
        kept = {name: column[keep] for name, column in segment.rows().items()}
        return self._segment(kept) if keep.any() else None

    def give_up(self) -> None:
        """Let everything go, and answer nothing any more."""
        with self._lock:
            self.given_up = True
            self._accounts = {}

    def _coded(self, rows: Rows) -> dict[str, Array]:
        """The rows with their words and texts as numbers."""
        coded = {text: np.zeros(len(rows[name]), dtype=np.uint32) for name, text in TEXTS.items()}
        with self._lock:
            codes = self._words
            words = [codes.setdefault(word, len(codes)) for word in rows[WORDS]]
            for name, text in TEXTS.items():
                others = np.flatnonzero(rows[name] % np.uint64(2))
                coded[text][others] = self._texts.coded(rows[text][others].tolist())
        return {**rows, WORDS: np.array(words, dtype=np.uint32), **coded}

    def _merge(self, account: _Account) -> None:
        """Put the last segments together, so that each is more than half as large as all behind it, or full."""
        with self._changing:
            before = account.segments
            at, size = len(before), 0
            while at and (at == len(before) or len(before[at - 1]) <= 2 * size):
                if size + len(before[at - 1]) > SEGMENT:
                    break
                at -= 1
                size += len(before[at])
            if len(before) - at < 2:
                return
            merged = self._segment(joined([segment.rows() for segment in before[at:]]))
            with self._lock:
                account.segments = (*before[:at], merged, *account.segments[len(before) :])

    # --- answering ----------------------------------------------------------------------------------------------------

    def count(self, query: Query, as_of: int) -> int | None:
        """How many records match; None if the columns are to tell."""
        looked = self._looked(query, as_of, query.start_ms, query.end_ms, _MOST_COUNTED)
        if looked is None:
            return None
        wanted, segments = looked
        count = 0
        for segment, chosen in segments:
            mask = segment.matching(wanted, chosen)
            count += chosen.size if mask is None else int(np.count_nonzero(mask))
        return count

    def newest(
        self,
        query: Query,
        as_of: int,
        *,
        start_ms: int | None,
        end_ms: int | None,
        after: tuple[int, Array] | None,
        most: int,
    ) -> Array | None:
        """The commit numbers of the newest `most` matching records that began within some time, behind a position
        (a start, and the halves of a uuid), in the order of pages. None if the columns are to tell."""
        looked = self._looked(query, as_of, start_ms, end_ms if after is None else after[0] + 1, _MOST_ORDERED)
        if looked is None:
            return None
        wanted, segments = looked
        started, seqs = [np.empty(0, dtype=np.int64)], [np.empty(0, dtype=np.int64)]
        for segment, chosen in segments:
            mask = segment.matching(wanted, chosen)
            at, of = chosen.of(segment.started_ms), chosen.of(segment.seqs)
            started.append(at if mask is None else at[mask])
            seqs.append((of if mask is None else of[mask]).astype(np.int64) + segment.first)
        return self._ordered(np.concatenate(started), np.concatenate(seqs), after, most)

    def _ordered(self, started_ms: Array, seqs: Array, after: tuple[int, Array] | None, most: int) -> Array | None:
        """The newest `most` behind a position. Where records began in the same millisecond, their uuids are asked for:
        they stand in the order of these."""
        if after is not None and (there := np.flatnonzero(started_ms == after[0])).size:
            halves = self._uuids(seqs[there]) if there.size <= _MOST_EQUAL else None
            if halves is None:
                return None
            high, low = halves[:, 0], halves[:, 1]
            before = (high > after[1][0]) | ((high == after[1][0]) & (low >= after[1][1]))
            started_ms, seqs = np.delete(started_ms, there[before]), np.delete(seqs, there[before])
        if len(started_ms) > most:
            keep = started_ms >= np.partition(started_ms, len(started_ms) - most)[len(started_ms) - most]
            started_ms, seqs = started_ms[keep], seqs[keep]
        order = np.argsort(started_ms, kind="stable")[::-1]
        started_ms, seqs = started_ms[order], seqs[order]
        same = started_ms[1:] == started_ms[:-1]
        if same.any():
            among = np.concatenate((same, [False])) | np.concatenate(([False], same))
            halves = self._uuids(seqs[among]) if np.count_nonzero(among) <= most + _MOST_EQUAL else None
            if halves is None:
                return None
            whole = np.zeros((len(seqs), 2), dtype=np.uint64)
            whole[among] = halves
            seqs = seqs[np.lexsort((whole[:, 1], whole[:, 0], started_ms))[::-1]]
        return seqs[:most]

    def _looked(
        self, query: Query, as_of: int, start_ms: int | None, end_ms: int | None, most_with_parts: int
    ) -> tuple[Wanted, list[tuple[Segment, Chosen]]] | None:
        """What is wanted, and where to look for it; None where that is too much."""
        if not self.complete or self._combinations.full:
            return None
        segments = self.segments(query.scope.account_id)
        wanted = self._wanted(query, as_of, start_ms, end_ms)  # after that, so that it knows all combinations of theirs
        if wanted.parts and self._texts.full:
            return None
        most_places = most_with_parts if wanted.parts else _MOST_PLACES
        looked, rows, places, stretches = [], 0, 0, 0
        for segment in segments:
            if segment.first > as_of:
                break
            chosen = segment.chosen(wanted)
            if not chosen.size:
                continue
            looked.append((segment, chosen))
            if chosen.places is None:
                rows, stretches = rows + chosen.size, stretches + len(chosen.stretches)
            else:
                places += chosen.size
            if rows > _MOST_ROWS or places > most_places or stretches > _MOST_STRETCHES:
                return None
        return wanted, looked

    def _wanted(self, query: Query, as_of: int, start_ms: int | None, end_ms: int | None) -> Wanted:
        """Of a narrow search, see `is_narrow`."""
        reaches = [] if query.scope.whole else [query.scope]
        tests: list[tuple[str, Callable[[Array], Array]]] = []
        keys: list[Keys] = []
        parts: list[Containing] = []
        for condition in query.where:
            if condition.column in COMBINED:
                reaches.append(reach_of(query.scope.account_id, condition))
            elif condition.op is Op.CONTAINS:
                parts.append(self._part(condition))
            elif condition.column in NUMBERS and (between := _keys(condition)) is not None:
                keys.append(Keys(condition.column, *between))
            else:
                tests.append((condition.column, self._test(condition)))
        combinations = self._combinations.within_all(reaches) if reaches else None
        return Wanted(combinations, tuple(tests), tuple(keys), tuple(parts), as_of, start_ms, end_ms)

    def _part(self, condition: Condition) -> Containing:
        columns, part = tuple(filter(None, (condition.column, condition.or_column))), str(condition.values[0])
        with self._lock:
            return Containing(columns, part, self._texts.containing(part))

    def _test(self, condition: Condition) -> Callable[[Array], Array]:
        values = condition.values
        if condition.op is Op.ANY_TEXT:
            values = tuple(code for code in map(self._words.get, map(str, values)) if code is not None)
        numbers = [int(value) for value in values]
        if len(numbers) == 1:
            return partial(_TESTS[condition.op], numbers[0])
        return lambda column: np.isin(column, np.array(numbers, dtype=column.dtype))

    # --- checking -----------------------------------------------------------------------------------------------------

    @property
    def has_texts(self) -> bool:
        """Whether it has the texts of all numbers that need them."""
        return not self._texts.full

    def days(self, as_of: int, texts: bool = True) -> dict[tuple[int, int], tuple[int, int]]:
        """For each account and UTC day (counted from 1970) the number of records that were live as of a commit, and a
        checksum over them and their order, see `SUMMED`; `texts`: over those of numbers as well."""
        with self._changing, self._lock:
            codes = {WORDS: _sums(self._words)}
            of_texts = np.concatenate(([np.uint64(0)], _sums(self._texts.all()) * np.uint64(texts)))
            codes |= dict.fromkeys(TEXTS.values(), of_texts)
            found: dict[tuple[int, int], tuple[int, int]] = {}
            for account_id, account in self._accounts.items():
                self._settle(account)
                for segment in account.segments:
                    for day, count, sum_ in _days(segment, codes, as_of):
                        before = found.get((account_id, day), (0, 0))
                        found[account_id, day] = (before[0] + count, (before[1] + sum_) % 2**64)
            return found


SUMMED: Final = {
    name: odd
    for odd, name in zip(
        range(3, 99, 2), ("seq", "party", "started_ms", *KEPT, *NUMBERS, *TEXTS.values()), strict=False
    )
}
"""What a version adds to the checksum: each of these so many times, modulo 2**64."""


def _days(segment: Segment, codes: Mapping[str, Array], as_of: int) -> Iterator[tuple[int, int, int]]:
    """Day, number and checksum; `codes`: of words and texts, what stands for each in the checksum."""
    rows = segment.rows()
    in_order = {
        name: (segment.kept[name][order], rows[TEXTS[name]][order]) for name, order in segment.by_number.items()
    }
    rows |= {name: sums[rows[name]] for name, sums in codes.items()}
    live = (rows["seq"] <= as_of) & (rows["seq_to"] > as_of)
    sums = np.zeros(np.count_nonzero(live), dtype=np.uint64)
    for name, odd in SUMMED.items():
        sums += rows[name][live].astype(np.uint64) * np.uint64(odd)
    for name, order in segment.by_number.items():
        keys, texts = in_order[name]
        ordered = len(np.unique(order)) == len(segment) and not np.less(keys[1:], keys[:-1]).any()
        if not ordered or not Parts(keys, texts).is_same(segment.parts[name]):
            sums += np.uint64(1)  # not in order: whatever it adds up to, it is not right
    days, which, counts = np.unique(rows["started_ms"][live] // 86_400_000, return_inverse=True, return_counts=True)
    by_day = np.zeros(len(days), dtype=np.uint64)
    np.add.at(by_day, which, sums)
    yield from zip(days.tolist(), counts.tolist(), by_day.tolist(), strict=True)


def word_sum(word: str) -> int:
    """What stands for a word in the checksum: what DuckDB calls the lower half of its MD5."""
    return int.from_bytes(hashlib.md5(word.encode(), usedforsecurity=False).digest()[8:], "little")


def _sums(words: Iterable[str]) -> Array:
    return np.array([word_sum(word) for word in words] or [0], dtype=np.uint64)


def keys_of(prefix_keys: Array, texts: Iterable[str]) -> Array:
    """The keys of numbers: twice their prefix key, and 1 more for a text that is not what its prefix key says alone,
    being longer or no digits."""
    other = [not is_plain(text) for text in texts]
    keys: Array = prefix_keys.astype(np.uint64) * np.uint64(2) + np.array(other, dtype=np.uint64)
    return keys


def is_plain(text: str) -> bool:
    """Whether a text is what its prefix key says, and nothing else."""
    return 0 < len(text) <= PREFIX_DIGITS and text.isascii() and text.isdigit()


def is_narrow(query: Query) -> bool:
    """Whether an index may answer a search: one that means some combinations or numbers, and that it understands."""
    if query.callbacks:
        return False
    narrow = not (query.scope.whole or query.scope.nothing)
    for condition in query.where:
        if condition.negated or (condition.or_column and condition.op is not Op.CONTAINS):
            return False
        if (condition.column in COMBINED and condition.op in _BY_COMBINATION) or (
            condition.column in NUMBERS and (condition.op is Op.CONTAINS or _keys(condition) is not None)
        ):
            narrow = True
        elif condition.column not in KEPT or condition.op not in _TESTS:
            return False
    return narrow


def halves(uuids: Sequence[bytes]) -> Array:
    """Uuids as two columns of unsigned integers."""
    return np.frombuffer(b"".join(uuids), dtype=">u8").reshape(-1, 2).astype(np.uint64)


def _keys(condition: Condition) -> tuple[int, int] | None:
    """The least and the greatest key that a condition on a number means; None if keys do not tell."""
    text = str(condition.values[0])
    if condition.op is Op.IS and is_plain(text):
        return 2 * prefix_key(text), 2 * prefix_key(text)
    if condition.op is Op.BEGINS and (keys := prefix_range(text)) is not None:
        return 2 * keys[0], 2 * keys[1] + 1
    return None


def _by_account(rows: Rows) -> Iterator[tuple[int, Rows]]:
    accounts = rows["account_id"]
    own = {name: column for name, column in rows.items() if name != "account_id"}
    for account_id in np.unique(accounts).tolist():
        mine = accounts == account_id
        yield account_id, own if mine.all() else {name: column[mine] for name, column in own.items()}

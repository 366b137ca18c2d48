"""The different numbers of a segment, digit by digit: which of them contain some digits. Pure.

A part of a number is looked for among the different numbers of a segment instead of in every version's, of which there
are many times as many; the versions of one lie together in the order of its segment's keys. Most numbers are what
their key says. Of those that are not, the texts are kept, each once for all segments.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property
from string import ascii_lowercase, ascii_uppercase
from typing import Any, Final

import numpy as np

from calldex.records.fields import PREFIX_DIGITS

Array = np.ndarray[Any, Any]

_MOST_TEXTS: Final = 65_536
"""So many different texts are kept, about 15 MB."""
_BASE: Final = 11
_LOWER: Final = str.maketrans(ascii_uppercase, ascii_lowercase)


class Texts:
    """Numbers that are not what their key says, such as words and extensions, each with a code from 1. To be asked
    under its owner's lock."""

    def __init__(self) -> None:
        self._codes: dict[str, int] = {}
        self._lower: list[str] = []
        self.full = False
        """Whether there may be some without a code: then nobody can tell any more which numbers contain something."""

    def coded(self, texts: Sequence[str]) -> list[int]:
        """The codes of some texts; 0 is that of an empty one, which contains nothing."""
        for text in set(texts).difference(self._codes, ("",)):
            if len(self._lower) == _MOST_TEXTS:
                self.full = True
                break
            self._lower.append(text.translate(_LOWER))
            self._codes[text] = len(self._lower)
        return [self._codes.get(text, 0) for text in texts]

    def containing(self, part: str) -> Array:
        """By code from 0, whether the text contains a part, whose letters are lower."""
        return np.array([False, *(part in text for text in self._lower)])

    def all(self) -> list[str]:
        """The texts in the order of their codes."""
        return list(self._codes)


class Parts:
    """The different numbers of some versions."""

    __slots__ = ("codes", "digits", "starts")

    def __init__(self, keys: Array, codes: Array) -> None:
        """Of versions in order of `keys` (see `index.keys_of`), and those of one key by the codes of their texts."""
        differs = (keys[1:] != keys[:-1]) | (codes[1:] != codes[:-1])
        self.starts = np.concatenate(([0], np.flatnonzero(differs) + 1, [len(keys)])).astype(np.uint32)
        """Where each of them begins, and the end."""
        first = self.starts[:-1]
        self.codes = codes[first]
        self.digits = _digits(np.where(keys[first] % np.uint64(2), np.uint64(0), keys[first] // np.uint64(2)))
        """By place, the digit of each number there, plus 1; 0 behind its end, and where its text tells."""

    @property
    def nbytes(self) -> int:
        """The memory that its arrays take."""
        return self.starts.nbytes + self.codes.nbytes + self.digits.nbytes

    def of_versions(self) -> Array:
        """The code of each version's text, in the order of keys."""
        return np.repeat(self.codes, np.diff(self.starts))

    def containing(self, part: str, by_code: Array) -> Array:
        """Where the versions lie, in the order of keys, whose number contains a part: from where and how many, in two
        columns. `by_code`: by the code of a text, whether it does."""
        found = by_code[self.codes]
        if part.isascii() and part.isdigit():
            wanted = [int(digit) + 1 for digit in part]
            for at in range(len(self.digits) - len(wanted) + 1):
                here = self.digits[at] == wanted[0]
                for place, digit in enumerate(wanted[1:], at + 1):
                    here &= self.digits[place] == digit
                found |= here
        which = np.flatnonzero(found)
        begins = self.starts[which].astype(np.int64)
        return np.column_stack((begins, self.starts[which + 1] - begins))

    def is_same(self, other: Parts) -> bool:
        """Whether nothing differs."""
        return all(np.array_equal(getattr(self, name), getattr(other, name)) for name in self.__slots__)


class Places:
    """Versions that lie apart: how many, and where, which is looked up when it is needed."""

    def __init__(self, size: int, look: Callable[[], Array]) -> None:
        self.size = size
        self._look = look

    @cached_property
    def all(self) -> Array:
        """Their places in the segment."""
        return self._look()


def _digits(prefix_keys: Array) -> Array:
    """See `records.fields.prefix_key`."""
    places = np.zeros((PREFIX_DIGITS, len(prefix_keys)), dtype=np.uint8)
    left = prefix_keys
    for at in reversed(range(PREFIX_DIGITS)):
        rest = left // np.uint64(_BASE)
        places[at] = left - rest * np.uint64(_BASE)
        left = rest
    longest = max((at + 1 for at in range(PREFIX_DIGITS) if places[at].any()), default=0)
    return places[:longest].copy()


def stretched(stretches: Array) -> Array:
    """The places in some stretches, see `Parts.containing`."""
    begins, sizes = stretches[:, 0], stretches[:, 1]
    before = np.cumsum(sizes) - sizes
    return np.repeat(begins - before, sizes) + np.arange(int(sizes.sum()))

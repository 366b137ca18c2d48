"""A mapping that remembers what was used last, bounded: the one way in which things are kept in memory to be had again.

Knows nothing of what it keeps, and has no lock; that is its owner's. Pure.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import TypeVar

_Key = TypeVar("_Key")
_Value = TypeVar("_Value")


def remember(kept: OrderedDict[_Key, _Value], key: _Key, value: _Value, most: int) -> None:
    """Keep a value as the one used last; beyond `most`, the one that was used the longest ago goes."""
    kept[key] = value
    kept.move_to_end(key)
    if len(kept) > most:
        kept.popitem(last=False)

"""Keys in texts: a text is told without them, whatever tells it.

Errors, the log and the audit tell texts that came from outside, and a key may stand in one where none belongs. It is
hidden as it is told, never in the value itself: what was sent is taken as it is. Pure.
"""

from __future__ import annotations

import re
from typing import Final

KEY_MARK: Final = "cdx_"
"""What every key begins with."""
PREFIX_LENGTH: Final = 8
"""How much of a key is kept and told in the clear, for people to tell their keys apart."""
_MORE_THAN_PREFIX: Final = re.compile(KEY_MARK + r"[A-Za-z0-9_-]{5,}")
_WHOLE: Final = re.compile(KEY_MARK + r"[A-Za-z0-9_-]{43}")


def without_keys(text: str) -> str:
    """The text as it may be told: of no key more than its prefix."""
    return _MORE_THAN_PREFIX.sub("(a key)", text) if KEY_MARK in text else text


def holds_key(text: str) -> bool:
    """Whether a whole key stands in a text."""
    return KEY_MARK in text and _WHOLE.search(text) is not None

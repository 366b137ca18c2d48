"""Texts that come from outside: what is no text, and what of a text is told.

Errors, the log and the audit tell such texts, and a key may stand in one where none belongs. It is hidden as it is
told, never in the value itself: what was sent is taken as it is. Pure.
"""

from __future__ import annotations

import re
from typing import Final

KEY_MARK: Final = "cdx_"
"""What every key begins with."""
PREFIX_LENGTH: Final = 8
"""How much of a key is kept and told in the clear, for people to tell their keys apart."""
_MORE_THAN_PREFIX: Final = re.compile(KEY_MARK + r"[A-Za-z0-9_-]{5,}")
_ITEM: Final = re.compile(r'\s*+(?:"((?:[^"]++|"")*+)"\s*+|(?!")([^,]*+))(?=,|\Z)')
_WHOLE: Final = re.compile(KEY_MARK + r"[A-Za-z0-9_-]{43}")


def without_keys(text: str) -> str:
    """The text as it may be told: of no key more than its prefix."""
    return _MORE_THAN_PREFIX.sub("(a key)", text) if KEY_MARK in text else text


def holds_key(text: str) -> bool:
    """Whether a whole key stands in a text."""
    return KEY_MARK in text and _WHOLE.search(text) is not None


def is_whole(text: str) -> bool:
    """Whether a text can be written again: it holds no half of a character (a surrogate), as JSON's `\\ud800` alone and
    bytes of a command line that are not UTF-8 become in Python."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def listed(text: str) -> list[str]:
    """The items of a list with commas between them, without the blanks around them.

    One that begins with a double quote ends with one, may hold commas, and has each double quote in it twice, as in
    CSV: `"Sale, big",0100`. `ValueError` says what is wrong.
    """
    if '"' not in text:
        return [item.strip() for item in text.split(",")]
    items: list[str] = []
    at = 0
    while at <= len(text):
        found = _ITEM.match(text, at)
        if found is None:
            raise ValueError("has a double quote that is not closed, or text behind one that is")
        quoted, plain = found.groups()
        items.append(plain.strip() if quoted is None else quoted.replace('""', '"'))
        at = found.end() + 1
    return items


def as_item(text: str) -> str:
    """A text as an item of such a list."""
    needs = "," in text or text.startswith('"') or text != text.strip()
    return '"' + text.replace('"', '""') + '"' if needs else text

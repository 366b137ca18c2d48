"""The words by which a reply calls the kinds of interactions.

Each kind is kept under a word of its own. Replies have the words that the contract documents, or those that real
clients were seen to keep alone, whichever an account or a key is set to. Laid over records' JSON once, on its way out
of every surface (`access.masking.served`); what is kept never changes. Pure.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Final, Literal

from calldex.records.record import INTERACTION_TYPES, InteractionType

Vocabulary = Literal["documented", "compatible"]
"""Of an account or a key: `documented`, the contract's words; `compatible`, the words seen in real replies."""

SERVED_AS: Final[Mapping[Vocabulary, Mapping[InteractionType, str]]] = {
    "documented": {"scheduled_callback": "queue_callback"},
    "compatible": {
        "dialer": "campaign",
        "click_to_call": "callback",
        "queue_callback": "queue-callback",
        "scheduled_callback": "scheduled-callback",
    },
}
"""What a reply says for a kind; of all others, the word under which they are kept."""

ALL_WORDS: Final = frozenset((*INTERACTION_TYPES, *(word for words in SERVED_AS.values() for word in words.values())))
"""Every word that a reply may have, in one vocabulary or the other."""
BETWEEN: Final = b'},{"uuid":"'
"""Stands between two records and nowhere else: in a string its quotation marks would be escaped, and no other list
holds objects that begin with `uuid`."""
FIRST: Final = b'{"uuid":"'
"""Begins a record."""
UUID_LENGTH: Final = 36
_TYPE: Final = len(b'00000000-0000-0000-0000-000000000000","type":')
"""Where the word stands in a record, counted from its uuid: the members have one order, and uuids one length."""


def in_words(records: bytes, vocabulary: Vocabulary | None) -> bytes:
    """Records' JSON, joined by commas, in a vocabulary; of None, in the words under which they are kept."""
    if vocabulary is None:
        return records
    words = _words(vocabulary)
    if not any(own in records for own, _ in words):
        return records
    parts = records.split(BETWEEN)
    parts[0] = parts[0][: len(FIRST)] + _said(parts[0][len(FIRST) :], words)
    parts[1:] = [_said(part, words) for part in parts[1:]]
    return BETWEEN.join(parts)


def _said(part: bytes, words: tuple[tuple[bytes, bytes], ...]) -> bytes:
    for own, said in words:
        if part.startswith(own, _TYPE):
            return part[:_TYPE] + said + part[_TYPE + len(own) :]
    return part


@cache
def _words(vocabulary: Vocabulary) -> tuple[tuple[bytes, bytes], ...]:
    return tuple((f'"{own}"'.encode(), f'"{said}"'.encode()) for own, said in SERVED_AS[vocabulary].items())

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
_FIRST: Final = b'{"uuid":"'
"""Begins a record, and with it a line: within a record a line feed would be escaped."""
_UUID_LENGTH: Final = 36
UUID_PLACE: Final = slice(len(_FIRST), len(_FIRST) + _UUID_LENGTH)
"""Where in its JSON a record's uuid stands."""
_TYPE: Final = b'","type":'
"""Stands between a record's uuid and its word: the members have one order, and uuids one length."""


def in_words(records: bytes, vocabulary: Vocabulary | None) -> bytes:
    """Records' JSON, a line each, in a vocabulary; of None, in the words under which they are kept."""
    if vocabulary is None:
        return records
    changes: list[tuple[int, int, bytes]] = []
    for own, said in _words(vocabulary):
        at = records.find(own)
        while at >= 0:
            if _begins_record(records, at - _UUID_LENGTH):
                changes.append((at, at + len(own), said))
            at = records.find(own, at + len(own))
    return _changed(records, sorted(changes)) if changes else records


def _begins_record(records: bytes, uuid_at: int) -> bool:
    """Whether a record's uuid stands there, and not the like of it in a text."""
    begin = uuid_at - len(_FIRST)
    return begin >= 0 and records.startswith(_FIRST, begin) and records[max(begin - 1, 0) : begin] in (b"", b"\n")


def _changed(records: bytes, changes: list[tuple[int, int, bytes]]) -> bytes:
    """With what stands between two places each time replaced. Nothing is copied but once: there are megabytes."""
    kept, parts = memoryview(records), list[bytes | memoryview]()
    done = 0
    for begin, end, said in changes:
        parts += (kept[done:begin], said)
        done = end
    return b"".join((*parts, kept[done:]))


@cache
def _words(vocabulary: Vocabulary) -> tuple[tuple[bytes, bytes], ...]:
    return tuple(
        (_TYPE + b'"%b"' % own.encode(), _TYPE + b'"%b"' % said.encode()) for own, said in SERVED_AS[vocabulary].items()
    )

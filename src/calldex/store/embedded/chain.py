"""The chain of the ledger's commits: what proves that a version is the one that was written. Pure.

Each version has a digest: the first 16 bytes of the SHA-256 over its account, uuid, the time it was written, the values
beside its JSON, and that JSON. Each commit that began versions has a link: the SHA-256 over the link before it, its
last number, and the digests of its versions in their order. So a version that was altered shows by its digest, one that
was taken out or put in by the link, and an end that is missing by the head, which the directory keeps. What is not
covered is when a version ended: that is the number of the version that followed it, see `proof`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Sequence
from operator import itemgetter
from typing import Any, Final

import msgspec

from calldex.store.sql import VALUE_NAMES

DIGEST_BYTES: Final = 16
COVERED: Final = (
    *("started_ms", "type", "disposition", "end_reason", "agent_id", "queue_id", "campaign_id", "team_ids"),
    *("wrapup_code", "events", "duration_s", "caller", "caller_key", "callee", "callee_key"),
    *("tags", "flags", "has_recording", "answer_ms", "talk_s", "ring_s", "wait_s", "hold_s", "wrapup_s"),
    "passed_queues",
)
"""The values that digests are over, in this order. A column that is added to the ledger is added here, at the end, and
nothing is ever changed or taken out: a link says how many of these its digests are over."""
NOTHING: Final = bytes(32)
"""The link before the first one."""

_ENCODE: Final = msgspec.msgpack.Encoder().encode
_pick: Final[Callable[[Sequence[Any]], tuple[Any, ...]]] = (
    tuple if COVERED == VALUE_NAMES else itemgetter(*map(VALUE_NAMES.index, COVERED))
)


def digest(account_id: int, uuid: bytes, written_ms: int, covered: Sequence[Any], json: bytes | None) -> bytes:
    """The digest of a version; of a tombstone, `json` is None."""
    return hashlib.sha256(_ENCODE((account_id, uuid, written_ms, covered)) + (json or b"")).digest()[:DIGEST_BYTES]


def digests(rows: Iterable[Sequence[Any]]) -> bytes:
    """The digests of versions as the ledger inserts them: `ROW_NAMES`, then JSON and time."""
    return b"".join(digest(row[2], row[3], row[-1], _pick(row[4:-2]), row[-2]) for row in rows)


def link(before: bytes, seq: int, covered: int, some: bytes) -> bytes:
    """The link of the commit that ends with `seq`: `before` is the one before it, `some` the digests of its versions,
    which are over the first `covered` values."""
    return hashlib.sha256(before + seq.to_bytes(8) + covered.to_bytes(2) + some).digest()

"""The quarantine: what could not be read, shown, read again, or thrown away. The owner's alone: pieces are as they came
from outside, with all that is in them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from collections.abc import Set as AbstractSet
from itertools import groupby, islice
from typing import Annotated, Final

import msgspec

from calldex.admin.verb import Call, Nothing, by_owner
from calldex.audit.chain import OWNER, Actor, entry
from calldex.errors import CalldexError, NotFound
from calldex.formats import UNFINISHED
from calldex.ingest.pipeline import Summary
from calldex.node import Node
from calldex.store import Quarantined

MOST_LISTED: Final = 10_000
_AT_ONCE: Final = 1_000


class Pieces(msgspec.Struct, frozen=True, kw_only=True):
    """The pieces of one account or of all."""

    account: str | None = None


class FirstPieces(Pieces, frozen=True, kw_only=True):
    """The first of them."""

    limit: Annotated[int, msgspec.Meta(ge=1, le=MOST_LISTED)]


class PiecesToRetry(Pieces, frozen=True, kw_only=True):
    """Those of them with these ids; without ids all but the unfinished ones, which would be read as if nothing of them
    were missing."""

    ids: frozenset[int] = frozenset()


class PiecesToDrop(Pieces, frozen=True, kw_only=True):
    """Those of them with these ids, or all of a source (empty: all that came without one)."""

    ids: frozenset[int] = frozenset()
    source: str | None = None


class Retried(msgspec.Struct, frozen=True):
    """What became of the pieces of one source or format; `problem` says why they could not be tried."""

    source: str
    format: str
    summary: Summary
    problem: str | None = None


def list_quarantine(call: Call, wanted: FirstPieces) -> list[Quarantined]:
    """List pieces, oldest first, without what they are."""
    return [msgspec.structs.replace(piece, raw=b"") for piece in islice(_pieces(call.node, wanted), wanted.limit)]


def show_quarantined(call: Call, _: Nothing) -> Quarantined:
    """Show one piece, whole."""
    (piece,) = _named(call.node.store.quarantined(), {call.id("piece")})
    return piece


def retry_quarantine(call: Call, wanted: PiecesToRetry) -> list[Retried]:
    """Read pieces again, as their source is set up now."""
    node = call.node
    names = {account.id: account.name for account in node.directory.accounts()}
    retried: dict[tuple[int, str, str], Retried] = {}
    pieces = _pieces(node, wanted)
    chosen = _named(pieces, wanted.ids) if wanted.ids else (each for each in pieces if each.reason != UNFINISHED)
    for key, group in groupby(chosen, lambda piece: (piece.account_id, piece.source, piece.format)):
        account_id, source, format_ = key
        while some := list(islice(group, _AT_ONCE)):
            before = retried.setdefault(key, Retried(source, format_, Summary()))
            try:
                feed = node.feed(source or None, format_, names[account_id])
            except CalldexError as error:
                retried[key] = msgspec.structs.replace(before, problem=error.message)
                continue
            before.summary.include(node.ingest.retry(feed, [(piece.id, piece.raw) for piece in some], "quarantine"))
    for (account_id, *_), each in retried.items():
        note_ingest(node, account_id, each.source or each.format, each.summary)
    return list(retried.values())


def drop_quarantined(call: Call, wanted: PiecesToDrop) -> int:
    """Take pieces out of the quarantine for good, and tell how many there were."""
    pieces = _pieces(call.node, wanted)
    found = _named(pieces, wanted.ids) if wanted.ids else (each for each in pieces if each.source == wanted.source)
    dropped: Counter[tuple[int, str]] = Counter()
    while some := list(islice(found, _AT_ONCE)):
        call.node.ingest.drop(some)
        dropped.update((piece.account_id, piece.source or piece.format) for piece in some)
    for (account_id, target), count in dropped.items():
        call.node.audit.owner("quarantine_dropped", account_id, target, pieces=count)
    return dropped.total()


def note_ingest(node: Node, account_id: int, target: str, counted: Summary, status: int = 200) -> None:
    """Tell the audit what the owner took in from a source or by a format, and how that ended."""
    actor = Actor(actor=OWNER, account_id=account_id)
    rows = counted.accepted + counted.updated
    detail = msgspec.structs.asdict(counted)
    node.audit.note(entry(actor, "ingest", target=target, detail=detail, rows=rows, status=status))


def _pieces(node: Node, wanted: Pieces) -> Iterator[Quarantined]:
    return node.store.quarantined(None if wanted.account is None else node.directory.account(wanted.account).id)


def _named(pieces: Iterator[Quarantined], ids: AbstractSet[int]) -> Iterator[Quarantined]:
    """The pieces with these ids; `NotFound`, before anything is done, if one is not there."""
    found = [piece for piece in pieces if piece.id in ids]
    if missing := sorted(ids - {piece.id for piece in found}):
        given = ", ".join(map(str, missing[:10]))
        raise NotFound(f"the quarantine has no piece {given}; `calldex quarantine list` shows what it has")
    return iter(found)


VERBS: Final = tuple(by_owner(work) for work in (list_quarantine, show_quarantined, retry_quarantine, drop_quarantined))
"""What they did is noted by themselves, in each account whose pieces they were."""

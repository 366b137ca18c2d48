"""The change feed: what changed of the records that somebody sees, in the order of commits, without a hole.

A chain of pages is held together by cursors. A copy that applies each page holds, after it, what the chain's filters
and the reader's rights give as of the page's last commit:

- A chain begins at a commit, its *base*. From the beginning, it first gives the records as they were at the base, then
  what came since; from an instant or from now, what came since.
- `latest` gives a record at most once a page, as it was at the page's end; `all` gives every version that is kept.
- A record that matched and does not match any more, left the reach, was erased or became part of another, arrives as a
  deletion. What never matched is not told of, so a deletion tells nobody of a record that they did not see.

To know what a copy holds, the versions are needed that ended since the cursor. They are kept for a stated time: an
older cursor is refused, and never answered with a hole. A chain over the whole account needs none of them.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Iterator
from functools import lru_cache
from typing import Literal
from uuid import UUID

import msgspec

from calldex import budget
from calldex.access import Scope
from calldex.access.masking import served
from calldex.errors import BadToken, CursorExpired, ScopeChanged
from calldex.records.record import from_ms
from calldex.records.vocabulary import UUID_PLACE
from calldex.sealing import Sealing
from calldex.search.query import Query
from calldex.store import Changes, Store

Versions = Literal["latest", "all"]
Start = Literal["beginning", "now"] | int
"""Where a chain begins: an instant is told in epoch milliseconds."""


class Cursor(msgspec.Struct, frozen=True, kw_only=True, array_like=True):
    """Where a chain stands: behind the commit `after`. `filters` and `scope` are the fingerprints of what was asked and
    granted; `base` the commit at which the chain began, `store` the store that counts them."""

    account_id: int
    filters: bytes
    scope: bytes
    versions: Versions
    base: int
    after: int
    store: str
    complete_ms: int = 0
    """Up to when the page before said that all is there."""


class FeedPage(msgspec.Struct, frozen=True):
    """Some changes: how many, the reply's JSON, where the next page begins, whether there are more now, and the instant
    before which nothing can come any more."""

    count: int
    body: bytes
    cursor: str
    more: bool
    complete_ms: int


@lru_cache(maxsize=1024)  # what is written at once has one instant
def _instant(ms: int) -> bytes:
    return msgspec.json.encode(from_ms(ms))


class ChangeFeed:
    """Reads chains from a store."""

    def __init__(self, store: Store, sealing: Sealing) -> None:
        self._store = store
        self._sealing = sealing

    def began(self, query: Query, start: Start, versions: Versions) -> Cursor:
        """The first cursor of a chain: from the beginning, from now, or from an instant (epoch milliseconds)."""
        account_id = query.scope.account_id
        if start == "beginning":
            whole = versions == "latest"
            base, after = self._store.log.last(account_id) if whole else self._store.purged_upto(account_id), 0
        else:
            base = self._store.log.last(account_id) if start == "now" else self._store.log.before(account_id, start)
            after = base
        return self._checked(
            query,
            Cursor(
                account_id=account_id,
                filters=query.fingerprint(),
                scope=query.scope.fingerprint(),
                versions=versions,
                base=base,
                after=after,
                store=self._store.store_id,
            ),
        )

    def opened(self, query: Query, text: str, versions: Versions) -> Cursor:
        """The cursor that a text is. Raises `BadToken`, `ScopeChanged`, `CursorExpired`."""
        cursor = self._sealing.unseal(text, Cursor)
        if cursor is None:
            raise BadToken("cursor is not one of ours, or was changed; send it exactly as it came, or begin anew")
        if cursor.account_id != query.scope.account_id:
            raise BadToken("cursor belongs to another account")
        if (cursor.filters, cursor.versions) != (query.fingerprint(), versions):
            raise BadToken("cursor belongs to a feed with other filters or `versions`; send the same ones every time")
        if cursor.scope != query.scope.fingerprint():
            raise ScopeChanged(
                "what this key may see, or its vocabulary, has changed since the feed began; read it again from the"
                " beginning, and drop what does not come"
            )
        if cursor.store != self._store.store_id:
            raise CursorExpired(
                "the store was restored from a backup since this cursor was given; read the feed again from the"
                " beginning, and drop what does not come"
            )
        return self._checked(query, cursor)

    def _checked(self, query: Query, cursor: Cursor) -> Cursor:
        if cursor.versions == "latest" and _is_whole(query):
            return cursor
        purged = self._store.purged_upto(cursor.account_id)
        if purged <= max(cursor.after, cursor.base):
            return cursor
        earliest = msgspec.structs.replace(cursor, base=purged, after=purged)
        raise CursorExpired(
            "versions that this cursor needs are not kept any more; read the feed again from the beginning, and drop"
            " what does not come; `earliest_cursor` gives what came since the oldest version that is kept",
            earliest_cursor=self._sealing.seal(earliest),
        )

    @property
    def look_every_s(self) -> float:
        """How often `has_more` may be asked."""
        return self._store.capabilities.look_every_s

    def has_more(self, cursor: Cursor) -> bool:
        """Whether something was committed behind a cursor, as far as that is known without reading."""
        return self._store.log.last(cursor.account_id) > cursor.after

    def page(self, query: Query, cursor: Cursor, limit: int) -> FeedPage:
        """The page behind a cursor, of as many versions as `limit` at the most. Blocks."""
        found = self._store.log.since(query, cursor.after, cursor.base, limit)
        since = max(cursor.after, cursor.base)
        held: dict[bytes, int] = {}
        if not _is_whole(query) and found.upto > since:
            held = self._store.log.superseded(query, cursor.after, since, found.upto)
        budget.check()
        self._checked(query, cursor)  # once more: what was purged while it was read may lack in it
        select = _latest if cursor.versions == "latest" else _all
        chosen = select(found, held, whole=_is_whole(query))
        complete_ms = max(cursor.complete_ms, found.complete_ms)
        following = self._sealing.seal(msgspec.structs.replace(cursor, after=found.upto, complete_ms=complete_ms))
        end = b'],"next_cursor":%b,"has_more":%b,"complete_through":%b}' % (
            msgspec.json.encode(following),
            b"true" if found.more else b"false",
            _instant(complete_ms),
        )
        body = b"".join((b'{"changes":[', *_entries(found, chosen, query.scope), end))
        budget.check()
        return FeedPage(sum(chosen), body, following, found.more, complete_ms)


def _is_whole(query: Query) -> bool:
    """Whether every record of the account is meant."""
    return query.is_whole and query.start_ms is None and query.end_ms is None


def _latest(found: Changes, held: Container[bytes], *, whole: bool) -> list[bool]:
    """Of the changes, the last of each record, but none that takes away what a copy cannot hold."""
    last = {change.uuid: change.seq for change in found.changes}
    return [
        last[change.uuid] == change.seq and (change.matches or (change.erased if whole else change.uuid in held))
        for change in found.changes
    ]


def _all(found: Changes, held: Iterable[bytes], *, whole: bool) -> list[bool]:
    """Of the changes, every version that matches, and for each record that ceases to, once, that it does."""
    matched, chosen = set(held), []
    for change in found.changes:
        ceases = change.uuid in matched or (whole and change.erased)
        chosen.append(change.matches or ceases)
        (matched.add if change.matches else matched.discard)(change.uuid)
    return chosen


def _entries(found: Changes, chosen: Iterable[bool], scope: Scope) -> Iterator[bytes]:
    """Of the changes those that are chosen, as the reader sees them (masked, in their vocabulary), joined by commas; in
    pieces, as there are megabytes."""
    records, comma = iter(served(found.json, scope).split(b"\n")), b""
    for change, is_chosen in zip(found.changes, chosen, strict=True):
        record = next(records) if change.matches else None
        if not is_chosen:
            continue
        if record is None:
            uuid, at = str(UUID(bytes=change.uuid)).encode(), _instant(change.at_ms)
            yield b'%b{"seq":%d,"change":"delete","uuid":"%b","at":%b,"record":null}' % (comma, change.seq, uuid, at)
        else:
            uuid, at = record[UUID_PLACE], _instant(change.at_ms)
            yield b'%b{"seq":%d,"change":"upsert","uuid":"%b","at":%b,"record":' % (comma, change.seq, uuid, at)
            yield record
            yield b"}"
        comma = b","

"""A search becomes a page: which S, how many in all, which records, and the token for what follows.

The rules of the three walking loops (see the contract) live here and nowhere else. Knows the store only through its
protocol.
"""

from __future__ import annotations

import hashlib
from typing import Final

import msgspec

from calldex.access.masking import served
from calldex.errors import BadParameters, BadToken, Problem, ScopeChanged, TokenExpired
from calldex.search.query import PageRequest, Query
from calldex.search.token import Sealer, Token
from calldex.store import Position, Records, Slice

_EMPTY: Final = Slice(b"", 0, None)


class Page(msgspec.Struct, frozen=True):
    """A page: its records' JSON, masked, in the words of its reader, joined by commas; how many they are, the size of
    the whole match, and the token for the rest."""

    json: bytes
    count: int
    total: int
    token: str | None


class Place(msgspec.Struct, frozen=True, kw_only=True):
    """The page of a walk that is wanted: what the walk sees, and where in it to begin.

    `total` is None when this is the walk's first page and nobody has counted yet.
    """

    as_of: int
    began_ms: int
    page: int
    passed: int
    skip: int
    after: Position | None
    total: int | None

    def fingerprint(self, query: Query, per_page: int) -> str:
        """Differs when the page's content may differ: an entity tag that costs no reading."""
        whole = (
            query.scope.fingerprint(),
            query.fingerprint(),
            self.as_of,
            self.passed,
            self.skip,
            self.page,
            per_page,
            self.total,
        )
        position = (self.after.started_ms, self.after.uuid) if self.after else None
        return hashlib.blake2b(msgspec.msgpack.encode((whole, position)), digest_size=16).hexdigest()


class Pager:
    """Reads pages from a store. `token_life_ms`: how long a walk may go on after its first page."""

    def __init__(self, store: Records, sealer: Sealer, token_life_ms: int) -> None:
        self._store = store
        self._sealer = sealer
        self._life_ms = token_life_ms

    def place(self, query: Query, request: PageRequest, now_ms: int, as_of: int | None = None) -> Place:
        """Find the wanted page's place; `as_of`: which S is the newest, where that is known. Raises `BadToken`,
        `ScopeChanged`, `TokenExpired`, `BadParameters`."""
        if request.token is None:
            return Place(
                as_of=self._store.head(query.scope.account_id) if as_of is None else as_of,
                began_ms=now_ms,
                page=request.page,
                passed=0,
                skip=(request.page - 1) * request.per_page,
                after=None,
                total=None,
            )
        token = self._checked(query, self._sealer.unseal(request.token), now_ms)
        pages = max(request.page - (token.page + 1), 0)
        if 1 < request.page <= token.page:
            raise BadParameters([_backwards(request.page, token.page)])
        return Place(
            as_of=token.as_of,
            began_ms=token.began_ms,
            page=token.page + 1 + pages,
            passed=token.passed,
            skip=pages * request.per_page,
            after=token.after,
            total=token.total,
        )

    def _checked(self, query: Query, token: Token, now_ms: int) -> Token:
        if token.account_id != query.scope.account_id:
            raise BadToken("search_token belongs to another account")
        if token.filters != query.fingerprint():
            raise BadToken("search_token belongs to a search with other filters; send the same ones with every page")
        if token.scope != query.scope.fingerprint():
            raise ScopeChanged(
                "what this key may see, or its vocabulary, has changed since the search began; start a new search"
            )
        # One from the future was made before the clock was set back; it is sealed, so it is ours, and young.
        if now_ms - token.began_ms > self._life_ms:
            raise TokenExpired(f"search_token is older than {self._life_ms // 86_400_000} days; start a new search")
        return token

    def read(self, query: Query, place: Place, per_page: int) -> Page:
        """The page at a place."""
        total = self._store.total(query, place.as_of) if place.total is None else place.total
        if total <= place.passed + place.skip:
            found = _EMPTY
        else:
            found = self._store.slice(
                query, place.as_of, limit=per_page, total=total, after=place.after, skip=place.skip
            )
        token = self.following(query, place, total, found.count, found.last)
        return Page(served(found.json, query.scope).replace(b"\n", b","), found.count, total, token)

    def following(self, query: Query, place: Place, total: int, count: int, last: Position | None) -> str | None:
        """The token for what follows a page of so many, up to the last of them; None if nothing does."""
        passed = place.passed + place.skip + count
        if last is None or passed >= total:
            return None
        token = Token(
            account_id=query.scope.account_id,
            filters=query.fingerprint(),
            scope=query.scope.fingerprint(),
            as_of=place.as_of,
            began_ms=place.began_ms,
            total=total,
            page=place.page,
            passed=passed,
            after=last,
        )
        return self._sealer.seal(token)


def _backwards(page: int, issued_by: int) -> Problem:
    return Problem("page", str(page), f"the token was issued by page {issued_by}", f"1, or {issued_by + 1} and above")

"""The search token: where a walk stands, sealed so that only we can read or make one. Pure.

The same place in the same walk is the same token. Nobody outside learns commit numbers, totals or accounts from it.
"""

from __future__ import annotations

from typing import Final

import msgspec

from calldex.errors import BadToken
from calldex.sealing import KEY_BYTES, Sealing
from calldex.store import Position

_BROKEN: Final = "search_token is not one of ours, or was changed; send it exactly as it came, or start a new search"


class Token(msgspec.Struct, frozen=True, kw_only=True, array_like=True):
    """Where a walk stands after a page.

    `filters` and `scope` are the fingerprints of what was asked and of what was granted; `as_of` the commit the walk
    sees; `began_ms` when its first page was made; `total` the size of the whole match; `page` the number of the page
    that issued this; `passed` how many records lie behind it; `after` the last of them.
    """

    account_id: int
    filters: bytes
    scope: bytes
    as_of: int
    began_ms: int
    total: int
    page: int
    passed: int
    after: Position


class Sealer:
    """Makes tokens and reads them again. `context` names the store: tokens of another one are refused."""

    def __init__(self, key: bytes, context: str) -> None:
        self._sealing = Sealing(key, "calldex search token 2", context)

    def seal(self, token: Token) -> str:
        """The token as text that is safe in a URL."""
        return self._sealing.seal(token)

    def unseal(self, text: str) -> Token:
        """Raises `BadToken` for everything that `seal` did not make."""
        token = self._sealing.unseal(text, Token)
        if token is None:
            raise BadToken(_BROKEN)
        return token


__all__ = ["KEY_BYTES", "Sealer", "Token"]

"""The search token: where a walk stands, sealed so that only we can read or make one. Pure.

Sealed with AES-SIV (RFC 5297): deterministic, so the same place in the same walk is the same token, and authentic, so
a changed one is refused. Nobody outside learns commit numbers, totals or accounts from it.
"""

from __future__ import annotations

import base64
import binascii
from typing import Final

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESSIV

from calldex.errors import BadToken
from calldex.store import Position

KEY_BYTES: Final = 64
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
        self._siv = AESSIV(key)
        self._context = [b"calldex search token 1", context.encode()]

    def seal(self, token: Token) -> str:
        """The token as text that is safe in a URL."""
        sealed = self._siv.encrypt(msgspec.msgpack.encode(token), self._context)
        return base64.urlsafe_b64encode(sealed).rstrip(b"=").decode()

    def unseal(self, text: str) -> Token:
        """Raises `BadToken` for everything that `seal` did not make."""
        try:
            sealed = base64.b64decode(text.encode("ascii") + b"=" * (-len(text) % 4), altchars=b"-_", validate=True)
            if base64.urlsafe_b64encode(sealed).rstrip(b"=").decode() != text:
                raise BadToken(_BROKEN)
            return msgspec.msgpack.decode(self._siv.decrypt(sealed, self._context), type=Token)
        except (ValueError, binascii.Error, InvalidTag, msgspec.DecodeError):
            raise BadToken(_BROKEN) from None

"""Texts that only we can read or make: search tokens, cursors of the change feed, cookies. Pure.

Sealed with AES-SIV (RFC 5297): deterministic, so the same content is the same text, and authentic, so a changed one is
refused. What a text is for is bound in: one that was made for something else cannot be read.
"""

from __future__ import annotations

import base64
import binascii
from typing import Final, TypeVar

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESSIV

KEY_BYTES: Final = 64
T = TypeVar("T")


class Sealing:
    """Seals and unseals for one purpose, which the texts of `context` name."""

    def __init__(self, key: bytes, *context: str) -> None:
        self._siv = AESSIV(key)
        self._context = [text.encode() for text in context]

    def seal(self, content: msgspec.Struct) -> str:
        """The content as text that is safe in a URL and a cookie."""
        sealed = self._siv.encrypt(msgspec.msgpack.encode(content), self._context)
        return base64.urlsafe_b64encode(sealed).rstrip(b"=").decode()

    def unseal(self, text: str, kind: type[T]) -> T | None:
        """The content; None for everything that `seal` did not make for this purpose."""
        try:
            sealed = base64.b64decode(text.encode("ascii") + b"=" * (-len(text) % 4), altchars=b"-_", validate=True)
            if base64.urlsafe_b64encode(sealed).rstrip(b"=").decode() != text:
                return None
            return msgspec.msgpack.decode(self._siv.decrypt(sealed, self._context), type=kind)
        except (ValueError, binascii.Error, InvalidTag, msgspec.DecodeError):
            return None

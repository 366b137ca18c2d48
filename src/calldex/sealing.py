"""Texts that only we can read or make: search tokens, cursors, cookies, links, secrets that are kept. Pure.

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
        return self.seal_bytes(msgspec.msgpack.encode(content))

    def unseal(self, text: str, kind: type[T]) -> T | None:
        """The content; None for everything that `seal` did not make for this purpose."""
        content = self.unseal_bytes(text)
        try:
            return None if content is None else msgspec.msgpack.decode(content, type=kind)
        except (ValueError, msgspec.DecodeError):
            return None

    def seal_bytes(self, content: bytes) -> str:
        """Bytes as such a text."""
        return base64.urlsafe_b64encode(self._siv.encrypt(content, self._context)).rstrip(b"=").decode()

    def unseal_bytes(self, text: str) -> bytes | None:
        """The bytes; None for everything that `seal_bytes` did not make for this purpose."""
        try:
            sealed = base64.b64decode(text.encode("ascii") + b"=" * (-len(text) % 4), altchars=b"-_", validate=True)
            if base64.urlsafe_b64encode(sealed).rstrip(b"=").decode() != text:
                return None  # there is one spelling
            return self._siv.decrypt(sealed, self._context)
        except (ValueError, binascii.Error, InvalidTag):
            return None

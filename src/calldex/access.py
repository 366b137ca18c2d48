"""Who may see what: the only place that decides.

A `Principal` is somebody who proved who he is; `scope_of` turns him into the `Scope` without which no query can be
made. Deny by default: what is not granted here is not seen anywhere. Pure; knows neither engine nor wire.
"""

from __future__ import annotations

import hashlib
from typing import Final, Literal

import msgspec

KeyScope = Literal["read", "ingest"]
Role = Literal["admin", "supervisor", "analyst", "agent", "hardware_phone"]


class Principal(msgspec.Struct, frozen=True, kw_only=True):
    """Somebody who proved who he is by a key."""

    account_id: int
    user_id: int
    email: str
    role: Role
    key_prefix: str
    key_scope: KeyScope
    timezone: str


class Scope(msgspec.Struct, frozen=True, kw_only=True):
    """The rows a principal may see: those of one account, all of them or none."""

    account_id: int
    whole: bool

    def fingerprint(self) -> bytes:
        """16 bytes that differ when the rows granted differ; a search token remembers them."""
        return hashlib.blake2b(msgspec.msgpack.encode(self), digest_size=16).digest()


SEES_CDRS: Final[frozenset[Role]] = frozenset({"admin", "analyst"})
"""The roles that see their whole account. Supervisors and agents see less than that; as long as a scope can only be
the whole account or nothing, they see nothing."""


def scope_of(principal: Principal) -> Scope:
    """What a principal may see. A key that may only ingest sees nothing."""
    return Scope(
        account_id=principal.account_id,
        whole=principal.key_scope == "read" and principal.role in SEES_CDRS,
    )


def may_ingest(principal: Principal) -> bool:
    """Whether a principal may write records."""
    return principal.key_scope == "ingest" and principal.role == "admin"

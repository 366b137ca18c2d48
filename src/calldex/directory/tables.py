"""The tables of the directory database, as the newest migration leaves them.

Times are epoch milliseconds. A change here needs a migration beside it and a new `VERSION`; a test compares the two.
"""

from __future__ import annotations

from typing import Any, Final, get_args

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    ForeignKey,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    UniqueConstraint,
)

from calldex.access import KeyScope, Role
from calldex.record import NamedKind

VERSION: Final = "0001"
"""The newest migration."""

metadata: Final = MetaData(
    naming_convention={
        "pk": "pk_%(table_name)s",
        "uq": "uq_%(table_name)s_%(column_0_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s",
        "ix": "ix_%(table_name)s_%(column_0_name)s",
    }
)


def _one_of(column: str, words: Any) -> CheckConstraint:
    listed = ", ".join(f"'{word}'" for word in get_args(words))
    return CheckConstraint(f"{column} IN ({listed})", name=column)


def _account_id() -> Column[int]:
    return Column("account_id", ForeignKey("accounts.id"), nullable=False)


accounts: Final = Table(
    "accounts",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("name", String(64), nullable=False, unique=True),
    Column("timezone", String(64)),
    Column("created_at", BigInteger, nullable=False),
)

users: Final = Table(
    "users",
    metadata,
    Column("id", Integer, primary_key=True),
    _account_id(),
    # In lower case, so that unique means unique however it is typed.
    Column("email", String(254), nullable=False, unique=True),
    Column("name", String(200), nullable=False),
    Column("role", String(32), nullable=False),
    Column("timezone", String(64)),
    Column("extension", String(64)),
    Column("sip_account", String(64)),
    Column("caller_id", String(64)),
    Column("skills", JSON, nullable=False),
    Column("agent_id", BigInteger, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("disabled_at", BigInteger),
    UniqueConstraint("account_id", "agent_id"),
    _one_of("role", Role),
)

team_members: Final = Table(
    "team_members",
    metadata,
    _account_id(),
    Column("user_id", ForeignKey("users.id"), primary_key=True),
    Column("team_id", BigInteger, primary_key=True, autoincrement=False),
    Column("as_supervisor", Boolean, primary_key=True),
)

# What records call things. `id` is 0 for wrap-up codes and `code` empty for all others, so that both can be a key.
# `seen_ms` is when the name was last seen. Names compare by code point everywhere, as Python compares them.
named: Final = Table(
    "named",
    metadata,
    Column("account_id", ForeignKey("accounts.id"), primary_key=True),
    Column("kind", String(16), primary_key=True),
    Column("id", BigInteger, primary_key=True, autoincrement=False),
    Column("code", String(64), primary_key=True),
    Column("name", String(200).with_variant(String(200, collation="C"), "postgresql"), nullable=False),
    Column("seen_ms", BigInteger, nullable=False),
    _one_of("kind", NamedKind),
    CheckConstraint("(kind = 'wrapup_code') = (id = 0)", name="id"),
)

api_keys: Final = Table(
    "api_keys",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("user_id", ForeignKey("users.id"), nullable=False),
    Column("prefix", String(8), nullable=False),
    Column("hash", LargeBinary(32), nullable=False, unique=True),
    Column("scope", String(16), nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("last_used_at", BigInteger),
    Column("revoked_at", BigInteger),
    _one_of("scope", KeyScope),
)

sources: Final = Table(
    "sources",
    metadata,
    Column("id", Integer, primary_key=True),
    _account_id(),
    Column("name", String(64), nullable=False, unique=True),
    Column("format", String(64), nullable=False),
    Column("settings", JSON, nullable=False),
    Column("created_at", BigInteger, nullable=False),
)

secrets: Final = Table(
    "secrets",
    metadata,
    Column("name", String(64), primary_key=True),
    Column("value", LargeBinary, nullable=False),
)

# One row; `n` grows with every change to what decides about keys, so that other processes notice it.
change: Final = Table("change", metadata, Column("n", BigInteger, nullable=False))

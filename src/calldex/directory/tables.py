"""The tables of the directory database, as the newest migration leaves them.

Times are epoch milliseconds. Text is sorted by Python, as each PostgreSQL database sorts it in its own way. A change
here needs a migration beside it and a new `VERSION`; a test compares the two.
"""

from __future__ import annotations

from typing import Any, Final, Literal, get_args

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
)

from calldex.access import Role
from calldex.records.record import NamedKind

VERSION: Final = "0009"
"""The newest migration."""
ExportState = Literal["queued", "running", "done", "failed"]
PINNED_MS: Final = 2**62
"""When a name was last seen that somebody set: later than any record."""

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
    # The names of the fields that only those see who may see sensitive ones.
    Column("sensitive", JSON, nullable=False),
    Column("agents_see_own", Boolean, nullable=False),
    # One of `records.vocabulary.Vocabulary`.
    Column("vocabulary", String(16), nullable=False),
)

users: Final = Table(
    "users",
    metadata,
    Column("id", Integer, primary_key=True),
    _account_id(),
    # In lower case, so that unique means unique however it is typed.
    Column("email", String(254), nullable=False, unique=True),
    Column("name", String(200), nullable=False),
    Column("role", String(32)),
    Column("timezone", String(64)),
    Column("extension", String(64)),
    Column("sip_account", String(64)),
    Column("caller_id", String(64)),
    Column("skills", JSON, nullable=False),
    Column("agent_id", BigInteger, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("disabled_at", BigInteger),
    # With Argon2id, its parameters and salt included; nobody signs in by password without one.
    Column("password_hash", String(200)),
    UniqueConstraint("account_id", "agent_id"),
    _one_of("role", Role),
    # The id of somebody who was removed is never given to another.
    sqlite_autoincrement=True,
)

# Who was in a team from when until when; `since_ms` 0: ever since, `until_ms` NULL: still.
team_members: Final = Table(
    "team_members",
    metadata,
    _account_id(),
    Column("user_id", ForeignKey("users.id"), primary_key=True),
    Column("team_id", BigInteger, primary_key=True, autoincrement=False),
    Column("as_supervisor", Boolean, primary_key=True),
    Column("since_ms", BigInteger, primary_key=True, autoincrement=False),
    Column("until_ms", BigInteger),
)

# The queues whose records the supervisors of a team see.
team_queues: Final = Table(
    "team_queues",
    metadata,
    Column("account_id", ForeignKey("accounts.id"), primary_key=True),
    Column("team_id", BigInteger, primary_key=True, autoincrement=False),
    Column("queue_id", BigInteger, primary_key=True, autoincrement=False),
)

groups: Final = Table(
    "groups",
    metadata,
    Column("id", Integer, primary_key=True),
    _account_id(),
    Column("name", String(64), nullable=False),
    Column("permissions", JSON, nullable=False),
    Column("reach", JSON, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    UniqueConstraint("account_id", "name"),
    sqlite_autoincrement=True,
)

group_members: Final = Table(
    "group_members",
    metadata,
    Column("group_id", ForeignKey("groups.id"), primary_key=True),
    Column("user_id", ForeignKey("users.id"), primary_key=True),
)

# What records call things. `id` is 0 for wrap-up codes and `code` empty for all others, so that both can be a key.
# `seen_ms` is when the name was last seen, or `PINNED_MS` when somebody set it. Names compare by code point everywhere,
# as Python compares them.
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
    # Some of `access.KeyScope`, comma-separated.
    Column("scopes", String(64), nullable=False),
    # The networks it may be used from; of none, everywhere.
    Column("networks", JSON, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("last_used_at", BigInteger),
    Column("revoked_at", BigInteger),
    Column("expires_at", BigInteger),
    # As of `accounts`; NULL: that of the account.
    Column("vocabulary", String(16)),
)

# Where people are signed in. `hash` is that of the cookie's value.
sessions: Final = Table(
    "sessions",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("user_id", ForeignKey("users.id"), nullable=False),
    Column("hash", LargeBinary(32), nullable=False, unique=True),
    Column("created_at", BigInteger, nullable=False),
    Column("last_used_at", BigInteger, nullable=False),
    Column("expires_at", BigInteger, nullable=False),
    Column("address", String(64), nullable=False),
    Column("client", String(200), nullable=False),
    sqlite_autoincrement=True,
)

# Attempts to sign in that failed: how many in a row under one key (see `directory.signin`), and the last one's time.
signin_failures: Final = Table(
    "signin_failures",
    metadata,
    Column("key", LargeBinary(32), primary_key=True),
    Column("failures", Integer, nullable=False),
    Column("last_at", BigInteger, nullable=False),
)

# The OpenID Connect provider by which an account's people sign in, and which of its groups are which of ours.
openid: Final = Table(
    "openid",
    metadata,
    Column("account_id", ForeignKey("accounts.id"), primary_key=True, autoincrement=False),
    Column("issuer", String(500), nullable=False),
    Column("client_id", String(200), nullable=False),
    Column("client_secret", String(1000), nullable=False),
    Column("claim", String(64), nullable=False),
    Column("groups", JSON, nullable=False),
)

# Who did what: `n` counts without a gap, `hash` is over the entry and the hash before it.
audit: Final = Table(
    "audit",
    metadata,
    Column("n", BigInteger().with_variant(Integer, "sqlite"), primary_key=True, autoincrement=False),
    Column("at_ms", BigInteger, nullable=False),
    # 0 where there is none: an attempt to sign in under an address that nobody has, or what is about the whole.
    Column("account_id", Integer, nullable=False),
    Column("actor", String(254), nullable=False),
    Column("action", String(32), nullable=False),
    # The whole entry's JSON, these columns included; it is what the hash is over.
    Column("entry", String(4000), nullable=False),
    Column("hash", LargeBinary(32), nullable=False),
    Index("ix_audit_account_id", "account_id", "n"),
)

# One row: the newest entry, and the one before the oldest that is kept.
audit_chain: Final = Table(
    "audit_chain",
    metadata,
    Column("n", BigInteger, nullable=False),
    Column("hash", LargeBinary(32), nullable=False),
    Column("base_n", BigInteger, nullable=False),
    Column("base_hash", LargeBinary(32), nullable=False),
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
    Column("last_ingest_at", BigInteger),
    Column("newest_started_at", BigInteger),
)

# Missed calls that somebody took care of. `started_ms` is when the call began, so that those of some days are found.
missed_marks: Final = Table(
    "missed_marks",
    metadata,
    Column("account_id", ForeignKey("accounts.id"), primary_key=True),
    Column("uuid", String(36), primary_key=True),
    Column("started_ms", BigInteger, nullable=False),
    Column("by", String(254), nullable=False),
    Column("at_ms", BigInteger, nullable=False),
    Column("note", String(500)),
    Index("ix_missed_marks_started_ms", "account_id", "started_ms"),
)

# Searches that somebody saved, for themselves or for all of their account. `query` is the list's query string.
saved_views: Final = Table(
    "saved_views",
    metadata,
    Column("id", Integer, primary_key=True),
    _account_id(),
    Column("user_id", ForeignKey("users.id"), nullable=False, index=True),
    Column("name", String(64), nullable=False),
    Column("query", String(4000), nullable=False),
    Column("shared", Boolean, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("changed_at", BigInteger, nullable=False),
    UniqueConstraint("account_id", "user_id", "name"),
    sqlite_autoincrement=True,
)

secrets: Final = Table(
    "secrets",
    metadata,
    Column("name", String(64), primary_key=True),
    Column("value", LargeBinary, nullable=False),
)

# One row; `n` grows with every change to what decides about keys, so that other processes notice it.
change: Final = Table("change", metadata, Column("n", BigInteger, nullable=False))

# How far the chain of a ledger had come: the last commit of which it is known, and its link.
ledger_heads: Final = Table(
    "ledger_heads",
    metadata,
    Column("store_id", String(64), primary_key=True),
    Column("seq", BigInteger, nullable=False),
    Column("hash", LargeBinary(32), nullable=False),
)


# --- exports --------------------------------------------------------------------------------------------------------

# What is made in the background, see `directory.exports`. Who made it need not be there any more.
exports: Final = Table(
    "exports",
    metadata,
    Column("id", String(32), primary_key=True),
    _account_id(),
    # 0: the owner of the data directory.
    Column("user_id", Integer, nullable=False),
    Column("key_id", Integer),
    Column("email", String(254), nullable=False),
    Column("credential", String(16), nullable=False),
    # The node that makes and keeps the file.
    Column("node", String(100), nullable=False),
    # Names and values, as they were given.
    Column("parameters", JSON, nullable=False),
    # The fingerprint of what its maker may see; none of a schedule's, until it begins.
    Column("scope", LargeBinary(16)),
    Column("store_id", String(64), nullable=False),
    # As of which commit, how many records that are, and how many of them are written; how many bytes these have, and
    # the last of them.
    Column("as_of", BigInteger),
    Column("total", BigInteger),
    Column("records", BigInteger, nullable=False),
    Column("size", BigInteger, nullable=False),
    Column("after", LargeBinary),
    Column("state", String(16), nullable=False),
    Column("reason", Text),
    # SHA-256 of the whole file, in hexadecimal digits.
    Column("digest", String(64)),
    Column("schedule_id", Integer),
    Column("day", String(10)),
    Column("created_at", BigInteger, nullable=False),
    Column("ended_at", BigInteger),
    Column("expires_at", BigInteger, nullable=False, index=True),
    _one_of("state", ExportState),
    UniqueConstraint("schedule_id", "day"),
)

# What is made every night, see `directory.schedules`.
export_schedules: Final = Table(
    "export_schedules",
    metadata,
    Column("id", Integer, primary_key=True),
    _account_id(),
    Column("user_id", Integer, nullable=False),
    Column("key_id", Integer),
    Column("email", String(254), nullable=False),
    Column("credential", String(16), nullable=False),
    Column("name", String(64), nullable=False),
    # When it runs, as 02:00 in this zone, and the next day on which it does.
    Column("at", String(5), nullable=False),
    Column("timezone", String(64), nullable=False),
    Column("next_day", String(10), nullable=False),
    Column("parameters", JSON, nullable=False),
    # A place of the setting `export_targets`.
    Column("target", String(64), nullable=False),
    Column("created_at", BigInteger, nullable=False),
    UniqueConstraint("account_id", "name"),
    sqlite_autoincrement=True,
)


# --- a store of several nodes ---------------------------------------------------------------------------------------

# How far an account is: commits up to `published` are visible and make `live` records, numbers up to `reserved` were
# given out, of what was superseded up to `purged` some is gone.
commits: Final = Table(
    "commits",
    metadata,
    Column("account_id", Integer, primary_key=True, autoincrement=False),
    Column("published", BigInteger, nullable=False),
    Column("reserved", BigInteger, nullable=False),
    Column("live", BigInteger, nullable=False),
    Column("purged", BigInteger, nullable=False),
)

# Numbers that were given out and never published; what was written under them counts as if it were not there.
void_commits: Final = Table(
    "void_commits",
    metadata,
    Column("account_id", Integer, primary_key=True, autoincrement=False),
    Column("first", BigInteger, primary_key=True, autoincrement=False),
    Column("last", BigInteger, nullable=False),
    Column("at_ms", BigInteger, nullable=False),
)

receipts: Final = Table(
    "receipts",
    metadata,
    Column("account_id", Integer, primary_key=True, autoincrement=False),
    Column("key", String(255), primary_key=True),
    Column("digest", LargeBinary, nullable=False),
    Column("answer", LargeBinary, nullable=False),
    Column("at_ms", BigInteger, nullable=False, index=True),
)

_ROW_ID: Final = BigInteger().with_variant(Integer, "sqlite")

# `digest`: of the raw piece, which is too long for an index.
quarantine: Final = Table(
    "quarantine",
    metadata,
    Column("id", _ROW_ID, primary_key=True),
    Column("account_id", Integer, nullable=False),
    Column("source", String(64), nullable=False),
    Column("format", String(64), nullable=False),
    Column("origin", Text, nullable=False),
    Column("place", Text, nullable=False),
    Column("reason", Text, nullable=False),
    Column("raw", LargeBinary, nullable=False),
    Column("digest", LargeBinary(32), nullable=False),
    Column("at_ms", BigInteger, nullable=False),
    UniqueConstraint("account_id", "source", "format", "digest"),
    sqlite_autoincrement=True,
)

# Rows of calls, see `records.record.CallRow`. Text and links are kept as bytes: those of PostgreSQL hold no NUL.
call_rows: Final = Table(
    "call_rows",
    metadata,
    Column("id", _ROW_ID, primary_key=True),
    Column("account_id", Integer, nullable=False),
    Column("source", String(64), nullable=False),
    Column("key", LargeBinary, nullable=False),
    Column("links", Text, nullable=False),
    Column("text", LargeBinary, nullable=False),
    Column("uuid", String(36)),
    UniqueConstraint("account_id", "source", "key"),
    sqlite_autoincrement=True,
)

call_links: Final = Table(
    "call_links",
    metadata,
    Column("account_id", Integer, primary_key=True, autoincrement=False),
    Column("source", String(64), primary_key=True),
    Column("link", LargeBinary, primary_key=True),
    Column("row_id", ForeignKey("call_rows.id"), primary_key=True),
)

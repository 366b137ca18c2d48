"""The tables of the ledger, and how an older one is brought up to date. Pure."""

from __future__ import annotations

from typing import Final

from calldex.store.sql import LIVE, SQLITE, columns_ddl

_SCHEMA_1: Final = f"""
CREATE TABLE meta (name TEXT PRIMARY KEY, value) WITHOUT ROWID;
CREATE TABLE version (
    seq INTEGER PRIMARY KEY, seq_to INTEGER NOT NULL, account_id INTEGER NOT NULL, uuid BLOB NOT NULL,
    {columns_ddl(SQLITE)}, written_ms INTEGER NOT NULL, json TEXT
);
CREATE UNIQUE INDEX version_uuid ON version (account_id, uuid, seq_to);
CREATE INDEX version_closed ON version (seq_to) WHERE seq_to < {LIVE};
CREATE TABLE purged (account_id INTEGER PRIMARY KEY, seq INTEGER NOT NULL);
CREATE TABLE call_row (
    id INTEGER PRIMARY KEY, account_id INTEGER NOT NULL, source TEXT NOT NULL, key BLOB NOT NULL, links TEXT NOT NULL,
    text TEXT NOT NULL, uuid BLOB, UNIQUE (account_id, source, key)
);
CREATE TABLE call_link (
    account_id INTEGER NOT NULL, source TEXT NOT NULL, link TEXT NOT NULL, row_id INTEGER NOT NULL,
    PRIMARY KEY (account_id, source, link, row_id)
) WITHOUT ROWID;
CREATE TABLE quarantine (
    id INTEGER PRIMARY KEY, account_id INTEGER NOT NULL, source TEXT NOT NULL, format TEXT NOT NULL,
    origin TEXT NOT NULL, place TEXT NOT NULL, reason TEXT NOT NULL, raw BLOB NOT NULL, at_ms INTEGER NOT NULL,
    UNIQUE (account_id, source, format, raw)
);
CREATE TABLE receipt (
    account_id INTEGER NOT NULL, key TEXT NOT NULL, digest BLOB NOT NULL, answer BLOB NOT NULL, at_ms INTEGER NOT NULL,
    PRIMARY KEY (account_id, key)
) WITHOUT ROWID;
"""
MIGRATIONS: Final = (_SCHEMA_1,)
"""The n-th brings a ledger from schema version n to n + 1; a new one is added at the end, none is ever changed."""

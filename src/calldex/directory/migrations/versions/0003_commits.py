"""Commits of a store of several nodes: their count, and what becomes durable with them."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"

_ID = sa.BigInteger().with_variant(sa.Integer, "sqlite")


def upgrade() -> None:
    """Add the tables, empty."""
    op.create_table(
        "commits",
        sa.Column("account_id", sa.Integer, nullable=False, autoincrement=False),
        sa.Column("published", sa.BigInteger, nullable=False),
        sa.Column("reserved", sa.BigInteger, nullable=False),
        sa.Column("live", sa.BigInteger, nullable=False),
        sa.Column("purged", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("account_id", name="pk_commits"),
    )
    op.create_table(
        "void_commits",
        sa.Column("account_id", sa.Integer, nullable=False),
        sa.Column("first", sa.BigInteger, nullable=False),
        sa.Column("last", sa.BigInteger, nullable=False),
        sa.Column("at_ms", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("account_id", "first", name="pk_void_commits"),
    )
    op.create_table(
        "receipts",
        sa.Column("account_id", sa.Integer, nullable=False),
        sa.Column("key", sa.String(255), nullable=False),
        sa.Column("digest", sa.LargeBinary, nullable=False),
        sa.Column("answer", sa.LargeBinary, nullable=False),
        sa.Column("at_ms", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("account_id", "key", name="pk_receipts"),
    )
    op.create_index("ix_receipts_at_ms", "receipts", ["at_ms"])
    _quarantine()
    _calls()


def _quarantine() -> None:
    op.create_table(
        "quarantine",
        sa.Column("id", _ID, nullable=False),
        sa.Column("account_id", sa.Integer, nullable=False),
        sa.Column("source", sa.String(64), nullable=False),
        sa.Column("format", sa.String(64), nullable=False),
        sa.Column("origin", sa.Text, nullable=False),
        sa.Column("place", sa.Text, nullable=False),
        sa.Column("reason", sa.Text, nullable=False),
        sa.Column("raw", sa.LargeBinary, nullable=False),
        sa.Column("digest", sa.LargeBinary(32), nullable=False),
        sa.Column("at_ms", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_quarantine"),
        sa.UniqueConstraint("account_id", "source", "format", "digest", name="uq_quarantine_account_id"),
        sqlite_autoincrement=True,
    )


def _calls() -> None:
    op.create_table(
        "call_rows",
        sa.Column("id", _ID, nullable=False),
        sa.Column("account_id", sa.Integer, nullable=False),
        sa.Column("source", sa.String(64), nullable=False),
        sa.Column("key", sa.LargeBinary, nullable=False),
        sa.Column("links", sa.Text, nullable=False),
        sa.Column("text", sa.LargeBinary, nullable=False),
        sa.Column("uuid", sa.String(36)),
        sa.PrimaryKeyConstraint("id", name="pk_call_rows"),
        sa.UniqueConstraint("account_id", "source", "key", name="uq_call_rows_account_id"),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "call_links",
        sa.Column("account_id", sa.Integer, nullable=False),
        sa.Column("source", sa.String(64), nullable=False),
        sa.Column("link", sa.LargeBinary, nullable=False),
        sa.Column("row_id", _ID, nullable=False),
        sa.PrimaryKeyConstraint("account_id", "source", "link", "row_id", name="pk_call_links"),
        sa.ForeignKeyConstraint(["row_id"], ["call_rows.id"], name="fk_call_links_row_id"),
    )

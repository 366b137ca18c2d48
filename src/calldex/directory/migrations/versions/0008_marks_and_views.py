"""Marks on missed calls, and saved views."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"


def upgrade() -> None:
    """Add the tables, empty."""
    op.create_table(
        "missed_marks",
        sa.Column("account_id", sa.Integer, nullable=False),
        sa.Column("uuid", sa.String(36), nullable=False),
        sa.Column("started_ms", sa.BigInteger, nullable=False),
        sa.Column("by", sa.String(254), nullable=False),
        sa.Column("at_ms", sa.BigInteger, nullable=False),
        sa.Column("note", sa.String(500)),
        sa.PrimaryKeyConstraint("account_id", "uuid", name="pk_missed_marks"),
        sa.ForeignKeyConstraint(["account_id"], ["accounts.id"], name="fk_missed_marks_account_id"),
    )
    op.create_index("ix_missed_marks_started_ms", "missed_marks", ["account_id", "started_ms"])
    op.create_table(
        "saved_views",
        sa.Column("id", sa.Integer, nullable=False),
        sa.Column("account_id", sa.Integer, nullable=False),
        sa.Column("user_id", sa.Integer, nullable=False),
        sa.Column("name", sa.String(64), nullable=False),
        sa.Column("query", sa.String(4000), nullable=False),
        sa.Column("shared", sa.Boolean, nullable=False),
        sa.Column("created_at", sa.BigInteger, nullable=False),
        sa.Column("changed_at", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_saved_views"),
        sa.UniqueConstraint("account_id", "user_id", "name", name="uq_saved_views_account_id"),
        sa.ForeignKeyConstraint(["account_id"], ["accounts.id"], name="fk_saved_views_account_id"),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name="fk_saved_views_user_id"),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_saved_views_user_id", "saved_views", ["user_id"])

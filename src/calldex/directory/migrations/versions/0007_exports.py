"""Exports that are made in the background, and their schedules."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    """Add the tables, empty."""
    op.create_table(
        "exports",
        sa.Column("id", sa.String(32), nullable=False),
        *_maker(),
        sa.Column("node", sa.String(100), nullable=False),
        sa.Column("parameters", sa.JSON, nullable=False),
        sa.Column("scope", sa.LargeBinary(16)),
        sa.Column("store_id", sa.String(64), nullable=False),
        sa.Column("as_of", sa.BigInteger),
        sa.Column("total", sa.BigInteger),
        sa.Column("records", sa.BigInteger, nullable=False),
        sa.Column("size", sa.BigInteger, nullable=False),
        sa.Column("after", sa.LargeBinary),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("reason", sa.Text),
        sa.Column("digest", sa.String(64)),
        sa.Column("schedule_id", sa.Integer),
        sa.Column("day", sa.String(10)),
        sa.Column("created_at", sa.BigInteger, nullable=False),
        sa.Column("ended_at", sa.BigInteger),
        sa.Column("expires_at", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_exports"),
        sa.ForeignKeyConstraint(["account_id"], ["accounts.id"], name="fk_exports_account_id"),
        sa.UniqueConstraint("schedule_id", "day", name="uq_exports_schedule_id"),
        sa.CheckConstraint("state IN ('queued', 'running', 'done', 'failed')", name="ck_exports_state"),
    )
    op.create_index("ix_exports_expires_at", "exports", ["expires_at"])
    op.create_table(
        "export_schedules",
        sa.Column("id", sa.Integer, nullable=False),
        *_maker(),
        sa.Column("name", sa.String(64), nullable=False),
        sa.Column("at", sa.String(5), nullable=False),
        sa.Column("timezone", sa.String(64), nullable=False),
        sa.Column("next_day", sa.String(10), nullable=False),
        sa.Column("parameters", sa.JSON, nullable=False),
        sa.Column("target", sa.String(64), nullable=False),
        sa.Column("created_at", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_export_schedules"),
        sa.ForeignKeyConstraint(["account_id"], ["accounts.id"], name="fk_export_schedules_account_id"),
        sa.UniqueConstraint("account_id", "name", name="uq_export_schedules_account_id"),
        sqlite_autoincrement=True,
    )


def _maker() -> tuple[sa.Column[object], ...]:
    return (
        sa.Column("account_id", sa.Integer, nullable=False),
        sa.Column("user_id", sa.Integer, nullable=False),
        sa.Column("key_id", sa.Integer),
        sa.Column("email", sa.String(254), nullable=False),
        sa.Column("credential", sa.String(16), nullable=False),
    )

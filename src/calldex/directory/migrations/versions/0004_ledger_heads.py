"""The heads of the ledgers that belong to a directory."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    """Add the table, empty: the next start enters the ledger that lies beside it."""
    op.create_table(
        "ledger_heads",
        sa.Column("store_id", sa.String(64), nullable=False),
        sa.Column("seq", sa.BigInteger, nullable=False),
        sa.Column("hash", sa.LargeBinary(32), nullable=False),
        sa.PrimaryKeyConstraint("store_id", name="pk_ledger_heads"),
    )

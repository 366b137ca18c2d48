"""When a source last delivered, and how new its newest record was."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"


def upgrade() -> None:
    """Add the columns; nothing is known of what was before."""
    # SQLite writes an added column into the end of the table's text, which a new database does not have there.
    is_sqlite = op.get_context().dialect.name == "sqlite"
    with op.batch_alter_table("sources", recreate="always" if is_sqlite else "never") as sources:
        sources.add_column(sa.Column("last_ingest_at", sa.BigInteger))
        sources.add_column(sa.Column("newest_started_at", sa.BigInteger))

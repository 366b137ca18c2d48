"""The vocabulary of replies: that of an account, and of a key that has one of its own."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    """Accounts have the documented words, as their replies had; keys have those of their account."""
    with op.batch_alter_table("accounts") as accounts:
        accounts.add_column(sa.Column("vocabulary", sa.String(16), nullable=False, server_default="documented"))
    with op.batch_alter_table("accounts") as accounts:
        accounts.alter_column("vocabulary", server_default=None)
    # SQLite writes an added column into the end of the table's text, which a new database does not have there.
    is_sqlite = op.get_context().dialect.name == "sqlite"
    with op.batch_alter_table("api_keys", recreate="always" if is_sqlite else "never") as keys:
        keys.add_column(sa.Column("vocabulary", sa.String(16)))

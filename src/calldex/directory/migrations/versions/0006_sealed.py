"""The secret of an OpenID Connect provider is kept sealed, which is longer. Those in the clear are sealed as the
directory is opened: the key lies in a file that no step of a database knows."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    """A sealed secret has up to 1,000 characters."""
    is_sqlite = op.get_context().dialect.name == "sqlite"
    with op.batch_alter_table("openid", recreate="always" if is_sqlite else "never") as openid:
        openid.alter_column(
            "client_secret", type_=sa.String(1000), existing_type=sa.String(500), existing_nullable=False
        )

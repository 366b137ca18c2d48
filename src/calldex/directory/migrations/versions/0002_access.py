"""Groups and reaches, memberships with their times, sessions, keys that expire, OpenID Connect, the audit."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """From users with a role each, and keys with one scope each."""
    _people()
    _teams()
    _groups()
    _keys()
    _signing_in()
    _audit()


def _people() -> None:
    with op.batch_alter_table("accounts") as accounts:
        accounts.add_column(sa.Column("sensitive", sa.JSON, nullable=False, server_default="[]"))
        accounts.add_column(sa.Column("agents_see_own", sa.Boolean, nullable=False, server_default=sa.true()))
    with op.batch_alter_table("accounts") as accounts:
        accounts.alter_column("sensitive", server_default=None)
        accounts.alter_column("agents_see_own", server_default=None)
    with op.batch_alter_table("users", table_kwargs={"sqlite_autoincrement": True}) as users:
        users.alter_column("role", existing_type=sa.String(32), nullable=True)
        users.add_column(sa.Column("password_hash", sa.String(200)))


def _teams() -> None:
    with op.batch_alter_table("team_members") as members:
        members.add_column(sa.Column("since_ms", sa.BigInteger, nullable=False, server_default="0"))
        members.add_column(sa.Column("until_ms", sa.BigInteger))
        members.drop_constraint("pk_team_members", type_="primary")
        members.create_primary_key("pk_team_members", ["user_id", "team_id", "as_supervisor", "since_ms"])
    with op.batch_alter_table("team_members") as members:
        members.alter_column("since_ms", server_default=None)
    op.create_table(
        "team_queues",
        sa.Column("account_id", sa.Integer, nullable=False),
        sa.Column("team_id", sa.BigInteger, nullable=False),
        sa.Column("queue_id", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("account_id", "team_id", "queue_id", name="pk_team_queues"),
        sa.ForeignKeyConstraint(["account_id"], ["accounts.id"], name="fk_team_queues_account_id"),
    )


def _groups() -> None:
    op.create_table(
        "groups",
        sa.Column("id", sa.Integer, nullable=False),
        sa.Column("account_id", sa.Integer, nullable=False),
        sa.Column("name", sa.String(64), nullable=False),
        sa.Column("permissions", sa.JSON, nullable=False),
        sa.Column("reach", sa.JSON, nullable=False),
        sa.Column("created_at", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_groups"),
        sa.ForeignKeyConstraint(["account_id"], ["accounts.id"], name="fk_groups_account_id"),
        sa.UniqueConstraint("account_id", "name", name="uq_groups_account_id"),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "group_members",
        sa.Column("group_id", sa.Integer, nullable=False),
        sa.Column("user_id", sa.Integer, nullable=False),
        sa.PrimaryKeyConstraint("group_id", "user_id", name="pk_group_members"),
        sa.ForeignKeyConstraint(["group_id"], ["groups.id"], name="fk_group_members_group_id"),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name="fk_group_members_user_id"),
    )


def _keys() -> None:
    with op.batch_alter_table("api_keys") as keys:
        keys.drop_constraint("ck_api_keys_scope", type_="check")
        keys.alter_column("scope", new_column_name="scopes", existing_type=sa.String(16), type_=sa.String(64))
        keys.add_column(sa.Column("networks", sa.JSON, nullable=False, server_default="[]"))
        keys.add_column(sa.Column("expires_at", sa.BigInteger))
    with op.batch_alter_table("api_keys") as keys:
        keys.alter_column("networks", server_default=None)


def _signing_in() -> None:
    op.create_table(
        "sessions",
        sa.Column("id", sa.Integer, nullable=False),
        sa.Column("user_id", sa.Integer, nullable=False),
        sa.Column("hash", sa.LargeBinary(32), nullable=False),
        sa.Column("created_at", sa.BigInteger, nullable=False),
        sa.Column("last_used_at", sa.BigInteger, nullable=False),
        sa.Column("expires_at", sa.BigInteger, nullable=False),
        sa.Column("address", sa.String(64), nullable=False),
        sa.Column("client", sa.String(200), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_sessions"),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name="fk_sessions_user_id"),
        sa.UniqueConstraint("hash", name="uq_sessions_hash"),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "signin_failures",
        sa.Column("key", sa.LargeBinary(32), nullable=False),
        sa.Column("failures", sa.Integer, nullable=False),
        sa.Column("last_at", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("key", name="pk_signin_failures"),
    )
    op.create_table(
        "openid",
        sa.Column("account_id", sa.Integer, nullable=False, autoincrement=False),
        sa.Column("issuer", sa.String(500), nullable=False),
        sa.Column("client_id", sa.String(200), nullable=False),
        sa.Column("client_secret", sa.String(500), nullable=False),
        sa.Column("claim", sa.String(64), nullable=False),
        sa.Column("groups", sa.JSON, nullable=False),
        sa.PrimaryKeyConstraint("account_id", name="pk_openid"),
        sa.ForeignKeyConstraint(["account_id"], ["accounts.id"], name="fk_openid_account_id"),
    )


def _audit() -> None:
    op.create_table(
        "audit",
        sa.Column("n", sa.BigInteger().with_variant(sa.Integer, "sqlite"), nullable=False, autoincrement=False),
        sa.Column("at_ms", sa.BigInteger, nullable=False),
        sa.Column("account_id", sa.Integer, nullable=False),
        sa.Column("actor", sa.String(254), nullable=False),
        sa.Column("action", sa.String(32), nullable=False),
        sa.Column("entry", sa.String(4000), nullable=False),
        sa.Column("hash", sa.LargeBinary(32), nullable=False),
        sa.PrimaryKeyConstraint("n", name="pk_audit"),
    )
    op.create_index("ix_audit_account_id", "audit", ["account_id", "n"])
    chain = op.create_table(
        "audit_chain",
        sa.Column("n", sa.BigInteger, nullable=False),
        sa.Column("hash", sa.LargeBinary(32), nullable=False),
        sa.Column("base_n", sa.BigInteger, nullable=False),
        sa.Column("base_hash", sa.LargeBinary(32), nullable=False),
    )
    op.bulk_insert(chain, [{"n": 0, "hash": bytes(32), "base_n": 0, "base_hash": bytes(32)}])

"""Accounts, users, teams, look-ups, keys, sources and secrets; the account `main`."""

from __future__ import annotations

import time

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    """From an empty database."""
    _people()
    _names()
    _keys()
    _sources()


def _people() -> None:
    accounts = op.create_table(
        "accounts",
        sa.Column("id", sa.Integer, nullable=False),
        sa.Column("name", sa.String(64), nullable=False),
        sa.Column("timezone", sa.String(64)),
        sa.Column("created_at", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_accounts"),
        sa.UniqueConstraint("name", name="uq_accounts_name"),
    )
    op.create_table(
        "users",
        sa.Column("id", sa.Integer, nullable=False),
        sa.Column("account_id", sa.Integer, nullable=False),
        sa.Column("email", sa.String(254), nullable=False),
        sa.Column("name", sa.String(200), nullable=False),
        sa.Column("role", sa.String(32), nullable=False),
        sa.Column("timezone", sa.String(64)),
        sa.Column("extension", sa.String(64)),
        sa.Column("sip_account", sa.String(64)),
        sa.Column("caller_id", sa.String(64)),
        sa.Column("skills", sa.JSON, nullable=False),
        sa.Column("agent_id", sa.BigInteger, nullable=False),
        sa.Column("created_at", sa.BigInteger, nullable=False),
        sa.Column("disabled_at", sa.BigInteger),
        sa.PrimaryKeyConstraint("id", name="pk_users"),
        sa.ForeignKeyConstraint(["account_id"], ["accounts.id"], name="fk_users_account_id"),
        sa.UniqueConstraint("email", name="uq_users_email"),
        sa.UniqueConstraint("account_id", "agent_id", name="uq_users_account_id"),
        sa.CheckConstraint(
            "role IN ('admin', 'supervisor', 'analyst', 'agent', 'hardware_phone')", name="ck_users_role"
        ),
    )
    op.create_table(
        "team_members",
        sa.Column("account_id", sa.Integer, nullable=False),
        sa.Column("user_id", sa.Integer, nullable=False),
        sa.Column("team_id", sa.BigInteger, nullable=False),
        sa.Column("as_supervisor", sa.Boolean, nullable=False),
        sa.PrimaryKeyConstraint("user_id", "team_id", "as_supervisor", name="pk_team_members"),
        sa.ForeignKeyConstraint(["account_id"], ["accounts.id"], name="fk_team_members_account_id"),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name="fk_team_members_user_id"),
    )
    op.bulk_insert(accounts, [{"name": "main", "timezone": None, "created_at": time.time_ns() // 1_000_000}])


def _names() -> None:
    op.create_table(
        "named",
        sa.Column("account_id", sa.Integer, nullable=False),
        sa.Column("kind", sa.String(16), nullable=False),
        sa.Column("id", sa.BigInteger, nullable=False),
        sa.Column("code", sa.String(64), nullable=False),
        sa.Column("name", sa.String(200).with_variant(sa.String(200, collation="C"), "postgresql"), nullable=False),
        sa.Column("seen_ms", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("account_id", "kind", "id", "code", name="pk_named"),
        sa.ForeignKeyConstraint(["account_id"], ["accounts.id"], name="fk_named_account_id"),
        sa.CheckConstraint("kind IN ('agent', 'queue', 'team', 'campaign', 'wrapup_code')", name="ck_named_kind"),
        sa.CheckConstraint("(kind = 'wrapup_code') = (id = 0)", name="ck_named_id"),
    )


def _keys() -> None:
    op.create_table(
        "api_keys",
        sa.Column("id", sa.Integer, nullable=False),
        sa.Column("user_id", sa.Integer, nullable=False),
        sa.Column("prefix", sa.String(8), nullable=False),
        sa.Column("hash", sa.LargeBinary(32), nullable=False),
        sa.Column("scope", sa.String(16), nullable=False),
        sa.Column("created_at", sa.BigInteger, nullable=False),
        sa.Column("last_used_at", sa.BigInteger),
        sa.Column("revoked_at", sa.BigInteger),
        sa.PrimaryKeyConstraint("id", name="pk_api_keys"),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name="fk_api_keys_user_id"),
        sa.UniqueConstraint("hash", name="uq_api_keys_hash"),
        sa.CheckConstraint("scope IN ('read', 'ingest')", name="ck_api_keys_scope"),
    )
    op.create_table(
        "secrets",
        sa.Column("name", sa.String(64), nullable=False),
        sa.Column("value", sa.LargeBinary, nullable=False),
        sa.PrimaryKeyConstraint("name", name="pk_secrets"),
    )
    change = op.create_table("change", sa.Column("n", sa.BigInteger, nullable=False))
    op.bulk_insert(change, [{"n": 0}])


def _sources() -> None:
    op.create_table(
        "sources",
        sa.Column("id", sa.Integer, nullable=False),
        sa.Column("account_id", sa.Integer, nullable=False),
        sa.Column("name", sa.String(64), nullable=False),
        sa.Column("format", sa.String(64), nullable=False),
        sa.Column("settings", sa.JSON, nullable=False),
        sa.Column("created_at", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_sources"),
        sa.ForeignKeyConstraint(["account_id"], ["accounts.id"], name="fk_sources_account_id"),
        sa.UniqueConstraint("name", name="uq_sources_name"),
    )

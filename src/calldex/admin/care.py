"""The care of a data directory: its accounts, its whole audit, backups and checks. The owner's alone."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Final

import msgspec

from calldex import backup, check
from calldex.admin.verb import Call, Nothing, by_owner
from calldex.audit.chain import OWNER, Actor, Entry, Link, Verified, entry
from calldex.directory import Account, AuditFilter

MOST_ENTRIES: Final = 10_000
"""Entries of one list."""


class NewAccount(msgspec.Struct, frozen=True, kw_only=True):
    """An account to be added."""

    name: str
    timezone: str | None = None


class EntryList(msgspec.Struct, frozen=True, kw_only=True):
    """Which entries of the audit, of one account or of all."""

    account: str | None
    wanted: AuditFilter
    limit: Annotated[int, msgspec.Meta(ge=1, le=MOST_ENTRIES)]


class Expected(msgspec.Struct, frozen=True):
    """A link of the audit's chain that was noted elsewhere, if one was."""

    link: Link | None = None


class BackupTo(msgspec.Struct, frozen=True):
    """The absolute path of the folder that a backup is to be written into."""

    folder: str


def list_accounts(call: Call, _: Nothing) -> list[Account]:
    """List the accounts."""
    return call.directory.accounts()


def create_account(call: Call, new: NewAccount) -> Account:
    """Add an account."""
    account = call.directory.add_account(new.name, new.timezone)
    call.node.audit.owner("account_added", account.id, account.name)
    return account


def list_entries(call: Call, asked: EntryList) -> list[Entry]:
    """List entries of the audit, newest first."""
    account_id = None if asked.account is None else call.directory.account(asked.account).id
    found = call.directory.audit_entries(account_id, asked.wanted, asked.limit)
    detail = {name: value for name, value in msgspec.structs.asdict(asked.wanted).items() if value is not None}
    actor = Actor(actor=OWNER, account_id=account_id or 0)
    call.node.audit.note(entry(actor, "audit_read", detail=detail, rows=len(found)))
    return found


def verify_audit(call: Call, expected: Expected) -> Verified:
    """Verify that the audit is as it was written."""
    return call.directory.verify_audit(expected.link)


def head_of_audit(call: Call, _: Nothing) -> Link:
    """Show the newest entry's place in the audit's chain."""
    return call.directory.audit_head()


def back_up(call: Call, to: BackupTo) -> backup.Manifest:
    """Write a backup into a new folder."""
    return backup.backup(call.node, Path(to.folder))


def check_all(call: Call, _: Nothing) -> check.Checked:
    """Verify the store, the directory and the audit."""
    return check.of_node(call.node)


VERBS: Final = tuple(
    by_owner(work)
    for work in (list_accounts, create_account, list_entries, verify_audit, head_of_audit, back_up, check_all)
)
"""Those that are noted are so by themselves: in the account that they were about."""

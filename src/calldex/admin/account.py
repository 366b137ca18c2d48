"""`account`: the account of the caller: its time zone, sensitive fields, what agents see, the words of replies."""

from __future__ import annotations

from typing import Final

import msgspec
from msgspec import UNSET, UnsetType

from calldex.access import ROLES, permit
from calldex.access.guard import permit_group
from calldex.admin.verb import MANAGE_ACCESS, Call, Nothing, Verb
from calldex.directory import Account
from calldex.records.vocabulary import Vocabulary


class AccountChanges(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is to become of the account; what is not sent stays."""

    timezone: str | UnsetType | None = UNSET
    sensitive: tuple[str, ...] | UnsetType = UNSET
    agents_see_own: bool | UnsetType = UNSET
    vocabulary: Vocabulary | UnsetType = UNSET


def show_account(call: Call, _: Nothing) -> Account:
    """Show the account."""
    return call.directory.account(call.actor.account)


def change_account(call: Call, changes: AccountChanges) -> Account:
    """Change the account.

    What is not sent stays. `vocabulary` (`documented` or `compatible`) is for keys that have none of their own. To
    change `sensitive` you need `see_sensitive`; to change `agents_see_own` you need what the role agent grants, and to
    see the records of everybody who has it.
    """
    call.noted.target = call.actor.account
    if changes.sensitive is not UNSET:
        permit(call.actor, ("see_sensitive",))
    if changes.agents_see_own is not UNSET:
        permit_group(call.actor, ROLES["agent"])
    given = {name: value for name in changes.__struct_fields__ if (value := getattr(changes, name)) is not UNSET}
    return call.directory.set_account(call.actor.account, **given, guard=call.guard)


VERBS: Final = (
    Verb("GET", "/account", show_account, MANAGE_ACCESS),
    Verb("PATCH", "/account", change_account, MANAGE_ACCESS, "account_changed"),
)

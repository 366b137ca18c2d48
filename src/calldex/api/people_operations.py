"""Operations on people: accounts, users, teams, groups, keys, names, and the question who sees what."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec
from msgspec import UNSET, UnsetType

from calldex import access
from calldex.access import Explanation
from calldex.api.operation import MAIN, Operation
from calldex.audit.chain import Action
from calldex.directory import (
    Account,
    GroupChanges,
    GroupInfo,
    Imported,
    Key,
    NamedKind,
    NameEntry,
    TeamChanges,
    TeamInfo,
    User,
    UserChanges,
)
from calldex.errors import BadParameters, Problem
from calldex.node import Node
from calldex.records.record import plain_uuid
from calldex.texts import PREFIX_LENGTH


def _given(changes: msgspec.Struct) -> str:
    """Which members changes have; not what is in them, which may be a number."""
    return ", ".join(name for name in changes.__struct_fields__ if getattr(changes, name) is not UNSET)


# --- accounts ---------------------------------------------------------------------------------------------------------


class AddAccount(Operation[Account], frozen=True, kw_only=True):
    """Add an account."""

    name: str
    timezone: str | None = None

    def run(self, node: Node) -> Account:
        """Do it."""
        account = node.directory.add_account(self.name, self.timezone)
        node.audit.owner("account_added", account.id, account.name)
        return account


class ListAccounts(Operation[list[Account]], frozen=True, kw_only=True):
    """Every account."""

    def run(self, node: Node) -> list[Account]:
        """Do it."""
        return node.directory.accounts()


class SetAccount(Operation[Account], frozen=True, kw_only=True):
    """Change an account; what is not given stays."""

    name: str
    timezone: str | UnsetType | None = UNSET
    sensitive: tuple[str, ...] | UnsetType = UNSET
    agents_see_own: bool | UnsetType = UNSET
    vocabulary: str | UnsetType = UNSET

    def run(self, node: Node) -> Account:
        """Do it."""
        account = node.directory.set_account(
            self.name,
            timezone=self.timezone,
            sensitive=self.sensitive,
            agents_see_own=self.agents_see_own,
            vocabulary=self.vocabulary,
        )
        node.audit.owner(
            "account_changed",
            account.id,
            account.name,
            sensitive=", ".join(account.sensitive),
            agents_see_own="yes" if account.agents_see_own else "no",
            vocabulary=account.vocabulary,
        )
        return account


# --- users ------------------------------------------------------------------------------------------------------------


class AddUser(Operation[User], frozen=True, kw_only=True):
    """Add a user to an account."""

    email: str
    name: str
    role: str | None = None
    account: str = MAIN
    groups: tuple[str, ...] = ()
    timezone: str | None = None
    extension: str | None = None
    sip_account: str | None = None
    caller_id: str | None = None
    skills: tuple[str, ...] = ()
    agent_id: int | None = None
    teams: tuple[int | str, ...] = ()
    supervises: tuple[int | str, ...] = ()

    def run(self, node: Node) -> User:
        """Do it."""
        user = node.directory.add_user(**msgspec.structs.asdict(self))
        node.audit.owner("user_added", user.account_id, user.email, groups=", ".join(user.sags))
        return user


class ListUsers(Operation[list[User]], frozen=True, kw_only=True):
    """The users of one account, or of all."""

    account: str | None = None

    def run(self, node: Node) -> list[User]:
        """Do it."""
        return node.directory.users(self.account)


class ShowUser(Operation[User], frozen=True, kw_only=True):
    """One user."""

    email: str

    def run(self, node: Node) -> User:
        """Do it."""
        return node.directory.user(self.email)


class ChangeUser(Operation[User], frozen=True, kw_only=True):
    """Change a user; what is not given stays."""

    email: str
    changes: UserChanges

    def run(self, node: Node) -> User:
        """Do it."""
        user = node.directory.change_user(self.email, self.changes)
        given, groups = _given(self.changes), ", ".join(user.sags)
        node.audit.owner("user_changed", user.account_id, self.email, changed=given, groups=groups)
        return user


class EnableUser(Operation[User], frozen=True, kw_only=True):
    """Let a user's keys work, or not."""

    email: str
    enabled: bool

    def run(self, node: Node) -> User:
        """Do it."""
        set_ = node.directory.enable_user if self.enabled else node.directory.disable_user
        user = set_(self.email)
        node.audit.owner("user_changed", user.account_id, user.email, enabled="yes" if self.enabled else "no")
        return user


class RemoveUser(Operation[User], frozen=True, kw_only=True):
    """Remove a user with his keys; his records stay."""

    email: str

    def run(self, node: Node) -> User:
        """Do it."""
        user = node.directory.remove_user(self.email)
        node.audit.owner("user_removed", user.account_id, user.email)
        return user


class ImportUsers(Operation[Imported], frozen=True, kw_only=True):
    """Add and change the users that a CSV file lists, all or none."""

    account: str
    text: bytes

    def run(self, node: Node) -> Imported:
        """Do it."""
        done = node.directory.import_users(self.account, self.text)
        account_id = node.directory.account(self.account).id
        node.audit.owner("user_changed", account_id, "imported", added=done.added, changed=done.changed)
        return done


# --- keys -------------------------------------------------------------------------------------------------------------


class CreateKey(Operation[str], frozen=True, kw_only=True):
    """A new key of a user, shown this once; `expires_at` in epoch milliseconds."""

    email: str
    scopes: tuple[str, ...]
    expires_at: int | None = None
    networks: tuple[str, ...] = ()
    vocabulary: str | None = None

    def run(self, node: Node) -> str:
        """Do it."""
        text = node.directory.create_key(
            self.email,
            self.scopes,
            expires_at=self.expires_at,
            networks=self.networks,
            vocabulary=self.vocabulary,
        )
        user = node.directory.user(self.email)
        scopes = ", ".join(self.scopes)
        node.audit.owner("key_created", user.account_id, user.email, key=text[:PREFIX_LENGTH], scope=scopes)
        return text


class ListKeys(Operation[list[Key]], frozen=True, kw_only=True):
    """The keys of one user, or of all."""

    email: str | None = None

    def run(self, node: Node) -> list[Key]:
        """Do it."""
        node.directory.flush_touches()
        return node.directory.list_keys(self.email)


class SetKey(Operation[Key], frozen=True, kw_only=True):
    """Give a key, named as `RevokeKey` has it, a vocabulary of its own, or take it away."""

    reference: str
    vocabulary: str | None

    def run(self, node: Node) -> Key:
        """Do it."""
        key = node.directory.set_key(self.reference, self.vocabulary)
        account_id, said = node.directory.user(key.email).account_id, self.vocabulary or "the account's"
        node.audit.owner("key_changed", account_id, key.email, key=key.prefix, vocabulary=said)
        return key


class RevokeKey(Operation[Key], frozen=True, kw_only=True):
    """Make a key useless; it is named by its id, its prefix or itself."""

    reference: str

    def run(self, node: Node) -> Key:
        """Do it."""
        key = node.directory.revoke_key(self.reference)
        node.audit.owner("key_revoked", node.directory.user(key.email).account_id, key.email, key=key.prefix)
        return key


# --- teams ------------------------------------------------------------------------------------------------------------


class ListTeams(Operation[list[TeamInfo]], frozen=True, kw_only=True):
    """The teams of an account."""

    account: str

    def run(self, node: Node) -> list[TeamInfo]:
        """Do it."""
        return node.directory.teams(self.account)


class PutTeam(Operation[TeamInfo], frozen=True, kw_only=True):
    """Change a team, or add one, as `Directory.put_team` says."""

    account: str
    team: int | str | None
    changes: TeamChanges

    def run(self, node: Node) -> TeamInfo:
        """Do it."""
        team = node.directory.put_team(self.account, self.team, self.changes)
        action: Action = "team_added" if self.team is None else "team_changed"
        account_id = node.directory.account(self.account).id
        node.audit.owner(action, account_id, team.name, id=team.id, changed=_given(self.changes))
        return team


class RemoveTeam(Operation[TeamInfo], frozen=True, kw_only=True):
    """Remove a team; the records of its time stay."""

    account: str
    team: int | str

    def run(self, node: Node) -> TeamInfo:
        """Do it."""
        team = node.directory.remove_team(self.account, self.team)
        node.audit.owner("team_removed", node.directory.account(self.account).id, team.name, id=team.id)
        return team


class ImportTeams(Operation[Imported], frozen=True, kw_only=True):
    """Add and change the teams that a CSV file lists, all or none."""

    account: str
    text: bytes

    def run(self, node: Node) -> Imported:
        """Do it."""
        done = node.directory.import_teams(self.account, self.text)
        account_id = node.directory.account(self.account).id
        node.audit.owner("team_changed", account_id, "imported", added=done.added, changed=done.changed)
        return done


# --- groups -----------------------------------------------------------------------------------------------------------


class ListGroups(Operation[list[GroupInfo]], frozen=True, kw_only=True):
    """The roles and the groups of an account."""

    account: str

    def run(self, node: Node) -> list[GroupInfo]:
        """Do it."""
        return node.directory.groups(self.account)


class GroupPut(GroupInfo, frozen=True, kw_only=True):
    """A group that was put, and what of its reach no record has named yet, in words."""

    unknown: tuple[str, ...]


class PutGroup(Operation[GroupPut], frozen=True, kw_only=True):
    """Change a group, or add one, of None. `reached` are ids and names that its reach is to have as well, by kind."""

    account: str
    group: int | str | None
    changes: GroupChanges
    reached: Mapping[NamedKind, tuple[int | str, ...]] = msgspec.field(default_factory=dict)

    def run(self, node: Node) -> GroupPut:
        """Do it."""
        changes, unknown = self._meant(node)
        group = node.directory.put_group(self.account, self.group, changes)
        action: Action = "group_added" if self.group is None else "group_changed"
        permissions, reach = ", ".join(group.permissions), msgspec.json.encode(group.reach).decode()
        account_id = node.directory.account(self.account).id
        node.audit.owner(action, account_id, group.name, permissions=permissions, reach=reach)
        return GroupPut(**msgspec.structs.asdict(group), unknown=unknown)

    def _meant(self, node: Node) -> tuple[GroupChanges, tuple[str, ...]]:
        """The changes with ids for what is to be reached, and those of them that nothing has yet."""
        if self.changes.reach is UNSET:
            return self.changes, ()
        account_id = node.directory.account(self.account).id
        ids, unknown = {}, []
        for kind, refs in self.reached.items():
            ids[f"{kind}s"] = node.directory.meant(account_id, kind, kind, refs)
            known = {each.id for each in node.directory.lookup(account_id, kind)}
            unknown += [f"{kind} {id_}" for id_ in ids[f"{kind}s"] if id_ not in known]
        reach = msgspec.structs.replace(self.changes.reach, **ids)
        return msgspec.structs.replace(self.changes, reach=reach), tuple(unknown)


class RemoveGroup(Operation[GroupInfo], frozen=True, kw_only=True):
    """Remove a group."""

    account: str
    group: int | str

    def run(self, node: Node) -> GroupInfo:
        """Do it."""
        group = node.directory.remove_group(self.account, self.group)
        node.audit.owner("group_removed", node.directory.account(self.account).id, group.name)
        return group


# --- names ------------------------------------------------------------------------------------------------------------


class ListNames(Operation[list[NameEntry]], frozen=True, kw_only=True):
    """What things of a kind are called in an account."""

    account: str
    kind: NamedKind

    def run(self, node: Node) -> list[NameEntry]:
        """Do it."""
        return node.directory.names(self.account, self.kind)


class SetName(Operation[NameEntry], frozen=True, kw_only=True):
    """Set what something is called."""

    account: str
    kind: NamedKind
    key: int | str
    name: str

    def run(self, node: Node) -> NameEntry:
        """Do it."""
        entry = node.directory.set_name(self.account, self.kind, self.key, self.name)
        node.audit.owner("name_changed", node.directory.account(self.account).id, f"{self.kind} {self.key}")
        return entry


class RemoveName(Operation[None], frozen=True, kw_only=True):
    """Forget what something is called."""

    account: str
    kind: NamedKind
    key: int | str

    def run(self, node: Node) -> None:
        """Do it."""
        node.directory.remove_name(self.account, self.kind, self.key)
        node.audit.owner("name_removed", node.directory.account(self.account).id, f"{self.kind} {self.key}")


# --- who sees what ----------------------------------------------------------------------------------------------------


class ExplainAccess(Operation[Explanation], frozen=True, kw_only=True):
    """What a user may see, by which groups; and whether he sees the record of a uuid."""

    email: str
    record: str | None = None

    def run(self, node: Node) -> Explanation:
        """Do it."""
        principal = node.directory.principal(self.email)
        if self.record is None:
            return access.explain(principal)
        uuid = plain_uuid(self.record)
        if uuid is None:
            raise BadParameters([Problem("record", self.record[:100], "is not a uuid", "the uuid of a record")])
        return access.explain(principal, node.record(node.owner(principal.account), uuid))

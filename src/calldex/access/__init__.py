"""Who may see what: the only place that decides.

A `Principal` is somebody who proved who they are. `scope_of` turns them into the `Scope` without which no query can be
made: the rows they may see, and the `Mask` that lies over them. Deny by default: what no group grants is not seen
anywhere. Pure; knows neither engine nor wire, and changes no record (that is for `masking`).

A group has permissions and a reach. Of somebody who is in several groups, permissions unite and reaches unite. A key
or a session only narrows: of its user's permissions, those of its scopes are left.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Final, Literal, get_args

import msgspec

from calldex.errors import Forbidden
from calldex.records.fields import COLUMN, DETAILS, RECORDINGS, Filter, Kind, Op
from calldex.records.record import Cdr
from calldex.records.vocabulary import Vocabulary

Role = Literal["admin", "supervisor", "analyst", "agent", "hardware_phone"]
"""The contract's roles: groups that every account has and nobody changes."""
Permission = Literal[
    "see_cdrs",
    "see_details",
    "listen",
    "download_recordings",
    "export",
    "see_numbers",
    "match_numbers",
    "see_sensitive",
    "ingest",
    "manage_users",
    "manage_access",
    "read_audit",
    "mark_missed",
    "share_views",
]
PERMISSIONS: Final[Mapping[Permission, str]] = {
    "see_cdrs": "see the records within reach",
    "see_details": "see their events and legs",
    "listen": "play their recordings",
    "download_recordings": "download their recordings",
    "export": "export them to files",
    "see_numbers": "see full telephone numbers, and search parts of them",
    "match_numbers": "find the records of one full number, where numbers are masked",
    "see_sensitive": "see the fields that the account lists as sensitive",
    "ingest": "write records",
    "manage_users": "manage users, teams, keys and names",
    "manage_access": "manage groups, and who is in them",
    "read_audit": "read the audit",
    "mark_missed": "mark missed calls as done",
    "share_views": "share saved searches with the account",
}
KeyScope = Literal["read", "ingest", "manage"]
SCOPES: Final[Mapping[KeyScope, frozenset[Permission]]] = {
    "read": frozenset(
        (
            "see_cdrs",
            "see_details",
            "listen",
            "download_recordings",
            "export",
            "see_numbers",
            "match_numbers",
            "see_sensitive",
        )
    ),
    "ingest": frozenset(("ingest",)),
    "manage": frozenset(("manage_users", "manage_access", "read_audit", "mark_missed", "share_views")),
}
"""The permissions that a key with this scope leaves to its user; every permission is in one of them."""


class Reach(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """The rows a group grants: the union of all that is named here. Of nothing, none."""

    whole: bool = False
    """The whole account."""
    own: bool = False
    """Those whose agent the user is."""
    supervised: bool = False
    """Those of the teams they supervise, and of the queues of these teams."""
    teams: tuple[int, ...] = ()
    """Those whose agent was in one of these teams when the interaction took place."""
    queues: tuple[int, ...] = ()
    campaigns: tuple[int, ...] = ()
    agents: tuple[int, ...] = ()


class Group(msgspec.Struct, frozen=True, kw_only=True):
    """What those who are in it may do, and within which rows. `id` is None for the contract's roles."""

    id: int | None
    name: str
    permissions: tuple[Permission, ...]
    reach: Reach


_READS: Final[tuple[Permission, ...]] = tuple(p for p in get_args(Permission) if p in SCOPES["read"])
ROLES: Final[Mapping[Role, Group]] = {
    "admin": Group(id=None, name="Admin", permissions=get_args(Permission), reach=Reach(whole=True)),
    "supervisor": Group(
        id=None,
        name="Supervisor",
        permissions=(*_READS, "mark_missed", "share_views"),
        reach=Reach(supervised=True),
    ),
    "analyst": Group(id=None, name="Analyst", permissions=_READS, reach=Reach(whole=True)),
    "agent": Group(id=None, name="Agent", permissions=_READS, reach=Reach(own=True)),
    "hardware_phone": Group(id=None, name="Hardware phone", permissions=(), reach=Reach()),
}


class Principal(msgspec.Struct, frozen=True, kw_only=True):
    """Somebody who proved who they are, with all that decides what they may.

    `supervised_teams` are the teams they supervise, `supervised_queues` the queues of those. `sensitive` are the fields
    their account lists as such. `scopes` are those of the key or session they came with, `vocabulary` is the one in
    which it gets replies, `credential` what it is called in logs: the prefix of the key, or `session`.
    """

    account_id: int
    account: str
    user_id: int
    email: str
    agent_id: int
    timezone: str
    groups: tuple[Group, ...]
    supervised_teams: tuple[int, ...] = ()
    supervised_queues: tuple[int, ...] = ()
    sensitive: tuple[str, ...] = ()
    scopes: tuple[KeyScope, ...] = get_args(KeyScope)
    vocabulary: Vocabulary | None = None
    credential: str


def owner_of(account_id: int, account: str, timezone: str) -> Principal:
    """The owner of the data directory at work in an account: nobody is asked to prove it who can read the files."""
    return Principal(
        account_id=account_id,
        account=account,
        user_id=0,
        email="owner",
        agent_id=0,
        timezone=timezone,
        groups=(ROLES["admin"],),
        credential="",
    )


class Mask(msgspec.Struct, frozen=True):
    """What is withheld of the rows that are seen: whether telephone numbers are, whether a full one may be looked for
    all the same, and the names of the fields that are empty."""

    numbers: bool = False
    match: bool = True
    hidden: tuple[str, ...] = ()


NO_MASK: Final = Mask()


class Scope(msgspec.Struct, frozen=True, kw_only=True):
    """The rows a principal may see, their mask, and the vocabulary in which they are served (None: as they are kept).

    Those of one account: all of them if `whole`, else those of these teams, queues, campaigns or agents; of none of
    these, none.
    """

    account_id: int
    whole: bool = False
    teams: tuple[int, ...] = ()
    queues: tuple[int, ...] = ()
    campaigns: tuple[int, ...] = ()
    agents: tuple[int, ...] = ()
    mask: Mask = NO_MASK
    vocabulary: Vocabulary | None = None

    @property
    def nothing(self) -> bool:
        """Whether no row is granted."""
        return not (self.whole or self.teams or self.queues or self.campaigns or self.agents)

    def fingerprint(self) -> bytes:
        """16 bytes that differ when rows, mask or vocabulary differ; a search token remembers them."""
        return _fingerprint(self)

    def admits(self, cdr: Cdr) -> bool:
        """Whether a record of the account is among the rows."""
        return (
            self.whole
            or cdr.agent_id in self.agents
            or cdr.queue_id in self.queues
            or cdr.campaign_id in self.campaigns
            or any(team.id in self.teams for team in cdr.teams)
        )

    def covers(self, other: Scope) -> bool:
        """Whether every row of another scope is surely one of these as well."""
        return self.account_id == other.account_id and (
            self.whole
            or (
                not other.whole
                and set(other.teams) <= set(self.teams)
                and set(other.queues) <= set(self.queues)
                and set(other.campaigns) <= set(self.campaigns)
                and set(other.agents) <= set(self.agents)
            )
        )


@lru_cache(maxsize=4096)
def _fingerprint(scope: Scope) -> bytes:
    return hashlib.blake2b(msgspec.msgpack.encode(scope), digest_size=16).digest()


# --- deciding ---------------------------------------------------------------------------------------------------------


@lru_cache(maxsize=4096)
def permissions_of(principal: Principal) -> frozenset[Permission]:
    """What a principal may do."""
    granted = {permission for group in principal.groups for permission in group.permissions}
    return frozenset(granted & {permission for scope in principal.scopes for permission in SCOPES[scope]})


def permit(actor: Principal, needed: Sequence[Permission]) -> None:
    """`Forbidden`, naming what is missing, if an actor has none of these permissions."""
    if permissions_of(actor).intersection(needed):
        return
    names = " or ".join(needed)
    granted = {permission for group in actor.groups for permission in group.permissions}
    if granted.intersection(needed):
        scope = next(scope for scope, permissions in SCOPES.items() if needed[0] in permissions)
        raise Forbidden(f"this key is for {', '.join(actor.scopes)} only; {names} needs one for {scope}")
    raise Forbidden(f"none of your groups grants {names} ({PERMISSIONS[needed[0]]})")


def permit_recording(actor: Principal, needed: Permission, *, leg: bool) -> None:
    """`Forbidden` for whom recordings, or where it is one of a `leg`, legs, are not."""
    permit(actor, (needed,))
    hidden = scope_of(actor).mask.hidden
    if "recording" in hidden or (leg and "legs" in hidden):
        raise Forbidden("recordings are among the fields that are hidden from you")


@lru_cache(maxsize=4096)
def scope_of(principal: Principal) -> Scope:
    """What a principal may see: nothing, unless they may see records at all."""
    permissions = permissions_of(principal)
    if "see_cdrs" not in permissions:
        return Scope(account_id=principal.account_id, vocabulary=principal.vocabulary)
    lines = [line for group in principal.groups for line in reach_lines(principal, group)]
    whole = any(line.whole for line in lines)
    return Scope(
        account_id=principal.account_id,
        whole=whole,
        teams=() if whole else _united(line.teams for line in lines),
        queues=() if whole else _united(line.queues for line in lines),
        campaigns=() if whole else _united(line.campaigns for line in lines),
        agents=() if whole else _united(line.agents for line in lines),
        mask=_mask_for(permissions, principal.sensitive),
        vocabulary=principal.vocabulary,
    )


def _united(ids: Iterable[tuple[int, ...]]) -> tuple[int, ...]:
    return tuple(sorted({id_ for each in ids for id_ in each}))


def _mask_for(permissions: frozenset[Permission], sensitive: tuple[str, ...]) -> Mask:
    hidden: set[str] = set()
    if "see_details" not in permissions:
        hidden |= DETAILS
    if not permissions & {"listen", "download_recordings"}:
        hidden |= RECORDINGS
    if "see_sensitive" not in permissions:
        hidden |= set(sensitive)
    sees = "see_numbers" in permissions
    return Mask(numbers=not sees, match=sees or "match_numbers" in permissions, hidden=tuple(sorted(hidden)))


def needed_for(filter_: Filter, mask: Mask) -> Permission | None:
    """The permission without which a filter would tell what the mask withholds; None where it may be used."""
    column = COLUMN.get(filter_.column)
    if column is None:
        return None
    if filter_.op is Op.LACKS and column.kind is Kind.PHONE:
        return None  # a mask leaves empty what is
    if column.kind is Kind.PHONE and mask.numbers:
        if filter_.op is not Op.IS:
            return "see_numbers"
        return None if mask.match else "match_numbers"
    if column.attribute in mask.hidden:
        if column.attribute in RECORDINGS:
            return "listen"
        return "see_details" if column.attribute in DETAILS else "see_sensitive"
    if column.kind in {Kind.TEXT_SET, Kind.PASSED} and mask.numbers and not mask.match:
        return "match_numbers"  # somebody may have written a number among them
    return None


def outranks(actor: Principal, other: Principal) -> bool:
    """Whether an actor may do everything that another may, and see all that they see: the condition for giving them
    rights, or a key, or a password, and for taking them away. Nobody hands out what they do not have."""
    return permissions_of(other) <= permissions_of(actor) and scope_of(actor).covers(scope_of(other))


# --- explaining -------------------------------------------------------------------------------------------------------

By = Literal["whole", "own", "supervised", "teams", "queues", "campaigns", "agents"]


class ReachLine(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One part of a group's reach, with the ids it stands for in one principal's case."""

    group: str
    by: By
    whole: bool = False
    teams: tuple[int, ...] = ()
    queues: tuple[int, ...] = ()
    campaigns: tuple[int, ...] = ()
    agents: tuple[int, ...] = ()


def reach_lines(principal: Principal, group: Group) -> Iterator[ReachLine]:
    """The parts of a group's reach."""
    reach = group.reach
    if reach.whole:
        yield ReachLine(group=group.name, by="whole", whole=True)
    if reach.own:
        yield ReachLine(group=group.name, by="own", agents=(principal.agent_id,))
    if reach.supervised:
        yield ReachLine(
            group=group.name,
            by="supervised",
            teams=principal.supervised_teams,
            queues=principal.supervised_queues,
        )
    if reach.teams:
        yield ReachLine(group=group.name, by="teams", teams=reach.teams)
    if reach.queues:
        yield ReachLine(group=group.name, by="queues", queues=reach.queues)
    if reach.campaigns:
        yield ReachLine(group=group.name, by="campaigns", campaigns=reach.campaigns)
    if reach.agents:
        yield ReachLine(group=group.name, by="agents", agents=reach.agents)


class Verdict(msgspec.Struct, frozen=True, kw_only=True):
    """Whether a principal sees one record: by which parts of their reach, and which parts do not hold it."""

    visible: bool
    by: tuple[ReachLine, ...]
    not_by: tuple[ReachLine, ...]
    reason: str


class Explanation(msgspec.Struct, frozen=True, kw_only=True):
    """What a principal may, and by which groups. `withheld` are permissions that their groups grant and their key or
    session does not leave to them."""

    email: str
    groups: tuple[str, ...]
    permissions: dict[Permission, tuple[str, ...]]
    withheld: tuple[Permission, ...]
    reach: tuple[ReachLine, ...]
    mask: Mask
    record: Verdict | None = None


def explain(principal: Principal, record: Cdr | None = None) -> Explanation:
    """What a principal may see and by which group; of a record, why they see it or why not."""
    allowed = permissions_of(principal)
    granted = {
        permission: tuple(group.name for group in principal.groups if permission in group.permissions)
        for permission in get_args(Permission)
    }
    lines = tuple(line for group in principal.groups for line in reach_lines(principal, group))
    return Explanation(
        email=principal.email,
        groups=tuple(group.name for group in principal.groups),
        permissions={permission: groups for permission, groups in granted.items() if permission in allowed},
        withheld=tuple(permission for permission, groups in granted.items() if groups and permission not in allowed),
        reach=lines,
        mask=_mask_for(allowed, principal.sensitive),
        record=None if record is None else _verdict(principal, lines, record),
    )


def _verdict(principal: Principal, lines: tuple[ReachLine, ...], record: Cdr) -> Verdict:
    def admits(line: ReachLine) -> bool:
        scope = Scope(
            account_id=principal.account_id,
            whole=line.whole,
            teams=line.teams,
            queues=line.queues,
            campaigns=line.campaigns,
            agents=line.agents,
        )
        return scope.admits(record)

    by = tuple(line for line in lines if admits(line))
    may = "see_cdrs" in permissions_of(principal)
    if not may:
        reason = "none of their groups, as narrowed by the key, grants see_cdrs"
    elif by:
        reason = "it lies within the reach of " + ", ".join(dict.fromkeys(line.group for line in by))
    elif lines:
        reason = "no part of their reach holds its agent, queue, campaign or teams"
    else:
        reason = "none of their groups reaches any record"
    return Verdict(
        visible=may and bool(by), by=by, not_by=tuple(line for line in lines if line not in by), reason=reason
    )

"""What the directory gives and takes: its structs, and the checks on what people type.

Pure; no database here.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from itertools import islice
from typing import Any, Final, Literal, get_args

import msgspec
from msgspec import UNSET, UnsetType

from calldex.access import ROLES, KeyScope, Permission, Principal, Reach, Role
from calldex.errors import MOST_PROBLEMS, BadParameters, Problem, suggest
from calldex.networks import Networks
from calldex.records.fields import SENSITIVE
from calldex.records.record import NamedKind
from calldex.records.vocabulary import Vocabulary
from calldex.zones import timezones

MOST_SKILLS: Final = 100
MOST_TEAMS: Final = 50
MOST_GROUPS: Final = 100
MOST_KEY_NETWORKS: Final = 50
MOST_IDS: Final = 1_000
"""How many ids a list of a reach, and the queues of a team, may hold."""
MOST_MEMBERS: Final = 10_000
"""How many agents, and how many supervisors, a team may be given at once."""


class Account(msgspec.Struct, frozen=True):
    """One contact centre; nothing of it is ever seen from another.

    `sensitive` are the fields that only those see who may see sensitive ones; `agents_see_own` says whether the role
    agent grants anything, `vocabulary` by which words its replies call kinds of interactions.
    """

    id: int
    name: str
    timezone: str | None
    sensitive: tuple[str, ...] = ()
    agents_see_own: bool = True
    vocabulary: Vocabulary = "documented"


class User(msgspec.Struct, frozen=True, kw_only=True):
    """A person (or a phone) of an account.

    `agent_id` is the id under which they appear in records; `timezone` their own, `effective_timezone` that in which
    their days are cut: their own, else the account's, else UTC. Times are epoch milliseconds; one with `disabled_at`
    can do nothing. `groups` are the names of those they are in beside their role; `teams` and `supervises` are team
    ids in order.
    """

    id: int
    account_id: int
    account: str
    email: str
    name: str
    role: Role | None
    groups: tuple[str, ...]
    timezone: str | None
    effective_timezone: str
    extension: str | None
    sip_account: str | None
    caller_id: str | None
    skills: tuple[str, ...]
    agent_id: int
    created_at: int
    disabled_at: int | None
    teams: tuple[int, ...]
    supervises: tuple[int, ...]

    @property
    def sags(self) -> tuple[str, ...]:
        """The names of all their access groups, that of their role first."""
        return (*(() if self.role is None else (ROLES[self.role].name,)), *self.groups)


class UserChanges(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """What is to become of a user; what is not given stays, None takes away.

    `groups` are names of the account's groups, `teams` and `supervises` ids or names of its teams: each list replaces
    the one they have.
    """

    email: str | UnsetType = UNSET
    name: str | UnsetType = UNSET
    role: str | UnsetType | None = UNSET
    groups: tuple[str, ...] | UnsetType = UNSET
    timezone: str | UnsetType | None = UNSET
    extension: str | UnsetType | None = UNSET
    sip_account: str | UnsetType | None = UNSET
    caller_id: str | UnsetType | None = UNSET
    skills: tuple[str, ...] | UnsetType = UNSET
    agent_id: int | UnsetType = UNSET
    teams: tuple[int | str, ...] | UnsetType = UNSET
    supervises: tuple[int | str, ...] | UnsetType = UNSET
    disabled: bool | UnsetType = UNSET

    def problems(self) -> Iterable[Problem]:
        """What is wrong with it whoever the user is."""
        if self.email is not UNSET:
            yield from email_problem(self.email)
        if self.role is not UNSET and self.role is not None:
            yield from role_problem(self.role)
        if self.timezone is not UNSET:
            yield from timezone_problem(self.timezone)
        if self.name is not UNSET:
            yield from text_problem("name", self.name, 200)
        for name in ("extension", "sip_account", "caller_id"):
            given = getattr(self, name)
            if given is not UNSET:
                yield from text_problem(name, given, 64)
        if self.agent_id is not UNSET:
            yield from id_problem("agent_id", self.agent_id)
        if self.skills is not UNSET:
            yield from _most("skills", self.skills, MOST_SKILLS)
            for skill in self.skills:
                yield from text_problem("skills", skill, 64)
        for name, most in (("groups", MOST_GROUPS), ("teams", MOST_TEAMS), ("supervises", MOST_TEAMS)):
            yield from _most(name, () if getattr(self, name) is UNSET else getattr(self, name), most)


class GroupInfo(msgspec.Struct, frozen=True, kw_only=True):
    """An access group with the e-mail addresses of those who are in it. `system` ones are the contract's roles, which
    nobody changes and which have no id."""

    id: int | None
    name: str
    permissions: tuple[Permission, ...]
    reach: Reach
    members: tuple[str, ...]
    system: bool


class GroupChanges(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """What is to become of a group; what is not given stays."""

    name: str | UnsetType = UNSET
    permissions: tuple[str, ...] | UnsetType = UNSET
    reach: Reach | UnsetType = UNSET

    def problems(self) -> Iterable[Problem]:
        """What is wrong with it whichever the group is."""
        if self.name is not UNSET:
            yield from group_name_problem(self.name)
        if self.permissions is not UNSET:
            for permission in self.permissions:
                yield from _word_problem("permissions", permission, get_args(Permission), "permission")
        if self.reach is not UNSET:
            for name in ("teams", "queues", "campaigns", "agents"):
                yield from ids_problem(f"reach.{name}", getattr(self.reach, name))


class TeamInfo(msgspec.Struct, frozen=True, kw_only=True):
    """A team: the ids of its queues, and the e-mail addresses of its agents and of those who supervise it, now."""

    id: int
    name: str
    queues: tuple[int, ...]
    agents: tuple[str, ...]
    supervisors: tuple[str, ...]


class TeamChanges(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """What is to become of a team; what is not given stays. Each list replaces the one it has: `queues` ids or names,
    `agents` and `supervisors` e-mail addresses."""

    name: str | UnsetType = UNSET
    queues: tuple[int | str, ...] | UnsetType = UNSET
    agents: tuple[str, ...] | UnsetType = UNSET
    supervisors: tuple[str, ...] | UnsetType = UNSET

    def problems(self) -> Iterable[Problem]:
        """What is wrong with it whichever the team is."""
        if self.name is not UNSET:
            yield from text_problem("name", self.name, 200)
        if self.queues is not UNSET:
            yield from ids_problem("queues", self.queues)
        for name in ("agents", "supervisors"):
            yield from _most(name, () if getattr(self, name) is UNSET else getattr(self, name), MOST_MEMBERS)


Done = Literal["added", "changed", "unchanged"]
"""What became of a user or a team that was given."""


class Imported(msgspec.Struct, frozen=True):
    """How many users or teams an import added, how many it changed, and how many were already so."""

    added: int
    changed: int
    unchanged: int

    @classmethod
    def of(cls, done: Iterable[Done]) -> Imported:
        """Counted."""
        count = Counter(done)
        return cls(count["added"], count["changed"], count["unchanged"])


class ListedUser(msgspec.Struct, frozen=True, kw_only=True):
    """A user as the contract's list of users shows them; `sag` are the names of their access groups."""

    id: int
    name: str
    email: str
    extension: str | None
    sag: str
    timezone: str
    agent_in_teams: str
    supervisor_in_teams: str
    assigned_skills: str


class UserFilter(msgspec.Struct, frozen=True, kw_only=True):
    """Which users of an account: those that fit everything that is not None.

    `name` and `email` match a part, the others the whole; letter case does not count. `timezone` is the effective one,
    `sag` one of the user's access groups, or all of them as they are listed.
    """

    name: str | None = None
    email: str | None = None
    sip_account: str | None = None
    sag: str | None = None
    extension: str | None = None
    caller_id: str | None = None
    timezone: str | None = None

    def matches(self, user: User) -> bool:
        """Whether a user is one of them."""
        parts = ((self.name, user.name), (self.email, user.email))
        wholes = (
            (self.sip_account, user.sip_account),
            (self.extension, user.extension),
            (self.caller_id, user.caller_id),
            (self.timezone, user.effective_timezone),
        )
        return (
            all(wanted is None or wanted.casefold() in has.casefold() for wanted, has in parts)
            and all(
                wanted is None or (has is not None and wanted.casefold() == has.casefold()) for wanted, has in wholes
            )
            and (self.sag is None or self.sag.casefold() in map(str.casefold, (*user.sags, ", ".join(user.sags))))
        )


class KeyOwner(Principal, frozen=True, kw_only=True):
    """Whose a valid key is, and where and how long it is one: within these networks, of none everywhere, and until
    `expires_at`, in epoch milliseconds."""

    key_id: int
    networks: tuple[str, ...] = ()
    expires_at: int | None = None


class Key(msgspec.Struct, frozen=True, kw_only=True):
    """A user API key as it is listed: never the key itself. Times are epoch milliseconds. Without a
    `vocabulary` it has that of its account."""

    id: int
    prefix: str
    scopes: tuple[KeyScope, ...]
    networks: tuple[str, ...]
    email: str
    created_at: int
    last_used_at: int | None
    revoked_at: int | None
    expires_at: int | None
    vocabulary: Vocabulary | None


class Seen(msgspec.Struct, frozen=True, gc=False):
    """That a record called `key` (an id, or the code of a wrap-up code) by `name` at epoch millisecond `at_ms`."""

    kind: NamedKind
    key: int | str
    name: str | None
    at_ms: int


class Named(msgspec.Struct, frozen=True, order=True):
    """An entry of a look-up."""

    id: int
    name: str


class NameEntry(msgspec.Struct, frozen=True):
    """What something is called: by its id, or by the code of a wrap-up code. A `pinned` name was set by somebody and is
    not changed by records."""

    key: int | str
    name: str
    pinned: bool


class WrapupCode(msgspec.Struct, frozen=True):
    """An entry of the look-up of wrap-up codes."""

    code: str
    description: str


class Source(msgspec.Struct, frozen=True, kw_only=True):
    """Where records come from, in which format, and how that is to be read; when it last delivered something, and when
    the newest of its calls began, as far as that is known."""

    id: int
    account_id: int
    account: str
    name: str
    format: str
    settings: dict[str, str]
    created_at: int
    last_ingest_at: int | None = None
    newest_started_at: int | None = None


MAX_MS: Final = 253_402_300_800_000
"""The year 10000."""
_EMAIL: Final = re.compile(r"[^@\s\x00-\x1f\x7f]+@[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?(?:\.[A-Za-z0-9-]+)*")
_HANDLE: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


def email_problem(email: str) -> Iterable[Problem]:
    """What is wrong with an e-mail address."""
    if len(email) > 254 or not _EMAIL.fullmatch(email):
        yield Problem("email", email[:100], "is not an e-mail address", "name@domain, up to 254 characters")


def role_problem(role: str) -> Iterable[Problem]:
    """What is wrong with the name of a role."""
    yield from _word_problem("role", role, get_args(Role))


def scopes_problem(scopes: tuple[str, ...]) -> Iterable[Problem]:
    """What is wrong with the scopes of a key."""
    for scope in scopes:
        yield from _word_problem("scopes", scope, get_args(KeyScope), "scope")
    if not scopes or len(set(scopes)) < len(scopes):
        yield Problem("scopes", ",".join(scopes)[:100], "is none, or one twice", ", ".join(get_args(KeyScope)))


def _word_problem(parameter: str, given: str, words: tuple[str, ...], noun: str = "") -> Iterable[Problem]:
    if given not in words:
        message = f"there is no such {noun or parameter}{suggest(given, words)}"
        yield Problem(parameter, given[:100], message, ", ".join(words))


def vocabulary_problem(vocabulary: str | None) -> Iterable[Problem]:
    """What is wrong with the name of a vocabulary."""
    if vocabulary is not None:
        yield from _word_problem("vocabulary", vocabulary, get_args(Vocabulary))


def networks_problem(networks: tuple[str, ...]) -> Iterable[Problem]:
    """What is wrong with the networks of a key."""
    yield from _most("networks", networks, MOST_KEY_NETWORKS)
    for network in networks:
        try:
            Networks((network,))
        except ValueError as error:
            yield Problem("networks", network[:100], f"is not a network: {str(error)[:200]}", "as 10.0.0.0/8 or ::1")


def expiry_problem(expires_at: int | None, now: int) -> Iterable[Problem]:
    """What is wrong with the time at which a key ends, in epoch milliseconds."""
    if expires_at is not None and not now < expires_at < MAX_MS:
        valid = "a time in the future, up to the year 9999"
        yield Problem("expires_at", str(expires_at)[:100], "must be in the future", valid)


def sensitive_problem(sensitive: Iterable[str]) -> Iterable[Problem]:
    """What is wrong with the fields that an account lists as sensitive."""
    for name in sensitive:
        yield from _word_problem("sensitive", name, SENSITIVE, "field that can be sensitive")


def group_name_problem(name: str) -> Iterable[Problem]:
    """What is wrong with the name of a group: it is listed between commas, and typed where an id may be typed."""
    taken = {word.casefold() for role, group in ROLES.items() for word in (role, group.name)}
    if name.casefold() in taken:
        yield Problem("name", name, "is the name of a role", "another name")
    elif name.isdecimal() or "," in name or ";" in name or name != name.strip():
        yield Problem(
            "name",
            name[:100],
            "cannot be the name of a group",
            "not only digits, no commas, semicolons or outer spaces",
        )
    else:
        yield from text_problem("name", name, 64)


def id_problem(parameter: str, id_: int) -> Iterable[Problem]:
    """What is wrong with an id."""
    if not 1 <= id_ < 2**53:
        yield Problem(parameter, str(id_)[:100], "is not an id", "a whole number from 1 to 9007199254740991")


def ids_problem(parameter: str, ids: tuple[int | str, ...]) -> Iterable[Problem]:
    """What is wrong with a list of ids, and of names among them as far as their number goes."""
    yield from _most(parameter, ids, MOST_IDS)
    for each in ids:
        if isinstance(each, int):
            yield from id_problem(parameter, each)


def _most(parameter: str, many: tuple[Any, ...], most: int) -> Iterable[Problem]:
    if len(many) > most:
        yield Problem(parameter, str(len(many)), "are too many", f"up to {most}")


def timezone_problem(timezone: str | None) -> Iterable[Problem]:
    """What is wrong with the name of a time zone."""
    if timezone is not None and timezone not in timezones():
        message = f"is not a time zone{suggest(timezone, timezones())}"
        yield Problem("timezone", timezone[:100], message, "an IANA name such as Europe/London, or UTC")


def handle_problem(parameter: str, name: str) -> Iterable[Problem]:
    """What is wrong with a name that people type on command lines."""
    if len(name) > 64 or not _HANDLE.fullmatch(name):
        yield Problem(
            parameter,
            name[:100],
            "is not a usable name",
            "up to 64 letters, digits, dots, dashes and underscores, the first a letter or digit",
        )


def text_problem(parameter: str, text: str | None, longest: int) -> Iterable[Problem]:
    """What is wrong with a text that may have any characters that can be shown."""
    if text is not None and not (0 < len(text) <= longest and text.isprintable() and not text.isspace()):
        yield Problem(parameter, text[:100], "cannot be used", f"1 to {longest} printable characters")


def refuse(problems: Iterable[Problem]) -> None:
    """`BadParameters` if there are any; no more of them are looked for than are told."""
    found = tuple(islice(problems, MOST_PROBLEMS + 1))
    if found:
        raise BadParameters(found)

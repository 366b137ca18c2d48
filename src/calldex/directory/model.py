"""What the directory gives and takes: its structs, and the checks on what people type.

Pure; no database here.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Final, get_args

import msgspec

from calldex.access import KeyScope, Principal, Role
from calldex.errors import Problem, suggest
from calldex.record import NamedKind
from calldex.zones import timezones

ROLE_NAMES: Final[Mapping[Role, str]] = {
    "admin": "Admin",
    "supervisor": "Supervisor",
    "analyst": "Analyst",
    "agent": "Agent",
    "hardware_phone": "Hardware phone",
}
"""A role as people read it; served as the access group until there are access groups."""


class Account(msgspec.Struct, frozen=True):
    """One contact centre; nothing of it is ever seen from another."""

    id: int
    name: str
    timezone: str | None


class User(msgspec.Struct, frozen=True, kw_only=True):
    """A person (or a phone) of an account.

    `agent_id` is the id under which he appears in records; `timezone` his own, `effective_timezone` that in which his
    days are cut: his own, else the account's, else UTC. Times are epoch milliseconds; one with `disabled_at` can do
    nothing. `teams` and `supervises` are team ids in order.
    """

    id: int
    account_id: int
    account: str
    email: str
    name: str
    role: Role
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


class ListedUser(msgspec.Struct, frozen=True, kw_only=True):
    """A user as the contract's list of users shows him; `sag` is the name of his access group."""

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

    `name` and `email` match a part, the others the whole; letter case does not count. `timezone` is the effective one.
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
            (self.sag, ROLE_NAMES[user.role]),
            (self.extension, user.extension),
            (self.caller_id, user.caller_id),
            (self.timezone, user.effective_timezone),
        )
        return all(wanted is None or wanted.casefold() in has.casefold() for wanted, has in parts) and all(
            wanted is None or (has is not None and wanted.casefold() == has.casefold()) for wanted, has in wholes
        )


class KeyOwner(Principal, frozen=True, kw_only=True):
    """Whose a valid key is; `timezone` is the owner's effective one."""

    key_id: int
    account: str


class Key(msgspec.Struct, frozen=True, kw_only=True):
    """A user API key as it is listed: never the key itself. Times are epoch milliseconds."""

    id: int
    prefix: str
    scope: KeyScope
    email: str
    created_at: int
    last_used_at: int | None
    revoked_at: int | None


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


class WrapupCode(msgspec.Struct, frozen=True):
    """An entry of the look-up of wrap-up codes."""

    code: str
    description: str


class Source(msgspec.Struct, frozen=True, kw_only=True):
    """Where records come from, in which format, and how that is to be read."""

    id: int
    account_id: int
    account: str
    name: str
    format: str
    settings: dict[str, str]
    created_at: int


_EMAIL: Final = re.compile(r"[^@\s\x00-\x1f\x7f]+@[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?(?:\.[A-Za-z0-9-]+)*")
_HANDLE: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


def email_problem(email: str) -> Iterable[Problem]:
    """What is wrong with an e-mail address."""
    if len(email) > 254 or not _EMAIL.fullmatch(email):
        yield Problem("email", email[:100], "is not an e-mail address", "name@domain, up to 254 characters")


def role_problem(role: str) -> Iterable[Problem]:
    """What is wrong with the name of a role."""
    yield from _word_problem("role", role, get_args(Role))


def scope_problem(scope: str) -> Iterable[Problem]:
    """What is wrong with the scope of a key."""
    yield from _word_problem("scope", scope, get_args(KeyScope))


def _word_problem(parameter: str, given: str, words: tuple[str, ...]) -> Iterable[Problem]:
    if given not in words:
        yield Problem(parameter, given[:100], f"there is no such {parameter}{suggest(given, words)}", ", ".join(words))


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

"""A verb of the administration: what is done, declared once for every surface.

A function is the whole truth of it: what it takes and gives are its annotations, what it does is its docstring. HTTP
(`api.administration`), the owner's socket (`api.control`) and the commands (`cli`) are made from the same declaration,
and all of them do it by `do`: permit, read, note, run. Whether somebody may hand out what the change gives is asked of
`access.guard` by the functions, in the transaction of the change. Knows no HTTP.
"""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, nullcontext
from functools import cache
from typing import Annotated, Any, Final, Generic, Literal, TypeVar, get_type_hints

import msgspec

from calldex.access import Permission, Principal, permit
from calldex.access.guard import Guard, RightsGuard
from calldex.audit.chain import Action, Actor
from calldex.audit.noting import Noted, noting
from calldex.directory import Directory, Imported, NamedKind
from calldex.directory.refs import reference
from calldex.errors import NotFound
from calldex.node import Node

MAIN: Final = "main"
"""The account that there always is."""
MOST_PER_PAGE: Final = 1_000
MANAGE_USERS: Final[tuple[Permission, ...]] = ("manage_users",)
MANAGE_ACCESS: Final[tuple[Permission, ...]] = ("manage_access",)
EITHER: Final[tuple[Permission, ...]] = ("manage_users", "manage_access")

_WORDS: Final[Mapping[NamedKind, str]] = {
    "agent": "Agents",
    "queue": "Queues",
    "campaign": "Campaigns",
    "team": "Teams",
    "wrapup_code": "Wrap-up codes",
}
_SHOWN: Final = frozenset(
    (
        "role",
        "groups",
        "permissions",
        "reach",
        "scopes",
        "networks",
        "disabled",
        "sensitive",
        "agents_see_own",
        "vocabulary",
    )
)
"""Members whose values the audit has; of the others, that they were given."""

Method = Literal["GET", "POST", "PUT", "PATCH", "DELETE"]
Id = Annotated[int, msgspec.Meta(ge=1, lt=2**53, description="a whole number from 1 to 9007199254740991")]
T = TypeVar("T")


class Nothing(msgspec.Struct, frozen=True):
    """What a verb takes that needs nothing but its subject."""


class Paging(msgspec.Struct, frozen=True, kw_only=True):
    """Which part of a list."""

    page: Annotated[int, msgspec.Meta(ge=1, lt=2**31)] = 1
    per_page: Annotated[int, msgspec.Meta(ge=1, le=MOST_PER_PAGE)] = 100


class Listing(msgspec.Struct, Generic[T], frozen=True):
    """A part of a list, and how many there are in all."""

    items: list[T]
    total: int


def paged(found: Sequence[T], paging: Paging) -> Listing[T]:
    """The part that was asked for."""
    begin = (paging.page - 1) * paging.per_page
    return Listing(list(found[begin : begin + paging.per_page]), len(found))


def note_changes(call: Call, done: Imported) -> None:
    """Tell the audit what a file changed."""
    call.noted.detail = {"added": done.added, "changed": done.changed}
    call.noted.rows = done.added + done.changed


class Call(msgspec.Struct, frozen=True):
    """What a function knows beside what it was given: who acts, what the verb is done to, the kind of thing if there
    are several, and where to tell the audit whom or what it was done to. `by_name`: whether the subject may be named,
    as people at a command line do; else it is an id."""

    node: Node
    actor: Principal
    subject: str
    kind: NamedKind
    noted: Noted
    by_name: bool

    @property
    def directory(self) -> Directory:
        """The directory to ask and to change."""
        return self.node.directory

    @property
    def guard(self) -> Guard:
        """What the directory asks of everybody whom the change concerns."""
        return RightsGuard(self.actor, self.node.agents_with_calls)

    def id(self, noun: str) -> int:
        """The id that the subject is; `NotFound` where it is none."""
        return id_of(self.subject, noun)

    def reference(self, noun: str) -> int | str:
        """The subject's id or, where it may be named, its name."""
        return reference(self.subject) if self.by_name else self.id(noun)


def id_of(text: str, noun: str) -> int:
    """The id that a text is; `NotFound` where it is none."""
    if text.isascii() and text.isdecimal() and text[0] != "0" and int(text[:17]) < 2**53:
        return int(text)
    raise NotFound(f"there is no {noun} {text[:100]!r}; an id is a whole number")


class Verb(msgspec.Struct, frozen=True):
    """The declaration: `work` gets the call and what was given, and returns what is replied.

    Over HTTP it is this method of this path (none: only the owner does it): a GET is given the query string, the others
    a JSON body, or as `bytes` one of CSV. `needs` are permissions of which one will do, `action` what the audit calls
    it, `kind` what the names of `names` are the names of.
    """

    method: Method
    path: str
    work: Callable[..., Any]
    needs: tuple[Permission, ...]
    action: Action | None = None
    kind: NamedKind | None = None
    home: Callable[[Directory, str], str] | None = None
    """Finds the account of a subject for the owner, who need not name it; None where it has to be named."""

    @property
    def id(self) -> str:
        """What programs call it."""
        return name_of(self.work, self.kind)

    @property
    def takes(self) -> Any:
        """The struct it takes, or `bytes`."""
        return list(_annotations(self.work).values())[1]

    @property
    def gives(self) -> Any:
        """The struct it gives back, or `NoneType`."""
        return gives(self.work)

    @property
    def status(self) -> int:
        """The status of its reply."""
        if self.gives is type(None):
            return 204
        return 201 if self.work.__name__.startswith("create_") else 200

    @property
    def summary(self) -> str:
        """What it does, in a line."""
        line = inspect.cleandoc(self.work.__doc__ or "").partition("\n")[0].removesuffix(".")
        return f"{_WORDS[self.kind]}: {line[0].lower()}{line[1:]}" if self.kind else line

    @property
    def description(self) -> str:
        """What else there is to know."""
        more = " ".join(inspect.cleandoc(self.work.__doc__ or "").partition("\n")[2].split())
        return f"{more}\n\nNeeds {' or '.join(f'`{permission}`' for permission in self.needs)}.".strip()


def by_owner(
    work: Callable[..., Any], action: Action | None = None, *, home: Callable[[Directory, str], str] | None = None
) -> Verb:
    """A verb that only the owner of the data directory does, of one account or of all."""
    return Verb("POST", "", work, MANAGE_ACCESS, action, home=home)


def name_of(work: Callable[..., Any], kind: NamedKind | None) -> str:
    """What programs call a verb."""
    return work.__name__ + (f"_of_{kind}" if kind else "")


def gives(work: Callable[..., Any]) -> Any:
    """The type of what a function gives back."""
    return _annotations(work)["return"]


@cache
def _annotations(work: Callable[..., Any]) -> dict[str, Any]:
    return get_type_hints(work, include_extras=True)


class Doer(msgspec.Struct, frozen=True, kw_only=True):
    """Who does something, and what the audit calls them; `by_name` as in `Call`."""

    principal: Principal
    actor: Actor
    by_name: bool = False


async def do(
    node: Node,
    verb: Verb,
    doer: Doer,
    subject: str,
    *,
    receive: Callable[[], Awaitable[bytes]],
    read: Callable[[bytes], Any],
    run: Callable[[Callable[[], Any]], Awaitable[Any]],
) -> Any:
    """Carry it out. What was sent is received once it is known that the doer may; `run` runs the rest in a thread:
    reading it, which takes its time for a body of a megabyte, and the work."""
    async with _noting(node, verb, doer.actor) as noted:
        permit(doer.principal, verb.needs)
        body = await receive()
        noted.status = verb.status
        call = Call(node, doer.principal, subject, verb.kind or "agent", noted, doer.by_name)

        def work() -> Any:
            given = read(body)
            noted.detail = _detail(given)
            return verb.work(call, given)

        return await run(work)


def _noting(node: Node, verb: Verb, actor: Actor) -> AbstractAsyncContextManager[Noted]:
    return nullcontext(Noted()) if verb.action is None else noting(node.audit, actor, verb.action)


def _detail(given: Any) -> dict[str, str | int]:
    """What the audit tells of what was sent: which members, and the values of those that are about rights."""
    members = {} if isinstance(given, bytes) else msgspec.to_builtins(given)
    detail: dict[str, str | int] = {}
    for name, value in members.items():
        text = value if isinstance(value, str) else msgspec.json.encode(value).decode()
        detail[name] = text if name in _SHOWN else "given"
    return detail

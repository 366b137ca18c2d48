"""`queues`, `campaigns`, `agents` and `wrapup_codes`: what things are called, whatever records call them."""

from __future__ import annotations

from typing import Annotated, Final

import msgspec

from calldex.admin.verb import MANAGE_USERS, Call, Listing, Nothing, Paging, Verb, paged
from calldex.directory import NamedKind, NameEntry


class NewName(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What something is to be called."""

    name: Annotated[str, msgspec.Meta(min_length=1, max_length=200, description="1 to 200 printable characters")]


class NameOfId(msgspec.Struct, frozen=True):
    """What the thing of an id is called. A `pinned` name was set by somebody, and records do not change it."""

    id: int
    name: str
    pinned: bool


class NameOfCode(msgspec.Struct, frozen=True):
    """How a wrap-up code is described. A `pinned` description was set by somebody, and records do not change it."""

    code: str
    name: str
    pinned: bool


def list_names(call: Call, paging: Paging) -> Listing[NameOfId]:
    """List those that have a name, by name."""
    return paged([_of_id(entry) for entry in call.directory.names(call.actor.account, call.kind)], paging)


def set_name(call: Call, new: NewName) -> NameOfId:
    """Set the name of one.

    It need not be known yet. From now on records do not change its name.
    """
    return _of_id(call.directory.set_name(call.actor.account, call.kind, _id(call), new.name))


def remove_name(call: Call, _: Nothing) -> None:
    """Forget the name of one.

    It comes back, under the name that records have for it, when a record names it again.
    """
    call.directory.remove_name(call.actor.account, call.kind, _id(call))


def list_codes(call: Call, paging: Paging) -> Listing[NameOfCode]:
    """List those that are described, by description."""
    return paged([_of_code(entry) for entry in call.directory.names(call.actor.account, call.kind)], paging)


def set_code(call: Call, new: NewName) -> NameOfCode:
    """Set the description of one.

    It need not be known yet. From now on records do not change its description.
    """
    return _of_code(call.directory.set_name(call.actor.account, call.kind, _code(call), new.name))


def remove_code(call: Call, _: Nothing) -> None:
    """Forget the description of one.

    It comes back, as records describe it, when a record has it again.
    """
    call.directory.remove_name(call.actor.account, call.kind, _code(call))


def _id(call: Call) -> int | str:
    id_ = call.reference(call.kind)
    call.noted.target = f"{call.kind} {id_}"
    return id_


def _code(call: Call) -> str:
    call.noted.target = call.subject
    return call.subject


def _of_id(entry: NameEntry) -> NameOfId:
    return NameOfId(int(entry.key), entry.name, entry.pinned)


def _of_code(entry: NameEntry) -> NameOfCode:
    return NameOfCode(str(entry.key), entry.name, entry.pinned)


_KINDS: Final[tuple[tuple[str, NamedKind], ...]] = (
    ("/queues", "queue"),
    ("/campaigns", "campaign"),
    ("/agents", "agent"),
)
VERBS: Final = (
    *(
        verb
        for path, kind in _KINDS
        for verb in (
            Verb("GET", path, list_names, MANAGE_USERS, kind=kind),
            Verb("PUT", path + "/{id}", set_name, MANAGE_USERS, "name_changed", kind),
            Verb("DELETE", path + "/{id}", remove_name, MANAGE_USERS, "name_removed", kind),
        )
    ),
    Verb("GET", "", list_names, MANAGE_USERS, kind="team"),
    Verb("PUT", "", set_name, MANAGE_USERS, "name_changed", "team"),
    Verb("DELETE", "", remove_name, MANAGE_USERS, "name_removed", "team"),
    Verb("GET", "/wrapup_codes", list_codes, MANAGE_USERS, kind="wrapup_code"),
    Verb("PUT", "/wrapup_codes/{code}", set_code, MANAGE_USERS, "name_changed", "wrapup_code"),
    Verb("DELETE", "/wrapup_codes/{code}", remove_code, MANAGE_USERS, "name_removed", "wrapup_code"),
)

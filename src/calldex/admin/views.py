"""Saved views: searches under a name, one's own and those that others share in the account."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Annotated, Any, Final
from urllib.parse import parse_qsl

import msgspec
from msgspec import UNSET, UnsetType

from calldex.access import Mask, Permission, Principal, needed_for, permissions_of, permit, scope_of
from calldex.access.masking import NOBODY, masked_label, masked_text
from calldex.admin.verb import Call, Listing, Nothing, Paging, Verb, paged
from calldex.directory import SavedView
from calldex.directory.model import refuse, text_problem
from calldex.errors import Forbidden, NotFound, Problem
from calldex.records.fields import COLUMN, DAY_PARAMETERS, FILTER, FILTER_PARAMETERS, Filter, Kind, Op
from calldex.records.record import from_ms

SEE: Final[tuple[Permission, ...]] = ("see_cdrs",)
SHARE: Final[tuple[Permission, ...]] = ("share_views",)
LONGEST_NAME: Final = 64
LONGEST_QUERY: Final = 4_000
MOST_PAIRS: Final = 100
_NOT_KEPT: Final = ("key", "search_token")
_PLAIN: Final = frozenset(each.name for each in (*DAY_PARAMETERS, *FILTER_PARAMETERS))

Name = Annotated[str, msgspec.Meta(min_length=1, max_length=LONGEST_NAME)]
QueryText = Annotated[
    str,
    msgspec.Meta(
        max_length=LONGEST_QUERY,
        description="the query string of the list, without `?`, key and search_token",
        examples=["type=inbound&disposition=abandoned"],
    ),
]


class NewView(msgspec.Struct, frozen=True, kw_only=True):
    """A view to be saved; `shared` with everybody in the account, or one's own."""

    name: Name
    query: QueryText
    shared: bool = False


class ViewChanges(msgspec.Struct, frozen=True, kw_only=True):
    """What is to become of a view; what is not sent stays."""

    name: Name | UnsetType = UNSET
    query: QueryText | UnsetType = UNSET
    shared: bool | UnsetType = UNSET


class ViewInfo(msgspec.Struct, frozen=True, kw_only=True):
    """A saved view: the query string of the list under a name; by whom, whether it is one's `own`, and when it was
    changed last."""

    id: int
    name: str
    query: str
    shared: bool
    own: bool
    by: str
    created_at: datetime
    changed_at: datetime


def list_views(call: Call, paging: Paging) -> Listing[ViewInfo]:
    """List the saved views, by name.

    Your own, and those that others share. Shared views that use a filter hidden from you are left out, and so are
    those with a telephone number if you may not see numbers.
    """
    views = call.directory.views(call.actor.account_id, call.actor.user_id)
    return paged([_info(view, call.actor) for view in views if _may_read(view, call.actor)], paging)


def create_view(call: Call, new: NewView) -> ViewInfo:
    """Save a view.

    To share it needs `share_views`.
    """
    refuse(_problems(new.name, new.query))
    if new.shared:
        permit(call.actor, SHARE)
    actor = call.actor
    view = call.directory.add_view(actor.account_id, actor.user_id, new.name, new.query, shared=new.shared)
    call.noted.target = str(view.id)
    return _info(view, actor)


def change_view(call: Call, changes: ViewChanges) -> ViewInfo:
    """Change a saved view of your own.

    What is not sent stays. To share it, and to change one that is shared, needs `share_views`.
    """
    view = _known(call)
    if view.user_id != call.actor.user_id:
        raise Forbidden(f"the view {view.id} is of {view.by}, who alone may change it; save one of your own")
    if view.shared or changes.shared is True:
        permit(call.actor, SHARE)
    name = view.name if changes.name is UNSET else changes.name
    query = view.query if changes.query is UNSET else changes.query
    refuse(_problems(name, query))
    given: dict[str, Any] = msgspec.to_builtins(changes)
    return _info(call.directory.change_view(call.actor.account_id, view.id, given), call.actor)


def remove_view(call: Call, _: Nothing) -> None:
    """Remove a saved view.

    Yours, or a shared one if you may manage users.
    """
    view = _known(call)
    if view.user_id != call.actor.user_id:
        permit(call.actor, ("manage_users",))
    call.directory.remove_view(call.actor.account_id, view.id)


def _known(call: Call) -> SavedView:
    id_ = call.id("saved view")
    view = call.directory.view(call.actor.account_id, id_)
    call.noted.target = str(id_)
    if not _may_read(view, call.actor) and "manage_users" not in permissions_of(call.actor):
        raise NotFound(f"there is no saved view {id_}")
    return view


def _may_read(view: SavedView, reader: Principal) -> bool:
    """Whether somebody may see a view: their own, or a shared one that tells them nothing that is masked."""
    if view.user_id == reader.user_id:
        return True
    return view.shared and not any(_tells(name, value, scope_of(reader).mask) for name, value in _pairs(view.query))


def _tells(name: str, value: str, mask: Mask) -> bool:
    filter_ = FILTER.get(name)
    if filter_ is not None:
        return needed_for(filter_, mask) is not None or (mask.numbers and _is_of_number(filter_))
    return mask.numbers and name not in _PLAIN and masked_text(value, NOBODY) != value


def _is_of_number(filter_: Filter) -> bool:
    column = COLUMN.get(filter_.column)
    return column is not None and column.kind is Kind.PHONE and filter_.op is not Op.LACKS


def _info(view: SavedView, reader: Principal) -> ViewInfo:
    own = view.user_id == reader.user_id
    masked = scope_of(reader).mask.numbers and not own
    return ViewInfo(
        id=view.id,
        name=masked_label(view.name) if masked else view.name,
        query=view.query,
        shared=view.shared,
        own=own,
        by=view.by,
        created_at=from_ms(view.created_at),
        changed_at=from_ms(view.changed_at),
    )


def _problems(name: str, query: str) -> Iterator[Problem]:
    yield from text_problem("name", name, LONGEST_NAME)
    try:
        pairs = _pairs(query)
    except ValueError:
        pairs = []
        yield Problem("query", query[:100], "is no query string", f"up to {MOST_PAIRS} parameters, percent-encoded")
    if not query.isprintable() or query.startswith("?"):
        yield Problem("query", query[:100], "is no query string", "what stands behind the `?` of an address")
    for left_out in _NOT_KEPT:
        if any(each == left_out for each, _ in pairs):
            yield Problem("query", left_out, f"a view keeps no {left_out}", f"the parameters without {left_out}")


def _pairs(query: str) -> list[tuple[str, str]]:
    return parse_qsl(query, keep_blank_values=True, errors="strict", max_num_fields=MOST_PAIRS)


VERBS: Final = (
    Verb("GET", "/api/v2/views", list_views, SEE),
    Verb("POST", "/api/v2/views", create_view, SEE, "view_added"),
    Verb("PATCH", "/api/v2/views/{id}", change_view, SEE, "view_changed"),
    Verb("DELETE", "/api/v2/views/{id}", remove_view, SEE, "view_removed"),
)

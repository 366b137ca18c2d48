"""Exports: schedules of those who may export; for the owner of the data directory also what is made in the background,
and what opens the places of the setting `export_targets`."""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import datetime
from typing import Annotated, Final
from zoneinfo import ZoneInfo

import msgspec

from calldex.access import Permission, Principal, scope_of
from calldex.admin.verb import Call, Listing, Nothing, Paging, Verb, by_owner, paged
from calldex.audit.chain import searched
from calldex.buckets import Credentials, keep_credentials
from calldex.clock import now_ms
from calldex.directory import Export, Schedule, maker_of
from calldex.directory.model import refuse, timezone_problem
from calldex.directory.tables import ExportState
from calldex.errors import BadParameters, NotFound, Problem, suggest
from calldex.exports.request import FORMAT_WORDS
from calldex.jobs.exports import MAKE, may_know, those_known
from calldex.jobs.schedules import due_ms, first_day
from calldex.records.record import from_ms
from calldex.search.query import parse

EXPORT: Final[tuple[Permission, ...]] = ("export",)
MANAGED: Final[tuple[Permission, ...]] = ("export", "manage_access")
_DAYS: Final = ("start_date", "end_date", "timezone")
_OWN: Final = ("format", "fields", "end")
_NAME: Final = re.compile(r"[^\W_][\w .-]*")
LONGEST_NAME: Final = 64


class NewSchedule(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An export to be made every day at a time in a zone (else the caller's), of the records of the day before, to a
    place that the operator named in the setting `export_targets`. `filters` are those of the list by their names."""

    name: Annotated[str, msgspec.Meta(min_length=1, max_length=LONGEST_NAME)]
    at: Annotated[str, msgspec.Meta(pattern=r"^([01]\d|2[0-3]):[0-5]\d$", description="a time of day, as 02:00")]
    target: Annotated[str, msgspec.Meta(min_length=1, max_length=40)]
    format: FORMAT_WORDS
    timezone: Annotated[str, msgspec.Meta(max_length=64)] | None = None
    fields: Annotated[tuple[str, ...], msgspec.Meta(max_length=200)] = ()
    filters: Annotated[dict[str, str], msgspec.Meta(max_length=100)] = {}


class ShownSchedule(msgspec.Struct, frozen=True, kw_only=True):
    """A schedule, with who made it and when it runs next. Of others', values that are searched for are not told."""

    id: int
    name: str
    at: str
    timezone: str
    target: str
    parameters: dict[str, str | int]
    made_by: str
    created_at: datetime
    next_at: datetime


class KeptExport(msgspec.Struct, frozen=True, kw_only=True):
    """An export that is made in the background, or was."""

    id: str
    state: ExportState
    format: str
    made_by: str
    schedule: int | None
    day: str | None
    records: int
    total: int | None
    bytes: int
    reason: str | None
    created_at: datetime
    ended_at: datetime | None
    expires_at: datetime


def list_schedules(call: Call, paging: Paging) -> Listing[ShownSchedule]:
    """List the schedules of exports, by name.

    Yours; those of others if you may manage access and have all permissions of their makers.
    """
    found = those_known(call.directory, call.actor, call.directory.schedules(call.actor.account_id))
    return paged([_shown(each, call.actor) for each in found], paging)


def create_schedule(call: Call, new: NewSchedule) -> ShownSchedule:
    """Have an export made every day.

    It runs under the rights that its maker has then, with the key it was made with: when that is revoked, it fails. A
    day on which nothing ran is made up, up to 31 of them.
    """
    call.noted.target = new.name
    timezone = new.timezone or call.actor.timezone
    refuse([*_name_problem(new.name), *timezone_problem(timezone), *_target_problem(call, new.target)])
    pairs = [("format", new.format), ("fields", ",".join(new.fields)), *new.filters.items()]
    if wrong := sorted({*new.filters} & {*_DAYS, *_OWN}):
        raise BadParameters(
            Problem(name, new.filters[name][:100], "is for the schedule to set", "filters of the list")
            for name in wrong
        )
    parse(pairs, scope_of(call.actor), timezone, MAKE.takes)
    at_ms = now_ms()
    schedule = Schedule(
        id=0,
        name=new.name,
        at=new.at,
        timezone=timezone,
        next_day=first_day(new.at, timezone, at_ms).isoformat(),
        parameters=[pair for pair in pairs if pair[1]],
        target=new.target,
        created_at=at_ms,
        **maker_of(call.actor),
    )
    return _shown(call.directory.add_schedule(schedule), call.actor)


def remove_schedule(call: Call, _: Nothing) -> None:
    """Forget a schedule.

    What it has made stays where it is.
    """
    found = call.directory.schedule(call.actor.account_id, call.reference("schedule"))
    if not may_know(call.directory, call.actor, found):
        raise NotFound(f"there is no schedule {call.subject[:100]!r} of yours")
    call.noted.target = found.name
    call.directory.remove_schedule(found.account_id, found.id)


def list_kept_exports(call: Call, paging: Paging) -> Listing[KeptExport]:
    """List the exports of an account that are made in the background, newest first."""
    return paged([_kept(each) for each in call.directory.exports(call.actor.account_id, None)], paging)


def cancel_export(call: Call, _: Nothing) -> None:
    """Stop an export, or delete it and its file."""
    export = call.directory.export(call.subject, call.actor.account_id)
    call.noted.target = export.id
    call.directory.remove_export(export.id)


def set_target_credentials(call: Call, given: Credentials) -> None:
    """Keep what opens a bucket of the setting `export_targets`, sealed."""
    call.noted.target = call.subject
    refuse(_target_problem(call, call.subject))
    keep_credentials(call.directory, "export_target", call.subject, given)


def _name_problem(name: str) -> Iterable[Problem]:
    """What is wrong with the name of a schedule, with which the names of its files begin."""
    if not _NAME.fullmatch(name):
        valid = (
            f"up to {LONGEST_NAME} letters, digits, spaces, dots, dashes and underscores, the first a letter or digit"
        )
        yield Problem("name", name, "is not a usable name", valid)


def _target_problem(call: Call, name: str) -> list[Problem]:
    targets = call.node.settings.export_targets
    if name in targets:
        return []
    valid = ", ".join(targets) or "none; the operator names them in the setting `export_targets`"
    return [Problem("target", name[:100], f"there is no such place{suggest(name, targets)}", valid)]


def _shown(schedule: Schedule, to: Principal) -> ShownSchedule:
    own = schedule.user_id == to.user_id
    day = datetime.fromisoformat(schedule.next_day).date()
    return ShownSchedule(
        id=schedule.id,
        name=schedule.name,
        at=schedule.at,
        timezone=schedule.timezone,
        target=schedule.target,
        parameters=dict(schedule.parameters) if own else searched(schedule.parameters, MAKE.takes.own),
        made_by=schedule.email,
        created_at=from_ms(schedule.created_at),
        next_at=from_ms(due_ms(day, schedule.at, ZoneInfo(schedule.timezone))),
    )


def _kept(export: Export) -> KeptExport:
    return KeptExport(
        id=export.id,
        state=export.state,
        format=dict(export.parameters)["format"],
        made_by=export.email,
        schedule=export.schedule_id,
        day=export.day,
        records=export.records,
        total=export.total,
        bytes=export.size,
        reason=export.reason,
        created_at=from_ms(export.created_at),
        ended_at=None if export.ended_at is None else from_ms(export.ended_at),
        expires_at=from_ms(export.expires_at),
    )


VERBS: Final = (
    Verb("GET", "/export-schedules", list_schedules, MANAGED),
    Verb("POST", "/export-schedules", create_schedule, EXPORT, "export_scheduled"),
    Verb("DELETE", "/export-schedules/{id}", remove_schedule, MANAGED, "export_unscheduled"),
    by_owner(list_kept_exports),
    by_owner(cancel_export, "export_removed"),
    by_owner(set_target_credentials, "export_credentials_set"),
)

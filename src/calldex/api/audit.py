"""`GET /api/admin/v1/audit`: the audit of the asker's own account, as JSON or CSV. To read it is noted in it too."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Annotated, Any, Final, Literal

import msgspec
from msgspec import UNSET, UnsetType
from starlette.requests import Request
from starlette.responses import Response

from calldex.access import Permission, permit
from calldex.api.administration import CSV
from calldex.api.audited import audited
from calldex.api.endpoint import ERRORS, Endpoint, parameter
from calldex.audit.chain import Action, Entry, withheld
from calldex.directory import AuditFilter
from calldex.errors import BadParameters, Problem
from calldex.exports.columns import Cell
from calldex.exports.csv import for_people
from calldex.inputs import from_members
from calldex.node import Node
from calldex.records.record import from_ms, to_ms
from calldex.transport.replies import JSON, sized
from calldex.transport.requests import caller, only, pairs_of
from calldex.transport.workers import Workers

ACTION: Final = "audit_read"
NEEDS: Final[tuple[Permission, ...]] = ("read_audit",)
MOST: Final = 1_000
"""Entries of one reply."""
_HEADERS: Final = {"Cache-Control": "no-store", "Vary": "Accept, Accept-Encoding, Authorization"}

Instant = Annotated[str, msgspec.Meta(extra_json_schema={"format": "date-time"})]


class AuditQuery(msgspec.Struct, frozen=True, kw_only=True):
    """Which entries, and how they are wanted."""

    from_: Instant | UnsetType = msgspec.field(name="from", default=UNSET)
    to: Instant | UnsetType = UNSET
    actor: str | UnsetType = UNSET
    action: Action | UnsetType = UNSET
    target: str | UnsetType = UNSET
    before: Annotated[int, msgspec.Meta(ge=1, lt=2**53)] | UnsetType = UNSET
    limit: Annotated[int, msgspec.Meta(ge=1, le=MOST)] = 100
    format: Literal["json", "csv"] | UnsetType = UNSET


AUDIT_FILTERS: Final[Mapping[str, str]] = {
    "from": "First instant, included.",
    "to": "Last instant, excluded.",
    "actor": "Who acted: an e-mail address, `owner` or `calldex`.",
    "action": "What was done.",
    "target": "Whom or what it was done to.",
    "before": "Only entries with smaller numbers; to read on, the `before` of the reply.",
    "limit": "How many entries.",
    "format": "`csv` gives CSV, as `Accept: text/csv` does.",
}
"""What each parameter means."""


class AuditEntry(msgspec.Struct, frozen=True, kw_only=True):
    """Something that was done. `actor` is the e-mail address of who did it, or the one they tried to sign in with;
    `owner` of the data directory, or `calldex` by itself. `credential` is the beginning of their key, or `session`.

    `target` is whom or what it was done to, `rows` the number of records it was about, `status` that of the reply.
    """

    n: Annotated[int, msgspec.Meta(ge=1)]
    at: datetime
    actor: str
    user_id: int | None
    credential: str
    address: str
    request_id: str
    action: Action
    target: str
    detail: dict[str, str | int]
    rows: int | None
    status: int


class AuditPage(msgspec.Struct, frozen=True):
    """Some entries, newest first; `before` is where to read on, null when nothing follows."""

    items: list[AuditEntry]
    before: int | None


class AuditReader:
    """The handler, over a node."""

    def __init__(self, node: Node, workers: Workers) -> None:
        self._node = node
        self._workers = workers

    async def get(self, request: Request) -> Response:
        """Entries, newest first."""
        principal, pairs = await caller(request, self._node.directory, await pairs_of(request))
        async with audited(self._node.audit, request, principal, ACTION) as noted:
            permit(principal, NEEDS)
            given = only(pairs, tuple(AUDIT_FILTERS))
            query = from_members(given, AuditQuery, text=True)
            as_csv = query.format == "csv" or (not query.format and CSV in request.headers.get("accept", "").lower())
            wanted = _filter(query)
            noted.detail = _noted(given)
            accept = request.headers.get("accept-encoding", "")

            def answer() -> tuple[Response, int]:
                found = self._node.directory.audit_entries(principal.account_id, wanted, query.limit)
                body = csv_of(found).encode() if as_csv else msgspec.json.encode(_page(found, query.limit))
                return sized(body, accept, CSV if as_csv else JSON, _HEADERS), len(found)

            async with self._workers.place(request.receive):
                reply, noted.rows = await self._workers.run(answer)
        return reply


def _noted(given: Mapping[str, str]) -> dict[str, str | int]:
    """What the audit tells of a reading of it: what was asked for, but nothing that could be a telephone number."""
    named = ("actor", "target")
    return {name: withheld(value) if name in named and "@" not in value else value for name, value in given.items()}


def _filter(query: AuditQuery) -> AuditFilter:
    return AuditFilter(
        from_ms=instant("from", query.from_),
        to_ms=instant("to", query.to),
        actor=query.actor or None,
        action=query.action or None,
        target=query.target or None,
        before=query.before or None,
    )


def instant(name: str, text: str | UnsetType | None) -> int | None:
    """The epoch milliseconds of a parameter, None where it is not given; `BadParameters` if it is no instant."""
    if not text:
        return None
    try:
        return to_ms(msgspec.convert(text, Annotated[datetime, msgspec.Meta(tz=True)]))
    except msgspec.ValidationError:
        valid = "ISO 8601 with an offset, such as 2026-01-31T08:00:00Z"
        raise BadParameters([Problem(name, text[:100], "is not an instant", valid)]) from None


def _page(found: list[Entry], limit: int) -> AuditPage:
    # A full page may be the last one; who reads on then gets an empty one.
    return AuditPage([shown(each) for each in found], found[-1].n if len(found) == limit else None)


def shown(entry: Entry) -> AuditEntry:
    """An entry as it is served."""
    members = {name: getattr(entry, name) for name in AuditEntry.__struct_fields__ if name != "at"}
    return AuditEntry(at=from_ms(entry.at_ms), **members)


# --- CSV --------------------------------------------------------------------------------------------------------------


def csv_of(found: Iterable[Entry], *, head: bool = True) -> str:
    """Entries as CSV, with a line of headings. What a spreadsheet would run has an apostrophe before it."""
    rows = (map(_cell, msgspec.to_builtins(shown(each)).values()) for each in found)
    return for_people([*([AuditEntry.__struct_fields__] if head else []), *rows], begins=head)


def _cell(value: Any) -> Cell:
    return msgspec.json.encode(value).decode() if isinstance(value, dict) else value


_SCHEMA: Final = msgspec.json.schema_components([AuditQuery])[1][AuditQuery.__name__]
ENDPOINTS: Final = (
    Endpoint(
        path="/api/admin/v1/audit",
        handler=lambda handlers: handlers.audit.get,
        id="read_audit",
        tag="Administration",
        summary="Who did what",
        description="The audit of the account, newest first. To read it is an entry in it as well.\n\n"
        "Needs `read_audit`.",
        gives=AuditPage,
        credential="key",
        needs=NEEDS,
        action=ACTION,
        limit="searches",
        parameters=tuple(
            parameter(name, AUDIT_FILTERS[name], member) for name, member in _SCHEMA["properties"].items()
        ),
        errors=ERRORS,
        other_types=(CSV,),
    ),
)

"""`GET /api/v2/cdr/stats` and `/checksums`: numbers about records, under the rights of who asks.

What can be grouped and measured stands in `search.statistics`; here it gets its names and its JSON.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import partial
from typing import Annotated, Any, Final, Literal

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from calldex.access.masking import masked_label
from calldex.api.audited import asked
from calldex.api.endpoint import over
from calldex.directory import NamedKind
from calldex.errors import Problem, suggest
from calldex.node import Node
from calldex.search import statistics
from calldex.search.query import Own, Parameters
from calldex.search.reader import Reader, Reading, Search
from calldex.search.statistics import (
    ALL_MEASURES,
    CHECKSUM,
    GROUP_COLUMN,
    OCCUPANCY,
    OCCUPIED_BY,
    OCCUPIED_IN,
    SHIFT,
    Bucket,
    Group,
    Grouping,
    Offsets,
    Times,
)
from calldex.transport.replies import JSON, PRIVATE, sized

_NAMED: Final[Mapping[Group, NamedKind]] = {"agent": "agent", "queue": "queue", "team": "team", "campaign": "campaign"}
Level = Literal["day", "hour", "record"]


class StatsRequest(Own, frozen=True):
    """Which statistics are wanted."""

    group_by: Annotated[
        tuple[Group, ...],
        msgspec.Meta(
            max_length=4,
            description="What records are grouped by, comma-separated. One with several teams counts in each of them;"
            " one without any has null.",
            examples=[("disposition", "queue")],
        ),
    ] = ()
    bucket: (
        Annotated[
            Bucket,
            msgspec.Meta(
                description="How the begins of records are cut, in the zone of `timezone`: `hour` is told by its first"
                " instant, `day`, `week` (from Monday) and `month` by their first day, `weekday` from 1 (Monday),"
                " `hour_of_day` from 0.",
                examples=["day"],
            ),
        ]
        | None
    ) = None
    times: Annotated[
        Times,
        msgspec.Meta(
            description="How begins are told: `utc`, as said at `bucket`; `local`, on the clock of `timezone`, without"
            " an offset; `epoch_ms`, in milliseconds since 1970.",
            examples=["utc"],
        ),
    ] = "utc"
    measures: Annotated[
        tuple[str, ...],
        msgspec.Meta(
            min_length=1,
            max_length=40,
            extra_json_schema={"items": {"enum": list(ALL_MEASURES)}, "uniqueItems": True},
            description="What is measured, comma-separated: `calls`; any outcome, which counts it; `duration_s`,"
            " `talk_s`, `ring_s`, `wait_s`, `hold_s`, `wrapup_s`, which are sums, and `avg_`, `median_`, `p90_`"
            " (nearest rank), `max_` before them; `avg_speed_of_answer_s`; `waited`, which counts those whose `wait_s`"
            " is known, and `waited_5_s` (10, 20, 30, 60, 120, 300, 600) those that waited so long at the most;"
            " shares from 0 to 1: `answered_rate`,"
            " `abandoned_rate`, `service_level` (answered within `service_level_s` of all that were answered or"
            " abandoned), `service_level_of_answered` (of all that were answered), `occupancy` (talk, holds and wrap-up"
            " in the time of agents, which is on each day from the begin of their first answered interaction to the end"
            " of their last, as records do not tell when somebody was signed in; by agent, team, day and longer).",
            examples=[("calls", "answered", "talk_s")],
        ),
    ] = ("calls",)
    service_level_s: Annotated[
        int, msgspec.Meta(ge=0, le=86_400, description="Within how many seconds of waiting.", examples=[20])
    ] = 20

    def problems(self) -> Iterable[Problem]:
        """What is none, or comes twice."""
        for name in dict.fromkeys(self.measures):
            if name not in ALL_MEASURES:
                hint = suggest(name, ALL_MEASURES)
                yield Problem("measures", name[:100], f"there is no such measure{hint}", ", ".join(ALL_MEASURES))
            elif self.measures.count(name) > 1:
                yield Problem("measures", name, "named more than once", "each measure once")
        if OCCUPANCY in self.measures and not (
            set(self.group_by) <= set(OCCUPIED_BY) and self.bucket in (None, *OCCUPIED_IN)
        ):
            valid = f"with group_by {', '.join(OCCUPIED_BY)}, and bucket {', '.join(OCCUPIED_IN)}"
            yield Problem("measures", OCCUPANCY, "is known for each agent and day, and no finer", valid)
        for group in dict.fromkeys(self.group_by):
            if self.group_by.count(group) > 1:
                yield Problem("group_by", group, "named more than once", "each once")


class ChecksumRequest(Own, frozen=True):
    """How fine checksums are."""

    level: Annotated[
        Level,
        msgspec.Meta(
            description="One checksum for each day (in the zone of `timezone`), hour or record.", examples=["day"]
        ),
    ] = "day"


STATS: Final = Reading(action="search", takes=Parameters(StatsRequest))
CHECKSUMS: Final = Reading(action="search", takes=Parameters(ChecksumRequest))


class StatsReply(msgspec.Struct, frozen=True, kw_only=True):
    """Statistics: the groups in the order of bucket and values, each with what it is and its measures; the same
    measures of all records together; the zone in which times are cut."""

    groups: list[dict[str, Any]]
    total: dict[str, Any]
    timezone: str


class Checksum(msgspec.Struct, frozen=True, kw_only=True, rename={"from_": "from"}, omit_defaults=True):
    """How many records there are, and the sum modulo 2^64, in hexadecimal, of the first eight bytes of the SHA-256 of
    each `uuid:seq`, with `seq` as the change feed has it; of a day or hour, whose `from` and `to` are `start_date` and
    `end_date` of a request for its records; or of one record."""

    from_: str | None = None
    to: str | None = None
    uuid: str | None = None
    count: int
    hash: str


class ChecksumReply(msgspec.Struct, frozen=True, kw_only=True):
    """Checksums, as of a commit, and the zone in which times are cut."""

    checksums: list[Checksum]
    as_of: int
    timezone: str


class Statistics:
    """The handlers, over a node."""

    def __init__(self, node: Node, reader: Reader) -> None:
        self._directory = node.directory
        self._reader = reader

    async def stats(self, request: Request) -> Response:
        """Statistics."""
        return await self._answer(request, STATS, self._stats)

    async def checksums(self, request: Request) -> Response:
        """Checksums."""
        return await self._answer(request, CHECKSUMS, _checksums)

    async def _answer(self, request: Request, reading: Reading[Any], make: Any) -> Response:
        caller, pairs = await asked(request, self._directory)
        accept = request.headers.get("accept-encoding", "")
        async with self._reader.open(caller, reading, pairs) as search:
            return await search.run(lambda: sized(msgspec.json.encode(make(search)), accept, JSON, PRIVATE))

    def _stats(self, search: Search[StatsRequest]) -> StatsReply:
        asked = search.own
        statistics.permit_groups(asked.group_by, search.scope.mask)
        measures = statistics.measured(asked.measures, asked.service_level_s)
        by = tuple(GROUP_COLUMN[group] for group in asked.group_by)
        alike = statistics.alike(search.scope.vocabulary)
        as_of, rows = search.aggregated(lambda offsets: Grouping(by, asked.bucket, measures, offsets, alike))
        whole = rows
        if by or asked.bucket:
            _, whole = search.aggregated(lambda _: Grouping((), None, measures), as_of)
        keys = len(by) + (asked.bucket is not None)
        shifts: dict[tuple[Any, ...], tuple[Any, ...]] = {}
        if OCCUPANCY in asked.measures:
            for some, bucket in {(by, asked.bucket): None, ((), None): None}:
                kind = partial(_shifts, some, bucket)
                size = len(some) + (bucket is not None)
                shifts |= {row[:size]: row[size:] for row in search.aggregated(kind, as_of)[1]}
        names = {group: self._names(search, kind) for group, kind in _NAMED.items() if group in asked.group_by}
        groups = [_group(search, row, names, shifts.get(row[:keys], ())) for row in rows if keys]
        return StatsReply(groups=groups, total=_measures(asked, whole[0], shifts.get((), ())), timezone=search.timezone)

    def _names(self, search: Search[StatsRequest], kind: NamedKind) -> dict[int, str]:
        scope = search.scope
        label = masked_label if scope.mask.numbers else str
        return {one.id: label(one.name) for one in self._directory.lookup(scope.account_id, kind)}


def _shifts(by: tuple[str, ...], bucket: Bucket | None, offsets: Offsets) -> Grouping:
    return Grouping(by, bucket, (), offsets, shifts=True)


def _group(
    search: Search[StatsRequest],
    row: tuple[Any, ...],
    names: Mapping[Group, Mapping[int, str]],
    shift: tuple[Any, ...],
) -> dict[str, Any]:
    asked, scope = search.own, search.scope
    found: dict[str, Any] = {}
    values = iter(row)
    if asked.bucket is not None:
        found["bucket"] = statistics.bucket_label(asked.bucket, next(values), asked.times, search.timezone)
    for group in asked.group_by:
        value = statistics.group_label(group, next(values), scope.vocabulary)
        if group in names:
            found[f"{group}_id"] = value
            value = names[group].get(value) if value is not None else None
        elif group == "wrapup_code" and scope.mask.numbers and value is not None:
            value = masked_label(value)
        found[group] = value
    return found | _measures(asked, tuple(values), shift)


def _measures(asked: StatsRequest, values: tuple[Any, ...], shift: tuple[Any, ...]) -> dict[str, Any]:
    measures = statistics.measured(asked.measures, asked.service_level_s)
    found = {each.name: value for each, value in zip(measures, values, strict=True)}
    return statistics.chosen(
        asked.measures, found | {name: int(ms or 0) for name, ms in zip(SHIFT, shift, strict=False)}
    )


def _checksums(search: Search[ChecksumRequest]) -> ChecksumReply:
    level = search.own.level
    as_of, rows = search.aggregated(lambda offsets: Grouping((), level, CHECKSUM, offsets))
    checksums = []
    for key, count, summed in rows:
        digest = f"{int(summed) % 2**64:016x}"
        if level == "record":
            checksums.append(Checksum(uuid=str(key), count=count, hash=digest))
        else:
            begin, end = str(statistics.bucket_label(level, key)), statistics.bucket_ends(level, key)
            checksums.append(Checksum(from_=begin, to=end, count=count, hash=digest))
    return ChecksumReply(checksums=checksums, as_of=as_of, timezone=search.timezone)


ENDPOINTS: Final = (
    over(STATS)(
        path="/api/v2/cdr/stats",
        handler=lambda handlers: handlers.statistics.stats,
        id="read_stats",
        tag="Call detail records",
        summary="Count and measure call detail records",
        description=(
            "With the filters and the rights of the list: what it adds up to is what a walk over the same records does."
            " Lengths that are not known are left out of means and ranks."
        ),
        gives=StatsReply,
    ),
    over(CHECKSUMS)(
        path="/api/v2/cdr/checksums",
        handler=lambda handlers: handlers.statistics.checksums,
        id="read_checksums",
        tag="Call detail records",
        summary="Prove a copy equal",
        description=(
            "Whoever keeps a copy by the change feed can work out the same: for each record the first eight bytes of"
            " the SHA-256 of its `uuid`, a colon and its `seq`, read as a number, big end first; the sum of these"
            " modulo 2^64 in 16 hexadecimal digits. Where a day differs, its hours tell where, then its records."
        ),
        gives=ChecksumReply,
    ),
)

"""A grouping becomes SQL, by an engine's functions, which stand in its dialect. Pure; values travel as parameters."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import msgspec

from calldex.records.fields import COLUMN, Kind
from calldex.search.statistics import ANSWERED_CODE, DAY_MS, HOUR_MS, MOST_GROUPS, Bucket, Grouping, Measure
from calldex.store.sql import Parameter, Sql


class Functions(msgspec.Struct, frozen=True):
    """What differs between engines: a condition as 0 or 1 in a count, an aggregate of a value where a condition holds
    (null if it never does), the month's first day of a wall clock's milliseconds, the rows with one for each team, the
    uuid as text, and the first eight bytes of a text's SHA-256 as a number, summed."""

    count: Callable[[str], str]
    where: Callable[[str, str, str], str]
    month: str
    teams: str
    uuid: str
    hashed: str
    div: str


def aggregated(grouping: Grouping, rows: Sql, functions: Functions) -> Sql:
    """The statement: of each group its values, then its measures; one group more than there may be, at the most. `rows`
    is `FROM` and `WHERE` of the records."""
    parameters: list[Parameter] = []
    inner = ["*"]
    if grouping.bucket is not None or grouping.shifts:
        inner.append(f"{_wall(grouping, parameters)} AS wall")
    if "team_ids" in grouping.by:
        inner.append(f"{functions.teams} AS team")
    keys = [_type(grouping) if name == "type" else "team" if name == "team_ids" else name for name in grouping.by]
    buckets = [] if grouping.bucket is None else [_bucket(grouping.bucket, functions)]
    if grouping.shifts:
        return _shifts(
            [*buckets, *keys], Sql(f"SELECT {', '.join(inner)} {rows.text}", (*parameters, *rows.parameters))
        )
    measures = [_measure(each, functions) for each in grouping.measures]
    columns = ", ".join([*buckets, *keys, *(each.text for each in measures)])
    text = f"SELECT {columns} FROM (SELECT {', '.join(inner)} {rows.text})"
    groups = ", ".join(str(number) for number in range(1, len(buckets) + len(keys) + 1))
    if groups:
        text += f" GROUP BY {groups} ORDER BY {groups} LIMIT {MOST_GROUPS + 1}"
    values = (value for each in measures for value in each.parameters)
    return Sql(text, (*values, *parameters, *rows.parameters))


def _shifts(keys: Sequence[str], rows: Sql) -> Sql:
    """See `statistics.OCCUPANCY`: each agent's day first, then these together."""
    named = [f"{key} AS k{number}" for number, key in enumerate(keys)]
    wrapped = "CASE WHEN wrapup_s > 0 THEN wrapup_s - 1 ELSE 0 END"
    day = f"{_floor('wall', DAY_MS)} AS day"
    days = (
        f"SELECT {', '.join([*named, 'agent_id AS who', day])},"
        f" sum((talk_s - 1 + {wrapped}) * 1000) AS busy,"
        f" max(started_ms + (duration_s + {wrapped}) * 1000) - min(started_ms) AS shift"
        f" FROM ({rows.text}) WHERE agent_id > 0 AND talk_s > 0 AND disposition = {ANSWERED_CODE}"
        f" GROUP BY {', '.join(str(number) for number in range(1, len(keys) + 3))}"
    )
    found = ", ".join([*(f"k{number}" for number in range(len(keys))), "sum(busy)", "sum(shift)"])
    text = f"SELECT {found} FROM ({days})"
    if keys:
        groups = ", ".join(str(number) for number in range(1, len(keys) + 1))
        text += f" GROUP BY {groups} ORDER BY {groups} LIMIT {MOST_GROUPS + 1}"
    return Sql(text, rows.parameters)


def _type(grouping: Grouping) -> str:
    """A type's code, or that of the one that it counts as; codes of ours, which are no values that somebody sent."""
    cases = " ".join(f"WHEN {code:d} THEN {first:d}" for code, first in grouping.alike)
    return f"CASE type {cases} ELSE type END" if cases else "type"


def _wall(grouping: Grouping, parameters: list[Parameter]) -> str:
    """What a wall clock shows as a record begins, in milliseconds."""
    (_, first), *later = grouping.offsets
    text = "?"
    parts: list[Parameter] = [first]
    for from_ms, offset in later:
        text = f"CASE WHEN started_ms >= ? THEN ? ELSE {text} END"
        parts = [from_ms, offset, *parts]
    parameters += parts
    return f"started_ms + {text}"


def _floor(value: str, size: int) -> str:
    return f"({value} - ((({value} % {size}) + {size}) % {size}))"


def _bucket(bucket: Bucket | str, functions: Functions) -> str:
    day = f"({_floor('wall', DAY_MS)} {functions.div} {DAY_MS})"
    weekday = f"((({day} + 3) % 7 + 7) % 7)"  # the first of January 1970 was a Thursday
    match bucket:
        case "hour":
            return f"started_ms - (wall - {_floor('wall', HOUR_MS)})"
        case "day":
            return _floor("wall", DAY_MS)
        case "week":
            return f"({day} - {weekday}) * {DAY_MS}"
        case "month":
            return functions.month
        case "weekday":
            return f"{weekday} + 1"
        case "hour_of_day":
            return f"(wall - {_floor('wall', DAY_MS)}) {functions.div} {HOUR_MS}"
        case _:
            return functions.uuid


def _measure(measure: Measure, functions: Functions) -> Sql:
    terms: list[str] = []
    parameters: list[Parameter] = []
    if measure.outcomes:
        terms.append(f"disposition IN ({', '.join('?' * len(measure.outcomes))})")
        parameters += measure.outcomes
    if measure.waited_s is not None:
        terms.append("wait_s BETWEEN 1 AND ?")
        parameters.append(measure.waited_s + 1)  # as columns keep lengths that may be unknown
    if measure.how == "hash":
        return Sql(functions.hashed.format(functions.uuid))
    if measure.how == "count":
        return Sql(functions.count(" AND ".join(terms)) if terms else "count(*)", tuple(parameters))
    value = measure.column
    if COLUMN[measure.column].kind is Kind.SECONDS:
        terms.append(f"{measure.column} > 0")
        value = f"({measure.column} - 1)"
    condition = " AND ".join(terms) or "TRUE"
    text = functions.where(measure.how, value, condition)
    return Sql(text, tuple(parameters) * text.count(condition) if parameters else ())

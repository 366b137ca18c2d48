"""What became of missed calls, as SQL with what engines differ in: see `search.missed`. Pure.

Missed calls are joined with the answered ones by number, each with the first that began later (ASOF). A page asks it
of the stretch of time alone in which it lies, and of the hours behind that: so a walk costs what it holds.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import msgspec

from calldex.search.missed import (
    ANSWERED_CODE,
    ANSWERED_LATER,
    HOUR_MS,
    INBOUND_CODE,
    MISSED_CODES,
    OPEN,
    OUTGOING_CODES,
    RETURNED,
    states,
)
from calldex.search.query import Query
from calldex.store import MissedAsk, MissedLine, Span
from calldex.store.sql import Dialect, Parameter, Sql, where

MOST_UUIDS: Final = 20
"""Of so many of a line's calls the uuids are told, newest first."""
Stretch = tuple[int | None, int | None]
"""From when, until when (excluded)."""


class Words(msgspec.Struct, frozen=True):
    """What differs between engines: the table, a number with its letters in lower case, the uuid as text, the uuids of
    a group, newest first, and a list of texts as what a text may be in."""

    table: str
    number: str
    uuid: str
    newest: str
    listed: str


MISSED: Final = f"type = {INBOUND_CODE} AND disposition IN ({', '.join(map(str, MISSED_CODES))})"
_OUTGOING: Final = f"type IN ({', '.join(map(str, OUTGOING_CODES))}) AND disposition = {ANSWERED_CODE}"
_INCOMING: Final = f"type = {INBOUND_CODE} AND disposition = {ANSWERED_CODE}"
_IN_TIME: Final = "a.state > 0 AND a.started_ms - m.started_ms <= ?"


class As(msgspec.Struct, frozen=True, kw_only=True):
    """As what records are read: of which commit, in which dialect, with which commits void."""

    as_of: int
    dialect: Dialect
    words: Words
    void: Sequence[Span] = ()

    def rows(self, columns: str, query: Query, more: str) -> Sql:
        """Some columns of the records that a query means, and that are as `more` says."""
        condition = where(query, self.as_of, self.dialect, self.void)
        return Sql(f"SELECT {columns} FROM {self.words.table} WHERE {condition.text} AND {more}", condition.parameters)


def asked(query: Query, stretch: Stretch, read: As) -> list[Sql]:
    """The conditions that records of a stretch of time are as the query's conditions about callbacks say."""
    if not query.callbacks:
        return []
    start_ms, end_ms = _narrower(query, stretch)
    whole = Query(scope=query.scope, start_ms=start_ms, end_ms=end_ms, callback_hours=query.callback_hours)
    number = read.words.number.format("caller")
    missed = read.rows(f"seq, started_ms, {number} AS number", whole, MISSED)
    joined = _joined(missed, whole, read)
    state = f"CASE WHEN {_IN_TIME} THEN a.state ELSE {OPEN} END"
    within = query.callback_hours * HOUR_MS
    return [
        Sql(
            f"seq {'NOT ' * each.negated}IN (SELECT m.seq FROM {joined.text}"
            f" WHERE {state} IN ({', '.join('?' * len(each.values))}))",
            (*joined.parameters, within, *each.values),
        )
        for each in query.callbacks
    ]


def _narrower(query: Query, stretch: Stretch) -> Stretch:
    starts = [ms for ms in (query.start_ms, stretch[0]) if ms is not None]
    ends = [ms for ms in (query.end_ms, stretch[1]) if ms is not None]
    return max(starts, default=None), min(ends, default=None)


def _joined(missed: Sql, query: Query, read: As, *, with_uuid: bool = False) -> Sql:
    """Missed calls `m` with the first answered call `a` that followed. Of two that began at once a return counts, as
    its state is the lesser; so `answer` has the state before the uuid."""
    within = query.callback_hours * HOUR_MS
    later = Query(
        scope=query.scope,
        start_ms=query.start_ms,
        end_ms=None if query.end_ms is None else query.end_ms + within + 1,
    )
    answer = f", concat('{{}}', {read.words.uuid}) AS answer" if with_uuid else ""
    parts = [
        read.rows(
            f"{read.words.number.format(column)} AS number, started_ms, {state} AS state{answer.format(state)}",
            later,
            f"{kind} AND {column} <> ''",
        )
        for column, state, kind in (("callee", RETURNED, _OUTGOING), ("caller", ANSWERED_LATER, _INCOMING))
    ]
    least = ", min(answer) AS answer" if with_uuid else ""
    return Sql(
        f"({missed.text}) AS m ASOF LEFT JOIN (SELECT number, started_ms, min(state) AS state{least}"
        f" FROM ({parts[0].text} UNION ALL {parts[1].text})"
        # Most numbers were never missed, and joining by time sorts all that it is given.
        f" WHERE number IN (SELECT number FROM ({missed.text})) GROUP BY number, started_ms) AS a"
        " ON m.number = a.number AND m.started_ms < a.started_ms",
        (*missed.parameters, *parts[0].parameters, *parts[1].parameters, *missed.parameters),
    )


def lines(query: Query, ask: MissedAsk, read: As) -> Sql:
    """The lines of the missed calls that a query means, newest first: how many there are in all, then the members of
    `MissedLine`, with 0 and an empty text for an answer that there is not."""
    uuid, number = read.words.uuid, read.words.number.format("caller")
    missed = read.rows(f"{uuid} AS uuid, started_ms, {number} AS number", query, MISSED)
    joined = _joined(missed, query, read, with_uuid=True)
    within = query.callback_hours * HOUR_MS
    left = states(query.callbacks)
    each = (
        "SELECT m.uuid AS uuid, m.started_ms AS started_ms, m.number AS number,"
        f" CASE WHEN {_IN_TIME} THEN a.state ELSE {OPEN} END AS state,"
        f" CASE WHEN {_IN_TIME} THEN a.started_ms ELSE 0 END AS answer_ms,"
        f" CASE WHEN {_IN_TIME} THEN substring(a.answer, 2) ELSE '' END AS answer,"
        f" CASE WHEN m.number = '' THEN m.uuid ELSE '' END AS alone FROM {joined.text}"
    )
    grouped = (
        "SELECT min(started_ms) AS first_ms, max(started_ms) AS last_ms, count(*) AS attempts,"
        f" {read.words.newest} AS uuids, state, answer_ms, answer FROM ({each})"
        f" WHERE state IN ({', '.join('?' * len(left)) or 'NULL'}) GROUP BY number, alone, state, answer_ms, answer"
    )
    parameters: list[Parameter] = [within, within, within, *joined.parameters, *left]
    text = f"SELECT *, uuids[1] AS last_uuid FROM ({grouped})"
    if ask.last is not None:
        text += f" WHERE uuids[1] {'NOT ' * ask.without}IN {read.words.listed}"
        parameters.append(list(ask.last))
    text = f"SELECT count(*) OVER () AS total, * FROM ({text})"
    if ask.after is not None:
        text = f"SELECT * FROM ({text}) WHERE last_ms < ? OR (last_ms = ? AND last_uuid < ?)"
        parameters += [ask.after.started_ms, ask.after.started_ms, ask.after.uuid]
    text += " ORDER BY last_ms DESC, last_uuid DESC LIMIT ? OFFSET ?"
    return Sql(text, (*parameters, ask.limit, ask.skip))


def line(row: Sequence[Any]) -> MissedLine:
    """A row of `lines`, without its total, as a line."""
    first_ms, last_ms, attempts, uuids, state, answer_ms, answer = row[:7]
    found = (answer_ms, answer) if state != OPEN else (None, None)
    return MissedLine(first_ms, last_ms, attempts, [str(uuid) for uuid in uuids], state, *found)


def everything(query: Query) -> bool:
    """Whether what is asked about callbacks may leave records that are no missed calls."""
    return all(condition.negated for condition in query.callbacks)

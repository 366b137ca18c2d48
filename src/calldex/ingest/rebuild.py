"""The calls of a source are put together again from the rows that are kept, as the source is set up now.

Step by step, each one commit of a bounded number of rows, while everything else goes on; a rebuild that is broken off
is begun again and does no harm. First the links of all rows are made as they would be made today: that changes no
record. Then every call is assembled: a record that comes out as it is kept makes no version.

A record that was erased stays erased, whatever is known of its rows.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any, Final

import msgspec

from calldex.directory import Directory, Seen
from calldex.errors import UsageProblem
from calldex.formats import RowFormat
from calldex.ingest.calls import Feed, assembled, grouped, records_of
from calldex.ingest.settle import settled
from calldex.ingest.workers import mentions
from calldex.records import codec
from calldex.records.record import CallRow, Cdr
from calldex.store import Batch, Store

STEP: Final = 500
"""How many rows a step looks at; their calls may have others."""
EXAMPLES: Final = 5
"""How many changes a step shows."""


class Change(msgspec.Struct, frozen=True):
    """What a rebuild changes of a record: of each member what it was and what it is."""

    uuid: str
    members: dict[str, tuple[Any, Any]]


class Rebuilt(msgspec.Struct):
    """What a rebuild, or a step of it, found: how many calls came out as they were, changed, or new, how many records
    are no calls of their own any more, and how many were left alone because they had been erased.

    `members` counts the members of records that changed; `examples` are a few of them.
    """

    unchanged: int = 0
    changed: int = 0
    new: int = 0
    gone: int = 0
    erased: int = 0
    members: dict[str, int] = {}
    examples: list[Change] = []

    def include(self, other: Rebuilt) -> None:
        """Count what another step counted."""
        for name in ("unchanged", "changed", "new", "gone", "erased"):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        self.members = dict(Counter(self.members) + Counter(other.members))
        self.examples = [*self.examples, *other.examples][:EXAMPLES]


class Step(msgspec.Struct, frozen=True):
    """A step of a rebuild: the row it ended with (None: there are no more), how many it looked at, what it found."""

    last: int | None
    rows: int
    found: Rebuilt


def row_format(feed: Feed) -> RowFormat:
    """The format of a source of rows. Raises `UsageProblem` for one of whole records, which nothing is kept of."""
    if not isinstance(feed.format, RowFormat):
        raise UsageProblem(
            f"the source {feed.source} has records of the format {feed.format.name}, which are kept as they came:"
            " there is nothing to put together again; import the files once more"
        )
    return feed.format


class Rebuild:
    """Works on the rows of one source."""

    def __init__(self, directory: Directory, store: Store, feed: Feed) -> None:
        self._directory = directory
        self._store = store
        self._feed = feed
        self._format = row_format(feed)

    def relink(self, after: int) -> Step:
        """Give the next rows behind an id the links that they would have if they came today, beside those they have."""
        feed = self._feed
        page = self._store.rows_of_source(feed.account_id, feed.source, after, STEP)

        def make() -> Batch:
            rows = []
            for row in self._kept([row for _, row in page]):
                links = tuple(dict.fromkeys((*row.links, *self._format.links(row))))
                if links != row.links:
                    rows.append(msgspec.structs.replace(row, links=links))
            return Batch(account_id=feed.account_id, source=feed.source, format=feed.format.name, origin="", rows=rows)

        if page:
            self._store.assemble(feed.account_id, make)
        return Step(_last(page), len(page), Rebuilt())

    def preview(self, after: int) -> Step:
        """What the next step would change."""
        page, calls = self._page(after)
        return Step(_last(page), len(page), self._compared(*self._batch(calls)))

    def step(self, after: int) -> Step:
        """Put the calls of the next rows behind an id together again, and say what that changed."""
        feed = self._feed
        found = Rebuilt()
        page: list[tuple[int, CallRow]] = []

        def make() -> Batch:
            nonlocal found, page
            page, calls = self._page(after)
            batch, erased = self._batch(calls)
            found = self._compared(batch, erased)
            self._directory.note_seen(feed.account_id, [Seen(*mention) for mention in mentions(records_of(batch))])
            return batch

        self._store.assemble(feed.account_id, make)
        return Step(_last(page), len(page), found)

    def _kept(self, rows: Sequence[CallRow]) -> list[CallRow]:
        """Rows as they are kept at this moment."""
        wanted = {row.key for row in rows}
        links = sorted({link for row in rows for link in row.links})
        kept = self._store.rows_of_calls(self._feed.account_id, self._feed.source, links)
        return [row for row in kept if row.key in wanted]

    def _page(self, after: int) -> tuple[list[tuple[int, CallRow]], list[list[CallRow]]]:
        """The next rows, and the calls of which the first row, by its key, is among them: each call comes once."""
        feed = self._feed
        page = self._store.rows_of_source(feed.account_id, feed.source, after, STEP)
        keys = {row.key for _, row in page}
        links = sorted({link for _, row in page for link in row.links})
        calls = grouped(self._store.rows_of_calls(feed.account_id, feed.source, links))
        return page, [call for call in calls if min(row.key for row in call) in keys]

    def _batch(self, calls: Sequence[list[CallRow]]) -> tuple[Batch, int]:
        """What putting calls together makes, and how many of them were erased."""
        kept, erased = [], 0
        for call in calls:
            uuids = {row.uuid for row in call if row.uuid is not None}
            if uuids and all(self._store.get(self._feed.account_id, uuid) is None for uuid in uuids):
                erased += 1
            else:
                kept.append(call)
        batch = assembled(self._directory, self._feed, self._format, kept, frozenset())
        records = [self._as_settled(record) for record in records_of(batch)]
        return msgspec.structs.replace(batch, records=records), erased

    def _as_settled(self, record: Cdr) -> Cdr:
        """A call that goes on by its rows, and was taken to be over before, still is."""
        if "provisional" not in record.flags:
            return record
        live = self._store.get(self._feed.account_id, record.uuid)
        was = codec.decode(live.json, "") if live is not None and live.json is not None else None
        return settled(record) if isinstance(was, Cdr) and "unfinished" in was.flags else record

    def _compared(self, batch: Batch, erased: int) -> Rebuilt:
        found = Rebuilt(gone=len(batch.removed), erased=erased)
        for record in records_of(batch):
            live = self._store.get(self._feed.account_id, record.uuid)
            now = codec.encode(record)
            if live is None or live.json is None:
                found.new += 1
            elif live.json == now:
                found.unchanged += 1
            else:
                found.changed += 1
                change = _change(record.uuid, live.json, now)
                found.include(Rebuilt(members=dict.fromkeys(change.members, 1), examples=[change]))
        return found


def _last(page: Sequence[tuple[int, CallRow]]) -> int | None:
    return page[-1][0] if len(page) == STEP else None


def _change(uuid: str, before: bytes, after: bytes) -> Change:
    was, now = msgspec.json.decode(before), msgspec.json.decode(after)
    return Change(uuid, {name: (was.get(name), now[name]) for name in now if was.get(name) != now[name]})

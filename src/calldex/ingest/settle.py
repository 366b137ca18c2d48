"""Calls whose end never came are taken to be over, once, a stated time after the last thing known of them.

A call that is put together from rows waits, or is active, until its rows end it. If the log that would tell is lost, or
the telephone system was switched off, no row ever does: after the `settle_after` of its source a waiting call counts as
abandoned and an active one as answered, and its flag says `unfinished` in place of `provisional`. A row that comes
later makes the call anew. Knows no format by name and asks no clock.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Final

import msgspec

from calldex.access import Scope
from calldex.directory import Directory
from calldex.formats import RowSettings, formats, settings_of
from calldex.records import codec
from calldex.records.fields import Op
from calldex.records.record import DISPOSITIONS, Cdr, Disposition, Flag, to_ms
from calldex.search.query import Condition, Query
from calldex.store import Batch, Store

_AT_ONCE: Final = 1000
"""Records read, and written in a commit, at once."""
_SETTLED: Final[Mapping[Disposition, Disposition]] = {"waiting": "abandoned", "active": "answered"}
_OPEN: Final = Condition(Op.ANY_WORD, "disposition", tuple(DISPOSITIONS.index(word) + 1 for word in _SETTLED))


class _Due(msgspec.Struct, frozen=True):
    """Until when the last thing known of a source's open call must lie, in epoch milliseconds, for it to be over."""

    format: str
    before_ms: int


def settle(directory: Directory, store: Store, now_ms: int) -> int:
    """Settle every call that is due; how many there were. Raises what `Store.assemble` and searches raise."""
    due: dict[int, dict[str, _Due]] = {}
    known = formats()
    for source in directory.sources():
        settings = settings_of(known[source.format], source.settings)
        if isinstance(settings, RowSettings):
            before_ms = now_ms - settings.settle_after_s * 1000
            due.setdefault(source.account_id, {})[source.name] = _Due(source.format, before_ms)
    return sum(_settle_account(store, account_id, sources) for account_id, sources in due.items())


def _settle_account(store: Store, account_id: int, sources: Mapping[str, _Due]) -> int:
    settled = 0
    for found in _open_calls(store, account_id, max(each.before_ms for each in sources.values())):
        for name, each in sources.items():
            uuids = [cdr.uuid for cdr in found if cdr.source == name and _is_due(cdr, each)]
            if uuids:
                settled += _write(store, account_id, name, each, uuids)
    return settled


def _open_calls(store: Store, account_id: int, before_ms: int) -> Iterator[list[Cdr]]:
    """The calls that were open and had begun before then, some at a time."""
    query = Query(scope=Scope(account_id=account_id, whole=True), where=(_OPEN,), end_ms=before_ms)
    as_of = store.head(account_id)
    total = store.total(query, as_of)
    after, passed = None, 0
    while passed < total:
        found = store.slice(query, as_of, limit=_AT_ONCE, total=total, after=after)
        if found.last is None:
            return
        after, passed = found.last, passed + found.count
        yield [cdr for line in found.json.split(b"\n") if (cdr := _cdr(line)) is not None]


def _write(store: Store, account_id: int, source: str, due: _Due, uuids: Sequence[str]) -> int:
    """Settle those of these calls that still are due when nobody else can change them."""
    records: list[Cdr] = []

    def make() -> Batch:
        for uuid in uuids:
            version = store.get(account_id, uuid)
            cdr = _cdr(version.json) if version is not None and version.json is not None else None
            if cdr is not None and _is_due(cdr, due):
                records.append(settled(cdr))
        return Batch(account_id=account_id, source=source, format=due.format, origin="settled", records=records)

    store.assemble(account_id, make)
    return len(records)


def _cdr(json: bytes) -> Cdr | None:
    found = codec.decode(json, "")
    return found if isinstance(found, Cdr) else None


def _is_due(cdr: Cdr, due: _Due) -> bool:
    is_open = cdr.disposition in _SETTLED and "provisional" in cdr.flags
    return is_open and to_ms(last_known(cdr)) < due.before_ms


def last_known(cdr: Cdr) -> datetime:
    """The last moment that a record tells of."""
    moments = [cdr.started_at, cdr.answered_at, cdr.ended_at, *(event.at for event in cdr.events)]
    for leg in cdr.legs:
        moments += (leg.started_at, leg.answered_at, leg.ended_at)
    return max(moment for moment in moments if moment is not None)


def settled(cdr: Cdr) -> Cdr:
    """An open call as one that is taken to be over."""
    kept: tuple[Flag, ...] = tuple(flag for flag in cdr.flags if flag != "provisional")
    return msgspec.structs.replace(cdr, disposition=_SETTLED[cdr.disposition], flags=(*kept, "unfinished"))

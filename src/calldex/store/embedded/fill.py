"""Columns that a migration added to records that were there: filled in from the stored JSON, in the background.

First the ledger gets the values, some thousand versions in a transaction, then the columns get them from it. Both
remember how far they have come, so that a store that was closed or killed goes on from there. Until all of it is done,
a search by such a column is refused with how far it is; everything else is served meanwhile. No engine, no files.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from typing import Any, Final

import msgspec
import structlog

from calldex.errors import CalldexError, DiskFull, StoreNotReady
from calldex.search.query import Query
from calldex.store.embedded.columns import Columns
from calldex.store.embedded.engine import NoRoom
from calldex.store.embedded.ledger import Ledger
from calldex.store.embedded.packing import Garbled
from calldex.store.sql import values_of

LEDGER_AT_ONCE = 2_000
"""Versions that the ledger changes while others wait to write."""
COLUMNS_AT_ONCE = 20_480
AGAIN_S = 1.0
PACKED: Final = "json"
"""Is not added, but compressed."""

_log = structlog.get_logger(__name__)

Turn = Callable[[], AbstractContextManager[object]]
Ask = Callable[[Callable[[Columns], bool]], bool]


class Filler:
    """Fills in what is lacking, by a thread of its own. `turn` keeps other writers out, `ask` asks the columns as soon
    as they answer."""

    def __init__(self, ledger: Ledger, turn: Turn, ask: Ask) -> None:
        self._ledger, self._turn, self._ask = ledger, turn, ask
        self._closing = threading.Event()
        self._failed = ""
        self._thread = threading.Thread(target=self._run, name="fill", daemon=True)
        if ledger.gaps:
            self._thread.start()

    def close(self) -> None:
        """Stop where it is."""
        self._closing.set()
        if self._ledger.gaps:
            self._thread.join()

    def refuse(self, query: Query, columns: Columns | None, more: Iterable[str] = ()) -> None:
        """Raise `StoreNotReady` if a search asks for a column that has not all its values, in the ledger or, with
        `columns`, in them; or for one of `more`."""
        for name in dict.fromkeys((*(condition.column for condition in query.where), *more)):
            gap = self._ledger.gaps.get(name)
            if gap is None:
                continue
            parts = [gap.upto] if columns is None else [gap.upto, columns.filled.get(name, gap.last)]
            if min(parts) < gap.last:
                told = sum(parts) * 100 // (len(parts) * gap.last)
                raise StoreNotReady(
                    f"searches by {name} cannot be answered yet: of the records from before the update, {told} % are"
                    f" made ready for it{self._failed}",
                    retry_after=5,
                )

    def _run(self) -> None:
        names = sorted(self._ledger.gaps)
        try:
            while not self._closing.is_set():
                try:
                    if not self._some():
                        return
                except CalldexError as error:  # there is no room, or the columns are being made again: later
                    _log.warning("fill_waits", columns=names, reason=error.message)
                    self._closing.wait(AGAIN_S)
        except Exception as error:  # noqa: BLE001 - what is lacking is refused; everything else goes on
            self._failed = f"; it stopped: {error}"
            _log.exception("fill_failed", columns=names)

    def _some(self) -> bool:
        """Fill in some more; whether that was not the last."""
        lacking = [name for name, gap in self._ledger.gaps.items() if gap.upto < gap.last]
        if lacking:
            self._in_ledger(lacking)
            return True
        return self._ask(self._in_columns)

    def _in_ledger(self, names: list[str]) -> None:
        """The JSON of a version never changes, so it may be read before others have to wait."""
        after = min(self._ledger.gaps[name].upto for name in names)
        last = max(self._ledger.gaps[name].last for name in names)
        found = self._ledger.versions.texts(after, last, LEDGER_AT_ONCE)
        upto = found[-1][0] if len(found) == LEDGER_AT_ONCE else last
        filled = []
        packing = self._ledger.packing
        for seq, stored in found:
            try:
                json = packing.plain(stored) or b""
                values: dict[str, Any] = {} if names == [PACKED] else values_of(json)
            except (msgspec.DecodeError, UnicodeDecodeError, Garbled) as error:  # damaged, as `calldex check` tells
                _log.error("version_not_readable", seq=seq, reason=str(error))
                continue
            if PACKED in names:
                values[PACKED] = packing.pack([json])[0]
            filled.append((*(values[name] for name in names), seq))
        with self._turn():
            self._ledger.fill(names, filled, upto)
        if upto == last:
            _log.info("ledger_filled", columns=names, versions=last)

    def _in_columns(self, columns: Columns) -> bool:
        gaps = self._ledger.gaps
        lacking = {name: upto for name, upto in columns.filled.items() if name in gaps and upto < gaps[name].last}
        if not lacking or self._closing.is_set():
            return False
        after, last = min(lacking.values()), max(gaps[name].last for name in lacking)
        upto = min(after + COLUMNS_AT_ONCE, last, columns.applied)
        if upto == after:
            self._closing.wait(AGAIN_S)
        else:
            names = list(lacking)
            try:
                columns.fill(names, self._ledger.versions.columns_of(names, after, upto), upto)
            except NoRoom as error:
                raise DiskFull(f"the columns cannot be filled in: {error}") from error
        if upto == last:
            _log.info("columns_filled", columns=list(lacking), versions=last)
        return True

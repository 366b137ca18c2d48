"""Columns that a migration added to records that were there: filled in from the stored JSON, in the background.

First the ledger gets the values, some thousand versions in a transaction, then the columns get them from it. Both
remember how far they have come, so that a store that was closed or killed goes on from there. Until all of it is done,
a search by such a column is refused with how far it is; everything else is served meanwhile. No engine, no files.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping
from typing import Final, TypeVar

import msgspec
import structlog

from calldex.errors import CalldexError, StoreNotReady
from calldex.store.embedded.columns import Columns
from calldex.store.embedded.ledger import Gap, Ledger

LEDGER_AT_ONCE: Final = 2_000
"""Versions that are filled in while writers wait: some ten milliseconds."""
COLUMNS_AT_ONCE: Final = 20_480
_AGAIN_S: Final = 1.0

_T = TypeVar("_T")
_log = structlog.get_logger(__name__)


class Filler:
    """Fills in what is lacking, by a thread of its own. `ask` asks the columns as soon as they answer."""

    def __init__(
        self, ledger: Ledger, writing: threading.Lock, ask: Callable[[Callable[[Columns], None]], None]
    ) -> None:
        self._ledger, self._writing, self._ask = ledger, writing, ask
        self._closing = threading.Event()
        self._failed: str | None = None
        self._thread = threading.Thread(target=self._run, name="fill", daemon=True)

    def start(self) -> None:
        """Begin, if anything is lacking."""
        if self._ledger.gaps:
            self._thread.start()

    def close(self) -> None:
        """Stop where it is."""
        self._closing.set()
        if self._thread.is_alive():
            self._thread.join()

    def _run(self) -> None:
        lacking = ", ".join(sorted(self._ledger.gaps))
        try:
            while not self._closing.is_set() and self._some():
                pass
        except Exception as error:  # what is lacking stays so, and is refused; the rest goes on
            self._failed = str(error)
            _log.exception("fill_failed", columns=lacking)
            return

    def _some(self) -> bool:
        """Fill in some more; whether there is any left."""
        open_ = {name: gap for name, gap in self._ledger.gaps.items() if gap.upto < gap.last}
        if open_:
            self._ledger_some(open_)
            return True
        left = False

        def some(columns: Columns) -> None:
            nonlocal left
            left = self._columns_some(columns)

        try:
            self._ask(some)
        except CalldexError:  # they are being made again, or there is no room: later
            self._closing.wait(_AGAIN_S)
            return True
        return left

"""The schemas of the ledger (SQLite) and of the columns (DuckDB): numbered, literal files beside this one.

A new column is one file for each. `tests/store/test_schemas.py` holds that the newest fit the table of `fields`.
"""

from __future__ import annotations

from typing import Final

from calldex.store.migrations import read

LEDGER: Final = read(__name__, "ledger")
COLUMNS: Final = read(__name__, "columns")

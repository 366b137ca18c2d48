"""How the columns' table becomes the index: what is read of it, and the checksums by which both are compared. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from typing import Final

from calldex.records.fields import PREFIX_DIGITS
from calldex.store.embedded.index import SUMMED, keys_of
from calldex.store.embedded.segment import KEPT, NUMBERS, TEXTS, Array, Rows

_DAY_MS: Final = 86_400_000
_DAY_0: Final = date(1970, 1, 1).toordinal()
_FAR: Final = 10**9
"""More days than any instant lies before 1970: DuckDB divides towards zero."""
_PLAIN: Final = f"regexp_full_match({{}}, '[0-9]{{{{1,{PREFIX_DIGITS}}}}}')"
_OTHERWISE: Final = {
    name: f"(2 * {name}_key::UBIGINT + CASE WHEN {_PLAIN.format(name)} THEN 0 ELSE 1 END)::UBIGINT" for name in NUMBERS
} | {text: f"CASE WHEN {_PLAIN.format(name)} THEN '' ELSE {name} END" for name, text in TEXTS.items()}
"""Columns that the index has in another form, see `index.keys_of`."""

INDEXED: Final = (
    "SELECT seq, seq_to, account_id, started_ms, party,"
    f" {', '.join(f'{_OTHERWISE.get(name, name)} AS {name}' for name in (*KEPT, *NUMBERS, *TEXTS.values()))}"
    " FROM kept.cdr WHERE seq > ? AND seq <= ?"
)
"""What the index keeps of the versions of some commits; see `Index.load`."""

_SUMMED: Final = (
    _OTHERWISE
    | {"wrapup_code": "md5_number_lower(wrapup_code)"}
    | {
        text: f"CASE WHEN {name} = '' OR {_PLAIN.format(name)} THEN 0 ELSE ?::UTINYINT * md5_number_lower({name}) END"
        for name, text in TEXTS.items()
    }
)
SUMS: Final = (
    f"SELECT account_id, (started_ms + {_FAR * _DAY_MS}) // {_DAY_MS} - {_FAR} AS day, count(*),"
    f" (sum({' + '.join(f'{odd} * ({_SUMMED.get(name, name)})::HUGEINT' for name, odd in SUMMED.items())})"
    " % 18446744073709551616 + 18446744073709551616) % 18446744073709551616"
    " FROM kept.cdr WHERE seq <= ? AND seq_to > ? GROUP BY account_id, day"
)
"""Account, day, number and checksum of what was live as of a commit; see `Index.days`. Given are 1 or 0 for each of
`TEXTS`, whether it counts, and twice the commit."""


def day_of(day: int) -> str:
    """A day that is counted from 1970, as `check` shows it."""
    return date.fromordinal(_DAY_0 + day).isoformat()


def indexed(arrays: Mapping[str, Array]) -> Rows:
    """The same of versions that are just taken in."""
    own = ("seq", "seq_to", "account_id", "started_ms", "party", *KEPT)
    numbers = {name: keys_of(arrays[f"{name}_key"], arrays[name]) for name in NUMBERS}
    texts = {text: arrays[name] for name, text in TEXTS.items()}
    return {**{name: arrays[name] for name in own}, **numbers, **texts}

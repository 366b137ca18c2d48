"""What is asked in which order, and what is made of the replies: the same for `Client` and `AsyncClient`.

A flow says what to ask next, and takes the reply. It does no input or output, and knows neither sleeping nor threads.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any, Final

from calldex.client.problems import Incomplete
from calldex.texts import as_item

Record = dict[str, Any]
"""A record as it is served."""
Value = str | int | bool | date | datetime | Iterable[str | int]
"""What a parameter can be given as: a list becomes values with commas between, an instant ISO 8601, a truth `yes` or
`no`."""

CDRS: Final = "/api/v2/cdr"
EXPECTED: Final = "calldex-expected-records"


@dataclass(frozen=True)
class Ask:
    """A GET: its path and its parameters."""

    path: str
    parameters: Mapping[str, str]


@dataclass(frozen=True)
class Changes:
    """A page of the change feed. Keep `next_cursor` when its `changes` are dealt with: they never come again behind
    it. Each change is a dictionary with `seq`, `change` (`upsert` or `delete`), `uuid`, `at` and `record`.
    `complete_through`: nothing can come any more that happened before this instant."""

    changes: list[dict[str, Any]]
    next_cursor: str
    has_more: bool
    complete_through: str | None


@dataclass(frozen=True)
class Exported:
    """A whole file: how many records it has, its size in bytes, and its SHA-256 in hexadecimal."""

    records: int | None
    size: int
    sha256: str


def parameters(given: Mapping[str, Value | None]) -> dict[str, str]:
    """Parameters as text; what is None is not given."""
    return {name: _text(name, value) for name, value in given.items() if value is not None}


def _text(name: str, value: Value) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return str(value)
    if isinstance(value, datetime):
        if value.tzinfo is None:
            raise ValueError(f"{name}: {value} has no zone; give an instant with one, or a date")
        return value.isoformat()
    if isinstance(value, date):
        return value.isoformat()
    return ",".join(_listed(name, item) for item in value)


def _listed(name: str, item: str | int) -> str:
    """An item of a list, in quotes where the API needs them, as for a comma."""
    if not isinstance(item, str | int):
        raise TypeError(f"{name}: a list has texts and whole numbers, and this one has {item!r}")
    return as_item(str(item))


class Walk:
    """The walk over all records that match, page by page, by search token."""

    def __init__(self, given: Mapping[str, Value | None]) -> None:
        self._given = parameters({"per_page": 10_000, **given})
        self._token: str | None = ""
        self._totals: set[int] = set()
        self._count = 0

    def next(self) -> Ask | None:
        """What to ask; None at the end. `Incomplete` if fewer or more records came than the server had counted."""
        if self._token is not None:
            return Ask(CDRS, self._given | ({"search_token": self._token} if self._token else {}))
        # A server whose total moves in mid-walk cannot be proved wrong by it; Calldex's does not move.
        if len(self._totals) == 1 and self._count not in self._totals:
            raise Incomplete(f"the walk gave {self._count} records of {self._totals.pop()}")
        return None

    def take(self, reply: Mapping[str, Any]) -> list[Record]:
        """The records of a page."""
        records: list[Record] = reply["records"]
        self._totals.add(reply["total"])
        self._count += len(records)
        token = reply.get("search_token")
        if token is not None and not records:
            raise Incomplete("the server gave an empty page and says that more follows")
        self._token = token
        return records


class Feed:
    """The change feed from a cursor on: page by page until its end, or for ever if it is `followed`."""

    def __init__(
        self,
        cursor: str | None,
        start: str | datetime,
        followed: bool,
        wait: int,
        given: Mapping[str, Value | None],
    ) -> None:
        self._given = parameters({"limit": 10_000, **given})
        self._at = {"cursor": cursor} if cursor is not None else parameters({"start": start})
        self._followed = followed
        self._wait = wait
        self._more = True
        self._asked = False

    def next(self) -> Ask | None:
        """What to ask; None at the end. Only at the end of the feed it asks the server to wait for more."""
        if not self._more and not self._followed:
            return None
        wait = {"wait": str(self._wait)} if self._followed and not self._more else {}
        return Ask(f"{CDRS}/changes", self._given | self._at | wait)

    def take(self, reply: Mapping[str, Any]) -> Changes:
        """A page of it."""
        page = Changes(reply["changes"], reply["next_cursor"], reply["has_more"], reply.get("complete_through"))
        self._at, self._more = {"cursor": page.next_cursor}, page.has_more
        return page


class Stream:
    """A file that comes in pieces: summed, and proved whole, also where a proxy ended it properly in its middle."""

    def __init__(self, format_: str, given: Mapping[str, Value | None]) -> None:
        self.ask = Ask(f"{CDRS}/export", parameters({**given, "format": format_}))
        self._more_lines = _MORE_LINES.get(format_, 0) + (given.get("end") is not None)
        self._lines = 0 if format_ in _MORE_LINES else None
        self._quotes = format_ != "ndjson"
        self._inside = 0
        self._end = _ENDS.get(format_, _LINE)
        self._hash = hashlib.sha256()
        self._size = 0
        self._last = b""

    def take(self, piece: bytes) -> bytes:
        """A piece of it, as it is."""
        self._hash.update(piece)
        self._size += len(piece)
        self._last = (self._last + piece[-_LONGEST_END:])[-_LONGEST_END:]
        if self._lines is not None:
            self._lines += self._ended_in(piece)
        return piece

    def _ended_in(self, piece: bytes) -> int:
        """How many lines end in a piece, but for those in a cell's quotes."""
        if not self._quotes:
            return piece.count(b"\n")
        parts = piece.split(b'"')
        ended = sum(part.count(b"\n") for part in parts[self._inside :: 2])
        self._inside ^= (len(parts) - 1) % 2
        return ended

    def ended(self, headers: Mapping[str, str]) -> Exported:
        """What came; `Incomplete` if that is not what the server said that would come."""
        told = headers.get(EXPECTED)
        expected = None if told is None else int(told)
        if expected is not None and self._lines is not None and self._lines - self._more_lines != expected:
            raise Incomplete(f"the export gave {max(0, self._lines - self._more_lines)} records of {expected}")
        if (self._size or expected) and not self._end.search(self._last):
            raise Incomplete("the export lacks what it ends with")
        return Exported(expected, self._size, self._hash.hexdigest())


_MORE_LINES: Final = {"ndjson": 0, "csv": 1, "csv-excel": 1}
"""Of formats of lines: how many there are beside those of records."""
_LINE: Final = re.compile(rb"\n\Z")
_ENDS: Final = {
    "json": re.compile(rb'\],"total":\d+\}\Z'),
    "xlsx": re.compile(rb"PK\x05\x06.{18}\Z", re.DOTALL),
    "parquet": re.compile(rb"PAR1\Z"),
    "arrow": re.compile(rb"\xff{4}\0{4}\Z"),
}
"""What only whole files of the others end with."""
_LONGEST_END: Final = 40


def decoded(body: bytes) -> Any:
    """A reply's JSON; `Incomplete` if it is none, since a proxy may have cut it."""
    try:
        return json.loads(body)
    except ValueError:
        raise Incomplete(f"the reply is not JSON: {body[:100]!r}") from None


def problem_members(body: bytes) -> Mapping[str, Any]:
    """What the body of a refusal tells; nothing, if it is not of the contract (of a proxy, say)."""
    try:
        found = json.loads(body)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


LOOKUPS: Final[Sequence[str]] = ("agents", "queues", "teams", "campaigns", "wrapup_codes")

"""What is asked in which order, and what is made of the replies: the same for `Client` and `AsyncClient`.

A flow says what to ask next, and takes the reply. It does no input or output, and knows neither sleeping nor threads.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any, Final

from calldex.client.problems import Incomplete

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
    """An item of a list; a comma of its own is written with a backslash, as the API reads it."""
    if not isinstance(item, str | int):
        raise TypeError(f"{name}: a list has texts and whole numbers, and this one has {item!r}")
    return str(item).replace("\\", "\\\\").replace(",", "\\,")


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
    """A file that comes in pieces: counted, summed, and proved whole."""

    def __init__(self, format_: str, given: Mapping[str, Value | None]) -> None:
        self.ask = Ask(f"{CDRS}/export", parameters({**given, "format": format_}))
        self._lines = format_ == "ndjson" and given.get("end") is None
        self._hash = hashlib.sha256()
        self._size = 0
        self._count = 0
        self._last = b"\n"

    def take(self, piece: bytes) -> bytes:
        """A piece of it, as it is."""
        self._hash.update(piece)
        self._size += len(piece)
        if self._lines:
            self._count += piece.count(b"\n")
            self._last = piece[-1:] or self._last
        return piece

    def ended(self, headers: Mapping[str, str]) -> Exported:
        """What came; `Incomplete` if that is not what the server said that would come. Where the format is not one of
        lines, that the connection was ended properly is the proof."""
        expected = headers.get(EXPECTED)
        if self._lines and expected is not None and (self._count != int(expected) or self._last != b"\n"):
            raise Incomplete(f"the export gave {self._count} records of {expected}")
        return Exported(None if expected is None else int(expected), self._size, self._hash.hexdigest())


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

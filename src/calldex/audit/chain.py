"""The audit's entries and the chain they form. Pure: no database, no clock, no network.

An entry says who did what, from where, and how many records it was about. It never holds a telephone number, a key, a
password or text that somebody searched for: of these, only how long they were (`searched`).

The entries form a chain: the hash of each is over the hash before it and its own JSON as it is kept. Head and base of
the chain are kept beside it, so that an entry that was altered, removed, inserted or moved shows (`faults`). Who can
write the database can make the whole chain again; what shows that is a link of it that was noted elsewhere (`Link`).
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import cache
from typing import Any, Final, Literal

import msgspec

from calldex.access.masking import NOBODY, masked_text
from calldex.errors import BadParameters, Problem
from calldex.inputs import form_of, words_of
from calldex.records.fields import DAY_PARAMETERS, FILTER, FILTER_PARAMETERS, Filter, Op
from calldex.records.record import plain_uuid
from calldex.texts import without_keys
from calldex.zones import timezones

Action = Literal[
    "search",
    "look_up",
    "details",
    "listen",
    "download",
    "export",
    "export_added",
    "export_removed",
    "export_fetched",
    "export_delivered",
    "export_scheduled",
    "export_unscheduled",
    "export_credentials_set",
    "changes_read",
    "ingest",
    "records_deleted",
    "quarantine_dropped",
    "sign_in",
    "sign_in_failed",
    "sign_out",
    "password_changed",
    "session_ended",
    "seen_as",
    "account_added",
    "account_changed",
    "user_added",
    "user_changed",
    "user_removed",
    "group_added",
    "group_changed",
    "group_removed",
    "team_added",
    "team_changed",
    "team_removed",
    "source_added",
    "source_changed",
    "source_credentials_set",
    "source_removed",
    "name_added",
    "name_changed",
    "name_removed",
    "key_created",
    "key_changed",
    "key_revoked",
    "audit_read",
    "audit_trimmed",
    "missed_marked",
    "missed_unmarked",
    "view_added",
    "view_changed",
    "view_removed",
]
"""What there is to be noted. A name is that of a queue, a campaign or a wrap-up code."""
Detail = Mapping[str, str | int]

OWNER: Final = "owner"
"""The actor of what the owner of the data directory does."""
ITSELF: Final = "calldex"
"""The actor of what Calldex does by itself."""

ENTRY_LIMIT: Final = 4_000
"""Bytes of an entry's JSON."""
MOST_SHOWN: Final = 10
"""Values of one filter that are noted; of more, these and how many there were."""
LINE: Final = 254
"""Characters of an actor or a target."""
_TEXT: Final = 500
_PLAIN: Final = ("networks",)
"""Details that are digits, dots and slashes, and were found to be addresses."""


class Actor(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Who acts, and from where.

    `actor` is their e-mail address, or the one they tried to sign in with; `owner` or `calldex`. `account_id` is 0
    where there is none. `credential` is the prefix of their key, or `session`.
    """

    actor: str
    account_id: int = 0
    user_id: int | None = None
    credential: str = ""
    address: str = ""
    request_id: str = ""


class Seer(Actor, frozen=True, kw_only=True):
    """Who sees as another user, with that one's e-mail address, which an entry has among its details, as `as`."""

    seen_as: str


class Entry(Actor, frozen=True, kw_only=True, omit_defaults=True):
    """One thing that was done. `n` counts all entries without a gap; it and the time are given when it is written.

    `target` is whom or what it was done to, `rows` the number of records it was about, `status` that of the reply.
    """

    action: Action
    n: int = 0
    at_ms: int = 0
    target: str = ""
    detail: dict[str, str | int] = {}
    rows: int | None = None
    status: int = 200


def entry(
    actor: Actor,
    action: Action,
    *,
    target: str = "",
    detail: Detail | None = None,
    rows: int | None = None,
    status: int = 200,
) -> Entry:
    """An entry to be written. What is longer than an entry may hold is cut, and says how long it was."""
    return Entry(
        actor=as_noted(actor.actor.lower()),
        account_id=actor.account_id,
        user_id=actor.user_id,
        credential=one_line(actor.credential, 64),
        address=one_line(actor.address, 64),
        request_id=one_line(actor.request_id, 64),
        action=action,
        target=target if action == "audit_trimmed" else as_noted(target),
        detail={
            one_line(name, 64): one_line(v if name in _PLAIN else _items(v), _TEXT) if isinstance(v, str) else v
            for name, v in (detail or {}).items()
        }
        | ({"as": as_noted(actor.seen_as)} if isinstance(actor, Seer) else {}),
        rows=rows,
        status=status,
    )


def as_noted(text: str) -> str:
    """An actor or a target as it is noted: on one line, and no telephone number to be read in it."""
    return one_line(masked_text(text, NOBODY), LINE)


def _items(text: str) -> str:
    """Values between commas, each without telephone numbers: several ids are none together."""
    return ",".join(masked_text(item, NOBODY) for item in text.split(","))


def one_line(text: str, most: int) -> str:
    """A text as one line of characters that can be shown, of which no database, terminal or log makes anything else;
    without the keys in it."""
    text = without_keys(text)
    if not text.isprintable():
        text = "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text)
    return text if len(text) <= most else f"{text[: most - 24]}... ({len(text)} characters)"


def written(entry: Entry) -> bytes:
    """The JSON of an entry: up to `ENTRY_LIMIT` bytes, if need be with the names of its details alone."""
    found = msgspec.json.encode(entry)
    if len(found) <= ENTRY_LIMIT:
        return found
    names = one_line(", ".join(entry.detail), _TEXT)
    return msgspec.json.encode(msgspec.structs.replace(entry, detail={"left out": names}))


# --- what was searched for --------------------------------------------------------------------------------------------

_DAY: Final = re.compile(r"\d{4}-\d\d-\d\d(T\d\d:\d\d(:\d\d(\.\d{1,9})?)?(Z|[+-]\d\d:?\d\d))?")


def searched(pairs: Iterable[tuple[str, str]], own: type[msgspec.Struct]) -> dict[str, str | int]:
    """What the parameters of a request for records say that may be noted: of each known one that is given its value, if
    it cannot be a telephone number or free text, else only how long it is. They need not be valid. `own` are those of
    the route beside filters and days."""
    others = _others(own)
    found: dict[str, str | int] = {}
    for name, value in pairs:
        if not value.strip():
            continue
        if name in others:
            found[name] = _shown(value.strip(), others[name])
        elif (filter_ := FILTER.get(name)) is not None:
            found[filter_.name] = _shown(value.strip(), _shows(filter_))
    return found


def withheld(value: str) -> str:
    """What is noted in place of a value: how long it is, and whether it is a number."""
    plain = re.sub(r"[\s+().-]", "", value)
    return f"{len(plain)} digits" if plain.isdigit() else f"{len(value)} characters"


def _shown(text: str, shows: Callable[[str], bool]) -> str:
    items = [item.strip() for item in text.split(",")]
    if not all(map(shows, items)):
        return withheld(text)
    more = f", ... ({len(items)} values)" if len(items) > MOST_SHOWN else ""
    return ",".join(items[:MOST_SHOWN]) + more


def _shows(filter_: Filter) -> Callable[[str], bool]:
    """Whether a value of a filter is of the shape that its filter has values of, and may be noted."""
    match filter_.op:
        case Op.ANY_WORD | Op.ANY_BIT | Op.CALLED_BACK:
            words = {word.lower() for word in filter_.all_words}
            return lambda item: item.lower() in words
        case Op.ANY_ID | Op.ANY_OF_SET:
            return lambda item: _is_whole(item, 16)
        case Op.LONGER | Op.SHORTER | Op.KNOWN_LONGER | Op.KNOWN_SHORTER:
            return lambda item: _is_whole(item, 10)
        case Op.YES | Op.LACKS:
            return lambda item: item.lower() in {"yes", "no"}
        case Op.ANY_UUID:
            return lambda item: plain_uuid(item) is not None
    return lambda item: False


def _is_whole(text: str, digits: int) -> bool:
    return text.isascii() and text.isdigit() and len(text) <= digits


def _is_day(text: str) -> bool:
    return _DAY.fullmatch(text) is not None


_DAYS: Final[Mapping[str, Callable[[str], bool]]] = {
    parameter.name: (lambda text: text in timezones()) if parameter.name == "timezone" else _is_day
    for parameter in DAY_PARAMETERS
} | {parameter.name: lambda text: _is_whole(text, 6) for parameter in FILTER_PARAMETERS}


@cache
def _others(own: type[msgspec.Struct]) -> Mapping[str, Callable[[str], bool]]:
    """For each parameter that is no filter, whether a text is of the shape of its values, and may be noted: none may
    that is as long as a telephone number, or of free text."""
    return {**_DAYS, **{field.encode_name: _shows_member(field.type) for field in msgspec.structs.fields(own)}}


def _shows_member(kind: Any) -> Callable[[str], bool]:
    if form_of(kind) == "number":
        return lambda text: _is_whole(text, 6)
    if words := words_of(kind):
        return lambda text: text in words
    return lambda _: False


# --- the chain --------------------------------------------------------------------------------------------------------


class Link(msgspec.Struct, frozen=True):
    """An entry's place in the chain: its number and its hash. As text `N:HASH`, the hash in hexadecimal digits."""

    n: int
    hash: bytes

    def __str__(self) -> str:
        """As it is noted elsewhere."""
        return f"{self.n}:{self.hash.hex()}"

    @classmethod
    def parse(cls, text: str) -> Link:
        """The link of its text; `BadParameters` if it is none."""
        found = re.fullmatch(r"(\d{1,18}):([0-9A-Fa-f]{64})", text.strip())
        if found is None:
            valid = "N:HASH, as `calldex audit head` prints it"
            raise BadParameters([Problem("expect", text[:100], "is not a link of the audit's chain", valid)])
        return cls(int(found[1]), bytes.fromhex(found[2]))

    def next(self, entry: bytes) -> Link:
        """The link of the entry after this one."""
        return Link(self.n + 1, hashlib.sha256(self.hash + entry).digest())


class Row(msgspec.Struct, frozen=True):
    """An entry as it is kept: its JSON, its hash, and beside them what it is looked for by."""

    n: int
    at_ms: int
    account_id: int
    actor: str
    action: str
    entry: str
    hash: bytes


class Fault(msgspec.Struct, frozen=True):
    """Something that is wrong with the chain, and the number of the first entry that it is about."""

    n: int
    what: str


def faults(base: Link, head: Link, rows: Iterable[Row], expected: Link | None = None) -> Iterator[Fault]:
    """Everything that is wrong with a chain, in order. `base` is the entry before the oldest that is kept, `head` the
    newest, `rows` what is kept, by number. `expected` is a link that was noted elsewhere. That the entries up to the
    base were trimmed has to be told by an entry: else somebody took them out and moved the base."""
    if expected is not None and not base.n <= expected.n <= head.n:
        kept = f"{base.n + 1} to {head.n}" if head.n > base.n else "none"
        yield Fault(expected.n, f"cannot be compared with what is expected: the entries that are kept are {kept}")
    last, is_told = base, base.n == 0
    for row in rows:
        is_told = is_told or _tells_of_trimming(row, base)
        if row.n <= last.n or row.n > head.n:
            yield Fault(row.n, f"was inserted: the chain goes from {base.n + 1} to {head.n}, each number once")
            continue
        yield from _wrong(last, row)
        yield from _unexpected(last, expected)
        last = Link(row.n, row.hash)
    yield from _unexpected(last, expected)
    if not is_told:
        yield Fault(base.n, f"{_missing(1, base.n)}: no entry tells that they were trimmed")
    if last.n < head.n:
        yield Fault(last.n + 1, _missing(last.n + 1, head.n))
    elif last.hash != head.hash:
        yield Fault(last.n, "is not the entry that the chain ends with: it, or the chain's head, was changed")


def _wrong(last: Link, row: Row) -> Iterator[Fault]:
    following = last.next(row.entry.encode())
    if row.n > following.n:
        yield Fault(following.n, _missing(following.n, row.n - 1))
    elif row.hash != following.hash:
        yield Fault(row.n, f"does not follow entry {last.n}: it, or the hash of entry {last.n}, was changed")
    if not _agrees(row):
        yield Fault(row.n, "is looked for by other words than those that were written")


def _tells_of_trimming(row: Row, base: Link) -> bool:
    if row.action != "audit_trimmed":
        return False
    try:
        found = msgspec.json.decode(row.entry, type=Entry)
    except (msgspec.DecodeError, UnicodeError):
        return False
    return (found.actor, found.action, found.target) == (ITSELF, "audit_trimmed", str(base))


def _missing(first: int, last: int) -> str:
    return "is missing" if first == last else f"is missing, and all to {last}"


def _unexpected(link: Link, expected: Link | None) -> Iterator[Fault]:
    if expected is not None and link.n == expected.n and link.hash != expected.hash:
        yield Fault(link.n, "has another hash than is expected: the chain was made again")


def _agrees(row: Row) -> bool:
    try:
        found: Any = msgspec.json.decode(row.entry, type=Entry)
    except (msgspec.DecodeError, UnicodeError):
        return False
    return all(getattr(found, name) == getattr(row, name) for name in ("n", "at_ms", "account_id", "actor", "action"))


class Verified(msgspec.Struct, frozen=True, kw_only=True):
    """What a verification found: the first and the last entry that are kept, and what is wrong; nothing if the chain is
    whole. `more` says that there is more wrong than is listed."""

    first: int
    last: int
    faults: list[Fault]
    more: bool

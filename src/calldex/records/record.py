"""What one interaction is.

A `Cdr` is one attempt as the customer would count it (a call, a conversation, a message), whole: who, when, how it
ended, what happened meanwhile. Formats make it, ingest numbers it, stores keep it, wires show it. This module imports
nothing of ours, does no I/O and knows neither an engine nor a wire.

Every field is described in `fields.py`; a test holds the two together.

Conventions
-----------
* Times (`*_at`, `at`) are aware UTC datetimes with whole milliseconds.
* Lengths (`*_s`) are whole seconds, never negative; `None` means the source did not say.
* Ids of agents, queues, teams and campaigns are positive integers below 2**53, so that every JSON reader keeps them
  exactly. A source that knows only names gets `stable_id`.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Annotated, Final, Literal, TypeVar, get_args
from unicodedata import decimal
from uuid import UUID

import msgspec

InteractionType = Literal[
    "inbound",
    "outbound",
    "dialer",
    "click_to_call",
    "outbound_sms",
    "whatsapp",
    "facebook",
    "instagram",
    "telegram",
    "web_chat",
    "HLR_lookup",
    "queue_callback",
    "internal",
    "scheduled_callback",
]
Disposition = Literal[
    "answered",
    "failed",
    "busy",
    "no_answer",
    "rejected",
    "abandoned",
    "missed",
    "dialer_abandoned",
    "system_abandoned",
    "answered_by_VM",
    "system_reject",
    "machine_answered",
    "sent",
    "not_sent",
    "route_unavailable",
    "delivered",
    "not_delivered",
    "waiting",
    "active",
    "archived",
    "initiated",
    "available",
    "absent",
]
EndReason = Literal[
    "agent_disconnect",
    "customer_disconnect",
    "manager_terminate",
    "remote_party_disconnect",
    "timeout",
    "system_reject",
    "machine_disconnect",
    "dncr_rejected",
    "dncr_failure",
]
EventType = Literal[
    "queued",
    "answered",
    "hold",
    "blind_transfer",
    "attended_transfer",
    "queue_transfer",
    "conference",
    "voicemail",
    "agent_logged_off",
    "supervisor_monitored",
    "supervisor_joined",
    "callback_requested",
    "recording_started",
    "dtmf",
    "ring_no_answer",
    "exit_timeout",
    "exit_empty",
    "exit_key",
    "forwarded",
    "parked",
    "retrieved",
    "pickup",
]
NamedKind = Literal["agent", "queue", "team", "campaign", "wrapup_code"]
"""What records name and the look-ups list."""
Flag = Literal["provisional", "time_suspect", "disposition_unknown", "unfinished"]
"""What a reader should know before they trust a record: `provisional`, more rows of this call are expected;
`time_suspect`, the source's times contradict each other; `disposition_unknown`, the source's word for the outcome
was not understood and the outcome was decided from the times; `unfinished`, the end of the call never came, and it was
taken to be over."""

INTERACTION_TYPES: Final[tuple[str, ...]] = get_args(InteractionType)
DISPOSITIONS: Final[tuple[str, ...]] = get_args(Disposition)
END_REASONS: Final[tuple[str, ...]] = get_args(EndReason)
EVENT_TYPES: Final[tuple[str, ...]] = get_args(EventType)
FLAGS: Final[tuple[str, ...]] = get_args(Flag)
"""The contract's words. Stores keep the position of a word, so new words go to the end and none is ever removed."""

Instant = Annotated[datetime, msgspec.Meta(tz=True)]
Id = Annotated[int, msgspec.Meta(ge=1, lt=2**53)]
Seconds = Annotated[int, msgspec.Meta(ge=0, le=2**31 - 1)]
Uuid = Annotated[
    str,
    msgspec.Meta(
        pattern=r"^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$",
        max_length=36,  # `$` alone would let a line feed through
        examples=["01980c1e-6f3a-8d21-9a3b-5c1f0e7d2b44"],
    ),
]
Number = Annotated[str, msgspec.Meta(min_length=1, max_length=64)]
Name = Annotated[str, msgspec.Meta(min_length=1, max_length=200)]
Word = Annotated[str, msgspec.Meta(min_length=1, max_length=64)]
Text = Annotated[str, msgspec.Meta(min_length=1, max_length=4000)]
Recording = Annotated[str, msgspec.Meta(min_length=1, max_length=1000)]
Score = Annotated[float, msgspec.Meta(ge=0, le=100)]
CustomValue = Annotated[str, msgspec.Meta(max_length=1000)] | int | float | bool | None


class Team(msgspec.Struct, frozen=True, gc=False):
    """A team as a record names it."""

    id: Id
    name: Name | None = None


class Event(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """Something that happened during the interaction.

    Of a transfer `agent` handed it over, `number` is where to, and `to_agent` who took it.
    """

    type: EventType
    at: Instant
    agent: Name | None = None
    queue: Name | None = None
    number: Number | None = None
    duration_s: Seconds | None = None
    detail: Annotated[str, msgspec.Meta(max_length=400)] | None = None
    to_agent: Name | None = None


class Leg(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False, rename={"from_": "from"}):
    """One path between two parties inside a call, as the phone system logged it.

    `disposition` and `application` are the source's own words.
    """

    started_at: Instant
    answered_at: Instant | None = None
    ended_at: Instant | None = None
    from_: Number | None = None
    to: Number | None = None
    channel: Name | None = None
    peer_channel: Name | None = None
    agent: Name | None = None
    application: Name | None = None
    disposition: Word | None = None
    duration_s: Seconds | None = None
    talk_s: Seconds | None = None
    recording: Recording | None = None


class Cdr(msgspec.Struct, frozen=True, kw_only=True, gc=False, rename={"from_": "from"}):
    """One interaction. Its JSON is its fields under these names (`from_` is `from`)."""

    uuid: Uuid
    type: InteractionType
    disposition: Disposition
    started_at: Instant
    answered_at: Instant | None = None
    ended_at: Instant | None = None
    from_: Number | None = None
    to: Number | None = None
    did: Number | None = None
    end_reason: EndReason | None = None
    agent: Name | None = None
    agent_id: Id | None = None
    queue: Name | None = None
    queue_id: Id | None = None
    teams: Annotated[tuple[Team, ...], msgspec.Meta(max_length=50)] = ()
    campaign: Name | None = None
    campaign_id: Id | None = None
    wrapup_code: Word | None = None
    wrapup_description: Name | None = None
    duration_s: Seconds
    talk_s: Seconds | None = None
    ring_s: Seconds | None = None
    wait_s: Seconds | None = None
    hold_s: Seconds | None = None
    wrapup_s: Seconds | None = None
    events: Annotated[tuple[Event, ...], msgspec.Meta(max_length=1000)] = ()
    legs: Annotated[tuple[Leg, ...], msgspec.Meta(max_length=1000)] = ()
    linked_uuids: Annotated[tuple[Uuid, ...], msgspec.Meta(max_length=1000)] = ()
    recording: Recording | None = None
    external_account_id: Word | None = None
    tags: Annotated[tuple[Word, ...], msgspec.Meta(max_length=100)] = ()
    comment: Text | None = None
    score: Score | None = None
    custom: Annotated[dict[Word, CustomValue], msgspec.Meta(max_length=100)] = {}
    source: Word | None = None
    flags: tuple[Flag, ...] = ()


class CallRow(msgspec.Struct, frozen=True):
    """One row of a call, as the phone system wrote it.

    * `key`: what makes the row itself (two rows with one key are the same row sent twice);
    * `links`: what ties it to other rows; rows that share a link, directly or through others, are one call.
      A row without links belongs to no call: it is kept, and shown to no format;
    * `text`: the row, decoded, from which its format can read everything again;
    * `uuid`: the interaction that it was last made part of, where it is kept.
    """

    key: bytes
    links: tuple[str, ...]
    text: str
    uuid: str | None = None


class Rejected(msgspec.Struct, frozen=True):
    """A piece of input that could not be read: why, where it stood, and what it was.

    `where` is a place a person can go to ("line 12", "record 3"); `raw` is the input itself, so that the quarantine
    can show it and try it again.
    """

    reason: str
    where: str
    raw: bytes = b""


def stable_id(kind: str, name: str) -> int:
    """The id of a name whose source has no ids: 48 bits of SHA-256 over kind and name, never 0.

    Derived, not counted, so that the same rows give the same ids in any order, on any node, in any installation.
    Among 10,000 names of a kind two collide with a probability below 2e-7.
    """
    digest = hashlib.sha256(f"{kind}\x00{name}".encode()).digest()
    return int.from_bytes(digest[:6], "big") or 1


def time_uuid(started_ms: int, *names: str) -> str:
    """A uuid for a call that has none: RFC 9562 version 8, 48 bits of epoch milliseconds, then a hash of the names.

    Derived, so a call keeps it however often and in whatever order its rows arrive; led by the time, so that
    neighbours in time are neighbours in an index.
    """
    digest = hashlib.sha256("\x00".join(names).encode("utf-8", "surrogatepass")).digest()
    value = int.from_bytes(digest[:16], "big") & ((1 << 80) - 1) | (started_ms & ((1 << 48) - 1)) << 80
    value = value & ~(0xF << 76) | 0x8 << 76
    value = value & ~(0x3 << 62) | 0x2 << 62
    text = f"{value:032x}"
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"


_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND: Final = timedelta(milliseconds=1)


def to_ms(instant: datetime) -> int:
    """Epoch milliseconds of an aware datetime, rounded down."""
    return (instant - _EPOCH) // _MILLISECOND


def from_ms(ms: int) -> datetime:
    """The UTC datetime of epoch milliseconds; `OverflowError` beyond the years 1 to 9999."""
    return _EPOCH + ms * _MILLISECOND


EPOCH_FORMS: Final = "epoch seconds or milliseconds of the years 2000 to 2099"
_FIRST_S: Final = 946_684_800
_LAST_S: Final = 4_102_444_800


def from_epoch(number: float) -> datetime | None:
    """The UTC datetime that a number stands for, as `EPOCH_FORMS` says; None for any other number."""
    for unit in (1, 1000):
        if _FIRST_S * unit <= number < _LAST_S * unit:
            return from_ms(round(number * 1000 / unit))
    return None


WITHHELD: Final = frozenset(("anonymous", "restricted", "unknown", "unavailable", "private", "withheld"))
"""Words, in any case, that stand where a caller has withheld their number: there is no number, in every format."""
_WITHHELD: Final = re.compile(
    rf"(?:[^<>]*<)? *(?:sips?:|tel:)?\+?(?:{'|'.join(sorted(WITHHELD))})(?:@[^<>@]+)? *>?", re.IGNORECASE
)
_DECIMAL: Final = re.compile(r"[0-9]+[.,][0-9]+[eE]\+?[0-9]{1,3}|[0-9]+[eE]\+[0-9]{1,3}|[0-9]{7,}[.,]00?")
_UUID_DIGITS: Final = re.compile("[0-9a-f]{32}")
_SEPARATORS: Final = str.maketrans("", "", " -.()/\u00a0")


def plain_number(text: str) -> str | None:
    """A telephone number as the contract writes it: digits.

    A leading `+` and separators go when only digits are left without them, and digits of other scripts become ours;
    anything else (a SIP user) stays as it is but for outer blanks and characters that cannot be shown. None when
    nothing is there, or one of the words for a number that is withheld.
    """
    if text.isascii() and text.isdigit():
        return text
    text = "".join(str(decimal(char, char)) for char in text if char.isprintable()).strip()
    bare = text.translate(_SEPARATORS).removeprefix("+")
    if bare.isascii() and bare.isdigit():
        return bare
    return None if is_withheld(text) else text or None


def is_withheld(text: str) -> bool:
    """Whether a word stands for a number that is withheld: alone, as the user of a SIP address (RFC 3323), or as the
    number behind a name."""
    return _WITHHELD.fullmatch(text.strip()) is not None


def is_decimal(number: str) -> bool:
    """Whether a number is what a spreadsheet, or a program that took it for a decimal, makes of a long one:
    `4.47701E+11`, of which the last digits are lost, or `447700900123.0`, which has one too many."""
    return _DECIMAL.fullmatch(number.strip()) is not None


def plain_uuid(text: str) -> str | None:
    """A uuid as it is written here, from any usual spelling; None for what is none.

    Stricter than `UUID`, to which a blank or an underscore is a digit as well.
    """
    digits = text.lower().removeprefix("urn:uuid:").removeprefix("{").removesuffix("}").replace("-", "")
    return str(UUID(digits)) if _UUID_DIGITS.fullmatch(digits) else None


def canonical(cdr: Cdr) -> Cdr:
    """The record in the one form in which it is kept: times in UTC with whole milliseconds, numbers as digits (those of
    events and legs as its own), an id for every name. The same record if it is in that form already; of the same type
    in any case."""
    if _is_canonical(cdr):
        return cdr
    changes: dict[str, object] = {}
    for name in ("started_at", "answered_at", "ended_at"):
        _changed(changes, name, getattr(cdr, name), _instant)
    for name in ("from_", "to", "did"):
        _changed(changes, name, getattr(cdr, name), plain_number)
    changes["events"] = _parts(cdr.events, ("at",), ("number",))
    changes["legs"] = _parts(cdr.legs, ("started_at", "answered_at", "ended_at"), ("from_", "to"))
    for kind in ("agent", "queue", "campaign"):
        name = getattr(cdr, kind)
        if name is not None and getattr(cdr, f"{kind}_id") is None:
            changes[f"{kind}_id"] = stable_id(kind, name)
    return msgspec.structs.replace(cdr, **changes)


def _is_canonical(cdr: Cdr) -> bool:
    """Whether a record surely is in its canonical form. Most are, and this is on the way of every one."""
    for at in (cdr.started_at, cdr.answered_at, cdr.ended_at):
        if at is not None and (at.tzinfo is not UTC or at.microsecond % 1000):
            return False
    for event in cdr.events:
        if event.at.tzinfo is not UTC or event.at.microsecond % 1000:
            return False
        if event.number is not None and not (event.number.isascii() and event.number.isdigit()):
            return False
    for number in (cdr.from_, cdr.to, cdr.did):
        if number is not None and not (number.isascii() and number.isdigit()):
            return False
    return (
        (not cdr.legs or all(map(_is_canonical_leg, cdr.legs)))
        and (cdr.agent is None or cdr.agent_id is not None)
        and (cdr.queue is None or cdr.queue_id is not None)
        and (cdr.campaign is None or cdr.campaign_id is not None)
    )


def _is_canonical_leg(leg: Leg) -> bool:
    for at in (leg.started_at, leg.answered_at, leg.ended_at):
        if at is not None and (at.tzinfo is not UTC or at.microsecond % 1000):
            return False
    for number in (leg.from_, leg.to):
        if number is not None and not (number.isascii() and number.isdigit()):
            return False
    return True


_T = TypeVar("_T")


def _changed(changes: dict[str, object], name: str, value: _T | None, change: Callable[[_T], object]) -> None:
    if value is not None and (changed := change(value)) is not value:
        changes[name] = changed


def _instant(at: datetime) -> datetime:
    if at.tzinfo is UTC and not at.microsecond % 1000:
        return at
    at = at.astimezone(UTC)
    return at.replace(microsecond=at.microsecond // 1000 * 1000)


_Part = TypeVar("_Part", Event, Leg)


def _parts(parts: tuple[_Part, ...], times: tuple[str, ...], numbers: tuple[str, ...]) -> tuple[_Part, ...]:
    """Events or legs with their times and numbers as a record's own."""
    out = []
    for part in parts:
        changes: dict[str, object] = {}
        for name in times:
            _changed(changes, name, getattr(part, name), _instant)
        for name in numbers:
            _changed(changes, name, getattr(part, name), plain_number)
        out.append(msgspec.structs.replace(part, **changes) if changes else part)
    return parts if all(a is b for a, b in zip(out, parts, strict=True)) else tuple(out)

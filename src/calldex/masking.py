"""A mask laid over records' JSON: telephone numbers keep country code and last two digits, hidden fields are empty.

Between the store and every output: `page` calls it, once, so that no wire and no export sees more than its reader may.
What is masked for whom is decided in `access`. Pure.

A number is masked wherever a record may hold it: in its own fields, in events and legs, and in what people and programs
wrote: texts in which something looks like a telephone number, and names of files or channels in which one of the
record's own numbers stands.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import Any, Final

import msgspec

from calldex.access import Mask
from calldex.fields import FIELDS
from calldex.record import Cdr, CustomValue
from calldex.wire.v2 import Record

_KEPT_DIGITS: Final = 2
_SHORTEST_FULL: Final = 7
"""Digits of the shortest number that has a country code; shorter ones are extensions and short codes."""
_TWO_DIGIT_CODES: Final = frozenset(
    (
        *(20, 27, *range(30, 35), 36, 39, 40, 41, *range(43, 50), *range(51, 59), *range(60, 67)),
        *(81, 82, 84, 86, *range(90, 96), 98),
    )
)
"""The country codes of two digits (ITU-T E.164, assigned codes); 1 and 7 have one digit, all others three."""
_CODE_LENGTHS: Final = {
    f"{two:02}": 0 if two < 10 else 1 if two // 10 in (1, 7) else 2 if two in _TWO_DIGIT_CODES else 3
    for two in range(100)
}
"""The length of the country code by a number's first two digits; none begins with 0."""
_LIKE_A_NUMBER: Final = re.compile(r"(?<![0-9A-Za-z])\+?\d(?:[ \u00a0().\-/]{0,2}\d){6,}(?![0-9A-Za-z])")
"""What may be a telephone number in a text."""
_SHORTEST_OWN: Final = 3
_RUN: Final = re.compile(rf"\d{{{_SHORTEST_OWN},}}")
"""Shorter runs of digits are left: everything has them."""
_SAME_END: Final = 7
"""Two runs of digits that end in so many equal ones are taken to be one number, however it is dialled."""
Ends = Sequence[str]


def masked_number(number: str) -> str:
    """A number with asterisks between its country code and its last two digits: `447700900412` is `44********12`.

    Numbers too short or, by a leading zero, too national to have a country code, and words that stand for a number,
    keep their last two characters alone.
    """
    full = len(number) >= _SHORTEST_FULL and number.isdigit() and number.isascii()
    code = _CODE_LENGTHS[number[:2]] if full else 0
    hidden = len(number) - code - _KEPT_DIGITS
    if hidden <= 0:
        return "*" * len(number)
    return number[:code] + "*" * hidden + number[-_KEPT_DIGITS:]


def masked_text(text: str, own: Ends) -> str:
    """A text that somebody wrote, with everything masked that looks like a telephone number or is one of the record's
    own."""
    if _LIKE_A_NUMBER.search(text):
        text = _LIKE_A_NUMBER.sub(_masked_digits, text)
    return masked_name(text, own)


def _masked_digits(found: re.Match[str]) -> str:
    return masked_number("".join(filter(str.isdigit, found[0])))


def ends(*numbers: str | None) -> Ends:
    """The ends by which a record's own numbers are found in texts."""
    return tuple([_end(number) for number in numbers if number])


def _end(number: str) -> str:
    return number[-_SAME_END:] if number.isdigit() else number


def masked_name(name: str, own: Ends) -> str:
    """A name of something, such as a file or a channel, with the record's own numbers masked, with whatever prefix they
    are dialled; other runs of digits are dates, ids or the like, and stay."""
    for end in own:
        if end in name:
            return _masked_own(name, own)
    return name


def _masked_own(name: str, own: Ends) -> str:
    for word in own:
        if not word.isdigit() and len(word) >= _SHORTEST_OWN:
            name = name.replace(word, masked_number(word))

    def run(found: re.Match[str]) -> str:
        return masked_number(found[0]) if found[0][-_SAME_END:] in own else found[0]

    return _RUN.sub(run, name)


# --- records ----------------------------------------------------------------------------------------------------------

_JSON: Final = msgspec.json.Encoder().encode
_ORDER: Final = tuple(field.encode_name for field in msgspec.structs.fields(Record))
_READ: Final[dict[str, Any]] = {
    **{field.name: str | None for field in FIELDS if field.part == "number"},
    "recording": str | None,
    "external_account_id": str | None,
    "tags": tuple[str, ...],
    "comment": str | None,
    "legs": list[dict[str, Any]],
    **dict.fromkeys((name for name in _ORDER if name.endswith("_s")), int | None),
}
"""The members that are read: to be masked, or because it is faster. Events and custom values are where they may need
it, all others pass as they are."""
_Seen: Final[Any] = msgspec.defstruct(
    "_Seen",
    [(f"{name}_", _READ.get(name, msgspec.Raw)) for name in _ORDER],
    rename={f"{name}_": name for name in _ORDER},
    gc=False,
)
"""A record, in the order of its JSON, of which only so much is read as can need a change."""
_SEEN: Final = msgspec.json.Decoder(list[_Seen]).decode
_IN_EVENTS: Final = re.compile(rb',"(?:number":|detail":"(?:[^"\\]{%d}|[^"]{0,%d}\\))' % (_SHORTEST_OWN, _SHORTEST_OWN))
"""What can hold a number in an event, of which it is never the first member. Most details are one key pressed."""
_EVENTS: Final = msgspec.json.Decoder(list[dict[str, Any]]).decode
"""Events, of which only texts are changed: their times stay the texts they are."""
_LEG_NAMES: Final = ("channel", "peer_channel", "agent", "application", "disposition")
_CUSTOM: Final = msgspec.json.Decoder(dict[str, CustomValue]).decode
_NO_CUSTOM: Final = msgspec.Raw(b"{}")
_TO_ZEROS: Final = bytes.maketrans(b"123456789", b"000000000")
_BETWEEN_DIGITS: Final = b" ().-/"
_SHORTEST_LIKE: Final = b"0" * _SHORTEST_FULL
"""What is left of the shortest text like a number, if all is dropped that may stand between its digits."""
_EMPTY: Final = {
    field.encode_name: msgspec.Raw(
        _JSON(field.default_factory() if field.default is msgspec.NODEFAULT else field.default)
    )
    for field in msgspec.structs.fields(Cdr)
    if not field.required
}
_BETWEEN: Final = b'},{"uuid":"'
"""Stands between two records and nowhere else: in a string its quotation marks would be escaped, and no other list
holds objects that begin with `uuid`."""
_AT_ONCE: Final = 64 * 1024
"""Bytes of JSON taken in hand at once: so many that the records' objects fit a processor's cache."""


def masked(records: bytes, mask: Mask) -> bytes:
    """Records' JSON, joined by commas, under a mask."""
    if not records or not (mask.numbers or mask.hidden):
        return records
    return b",".join([_masked_part(part, mask) for part in _parts(records)])


def _parts(records: bytes) -> Iterator[bytes]:
    start = 0
    while (end := records.find(_BETWEEN, start + _AT_ONCE)) != -1:
        yield records[start : end + 1]
        start = end + 2
    yield records[start:]


def _masked_part(part: bytes, mask: Mask) -> bytes:
    seen = _SEEN(b"[%s]" % part)
    if mask.numbers:
        for record in seen:
            _mask_numbers(record)
    for name in mask.hidden:
        for record in seen:
            setattr(record, f"{name}_", _EMPTY[name])
    return _JSON(seen)[1:-1]


def _mask_numbers(record: Any) -> None:
    """Mask every number that a record holds, in place."""
    own: list[str] = []
    if record.from_:
        record.from_, end = _number(record.from_)
        own.append(end)
    if record.to_:
        record.to_, end = _number(record.to_)
        own.append(end)
    if record.did_:
        record.did_, end = _number(record.did_)
        own.append(end)
    if record.recording_:
        record.recording_ = masked_name(record.recording_, own)
    if record.external_account_id_:
        record.external_account_id_ = masked_name(record.external_account_id_, own)
    if record.tags_:
        record.tags_ = [masked_text(tag, own) for tag in record.tags_]
    if record.comment_:
        record.comment_ = masked_text(record.comment_, own)
    if record.custom_ != _NO_CUSTOM and _can_hold(_JSON(record.custom_), own):
        record.custom_ = {
            masked_text(name, own) if _RUN.search(name) else name: _value(value, own)
            for name, value in _CUSTOM(record.custom_).items()
        }
    if _IN_EVENTS.search(record.events_):
        record.events_ = [_event(event, own) for event in _EVENTS(record.events_)]
    if record.legs_:
        record.legs_ = [_leg(leg, own) for leg in record.legs_]


@lru_cache(maxsize=65_536)
def _number(number: str) -> tuple[str, str]:
    """One of a record's own numbers, masked, and its end."""
    return masked_number(number), _end(number)


def _can_hold(custom: bytes, own: Ends) -> bool:
    """Whether custom values can hold a number: seldom, and mostly seen without reading them.

    Of ASCII without escapes the JSON is the text itself. Unless it holds so many digits side by side, when all is
    dropped that may stand between them, nothing in it looks like a number or ends as a full one does.
    """
    if not custom.isascii() or custom.find(b"\\") != -1:
        return True
    if custom.translate(_TO_ZEROS, _BETWEEN_DIGITS).find(_SHORTEST_LIKE) != -1:
        return True
    ends_ = "".join(own)
    full = len(ends_) == _SAME_END * len(own) and ends_.isdigit()
    return bool(own) and not full and any(end.encode() in custom for end in own)


def _value(value: CustomValue, own: Ends) -> CustomValue:
    """A custom value; a number that long is masked as a text is."""
    if isinstance(value, str):
        return masked_text(value, own)
    if value is None or isinstance(value, bool):
        return value
    text = str(value)
    masked_ = masked_text(text, own)
    return value if masked_ == text else masked_


def _event(event: dict[str, Any], own: Ends) -> dict[str, Any]:
    if "number" in event:
        event["number"] = masked_number(event["number"])
    if "detail" in event:
        event["detail"] = masked_text(event["detail"], own)
    return event


def _leg(leg: dict[str, Any], own: Ends) -> dict[str, Any]:
    own = (*own, *ends(leg.get("from"), leg.get("to")))
    for name in ("from", "to"):
        if name in leg:
            leg[name] = masked_number(leg[name])
    for name in _LEG_NAMES:
        if name in leg:
            leg[name] = masked_name(leg[name], own)
    return leg

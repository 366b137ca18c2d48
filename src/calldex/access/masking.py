"""A mask laid over records' JSON: telephone numbers keep country code and last two digits, hidden fields are empty.

Between the store and every output: `page` calls it, once, so that no wire and no export sees more than its reader may.
What is masked for whom is decided in `access`. Pure.

A number is masked wherever a record may hold it: in its own fields, in events and legs, and in what people and programs
wrote: texts and names of people, queues and campaigns in which something looks like a telephone number, and names of
files or channels in which one of the record's own numbers stands.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import Any, Final

import msgspec

from calldex.access import Mask, Scope
from calldex.records.codec import Record
from calldex.records.fields import FIELDS, RECORDINGS
from calldex.records.record import Cdr, CustomValue
from calldex.records.vocabulary import in_words

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
_PAIR: Final = r"[ \u00a0().\-/]{0,2}\d"
_LIKE_A_NUMBER: Final = re.compile(rf"\d(?:{_PAIR}){{{_SHORTEST_FULL - 1}}}")
"""What may be a telephone number in a text, whatever stands beside it, or the beginning of one."""
_HEX: Final = "[0-9A-Fa-f]"
_NUMBER_OR_ID: Final = re.compile(
    rf"""(?<![0-9A-Za-z])(?P<id>
          {_HEX}{{8}}-(?:{_HEX}{{4}}-){{3}}{_HEX}{{12}}             # a uuid
        | (?={_HEX}{{16}})\d*(?:[A-Fa-f]+\d+){{2}}[A-Fa-f]{_HEX}*+  # hexadecimal text
        | \d{{4}}-[01]\d-[0-3]\dT[0-2]\d:[0-5]\d(?::[0-5]\d(?:\.\d{{1,9}})?)?Z?  # an instant
        )(?![0-9A-Za-z])
    | \+?\d(?:{_PAIR}){{{_SHORTEST_FULL - 1},}}
    """,
    re.VERBOSE,
)
"""The same, and what holds as many digits and is none. Hexadecimal text is long and changes between letters and digits,
as no number with words beside it does."""
_SHORTEST_OWN: Final = 5
"""Characters of the shortest number, or word for one, that is looked for in texts and names. Shorter ones are
extensions: they stand everywhere, as years and counters, and if they were masked there these would tell them."""
_RUN: Final = re.compile(rf"\d{{{_SHORTEST_OWN},}}")
_SAME_END: Final = 7
"""Two runs of digits that end in so many equal ones are taken to be one number, however it is dialled."""
Own = Sequence[str]
"""The ends by which a record's own numbers are found in texts and names."""


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


def masked_text(text: str, own: Own) -> str:
    """A text that somebody wrote, with everything masked that looks like a telephone number or is one of the record's
    own."""
    if _LIKE_A_NUMBER.search(text):
        text = _NUMBER_OR_ID.sub(_masked_digits, text)
    return masked_name(text, own)


def _masked_digits(found: re.Match[str]) -> str:
    return found[0] if found["id"] else masked_number("".join(filter(str.isdigit, found[0])))


@lru_cache(maxsize=65_536)
def masked_label(label: str) -> str:
    """What an agent, a queue or a campaign is called, or a wrap-up code described by, with everything masked that looks
    like a telephone number. Records and look-ups say it alike, so nothing but the label itself counts."""
    return masked_text(label, ())


def ends(*numbers: str | None) -> list[str]:
    """The ends of a record's own numbers."""
    return [end for number in numbers if number and (end := _end(number))]


def _end(number: str) -> str:
    """Its end; empty, if it is too short to be looked for."""
    if len(number) < _SHORTEST_OWN:
        return ""
    return number[-_SAME_END:] if number.isdigit() else number


def masked_name(name: str, own: Own) -> str:
    """A name of something, such as a file or a channel, with the record's own numbers masked, with whatever prefix they
    are dialled; other runs of digits are dates, ids or the like, and stay."""
    for end in own:
        if end in name:
            return _masked_own(name, own)
    return name


def _masked_own(name: str, own: Own) -> str:
    for word in own:
        if not word.isdigit():
            name = name.replace(word, masked_number(word))

    def run(found: re.Match[str]) -> str:
        return masked_number(found[0]) if found[0][-_SAME_END:] in own else found[0]

    return _RUN.sub(run, name)


# --- records ----------------------------------------------------------------------------------------------------------

_JSON: Final = msgspec.json.Encoder().encode
_ORDER: Final = tuple(field.encode_name for field in msgspec.structs.fields(Record))
_READ: Final[dict[str, Any]] = {
    **{field.name: str | None for field in FIELDS if field.part == "number"},
    **dict.fromkeys(("agent", "queue", "campaign", "wrapup_description"), str | None),
    "recording": str | None,
    "external_account_id": str | None,
    "tags": tuple[str, ...],
    "comment": str | None,
    "legs": list[dict[str, Any]],
    **dict.fromkeys(
        (name for name in _ORDER if name.endswith(("_s", "agent_id", "queue_id", "campaign_id"))), int | None
    ),
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
_DIGIT: Final = rb"\d\xd9\xdb\xdf-\xff"
"""The bytes with which a digit of any script begins."""
_UPTO_DIGIT: Final = rb'[^"\\%b]*+' % _DIGIT
_IN_EVENTS: Final = re.compile(
    rb',"(?:number":|detail":"(?:[^"\\]{%d}|[^"]{0,%d}\\)' % (_SHORTEST_OWN, _SHORTEST_OWN)
    + rb'|(?:agent|queue|to_agent)":"%b(?:\\|[%b](?:%b[%b]){0,%d}+%b[\\%b]))'
    % (_UPTO_DIGIT, _DIGIT, _UPTO_DIGIT, _DIGIT, _SHORTEST_FULL - 2, _UPTO_DIGIT, _DIGIT)
)
"""What can hold a number in an event, of which it is never the first member: a number, a detail that is long enough
(most are one key pressed), a name with as many digits as a number has."""
_EVENTS: Final = msgspec.json.Decoder(list[dict[str, Any]]).decode
"""Events, of which only texts are changed: their times stay the texts they are."""
_PART_NUMBERS: Final = ("number", "from", "to")
_PART_LABELS: Final = ("agent", "queue", "to_agent")
_PART_NAMES: Final = ("channel", "peer_channel", "application", "disposition", "recording")
"""Of events and legs together, which share no member that is masked in another way."""
_CUSTOM: Final = msgspec.json.Decoder(dict[str, CustomValue]).decode
_NO_CUSTOM: Final = msgspec.Raw(b"{}")
_NO_SIGNS: Final = bytes(byte for byte in range(128) if not chr(byte).isdigit() and byte != ord("\\"))
"""What neither is a digit, nor hides one, nor may be a part of one."""
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


def served(records: bytes, scope: Scope) -> bytes:
    """Records' JSON, joined by commas, as they leave for whom a scope is: masked, in the words of its vocabulary."""
    return in_words(masked(records, scope.mask), scope.vocabulary)


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
        _mask_labels(seen)
        _mask_numbers(seen)
    for name in mask.hidden:
        for record in seen:
            setattr(record, f"{name}_", _EMPTY[name])
    if not RECORDINGS.isdisjoint(mask.hidden):
        _hide_recordings(seen)
    return _JSON(seen)[1:-1]


def _hide_recordings(records: list[Any]) -> None:
    """Take the recordings out of legs, in place."""
    for record in records:
        if isinstance(record.legs_, list):
            for leg in record.legs_:
                leg.pop("recording", None)


def _mask_labels(records: list[Any]) -> None:
    """Mask what looks like a number in what agents, queues, campaigns and wrap-up codes are called, in place."""
    for record in records:
        if record.agent_:
            record.agent_ = masked_label(record.agent_)
        if record.queue_:
            record.queue_ = masked_label(record.queue_)
        if record.campaign_:
            record.campaign_ = masked_label(record.campaign_)
        if record.wrapup_description_:
            record.wrapup_description_ = masked_label(record.wrapup_description_)


def _mask_numbers(records: list[Any]) -> None:
    """Mask every other number that records hold, in place: first those of members of their own, so that they are known
    when they are looked for in names and texts."""
    for record in records:
        own: list[str] = []
        if record.from_:
            record.from_, end = _number(record.from_)
            own += end
        if record.to_:
            record.to_, end = _number(record.to_)
            own += end
        if record.did_:
            record.did_, end = _number(record.did_)
            own += end
        if _IN_EVENTS.search(record.events_):
            record.events_ = _EVENTS(record.events_)
            own = _mask_parts([*record.events_, *record.legs_], own)
        elif record.legs_:
            own = _mask_parts(record.legs_, own)
        _mask_texts(record, own)


def _mask_texts(record: Any, own: Own) -> None:
    if record.recording_:
        record.recording_ = masked_name(record.recording_, own)
    if record.external_account_id_:
        record.external_account_id_ = masked_name(record.external_account_id_, own)
    if record.tags_:
        record.tags_ = [masked_text(tag, own) for tag in record.tags_]
    if record.comment_:
        record.comment_ = masked_text(record.comment_, own)
    if record.custom_ != _NO_CUSTOM and _can_hold(bytes(record.custom_), own):
        record.custom_ = {masked_text(name, own): _value(value, own) for name, value in _CUSTOM(record.custom_).items()}


def _mask_parts(parts: Sequence[dict[str, Any]], own: list[str]) -> list[str]:
    """Mask what events and legs hold, in place; the ends of the record's own numbers with theirs, each once."""
    found = dict.fromkeys(own)
    for part in parts:
        for name in _PART_NUMBERS:
            if name in part:
                part[name], end = _number(part[name])
                found.update(dict.fromkeys(end))
    own = list(found)
    for part in parts:
        for name in _PART_LABELS:
            if name in part:
                part[name] = masked_label(part[name])
        for name in _PART_NAMES:
            if name in part:
                part[name] = masked_name(part[name], own)
        if "detail" in part:
            part["detail"] = masked_text(part["detail"], own)
    return own


@lru_cache(maxsize=65_536)
def _number(number: str) -> tuple[str, tuple[str, ...]]:
    """One of a record's own numbers, masked, and its end, if it is long enough to be looked for."""
    return masked_number(number), tuple(ends(number))


def _can_hold(custom: bytes, own: Own) -> bool:
    """Whether custom values can hold a number: seldom, and mostly seen without reading them.

    Of ASCII without escapes the JSON is the text itself. Unless it holds so many digits side by side, when all is
    dropped that may stand between them, nothing in it looks like a number or ends as a full one does.
    """
    digits = custom.translate(None, _NO_SIGNS)
    if digits and not digits.isdigit():
        return True
    if len(digits) >= _SHORTEST_FULL and _SHORTEST_LIKE in custom.translate(_TO_ZEROS, _BETWEEN_DIGITS):
        return True
    for end in own:
        if len(end) != _SAME_END or not end.isdigit():
            return any(end.encode() in custom for end in own)
    return False


def _value(value: CustomValue, own: Own) -> CustomValue:
    """A custom value; a number that long is masked as a text is."""
    if isinstance(value, str):
        return masked_text(value, own)
    if value is None or isinstance(value, bool):
        return value
    text = str(value)
    masked_ = masked_text(text, own)
    return value if masked_ == text else masked_

"""A mask laid over records' JSON: telephone numbers keep country code and last two digits, hidden fields are empty.

Between the store and every output: `page` calls it, once, so that no wire and no export sees more than its reader may.
What is masked for whom is decided in `access`. Pure, and linear in what it reads.

Decided by the digits of a text, of whatever script and with whatever between them (decision 0024):

- **the record's own numbers**, those of `from`, `to`, `did`, its legs and its events: in no text of the record do the
  digits that are left hold five consecutive ones of them;
- **what looks like a number** in what people wrote (seven digits with signs and blanks between them), and in names of
  files and channels (nine side by side; dates, times and counters have fewer);
- **what people, queues, campaigns, teams and sources are called**: by itself, so that look-ups and records agree.
"""

from __future__ import annotations

import re
from collections.abc import Container, Iterable, Iterator, Sequence
from functools import lru_cache
from typing import Any, Final
from unicodedata import numeric

import msgspec

from calldex import budget
from calldex.access import Mask, Scope
from calldex.records.codec import Record
from calldex.records.fields import FIELDS, RECORDINGS
from calldex.records.record import Cdr, CustomValue, Event, Leg
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
PIECE: Final = 5
"""So many consecutive digits of a number tell it; fewer are years, counters and extensions, which stand everywhere."""
_FEW: Final = 4
_PLACE: Final = "\0"
"""Stands for a uuid while a name is looked at."""
_MOST_SEEN: Final = PIECE - 1
_DIGIT: Final = re.compile("[0-9]")
_SIGNS: Final = r"[\W_]{0,4}+"
"""What may stand between two digits of a number in a text: blanks and signs, but no letter."""
_LIKE_A_NUMBER: Final = re.compile(rf"[0-9](?:{_SIGNS}[0-9]){{{_SHORTEST_FULL - 1}}}")
"""What may be a telephone number in a text, whatever stands beside it, or the beginning of one."""
_HEX: Final = "[0-9A-Fa-f]"
_NUMBER_OR_ID: Final = re.compile(
    rf"""(?<![0-9A-Za-z])(?:
          {_HEX}{{8}}-(?:{_HEX}{{4}}-){{3}}{_HEX}{{12}}             # a uuid
        | (?={_HEX}{{16}})[0-9]*(?:[A-Fa-f]+[0-9]+){{2}}[A-Fa-f]{_HEX}*+  # hexadecimal text
        | [12][0-9]{{3}}-[01][0-9]-[0-3][0-9](?:[T\ ][0-2][0-9]:[0-5][0-9](?::[0-5][0-9](?:\.[0-9]{{1,9}})?)?Z?)?
        | [0-2][0-9]:[0-5][0-9](?::[0-5][0-9])?                     # a date with or without its time, or a time
        )(?![0-9A-Za-z])
    | (?P<number>[0-9](?:{_SIGNS}[0-9]){{{_SHORTEST_FULL - 1},}}+)
    """,
    re.VERBOSE,
)
"""The same, and what holds as many digits and is none. Hexadecimal text is long and changes between letters and digits,
as no number with words beside it does."""
_LONG_RUN: Final = re.compile("[0-9]{9}")
_IN_NAMES: Final = re.compile(
    r"1[0-9]{9}\.[0-9]+|20[0-9]{12}(?![0-9])|(?P<number>[0-9]{9,}+)"  # Asterisk's ids and timestamps are none
)
"""A number in the name of a file or a channel, where other runs of digits are dates, times and counters."""


def masked_number(number: str) -> str:
    """A number with asterisks between its country code and its last two digits: `447700900412` is `44********12`.

    Numbers too short or, by a leading zero, too national to have a country code, and words that stand for a number,
    keep their last two characters alone.
    """
    code = _code_length(number) if number.isdigit() and number.isascii() else 0
    hidden = len(number) - code - _KEPT_DIGITS
    if hidden <= 0:
        return "*" * len(number)
    return number[:code] + "*" * hidden + number[-_KEPT_DIGITS:]


def _code_length(digits: str) -> int:
    return _CODE_LENGTHS[digits[:2]] if len(digits) >= _SHORTEST_FULL else 0


class _OurDigits(dict[int, str | int]):
    """Of every sign to which Unicode gives a value from 0 to 9, our digit for it, known once the sign was met."""

    def __missing__(self, code: int) -> str | int:
        value = numeric(chr(code), -1)
        self[code] = found = str(int(value)) if value in range(10) else code
        return found


_OURS: Final = _OurDigits()


def _in_our_digits(text: str) -> str:
    """A text, as long as before, with digits of other scripts as ours."""
    return text if text.isascii() else text.translate(_OURS)


def digits_of(text: str) -> str:
    """The digits of a text in their order, as ours, whatever stands between them."""
    return _in_our_digits(text).encode("ascii", "ignore").translate(None, _NOT_DIGITS).decode()


class Own:
    """A record's own numbers, as they are looked for in its texts: all at once."""

    __slots__ = ("_begins", "_ends", "_lengths", "_numbers", "_words", "_words_begin", "pieces")

    def __init__(self, numbers: Iterable[str]) -> None:
        """`numbers` as their members have them."""
        self._numbers: list[str] = []
        self._words: set[str] = set()
        self._lengths: list[int] = []
        for number in dict.fromkeys(numbers):
            _, digits, word = _number(number)
            self._numbers += [digits] if digits else ()
            self._words.update([word] if word else ())
        self.pieces = _pieces(self._numbers)
        self._begins: dict[str, int] = {}

    @property
    def has_words(self) -> bool:
        """Whether there is one that is not made of digits alone, and is looked for as it is."""
        return bool(self._words)

    def hide(self, digits: str, seen: bytearray) -> None:
        """Of a text's digits, let no number of the record be seen but what the mask shows: the country code where the
        number begins, the last two digits where it ends."""
        if not self._begins:
            self._begins = {number[:PIECE]: _code_length(number) for number in self._numbers}
            self._ends = {number[-PIECE:] for number in self._numbers}
        begin = end = 0
        for at in range(len(digits) - PIECE + 1):
            if digits[at : at + PIECE] in self.pieces:
                if at >= end:  # not a part of the piece before
                    self._hide_stretch(digits, begin, end, seen)
                    begin = at
                end = at + PIECE
        self._hide_stretch(digits, begin, end, seen)

    def _hide_stretch(self, digits: str, begin: int, end: int, seen: bytearray) -> None:
        first = begin + self._begins.get(digits[begin : begin + PIECE], 0)
        last = end - (_KEPT_DIGITS if digits[end - PIECE : end] in self._ends else 0)
        seen[first:last] = bytes(max(last - first, 0))

    def hide_rest(self, digits: str, seen: bytearray) -> None:
        """What is seen of several numbers, and what stood between them, may make pieces of one again."""
        left: list[int] = []
        for at in [at for at, is_seen in enumerate(seen) if is_seen]:
            left.append(at)
            if len(left) >= PIECE and "".join([digits[i] for i in left[-PIECE:]]) in self.pieces:
                for hidden in left[-PIECE:]:
                    seen[hidden] = 0
                del left[-PIECE:]

    def without_words(self, text: str) -> str:
        """A text with those masked in it that are not made of digits alone."""
        if not self._lengths:
            self._words_begin = {word[:PIECE] for word in self._words}
            self._lengths = sorted({len(word) for word in self._words}, reverse=True)
        begins, lengths, words = self._words_begin, self._lengths, self._words
        out: list[str] = []
        at = kept = 0
        while at < len(text):
            length = 0
            if text[at : at + PIECE] in begins:
                length = next((length for length in lengths if text[at : at + length] in words), 0)
            if length:
                out += text[kept:at], masked_number(text[at : at + length])
                kept = at = at + length
            else:
                at += 1
        return "".join((*out, text[kept:]))


@lru_cache(maxsize=65_536)
def _number(number: str) -> tuple[str, str, str]:
    """A number masked, and what is looked for of it: its digits, and itself if it has more than digits; each only if it
    is long enough."""
    digits = digits_of(number)
    word = number if len(number) >= PIECE and len(digits) != len(number) else ""
    return masked_number(number), digits if len(digits) >= PIECE else "", word


def _pieces(numbers: Sequence[str]) -> Container[str]:
    """What holds every five consecutive digits of some numbers: of few, a text is made and searched faster."""
    if len(numbers) <= _FEW:
        return " ".join(numbers)
    return {number[at : at + PIECE] for number in numbers for at in range(len(number) - PIECE + 1)}


def _stand_in(pieces: Container[str], digits: str) -> bool:
    """Whether five consecutive digits of a number stand among these."""
    for at in range(len(digits) - PIECE + 1):  # noqa: SIM110 - a generator takes twice as long
        if digits[at : at + PIECE] in pieces:
            return True
    return False


NOBODY: Final = Own(())


def masked_text(text: str, own: Own) -> str:
    """A text that somebody wrote, with everything masked that looks like a telephone number or is one of the record's
    own."""
    return _masked(text, own, _LIKE_A_NUMBER, _NUMBER_OR_ID)


def masked_name(name: str, own: Own) -> str:
    """A name of a file, a channel or the like, with everything masked that can only be a telephone number or is one of
    the record's own."""
    return _masked(name, own, _LONG_RUN, _IN_NAMES)


def masked_id(id_: str, own: Own) -> str:
    """What another system knows the record by, with the record's own numbers masked."""
    return _masked(id_, own, None, None)


@lru_cache(maxsize=65_536)
def masked_label(label: str) -> str:
    """What an agent, a queue, a campaign, a team or a source is called, or a wrap-up code described by. Records and
    look-ups say it alike, so nothing but the label itself counts: of five digits and more all but the last two are
    masked, and of what looks like a number what a mask hides."""
    plain = _in_our_digits(label)
    places = [found.start() for found in _DIGIT.finditer(plain)]
    if len(places) < PIECE:
        return label
    seen = bytearray(b"\1" * len(places))
    _hide_foreign(plain, places, _NUMBER_OR_ID, seen)
    if sum(seen) > _MOST_SEEN:
        seen[:-_KEPT_DIGITS] = bytes(len(places) - _KEPT_DIGITS)
    return _starred(label, places, seen)


def _masked(text: str, own: Own, like: re.Pattern[str] | None, foreign: re.Pattern[str] | None) -> str:
    if own.has_words:
        text = own.without_words(text)
    plain = _in_our_digits(text)
    digits = digits_of(plain)
    if len(digits) < PIECE:
        return text
    is_own, is_like = _stand_in(own.pieces, digits), like is not None and like.search(plain) is not None
    if not (is_own or is_like):
        return text
    places = [found.start() for found in _DIGIT.finditer(plain)]
    seen = bytearray(b"\1" * len(places))
    if foreign is not None and is_like:
        _hide_foreign(plain, places, foreign, seen)
    if is_own:
        own.hide(digits, seen)
    own.hide_rest(digits, seen)
    return text if all(seen) else _starred(text, places, seen)


def _hide_foreign(text: str, places: Sequence[int], pattern: re.Pattern[str], seen: bytearray) -> None:
    """Of the digits at these places, let no more be seen of what looks like a number than the mask of one shows."""
    at = 0
    for found in pattern.finditer(text):
        if found["number"] is None:
            continue
        while places[at] < found.start("number"):
            at += 1
        digits = digits_of(found["number"])
        code = _code_length(digits)
        seen[at + code : at + len(digits) - _KEPT_DIGITS] = bytes(len(digits) - code - _KEPT_DIGITS)
        at += len(digits)
        if at == len(places):
            return


def _starred(text: str, places: Sequence[int], seen: bytearray) -> str:
    chars = list(text)
    for place, is_seen in zip(places, seen, strict=True):
        if not is_seen:
            chars[place] = "*"
    return "".join(chars)


# --- records ----------------------------------------------------------------------------------------------------------

_JSON: Final = msgspec.json.Encoder().encode
_LINES: Final = msgspec.json.Encoder().encode_lines
_ORDER: Final = tuple(field.encode_name for field in msgspec.structs.fields(Record))
_LABELS: Final = ("agent", "queue", "campaign", "wrapup_description")
_READ: Final[dict[str, Any]] = {
    **{field.name: str | None for field in FIELDS if field.part == "number"},
    **dict.fromkeys(_LABELS, str | None),
    "uuid": str,
    "recording": str | None,
    "external_account_id": str | None,
    "tags": tuple[str, ...],
    "comment": str | None,
    "legs": list[dict[str, Any]],
    **dict.fromkeys(
        (name for name in _ORDER if name.endswith(("_s", "agent_id", "queue_id", "campaign_id"))), int | None
    ),
}
"""The members that are read: to be masked, or because it is faster. Teams, events and custom values are where they may
need it, all others pass as they are."""
_Seen: Final[Any] = msgspec.defstruct(
    "_Seen",
    [(f"{name}_", _READ.get(name, msgspec.Raw)) for name in _ORDER],
    rename={f"{name}_": name for name in _ORDER},
    gc=False,
)
"""A record, in the order of its JSON, of which only so much is read as can need a change."""
_SEEN: Final = msgspec.json.Decoder(_Seen).decode_lines
_DIGIT_BYTES: Final = rb"\d\xc2\xd9\xdb\xdf-\xff"
"""The bytes with which a digit of any script begins."""
_UPTO_DIGIT: Final = rb'[^"\\%b]*+' % _DIGIT_BYTES
_FIVE_DIGITS: Final = rb'"%b(?:\\|[%b](?:%b[%b]){0,%d}+%b[\\%b])' % (
    *(_UPTO_DIGIT, _DIGIT_BYTES, _UPTO_DIGIT, _DIGIT_BYTES),
    *(PIECE - 2, _UPTO_DIGIT, _DIGIT_BYTES),
)
"""The begin of a text that may have five digits; what is escaped may be one."""
_PARTS: Final = msgspec.json.Decoder(list[dict[str, Any]]).decode
"""Events or teams, of which only texts are changed: times stay the texts they are."""
_PART_NUMBERS: Final = ("number", "from", "to")
_PART_LABELS: Final = ("agent", "queue", "to_agent")
_PART_TEXTS: Final = ("detail",)
_PART_WORDS: Final = frozenset(("type", "at", "started_at", "answered_at", "ended_at", *_PART_NUMBERS))
"""What no source gave as a text, or is masked before. All other members of legs and events are names."""
_PART_TEXT: Final = re.compile(
    rb',"(%b)":(%b[^"]*+")'
    % (
        "|".join(
            {each.encode_name for part in (Leg, Event) for each in msgspec.structs.fields(part)} - _PART_WORDS
        ).encode(),
        _FIVE_DIGITS,
    )
)
"""What can hold a number in a leg or an event beside its parties: a member's name, and its text."""
_PART_PARTY: Final = re.compile(rb'(,"(?:from|to|number)":"[^"]*+")')
_CUSTOM: Final = msgspec.json.Decoder(dict[str, CustomValue]).decode
_TEXT: Final = msgspec.json.Decoder(str | None).decode
_NULL: Final = msgspec.Raw(b"null")
_NO_TEAMS: Final = msgspec.Raw(b"[]")
_NO_CUSTOM: Final = msgspec.Raw(b"{}")
_NOT_DIGITS: Final = bytes(byte for byte in range(256) if not 48 <= byte < 58)
_EMPTY: Final = {
    field.encode_name: msgspec.Raw(
        _JSON(field.default_factory() if field.default is msgspec.NODEFAULT else field.default)
    )
    for field in msgspec.structs.fields(Cdr)
    if not field.required
}
_AT_ONCE: Final = 64 * 1024
"""Bytes of JSON taken in hand at once: so many that the records' objects fit a processor's cache."""


def served(records: bytes, scope: Scope) -> bytes:
    """Records' JSON, a line each, as they leave for whom a scope is: masked, in the words of its vocabulary."""
    return in_words(masked(records, scope.mask), scope.vocabulary)


def masked(records: bytes, mask: Mask) -> bytes:
    """Records' JSON, a line each, under a mask, within the time that is left."""
    if not records or not (mask.numbers or mask.hidden):
        return records
    done = []
    for part in _parts(records):
        done.append(_masked_part(part, mask))
        budget.check()
    return b"\n".join(done)


def _parts(records: bytes, at_once: int = _AT_ONCE) -> Iterator[bytes]:
    start = 0
    while (end := records.find(b"\n", start + at_once)) != -1:
        yield records[start:end]
        start = end + 1
    yield records[start:]


def _masked_part(part: bytes, mask: Mask) -> bytes:
    if mask.numbers:
        part = _numbers_masked(part)
    return _emptied(part, mask.hidden) if mask.hidden else part


def _emptied(part: bytes, hidden: Iterable[str]) -> bytes:
    """Records without what these members hold."""
    seen = _SEEN(part)
    for name in hidden:
        for record in seen:
            setattr(record, f"{name}_", _EMPTY[name])
    if not RECORDINGS.isdisjoint(hidden):
        _hide_recordings(seen)
    return _LINES(seen)[:-1]


def _read_and_masked(records: Sequence[bytes]) -> list[bytes]:
    """Records with all numbers masked, each of them read: whatever is in them, and ten times as slow."""
    seen = _SEEN(b"\n".join(records))
    _mask_labels(seen)
    for record in seen:
        _mask_record(record)
    return list(map(_JSON, seen))


def _hide_recordings(records: list[Any]) -> None:
    """Take the recordings out of legs, in place."""
    for record in records:
        if isinstance(record.legs_, list):
            for leg in record.legs_:
                leg.pop("recording", None)


def _mask_labels(records: list[Any]) -> None:
    """Mask what agents, queues, campaigns, teams and the source are called, and a wrap-up code described by, in
    place."""
    source = masked_source = _NULL
    for record in records:
        if record.agent_:
            record.agent_ = masked_label(record.agent_)
        if record.queue_:
            record.queue_ = masked_label(record.queue_)
        if record.campaign_:
            record.campaign_ = masked_label(record.campaign_)
        if record.wrapup_description_:
            record.wrapup_description_ = masked_label(record.wrapup_description_)
        if record.teams_ != _NO_TEAMS:
            record.teams_ = _masked_teams(bytes(record.teams_))
        if record.source_ != source:
            source = record.source_
            masked_source = msgspec.Raw(_JSON(masked_label(_TEXT(source) or "") or None))
        if masked_source is not source:
            record.source_ = masked_source


@lru_cache(maxsize=4_096)
def _masked_teams(teams: bytes) -> msgspec.Raw:
    read = _PARTS(teams)
    for team in read:
        if team["name"]:
            team["name"] = masked_label(team["name"])
    return msgspec.Raw(_JSON(read))


def _mask_record(record: Any) -> None:
    """Mask every other number that a record holds, in place: first those of members of their own, so that they are
    known when they are looked for in texts."""
    numbers = [number for number in (record.from_, record.to_, record.did_) if number]
    record.from_, record.to_, record.did_ = (
        number and _number(number)[0] for number in (record.from_, record.to_, record.did_)
    )
    record.events_ = _PARTS(record.events_)
    parts = [*record.legs_, *record.events_]
    for part in parts:
        for name in _PART_NUMBERS:
            if part.get(name):
                numbers.append(part[name])
                part[name] = _number(part[name])[0]
    own = Own(numbers)
    for part in parts:
        for name, value in part.items():
            if name in _PART_WORDS or not isinstance(value, str):
                continue
            if name in _PART_LABELS:
                part[name] = masked_label(value)
            elif name in _PART_TEXTS:
                part[name] = masked_text(value, own)
            else:
                part[name] = masked_name(value, own)
    if own.has_words or _stand_among(_texts_of(record), own.pieces):
        _mask_texts(record, own)


def _texts_of(record: Any) -> Iterator[_Windows]:
    """What `_mask_texts` may change."""
    if record.recording_:
        yield _in_name(record.recording_.replace(record.uuid_, _PLACE).encode())
    if record.external_account_id_:
        yield _in_id(record.external_account_id_.encode())
    for text in (*record.tags_, record.comment_ or ""):
        yield _in_text(text.encode())
    yield _in_text(bytes(record.custom_))


def _mask_texts(record: Any, own: Own) -> None:
    if record.recording_:
        record.recording_ = _masked_recording(record.recording_, record.uuid_, own)
    if record.external_account_id_:
        record.external_account_id_ = masked_id(record.external_account_id_, own)
    if record.tags_:
        record.tags_ = [masked_text(tag, own) for tag in record.tags_]
    if record.comment_:
        record.comment_ = masked_text(record.comment_, own)
    if record.custom_ != _NO_CUSTOM:
        record.custom_ = {masked_text(name, own): _value(value, own) for name, value in _CUSTOM(record.custom_).items()}


def _masked_recording(name: str, uuid: str, own: Own) -> str:
    """The name of a recording. The record's own uuid is often a part of it, and no number."""
    if uuid in name and _PLACE not in name:
        return masked_name(name.replace(uuid, _PLACE), own).replace(_PLACE, uuid)
    return masked_name(name, own)


def _value(value: CustomValue, own: Own) -> CustomValue:
    """A custom value; a number that long is masked as a text is."""
    if isinstance(value, str):
        return masked_text(value, own)
    if value is None or isinstance(value, bool):
        return value
    text = str(value)
    masked_ = masked_text(text, own)
    return value if masked_ == text else masked_


# --- records as they stand --------------------------------------------------------------------------------------------
#
# Most records hold their numbers as parties alone, so their JSON need not be read: parties are replaced where they
# stand. Whatever may be otherwise is read.

_TEXT_JSON: Final = rb'(?:"[^"]*+"|null)'
_LIST_JSON: Final = rb"\[[^\]]*+\]"
_SHAPES: Final = {
    **dict.fromkeys(
        (*_LABELS, "uuid", "source", "recording", "external_account_id", "comment", "duration"), _TEXT_JSON
    ),
    **dict.fromkeys(("teams", "events", "tags", "linked_uuids", "flags"), _LIST_JSON),
    "custom": rb"\{[^}]*+\}",
}
"""What members are, as far as it is needed; the values of all others have no comma, or seldom."""


def _run(first: str, last: str) -> bytes:
    """The expression of members that follow each other."""
    names = _ORDER[_ORDER.index(first) : _ORDER.index(last) + 1]
    return b",".join([b'"%b":%b' % (name.encode(), _SHAPES[name]) if name in _SHAPES else b"[^,]*+" for name in names])


_RECORD: Final = re.compile(
    rb'(\{%b)(,"from":%b)(,"to":%b)(,"did":%b)(,%b,(%b),%b)(,"events":%b)(,"legs":%b)(,%b,"recording":(%b),'
    rb'"external_account_id":(%b),(%b),"source":(%b),%b\})'
    % (
        *(_run("uuid", "ended_at"), _TEXT_JSON, _TEXT_JSON, _TEXT_JSON, _run("end_reason", "end_reason")),
        *(_run("agent", "wrapup_description"), _run("duration_s", "wrapup_s"), _LIST_JSON, _LIST_JSON),
        *(_run("linked_uuids", "linked_uuids"), _TEXT_JSON, _TEXT_JSON, _run("tags", "custom"), _TEXT_JSON),
        _run("flags", "duration"),
    ),
    re.DOTALL,
)
"""A record as it is stored; its groups are what `_masked_as_it_stands` takes.

Of a text the first quotation mark is taken for the end, of a list or of custom values the first bracket. One within a
text is never followed by a member's name, since quotation marks are escaped there: such a record is not found.
"""
_LABEL: Final = re.compile(rb'"(?:agent|queue|campaign|wrapup_description)":("[^"]*+")|"teams":(%b)' % _LIST_JSON)
_TO_BE_READ: Final = "?"
"""Stands for a party that is looked for otherwise than by its digits."""
_MOST_DIGITS: Final = 128
"""So long may a record's numbers be together to be looked through for each part of a text."""
_NO_LEGS: Final = len(b',"legs":[]')
_NO_TEXTS: Final = b'"tags":[],"comment":null,"score":null,"custom":{}'
_OTHER_PARTS: Final = frozenset(name.encode() for name in (*_PART_LABELS, *_PART_TEXTS))
_TO_ZEROS: Final = bytes.maketrans(b"123456789", b"000000000")
_BETWEEN_DIGITS: Final = bytes(byte for byte in range(128) if not chr(byte).isalnum())
_NAME: Final = (b"", 9, _LONG_RUN)
_Windows = tuple[str, ...] | None
"""Of a text every five consecutive digits, or None where it has to be read."""


def _numbers_masked(part: bytes) -> bytes:
    """Records with all numbers masked."""
    done: list[bytes] = []
    to_read: dict[int, bytes] = {}
    for found in _RECORD.findall(part):
        pieces = _masked_as_it_stands(found)
        if pieces is None:
            pieces = (b"".join((*found[:5], *found[6:9])),)
            to_read[len(done)] = pieces[0]
        done += pieces
        done.append(b"\n")
    if sum(map(len, done)) - 1 != len(part):
        each = list(_parts(part, at_once=1))
        return b"\n".join(map(_numbers_masked, each) if len(each) > 1 else _read_and_masked(each))
    for at, record in zip(to_read, _read_and_masked(list(to_read.values())), strict=True):
        done[at] = record
    return b"".join(done[:-1])


def _masked_as_it_stands(found: tuple[bytes, ...]) -> tuple[bytes, ...] | None:
    """The pieces of a record, each as long as before, with its parties masked; None if anything else may have to be."""
    head, from_, to, did, middle, labels, events, legs, end, recording, external_account_id, texts, source = found
    if not _labels_stay(labels, source):
        return None
    windows = [_in_part(name, text) for name, text in _PART_TEXT.findall(events + legs)]
    from_, numbers = _party(from_)
    to, more = _party(to)
    numbers += more
    did, more = _party(did)
    numbers += more
    if len(legs) > _NO_LEGS:
        legs, numbers = _masked_parties(legs, numbers)
    if b'"number":' in events:
        events, numbers = _masked_parties(events, numbers)
    if recording != b"null":
        windows.append(_in_name(recording.replace(head[9:45], b"\0")))
    if external_account_id != b"null":
        windows.append(_in_id(external_account_id))
    if texts != _NO_TEXTS:
        windows.append(_in_text(texts))
    if _TO_BE_READ in numbers or len(numbers) > _MOST_DIGITS or _stand_among(windows, numbers):
        return None
    return head, from_, to, did, middle, events, legs, end


def _masked_parties(parts: bytes, numbers: str) -> tuple[bytes, str]:
    """Events or legs with their parties masked, and a record's numbers with those of these."""
    pieces = _PART_PARTY.split(parts)
    for at in range(1, len(pieces), 2):
        pieces[at], more = _party(pieces[at])
        if len(numbers) <= _MOST_DIGITS and more not in numbers:
            numbers += more
    return b"".join(pieces), numbers


def _stand_among(texts: Iterable[_Windows], numbers: Container[str]) -> bool:
    """Whether a text has a piece of a number, or must be read."""
    for windows in texts:
        if windows is None:
            return True
        for window in windows:
            if window in numbers:
                return True
    return False


@lru_cache(maxsize=65_536)
def _party(json: bytes) -> tuple[bytes, str]:
    """The name and JSON of a party, masked; and a blank with those of its digits that are looked for in texts."""
    if json.endswith(b"null"):
        return json, ""
    begin = json.rindex(b'"', 0, -1) + 1
    masked_, digits, word = _number.__wrapped__(json[begin:-1].decode())  # it is kept here
    if word or b"\\" in json or not json.isascii():
        return json, _TO_BE_READ
    return b'%b%b"' % (json[:begin], masked_.encode()), f" {digits}" if digits else ""


@lru_cache(maxsize=16_384)
def _labels_stay(labels: bytes, source: bytes) -> bool:
    """Whether a mask changes none of what agent, queue and the like are called."""
    return all(
        masked_label(_TEXT(label) or "") == (_TEXT(label) or "") if label else bytes(_masked_teams(teams)) == teams
        for label, teams in [*_LABEL.findall(labels), (source, b"")]
    )


def _in_part(name: bytes, json: bytes) -> _Windows:
    """Of a text of a leg or an event."""
    return None if name in _OTHER_PARTS else _windows(json, *_NAME)


@lru_cache(maxsize=16_384)
def _in_name(json: bytes) -> _Windows:
    return _windows(json, *_NAME)


@lru_cache(maxsize=16_384)
def _in_id(json: bytes) -> _Windows:
    return _windows(json, b"", 0, None)


@lru_cache(maxsize=16_384)
def _in_text(json: bytes) -> _Windows:
    return _windows(json, _BETWEEN_DIGITS, _SHORTEST_FULL, _LIKE_A_NUMBER)


def _windows(json: bytes, between: bytes, least: int, foreign: re.Pattern[str] | None) -> _Windows:
    """`foreign` finds a number of others, of which the shortest has `least` digits, with such bytes between them."""
    if b"\\" in json:
        return None
    if json.isascii():
        if foreign and b"0" * least in json.translate(_TO_ZEROS, between):
            return None
        digits = json.translate(None, _NOT_DIGITS).decode()
    else:
        text = _in_our_digits(json.decode())
        if foreign and foreign.search(text):
            return None
        digits = digits_of(text)
    return tuple([digits[at : at + PIECE] for at in range(len(digits) - PIECE + 1)])

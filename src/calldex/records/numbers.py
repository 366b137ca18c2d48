"""How telephone numbers are written where people read them: with the spaces of their country. Pure.

A record keeps a number as digits (E.164 without the plus sign), and so do filters, exports and whatever is copied. What
is made here stands beside the records of a page (`numbers`), never in them. What is no whole number of a country (an
extension, a short code, a masked number) is not written another way.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from functools import lru_cache
from typing import Final

import msgspec

_WHOLE: Final = re.compile(r"[1-9]\d{6,14}")
_NO_DIGIT: Final = re.compile(r"\D")
_KEPT: Final = 65_536


class _Event(msgspec.Struct, frozen=True, gc=False):
    number: str | None = None


class _Leg(msgspec.Struct, frozen=True, gc=False, rename={"from_": "from"}):
    from_: str | None = None
    to: str | None = None


class _Numbers(msgspec.Struct, frozen=True, rename={"from_": "from"}):
    from_: str | None = None
    to: str | None = None
    did: str | None = None
    events: tuple[_Event, ...] = ()
    legs: tuple[_Leg, ...] = ()

    def all(self) -> Iterator[str | None]:
        yield from (self.from_, self.to, self.did)
        yield from (event.number for event in self.events)
        for leg in self.legs:
            yield from (leg.from_, leg.to)


_DECODER: Final = msgspec.json.Decoder(list[_Numbers])


@lru_cache(_KEPT)
def written(number: str) -> str | None:
    """A number as its country writes it for callers from abroad, as `+44 1632 960961`; None for what is no such
    number."""
    if not _WHOLE.fullmatch(number):
        return None
    import phonenumbers  # here, as most processes show no numbers

    try:
        parsed = phonenumbers.parse(f"+{number}")
    except phonenumbers.NumberParseException:
        return None
    if phonenumbers.is_possible_number_with_reason(parsed) != phonenumbers.ValidationResult.IS_POSSIBLE:
        return None
    shown = phonenumbers.format_number(parsed, phonenumbers.PhoneNumberFormat.INTERNATIONAL)
    return str(shown) if _NO_DIGIT.sub("", shown) == number else None


def all_written(numbers: Iterable[str | None]) -> dict[str, str]:
    """Those of some numbers that are written another way, by what they are."""
    return {each: shown for each in set(numbers) if each is not None and (shown := written(each)) is not None}


def written_in(records: bytes) -> dict[str, str]:
    """The same for every number in records: their JSON, joined by commas."""
    return all_written(number for record in _DECODER.decode(b"[%b]" % records) for number in record.all())

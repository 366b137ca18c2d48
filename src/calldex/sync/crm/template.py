"""The body of a push as a template: JSON in which texts name what stands there.

    {"phone": "{customer}", "duration": "{talk_s}", "note": "{agent|-} answered", "status": "{disposition:busy=7,*=6}"}

`{name}` is a value of the call. A text that is nothing else becomes the value as it is, so numbers stay numbers and
objects objects; within other text it is written out. `{name?}` leaves out the member where there is no value,
`{name|-}` puts a text in its place, and `{name:a=1,b=2,*=3}` another value for each, `*` for all others; what follows
`=` is JSON if it can be read so. `{{` and `}}` are braces. Nothing is computed, and no other name is known: a template
that names one is refused when it is read.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Collection, Mapping
from typing import Any, Final

_PLACE: Final = re.compile(r"\{\{|\}\}|\{([^{}]*)\}|[{}]")
_NAME: Final = re.compile(r"([a-z][a-z0-9_.]*)(?:(\?)|\|(.*)|:(.*))?", re.DOTALL)
_LEFT_OUT: Final = object()
Values = Mapping[str, Any]
Segment = Callable[[Values], Any]


class BadTemplate(ValueError):
    """What is wrong with a template, and where."""


class Template:
    """A template, read and checked. `names` are those that it may ask for."""

    def __init__(self, text: str, names: Collection[str]) -> None:
        try:
            content = json.loads(text)
        except ValueError as error:
            raise BadTemplate(f"it is not JSON: {error}") from None
        self._names = names
        self._part = self._read(content, "$")

    def filled(self, values: Values) -> Any:
        """The content with these values."""
        return self._part(values)

    def _read(self, content: Any, at: str) -> Segment:
        if isinstance(content, str):
            return self._text(content, at)
        if isinstance(content, list):
            items = [self._read(item, f"{at}[{index}]") for index, item in enumerate(content)]
            return lambda values: [found for item in items if (found := item(values)) is not _LEFT_OUT]
        if isinstance(content, dict):
            members = {name: self._read(item, f"{at}.{name}") for name, item in content.items()}
            return lambda values: {
                name: found for name, member in members.items() if (found := member(values)) is not _LEFT_OUT
            }
        return lambda values: content

    def _text(self, text: str, at: str) -> Segment:
        pieces: list[str | Segment] = []
        end = 0
        for place in _PLACE.finditer(text):
            pieces.append(text[end : place.start()])
            end = place.end()
            if place[0] in ("{{", "}}"):
                pieces.append(place[0][0])
            elif place[1] is None:
                raise BadTemplate(f"{at} has a single {place[0]!r}; written twice it is a brace")
            else:
                pieces.append(self._place(place[1], at))
        pieces.append(text[end:])
        pieces = [piece for piece in pieces if piece != ""]
        if len(pieces) == 1 and not isinstance(pieces[0], str):
            return pieces[0]
        return lambda values: "".join(piece if isinstance(piece, str) else _written(piece(values)) for piece in pieces)

    def _place(self, text: str, at: str) -> Segment:
        found = _NAME.fullmatch(text)
        if found is None or found[1] not in self._names:
            raise BadTemplate(f"{at} asks for {text!r}; there are {', '.join(sorted(self._names))}")
        name, optional, otherwise, mapped = found.groups()
        if optional:
            return lambda values: _LEFT_OUT if values[name] is None else values[name]
        if otherwise is not None:
            return lambda values: otherwise if values[name] is None else values[name]
        if mapped is not None:
            choices = dict(_choice(pair, at) for pair in mapped.split(","))
            other = choices.pop("*", None)
            return lambda values: choices.get(_written(values[name]), other)
        return lambda values: values[name]


def _choice(pair: str, at: str) -> tuple[str, Any]:
    word, equals, value = pair.partition("=")
    if not equals:
        raise BadTemplate(f"{at} has {pair!r} where `word=value` should stand")
    try:
        return word.strip(), json.loads(value)
    except ValueError:
        return word.strip(), value.strip()


def _written(value: Any) -> str:
    if value is None or value is _LEFT_OUT:
        return ""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)

"""Addresses of databases. One may hold a password: `str` and `repr` never show it, nor what stands behind a `?`.

Pure. Only `whole` tells all of it, for whoever opens the connection; logs, errors and `calldex settings` show `str`.
"""

from __future__ import annotations

import re
from typing import ClassVar, Final

_PARTS: Final = re.compile(r"([a-z]+)://(?:([^:@/?#]+)(:[^@]*)?@)?([^@?#]+)(\?[^@#]*)?")
"""Scheme, user, password, host and database, options. With one @ it is plain where a password ends; others are %40."""
_HOST: Final = r"(?:\[[0-9A-Fa-f:.]+\]|[^\s:/,\[\]]+)(?::\d{1,5})?"


class Address:
    """The address of a database, or the word for that which lies in the data directory."""

    embedded_word: ClassVar[str]
    forms: ClassVar[dict[str, re.Pattern[str]]]
    """How host and database are written, by scheme."""
    examples: ClassVar[tuple[str, ...]]

    __slots__ = ("_shown", "whole")

    def __init__(self, whole: str) -> None:
        """Read it; `ValueError`, which repeats nothing of it, if it is no such address."""
        self.whole = self._shown = whole
        if self.embedded:
            return
        parts = _PARTS.fullmatch(whole)
        if parts is None or parts[1] not in self.forms or not self.forms[parts[1]].fullmatch(parts[4]):
            raise ValueError(f"is no such address; valid: {self.valid()}")
        scheme, user, password, rest, options = parts.groups()
        who = f"{user}{':***' if password else ''}@" if user else ""
        self._shown = f"{scheme}://{who}{rest}{'?***' if options else ''}"

    @property
    def embedded(self) -> bool:
        """Whether it is the one in the data directory."""
        return self.whole == self.embedded_word

    @classmethod
    def valid(cls) -> str:
        """What it may be, in words."""
        return f"{', '.join(cls.examples)}; where a password has an @, write %40, for a % write %25"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Address) and type(self) is type(other) and self.whole == other.whole

    def __hash__(self) -> int:
        return hash(self.whole)

    def __str__(self) -> str:
        return self._shown

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._shown!r})"


class StoreAddress(Address):
    """Where the records are."""

    embedded_word = "embedded"
    forms: ClassVar = {
        "clickhouse": re.compile(rf"{_HOST}(?:,{_HOST})*/[^\s/]+"),
        "chdb": re.compile(r"/.+"),
    }
    examples = ("embedded", "clickhouse://user:password@host1,host2:8123/database?secure=1", "chdb:///path")


class DirectoryAddress(Address):
    """Where the directory is."""

    embedded_word = ""
    forms: ClassVar = {"postgresql": re.compile(rf"{_HOST}/[^\s/]+")}
    examples = ("postgresql://user:password@host:5432/database",)

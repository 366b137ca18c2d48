"""Whose a request is, and how much of what all share may be theirs: of places, of waiting, of replies not taken yet.

Whoever is slow or greedy uses up their own share: of half for one key or session, of three quarters for one account;
who has no key is known by their address. So others are answered whatever one of them does. Decides nothing about what
somebody may see.
"""

from __future__ import annotations

from collections import Counter
from contextvars import ContextVar
from typing import Final, NamedTuple


class Asker(NamedTuple):
    """Who asks: the key, the session, or the address; and the account, 0 where none is known."""

    account_id: int
    who: tuple[str, int | str]


ASKER: Final[ContextVar[Asker | None]] = ContextVar("asker", default=None)
"""Who asks in the request at hand; None outside of any."""


def of_one(most: int) -> int:
    """The share of one key, session or address."""
    return -(-most // 2)


def of_account(most: int) -> int:
    """The share of all of an account."""
    return -(-most * 3 // 4)


class Shares:
    """How much of something each asker holds; there is `most` of it."""

    def __init__(self, most: int) -> None:
        self._one, self._account = of_one(most), of_account(most)
        self._held: Counter[object] = Counter()

    def has_room(self, asker: Asker | None) -> bool:
        """Whether an asker holds less than their share."""
        if asker is None:
            return True
        whole = self._held[asker.account_id] < self._account if asker.account_id else True
        return whole and self._held[asker] < self._one

    def change(self, asker: Asker | None, by: int) -> None:
        """An asker holds more, or less."""
        if asker is None:
            return
        for name in (asker, asker.account_id):
            self._held[name] += by
            if not self._held[name]:
                del self._held[name]

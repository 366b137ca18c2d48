"""A code that signs somebody in once, for the link that a demo prints. Kept in memory by the process that made it."""

from __future__ import annotations

import hmac
import secrets
import time
from collections.abc import Callable
from typing import Final

LIFE_S: Final = 600


class OneTimeCode:
    """A code for one user, until it is taken or too old. For the event loop alone."""

    def __init__(self, email: str, clock: Callable[[], float] = time.monotonic) -> None:
        self.code = secrets.token_urlsafe(24)
        self._email = email
        self._clock = clock
        self._until = clock() + LIFE_S
        self._taken = False

    def take(self, code: str) -> str | None:
        """Whose it is, the first time it is shown within its life; else None."""
        if self._taken or self._clock() >= self._until or not hmac.compare_digest(code.encode(), self.code.encode()):
            return None
        self._taken = True
        return self._email

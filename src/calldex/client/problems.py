"""What can go wrong between a program and the CDR API. Nothing here repeats a key."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


class ClientError(Exception):
    """The base of all errors of this package."""


class Unreachable(ClientError):
    """No reply came, however often it was tried."""


class Incomplete(ClientError):
    """A walk or a stream ended before all of it had come. What came before is right, but it is not the whole."""


class ApiError(ClientError):
    """The server refused: `status`, the sentence it gave, and for 400 its `problems`, one for each bad parameter.
    `retry_after_s`: after how many seconds it asks to come again; None if it does not."""

    def __init__(self, status: int, message: str, body: Mapping[str, Any], retry_after_s: float | None = None) -> None:
        super().__init__(f"{status}: {message}")
        self.status = status
        self.message = message
        self.body = body
        self.retry_after_s = retry_after_s

    @property
    def problems(self) -> list[dict[str, str]]:
        """What is wrong with each parameter: its name, what was given, and what is valid."""
        found = self.body.get("problems")
        return found if isinstance(found, list) else []


class Unauthorized(ApiError):
    """401: the key is not valid (any more)."""


class RightsChanged(ApiError):
    """409: what the key may see has changed since the walk or the feed began; begin anew."""


class CursorExpired(ApiError):
    """410: the token or cursor is older than what the server keeps; begin anew, or at `earliest_cursor`."""

    @property
    def earliest_cursor(self) -> str | None:
        """From where the feed can still be read."""
        found = self.body.get("earliest_cursor")
        return found if isinstance(found, str) else None


def refusal(status: int, body: Mapping[str, Any], retry_after_s: float | None = None) -> ApiError:
    """The error for a reply that is none of 2xx."""
    kind = {401: Unauthorized, 409: RightsChanged, 410: CursorExpired}.get(status, ApiError)
    reason = body.get("error") or body.get("detail") or "the server gave no reason"
    return kind(status, str(reason), body, retry_after_s)

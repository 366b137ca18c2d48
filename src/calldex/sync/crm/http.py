"""Requests to a vendor: at the vendor's pace, with patience, and never twice where that would do a thing twice."""

from __future__ import annotations

import logging
import math
import random
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import httpx2

from calldex.client.client import retry_after

TIMEOUT_S: Final = 30.0
TRIES: Final = 6
SHARE: Final = 0.95
"""How much of a vendor's limit is used: the rest is for clocks that differ and for requests that arrive late."""
_LONGEST_PAUSE_S: Final = 60.0
_LONGEST_WAIT_S: Final = 120.0
"""A vendor that asks for more than that ends the run; the next one comes again."""
_PUT_OFF: Final = frozenset((429, 503))
"""The vendor did nothing, and may be asked again."""
_UNKNOWN: Final = frozenset((500, 502, 504))
"""What became of the request is not known."""


logging.getLogger("httpx2").setLevel(logging.WARNING)  # it would log addresses, in which numbers are asked for


class Unavailable(Exception):
    """A vendor does not answer, lets nobody in, or asks to come later: nothing more can be sent in this run."""


class Refused(Exception):
    """A vendor does not take what a request holds. `status` is HTTP's; the text is the vendor's."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status


class Unsure(Exception):
    """No answer came, so it is not known whether the request was carried out."""


@dataclass(frozen=True)
class Reply:
    """What a vendor answered: the status, what its JSON says, and the headers, whose names are in any case."""

    status: int
    body: Any
    headers: Mapping[str, str]
    vendor: str
    reason: Callable[[Any], str]

    @property
    def words(self) -> str:
        """It in a line, with the vendor's own words."""
        return f"{self.vendor} answered {self.status}: {self.reason(self.body) or 'nothing more'}"

    def told(self, name: str) -> Any:
        """A member of what was answered; `Unsure` where there is none: also a 200 may hold an error, or a page for
        people."""
        if isinstance(self.body, dict) and name in self.body:
            return self.body[name]
        raise Unsure(f"{self.words}; it has no `{name}`")

    @property
    def rows(self) -> list[Any]:
        """The same of an answer that is a list."""
        if isinstance(self.body, list):
            return self.body
        raise Unsure(f"{self.words}; it is no list")


class Pace:
    """How fast a vendor is asked: `rate` requests a second, evenly, after a `burst` of so many at once. Threads may
    share it. `sleep` is how its callers wait, for this and for another try."""

    def __init__(
        self,
        rate: float,
        burst: float = 1,
        *,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._clock = clock
        self.sleep = sleep
        self._lock = threading.Lock()
        self._gap_s = 1 / (rate * SHARE)
        self._burst = max(1.0, burst * SHARE)
        self._next = -math.inf  # the whole burst is there
        self._held = 0.0

    def wait(self) -> None:
        """Return when the next request may be sent; `Unavailable` if that is more than two minutes away."""
        with self._lock:
            if (held := self._held - self._clock()) > _LONGEST_WAIT_S:
                raise Unavailable(f"nothing more can be sent for {held:.0f} s: a limit is used up")
            earliest = self._clock() - (self._burst - 1) * self._gap_s
            at = max(self._next, earliest, self._held)
            self._next = at + self._gap_s
        while (pause := max(at, self._held) - self._clock()) > 0:
            self.sleep(pause)

    def hold(self, seconds: float) -> None:
        """Let nothing more be sent for so long."""
        with self._lock:
            self._held = max(self._held, self._clock() + seconds)

    def set_limit(self, requests: float, window_s: float) -> None:
        """The vendor said that it takes so many requests within any span of that length. Most of what is left of them
        may make up for a pause, as between two batches."""
        with self._lock:
            self._gap_s = window_s / (requests * SHARE)
            self._burst = max(1.0, requests * (1 - SHARE) * 0.8)


class Http:
    """One vendor's API. `headers` are asked for each request, since tokens expire; `renew` gets a new token when the
    vendor says so; `told` finds the vendor's words in what it answered; `paced` learns its limit from the headers."""

    def __init__(
        self,
        name: str,
        url: str,
        pace: Pace,
        *,
        headers: Callable[[], Mapping[str, str]],
        reason: Callable[[Any], str],
        renew: Callable[[], None] | None = None,
        paced: Callable[[Pace, Mapping[str, str]], None] | None = None,
        timeout_s: float = TIMEOUT_S,
        tries: int = TRIES,
    ) -> None:
        self._name = name
        self.pace = pace
        self._headers = headers
        self._reason = reason
        self._renew = renew
        self._paced = paced
        self._tries = tries
        self._url = url.rstrip("/")
        self._http = httpx2.Client(timeout=timeout_s, follow_redirects=False)

    def close(self) -> None:
        """Let go of the connections."""
        self._http.close()

    def send(
        self,
        method: str,
        path: str,
        *,
        json: object = None,
        content: bytes | None = None,
        parameters: Mapping[str, str] | None = None,
        pace: Pace | None = None,
        sign: Callable[[], Mapping[str, str]] | None = None,
        again: bool = True,
    ) -> Reply:
        """Send a request until it is answered. `again`: it does no harm to carry it out twice; where it does, an
        answer that does not come raises `Unsure`. `sign` gives more headers, for each try anew. Raises `Refused` and
        `Unavailable`."""
        tried, renewed = 0, False
        while True:
            (pace or self.pace).wait()
            tried += 1
            trouble, pause_s = "", None
            try:
                reply = self._once(method, path, json, content, parameters, sign() if sign else {})
            except (httpx2.ConnectError, httpx2.ConnectTimeout, httpx2.PoolTimeout) as error:
                trouble = f"{self._name} cannot be reached ({type(error).__name__})"
            except httpx2.TransportError as error:
                trouble = f"{self._name} did not answer ({type(error).__name__})"
                if not again:
                    raise Unsure(trouble) from None
            else:
                if reply.status == 401 and self._renew is not None and not renewed:
                    renewed = True
                    self._renew()
                    continue
                trouble = self._judged(reply, again=again)
                if not trouble:
                    return reply
                pause_s = retry_after(reply.headers)
            self._again(trouble, pause_s, tried, pace or self.pace)

    def _once(  # noqa: PLR0917 - of `send`, which names them
        self,
        method: str,
        path: str,
        json: object,
        content: bytes | None,
        parameters: Mapping[str, str] | None,
        more: Mapping[str, str],
    ) -> Reply:
        given: dict[str, Any] = {"headers": {**self._headers(), **more}}
        if parameters is not None:
            given["params"] = dict(parameters)
        if content is not None:
            given["content"] = content
        elif json is not None:
            given["json"] = json
        answer = self._http.request(method, self._url + path, **given)
        if self._paced is not None:
            self._paced(self.pace, answer.headers)
        try:
            body = answer.json() if answer.content else None
        except ValueError:
            body = None
        return Reply(answer.status_code, body, answer.headers, self._name, self._reason)

    def _judged(self, reply: Reply, *, again: bool) -> str:
        """Why to try again; empty where the reply is good. Raises what ends the tries."""
        if 200 <= reply.status < 300:
            return ""
        if reply.status in _PUT_OFF:
            return reply.words
        if reply.status in _UNKNOWN:
            if not again:
                raise Unsure(reply.words)
            return reply.words
        if reply.status in (401, 403) or reply.status < 400:
            raise Unavailable(reply.words)
        raise Refused(reply.status, reply.words)

    def _again(self, trouble: str, pause_s: float | None, tried: int, pace: Pace) -> None:
        if tried >= self._tries or (pause_s is not None and pause_s > _LONGEST_WAIT_S):
            later = "" if pause_s is None else f"; it asks to come again in {pause_s:.0f} s"
            raise Unavailable(f"{trouble}{later}; tried {tried} times")
        chance = random.random()  # noqa: S311 - so that not all come again at once
        if pause_s is None:
            pace.sleep(min(2.0**tried, _LONGEST_PAUSE_S) * (0.5 + chance / 2))
        else:
            pace.hold(pause_s + chance / 2)

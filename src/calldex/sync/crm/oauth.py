"""The access token of a vendor's API, renewed by OAuth 2.0: by a refresh token, else by the app's id and secret alone.

A refresh token that comes with an access token takes the place of the one before, also of a run that comes later. When
to renew is `http`'s to say; what is done with the token is the vendor's.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, MutableMapping
from typing import Any, Final
from urllib.parse import urlencode

from calldex.sync.crm.base import CrmOptions
from calldex.sync.crm.http import Http, Pace, Refused, Unavailable, Unsure

_REFRESH: Final = "token:refresh"


class AppOptions(CrmOptions, frozen=True, kw_only=True):
    """The options of a destination that is an app of its vendor."""

    client_id: str
    client_secret: str
    refresh_token: str | None = None
    """Without one, the app shows its id and secret alone (client credentials)."""


class Token:
    """One access token; any thread may ask for it, or have it renewed."""

    def __init__(
        self,
        vendor: str,
        url: str,
        path: str,
        pace: Pace,
        *,
        reason: Callable[[Any], str],
        app: AppOptions,
        remembered: MutableMapping[str, Any],
    ) -> None:
        """`url` and `path` are where the vendor gives tokens, `told` finds its words in what it answers."""
        self._vendor, self._url, self._path, self._pace = vendor, url, path, pace
        self._reason, self._app, self._remembered = reason, app, remembered
        self._token = ""
        self._renewing = threading.Lock()

    def headers(self) -> Mapping[str, str]:
        """What shows it; nothing before it was first renewed."""
        return {"Authorization": f"Bearer {self._token}"} if self._token else {}

    def renew(self) -> None:
        """Get a new one, once for all threads that found it expired. Raises `Unavailable`."""
        old = self._token
        with self._renewing:
            if self._token != old:
                return  # another thread was here meanwhile
            form = {"client_id": self._app.client_id, "client_secret": self._app.client_secret}
            refresh = self._remembered.get(_REFRESH) or self._app.refresh_token
            if refresh:
                form |= {"grant_type": "refresh_token", "refresh_token": refresh}
            else:
                form["grant_type"] = "client_credentials"
            given = self._given(form)
            if given.get("refresh_token"):
                self._remembered[_REFRESH] = given["refresh_token"]
            self._token = given["access_token"]

    def _given(self, form: Mapping[str, str]) -> Mapping[str, Any]:
        http = Http(
            self._vendor,
            self._url,
            self._pace,
            headers=lambda: {"Content-Type": "application/x-www-form-urlencoded"},
            reason=self._reason,
            timeout_s=self._app.timeout_s,
            tries=self._app.tries,
        )
        try:
            reply = http.send("POST", self._path, content=urlencode(form).encode())
            reply.told("access_token")
        except (Refused, Unsure) as refused:
            raise Unavailable(f"no token: {refused}") from None
        finally:
            http.close()
        given: Mapping[str, Any] = reply.body
        return given

"""`tap-calldex`: records by the change feed, and the look-ups.

The feed's own cursor is the bookmark. It moves when a page is emitted whole, so a run that was killed goes on with the
page where it was: some records come twice, none is left out. A record that is no more comes with its key and
`_sdc_deleted_at`.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, ClassVar

import requests
from singer_sdk import RESTStream, Stream, Tap
from singer_sdk import typing as th
from singer_sdk.authenticators import BearerTokenAuthenticator
from singer_sdk.exceptions import FatalAPIError
from singer_sdk.pagination import SinglePagePaginator

_SCHEMA = Path(__file__).with_name("schema.json")


class CalldexStream(RESTStream[str]):
    """What all streams have in common: the address, the key, what is tried again."""

    extra_retry_statuses: ClassVar[list[int]] = [429, 502, 503, 504]

    @property
    def url_base(self) -> str:
        """The server's address."""
        return str(self.config["url"]).rstrip("/")

    @property
    def authenticator(self) -> BearerTokenAuthenticator:
        """The key, as a bearer token."""
        return BearerTokenAuthenticator(token=self.config["key"])


class Records(CalldexStream):
    """The change feed, as records."""

    name = "cdrs"
    path = "/api/v2/cdr/changes"
    primary_keys = ("uuid",)
    replication_key = "seq"
    is_sorted = True
    schema = json.loads(_SCHEMA.read_text(encoding="utf-8"))

    def get_records(self, context: Mapping[str, Any] | None) -> Iterable[dict[str, Any]]:
        """Every change behind the bookmark, in order, each record once a page."""
        state = self.get_context_state(context)
        cursor: str | None = state.get("cursor")
        while True:
            page = self._page(cursor)
            for change in page["changes"]:
                yield _row(change)
            cursor = state["cursor"] = page["next_cursor"]
            if not page["has_more"]:
                return

    def _page(self, cursor: str | None) -> dict[str, Any]:
        given = {"cursor": cursor} if cursor else {"start": "beginning"}
        request = self.build_prepared_request(
            method="GET",
            url=self.get_url({}),
            params={"limit": self.config["page_size"], **given},
            headers=self.http_headers,
        )
        reply: requests.Response = self.request_decorator(self._request)(request, None)
        page: dict[str, Any] = reply.json()
        return page

    def validate_response(self, response: requests.Response) -> None:
        """Beside what the SDK says: a cursor that is no more means that everything is to be read anew."""
        if response.status_code in (409, 410):
            raise FatalAPIError(f"the feed cannot go on ({response.text[:500]}): run with --full-refresh", response)
        super().validate_response(response)


class LookUp(CalldexStream):
    """What records name, with ids: read whole each time."""

    records_jsonpath = "$[*]"

    def __init__(self, tap: Tap, name: str, key: str, columns: th.PropertiesList) -> None:
        super().__init__(tap, name, columns.to_dict(), f"/api/v2/cdr/{name}")
        self.primary_keys = (key,)

    def get_new_paginator(self) -> SinglePagePaginator:
        """There is one page."""
        return SinglePagePaginator()


_NAMED = th.PropertiesList(th.Property("id", th.IntegerType), th.Property("name", th.StringType))
_CODES = th.PropertiesList(th.Property("code", th.StringType), th.Property("description", th.StringType))


class TapCalldex(Tap):
    """The tap."""

    name = "tap-calldex"
    config_jsonschema = th.PropertiesList(
        th.Property("url", th.StringType, required=True, description="Address of the server, without a path"),
        th.Property("key", th.StringType, required=True, secret=True, description="A key that may read records"),
        th.Property("page_size", th.IntegerType, default=5000, description="Changes a request, 1 to 10000"),
    ).to_dict()

    def discover_streams(self) -> list[Stream]:
        """The streams."""
        named = (LookUp(self, name, "id", _NAMED) for name in ("agents", "queues", "teams", "campaigns"))
        return [Records(self), *named, LookUp(self, "wrapup_codes", "code", _CODES)]


def _row(change: Mapping[str, Any]) -> dict[str, Any]:
    """A change as a row: the record with its `seq`, or the key alone and when it ceased."""
    if change["record"] is None:
        return {"uuid": change["uuid"], "seq": change["seq"], "_sdc_deleted_at": change["at"]}
    return {**change["record"], "seq": change["seq"], "_sdc_deleted_at": None}


if __name__ == "__main__":
    TapCalldex.cli()

"""A dlt source of Calldex: records by the change feed, merged by uuid, and the look-ups.

    import dlt
    from calldex_source import calldex

    pipeline = dlt.pipeline("calldex", destination="postgres", dataset_name="calls")
    if pipeline.has_pending_data:
        pipeline.run()  # what a run that was killed had read; with it, nothing else would be read
    pipeline.run(calldex(url="https://calls.example.com", key=dlt.secrets["calldex_key"]))

The feed's cursor is kept in dlt's state, with the load that brought the records, so a run that was killed anywhere
neither loses nor doubles. What lists or has members of its own is a JSON column. A record that is no more is deleted
(`hard_delete`). When the feed cannot go on (`StartAnew`), run once with `refresh="drop_resources"`.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

import dlt
from dlt.extract import DltResource
from dlt.sources.helpers import requests

_JSON: Final = ("teams", "events", "legs", "linked_uuids", "tags", "custom", "flags")
_LOOK_UPS: Final = {"agents": "id", "queues": "id", "teams": "id", "campaigns": "id", "wrapup_codes": "code"}
_PAGES_A_RUN: Final = 200
"""A run loads at most so many pages, and the next one goes on: a first load of millions is kept in parts."""


class StartAnew(Exception):
    """The feed cannot go on from the cursor: run once with `refresh="drop_resources"`."""


@dlt.source(name="calldex", max_table_nesting=0)
def calldex(url: str = dlt.config.value, key: str = dlt.secrets.value, page_size: int = 5000) -> Iterator[DltResource]:
    """The tables `cdrs`, `agents`, `queues`, `teams`, `campaigns` and `wrapup_codes` of one account."""
    http = requests.Client(request_timeout=90).session
    http.headers["Authorization"] = f"Bearer {key}"
    base = url.rstrip("/") + "/api/v2/cdr"

    @dlt.resource(
        name="cdrs",
        primary_key="uuid",
        write_disposition={"disposition": "merge", "strategy": "delete-insert"},
        columns={
            "deleted": {"data_type": "bool", "hard_delete": True},
            "seq": {"data_type": "bigint", "dedup_sort": "desc"},
            **{name: {"data_type": "json"} for name in _JSON},
        },
    )
    def cdrs() -> Iterator[list[dict[str, Any]]]:
        state = dlt.current.resource_state()
        for _ in range(_PAGES_A_RUN):
            place = {"cursor": state["cursor"]} if "cursor" in state else {"start": "beginning"}
            reply = http.get(f"{base}/changes", params={"limit": page_size, **place})
            if reply.status_code in (409, 410):
                raise StartAnew(reply.text[:500])
            reply.raise_for_status()
            page = reply.json()
            yield [_row(change) for change in page["changes"]]
            state["cursor"] = page["next_cursor"]
            if not page["has_more"]:
                return

    yield cdrs
    for name, key_column in _LOOK_UPS.items():

        def rows(name: str = name) -> Iterator[list[dict[str, Any]]]:
            reply = http.get(f"{base}/{name}")
            reply.raise_for_status()
            yield reply.json()

        yield dlt.resource(rows, name=name, primary_key=key_column, write_disposition="replace")


def _row(change: dict[str, Any]) -> dict[str, Any]:
    """A change as a row; of a record that is no more its key alone."""
    if change["record"] is None:
        return {"uuid": change["uuid"], "seq": change["seq"], "deleted": True}
    return {**change["record"], "seq": change["seq"], "deleted": False}

"""Another Calldex: by its ingest API, with a key that may ingest. Names of agents, queues and so on come with records.

What is posted again is unchanged there, and what is deleted again is absent; so nothing needs to be remembered.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Final

import httpx2
import msgspec

from calldex.client import ClientError, Record
from calldex.client.client import TIMEOUT_S, patiently, refused
from calldex.records.codec import Record as Served
from calldex.sync.destinations import Batch, Destination, DestinationProblem, Failed, Url

_RECORDS: Final = "/api/ingest/v1/records"
_DELETIONS: Final = "/api/ingest/v1/deletions"
_MOST_BYTES: Final = 8 * 1024 * 1024
"""Of a request; half of what is allowed, since a record of any size may end it."""
_KNOWN: Final = frozenset(Served.__struct_encode_fields__)
_TRIES: Final = 8


class Calldex(Destination):
    """See the module."""

    batch_size = 5_000

    class Options(msgspec.Struct, frozen=True, kw_only=True):
        """Where it is, and the key."""

        url: Url
        key: str

    def __init__(self, options: Options, context: Any) -> None:
        super().__init__(options, context)
        headers = {"Authorization": f"Bearer {options.key}", "Content-Type": "application/json"}
        self._http = httpx2.Client(base_url=options.url, headers=headers, timeout=TIMEOUT_S)

    def close(self) -> None:
        """Let go of the connections."""
        self._http.close()

    def check(self) -> None:
        """Delete nothing, which is refused to a key that may not ingest."""
        self._posted(_DELETIONS, b'{"uuids":[]}')

    def apply(self, batch: Batch) -> Sequence[Failed]:
        """Post what is there, delete what is not."""
        failed: list[Failed] = []
        for uuids, body in _bodies(batch):
            failed += _failed(uuids, self._posted(_RECORDS, body))
        gone = [change.uuid for change in batch.changes if change.json is None]
        if gone:
            failed += _failed(gone, self._posted(_DELETIONS, msgspec.json.encode({"uuids": gone})))
        return failed

    def _posted(self, path: str, body: bytes) -> Any:
        def send() -> httpx2.Response:
            reply = self._http.post(path, content=body)
            if reply.status_code != 200:
                raise refused(reply)
            return reply

        try:
            return msgspec.json.decode(patiently(_TRIES, send, self.context.pause).content)
        except (ClientError, msgspec.DecodeError) as error:
            raise DestinationProblem(str(error)) from None


def _bodies(batch: Batch) -> Iterator[tuple[list[str], bytes]]:
    """Arrays of records that are not too large, each with the uuids that are in it."""
    uuids: list[str] = []
    parts: list[bytes] = []
    size = 0
    for change in batch.changes:
        if change.record is None:
            continue
        part = msgspec.json.encode(_posted(change.record))
        if parts and size + len(part) > _MOST_BYTES:
            yield uuids, b"[%b]" % b",".join(parts)
            uuids, parts, size = [], [], 0
        uuids.append(change.uuid)
        parts.append(part)
        size += len(part) + 1
    if parts:
        yield uuids, b"[%b]" % b",".join(parts)


def _posted(record: Record) -> Record:
    """The record as ingest takes it: members that it has no name for go to `custom`."""
    if record.keys() <= _KNOWN:
        return record
    known = {name: value for name, value in record.items() if name in _KNOWN}
    others = {
        name: value if isinstance(value, str | int | float | bool) else msgspec.json.encode(value).decode()
        for name, value in record.items()
        if name not in _KNOWN and value is not None
    }
    return known | {"custom": {**(record.get("custom") or {}), **others}}


def _failed(uuids: Sequence[str], reply: Any) -> list[Failed]:
    return [
        Failed(uuids[each["index"]], each.get("reason", "rejected"), retry=False)
        for each in reply["records"]
        if each["outcome"] == "rejected"
    ]

"""Where records go: what a destination is, and the list of those that there are.

A destination is one module with one class. It is given batches in order; each batch has a record at most once. It may
be given the same batch again (a process was killed before the place was kept), and then changes nothing.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, MutableMapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Annotated, Any, ClassVar, Final, Self

import msgspec

from calldex.client import Record

KINDS: Final = {
    "postgres": "calldex.sync.destinations.warehouse:Postgres",
    "duckdb": "calldex.sync.destinations.warehouse:Duckdb",
    "files": "calldex.sync.destinations.files:Files",
    "dlt": "calldex.sync.destinations.warehouse:Dlt",
    "calldex": "calldex.sync.destinations.calldex:Calldex",
    "nothing": "calldex.sync.destinations:Nothing",
    "hubspot": "calldex.sync.destinations.hubspot:HubSpot",
    "salesforce": "calldex.sync.destinations.salesforce:Salesforce",
    "zendesk": "calldex.sync.destinations.zendesk:Zendesk",
    "bitrix24": "calldex.sync.destinations.bitrix24:Bitrix24",
    "push": "calldex.sync.destinations.push:Push",
}
"""Each kind of destination, and where its class is. A new one is a line here."""
Url = Annotated[str, msgspec.Meta(pattern="^https?://", description="an address, as https://example.com")]
Region = Annotated[str, msgspec.Meta(pattern="^[A-Z]{2}$", description="two letters of a country, as GB")]
"""Where numbers without a country code belong."""


class Change(msgspec.Struct, frozen=True, dict=True):
    """A record as it is now, as JSON, or (None) that it is no more. `seq` says which version it is: of Calldex the
    feed's `seq`, of other endpoints a hash of the record, so that equal numbers mean equal records."""

    uuid: str
    seq: int
    json: msgspec.Raw | None

    @classmethod
    def of(cls, uuid: str, seq: int, record: Record | None) -> Self:
        """The same of a record that was read."""
        return cls(uuid, seq, None if record is None else msgspec.Raw(msgspec.json.encode(record)))

    @cached_property
    def record(self) -> Record | None:
        """The record; it is read when it is asked for, as tables do without."""
        return None if self.json is None else msgspec.json.decode(self.json)


@dataclass(frozen=True)
class Batch:
    """Changes of an account's records, each uuid once, in order. `state` is for destinations that keep it."""

    changes: Sequence[Change]
    state: str = ""


@dataclass(frozen=True)
class Failed:
    """A record that the destination did not take, and why in the vendor's words. `retry`: the same may work later;
    otherwise it is listed, and tried again only when the record changes, or somebody asks for it."""

    uuid: str
    message: str
    retry: bool


@dataclass(frozen=True)
class Context:
    """What a destination is told of its pipe: its name, the account's, which fields go (none: all), a place to remember
    texts by name, durable as soon as they are set, such as a vendor's id of a uuid, and how to wait (see
    `stopping`)."""

    pipe: str
    account: str
    fields: Sequence[str]
    remembered: MutableMapping[str, str]
    pause: Callable[[float], None] = time.sleep


class DestinationProblem(Exception):
    """The destination cannot be used at all now: no reply, a key that is not valid, a table that is someone else's.
    Its message has no secret. The batch is given again later."""


class Destination:
    """A place for records. Its class declares `Options`, a frozen struct of what stands in the file beside `kind`.

    Threads: one at a time uses it. Errors: `DestinationProblem` when nothing can be done now; what concerns single
    records is returned.
    """

    class Options(msgspec.Struct, frozen=True, kw_only=True):
        """None."""

    batch_size: ClassVar[int] = 1000
    """At most so many changes are given at once. The place is kept after each batch."""

    def __init__(self, options: Any, context: Context) -> None:
        self.options = options
        self.context = context

    def check(self) -> None:
        """Try the connection and the rights, change nothing; `DestinationProblem` says what is wrong."""
        raise NotImplementedError

    def apply(self, batch: Batch) -> Sequence[Failed]:
        """Take a batch; what is not among the failed is kept, durably. Vendors' limits, `Retry-After` and the size of
        their requests are dealt with in here."""
        raise NotImplementedError

    def close(self) -> None:
        """Let go of connections."""


class Copy(Destination):
    """A destination that holds rows which can be read back: it keeps the state of its pipe with them, in the same
    transaction or load, has tables of look-ups, and can be proved equal."""

    batch_size: ClassVar[int] = 20_000

    def state(self) -> str:
        """The state that the last batch brought; empty if there was none. What only half arrived does not count."""
        raise NotImplementedError

    def lookup(self, name: str, rows: Sequence[dict[str, Any]]) -> None:
        """Have exactly these rows in a table of a look-up."""
        raise NotImplementedError

    def held(self, start_ms: int | None = None, end_ms: int | None = None) -> Iterator[tuple[str, int, int]]:
        """Uuid, seq and begin (epoch milliseconds) of every record that is there and began at or after `start_ms` and
        before `end_ms`."""
        raise NotImplementedError

    def table(self, changes: Sequence[Change]) -> Any:
        """The rows of records, an Arrow table, as they would be written."""
        raise NotImplementedError

    def rows(self, uuids: Sequence[str], start_ms: int, end_ms: int) -> Iterator[Mapping[str, Any]]:
        """The rows of those of these records that are there, by column; they began within the time."""
        raise NotImplementedError

    def altered(self, changes: Sequence[Change], start_ms: int, end_ms: int) -> set[str]:
        """Those of some records that began within the time, whose rows are there and say something else."""
        from calldex.sync.destinations.tables import record

        wanted = {row["uuid"]: record(row) for row in self.table(changes).to_pylist()}
        there = self.rows(list(wanted), start_ms, end_ms)
        return {row["uuid"] for row in there if record(row) != wanted[row["uuid"]]}


def lookup_key(name: str) -> str:
    """What tells the rows of a look-up apart."""
    return "code" if name == "wrapup_codes" else "id"


class Nothing(Destination):
    """Takes everything and keeps nothing: to try a source."""

    def check(self) -> None:
        """Nothing can be wrong."""

    def apply(self, batch: Batch) -> Sequence[Failed]:
        """Nothing fails."""
        return ()

"""The one way to records: what a route declares is asked for, and what leaves is accounted for, in every shape."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

import msgspec
import pytest

from calldex.access import Group, Principal, Reach
from calldex.audit.chain import Actor, Entry
from calldex.demo import interactions
from calldex.directory import AuditFilter
from calldex.errors import BadParameters, Forbidden, NotFound, Unavailable
from calldex.ingest.pipeline import Post
from calldex.ingest.workers import block
from calldex.node import Node
from calldex.records.record import Cdr, canonical
from calldex.search.query import Own, PageRequest, Parameters
from calldex.search.reader import Batch, Caller, Reader, Reading, Search
from calldex.settings import Settings
from calldex.store import Mentioned
from calldex.transport.workers import Workers

T = TypeVar("T")


class Options(Own, frozen=True, kw_only=True):
    """What a route might take of its own."""

    format: Literal["csv", "ndjson"] = "ndjson"
    fields: tuple[Literal["uuid", "from", "to"], ...] = ()
    limit: Annotated[int, msgspec.Meta(ge=1, le=10_000)] = 100
    cursor: str = ""


EXPORT = Reading(action="export", needs=("see_cdrs", "export"), takes=Parameters(Options))


class Office:
    """A node with records, and a reader over it that counts."""

    def __init__(self, data: Path) -> None:
        self.node = Node(Settings(data=data, threads=1))
        self.records = list(interactions(50, seed=9))
        self.served = 0
        self.write(self.records)
        pool = Workers("test", 2, 2, lambda: Unavailable("too many", retry_after=1))
        self.reader: Reader = self.node.reader({"searches": pool, "streams": pool}, self.count)

    def count(self, rows: int) -> None:
        """Told how many records leave."""
        self.served += rows

    def write(self, records: list[Cdr]) -> None:
        """Write records, visible at once."""
        account_id = self.node.directory.account("main").id
        self.node.ingest.post(Post(account_id, block(map(canonical, records), ""), None, b"", lambda _: b""))

    def ask(
        self,
        work: Callable[[Search[Options]], Awaitable[T]],
        *pairs: tuple[str, str],
        principal: Principal | None = None,
    ) -> T:
        """What comes of a search."""
        who = principal or self.node.owner("main")
        caller = Caller(who, Actor(actor=who.email, account_id=who.account_id))

        async def asked() -> T:
            async with self.reader.open(caller, EXPORT, pairs) as search:
                return await work(search)

        return asyncio.run(asked())

    def entries(self) -> list[Entry]:
        """What the audit has, newest first."""
        return self.node.directory.audit_entries(None, AuditFilter(), 100)


@pytest.fixture
def office(tmp_path: Path) -> Iterator[Office]:
    """One of the test's own."""
    one = Office(tmp_path / "data")
    yield one
    one.node.close()


def reader_of(office: Office, **reach: Any) -> Principal:
    """Somebody who sees some records, with numbers masked."""
    group = Group(id=1, name="g", permissions=("see_cdrs", "export"), reach=Reach(**reach))
    return msgspec.structs.replace(office.node.owner("main"), email="ana@example.com", groups=(group,))


async def count(search: Search[Options]) -> int:
    """How many match."""
    return await search.run(search.count)


def test_a_page_is_another_one_when_a_version_is_found_damaged(office: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was kept of it before is not given again."""

    async def tag(search: Search[Options]) -> str:
        wanted = PageRequest(1, 5)
        return await search.run(lambda: search.fingerprint(search.place(wanted), wanted))

    before, state = office.ask(tag), office.node.store.state()
    assert before == office.ask(tag)
    monkeypatch.setattr(office.node.store, "state", lambda: msgspec.structs.replace(state, damaged=1))
    assert before != office.ask(tag)


@pytest.mark.parametrize("name", ["agents", "queues", "campaigns", "teams"])
def test_look_ups_list_what_a_reach_names(office: Office, name: str) -> None:
    """Also where no record has it yet."""

    async def listed(search: Search[Options]) -> Mentioned | None:
        return await search.run(search.mentioned)

    found = office.ask(listed, principal=reader_of(office, **{name: (987_654,)}))
    assert frozenset((987_654,)) == getattr(found, name)


def test_own_parameters_are_declared(office: Office) -> None:
    """A route's own parameters are read by their types, lists between commas, beside every filter; the audit has those
    that are words or small numbers, and of the others how long they are."""

    async def own(search: Search[Options]) -> Options:
        return search.own

    given = [("format", "csv"), ("fields", "to, uuid"), ("limit", "7"), ("cursor", "44770090"), ("type", "inbound")]
    assert Options(format="csv", fields=("to", "uuid"), limit=7, cursor="44770090") == office.ask(own, *given)
    expected = {"format": "csv", "fields": "to,uuid", "limit": "7", "cursor": "8 digits", "type": "inbound"}
    assert ("export", expected) == (office.entries()[0].action, office.entries()[0].detail)
    assert Options() == office.ask(own)


@pytest.mark.parametrize(
    ("name", "value", "valid"),
    [
        ("format", "xls", "csv, ndjson"),
        ("fields", "uuid,frm", "some of from, to, uuid"),
        ("limit", "0", "a whole number from 1 to 10000"),
        ("limit", "1.0", "a whole number from 1 to 10000"),
        ("page", "1", "agent_ids, "),
    ],
)
def test_what_is_not_declared_is_refused(office: Office, name: str, value: str, valid: str) -> None:
    """With what is valid, beside whatever else is wrong; nothing was done, so nothing is noted."""
    with pytest.raises(BadParameters) as refused:
        office.ask(count, (name, value), ("type", "x"))
    assert {name, "type"} == {problem.parameter for problem in refused.value.problems}
    assert next(p for p in refused.value.problems if p.parameter == name).valid.startswith(valid)
    assert [] == office.entries()


def test_every_permission_is_needed(office: Office) -> None:
    """Who lacks one of them is refused, which is noted."""
    group = Group(id=1, name="g", permissions=("see_cdrs",), reach=Reach(whole=True))
    with pytest.raises(Forbidden, match="export"):
        office.ask(count, principal=msgspec.structs.replace(office.node.owner("main"), groups=(group,)))
    assert (403, 0) == (office.entries()[0].status, office.entries()[0].rows)


def test_a_count_is_what_a_stream_holds(office: Office) -> None:
    """Within a reach and under a filter, count and stream agree; a stream is as of the instant at which it began,
    whatever is written and erased meanwhile; what left is counted once."""
    agent = next(record.agent_id for record in office.records if record.agent_id)
    ana = reader_of(office, agents=(agent,))
    mine = [record for record in office.records if record.agent_id == agent]

    async def stream(search: Search[Options]) -> list[bytes]:
        async with search.stream(size=1) as all_:
            assert len(mine) == all_.total
            found: list[bytes] = []
            async for batch in all_.through(lambda batch: batch):
                found.append(batch.json)
                if len(found) == 1:
                    again = [msgspec.structs.replace(record, comment="later") for record in mine]
                    await asyncio.to_thread(office.write, [*again, *interactions(20, seed=10)])
            return found

    assert len(mine) == office.ask(count, principal=ana)
    found = [msgspec.json.decode(json) for json in office.ask(stream, principal=ana)]
    assert {record.uuid for record in mine} == {record["uuid"] for record in found}
    assert all(record["comment"] != "later" for record in found)
    assert all("*" in record["from"] for record in found if record["from"])
    assert (len(mine), len(mine)) == (office.served, office.entries()[0].rows)


def test_a_stream_is_made_ahead_of_who_takes_it(office: Office) -> None:
    """By one batch that is written and one that is read, and no more, however long it takes them."""
    written: list[Batch] = []

    def write(batch: Batch) -> int:
        written.append(batch)
        return len(written)

    async def stream(search: Search[Options]) -> list[tuple[int, int]]:
        async with search.stream(size=1) as all_:
            found = []
            async for number in all_.through(write):
                await all_.settled()
                found.append((number, len(written)))
            return found

    every = len(office.records)
    assert [(n, min(n + 1, every)) for n in range(1, every + 1)] == office.ask(stream)


def test_two_batches_are_converted_side_by_side(office: Office) -> None:
    """And are written in their order all the same."""
    both, begun = threading.Barrier(2), iter(range(len(office.records)))

    def convert(json: bytes) -> str:
        if next(begun) < 2:
            both.wait(60)  # for the other one
        uuid: str = msgspec.json.decode(json)["uuid"]
        return uuid

    async def stream(search: Search[Options]) -> list[tuple[str, str]]:
        def write(batch: Batch) -> tuple[str, str]:
            return msgspec.json.decode(batch.json)["uuid"], batch.converted

        async with search.stream(size=1) as all_:
            return [pair async for pair in all_.through(write, convert)]

    found = office.ask(stream)
    assert [uuid for uuid, _ in found] == [uuid for _, uuid in found]
    assert len(office.records) == len({uuid for uuid, _ in found})


def test_a_record_with_its_history(office: Office) -> None:
    """One record's live version and those before it, masked; of versions that lay beyond the reach none."""
    agents = sorted({record.agent_id for record in office.records if record.agent_id})
    record = next(record for record in office.records if record.agent_id == agents[0] and record.from_)
    office.write([msgspec.structs.replace(record, agent_id=agents[1], comment="moved")])

    def versions(principal: Principal) -> list[int]:
        async def shown(search: Search[Options]) -> list[int]:
            found = await search.run(lambda: search.history(record.uuid))
            assert b"moved" in found.json
            assert (record.from_ or "").encode() not in found.json
            return [version.seq for version in found.versions]

        return office.ask(shown, principal=principal)

    assert 2 == len(versions(reader_of(office, whole=True)))
    assert 1 == len(versions(reader_of(office, agents=(agents[1],))))
    with pytest.raises(NotFound):
        versions(reader_of(office, agents=(agents[0],)))

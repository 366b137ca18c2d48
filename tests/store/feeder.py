"""A program that writes to a store with several threads and reads its change feed meanwhile, until it is killed.

`python -m tests.store.feeder ENGINE FOLDER SEED`. Writers add, change, erase and merge records; each chain of the feed
is kept in a folder, a page a file, which gets its name when it is whole: so what was read before a kill is known after
it, and the chain goes on behind its last page. Without SEED it reads them to their end, and tells what is wrong.
"""

from __future__ import annotations

import random
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any, Final

import msgspec

from calldex.access import Scope
from calldex.directory import Directory
from calldex.records.record import Cdr, from_ms, time_uuid
from calldex.sealing import KEY_BYTES, Sealing
from calldex.search.feed import ChangeFeed, Versions
from calldex.search.query import Query, parse
from calldex.store import Batch, Store
from calldex.store.clickhouse import ClickhouseStore
from calldex.store.clickhouse.address import Dsn
from tests.engines import LONG_S, answer, changes_of, embedded, erase, put

WRITERS: Final = 3
POOL: Final = 40
ENOUGH: Final = 20
"""When so many changes are read, it says that it has begun."""
CHAINS: Final[dict[str, tuple[Versions, dict[str, str]]]] = {
    "latest": ("latest", {"disposition": "answered"}),
    "all": ("all", {}),
}
"""The chains: what they give of a record, and their filters."""


class Page(msgspec.Struct):
    """A page as it is kept: what it told (`seq`, uuid, JSON), and the cursor behind it."""

    told: list[tuple[int, str, str | None]]
    cursor: str
    complete_ms: int


def opened(engine: str, folder: Path) -> Store:
    """The store of an engine whose files are in a folder."""
    if engine == "embedded":
        return embedded(folder)
    directory = Directory.open(folder / "directory.db")
    address = Dsn(path=str(folder / "engine"), database="kept")
    return ClickhouseStore(address, directory.commits(), timeout_s=20, superseded_kept_s=LONG_S)


def query_of(chain: str) -> Query:
    """What a chain asks for."""
    return parse(CHAINS[chain][1].items(), Scope(account_id=1, whole=True), "UTC")[0]


def pages(folder: Path, chain: str) -> list[Page]:
    """The pages that are kept of a chain, in their order."""
    found = sorted((folder / chain).glob("*.json"))
    return [msgspec.json.decode(path.read_bytes(), type=Page) for path in found]


def told_of(folder: Path) -> int:
    """How many changes are kept, of all."""
    return sum(len(page.told) for page in pages(folder, "all"))


def read(store: Store, folder: Path, chain: str, limit: int = 25) -> Iterator[bool]:
    """Read a chain on from its last page; after each, whether there is more."""
    feed = ChangeFeed(store, Sealing(bytes(KEY_BYTES), "a test"))
    versions, query = CHAINS[chain][0], query_of(chain)
    (folder / chain).mkdir(exist_ok=True)
    kept = pages(folder, chain)
    number = len(kept)
    cursor = feed.opened(query, kept[-1].cursor, versions) if kept else feed.began(query, "beginning", versions)
    while True:
        page = feed.page(query, cursor, limit)
        changes = [(one.seq, one.uuid, None if one.json is None else one.json.decode()) for one in changes_of(page)]
        half = folder / chain / "half"
        half.write_bytes(msgspec.json.encode(Page(changes, page.cursor, page.complete_ms)))
        half.replace(folder / chain / f"{number:06}.json")
        number, cursor = number + 1, feed.opened(query, page.cursor, versions)
        yield page.more


def record(chance: random.Random, writer: int, number: int, note: str) -> Cdr:
    """A version of one of a writer's records."""
    outcome: Any = chance.choice(("answered", "missed"))
    at = 1_750_000_000_000 + number * 50_000
    return Cdr(
        uuid=time_uuid(at, f"{writer}"),
        type="inbound",
        disposition=outcome,
        started_at=from_ms(at),
        duration_s=number,
        comment=note,
    )


def write(store: Store, writer: int, seed: int) -> None:
    """Write without end: new and changed records, erasures, and two calls that become one."""
    chance, n = random.Random(f"{writer} {seed}"), 0
    while True:
        n += 1
        some = [record(chance, writer, number, f"{seed} {n}") for number in chance.sample(range(POOL), 4)]
        what = chance.random()
        if what < 0.6:
            put(store, some, wait=chance.random() < 0.3)
        elif what < 0.8:
            erase(store, 1, [some[0].uuid, some[1].uuid])
        else:
            merged = Batch(
                account_id=1, source="", format="", origin="", records=some[:1], removed=[some[1].uuid, some[2].uuid]
            )
            store.assemble(1, lambda made=merged: made)  # type: ignore[misc]  # it is bound now


def faults(store: Store, folder: Path) -> list[str]:
    """What is wrong with the chains once they are read to their end."""
    found = []
    for chain in CHAINS:
        for more in read(store, folder, chain):
            if not more:
                break
        kept = pages(folder, chain)
        told = [one for page in kept for one in page.told]
        twice = [key for key, count in Counter(told).items() if count > 1]
        found += [f"{chain}: {seq} {uuid} came {len(twice)} times more" for seq, uuid, _ in twice[:3]]
        if [page.complete_ms for page in kept] != sorted(page.complete_ms for page in kept):
            found.append(f"{chain}: complete_through went back")
        copy: dict[str, str] = {}
        for _, uuid, json in told:
            copy.pop(uuid, None)
            if json is not None:
                copy[uuid] = json
        _, whole = answer(store, query_of(chain))
        listed = {record["uuid"]: record for record in map(msgspec.json.decode, whole.splitlines())}
        if listed != {uuid: msgspec.json.decode(json) for uuid, json in copy.items()}:
            found.append(f"{chain}: the copy has {len(copy)} records, the list {len(listed)}")
    uuids = [record(random.Random(0), each, number, "").uuid for each in range(WRITERS) for number in range(POOL)]
    versions = {(version.seq, uuid) for uuid in uuids for version in store.history(1, uuid) if version.json is not None}
    told_of = [(seq, uuid) for page in pages(folder, "all") for seq, uuid, json in page.told if json is not None]
    if versions != set(told_of):
        found.append(f"all: {len(versions - set(told_of))} versions were left out")
    if told_of != sorted(told_of, key=lambda one: one[0]):
        found.append("all: not in the order of commits")
    return found


def main() -> None:
    """Until it is killed; without a seed it tells what is wrong with the chains."""
    engine, folder = sys.argv[1], Path(sys.argv[2])
    store = opened(engine, folder)
    if len(sys.argv) == 3:
        with closing(store):
            found = faults(store, folder)
        sys.stdout.write(f"{msgspec.json.encode(found).decode()}\n")
        return
    seed = int(sys.argv[3])
    for writer in range(WRITERS):
        threading.Thread(target=write, args=(store, writer, seed), daemon=True).start()
    chains = [read(store, folder, chain) for chain in CHAINS]
    before = told_of(folder)
    begun = False
    while True:
        more = [next(chain) for chain in chains]
        if not begun and told_of(folder) >= before + ENOUGH:
            begun = bool(sys.stdout.write("begun\n"))
            sys.stdout.flush()
        if not any(more):
            time.sleep(0.005)


if __name__ == "__main__":
    main()

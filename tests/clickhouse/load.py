"""A node under load: a process that writes to a store on ClickHouse, walks through it, and tells all it did and saw.

`python -m tests.clickhouse.load` takes `Given` as JSON from the first line of its input, says `Ready`, and works until
another line comes or it is killed; it tells everything as JSON lines, with instants that are the same clock's for every
process of the machine. `Story` in `tests.clickhouse.story` decides whether what several nodes told fits together.

Records are written in groups: all of a group at once, with the same text, or erased at once. Records of different
groups lie between each other, so that a page holds parts of many.
"""

from __future__ import annotations

import random
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Final

import msgspec
import structlog

from calldex.access import Scope
from calldex.directory import Directory, database
from calldex.directory.database import BUSY_TIMEOUT_MS
from calldex.errors import CalldexError, Unavailable
from calldex.records.record import Cdr, from_ms, time_uuid
from calldex.search.query import Query
from calldex.store import Batch, Position, Slice, Store
from calldex.store.clickhouse import ClickhouseStore, client
from calldex.store.clickhouse.address import parse_dsn
from tests.engines import erase

GROUPS: Final = 8
SHARED: Final = 2
"""So many of them are written by every node."""
SIZE: Final = 4
_PER_PAGE: Final = 7
_PAUSE_S: Final = 0.01
"""Between two pages, so that writes come between them."""


class Given(msgspec.Struct, kw_only=True):
    """Where and as whom to work. `sealing`: the file of the key to others' secrets. `own`: the groups that no other
    node writes. `patience_s`: for a host's answer."""

    store: str
    directory: str
    sealing: str
    name: str
    accounts: list[int]
    own: list[int]
    patience_s: float


class Ready(msgspec.Struct, tag=True):
    """The store is open."""


class Begun(msgspec.Struct, tag=True):
    """A group is about to be written (`text`), or erased (None)."""

    number: int
    account: int
    group: int
    text: str | None
    at: float


class Done(msgspec.Struct, tag=True):
    """What became of that: acknowledged, with the outcomes, or `failed`."""

    number: int
    at: float
    outcomes: list[str] = []
    failed: str = ""


class Walked(msgspec.Struct, tag=True):
    """What a walk saw: the text of each group that was there. `began` is when it asked for its S, `fixed` when it had
    got it."""

    account: int
    began: float
    fixed: float
    groups: dict[int, str]


class Wrong(msgspec.Struct, tag=True):
    """Something that must not be, whatever others did."""

    text: str


class Failed(msgspec.Struct, tag=True):
    """A walk that could not be done."""

    at: float
    text: str


Told = Ready | Begun | Done | Walked | Wrong | Failed


def uuid(account: int, group: int, number: int) -> str:
    """Of a record of a group. Neighbours in time are of different groups."""
    return time_uuid(number * GROUPS + group, f"load {account}")


def batch(account: int, group: int, text: str) -> Batch:
    """What writes a group."""
    records = [
        Cdr(
            uuid=uuid(account, group, number),
            type="inbound",
            disposition="answered",
            started_at=from_ms(1_750_000_000_000 + (number * GROUPS + group) * 50_000_000),
            duration_s=number,
            comment=f"{group} {text}",
        )
        for number in range(SIZE)
    ]
    return Batch(account_id=account, source="", format="jsonl", origin="load", records=records)


def impatient(seconds: float) -> dict[str, float]:
    """Constants of `store.clickhouse.client` with which nobody waits half a minute for a host that hangs, and that a
    healthy one meets."""
    return {
        **dict.fromkeys(("_INSERT_S", "_CHANGE_S", "_GREETING_S"), seconds),
        "_PING_S": 2 * seconds / 3,
        "_LATE_S": seconds / 6,
    }


def opened(store: str, directory: Directory, timeout_s: float = 5.0) -> Store:
    """A node's store."""
    return ClickhouseStore(parse_dsn(store), directory.commits(), timeout_s=timeout_s, superseded_kept_s=9 * 86_400.0)


def seen(store: Store, account: int, as_of: int) -> Iterator[Slice]:
    """The pages of a walk."""
    query = Query(scope=Scope(account_id=account, whole=True))
    total = store.total(query, as_of)
    after: Position | None = None
    found = 0
    while found < total:
        page = store.slice(query, as_of, limit=_PER_PAGE, total=total, after=after)
        if not page.count:
            raise AssertionError(f"a walk of {total} ends after {found}")
        found, after = found + page.count, page.last
        yield page
        time.sleep(_PAUSE_S)


class _Told(msgspec.Struct):
    """What is read of a record."""

    uuid: str
    comment: str


def groups(account: int, pages: Sequence[Slice]) -> dict[int, str]:
    """The text of each group that pages hold; `AssertionError` if one is not whole, or records are out of order."""
    records = msgspec.json.Decoder(_Told).decode_lines(b"\n".join(page.json for page in pages))
    uuids = [record.uuid for record in records]
    if uuids != sorted(set(uuids), reverse=True):
        raise AssertionError(f"out of order, or twice: {uuids}")
    texts: dict[int, set[tuple[str, str]]] = {}
    for record in records:
        number, _, text = record.comment.partition(" ")
        texts.setdefault(int(number), set()).add((record.uuid, text))
    for group, found in texts.items():
        whole = {uuid(account, group, n) for n in range(SIZE)}
        if {at for at, _ in found} != whole or len({text for _, text in found}) != 1:
            raise AssertionError(f"group {group} is torn: {sorted(found)}")
    return {group: text for group, found in texts.items() for _, text in found}


class Node:
    """The work of one node."""

    def __init__(self, given: Given, store: Store) -> None:
        self._given, self._store = given, store
        self._said = threading.Lock()
        self._numbers = iter(range(1 << 60))
        self.ended = threading.Event()

    def say(self, told: Told) -> None:
        """A line."""
        with self._said:
            sys.stdout.write(msgspec.json.encode(told).decode() + "\n")
            sys.stdout.flush()

    def run(self, work: Callable[[int], None]) -> list[threading.Thread]:
        """Do something again and again, for each account in a thread of its own; what must not be is told."""

        def again(account: int) -> None:
            while not self.ended.is_set():
                try:
                    work(account)
                except Unavailable as error:
                    self.say(Failed(time.monotonic(), f"{error.code}: {error.message}"))
                    time.sleep(0.05)
                except Exception as error:  # noqa: BLE001 - whatever it is, it is told
                    self.say(Wrong(f"{type(error).__name__}: {error}"))

        threads = [threading.Thread(target=again, args=(account,)) for account in self._given.accounts]
        for thread in threads:
            thread.start()
        return threads

    def write(self, account: int) -> None:
        """Write or erase a group of the node's own until it is acknowledged, or try once with one of all nodes'."""
        with self._said:
            first = next(self._numbers)
        chance = random.Random(f"{self._given.name} {account} {first}")
        shared = chance.random() < 0.3
        group = chance.randrange(SHARED) if shared else chance.choice(self._given.own)
        text = None if chance.random() < 0.1 else f"{self._given.name}-{first}"
        while not self._wrote(account, group, text) and not shared and not self.ended.is_set():
            time.sleep(0.05)

    def _wrote(self, account: int, group: int, text: str | None) -> bool:
        with self._said:
            number = next(self._numbers)
        self.say(Begun(number, account, group, text, time.monotonic()))
        try:
            if text is None:
                outcomes = ["erased"] * erase(self._store, account, [uuid(account, group, n) for n in range(SIZE)])
            else:
                outcomes = [outcome.value for outcome in self._store.write(batch(account, group, text))]
        except Unavailable as error:
            if not error.retry_after:
                self.say(Wrong(f"nobody is told when to try again: {error.code}: {error.message}"))
            self.say(Done(number, time.monotonic(), failed=f"{error.code}: {error.message}"))
            return False
        self.say(Done(number, time.monotonic(), outcomes))
        return True

    def walk(self, account: int) -> None:
        """Walk through an account, and once more as of the same commit."""
        began = time.monotonic()
        as_of = self._store.head(account)
        fixed = time.monotonic()
        pages = list(seen(self._store, account, as_of))
        self.say(Walked(account, began, fixed, groups(account, pages)))
        again = list(seen(self._store, account, as_of))
        if pages != again:
            self.say(Wrong(f"as of {as_of} there was {pages}, and later {again}"))


def main() -> None:
    """Work until another line comes."""
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))
    given = msgspec.json.decode(sys.stdin.readline(), type=Given)
    vars(client).update(impatient(given.patience_s))
    # The turn of an account lasts as long as its hosts are waited for, and so does who waits for it.
    vars(database)["BUSY_TIMEOUT_MS"] = max(BUSY_TIMEOUT_MS, round(5000 * given.patience_s))
    with (
        Directory.shared(given.directory, Path(given.sealing)) as directory,
        closing(opened(given.store, directory, given.patience_s)) as store,
    ):
        node = Node(given, store)
        node.say(Ready())
        threads = node.run(node.write) + node.run(node.walk)
        sys.stdin.readline()
        node.ended.set()
        for thread in threads:
            thread.join()


if __name__ == "__main__":
    try:
        main()
    except CalldexError as error:
        sys.exit(error.message)

"""A data directory moved to a shared store and directory: all of it, as it was, or nothing that anybody sees."""

from __future__ import annotations

import hashlib
import time
from pathlib import Path
from typing import Any

import msgspec
import pytest
from sqlalchemy import select

from calldex import migrate
from calldex.address import DirectoryAddress, StoreAddress
from calldex.audit.chain import Actor, entry
from calldex.datadir import DIRECTORY_FILE, Lock
from calldex.demo import interactions
from calldex.directory import Client, Directory, GroupChanges, TeamChanges, tables
from calldex.errors import Conflict, DataDirInUse, UnreadableInput, UsageProblem
from calldex.node import Node
from calldex.records.record import CallRow, Cdr, canonical
from calldex.settings import Settings
from calldex.store import Batch, Outcome, Receipt, Reject, Store
from calldex.store.embedded import LEDGER_FILE
from calldex.store.embedded.reader import LedgerReader
from calldex.store.sql import VALUE_NAMES
from tests.cli.tools import calldex, ended, process
from tests.directory.places import PostgresqlPlace
from tests.engines import answer, erase, everything

KEPT = {
    table.name
    for table in (
        tables.commits,
        tables.void_commits,
        tables.receipts,
        tables.quarantine,
        tables.call_rows,
        tables.call_links,
    )
}
STARTED = VALUE_NAMES.index("started_ms")
RECORDS = [canonical(record) for record in interactions(600, seed=9)]


def batch(account_id: int, **given: Any) -> Batch:
    """One commit of the source `pbx`."""
    return Batch(account_id=account_id, source="pbx", format="asterisk", origin="Master.csv", **given)


pytestmark = pytest.mark.slow


def changed(record: Cdr) -> Cdr:
    """Another version of it."""
    return msgspec.structs.replace(record, duration_s=record.duration_s + 1)


def receipt(outcomes: object) -> Receipt:
    """An answer that is remembered."""
    return Receipt(b"digest", b"answer")


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A data directory with two accounts, several versions, erasures, rows of calls, a quarantine, an answer under a
    key, and a directory with something in every table."""
    path = tmp_path / "data"
    with Node(Settings(data=path, threads=1)) as node:
        fill_directory(node)
        other = node.directory.add_account("other").id
        node.store.write(batch(1, records=RECORDS[:400]))
        node.store.write(batch(other, records=RECORDS[300:]))
        node.store.write(batch(1, records=[changed(record) for record in RECORDS[:50]]))
        node.store.write(batch(1, records=[changed(changed(record)) for record in RECORDS[:5]]))
        erase(node.store, 1, [record.uuid for record in RECORDS[40:60]])
        rows = [CallRow(bytes([n]), (f"link {n // 2}", "all"), f"row \0 {n}", RECORDS[n].uuid) for n in range(20)]
        rejects = [Reject("too short", f"line {n}", b"\xff%d" % n) for n in range(7)]
        node.store.write(batch(1, rows=rows, rejects=rejects, receipt_key="key", receipt=receipt))
    return path


def fill_directory(node: Node) -> None:
    """Something in every table."""
    directory = node.directory
    directory.put_team("main", 10, TeamChanges(name="Sales", queues=(5,)))
    directory.put_group("main", None, GroupChanges(name="readers", permissions=("see_cdrs",)))
    for number in range(3):
        directory.add_user(f"u{number}@example.com", f"User {number}", "admin", groups=("readers",), teams=(10,))
    directory.remove_user("u2@example.com")
    directory.set_password("u0@example.com", "correct horse battery")
    user = directory.user("u0@example.com")
    directory.open_session(user.id, Client(address="127.0.0.1", name="b", device=None), 1_790_000_000_000)
    directory.create_key("u1@example.com")
    directory.add_source("pbx", "asterisk", {"zone": "UTC"})
    for number in range(5):
        node.audit.note(entry(Actor(actor="u1@example.com", account_id=1), "search", rows=number))


def settings(data: Path, store: str, directory: str = "") -> Settings:
    """Where it is moved to."""
    return Settings(data=data, store=StoreAddress(store), directory=DirectoryAddress(directory), threads=1)


def told(data: Path, store: str, directory: str = "") -> tuple[migrate.Migrated, dict[str, tuple[int, int]]]:
    """What a migration did, and how far each part of it came."""
    steps: dict[str, tuple[int, int]] = {}
    done = migrate.migrate(settings(data, store, directory), lambda what, *how: steps.update({what: how}))
    return done, steps


def contents(directory: Directory) -> dict[str, list[tuple[Any, ...]]]:
    """Every row of every table of a directory, but for what is the store's, or a database's own."""
    found = {}
    with directory._db.read() as connection:  # noqa: SLF001 - every table
        for table in tables.metadata.sorted_tables:
            if table.name not in KEPT | {"change", "ledger_heads"}:
                rows = [tuple(row) for row in connection.execute(select(table))]
                found[table.name] = sorted((row for row in rows if row[0] != "store_id"), key=repr)
    return found


def digests(data: Path) -> dict[str, str]:
    """What the files are that must not be touched."""
    names = (LEDGER_FILE, DIRECTORY_FILE)
    return {name: hashlib.sha256((data / name).read_bytes()).hexdigest() for name in names}


def seen(store: Store, account_id: int) -> list[object]:
    """Everything that can be asked of an account."""
    uuids = [record.uuid for record in (*RECORDS[:60:3], *RECORDS[60::30])]
    return [
        answer(store, everything(account_id)),
        [store.history(account_id, uuid) for uuid in uuids],
        sorted(store.rows_of_calls(account_id, "pbx", ["all"]), key=lambda row: row.key),
        [(each.id, each.raw, each.reason, each.where, each.at_ms) for each in store.quarantined(account_id)],
        store.receipt(account_id, "key"),
        store.purged_upto(account_id),
    ]


def test_the_reading_side(data: Path) -> None:
    """Versions come in the order of their commits, with who ended them and when; tombstones begin where what they ended
    began; and reading may go on behind any commit."""
    reader = LedgerReader(data / LEDGER_FILE)
    try:
        for account_id, count in reader.accounts().items():
            whole = [version for some in reader.versions(account_id, 0, 64) for version in some]
            assert (count, sorted(whole, key=lambda version: version.seq)) == (len(whole), whole)
            middle = whole[len(whole) // 3].seq
            assert [version for version in whole if version.seq > middle] == [
                version for some in reader.versions(account_id, middle, 1000) for version in some
            ]
            by_seq = {version.seq: version for version in whole}
            for version in whole:
                if version.seq_to is not None:
                    ending = by_seq[version.seq_to]
                    assert (version.uuid, version.ended_ms) == (ending.uuid, ending.written_ms)
                    if ending.json is None:
                        assert version.values[STARTED] == ending.values[STARTED]
    finally:
        reader.close()


def test_everything_is_moved(data: Path, postgresql: PostgresqlPlace, tmp_path: Path) -> None:
    """The new node answers as the old one did, whatever it is asked; the directory is the same, row by row; the audit
    is whole; ids go on; and the data directory is as it was."""
    with Node(Settings(data=data, threads=1)) as node:
        other = node.directory.account("other").id
        expected = [seen(node.store, account_id) for account_id in (1, other)]
        directory = contents(node.directory)
    before = digests(data)
    done, steps = told(data, f"chdb://{tmp_path}/chdb", postgresql.address)
    assert before == digests(data)
    assert {(done, total) for done, total in steps.values()} == {(total, total) for _, total in steps.values()}
    assert (400 + 300 + 50 + 5 + 20, 680, 2, 20, 7) == (
        done.versions,
        done.records,
        done.accounts,
        done.rows_of_calls,
        done.quarantined,
    )
    with Node(settings(tmp_path / "new", f"chdb://{tmp_path}/chdb", postgresql.address)) as node:
        assert directory == contents(node.directory)
        assert expected == [seen(node.store, account_id) for account_id in (1, other)]
        assert [] == list(node.directory.verify_audit().faults)
        assert [] == [day for day in node.store.check() if not day.equal]
        assert node.directory.user("u1@example.com").id + 2 == node.directory.add_user("new@example.com", "New").id
        unchanged = node.store.write(batch(1, records=RECORDS[390:410], rejects=[Reject("new", "line 9", b"9")]))
        assert [Outcome.UNCHANGED] * 10 + [Outcome.ACCEPTED] * 10 == unchanged
        assert 8 == len(list(node.store.quarantined(1)))


def test_a_directory_that_stays(data: Path, tmp_path: Path) -> None:
    """Without another directory the one in the data directory takes in what the ledger keeps beside records; and the
    old store can still be served."""
    with Node(Settings(data=data, threads=1)) as node:
        expected = seen(node.store, 1)
        directory = contents(node.directory)
    done, _ = told(data, f"chdb://{tmp_path}/chdb")
    assert done.directory is None
    for store in (f"chdb://{tmp_path}/chdb", "embedded"):
        with Node(settings(data, store)) as node:
            assert expected == seen(node.store, 1)
            assert directory == contents(node.directory)


def test_where_something_is_already(data: Path, postgresql: PostgresqlPlace, tmp_path: Path) -> None:
    """A directory with users, and a store with records, are refused and left alone."""
    with postgresql.open() as directory:
        directory.add_user("ann@example.com", "Ann")
    with pytest.raises(Conflict, match=r"is in use already \(users\)"):
        told(data, f"chdb://{tmp_path}/chdb", postgresql.address)
    with postgresql.open() as directory:
        assert ["ann@example.com"] == [user.email for user in directory.users()]
    told(data, f"chdb://{tmp_path}/chdb")
    with pytest.raises(Conflict, match=r"is in use already \(commits"):
        told(data, f"chdb://{tmp_path}/other")


def test_a_store_with_rows_that_nobody_counts(data: Path, postgresql: PostgresqlPlace, tmp_path: Path) -> None:
    """What another migration or another directory left in the store is not mixed into what is moved: it would be seen
    one day, or stop all writing."""
    told(data, f"chdb://{tmp_path}/chdb")
    with pytest.raises(Conflict, match=r"chdb has records already; move into databases that are empty"):
        told(data, f"chdb://{tmp_path}/chdb", postgresql.address)
    with postgresql.open() as directory:
        directory.copying().refuse_unfinished()


def test_what_cannot_be_moved(data: Path, tmp_path: Path) -> None:
    """No other store, no data directory, one that is served."""
    with pytest.raises(UsageProblem, match="name the store with --to"):
        told(data, "embedded")
    with pytest.raises(UnreadableInput, match="there is no data directory to be moved"):
        told(tmp_path / "nothing", f"chdb://{tmp_path}/chdb")
    assert not (tmp_path / "nothing").exists()
    lock = Lock(data)
    with pytest.raises(DataDirInUse):
        told(data, f"chdb://{tmp_path}/chdb")
    lock.release()
    result = calldex("migrate", "--to", "clickhouse://ann:not-for-messages@one", data=data)
    assert (2, True, False) == (result.exit_code, "--to: not a value" in result.stderr, "not-for-m" in result.output)


def test_an_interrupted_migration_goes_on(
    data: Path, postgresql: PostgresqlPlace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody serves what is half there. Begun again it ends as if it had not been interrupted; but not if the data
    directory was written to meanwhile."""
    with Node(Settings(data=data, threads=1)) as node:
        expected = seen(node.store, 1)
    monkeypatch.setattr(migrate, "AT_ONCE", 100)
    target = (f"chdb://{tmp_path}/chdb", postgresql.address)

    class Interrupted(Exception):
        pass

    def interrupt(what: str, done: int, total: int) -> None:
        if what == "versions" and done >= 300:
            raise Interrupted

    with pytest.raises(Interrupted):
        migrate.migrate(settings(data, *target), interrupt)
    with pytest.raises(Conflict, match="has begun and is not done: run `calldex migrate` again"):
        Node(settings(tmp_path / "new", *target))
    done, _ = told(data, *target)
    with Node(settings(tmp_path / "new", *target)) as node:
        assert expected == seen(node.store, 1)
    assert 680 == done.records


def test_a_data_directory_that_goes_on(data: Path, tmp_path: Path) -> None:
    """One that was written to since its migration began is not mixed into what was moved before."""

    def interrupt(what: str, done: int, total: int) -> None:
        if what != "versions proved":  # that is before anything is moved
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        migrate.migrate(settings(data, f"chdb://{tmp_path}/chdb"), interrupt)
    with Node(Settings(data=data, threads=1)) as node:
        node.store.write(batch(1, records=[changed(RECORDS[399])]))
    with pytest.raises(Conflict, match="this one was written to since"):
        told(data, f"chdb://{tmp_path}/chdb")


def test_a_difference_is_told(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A day on which a record went missing on the way is named, and nothing can be seen of what was moved."""
    read = LedgerReader.versions

    def lossy(self: LedgerReader, *given: int) -> Any:
        for some in read(self, *given):
            yield some[:200] + some[201:]

    monkeypatch.setattr(LedgerReader, "versions", lossy)
    with pytest.raises(Conflict, match=r"[12] of \d+ days are not what the ledger has, as 20\d\d-\d\d-\d\d of account"):
        told(data, f"chdb://{tmp_path}/chdb")
    with pytest.raises(Conflict, match="is not done"):
        Node(settings(data, f"chdb://{tmp_path}/chdb"))


def test_a_killed_migration_goes_on(tmp_path: Path, postgresql: PostgresqlPlace) -> None:
    """Killed at several moments, it comes to its end all the same: every record once, every day equal."""
    data, target = tmp_path / "data", (f"chdb://{tmp_path}/chdb", postgresql.address)
    with Node(Settings(data=data, threads=1)) as node:
        node.directory.add_user("ann@example.com", "Ann", "admin")
        for number in range(4):
            node.store.write(batch(1, records=[canonical(record) for record in interactions(15_000, seed=number)]))
        total, json = answer(node.store, everything())
    words = ("migrate", "--to", target[0], "--directory", target[1])
    for what, seconds in (("directory", 0.0), ("versions", 0.0), ("versions", 0.2)):
        running = process(*words, data=data)
        assert running.stderr is not None
        while what not in running.stderr.readline().decode():
            assert running.poll() is None
        time.sleep(seconds)
        running.kill()
        ended(running)
    code, out, err = ended(process(*words, data=data))
    assert (0, "", True) == (code, out, f"Moved {total:,} records" in err), err
    with Node(settings(tmp_path / "new", *target)) as node:
        assert (total, json) == answer(node.store, everything())
        assert ["ann@example.com"] == [user.email for user in node.directory.users()]

"""Versions are proved by the chain of commits: what was altered, taken out, put in or cut off is found, told, and
refused to readers, while the rest is served."""

from __future__ import annotations

import shutil
import sqlite3
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, Final

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from calldex.access import Scope
from calldex.errors import CalldexError, RecordDamaged, StoreDamaged
from calldex.records.record import Cdr, canonical, from_ms, time_uuid
from calldex.search.query import parse
from calldex.store import Batch, Head, Outcome
from calldex.store.embedded import LEDGER_FILE, EmbeddedStore, proving
from calldex.store.embedded.chain import COVERED
from calldex.store.embedded.ledger import Ledger
from calldex.store.embedded.reader import LedgerReader, proved
from calldex.store.embedded.schema import LEDGER
from calldex.store.sql import VALUE_NAMES, prepared, uuid_bytes
from tests.engines import LONG_S, answer, embedded, erase, everything, knowing_json, put
from tests.examples import examples

LIVE: Final = 1 << 62


def record(n: int, comment: str | None = None) -> Cdr:
    """The n-th record."""
    return Cdr(
        uuid=time_uuid(n, "proof"),
        type="inbound",
        disposition="answered",
        started_at=from_ms(1_750_000_000_000 + n * 60_000),
        duration_s=n % 9,
        from_=f"447700900{n:03d}",
        agent_id=1 + n % 3,
        comment=comment,
    )


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A ledger with 40 records, of which some were changed, one was erased, and one erased and written again."""
    folder = tmp_path_factory.mktemp("proof")
    with closing(embedded(folder)) as store:
        put(store, [record(n) for n in range(40)])
        put(store, [record(n, "changed") for n in range(0, 40, 10)])
        erase(store, 1, [record(5).uuid, record(6).uuid])
        put(store, [record(6, "again")])
        assert [] == store.integrity()
    return folder


def altered(kept: Path, here: Path, *statements: str) -> Path:
    """A copy of the ledger in which somebody has changed something."""
    here.mkdir(exist_ok=True)
    shutil.copy(kept / LEDGER_FILE, here / LEDGER_FILE)
    with closing(sqlite3.connect(here / LEDGER_FILE, isolation_level=None)) as ledger:
        for statement in statements:
            knowing_json(ledger, here / LEDGER_FILE).executescript(statement)
    return here


def found(here: Path) -> tuple[set[int], list[str]]:
    """The versions that are found damaged, and what is told of no version."""
    with LedgerReader(here / LEDGER_FILE) as reader:
        faults = reader.faults()
    return {fault.seq for fault in faults if fault.seq is not None}, [f.what for f in faults if f.seq is None]


PUT_IN: Final = (
    "CREATE TEMP TABLE one AS SELECT * FROM version WHERE seq = 40;"
    " UPDATE one SET seq = 48, account_id = 3; INSERT INTO version SELECT * FROM one"
)
REPLACED: Final = "packed(replace(unpacked(json), 'inbound', 'outbound'))"
GARBLED: Final = "CAST(substr(json, 1, 40) || CAST(x'0f' AS BLOB) || substr(json, 42) AS BLOB)"
ALTERED: Final[dict[str, tuple[str, set[int], str]]] = {
    "text": (f"UPDATE version SET json = {REPLACED} WHERE seq = 10", {10}, ""),
    "text that is not compressed": (f"UPDATE version SET json = unpacked({REPLACED}) WHERE seq = 10", {10}, ""),
    "one letter": ("UPDATE version SET json = packed(unpacked(json) || ' ') WHERE seq = 40", {40}, ""),
    "one byte": (f"UPDATE version SET json = {GARBLED} WHERE seq = 40", {40}, ""),
    "one byte more": ("UPDATE version SET json = CAST(json || x'00' AS BLOB) WHERE seq = 40", {40}, ""),
    "one byte more, in between": ("UPDATE version SET json = CAST(json || x'00' AS BLOB) WHERE seq = 10", {10}, ""),
    "another text behind it": ("UPDATE version SET json = CAST(json || json AS BLOB) WHERE seq = 10", {10}, ""),
    "no content": ("UPDATE version SET json = x'' WHERE seq = 40", {40}, ""),
    "value": ("UPDATE version SET agent_id = 2 WHERE seq = 1", {1}, ""),
    "text that is none": ("UPDATE version SET caller = CAST(x'ff' AS TEXT) WHERE seq = 3", {3}, ""),
    "another kind of value": ("UPDATE version SET duration_s = 2.5 WHERE seq = 3", {3}, ""),
    "time": ("UPDATE version SET written_ms = written_ms + 1 WHERE seq = 4", {4}, ""),
    "account": ("UPDATE version SET account_id = 2 WHERE seq = 9", {9}, ""),
    "uuid": (f"UPDATE version SET uuid = x'{'ab' * 16}' WHERE seq = 9", {9}, ""),
    "emptied": ("UPDATE version SET json = NULL WHERE seq = 9", {9}, ""),
    "tombstone with content": ("UPDATE version SET json = '{}' WHERE seq = 45", {45}, ""),
    "ended by itself": ("UPDATE version SET seq_to = 40 WHERE seq = 9", {9}, ""),
    "alive again": (f"UPDATE version SET seq_to = {LIVE} WHERE seq = 6", {6}, ""),
    "taken out": ("DELETE FROM version WHERE seq = 9", set(), "1 are gone"),
    "taken out in the middle": ("DELETE FROM version WHERE seq BETWEEN 9 AND 12", set(), "4 are gone"),
    "link altered": ("UPDATE link SET hash = zeroblob(32) WHERE seq = 40", set(), "does not follow"),
    "link taken out": ("DELETE FROM link WHERE seq = 44", set(), "does not follow"),
    "last link taken out": ("DELETE FROM link WHERE seq > 46", set(), "no links"),
    "put in": (PUT_IN, set(), "no links"),
}


@pytest.mark.parametrize(("statement", "versions", "what"), ALTERED.values(), ids=ALTERED)
def test_what_was_altered_is_found(kept: Path, tmp_path: Path, statement: str, versions: set[int], what: str) -> None:
    """Each kind of change is found where it was made, and nothing else is blamed."""
    here = altered(kept, tmp_path, statement)
    damaged, told = found(here)
    assert versions == damaged
    assert any(what in line for line in told) if what else [] == told, told


def test_a_ledger_as_it_was_written_is_sound(kept: Path) -> None:
    """Versions that ended, tombstones and records that came again are no fault."""
    assert (set(), []) == found(kept)


@pytest.mark.parametrize("content", [GARBLED, "NULL", "x''", "CAST(7 AS INTEGER)", "'no JSON'", "zeroblob(50)"])
def test_what_cannot_be_decompressed_is_refused_by_name(kept: Path, tmp_path: Path, content: str) -> None:
    """Before anybody checked, and whatever stands there: whatever asks for it gets an error with its uuid, and no
    columns are made again for it; sent again, it is served."""
    here = altered(kept, tmp_path, f"UPDATE version SET json = {content} WHERE seq = 10")
    damaged, sound = record(9), record(12)
    with closing(embedded(here)) as store:
        store.settle()
        whole = Scope(account_id=1, whole=True)
        for asked in ({"uuid": damaged.uuid}, {}):
            with pytest.raises(RecordDamaged, match=damaged.uuid):
                answer(store, parse(asked.items(), whole, "UTC")[0])
        for ask in (store.get, store.history):
            with pytest.raises(RecordDamaged, match=damaged.uuid):
                ask(1, damaged.uuid)
        with pytest.raises(RecordDamaged, match=damaged.uuid):
            store.log.since(everything(), 0, 0, 100)
        assert 1 == answer(store, parse([("uuid", sound.uuid)], whole, "UTC")[0])[0]
        assert store.state().ready
        assert [Outcome.UPDATED, Outcome.UNCHANGED] == put(store, [damaged, sound])
        assert 39 == answer(store, everything())[0]


def test_damaged_records_are_refused_by_name(kept: Path, tmp_path: Path) -> None:
    """Whatever asks for one gets an error with its uuid; everything else is answered; sent again, it is served."""
    here = altered(kept, tmp_path, f"UPDATE version SET json = {REPLACED} WHERE seq = 10")
    damaged, sound = record(9), record(12)
    with closing(embedded(here)) as store:
        assert ["not what was written"] == [line[-20:] for line in store.integrity()]
        whole = Scope(account_id=1, whole=True)
        for asked in ({"uuid": damaged.uuid}, {}):
            query = parse(asked.items(), whole, "UTC")[0]
            with pytest.raises(RecordDamaged, match=damaged.uuid):
                answer(store, query)
        for ask in (store.get, store.history):
            with pytest.raises(RecordDamaged, match=damaged.uuid):
                ask(1, damaged.uuid)
        assert 1 == answer(store, parse([("uuid", sound.uuid)], whole, "UTC")[0])[0]
    with closing(embedded(here)) as store:  # it is remembered
        with pytest.raises(RecordDamaged):
            store.get(1, damaged.uuid)
        assert [Outcome.UPDATED] == put(store, [damaged])
        assert 39 == answer(store, everything())[0]


def test_what_was_unchanged_but_for_a_value_is_written_again(kept: Path, tmp_path: Path) -> None:
    """A record whose text is as it was, and a value beside it is not, is replaced by the same record."""
    here = altered(kept, tmp_path, "UPDATE version SET agent_id = 99 WHERE seq = 10")
    with closing(embedded(here)) as store:
        store.integrity()
        assert [Outcome.UPDATED] == put(store, [record(9)])
        assert 39 == answer(store, everything())[0]


def here_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Proved in this process."""
    monkeypatch.setattr(proving, "elsewhere", lambda *_: pytest.fail("another process proves a few"))


def in_another(monkeypatch: pytest.MonkeyPatch) -> None:
    """Proved in another process."""
    monkeypatch.setattr(proving, "ALONE", 0)
    monkeypatch.setattr(proving, "here", lambda *_: iter(()))


def by_one_that_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    """The other process ends after its first line."""
    whole = proving.elsewhere

    @contextmanager
    def cut(path: Path, after: int, upto: int) -> Iterator[Iterable[bytes]]:
        with whole(path, after, 40) as lines:
            yield lines

    monkeypatch.setattr(proving, "ALONE", 0)
    monkeypatch.setattr(proving, "elsewhere", cut)


def by_nobody_else(monkeypatch: pytest.MonkeyPatch) -> None:
    """There is no other process."""
    monkeypatch.setattr(proving, "ALONE", 0)
    monkeypatch.setattr(sys, "executable", "/nonexistent/python")


@pytest.mark.parametrize("how", [here_alone, in_another, by_one_that_ends, by_nobody_else])
def test_columns_are_made_of_proved_versions(
    kept: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: Callable[[pytest.MonkeyPatch], None]
) -> None:
    """Where they are made again, what is not as it was written is marked on the way, also where it is no text, whoever
    proves it."""
    how(monkeypatch)
    here = altered(
        kept,
        tmp_path,
        "UPDATE version SET agent_id = 2 WHERE seq = 10",
        "UPDATE version SET caller = CAST(x'ff' AS TEXT) WHERE seq = 12",
    )
    with closing(embedded(here)) as store:
        store.settle()
        for damaged in (record(9), record(11)):
            with pytest.raises(RecordDamaged, match=damaged.uuid):
                store.get(1, damaged.uuid)
        with pytest.raises(RecordDamaged):
            answer(store, everything())
        asked = parse([("agent_ids", "1")], Scope(account_id=1, whole=True), "UTC")[0]
        assert 13 == answer(store, asked)[0]


def test_the_process_that_proves_ends_when_all_is_proved(
    kept: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is not left for as long as the store is open."""
    whole, done = proving.elsewhere, []

    @contextmanager
    def noted(path: Path, after: int, upto: int) -> Iterator[Iterable[bytes]]:
        with whole(path, after, upto) as lines:
            try:
                yield lines
            finally:
                done.append(upto)

    monkeypatch.setattr(proving, "ALONE", 0)
    monkeypatch.setattr(proving, "elsewhere", noted)
    with closing(embedded(altered(kept, tmp_path))) as store:
        store.settle()
        assert [47] == done


def test_what_was_just_written_is_not_proved_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The columns of a store that is new, or was opened again, take in what is written as it is: to read and digest it
    once more would cost a third of writing."""
    for turn in (1, 2):
        with closing(embedded(tmp_path)) as store:
            store.settle()
            with monkeypatch.context() as patched:
                patched.setattr(proving, "faults", lambda *_, **__: pytest.fail("it is proved again"))
                put(store, [record(n, f"turn {turn}") for n in range(20)])
                store.settle()
                assert 20 == answer(store, everything())[0]


def test_purging_keeps_the_links(tmp_path: Path) -> None:
    """What was dropped because it was superseded is not missed; what is missing beside it is."""
    with closing(embedded(tmp_path, superseded_kept_s=0)) as store:
        for turn in range(4):
            put(store, [record(n, f"turn {turn}") for n in range(20)])
        store.settle()
        assert 60 == store.purge(1 << 60)
        assert [] == store.integrity()
    with closing(sqlite3.connect(tmp_path / LEDGER_FILE)) as ledger:
        ledger.execute("DELETE FROM version WHERE seq = 70")
        ledger.commit()
    assert (set(), ["of the versions 61 to 80, 1 are gone"]) == found(tmp_path)


def test_a_backup_is_proved(kept: Path, tmp_path: Path) -> None:
    """What is damaged is told, and refused from then on, by the copy as well."""
    here = altered(kept, tmp_path / "here", "UPDATE version SET duration_s = 77 WHERE seq = 10")
    (tmp_path / "copy").mkdir()
    with closing(embedded(here)) as store:
        assert 1 == len(store.backup(tmp_path / "copy"))
        with pytest.raises(RecordDamaged):
            store.get(1, record(9).uuid)
    with closing(embedded(tmp_path / "copy")) as store, pytest.raises(RecordDamaged):
        store.get(1, record(9).uuid)


def test_a_backup_goes_on_while_others_write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is written between two steps is in the copy, which is sound; the copy does not begin again."""
    monkeypatch.setattr("calldex.store.embedded.sqlite._PAGES_COPIED", 2)
    with closing(embedded(tmp_path)) as store:
        put(store, [record(n) for n in range(400)])
        copied = store._ledger.backup(tmp_path / "copy.db")  # noqa: SLF001 - one step at a time
        steps = 0
        for _ in copied:
            steps += 1
            put(store, [record(1000 + steps)], wait=False)
            assert store.get(1, record(1000 + steps).uuid) is not None
        assert 10 < steps < 200
    assert [] == proved(tmp_path / "copy.db")
    with LedgerReader(tmp_path / "copy.db") as copy:
        assert 400 + steps >= copy.last_seq > 400


def test_a_ledger_from_before_there_were_links(tmp_path: Path) -> None:
    """It is linked as it is when it is opened, what was purged by then left out; from then on changes show."""
    names = [name for name in COVERED[:15] if name in VALUE_NAMES]
    with closing(sqlite3.connect(tmp_path / LEDGER_FILE, isolation_level=None)) as ledger:
        ledger.executescript(LEDGER[0].text)
        ledger.execute("INSERT INTO meta VALUES ('store_id', 'old')")
        ledger.execute("PRAGMA user_version = 1")
        for seq in range(41, 61):  # those before were superseded by them, and dropped
            made = prepared(canonical(record(seq)))
            values = dict(zip(VALUE_NAMES, made.values, strict=True))
            row: dict[str, Any] = {name: values[name] for name in names}
            row |= {"seq": seq, "seq_to": LIVE, "account_id": 1, "uuid": uuid_bytes(made.uuid)}
            row |= {"written_ms": 5, "json": made.json.decode()}
            marks = ", ".join("?" * len(row))
            ledger.execute(f"INSERT INTO version ({', '.join(row)}) VALUES ({marks})", tuple(row.values()))
    with closing(embedded(tmp_path)) as store:
        assert [] == store.integrity()
        put(store, [record(45, "changed"), record(100)])
        assert [] == store.integrity()
        assert 21 == answer(store, everything())[0]
    with closing(sqlite3.connect(tmp_path / LEDGER_FILE, isolation_level=None)) as ledger:
        ledger.execute("UPDATE version SET agent_id = 77 WHERE seq = 50")
    assert {50} == found(tmp_path)[0]


def test_the_head_is_kept_at_most_one_commit_behind(tmp_path: Path) -> None:
    """A commit waits until the head of the one before it is kept; one that cannot be kept stops the next."""
    heads: list[Head] = []

    def keep(store_id: str, head: Head) -> None:
        heads.append(head)

    with closing(
        EmbeddedStore(tmp_path, memory_mb=128, index_mb=0, threads=1, timeout_s=20, superseded_kept_s=LONG_S, keep=keep)
    ) as store:
        for n in range(5):
            put(store, [record(n), record(n + 100)], wait=False)
            assert heads[-1].seq >= 2 * n
    assert [0, 2, 4, 6, 8, 10] == [head.seq for head in heads]
    with LedgerReader(tmp_path / LEDGER_FILE) as reader:
        assert all(reader.has(head) for head in heads[1:])
        assert not reader.has(Head(12, heads[-1].hash))
        assert not reader.has(Head(10, heads[0].hash))


def test_batches_of_one_commit_have_one_link(tmp_path: Path) -> None:
    """However many were committed together: the head that is kept elsewhere may be one link behind, and no more."""
    with closing(Ledger(tmp_path / LEDGER_FILE)) as ledger:
        made = [
            Batch(account_id=1, source="", format="jsonl", origin="test", records=[record(n), record(n % 2)])
            for n in range(10, 15)
        ]
        assert 5 == len(ledger.write(made))
        assert [] == list(ledger.versions.faults(upto=ledger.last_seq))
        last = ledger.last_seq
    with LedgerReader(tmp_path / LEDGER_FILE) as reader:
        assert (1, last) == (reader.links_behind(0), reader.head().seq)


def test_a_ledger_that_says_to_be_of_another_format(kept: Path, tmp_path: Path) -> None:
    """It is damaged: the 48th byte of its head was 4 when it was written."""
    content = bytearray((kept / LEDGER_FILE).read_bytes())
    content[47] = 5
    (tmp_path / LEDGER_FILE).write_bytes(content)
    with pytest.raises(StoreDamaged, match="unsupported file format"), LedgerReader(tmp_path / LEDGER_FILE):
        pass


@settings(
    max_examples=examples(30),
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(data=st.data())
def test_any_changed_byte_of_the_file_is_told(
    kept: Path, tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    """Of a ledger with a changed byte anywhere the check says something, or every record is as it was; it never dies
    otherwise than by saying that the file is damaged."""
    here = tmp_path_factory.mktemp("flip")
    content = bytearray((kept / LEDGER_FILE).read_bytes())
    place = data.draw(st.integers(0, len(content) - 1))
    content[place] ^= data.draw(st.integers(1, 255))
    (here / LEDGER_FILE).write_bytes(content)
    try:
        with LedgerReader(here / LEDGER_FILE) as reader:
            said = [*reader.faults(), *reader.integrity()]
    except CalldexError:
        return
    if not said:
        with closing(sqlite3.connect(here / LEDGER_FILE)) as one, closing(sqlite3.connect(kept / LEDGER_FILE)) as other:
            everything_of = "SELECT seq, seq_to, uuid, json FROM version ORDER BY seq"
            assert one.execute(everything_of).fetchall() == other.execute(everything_of).fetchall()

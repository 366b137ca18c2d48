"""Who writes the audit: commits for many at once, loses nothing that it said was written, refuses when it cannot."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import msgspec
import pytest
from sqlalchemy import Engine, event
from structlog.testing import capture_logs

from calldex.audit import writer
from calldex.audit.chain import Actor, Entry, Link, entry
from calldex.audit.writer import Auditor
from calldex.directory import AuditFilter, Directory
from calldex.directory.database import sqlite_engine
from calldex.directory.sealing import SEALING_FILE
from calldex.errors import DiskFull, Unavailable

ANA = Actor(actor="ana@example.com", account_id=1)
DAY_MS = 86_400_000
NOW_MS = 1_000 * DAY_MS + 5_000


class Site(msgspec.Struct):
    """A directory, who writes its audit, and the commits that were made."""

    engine: Engine
    directory: Directory
    auditor: Auditor
    commits: list[str]

    def entries(self) -> list[Entry]:
        """All that was written, oldest first."""
        return self.directory.audit_entries(None, AuditFilter(), 1_000_000)[::-1]


@contextmanager
def opened(path: Path) -> Iterator[Site]:
    """A site on a database, closed at the end."""
    engine = sqlite_engine(path)
    commits: list[str] = []

    def watched(*arguments: object) -> None:
        if "INSERT INTO audit " in str(arguments[2]):
            commits.append(str(arguments[2]))

    event.listen(engine, "before_cursor_execute", watched)
    with Directory(engine, path.with_name(SEALING_FILE)) as directory:
        one = Auditor(directory)
        try:
            yield Site(engine, directory, one, commits)
        finally:
            one.close()


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    """A site of the test's own."""
    with opened(tmp_path / "d.sqlite") as one:
        yield one


def until(true: Callable[[], object]) -> None:
    """Wait for something that other threads do."""
    deadline = time.monotonic() + 5
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.001)


@contextmanager
def held(site: Site) -> Iterator[ThreadPoolExecutor]:
    """As long as it lasts, another process writes to the database, so that entries gather behind a first one, which is
    under way. Gives threads that may wait for that."""
    with ThreadPoolExecutor(3) as threads, site.directory._db.write():  # noqa: SLF001 - as another process would
        threads.submit(site.auditor.note, entry(ANA, "sign_in"))
        until(lambda: site.auditor._thread and waiting(site) == 0)  # noqa: SLF001 - likewise, of what is under way
        yield threads


def waiting(site: Site) -> int:
    """How many entries wait behind those under way."""
    return len(site.auditor._waiting)  # noqa: SLF001 - what others see of it is that they wait


def test_what_returned_is_written(site: Site) -> None:
    """From a thread, from an event loop, and by the owner; with the time and the next number."""
    site.auditor.note(entry(ANA, "search"))
    asyncio.run(site.auditor.record(entry(ANA, "export")))
    site.auditor.owner("key_created", 7, "bob@example.com", key="cdx_1234")
    found = site.entries()
    assert [1, 2, 3] == [each.n for each in found]
    assert ["search", "export", "key_created"] == [each.action for each in found]
    assert ("owner", 7, {"key": "cdx_1234"}) == (found[2].actor, found[2].account_id, found[2].detail)
    assert 0 < found[0].at_ms <= found[1].at_ms <= found[2].at_ms


def test_many_share_a_commit(site: Site) -> None:
    """What comes while one commit is under way is one more commit, in its order."""

    async def all_at_once() -> None:
        await asyncio.gather(*(site.auditor.record(entry(ANA, "search", rows=n)) for n in range(500)))

    with held(site) as threads:
        done = threads.submit(asyncio.run, all_at_once())
        until(lambda: waiting(site) == 500)
        assert not done.done()
    done.result()
    assert [*range(500)] == [each.rows for each in site.entries()[1:]]
    assert 2 == len(site.commits)


def test_who_leaves_is_noted_all_the_same(site: Site) -> None:
    """A request that is cancelled while it waits did what it did; and nobody else who waits is harmed."""

    async def leaves() -> None:
        gone = asyncio.ensure_future(site.auditor.record(entry(ANA, "export")))
        stays = asyncio.ensure_future(site.auditor.record(entry(ANA, "search")))
        await asyncio.sleep(0)
        assert 2 == waiting(site)
        gone.cancel()
        left.set()
        await stays
        assert gone.cancelled()

    left = threading.Event()
    with held(site) as threads:
        done = threads.submit(asyncio.run, leaves())
        assert left.wait(5)
    done.result()
    assert ["sign_in", "export", "search"] == [each.action for each in site.entries()]


def test_who_is_not_noted_in_time_is_refused(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """And is noted all the same, once that can be."""
    with held(site):
        monkeypatch.setattr(writer, "PATIENCE_S", 0.05)
        with pytest.raises(Unavailable, match=r"not written within 0\.05 s"):
            asyncio.run(site.auditor.record(entry(ANA, "search")))
    until(lambda: ["sign_in", "search"] == [each.action for each in site.entries()])


def test_no_more_than_a_stated_number_wait(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who comes then is refused at once."""
    monkeypatch.setattr(writer, "MOST_WAITING", 1)
    with held(site) as threads:
        done = threads.submit(site.auditor.note, entry(ANA, "search"))
        until(lambda: waiting(site) == 1)
        with pytest.raises(Unavailable, match="too many audit entries wait"):
            site.auditor.note(entry(ANA, "export"))
    done.result()
    assert ["sign_in", "search"] == [each.action for each in site.entries()]


def test_closing_writes_what_waits(site: Site) -> None:
    """And refuses what comes later."""
    with held(site) as threads:
        done = threads.submit(site.auditor.note, entry(ANA, "search"))
        until(lambda: waiting(site) == 1)
        closed = threads.submit(site.auditor.close)
    done.result()
    closed.result()
    assert ["sign_in", "search"] == [each.action for each in site.entries()]
    with pytest.raises(Unavailable, match="shutting down"):
        site.auditor.note(entry(ANA, "export"))


# --- when it cannot be written ----------------------------------------------------------------------------------------


def room(site: Site, pages: int) -> None:
    """Let the database have so many pages; of fewer than it has, no more than it has."""
    event.listen(site.engine, "connect", lambda c, _: c.execute(f"PRAGMA max_page_count = {pages}"))
    site.auditor._writer.close()  # noqa: SLF001 - its next connection is made so
    site.engine.dispose()


def note_many(site: Site) -> None:
    """Write more than fits into the free pages of a database."""
    for _ in range(1_000):
        site.auditor.note(entry(ANA, "search", target="x" * 200))


def test_a_full_disk_refuses_and_recovers(site: Site) -> None:
    """Who waits is told why, the log as well; when there is room again, all goes on."""
    room(site, 1)
    with capture_logs() as logs, pytest.raises(DiskFull, match="cannot be noted in the audit now"):
        note_many(site)
    assert "audit_not_written" in [line["event"] for line in logs]
    written = len(site.entries())
    with pytest.raises(DiskFull):
        note_many(site)
    room(site, 1_000_000)
    asyncio.run(site.auditor.refuse_failed())
    site.auditor.note(entry(ANA, "export"))
    assert written < len(site.entries())
    assert ("export", []) == (site.entries()[-1].action, site.directory.verify_audit().faults)


def test_ready_tries_once_more(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """After a failure it asks the database; it does not write an entry."""

    def locked(*_: object) -> Link:
        raise Unavailable("the database is locked")

    with monkeypatch.context() as failing:
        failing.setattr(site.auditor._writer, "append", locked)  # noqa: SLF001 - what fails
        with pytest.raises(Unavailable, match="the database is locked"):
            site.auditor.note(entry(ANA, "search"))
        with pytest.raises(Unavailable, match="the database is locked"):
            asyncio.run(site.auditor.refuse_failed())
    asyncio.run(site.auditor.refuse_failed())
    assert [] == site.entries()


def test_a_fault_of_ours_is_logged_and_not_told(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever happens, nobody waits for ever, and the reply has nothing of it."""

    def broken(*_: object) -> Link:
        raise ZeroDivisionError("a detail")

    monkeypatch.setattr(site.auditor._writer, "append", broken)  # noqa: SLF001 - what fails
    with capture_logs() as logs, pytest.raises(Unavailable) as refused:
        site.auditor.note(entry(ANA, "search"))
    assert "a detail" not in refused.value.message
    assert "a detail" in logs[0]["exception"]


WRITER = """
import sys, threading
from pathlib import Path
from calldex.audit.chain import Actor, entry
from calldex.audit.writer import Auditor
from calldex.directory import Directory

auditor = Auditor(Directory.open(Path(sys.argv[1])))
lock = threading.Lock()

def work(which):
    number = 0
    while True:
        auditor.note(entry(Actor(actor=f"w{which}"), "search", rows=number))
        with lock:
            print(which, number, flush=True)
        number += 1

for which in range(4):
    threading.Thread(target=work, args=(which,)).start()
"""


@pytest.mark.slow
def test_what_returned_survives_a_kill(tmp_path: Path) -> None:
    """A process killed in the midst of writing leaves every entry that it said was written, and a chain without a
    fault."""
    path = tmp_path / "d.sqlite"
    Directory.open(path).close()
    for _ in range(3):
        process = subprocess.Popen([sys.executable, "-c", WRITER, str(path)], stdout=subprocess.PIPE)
        assert process.stdout is not None
        told = [process.stdout.readline().split() for _ in range(300)]
        process.send_signal(signal.SIGKILL)
        told += [line.split() for line in process.stdout.read().splitlines()[:-1]]
        process.wait()
        process.stdout.close()
        with opened(path) as site:
            kept = {(each.actor, each.rows) for each in site.entries()}
            assert [] == [line for line in told if (f"w{int(line[0])}", int(line[1])) not in kept]
            assert [] == site.directory.verify_audit().faults


# --- now and then -----------------------------------------------------------------------------------------------------


def test_old_days_are_dropped(site: Site) -> None:
    """Whole days older than is asked for, once; 0 keeps all."""
    writer = site.directory.audit_writer()
    writer.append(
        [
            msgspec.structs.replace(entry(ANA, "search"), at_ms=at)
            for at in (1, 990 * DAY_MS - 1, 990 * DAY_MS, NOW_MS - 10 * DAY_MS, NOW_MS)
        ]
    )
    writer.close()
    site.auditor.keep(NOW_MS, 0)
    assert 5 == len(site.entries())
    for later_ms in (0, 60_000, DAY_MS - 5_001):
        site.auditor.keep(NOW_MS + later_ms, 10)
        assert [3, 4, 5, 6] == [each.n for each in site.entries()]
    assert "audit_trimmed" == site.entries()[-1].action


def test_many_old_entries_are_dropped_in_steps(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """Some in each commit, and no more commits at once than are stated."""
    monkeypatch.setattr("calldex.audit.writer.TRIMMED_AT_ONCE", 4)
    monkeypatch.setattr("calldex.audit.writer.TRIMS", 3)
    writer = site.directory.audit_writer()
    writer.append([msgspec.structs.replace(entry(ANA, "search"), at_ms=1)] * 15)
    writer.close()
    site.auditor.keep(NOW_MS, 1)
    assert 3 == len([each for each in site.entries() if each.action == "search"])
    site.auditor.keep(NOW_MS, 1)
    assert [4, 4, 4, 3] == [each.rows for each in site.entries() if each.action == "audit_trimmed"]
    assert [] == site.directory.verify_audit().faults


def test_the_log_has_the_head(tmp_path: Path) -> None:
    """Once an hour if it is another, and at the end."""
    with capture_logs() as logs, opened(tmp_path / "d.sqlite") as site:
        site.auditor.keep(NOW_MS, 0)
        for minute in (61, 62, 121, 122, 200):
            site.auditor.note(entry(ANA, "search"))
            site.auditor.keep(NOW_MS + minute * 60_000, 0)
        site.auditor.keep(NOW_MS + 300 * 60_000, 0)
        site.auditor.keep(NOW_MS + 400 * 60_000, 0)
        site.auditor.note(entry(ANA, "search"))
        head = site.directory.audit_head()
    told = [line for line in logs if line["event"] == "audit_head"]
    assert [1, 3, 5, 6] == [line["n"] for line in told]
    assert str(head) == f"{told[-1]['n']}:{told[-1]['hash']}"

"""What is a matter of PostgreSQL's alone: a server that refuses, is gone, comes back, is full or is held up."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from calldex.audit.chain import Actor, entry
from calldex.directory import Directory, Seen, database, snapshot
from calldex.directory.database import postgresql_engine
from calldex.directory.sealing import SEALING_FILE
from calldex.errors import BadSettings, DiskFull, Unavailable, UsageProblem
from tests.directory.places import PostgresqlPlace
from tests.patience import patient
from tests.postgres import Server

PASSWORD = "not-for-messages"


@pytest.fixture(scope="session")
def guarded(server: Server) -> Server:
    """A server with a role `guarded` that has a password and owns nothing, and a database of an old encoding."""
    server.execute(f"CREATE ROLE guarded LOGIN PASSWORD '{PASSWORD}'")
    server.execute("CREATE DATABASE old TEMPLATE template0 ENCODING 'SQL_ASCII' LOCALE 'C'")
    server.trust_nobody("guarded")
    return server


def refused(address: str, folder: Path) -> str:
    """What is told about an address, without the password and within ten seconds."""
    began = time.monotonic()
    with pytest.raises(UsageProblem) as error:
        Directory.shared(address, folder / SEALING_FILE)
    assert time.monotonic() - began < patient(10)
    told = str(error.value)
    assert not any(each in told for each in (PASSWORD, "\n", "psycopg"))
    return told


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"password": "x" + PASSWORD}, 'password authentication failed for user "guarded"'),
        ({"username": "nobody"}, 'role "nobody" does not exist'),
        ({"port": 1}, "Connection refused"),
        ({"host": "nowhere.invalid"}, "failed to resolve host 'nowhere.invalid'"),
        ({"database": "nothing"}, 'database "nothing" does not exist'),
        ({"database": "empty"}, "permission denied for schema public"),
        ({"username": "calldex", "database": "old"}, "has the encoding SQL_ASCII, which cannot keep every name; use"),
        ({"query": {"sslmode": "require"}}, "server does not support SSL, but SSL was required"),
        ({"query": {"sslmod": "require", "password": PASSWORD}}, 'invalid connection option "sslmod"'),
    ],
)
def test_an_address_that_does_not_work(guarded: Server, tmp_path: Path, changes: dict[str, Any], expected: str) -> None:
    """The message names the database and what the server, or the way to it, has against it."""
    address = guarded.address.set(username="guarded", password=PASSWORD, database="empty").set(**changes)
    told = refused(address.render_as_string(hide_password=False), tmp_path)
    assert expected in told
    assert f"{address.username}@{address.host}:{address.port}/{address.database}" in told


def test_a_server_that_does_not_answer(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Whoever takes the connection and says nothing is not waited for long."""
    monkeypatch.setattr(database, "_CONNECT_S", 2)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"postgresql://guarded:{PASSWORD}@127.0.0.1:{silent.getsockname()[1]}/calldex"
        told = refused(address, tmp_path)
    assert "timeout expired" in told


@pytest.mark.parametrize(
    "address",
    [
        "",
        "calldex",
        f"mysql://u:{PASSWORD}@db/calldex",
        f"postgres://u:{PASSWORD}@db/calldex",
        f"postgresql+psycopg://u:{PASSWORD}@db/calldex",
        f"postgresql://u:{PASSWORD}@db",
        f"postgresql://u:{PASSWORD}@/calldex",
        f"postgresql://u:{PASSWORD}@db:five/calldex",
        f"postgresql://u:x@{PASSWORD}@db/calldex",
        f"postgresql://u:x@y/{PASSWORD}@db/calldex",
        f"postgresql://u:x@y:{PASSWORD}@db/calldex",
    ],
)
def test_what_is_no_address(address: str, tmp_path: Path) -> None:
    """Another scheme, no host, no database, no port that is one, an @ in the password: the form is told."""
    with pytest.raises(
        BadSettings, match=r"directory: is not the address of a PostgreSQL database\. Valid: postgresql://user"
    ):
        postgresql_engine(address)
    refused(address, tmp_path)


def test_an_address_with_a_password_of_any_characters(guarded: Server, tmp_path: Path) -> None:
    """Written as in any URL."""
    server = guarded
    server.execute("CREATE ROLE odd LOGIN SUPERUSER PASSWORD 'a@b:c/d%e?'")
    server.trust_nobody("odd")
    address = server.address.set(username="odd", password=None, database="new").render_as_string()
    address = address.replace("odd@", "odd:a%40b%3Ac%2Fd%25e%3F@")
    with Directory.shared(address, tmp_path / SEALING_FILE) as directory:
        assert "main" == directory.account().name


# --- a server that is gone --------------------------------------------------------------------------------------------


@contextmanager
def stopped(server: Server) -> Iterator[None]:
    """The server is gone for the time of the block."""
    server.stop()
    try:
        yield
    finally:
        server.start()


def test_a_server_that_goes_and_comes_back(postgresql: PostgresqlPlace, monkeypatch: pytest.MonkeyPatch) -> None:
    """Meanwhile everything is to be tried again later; then it works, and nothing was lost."""
    with postgresql.open() as directory:
        main = directory.account().id
        key = directory.create_key(directory.add_user("ann@example.com", "Ann", "admin").email)
        directory.note_seen(main, [Seen("queue", 5, "Sales", 1)])
        directory.note_seen(main, [Seen("queue", 5, "Sales", 2)])
        writer = directory.audit_writer()
        head = writer.append([entry(Actor(actor="ann@example.com"), "search")])
        assert directory.find_key(key) is not None
        with stopped(postgresql.server):
            assert directory.find_key(key) is not None
            monkeypatch.setattr(snapshot, "RECHECK_S", 0.0)
            for ask in (
                lambda: directory.find_key(key),
                directory.users,
                directory.flush_seen,
                lambda: directory.add_account("north"),
                lambda: writer.append([entry(Actor(actor="ann@example.com"), "search")]),
                lambda: writer.append([]),
            ):
                with pytest.raises(Unavailable, match="the directory database cannot be used now") as refused_:
                    ask()
                assert (1, False) == (refused_.value.retry_after, "\n" in refused_.value.message)
        assert directory.find_key(key) is not None
        assert "north" == directory.add_account("north").name
        directory.flush_seen()
        assert [(2,)] == postgresql.execute("SELECT seen_ms FROM named WHERE kind = 'queue'")
        assert head == directory.audit_head()
        assert 2 == writer.append([entry(Actor(actor="ann@example.com"), "search")]).n
        writer.close()


def test_a_connection_that_is_cut(postgresql: PostgresqlPlace) -> None:
    """Within a transaction it is told, and nothing is written; between two nobody notices."""
    with postgresql.open() as directory:

        def write() -> None:
            with directory._db.write() as connection:  # noqa: SLF001 - cut in the middle
                connection.execute(text("DELETE FROM accounts"))
                postgresql.cut()

        with pytest.raises(Unavailable):
            write()
        for _ in range(2):
            assert ["main"] == [account.name for account in directory.accounts()]
            postgresql.cut()


# --- a server that is held up -----------------------------------------------------------------------------------------


def test_a_writer_that_waits_too_long(postgresql: PostgresqlPlace, monkeypatch: pytest.MonkeyPatch) -> None:
    """While another node writes for too long, the writer is told to come again."""
    monkeypatch.setattr(database, "BUSY_TIMEOUT_MS", 100)
    with postgresql.open() as directory, postgresql.open() as other:
        with other._db.write(access=True):  # noqa: SLF001 - it takes its time
            with pytest.raises(Unavailable, match="lock timeout") as told:
                directory.add_user("ann@example.com", "Ann")
            assert 1 == told.value.retry_after
        assert "Ann" == directory.add_user("ann@example.com", "Ann").name


def test_a_node_that_stops_in_the_middle(postgresql: PostgresqlPlace, monkeypatch: pytest.MonkeyPatch) -> None:
    """What it was writing is undone after a while, and the others go on."""
    monkeypatch.setattr(database, "_IDLE_MS", 200)
    with postgresql.open() as directory, postgresql.open() as stops:

        def write() -> None:
            with stops._db.write(access=True) as connection:  # noqa: SLF001 - it stops in the middle
                connection.execute(text("UPDATE accounts SET name = 'north'"))
                added.append(directory.add_user("ann@example.com", "Ann").name)

        added: list[str] = []
        with pytest.raises(Unavailable, match="idle-in-transaction timeout"):
            write()
        assert ["Ann"] == added
        assert ["main"] == [account.name for account in stops.accounts()]


def test_too_many_at_once(postgresql: PostgresqlPlace, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever gets no connection in time is told to come again."""
    monkeypatch.setattr(database, "BUSY_TIMEOUT_MS", 100)
    with postgresql.open() as directory:
        with ExitStack() as stack:
            for _ in range(2 * database._POOL):  # noqa: SLF001 - so many there are
                stack.enter_context(directory._db.read())  # noqa: SLF001 - likewise
            for ask in (directory.users, lambda: directory.add_account("north"), directory._db.connection):  # noqa: SLF001 - of the audit
                with pytest.raises(Unavailable, match="too many requests use the directory database at once"):
                    ask()
        assert [] == directory.users()


def test_a_server_that_became_read_only(postgresql: PostgresqlPlace) -> None:
    """As a standby is: reading goes on, writing is to be tried again."""
    postgresql.execute("ALTER DATABASE test SET default_transaction_read_only = on")
    with postgresql.open() as directory:
        with pytest.raises(Unavailable, match="read-only transaction"):
            directory.add_account("north")
        assert ["main"] == [account.name for account in directory.accounts()]


def test_a_full_disk(postgresql: PostgresqlPlace) -> None:
    """A write for which the server has no room is refused whole."""
    postgresql.execute(
        "CREATE FUNCTION full_disk() RETURNS trigger LANGUAGE plpgsql AS"
        " $$ BEGIN RAISE EXCEPTION 'could not extend file' USING ERRCODE = 'disk_full'; END $$"
    )
    postgresql.execute("CREATE TRIGGER t BEFORE INSERT ON sources EXECUTE FUNCTION full_disk()")
    with postgresql.open() as directory:
        with pytest.raises(DiskFull, match="nothing was changed"):
            directory.add_source("pbx", "asterisk", {})
        assert [] == directory.sources()


def test_a_reader_sees_one_moment(postgresql: PostgresqlPlace) -> None:
    """What another node commits meanwhile is not seen by half."""
    count = text("SELECT count(*) FROM accounts")
    with postgresql.open() as directory:
        with directory._db.read() as connection:  # noqa: SLF001 - two statements of one transaction
            before = connection.execute(count).scalar()
            postgresql.execute(
                "INSERT INTO accounts (name, created_at, sensitive, agents_see_own, vocabulary)"
                " VALUES ('n', 0, '[]', TRUE, 'documented')"
            )
            assert 1 == before == connection.execute(count).scalar()
        assert 2 == len(directory.accounts())


def test_it_is_not_copied_by_calldex(postgresql: PostgresqlPlace, tmp_path: Path) -> None:
    """A backup is PostgreSQL's own matter, and says so."""
    with postgresql.open() as directory, pytest.raises(UsageProblem, match="backed up by PostgreSQL's own pg_dump"):
        directory.backup(tmp_path / "copy")
    assert not (tmp_path / "copy").exists()

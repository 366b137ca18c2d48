"""A start that cannot be: it ends within ten seconds, says which database is meant and what to do, and no password."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest

from calldex.address import StoreAddress
from calldex.errors import UnreadableInput
from calldex.node import Node
from calldex.settings import Settings
from tests.cluster.sites import refused
from tests.directory.places import PostgresqlPlace
from tests.postgres import Server

pytestmark = pytest.mark.slow
PASSWORD = "not-for-messages"


@pytest.fixture(scope="module")
def keyed(server: Server) -> Server:
    """A server on which the role `keyed` needs a password."""
    server.execute(f"CREATE ROLE keyed LOGIN PASSWORD '{PASSWORD}'")
    server.trust_nobody("keyed")
    return server


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"password": "x" + PASSWORD}, "password authentication failed for user"),
        ({"port": 1}, "Connection refused"),
        ({"host": "nowhere.invalid"}, "failed to resolve host"),
        ({"database": "nothing"}, 'database "nothing" does not exist'),
    ],
)
def test_a_wrong_address(keyed: Server, tmp_path: Path, changes: dict[str, Any], expected: str) -> None:
    """A wrong password, port, host, database."""
    address = keyed.address.set(username="keyed", password=PASSWORD, database="empty").set(**changes)
    code, told = refused(address.render_as_string(hide_password=False), tmp_path, secret=PASSWORD)
    assert (5, True, True) == (code, expected in told, "check the setting `directory`" in told)
    assert f"postgresql://keyed@{address.host}:{address.port}/{address.database}" in told


@contextmanager
def silent() -> Iterator[int]:
    """A port where connections are taken, and nothing is ever said."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        yield listening.getsockname()[1]


@contextmanager
def dropping() -> Iterator[int]:
    """A port that drops the packets of whoever wants to connect: its queue is full, and nobody empties it."""
    with socket.socket() as listening, ExitStack() as queue:
        listening.bind(("127.0.0.1", 0))
        listening.listen(0)
        for _ in range(4):
            one = queue.enter_context(socket.socket())
            one.setblocking(False)
            one.connect_ex(listening.getsockname())
        yield listening.getsockname()[1]


@pytest.mark.parametrize("kind", [silent, dropping])
def test_a_server_that_does_not_answer(kind: object, tmp_path: Path) -> None:
    """Neither one that says nothing nor one that cannot even be reached is waited for."""
    with (silent if kind is silent else dropping)() as port:
        code, told = refused(f"postgresql://ann:{PASSWORD}@127.0.0.1:{port}/calldex", tmp_path, secret=PASSWORD)
        assert (5, True) == (code, "timeout expired" in told)
        code, told = refused(f"clickhouse://ann:{PASSWORD}@127.0.0.1:{port}/cdr", tmp_path, "--store", PASSWORD)
        assert (5, True) == (code, "does not answer in time" in told and "in `store`" in told), told


def test_a_directory_of_a_newer_calldex(postgresql: PostgresqlPlace, tmp_path: Path) -> None:
    """It is left alone."""
    postgresql.execute("UPDATE alembic_version SET version_num = '9999'")
    code, told = refused(postgresql.address, tmp_path)
    assert (7, True) == (code, "has version 9999" in told and "use the Calldex that wrote it, or a newer one" in told)
    assert [("9999",)] == postgresql.execute("SELECT version_num FROM alembic_version")


def test_an_engine_in_this_process_that_cannot_be_used(tmp_path: Path) -> None:
    """A folder that cannot be written is named, with what may be the reason."""
    code, told = refused("chdb:///proc/records", tmp_path, "--store")
    assert (5, True) == (code, "engine cannot use /proc/records: " in told and "may have it open" in told), told


def test_an_engine_that_is_not_installed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Where the extra is missing, the start says so."""
    monkeypatch.setattr("calldex.store.clickhouse.client.find_spec", lambda _: None)
    with pytest.raises(UnreadableInput, match="comes with Calldex's extra `chdb`"):
        Node(Settings(data=tmp_path / "data", store=StoreAddress(f"chdb://{tmp_path}/chdb")))

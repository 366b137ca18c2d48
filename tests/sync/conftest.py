"""A server to read, databases to write to, and pipes between them."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import httpx2
import msgspec
import psycopg
import pytest
from psycopg.rows import dict_row

from calldex.client import Client, Record
from calldex.demo import interactions
from calldex.node import Node
from calldex.records import codec
from calldex.records.record import Cdr
from calldex.settings import Settings
from calldex.sync.config import Config, parse
from calldex.sync.runner import Status, Worker
from calldex.sync.state import StateFile
from tests import postgres
from tests.api.conftest import people, write
from tests.api.serving import Server

pytest.importorskip("dlt")

RECORDS: Final = 300
DAYS: Final = 6


class Source:
    """A running server: what is written to it, and what it shows."""

    def __init__(self, url: str, keys: dict[str, str]) -> None:
        self.url = url
        self.keys = keys

    def post(self, records: Sequence[Cdr]) -> None:
        """Write records."""
        body = b"[%b]" % b",".join(map(codec.encode, records))
        self._post("records", body)

    def delete(self, uuids: Sequence[str]) -> None:
        """Take records back."""
        self._post("deletions", json.dumps({"uuids": list(uuids)}).encode())

    def _post(self, what: str, body: bytes) -> None:
        headers = {"Authorization": f"Bearer {self.keys['ingest']}", "Content-Type": "application/json"}
        reply = httpx2.post(f"{self.url}/api/ingest/v1/{what}", content=body, headers=headers, timeout=60)
        assert 200 == reply.status_code, reply.text
        assert not reply.json()["rejected"], reply.text

    def records(self, **filters: Any) -> dict[str, Record]:
        """Every record, by uuid."""
        with Client(self.url, self.keys["admin"]) as client:
            return {record["uuid"]: record for record in client.cdrs(**filters)}


def some(count: int, seed: int) -> list[Cdr]:
    """Records of the demo."""
    return list(interactions(count, seed=seed))


def without_nulls(records: dict[str, Record]) -> dict[str, Record]:
    """Records as copies have them: what is null is not there."""
    return {
        uuid: {name: value for name, value in record.items() if value is not None} for uuid, record in records.items()
    }


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Source]:
    """A server with 300 records of the last days, for all tests of a module."""
    data = tmp_path_factory.mktemp("source")
    with Node(Settings(data=data, threads=1)) as node:
        keys = people(node)
        write(node, "main", list(interactions(RECORDS, seed=3, end=datetime.now(UTC), days=DAYS)))
    server = Server(data)
    yield Source(server.url, keys)
    server.end()


class Rig:
    """Pipes in a folder. `stopping` makes what they wait by."""

    stopping = threading.Event

    def __init__(self, folder: Path, url: str, key: str, destination: dict[str, Any], **pipe: Any) -> None:
        self.folder = folder
        self.text: dict[str, Any] = {
            "source": {"main": {"url": url, "key": "env:CDR_KEY", "requests_per_minute": 100_000}},
            "destination": {"out": destination},
            "pipe": {"calls": {"from": "main", "to": "out", **pipe}},
        }
        self.environment = {"CDR_KEY": key}

    @property
    def config(self) -> Config:
        """The file."""
        return parse(self.text, self.folder / "sync.toml", self.environment)

    def run(self, verb: str = "run", *given: Any, pipe: str = "calls", **named: Any) -> Status:
        """What one process does with a pipe, as a whole: nothing is kept in it from before."""
        config = self.config
        with StateFile(config.state) as file:
            worker = Worker(config, pipe, file, lock=threading.Lock(), stopping=self.stopping())
            try:
                getattr(worker, verb)(*given, **named)
            finally:
                worker.close()
            return worker.status


class Database:
    """A PostgreSQL database that is written to."""

    def __init__(self, server: postgres.Server, name: str) -> None:
        self._server = server
        self.name = name
        self.url = server.address.set(database=name).render_as_string()

    def rows(self, table: str, where: str = "") -> list[dict[str, Any]]:
        """All rows of a table."""
        with psycopg.connect(self.url, row_factory=dict_row) as connection:
            return list(connection.execute(f"SELECT * FROM calls.{table} {where}".encode()))

    def execute(self, sql: str) -> None:
        """What somebody else does to it."""
        self._server.execute(sql, self.name)

    def records(self) -> dict[str, Record]:
        """The records that it holds."""
        from calldex.sync.destinations.tables import record

        found = self.rows("cdrs")
        assert not any(row["deleted"] for row in found)
        made = {row["uuid"]: record(row) for row in found}
        assert len(found) == len(made), "a record is there twice"
        return made


@pytest.fixture
def database(server: postgres.Server) -> Iterator[Database]:
    """A new database."""
    server.execute("CREATE DATABASE warehouse TEMPLATE empty")
    yield Database(server, "warehouse")
    server.execute("DROP DATABASE warehouse WITH (FORCE)")


def changed(record: Cdr, **values: Any) -> Cdr:
    """A record with other values."""
    return msgspec.structs.replace(record, **values)

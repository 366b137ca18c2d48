"""From one server into another: one's own copy, or the way over."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from calldex.client import Client
from calldex.client.flows import LOOKUPS
from calldex.node import Node
from calldex.settings import Settings
from tests.api.conftest import people
from tests.api.serving import Server
from tests.sync.conftest import Rig, Source, changed, some
from tests.sync.front import Front

pytestmark = pytest.mark.slow


@pytest.fixture
def target(tmp_path: Path) -> Iterator[Source]:
    """A server without records."""
    with Node(Settings(data=tmp_path / "target", threads=1)) as node:
        keys = people(node)
    server = Server(tmp_path / "target")
    yield Source(server.url, keys)
    server.end()


@pytest.mark.parametrize("v2", [True, False], ids=["the list alone", "the feed"])
def test_the_way_over(source: Source, target: Source, tmp_path: Path, v2: bool) -> None:
    """From an endpoint that answers what the contract documents and nothing else, and from one with a feed: records are
    equal, and look-ups name the same; what is corrected and erased follows."""
    with Front(source.url, v2=v2) as front:
        destination = {"kind": "calldex", "url": target.url, "key": "env:TARGET_KEY"}
        pipe = Rig(tmp_path, front.url, source.keys["admin"], destination)
        pipe.environment["TARGET_KEY"] = target.keys["ingest"]
        assert ("", 0) == ((status := pipe.run()).problem, status.failed)
        assert source.records() == target.records()
        with Client(source.url, source.keys["admin"]) as theirs, Client(target.url, target.keys["admin"]) as ours:
            there = {name: theirs.lookup(name) for name in LOOKUPS}
            here = {name: ours.lookup(name) for name in LOOKUPS}
        # The source knows as well what its records named that were erased since.
        assert all(row in there[name] for name in LOOKUPS for row in here[name])
        assert all(here.values())
        agents = {(record["agent_id"], record["agent"]) for record in source.records().values() if record["agent_id"]}
        assert agents <= {(row["id"], row["name"]) for row in here["agents"]}
        (uuid, record) = next(iter(source.records().items()))
        late = [each for each in some(3, seed=31) if each.uuid not in source.records()]
        source.post(late)
        if v2:
            assert "" == pipe.run("backfill", *[str(each.started_at.date()) for each in late[::2]]).problem
        else:
            assert len(late) == pipe.run().changes
        assert source.records() == target.records()
        source.post([changed(late[0], comment="corrected")])
        source.delete([each.uuid for each in late[1:]])
        day = str(late[0].started_at.date())
        pipe.run("backfill", day, str(late[-1].started_at.date())) if v2 else pipe.run()
        assert source.records() == target.records()
        source.delete([late[0].uuid])
        assert (uuid, record) == next(iter(target.records().items()))

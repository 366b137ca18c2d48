"""A client that a public generator makes of the document walks a server: the document is enough to write one."""

from __future__ import annotations

import importlib
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import msgspec
import pytest

from calldex.api.openapi import document
from calldex.demo import interactions
from tests.api.conftest import newest_first
from tests.api.serving import Server, data_of

RECORDS = 300


def generated(folder: Path) -> ModuleType:
    """The client's package, generated without looking at anything but the document."""
    described, settings = folder / "openapi.json", folder / "settings.yaml"
    described.write_bytes(msgspec.json.encode(document()))
    # Kinds of interactions that differ by a dash alone would get one name in an enumeration.
    settings.write_text("literal_enums: true\npost_hooks: []\n")
    command = [sys.executable, "-m", "openapi_python_client", "generate", "--meta", "none"]
    where = ["--path", str(described), "--config", str(settings), "--output-path", str(folder / "generated_client")]
    done = subprocess.run([*command, *where], capture_output=True, text=True, timeout=300, check=False)
    assert 0 == done.returncode, done.stdout + done.stderr
    sys.path.insert(0, str(folder))
    return importlib.import_module("generated_client")


@pytest.mark.slow
def test_a_generated_client_walks_the_records(tmp_path: Path) -> None:
    """Filters with several values, every page by its token, a look-up, a user made and found by an administrator, and
    an error in its type."""
    data, keys = data_of(tmp_path, RECORDS)
    server = Server(data)
    client_module = generated(tmp_path)
    search, agents, users, models = (
        importlib.import_module(f"generated_client.{name}")
        for name in (
            "api.call_detail_records.search_cdr",
            "api.look_ups.look_up_agents",
            "api.look_ups.look_up_users",
            "models",
        )
    )
    with client_module.AuthenticatedClient(base_url=server.url, token=keys["admin"]) as client:
        found, token, pages = [], None, 0
        while True:
            more: dict[str, str] = {} if token is None else {"search_token": token}
            page = search.sync(client=client, disposition="answered,abandoned", per_page=20, **more)
            assert isinstance(page, models.CdrPage)
            found += [str(record.uuid) for record in page.records]
            pages, token = pages + 1, page.search_token
            if not token:
                break
        records = list(interactions(RECORDS, seed=3))
        wanted = [record for record in records if record.disposition in ("answered", "abandoned")]
        assert newest_first(wanted) == found
        assert len(wanted) == page.total
        assert pages > 2
        named = {record.agent for record in records if record.agent}
        assert named <= {each.name for each in agents.sync(client=client)}
        assert {"admin@main.example.com"} == {each.email for each in users.sync(client=client, name="adm")}
        refused = search.sync(client=client, disposition="answerd")
        assert isinstance(refused, models.ErrorReply)
        assert "did you mean 'answered'?" in refused.error
    assert 0 == server.end()[0]

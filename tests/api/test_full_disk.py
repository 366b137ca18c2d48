"""On a full disk searches are answered and noted, as long as the room lasts that was reserved; what is refused says
whether it was kept."""

from __future__ import annotations

import asyncio
import shutil
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from calldex import datadir
from calldex import node as node_module
from calldex.api.app import public
from calldex.directory import AuditFilter, AuditWriter
from calldex.directory import database as directory_database
from calldex.errors import DiskFull
from calldex.node import Node
from calldex.settings import Settings
from tests.api.conftest import Api, Site, opened
from tests.api.test_ingest import GOOD, post
from tests.store.test_durability import small_disk
from tests.store.test_holding import fill_up

SEARCHES = 150


@pytest.mark.slow
def test_searches_go_on_and_are_noted(
    hired: tuple[Path, dict[str, str]], tmp_path: Path, runner: asyncio.Runner, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Pages and look-ups by uuid, all of them in the audit; records that are sent are not kept, and it is said; after a
    restart on the full disk as well."""
    monkeypatch.setattr(directory_database, "RESERVED_BYTES", 1 << 20)
    monkeypatch.setattr(directory_database, "RESERVED_LOG_BYTES", 5 << 20)  # it is folded in at 4 MiB
    with small_disk(tmp_path):
        data, keys = tmp_path / "data", hired[1]
        with opened(*hired, data, runner) as site:
            assert 200 == post(site, [GOOD]).status_code
            site.node.reserve()
            fill_up(tmp_path)
            answered(site)
            refused = [post(site, [GOOD | {"uuid": GOOD["uuid"][:-6] + f"{n:06x}"} for n in range(700)])]
            assert (503, "disk_full") == (refused[0].status_code, refused[0].json()["type"].rpartition(":")[2])
            assert "nothing of this was kept" in refused[0].json()["error"]
            entries = site.node.directory.audit_entries(None, AuditFilter(action="search"), 10 * SEARCHES)
            assert 2 * SEARCHES == len(entries)
        with Node(Settings(data=data, threads=2)) as node:
            answered(Site(node, Api(public(node), runner), keys, [], []))


def answered(site: Site) -> None:
    """Many searches, each of them with the one record that there is."""
    for n in range(SEARCHES):
        for asked in ({"min_duration": str(n % 50)}, {"uuid": GOOD["uuid"]}):
            reply = site.cdr("admin", None, **asked)
            assert 200 == reply.status_code, reply.text
            assert 1 == reply.json()["total"]


def test_what_was_kept_before_it_could_not_be_noted(empty: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """The reply tells that it was."""
    append = AuditWriter.append

    def full(self: AuditWriter, some: Any) -> Any:
        if some:
            raise DiskFull("there is no room left to write the directory database; nothing was changed")
        return append(self, some)

    monkeypatch.setattr(AuditWriter, "append", full)
    reply = post(empty, [GOOD])
    assert (503, True) == (reply.status_code, "is kept nevertheless" in reply.json()["error"])
    monkeypatch.undo()
    assert 1 == post(empty, [GOOD]).json()["unchanged"]


def test_room_is_kept_once(hired: tuple[Path, dict[str, str]], tmp_path: Path) -> None:
    """A second time nothing is written; a backup is not longer for it."""
    data = Path(shutil.copytree(hired[0], tmp_path / "data"))
    with Node(Settings(data=data, threads=1)) as node:
        node.reserve()
        size = (data / "directory.db").stat().st_size
        assert size > directory_database.RESERVED_BYTES // 2
        node.reserve()
        assert size == (data / "directory.db").stat().st_size
        node.directory.backup(tmp_path / "copy.db")
        assert (tmp_path / "copy.db").stat().st_size < size // 4
        assert [] == node.directory.check()


@pytest.mark.slow
def test_what_a_start_leaves_of_the_reserve_is_kept(
    hired: tuple[Path, dict[str, str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However often a full disk is started on, by servers and by commands, and whoever takes what they leave: there is
    room for the next one."""
    monkeypatch.setattr(datadir, "RESERVE_BYTES", 2 << 20)
    monkeypatch.setattr(directory_database, "RESERVED_BYTES", 1 << 20)
    monkeypatch.setattr(directory_database, "RESERVED_LOG_BYTES", 1 << 20)
    with small_disk(tmp_path):
        data = Path(shutil.copytree(hired[0], tmp_path / "data"))
        with Node(Settings(data=data, threads=1)) as node:
            node.reserve()
        fill_wholly(tmp_path)
        for n in range(12):
            with Node(Settings(data=data, threads=1)) as node:
                if n % 2:
                    node.reserve()
                fill_wholly(tmp_path)
                assert [] == node.directory.check()
            fill_wholly(tmp_path)


def fill_wholly(folder: Path) -> None:
    """Leave no byte on a disk."""
    with suppress(OSError), (folder / "ballast").open("ab", buffering=0) as file:
        while file.write(bytes(4096)):
            pass


def test_the_reserve_is_given_free_where_a_quota_hides_that_it_is_needed(
    hired: tuple[Path, dict[str, str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The disk has room, for others."""
    data = Path(shutil.copytree(hired[0], tmp_path / "data"))
    with Node(Settings(data=data, threads=1)) as node:
        node.reserve()
    opened = node_module.open_directory

    def limited(settings: Settings) -> Any:
        if (data / datadir.RESERVE_FILE).exists():
            raise DiskFull("quota")
        return opened(settings)

    monkeypatch.setattr(node_module, "open_directory", limited)
    with Node(Settings(data=data, threads=1)) as node:
        assert [] == node.directory.check()
    assert (data / datadir.RESERVE_FILE).exists()

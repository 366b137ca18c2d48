"""`/api/v2/cdr/exports`: made in the background, kept, fetched by a link, whole or not at all."""

from __future__ import annotations

import asyncio
import hashlib
import inspect
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import httpx
import pytest
from starlette.applications import Starlette

from calldex.access import Permission, Reach
from calldex.address import DirectoryAddress
from calldex.api import export_jobs
from calldex.api.app import public
from calldex.demo import interactions
from calldex.directory import AuditFilter, GroupChanges, UserChanges
from calldex.errors import Unavailable
from calldex.exports import FORMATS
from calldex.exports.request import Made
from calldex.jobs import exports as jobs
from calldex.jobs import making
from calldex.jobs.exports import MOST_STARTS, ExportJobs
from calldex.jobs.files import ExportFiles
from calldex.node import Node
from calldex.search import reader
from calldex.settings import Settings
from tests.api.conftest import Api, Site, opened, write
from tests.examples import first_are_quick

PATH = "/api/v2/cdr/exports"
RECORDS = 300


@pytest.fixture(scope="module")
def made(
    hired: tuple[Path, dict[str, str]], tmp_path_factory: pytest.TempPathFactory, runner: asyncio.Runner
) -> Iterator[Site]:
    """A site with some records, for exports alone."""
    with opened(*hired, tmp_path_factory.mktemp("exports") / "data", runner) as site:
        write(site.node, "main", list(interactions(RECORDS, seed=7)))
        yield site


def asked(site: Site, key: str = "admin", **params: Any) -> dict[str, Any]:
    """An export that is asked for."""
    reply = site.api.request("POST", PATH, params=params, headers=bearer(site, key))
    assert 202 == reply.status_code, reply.text
    assert f"{PATH}/{reply.json()['id']}" == reply.headers["location"]
    found: dict[str, Any] = reply.json()
    return found


def bearer(site: Site, key: str = "admin") -> dict[str, str]:
    """The headers that show a key."""
    return {"Authorization": f"Bearer {site.keys[key]}"}


def exporting(site: Site) -> ExportJobs:
    """What makes the exports of a site."""
    assert isinstance(site.api.app, Starlette)
    found: ExportJobs = site.api.app.state.exporting
    return found


def settle(site: Site) -> None:
    """Make all that is asked for."""
    site.api.runner.run(exporting(site).settled())


def shown(site: Site, id_: str, key: str = "admin") -> dict[str, Any]:
    """What is told of an export."""
    reply = site.api.get(f"{PATH}/{id_}", site.keys[key])
    assert 200 == reply.status_code, reply.text
    found: dict[str, Any] = reply.json()
    return found


def done(site: Site, key: str = "admin", **params: Any) -> dict[str, Any]:
    """An export that is made."""
    id_ = asked(site, key, **params)["id"]
    settle(site)
    found = shown(site, id_, key)
    assert ("done", None) == (found["state"], found["reason"])
    return found


def fetched(site: Site, export: dict[str, Any], method: str = "GET", **headers: str) -> httpx.Response:
    """The reply of its link, to whom has nothing else."""
    return site.api.request(method, export["link"], headers={"Accept-Encoding": "identity", **headers})


def actions(site: Site, action: str) -> list[Any]:
    """What the audit has of an action, newest first."""
    return site.node.directory.audit_entries(None, AuditFilter(action=action), 100)


@pytest.mark.parametrize("name", FORMATS)
def test_it_is_what_is_streamed(made: Site, name: str) -> None:
    """Byte for byte, with its size and digest; those of a stream are told nowhere."""
    export = done(made, format=name, type="inbound")
    streamed = made.api.get("/api/v2/cdr/export", made.keys["admin"], format=name, type="inbound")
    reply = fetched(made, export)
    assert streamed.content == reply.content
    assert (export["bytes"], export["records"]) == (len(reply.content), export["total"])
    assert export["sha256"] == hashlib.sha256(reply.content).hexdigest() == reply.headers["etag"].strip('"')
    assert FORMATS[name].media_type == reply.headers["content-type"]


def test_parameters_may_be_a_json_object(made: Site) -> None:
    """As for a search."""
    body = {"format": "csv", "fields": ["uuid"], "type": "inbound"}
    reply = made.api.request("POST", PATH, json=body, headers=bearer(made))
    settle(made)
    assert {"format": "csv", "fields": "uuid", "type": "inbound", "timezone": "UTC"} == reply.json()["parameters"]
    assert fetched(made, shown(made, reply.json()["id"])).text.startswith("uuid\r\n")


def test_parts_of_a_file(made: Site) -> None:
    """Byte ranges, also if it is still the same; its head alone; nothing where it is known already."""
    export = done(made)
    whole = fetched(made, export).content
    part = fetched(made, export, Range="bytes=10-19")
    assert (206, whole[10:20]) == (part.status_code, part.content)
    tag = part.headers["etag"]
    assert not tag.startswith("W/")
    assert 206 == fetched(made, export, **{"Range": "bytes=5-", "If-Range": tag}).status_code
    assert 200 == fetched(made, export, **{"Range": "bytes=5-", "If-Range": '"other"'}).status_code
    head = fetched(made, export, "HEAD")
    assert (str(len(whole)), b"") == (head.headers["content-length"], head.content)
    assert 304 == fetched(made, export, **{"If-None-Match": tag}).status_code
    assert 416 == fetched(made, export, Range="bytes=999999999-").status_code


def test_a_link_is_worth_nothing_else(made: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not for another export, not changed, not without it, not for long; and a key opens no file."""
    one, two = done(made), done(made)
    link = one["link"].partition("?")[2]
    for wrong in (f"{PATH}/{two['id']}/file?{link}", one["link"][:-2] + "AA", f"{PATH}/{one['id']}/file"):
        assert 400 == made.api.get(wrong).status_code
    assert 400 == made.api.get(f"{PATH}/{one['id']}/file", made.keys["admin"]).status_code
    assert 401 == made.api.get(f"{PATH}/{one['id']}").status_code
    monkeypatch.setattr(export_jobs, "now_ms", lambda: 2**50)
    assert 410 == fetched(made, one).status_code


class Interrupted(BaseException):
    """What happens to a process that is killed: nothing of ours handles it."""


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Batches of a few records, each of which is kept."""
    monkeypatch.setattr(inspect.unwrap(reader.Search.stream), "__defaults__", (40,))
    monkeypatch.setattr(making, "SAVE_S", 0.0)


def interrupted_after(monkeypatch: pytest.MonkeyPatch, batches: int) -> None:
    """The process that makes files ends in one of them, after so many batches."""
    add, left = making.Making.add, iter(range(batches))

    def added(self: making.Making, batch: reader.Batch) -> None:
        if next(left, None) is None:
            raise Interrupted
        add(self, batch)

    monkeypatch.setattr(making.Making, "add", added)


def counting(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many records are written from now on, batch by batch."""
    add, counted = making.Making.add, list[int]()

    def added(self: making.Making, batch: reader.Batch) -> None:
        counted.append(batch.count)
        add(self, batch)

    monkeypatch.setattr(making.Making, "add", added)
    return counted


@pytest.mark.parametrize("name", first_are_quick(FORMATS))
@pytest.mark.usefixtures("small")
def test_a_restart_goes_on(
    hired: tuple[Path, dict[str, str]], tmp_path: Path, runner: asyncio.Runner, name: str
) -> None:
    """As of the same commit, whatever was written meanwhile: the file is that of an unbroken making."""
    records = list(interactions(200, seed=9))
    with opened(*hired, tmp_path / "data", runner) as site:
        write(site.node, "main", records)
        unbroken = fetched(site, done(site, format=name, fields="uuid,updated_at,type,legs")).content
        id_ = asked(site, format=name, fields="uuid,updated_at,type,legs")["id"]
        with pytest.MonkeyPatch.context() as broken:
            interrupted_after(broken, 3)
            with pytest.raises(Interrupted):
                settle(site)
        write(site.node, "main", list(interactions(50, seed=10)))
    with Node(Settings(data=tmp_path / "data", threads=2)) as node:
        again = Site(node, Api(public(node), runner), site.keys, [], [])
        kept = node.directory.export(id_)
        assert ("running", 200) == (kept.state, kept.total)
        half = tmp_path / "data" / "exports" / f"{id_}.half"
        with half.open("ab") as file:
            file.write(b"what was written and not kept" * 50_000)
        with pytest.MonkeyPatch.context() as watched:
            counted = counting(watched)
            settle(again)
        assert (200 - kept.records if FORMATS[name].resumes else 200) == sum(counted)
        assert unbroken == fetched(again, shown(again, id_)).content
        assert not half.exists()


DYING: Final = """
import os, signal
from calldex.jobs import making
from calldex.cli import main
making.Making.add = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
main(prog_name="calldex")
"""


@pytest.mark.slow
def test_one_that_ends_the_server_is_given_up(
    hired: tuple[Path, dict[str, str]], tmp_path: Path, runner: asyncio.Runner
) -> None:
    """When the server was killed by it three times, each at the start that tried it again; what stops well does not
    count."""
    data = tmp_path / "data"
    with opened(*hired, data, runner) as site:
        write(site.node, "main", list(interactions(20, seed=9)))
        id_ = asked(site)["id"]
    for _ in range(MOST_STARTS):
        with Node(Settings(data=data, threads=2)) as node:
            assert ("queued" if not _ else "running") == node.directory.export(id_).state
        serve = [sys.executable, "-c", DYING, "serve", "--data", str(data), "--port", "0"]
        assert -signal.SIGKILL == subprocess.run(serve, capture_output=True, timeout=120, check=False).returncode
    with Node(Settings(data=data, threads=2)) as node:
        again = Site(node, Api(public(node), runner), site.keys, [], [])
        settle(again)
        found = shown(again, id_)
        assert ("failed", None) == (found["state"], found["link"])
        assert "the server ended 3 times while it was made" in found["reason"]
        assert [] == list((data / "exports").glob("*"))


@pytest.mark.slow
@pytest.mark.usefixtures("small")
def test_a_stop_is_in_the_audit_and_nothing_is_lost(made: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that stops well ends what it makes, tells so, and makes it at its next start."""
    id_ = asked(made)["id"]
    begun, stopped = threading.Event(), threading.Event()
    add = making.Making.add

    def added(self: making.Making, batch: reader.Batch) -> None:
        begun.set()
        stopped.wait(10)
        add(self, batch)

    async def stop() -> None:
        running = asyncio.create_task(exporting(made).run())
        await asyncio.to_thread(begun.wait, 10)
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        stopped.set()

    monkeypatch.setattr(making.Making, "add", added)
    made.api.runner.run(stop())
    entry = actions(made, "export")[0]
    assert (id_, "the server stopped") == (entry.target, entry.detail["ended"])
    settle(made)
    assert RECORDS == shown(made, id_)["records"]


def change_rights(site: Site, how: str) -> None:
    """Take something away from the analyst."""
    directory = site.node.directory
    match how:
        case "key":
            directory.revoke_key(site.keys["analyst"])
        case "user":
            directory.disable_user("analyst@main.example.com")
        case "reach":
            directory.change_user("analyst@main.example.com", UserChanges(role="agent"))
        case "export":
            directory.change_user("analyst@main.example.com", UserChanges(role="hardware_phone"))


REASONS = {
    "key": "is not valid any more",
    "user": "is not valid any more",
    "reach": "what its maker may see has changed",
    "export": "lost the permission to export",
}


@pytest.mark.parametrize("how", REASONS)
@pytest.mark.parametrize("when", ["waiting", "done", "forgotten"])
def test_rights_that_changed(
    hired: tuple[Path, dict[str, str]], tmp_path: Path, runner: asyncio.Runner, how: str, when: str
) -> None:
    """What somebody may not see any more is not made, and not fetched: 409, and the file is gone, also if nobody comes
    for it."""
    with opened(*hired, tmp_path / "data", runner) as site:
        write(site.node, "main", list(interactions(20, seed=9)))
        export = asked(site, "analyst") if when == "waiting" else done(site, "analyst")
        change_rights(site, how)
        if when == "done":
            assert 409 == fetched(site, export).status_code
        settle(site)
        kept = site.node.directory.export(export["id"])
        assert ("failed", True) == (kept.state, REASONS[how] in str(kept.reason))
        assert [] == list((tmp_path / "data" / "exports").glob("*"))
        if when != "waiting":
            assert 409 == fetched(site, export).status_code


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize(
    ("failure", "told"),
    [(OSError(28, "No space left on device"), "no room left"), (OSError(5, "Input/output error"), "Input/output")],
)
def test_a_disk_that_is_full(made: Site, monkeypatch: pytest.MonkeyPatch, failure: OSError, told: str) -> None:
    """It fails with the reason, and nothing of the file is left; the audit tells what left until then."""
    id_ = asked(made)["id"]
    add, left = Made.add, iter(range(2))

    def full(self: Made, records: bytes, count: int) -> bytes:
        if next(left, None) is None:
            raise failure
        return add(self, records, count)

    monkeypatch.setattr(Made, "add", full)
    settle(made)
    found = shown(made, id_)
    assert ("failed", None, True) == (found["state"], found["link"], told in found["reason"])
    assert [] == list((made.node.settings.data / "exports").glob(f"{id_}*"))
    assert (id_, 80) == (actions(made, "export")[0].target, actions(made, "export")[0].rows)


@pytest.mark.usefixtures("small")
def test_one_that_is_deleted_on_the_way(made: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its making ends, and nothing of it is left."""
    id_ = asked(made)["id"]
    add = making.Making.add

    def added(self: making.Making, batch: reader.Batch) -> None:
        made.node.directory.remove_export(id_)
        add(self, batch)

    monkeypatch.setattr(making.Making, "add", added)
    settle(made)
    assert 404 == made.api.get(f"{PATH}/{id_}", made.keys["admin"]).status_code
    assert [] == list((made.node.settings.data / "exports").glob(f"{id_}*"))


def test_what_may_pass_is_tried_again(made: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """A store that starts, a directory that is away: the export waits."""
    id_ = asked(made)["id"]
    begun, left = making.Making.__init__, iter(range(2))

    def refused(self: making.Making, *given: Any, **named: Any) -> None:
        if next(left, None) is not None:
            raise Unavailable("not now", retry_after=1)
        begun(self, *given, **named)

    monkeypatch.setattr(making.Making, "__init__", refused)
    monkeypatch.setattr(jobs, "LONGEST_PAUSE_S", 0.0)
    settle(made)
    assert "done" == shown(made, id_)["state"]


def test_nobody_knows_of_more_than_they_may(made: Site) -> None:
    """Who manages access, within a reach, learns of no export whose maker sees more, nor how many records it has, and
    does not delete it; of one whose maker sees no more they do."""
    directory = made.node.directory
    granted: dict[str, tuple[Permission, ...]] = {
        "small": ("see_cdrs", "export", "manage_access"),
        "smaller": ("see_cdrs", "export"),
    }
    for name, permissions in granted.items():
        directory.put_group("main", None, GroupChanges(name=name, permissions=permissions, reach=Reach(queues=(5,))))
        directory.add_user(f"{name}@main.example.com", name, groups=(name,))
        made.keys[name] = directory.create_key(f"{name}@main.example.com", ("read", "manage"))
    larger, smaller = done(made, "analyst"), done(made, "smaller")
    assert [smaller["id"]] == [each["id"] for each in made.api.get(PATH, made.keys["small"]).json()["exports"]]
    for export, status in ((larger, 404), (smaller, 204)):
        reply = made.api.request("DELETE", f"{PATH}/{export['id']}", headers=bearer(made, "small"))
        assert status == reply.status_code
    assert 404 == made.api.get(f"{PATH}/{larger['id']}", made.keys["small"]).status_code
    assert 200 == fetched(made, larger).status_code


def test_whose_they_are(made: Site) -> None:
    """Everybody has their own; who manages access sees all of the account, and fetches none of others'."""
    own, others = done(made, "supervisor"), done(made, "analyst", cli="4477")
    listed = made.api.get(PATH, made.keys["supervisor"]).json()["exports"]
    assert {"supervisor@main.example.com"} == {each["made_by"] for each in listed}
    assert own["id"] in {each["id"] for each in listed}
    assert 404 == made.api.get(f"{PATH}/{others['id']}", made.keys["supervisor"]).status_code
    assert 404 == made.api.request("DELETE", f"{PATH}/{others['id']}", headers=bearer(made, "supervisor")).status_code
    manager = made.node.directory.create_key("admin@main.example.com", ("manage",))
    (seen,) = [each for each in made.api.get(PATH, manager).json()["exports"] if each["id"] == others["id"]]
    assert ("analyst@main.example.com", None, "4 digits") == (seen["made_by"], seen["link"], seen["parameters"]["cli"])
    for key in ("phone", "ingest"):
        assert 403 == made.api.get(PATH, made.keys[key]).status_code
        assert 403 == made.api.request("POST", PATH, headers=bearer(made, key)).status_code
    assert 404 == made.api.get(f"{PATH}/{own['id']}", made.keys["other"]).status_code
    deleted = made.api.request("DELETE", f"{PATH}/{own['id']}", headers=bearer(made, "supervisor"))
    assert 204 == deleted.status_code
    assert 404 == fetched(made, own).status_code
    settle(made)
    assert not (made.node.settings.data / "exports" / own["id"]).exists()


def test_the_audit_has_all_of_it(made: Site) -> None:
    """Asked for, made, fetched, deleted: who, which one, how many records."""
    export = done(made, "analyst", type="inbound")
    fetched(made, export)
    made.api.request("DELETE", f"{PATH}/{export['id']}", headers=bearer(made, "analyst"))
    for action, rows in (
        ("export_added", None),
        ("export", export["records"]),
        ("export_fetched", export["records"]),
        ("export_removed", None),
    ):
        entry = actions(made, action)[0]
        assert ("analyst@main.example.com", export["id"], rows) == (entry.actor, entry.target, entry.rows)
    assert "inbound" == actions(made, "export_added")[0].detail["type"]


def test_one_user_has_so_many(empty: Site) -> None:
    """One more that waits is refused, for them alone; so is one more that is kept."""
    for _ in range(5):
        asked(empty)
    assert 429 == empty.api.request("POST", PATH, headers=bearer(empty)).status_code
    asked(empty, "analyst")
    settle(empty)
    asked(empty)


def test_what_has_expired_goes(made: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """After the days that it told, with its file; and so do files that are of none."""
    export = done(made)
    folder = made.node.settings.data / "exports"
    (folder / "abandoned.half").write_bytes(b"")
    monkeypatch.setattr(jobs, "now_ms", lambda: 2**50)
    settle(made)
    assert 404 == made.api.get(f"{PATH}/{export['id']}", made.keys["admin"]).status_code
    assert [] == list(folder.iterdir())


def test_a_file_that_is_lost(made: Site) -> None:
    """As after a restored backup: 410 says so, and what to do."""
    export = done(made)
    (made.node.settings.data / "exports" / export["id"]).unlink()
    assert 410 == fetched(made, export).status_code
    assert "ask for it again" in shown(made, export["id"])["reason"]


def test_another_node_has_it(made: Site) -> None:
    """It tells which: 421."""
    export = done(made)
    made.node.directory.change_export(export["id"], among=("done",), node="paris-1")
    reply = fetched(made, export)
    assert (421, True) == (reply.status_code, "paris-1" in reply.text)


@pytest.mark.parametrize("params", [{"format": "xls"}, {"fields": "nothing"}, {"page": "2"}])
def test_what_is_wrong_is_told_at_once(made: Site, params: dict[str, str]) -> None:
    """Not when it is made."""
    assert 400 == made.api.request("POST", PATH, params=params, headers=bearer(made)).status_code


def test_nobody_is_kept_waiting_by_another(made: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever asks for many has one made at a time; another one's is made beside it."""
    many = [asked(made)["id"] for _ in range(3)]
    other = asked(made, "analyst")["id"]
    gate, half, begun = threading.Event(), ExportFiles.half, list[str]()

    def held(self: ExportFiles, id_: str) -> Path:
        begun.append(id_)
        if id_ in many:
            gate.wait(10)
        return half(self, id_)

    async def made_beside() -> None:
        await exporting(made).look()
        for _ in range(1000):
            if made.node.directory.export(other).state == "done":
                break
            await asyncio.sleep(0.01)
        state = made.node.directory.export(other).state
        waiting = [id_ for id_ in many if id_ in begun]
        gate.set()
        await exporting(made).settled()
        assert ("done", 1) == (state, len(waiting))

    monkeypatch.setattr(ExportFiles, "half", held)
    made.api.runner.run(made_beside())
    assert ["done"] * 3 == [shown(made, id_)["state"] for id_ in many]


def test_a_node_has_a_name_where_there_are_several(tmp_path: Path) -> None:
    """Of its own, and the same after a restart; alone it has none."""
    shared = DirectoryAddress("postgresql://nobody@localhost/none")
    names = []
    for folder in ("one", "two", "one"):
        (tmp_path / folder).mkdir(exist_ok=True)
        names.append(ExportFiles(Settings(data=tmp_path / folder, directory=shared)).name())
    assert names[0] == names[2] != names[1]
    assert "" == ExportFiles(Settings(data=tmp_path)).name()

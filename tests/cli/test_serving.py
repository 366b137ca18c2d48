"""The program as its users run it: several processes on one data directory."""

from __future__ import annotations

import gzip
import re
import resource
import signal
import socket
import stat
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import msgspec
import pytest

from tests.cli.tools import SECONDS, calldex, ended, jsonl, process, serving

pytestmark = pytest.mark.slow


def test_commands_work_through_the_server(people: Path, tmp_path: Path) -> None:
    """Import, search, keys, check and backup while a server owns the directory; a key works in the API at once, and
    the backup taken meanwhile holds the records."""
    (tmp_path / "calls.gz").write_bytes(gzip.compress(jsonl(3000)))
    with serving("serve", data=people) as (url, _):
        assert stat.S_IRUSR | stat.S_IWUSR == stat.S_IMODE((people / "calldex.sock").stat().st_mode)
        code, out, err = ended(process("import", tmp_path / "calls.gz", data=people))
        assert (0, "", True) == (code, err, "3,000" in out)
        code, key, err = ended(process("keys", "create", "ana@example.com", data=people))
        assert (0, "") == (code, err)
        found = httpx.get(f"{url}/api/v2/cdr", params={"key": key.strip(), "per_page": 1})
        assert (200, 3000) == (found.status_code, found.json()["total"])
        by_command = calldex("search", "--limit", 1, "--format", "jsonl", data=people)
        assert found.json()["records"] == [msgspec.json.decode(by_command.stdout)]
        assert 0 == calldex("check", data=people).exit_code
        assert 0 == calldex("backup", tmp_path / "b", data=people).exit_code
        assert 1 == calldex("import", "--source", "none", tmp_path / "calls.gz", data=people).exit_code
        assert 6 == calldex("restore", tmp_path / "b", data=people).exit_code
    assert 0 == calldex("restore", tmp_path / "b", data=tmp_path / "new").exit_code
    assert "3,000 records match" in calldex("search", data=tmp_path / "new").stderr


def test_a_second_server_is_refused(people: Path) -> None:
    """The owner is named; exit code 6, without a traceback."""
    with serving("serve", data=people):
        code, out, err = ended(process("serve", "--port", 0, data=people))
    assert (6, "") == (code, out)
    assert re.search(r"Error: the data directory .* is in use by process \d+", err)
    assert "Traceback" not in err


def test_a_reload_ends_nothing(data: Path) -> None:
    """SIGHUP, by which systemd reloads, leaves a server without a certificate as it is, and one that is still starting;
    for systemd an end by it would be a wanted one, after which nothing is started again."""
    server = process("serve", "--port", 0, data=data)
    assert server.stdout is not None
    assert server.stderr is not None
    assert b'"event":"starting"' in server.stderr.readline()
    server.send_signal(signal.SIGHUP)
    found = re.search(rb"http://\S+:\d+", server.stdout.readline())
    assert found is not None
    server.send_signal(signal.SIGHUP)
    assert 200 == httpx.get(f"{found[0].decode()}/healthz").status_code
    server.send_signal(signal.SIGTERM)
    assert 0 == ended(server)[0]


def test_a_taken_port_is_told(data: Path) -> None:
    """Exit code 8."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        code, _, err = ended(process("serve", "--port", port, data=data))
    assert (8, True) == (code, f"port {port} of 127.0.0.1 is taken" in err)
    assert "Traceback" not in err


def test_the_demo_works_as_it_says(data: Path) -> None:
    """Its key opens its records, which go up to now, and plays their recordings; the second start serves the same ones
    with another key, a demo of another seed or end is refused, and one that was interrupted is completed."""
    uuids = []
    keys = set()
    for words in (("--records", 500, "--seed", 5), ()):
        with serving("demo", *words, data=data) as (url, printed):
            key = re.search(r"cdx_\S+", printed)
            assert key is not None
            keys.add(key[0])
            headers = {"Authorization": f"Bearer {key[0]}"}
            reply = httpx.get(f"{url}/api/v2/cdr", headers=headers)
            recorded = httpx.get(f"{url}/api/v2/cdr?per_page=500", headers=headers).json()["records"]
            heard = next(record["uuid"] for record in recorded if record["recording"])
            recording = httpx.get(f"{url}/recordings/{heard}.mp3", headers=headers)
            assert (200, "audio/mpeg") == (recording.status_code, recording.headers["content-type"]), recording.text
            uuids.append([record["uuid"] for record in reply.json()["records"]])
            newest = datetime.fromisoformat(reply.json()["records"][0]["started_at"])
            assert timedelta(0) < datetime.now(UTC) - newest < timedelta(days=7)
    assert (500, 2) == (len(uuids[0]), len(keys))
    assert uuids[0] == uuids[1]
    other = calldex("demo", "--seed", 6, "--port", 0, data=data)
    assert (1, True) == (other.exit_code, "holds a demo of 500 records with seed 5" in other.stderr)
    other = calldex("demo", "--end", "2026-09-30", "--port", 0, data=data)
    assert (1, True) == (other.exit_code, "that ends with" in other.stderr)
    wrong = calldex("demo", "--end", "yesterday", "--port", 0, data=data)
    assert (2, True) == (wrong.exit_code, "neither `today` nor a date as 2026-09-30" in wrong.stderr)
    (data / "demo.json").write_text('{"records": 500, "seed": 5, "complete": false}')
    for lost in (*data.glob("ledger.*"), *data.glob("columns.*"), *data.glob("directory.*")):
        lost.unlink()
    with serving("demo", data=data):
        assert "500 records match" in calldex("search", data=data).stderr


def test_a_demo_does_not_mix_with_data(people: Path) -> None:
    """A directory that is in use for something else is refused."""
    result = calldex("demo", "--records", 10, "--port", 0, data=people)
    assert (1, True) == (result.exit_code, "holds data that is no demo" in result.stderr)


@pytest.mark.parametrize("served", [False, True])
def test_an_interrupted_import_keeps_what_it_committed(served: bool, people: Path) -> None:
    """Ctrl-C ends it with 130 and one line; what was committed stays, the store is sound, and the directory is free (or
    its server unimpressed)."""
    if served:
        with serving("serve", data=people):
            _interrupt_an_import(people)
    else:
        _interrupt_an_import(people)


def kept(data: Path, sent: bytes) -> int:
    """How many records there are: the first ones of what was sent, and no others."""
    found = calldex("search", "--all", "--format", "jsonl", data=data).stdout.splitlines()
    assert set(sent.decode().splitlines()[: len(found)]) == set(found)
    return len(found)


def _interrupt_an_import(data: Path) -> None:
    content = jsonl(25_000)
    importing = process("import", "--format", "jsonl", "-", data=data)
    assert importing.stdin is not None
    importing.stdin.write(content)
    importing.stdin.flush()
    time.sleep(4)
    importing.send_signal(signal.SIGINT)
    assert 130 == importing.wait(SECONDS)
    assert "Error: interrupted\n" == ended(importing)[2]
    assert 10_000 <= kept(data, content) <= 25_000
    assert 0 == calldex("check", data=data).exit_code


def test_a_killed_owner_is_no_owner(people: Path) -> None:
    """What a killed server leaves behind, its socket file among it, is in nobody's way."""
    server = process("serve", "--port", 0, data=people)
    assert server.stdout is not None
    assert b"until Ctrl-C" in server.stdout.readline()
    server.kill()
    ended(server)
    assert (people / "calldex.sock").exists()
    assert 0 == calldex("users", "list", data=people).exit_code


def test_a_full_disk_is_told(data: Path) -> None:
    """Exit code 4 and one line of error; what was committed before stays, and nothing else."""
    content = jsonl(25_000)
    importing = process("import", "--format", "jsonl", "-", data=data)
    limit = 8_000_000
    resource.prlimit(importing.pid, resource.RLIMIT_FSIZE, (limit, limit))
    code, out, err = ended(importing, content)
    assert (4, "") == (code, out)
    announced, told = err.splitlines()
    assert announced.endswith("is a new data directory.")
    said = re.fullmatch(
        r"Error: the ledger .*cannot be written: .*; nothing of this was kept; before that, ([12]\d,\d{3}) pieces of"
        " this import were committed, and are kept",
        told,
    )
    assert said is not None, told
    assert int(said[1].replace(",", "")) == kept(data, content) < 25_000
    assert 0 == calldex("check", data=data).exit_code


def test_a_backup_of_a_busy_server_is_whole_commits(people: Path, tmp_path: Path) -> None:
    """Backups taken while an import runs end before it does, and each holds what was committed until then."""
    content = jsonl(40_000)
    found = []
    with serving("serve", data=people):
        importing = process("import", "--format", "jsonl", "-", data=people)
        assert importing.stdin is not None
        importing.stdin.write(content[: len(content) * 3 // 4])
        for name in ("one", "two"):
            assert 0 == calldex("backup", tmp_path / name, data=people).exit_code
        assert importing.poll() is None
        assert 0 == ended(importing, content[len(content) * 3 // 4 :])[0]
    for name in ("one", "two"):
        assert 0 == calldex("restore", tmp_path / name, data=tmp_path / f"new {name}").exit_code
        assert 0 == calldex("check", data=tmp_path / f"new {name}").exit_code
        found.append(kept(tmp_path / f"new {name}", content))
    assert found == sorted(found)

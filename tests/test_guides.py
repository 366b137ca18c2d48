"""What the guides tell to write into files does what they say, in surroundings as these programs make them."""

from __future__ import annotations

import csv
import re
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest

from tests.patience import patient

ROOT = Path(__file__).parents[1]
PRODUCTION = (ROOT / "docs/guides/production.md").read_text()
ASTERISK = (ROOT / "docs/guides/asterisk.md").read_text()
SAMPLE = ROOT / "tests/fixtures/asterisk-22"
SECRET = "cdx_SECRET"


def block(first: str) -> str:
    """The one block of the production guide that begins like this."""
    (found,) = re.findall(rf"^```text\n({re.escape(first)}.*?)^```$", PRODUCTION, re.MULTILINE | re.DOTALL)
    return str(found)


@pytest.mark.parametrize("works", [True, False])
def test_fourteen_nights_are_kept(works: bool, tmp_path: Path) -> None:
    """As cron runs the line, with no path but the system's: today's backup is made and fourteen nights are left,
    beside the backups of upgrades; where it fails, nothing is removed."""
    command = tmp_path / "calldex"
    command.write_text("#!/bin/sh\n" + ("mkdir -p $2" if works else "exit 4"))
    command.chmod(0o755)
    backups = tmp_path / "backups"
    nights = [(datetime.now(UTC).date() - timedelta(days)).isoformat() for days in range(1, 20)]
    for name in (*nights, "upgrade-2026-01-01"):
        (backups / name).mkdir(parents=True)
    lines = block("CALLDEX_DATA").splitlines()
    told = re.fullmatch(r"\d+ \d+ \* \* \* calldex (.*)", lines[1])
    assert told is not None
    assert "%" not in told[1].replace("\\%", "")
    script = told[1].replace("\\%", "%").replace("/var/lib/calldex/backups", str(backups))
    script = script.replace("/opt/calldex/bin/calldex", str(command))
    ran = subprocess.run(["/bin/sh", "-c", script], env={"PATH": "/usr/bin:/bin", "TZ": "UTC"}, check=False)
    assert works == (0 == ran.returncode)
    left = sorted(path.name for path in backups.iterdir())
    if works:
        assert (15, "upgrade-2026-01-01") == (len(left), left.pop())
        assert sorted(nights[:13]) == left[:13]
        assert date.fromisoformat(left[13]) > date.fromisoformat(nights[0])
    else:
        assert sorted([*nights, "upgrade-2026-01-01"]) == left


def free() -> int:
    """A port that nobody has now."""
    with socket.create_server(("127.0.0.1", 0)) as found:
        return int(found.getsockname()[1])


@contextmanager
def running(command: list[str], port: int, folder: Path) -> Iterator[None]:
    """A proxy, as soon as it listens; what it says goes to a file."""
    with (folder / "said.log").open("wb") as said:
        proxy = subprocess.Popen(
            command, cwd=folder, env={"PATH": "/usr/sbin:/usr/bin", "HOME": str(folder)}, stderr=said
        )
        try:
            deadline = time.monotonic() + patient(20)
            while True:
                try:
                    socket.create_connection(("127.0.0.1", port)).close()
                    break
                except OSError:
                    assert proxy.poll() is None, (folder / "said.log").read_text()
                    assert time.monotonic() < deadline
                    time.sleep(0.05)
            yield
        finally:
            proxy.terminate()
            proxy.wait()


def nginx(folder: Path, port: int, behind: int) -> list[str]:
    """What starts nginx with the guide's site, without TLS."""
    site = block("log_format").replace("443 ssl", f"127.0.0.1:{port}").replace(":8080", f":{behind}")
    site = re.sub(r".*ssl_certificate.*\n", "", site).replace("/var/log/nginx", str(folder))
    paths = "".join(f"{name}_temp_path {folder};" for name in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
    (folder / "conf").write_text(f"pid {folder}/pid; daemon off; events {{}} http {{ access_log off; {paths}\n{site}}}")
    return ["nginx", "-e", str(folder / "first.log"), "-c", str(folder / "conf")]


def caddy(folder: Path, port: int, behind: int) -> list[str]:
    """What starts Caddy with the guide's site, without TLS."""
    site = (
        block("{\n    log").replace("cdr.example.com {", f"http://127.0.0.1:{port} {{").replace(":8080", f":{behind}")
    )
    (folder / "Caddyfile").write_text(site.replace("{", "{\n    admin off", 1))
    return ["caddy", "run", "--config", "Caddyfile"]


@pytest.mark.parametrize("proxy", [nginx, caddy], ids=["nginx", "caddy"])
def test_proxies_hide_and_log_no_keys(proxy: Callable[[Path, int, int], list[str]], tmp_path: Path) -> None:
    """What is for machines of one's own is not there, the client's address is told by the proxy alone, and no log has
    a key or a number from a query, also when nobody answers behind it."""
    if shutil.which(proxy.__name__, path="/usr/sbin:/usr/bin") is None:
        pytest.skip(f"{proxy.__name__} is not installed")
    port = free()
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(patient(10))
        command = proxy(tmp_path, port, server.getsockname()[1])
        with running(command, port, tmp_path):
            for path in ("/metrics", "/readyz", "/%6detrics", "//metrics"):
                assert b" 404 " in asked(port, path)
            with socket.create_connection(("127.0.0.1", port)) as client:
                client.sendall(
                    request("/api/v2/cdr?per_page=1", "Forwarded: for=192.0.2.1\r\nX-Forwarded-For: 192.0.2.2")
                )
                head = accepted(server)
            assert b"x-forwarded-for: 127.0.0.1\r\n" in head
            assert b"192.0.2." not in head.replace(b"192.0.2.2, ", b"")
            server.close()
            assert b" 502 " in asked(port, f"/api/v2/cdr?key={SECRET}&cli=447700900123")
    written = [path.read_text() for path in tmp_path.glob("*.log")]
    assert "/api/v2/cdr" in "".join(written)
    for text in written:
        assert SECRET not in text
        assert "447700900123" not in text


def request(path: str, more: str = "X-None: none") -> bytes:
    """A request by a client that spoofs."""
    return f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n{more}\r\n\r\n".encode()


def asked(port: int, path: str) -> bytes:
    """The beginning of the reply."""
    with socket.create_connection(("127.0.0.1", port), timeout=patient(10)) as client:
        client.sendall(request(path))
        return client.recv(4096)


def accepted(server: socket.socket) -> bytes:
    """The head that comes behind the proxy, in lower case."""
    behind, _ = server.accept()
    with behind:
        head = b""
        while b"\r\n\r\n" not in head:
            head += behind.recv(65536)
        behind.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
    return head.lower()


@pytest.mark.slow
def test_from_master_csv_to_the_first_search(tmp_path: Path) -> None:
    """The commands of the Asterisk guide work as they stand, one after the other, and the export of a database makes
    the calls that `Master.csv` makes."""
    (tmp_path / "log" / "cdr-csv").mkdir(parents=True)
    shutil.copy(SAMPLE / "Master.csv", tmp_path / "log" / "cdr-csv")
    shutil.copy(SAMPLE / "queue_log", tmp_path / "log")
    command = tmp_path / "calldex"
    command.write_text(f'#!/bin/sh\nexec {sys.executable} -m calldex "$@"\n')
    command.chmod(0o755)
    script = "\n".join(re.findall(r"^```sh\n(.*?)^```$", ASTERISK, re.MULTILINE | re.DOTALL))
    selected = re.search(r"SELECT (.*?) FROM cdr", ASTERISK, re.DOTALL)
    columns = re.search(r"columns=(\S+)", script)
    assert selected is not None
    assert columns is not None
    names = "accountcode src dst dcontext clid channel dstchannel lastapp lastdata start answer end duration billsec"
    names += " disposition amaflags uniqueid userfield peeraccount linkedid sequence"
    assert selected[1].replace("calldate", "start").split() == columns[1].replace(",", ", ").split()
    with (SAMPLE / "Master.csv").open() as rows, (tmp_path / "cdr.csv").open("w") as exported:
        for row in csv.reader(rows):
            known = dict(zip(names.split(), row, strict=True))
            csv.writer(exported).writerow([known.get(name, "") for name in columns[1].split(",")])
    ran = subprocess.run(
        ["/bin/bash", "-euxc", script.replace("/var/log/asterisk", str(tmp_path / "log"))],
        cwd=tmp_path,
        env={"PATH": f"{tmp_path}:/usr/bin:/bin", "PYTHONPATH": str(ROOT / "src")},
        capture_output=True,
        text=True,
        timeout=patient(120),
        check=False,
    )
    assert 0 == ran.returncode, ran.stderr
    assert "89 records match" in ran.stderr
    assert "There are none." in ran.stderr
    imported = [line.split()[1:] for line in ran.stdout.splitlines() if re.match(r"\S*(Master|cdr)\.csv", line)]
    assert [["104", "77", "27", "0", "0", "77"]] * 2 == imported

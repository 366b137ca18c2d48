"""`calldex sync` as it is typed."""

from __future__ import annotations

import base64
import json
import os
import pty
import re
import signal
import socketserver
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import default
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx2
import pytest

from calldex.client import Client
from calldex.sync.config import Watch
from calldex.sync.runner import Status
from calldex.sync.state import StateFile
from calldex.sync.watch import Metrics, Watcher
from tests.sync.conftest import RECORDS, Source, some
from tests.transport.test_tls import Pair, write

pytestmark = pytest.mark.slow
TEXT = """
[source.main]
url = "{url}"
key = "env:CDR_KEY"
[destination.out]
kind = "nothing"
[pipe.calls]
from = "main"
to = "out"
"""


def command(folder: Path, key: str, *words: str) -> tuple[list[str], dict[str, Any]]:
    """What starts it, with a key in its environment."""
    line = [sys.executable, "-m", "calldex", "sync", "--config", str(folder / "sync.toml"), *words]
    return line, {"env": {**os.environ, "CDR_KEY": key}, "text": True}


def sync(folder: Path, key: str, *words: str, answers: str = "") -> subprocess.CompletedProcess[str]:
    """What it says, and its exit code."""
    line, given = command(folder, key, *words)
    return subprocess.run(line, **given, capture_output=True, check=False, input=answers, timeout=60)


@pytest.fixture
def folder(tmp_path: Path, source: Source) -> Path:
    """A folder with a file that reads the source."""
    (tmp_path / "sync.toml").write_text(TEXT.format(url=source.url))
    return tmp_path


def test_a_run_and_what_it_leaves(folder: Path, source: Source) -> None:
    """`run`, then `status`, for people and for scripts, and the exit codes that are stated."""
    key = source.keys["admin"]
    before = sync(folder, key, "status", "--healthcheck", "--json")
    assert (1, ["new"]) == (before.returncode, [each["condition"] for each in json.loads(before.stdout)])
    checked = sync(folder, key, "check")
    assert (0, "calls: works; its source is of the kind calldex") == (checked.returncode, checked.stderr.strip())
    assert 0 == sync(folder, key, "run").returncode
    (told,) = json.loads(sync(folder, key, "status", "--json", "--healthcheck").stdout)
    with Client(source.url, key) as client:
        expected = sum(len(each.changes) for each in client.changes())
    assert ("ok", expected, "") == (told["condition"], told["status"]["changes"], told["status"]["problem"])
    assert told["lag_s"] < 60
    shown = sync(folder, key, "status")
    assert "calls" in shown.stdout
    again = sync(folder, key, "backfill", "--from", "2026-01-01", "--to", "2026-01-02")
    assert (0, "calls: read again from 2026-01-01 to 2026-01-02; repaired: 0") == (
        again.returncode,
        again.stderr.strip(),
    )
    forgot = sync(folder, key, "reset", "--yes")
    assert (0, "calls: the next run reads everything") == (forgot.returncode, forgot.stderr.strip())
    assert 2 == sync(folder, key, "run", "nosuch").returncode
    refused = sync(folder, "cdx_wrong", "run")
    assert 1 == refused.returncode
    assert "Invalid User API Key" in refused.stderr
    assert "cdx_wrong" not in refused.stderr
    (folder / "sync.toml").unlink()
    assert 5 == sync(folder, key, "run").returncode


def test_what_can_never_work_is_told(folder: Path, source: Source) -> None:
    """A filter or a field that there is not is found by `check`, and no run says that it may work later."""
    key, file = source.keys["admin"], folder / "sync.toml"
    text = file.read_text()
    for wrong, told in (("filters = { tipe = 'x' }", "tipe"), ("fields = ['agnt']", "did you mean 'agent'")):
        file.write_text(f"{text}{wrong}\n")
        checked = sync(folder, key, "check")
        assert (3, True) == (checked.returncode, told in checked.stderr), checked.stderr
        assert 1 == sync(folder, key, "run").returncode


def test_a_full_disk_is_told(folder: Path, source: Source) -> None:
    """What is kept beside the file cannot be written: exit code 3 with the reason, and the next run goes on."""
    key = source.keys["admin"]
    line, given = command(folder, key, "run")
    script = "import resource, runpy, signal, sys; signal.signal(signal.SIGXFSZ, signal.SIG_IGN);"
    script += "resource.setrlimit(resource.RLIMIT_FSIZE, (40_000, 40_000));"
    script += "sys.argv[0] = 'calldex'; runpy.run_module('calldex', run_name='__main__')"
    full = [sys.executable, "-c", script, *line[3:]]
    failed = subprocess.run(full, **given, capture_output=True, check=False, timeout=100)
    assert 3 == failed.returncode, failed.stderr
    assert "sync.toml.state cannot be written" in failed.stderr
    assert "Traceback" not in failed.stderr
    assert 0 == sync(folder, key, "run").returncode
    with StateFile(folder / "sync.toml.state") as file:
        assert set(source.records()) == {uuid for uuid, _, _ in file.held("calls", None, None)}


def test_what_lies_beside_the_file_is_told(folder: Path, source: Source) -> None:
    """A state file that is damaged, and a port that is taken: in a sentence, with the exit code that is stated."""
    key = source.keys["admin"]
    (folder / "sync.toml.state").write_bytes(b"no database, but long enough to be looked at" * 99)
    for words in (("run",), ("status",), ("verify",), ("reset", "--yes")):
        told = sync(folder, key, *words)
        assert (5, True) == (told.returncode, "sync.toml.state is damaged" in told.stderr), told.stderr
        assert "Traceback" not in told.stderr
    (folder / "sync.toml.state").unlink()
    with socketserver.TCPServer(("127.0.0.1", 0), socketserver.BaseRequestHandler) as taken:
        told = sync(folder, key, "run", "--metrics-port", str(taken.server_address[1]))
    assert (2, True) == (told.returncode, "--metrics-port" in told.stderr), told.stderr
    assert "in use" in told.stderr
    assert 0 == sync(folder, key, "run", "--metrics-file", str(folder / "none" / "metrics")).returncode


def test_init_asks_and_writes_what_works(tmp_path: Path, source: Source) -> None:
    """The file that it writes can be used as it is; it writes over none."""
    answers = f"{source.url}\nCDR_KEY\nduckdb\n{tmp_path}/calls_copy.duckdb\n"
    assert 0 == sync(tmp_path, "", "init", answers=answers).returncode
    assert 0 == sync(tmp_path, source.keys["admin"], "check").returncode
    assert 2 == sync(tmp_path, "", "init", answers=answers).returncode


def test_a_service_follows_and_stops(folder: Path, source: Source) -> None:
    """With `--every` it brings what is new as it comes, answers Prometheus, is alone with its file, and ends when it is
    told to."""
    with ThreadingHTTPServer(("127.0.0.1", 0), BaseHTTPRequestHandler) as free:
        port = free.server_port
    line, given = command(folder, source.keys["admin"], "run", "--every", "2s", "--metrics-port", str(port))
    process = subprocess.Popen(line, **given, stderr=subprocess.PIPE)
    try:
        assert metric(port, RECORDS)
        assert 6 == sync(folder, source.keys["admin"], "run").returncode
        late = some(7, seed=21)
        source.post(late)
        assert metric(port, RECORDS + 7)
    finally:
        process.send_signal(signal.SIGTERM)
        _, log = process.communicate(timeout=60)
    assert 0 == process.returncode, log
    source.delete([each.uuid for each in late])


def metric(port: int, expected: int) -> bool:
    """Whether it comes to have delivered so many changes."""
    deadline = time.monotonic() + 40
    while time.monotonic() < deadline:
        try:
            told = httpx2.get(f"http://127.0.0.1:{port}/metrics").text
        except httpx2.TransportError:
            told = ""
        if f'calldex_sync_changes_total{{pipe="calls"}} {float(expected)}' in told:
            return True
        time.sleep(0.1)
    return False


@pytest.fixture
def hook() -> Iterator[tuple[str, list[dict[str, Any]], list[int]]]:
    """A webhook's address, what came, and the statuses with which it answers next."""
    came: list[dict[str, Any]] = []
    answers: list[int] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            came.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(answers.pop(0) if answers else 204)
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            """Nobody reads it."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/hook", came, answers
        server.shutdown()
        thread.join()


def test_one_message_for_each_change(tmp_path: Path, hook: tuple[str, list[dict[str, Any]], list[int]]) -> None:
    """A pipe that falls behind is told once, and once when it is well; what could not be sent is sent later."""
    url, came, answers = hook
    with StateFile(tmp_path / "state") as file:
        watcher = Watcher(Watch(webhook=url, lag="60s"), file, Metrics())

        def look(**values: Any) -> list[tuple[str, str]]:
            now_ms = time.time_ns() // 1_000_000
            status = Status(pipe="calls", begun_ms=now_ms, **values)
            before = len(came)
            watcher.look({"calls": status})
            return [(each["was"], each["condition"]) for each in came[before:]]

        now_ms = time.time_ns() // 1_000_000
        assert [] == look(current_ms=now_ms)
        assert [("ok", "behind")] == look(current_ms=now_ms - 61_000, problem="no reply")
        assert "no reply" in came[-1]["text"]
        assert [] == look(current_ms=now_ms - 70_000)
        assert [("behind", "ok")] == look(current_ms=now_ms)
        answers.append(500)
        assert [("ok", "unequal")] == look(current_ms=now_ms, unequal="2026-11-01")
        assert [] == look(current_ms=now_ms, unequal="2026-11-01")
        watcher.not_before.clear()
        assert [("ok", "unequal")] == look(current_ms=now_ms, unequal="2026-11-01")


def test_ways_fail_by_themselves(tmp_path: Path, hook: tuple[str, list[dict[str, Any]], list[int]]) -> None:
    """One message by the webhook, however often the mail cannot be sent, and also when no room is left to note it."""
    url, came, _ = hook
    with StateFile(tmp_path / "state") as file:
        watcher = Watcher(Watch(webhook=url, email="ops@example.com", smtp="smtp://127.0.0.1:1"), file, Metrics())
        file.one("PRAGMA query_only = 1")
        for _ in range(3):
            watcher.look({"calls": Status(pipe="calls", begun_ms=0)})
            watcher.not_before.clear()
        file.one("PRAGMA query_only = 0")
        watcher.look({"calls": Status(pipe="calls", begun_ms=0, unequal="2026-11-01")})
    assert ["behind", "unequal"] == [each["condition"] for each in came]


def test_one_mail_for_each_change(tmp_path: Path) -> None:
    """The same by e-mail; a mail server that is away is tried again later."""
    with Mailbox() as mailbox, StateFile(tmp_path / "state") as file:
        watch = Watch(email="ops@example.com", sender="sync@example.com", smtp=mailbox.url, lag="60s")
        watcher = Watcher(watch, file, Metrics())

        def look(behind_ms: int, **values: Any) -> list[str]:
            now_ms = time.time_ns() // 1_000_000
            before = len(mailbox.came)
            watcher.look({"calls": Status(pipe="calls", begun_ms=now_ms, current_ms=now_ms - behind_ms, **values)})
            return [each["Subject"] for each in mailbox.came[before:]]

        assert [] == look(0)
        assert ["calldex sync: calls is behind"] == look(61_000, problem="no reply")
        told = mailbox.came[-1]
        assert ("sync@example.com", "ops@example.com") == (told["From"], told["To"])
        assert "no reply" in told.get_content()
        assert [] == look(70_000)
        mailbox.refuses = True
        assert [] == look(0)
        mailbox.refuses = False
        assert [] == look(0), "it waits a while before it tries again"
        watcher.not_before.clear()
        assert ["calldex sync: calls is ok"] == look(0)
        assert [] == look(0)


def test_a_password_goes_by_tls_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is told to a mail server whose certificate is one that is trusted, and to no other."""
    pair = Pair(tmp_path / "cert.pem", tmp_path / "key.pem")
    write(pair)
    sent = []
    for pair_there, trusted in ((pair, True), (pair, False), (None, False)):
        monkeypatch.setenv("SSL_CERT_FILE", str(pair.cert) if trusted else "")
        with Mailbox(pair_there) as mailbox, StateFile(tmp_path / "state") as file:
            url = mailbox.url.replace("//", "//ann:hush@")
            watcher = Watcher(Watch(email="ops@example.com", smtp=url, lag="60s"), file, Metrics())
            watcher.look({"calls": Status(pipe="calls", begun_ms=0, current_ms=0)})
            file.remembered("calls").clear()
            login = b"AUTH PLAIN " + base64.b64encode(b"\0ann\0hush").upper()
            sent.append((len(mailbox.came), login in mailbox.lines))
            assert not [line for line in mailbox.lines if line.startswith(b"AUTH") and not mailbox.is_secure]
    assert [(1, True), (0, False), (0, False)] == sent


class Mailbox(socketserver.ThreadingTCPServer):
    """A mail server on a free port, with what came; it `refuses` everything, if it is told to. With a certificate, it
    offers to go on by TLS."""

    daemon_threads = True
    allow_reuse_address = True

    def __init__(self, pair: Pair | None = None) -> None:
        self.came: list[EmailMessage] = []
        self.lines: list[bytes] = []
        self.refuses = self.is_secure = False
        self._pair = pair
        mailbox = self

        class Handler(socketserver.StreamRequestHandler):
            def handle(self) -> None:
                self.wfile.write(b"220 here\r\n")
                while line := self.rfile.readline():
                    if not mailbox.answered(line.strip().upper(), self):
                        return

            def finish(self) -> None:
                super().finish()
                self.connection.close()

        super().__init__(("127.0.0.1", 0), Handler)
        self.url = f"smtp://127.0.0.1:{self.server_address[1]}"
        self._thread = threading.Thread(target=self.serve_forever, args=(0.05,))
        self._thread.start()

    def answered(self, line: bytes, asked: socketserver.StreamRequestHandler) -> bool:
        """Answer a line; whether more follow."""
        self.lines.append(line)
        if line == b"QUIT":
            asked.wfile.write(b"221 bye\r\n")
            return False
        if line.startswith(b"EHLO") and self._pair and not self.is_secure:
            asked.wfile.write(b"250-here\r\n250 STARTTLS\r\n")
        elif line == b"STARTTLS" and self._pair:
            return self._by_tls(asked, self._pair)
        elif line.startswith(b"EHLO"):
            asked.wfile.write(b"250-here\r\n250 AUTH PLAIN\r\n")
        elif line.startswith(b"AUTH"):
            asked.wfile.write(b"235 welcome\r\n")
        else:
            self._taken(line, asked)
        return True

    def _by_tls(self, asked: socketserver.StreamRequestHandler, pair: Pair) -> bool:
        asked.wfile.write(b"220 go on\r\n")
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(pair.cert, pair.key)
        with suppress(OSError):
            asked.connection = context.wrap_socket(asked.connection, server_side=True)
            asked.rfile = asked.connection.makefile("rb")
            asked.wfile = asked.connection.makefile("wb", buffering=0)
            self.is_secure = True
        return self.is_secure

    def _taken(self, line: bytes, asked: socketserver.StreamRequestHandler) -> None:
        if line.startswith(b"MAIL") and self.refuses:
            asked.wfile.write(b"451 not now\r\n")
        elif line == b"DATA":
            asked.wfile.write(b"354 go on\r\n")
            lines = iter(asked.rfile.readline, b".\r\n")
            self.came.append(message_from_bytes(b"".join(lines), _class=EmailMessage, policy=default))
            asked.wfile.write(b"250 taken\r\n")
        else:
            asked.wfile.write(b"250 fine\r\n")

    def __exit__(self, *_: object) -> None:
        self.shutdown()
        self._thread.join()
        self.server_close()


def test_a_person_sees_a_bar(folder: Path, source: Source) -> None:
    """At a terminal a bar with what is done of how much; elsewhere lines of a log, and nothing that draws."""
    line, given = command(folder, source.keys["admin"], "run")
    screen, terminal = pty.openpty()
    given["env"] |= {"TERM": "xterm", "COLUMNS": "120", "LINES": "40"}
    process = subprocess.Popen(line, env=given["env"], stdin=terminal, stdout=terminal, stderr=terminal)
    os.close(terminal)
    seen = b""
    with suppress(OSError):  # what a terminal says when the last program has left it
        while piece := os.read(screen, 65536):
            seen += piece
    os.close(screen)
    assert 0 == process.wait(60)
    (done,) = set(re.findall(r"m(\d+)/\1\x1b", seen.decode()))
    assert int(done) >= RECORDS
    assert "calls" in seen.decode()
    assert b"\x1b[" in seen
    (folder / "sync.toml.state").unlink()
    plain = sync(folder, source.keys["admin"], "run")
    assert "\x1b" not in plain.stderr
    (told,) = [json.loads(each) for each in plain.stderr.splitlines()]
    assert ("pipe ran", int(done)) == (told["event"], told["changes"])

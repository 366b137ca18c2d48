"""How the tests of the command line run it: in this process, or as its users do."""

from __future__ import annotations

import os
import re
import selectors
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import msgspec
from click.testing import CliRunner, Result

from calldex import demo
from calldex.cli import main
from calldex.records import codec
from calldex.records.record import canonical
from tests.patience import patient

ROOT = Path(__file__).parents[2]
SAMPLE = ROOT / "tests" / "fixtures" / "asterisk-22"
SECONDS = 60


def command(*words: object, data: Path | None = None) -> list[str]:
    """The words of a command; `--data` belongs behind all of them."""
    return [*map(str, words), *(["--data", str(data)] if data else [])]


def calldex(*words: object, data: Path | None = None, stdin: bytes = b"") -> Result:
    """Run a command in this process."""
    return CliRunner(catch_exceptions=False).invoke(main, command(*words, data=data), input=stdin)


def process(*words: object, data: Path | None = None) -> subprocess.Popen[bytes]:
    """Start a command as a user does."""
    environ = {name: value for name, value in os.environ.items() if not name.startswith("CALLDEX_")}
    return subprocess.Popen(
        [sys.executable, "-m", "calldex", *command(*words, data=data)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**environ, "PYTHONPATH": str(ROOT / "src")},
    )


def ended(started: subprocess.Popen[bytes], stdin: bytes | None = None) -> tuple[int, str, str]:
    """Exit code, output and errors of a command, when it has ended. One that goes on is killed, and the test fails."""
    try:
        out, err = started.communicate(stdin, timeout=patient(SECONDS))
    except subprocess.TimeoutExpired:
        started.kill()
        out, err = started.communicate()
        raise AssertionError(f"it still ran after {SECONDS} s: {out!r} {err!r}") from None
    return started.returncode, out.decode(), err.decode()


def readable(stream: IO[Any], seconds: float) -> bool:
    """Whether something can be read of it within so long. `select` would not do: it knows no descriptor above 1023."""
    with selectors.DefaultSelector() as selector:
        selector.register(stream, selectors.EVENT_READ)
        return bool(selector.select(seconds))


@contextmanager
def serving(*words: object, data: Path) -> Iterator[tuple[str, str]]:
    """A server, until the block ends: its base URL and everything it printed until it served."""
    server = process(*words, "--port", 0, data=data)
    assert server.stdout is not None
    printed = ""
    deadline = time.monotonic() + SECONDS
    try:
        while "until Ctrl-C" not in printed:
            ready = readable(server.stdout, max(deadline - time.monotonic(), 0))
            more = os.read(server.stdout.fileno(), 65536).decode() if ready else ""
            assert more, f"it did not come to serve: {printed}"
            printed += more
        found = re.search(r"http://\S+:\d+", printed)
        assert found is not None
        yield found[0], printed
    finally:
        server.send_signal(signal.SIGTERM)
        code, _, err = ended(server)
    assert (0, True) == (code, "Traceback" not in err), err


def jsonl(records: int, seed: int = 1) -> bytes:
    """Demo records as JSON Lines."""
    return b"".join(codec.encode(canonical(record)) + b"\n" for record in demo.interactions(records, seed))


def counts(result: Result) -> list[int]:
    """Read, accepted, updated, unchanged, rejected of an `import --json`."""
    total = msgspec.json.decode(result.stdout, type=dict[str, object])["total"]
    assert isinstance(total, dict)
    return [total[name] for name in ("read", "accepted", "updated", "unchanged", "rejected")]

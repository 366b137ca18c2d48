"""README's commands, run as they are written.

What runs is told by the word behind the fence: `sh` runs against a demo, all such blocks in their order in one shell;
`python` after them, each by itself, in an environment where the client finds the demo; `js` is run by `test_loops`;
the last command of `sh serve` serves, in a folder of its own; `sh make` holds targets of the Makefile; `text` and
`json` are for reading. Only the port is another than a reader gets.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

ROOT = Path(__file__).parents[1]
TEXT = (ROOT / "README.md").read_text()
BLOCKS = re.findall(r"^```([\w ]+)\n(.*?)^```$", TEXT, re.MULTILINE | re.DOTALL)
KEY = re.compile(r"cdx_[\w-]{43}")
URL = re.compile(r"http://127\.0\.0\.1:\d+")
BASH = "/bin/bash"
SECONDS = 120


def blocks(word: str) -> list[str]:
    """The blocks behind whose fence a word stands."""
    return [text for kind, text in BLOCKS if kind == word]


@pytest.fixture
def shell(tmp_path: Path) -> dict[str, str]:
    """The environment of a reader in their clone who has `calldex` on their path; `curl` fails on an error."""
    for name in ("bin", "clone"):
        (tmp_path / name).mkdir()
    (tmp_path / "clone" / "tests").symlink_to(ROOT / "tests")
    command = tmp_path / "bin" / "calldex"
    command.write_text(f'#!/bin/sh\nexec {sys.executable} -m calldex "$@"\n')
    command.chmod(0o755)
    (tmp_path / ".curlrc").write_text("fail-with-body\nshow-error\n")
    kept = {name: value for name, value in os.environ.items() if not name.startswith("CALLDEX_")}
    path = f"{command.parent}{os.pathsep}{os.environ['PATH']}"
    return {**kept, "PATH": path, "PWD": str(tmp_path / "clone"), "CURL_HOME": str(tmp_path), "CALLDEX_PORT": "0"}


@contextmanager
def serving(script: str, shell: dict[str, str]) -> Iterator[tuple[str, str]]:
    """A shell whose last command serves: its base URL and the key that was printed."""
    process = subprocess.Popen(
        [BASH, "-ec", script],
        cwd=shell["PWD"],
        env=shell,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    assert process.stdout is not None
    printed = ""
    try:
        for line in process.stdout:
            printed += line
            if (url := URL.search(printed)) and (key := KEY.search(printed)):
                yield url[0], key[0]
                break
        else:
            pytest.fail(f"it ended with {process.wait()}:\n{printed}")
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGTERM)
        process.communicate(timeout=SECONDS)


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("curl") is None, reason="the examples need curl")
def test_the_examples_work(shell: dict[str, str]) -> None:
    """Every example succeeds against the demo that `make demo` serves, and the walk sees every inbound call once."""
    with serving("calldex demo", shell) as (url, key):
        ran = subprocess.run(
            [BASH, "-euo", "pipefail", "-xc", "\n".join(blocks("sh"))],
            cwd=shell["PWD"],
            env={**shell, "URL": url, "KEY": key},
            capture_output=True,
            text=True,
            timeout=SECONDS,
            check=False,
        )
        assert 0 == ran.returncode, ran.stderr[-4000:]
        for script in blocks("python"):
            ran = subprocess.run(
                [sys.executable, "-c", script],
                cwd=shell["PWD"],
                env={**shell, "CALLDEX_URL": url, "CALLDEX_KEY": key},
                capture_output=True,
                text=True,
                timeout=SECONDS,
                check=False,
            )
            assert 0 == ran.returncode, ran.stderr[-4000:]
    pages = [json.loads(page) for page in (Path(shell["PWD"]) / "inbound.jsonl").read_text().splitlines()]
    assert not (Path(shell["PWD"]) / "inbound.half").exists()
    uuids = [record["uuid"] for page in pages for record in page["records"]]
    assert len(set(uuids)) == len(uuids) == pages[0]["total"]
    changes = Path(shell["PWD"]) / "changes"
    count, cursor = (changes / "next").read_text().split()
    told = [json.loads((changes / f"{number}.json").read_text()) for number in range(int(count))]
    assert (cursor, False) == (told[-1]["next_cursor"], told[-1]["has_more"])
    assert sorted(uuids) == sorted(change["uuid"] for page in told for change in page["changes"])


@pytest.mark.slow
@pytest.mark.parametrize("script", blocks("sh serve"))
def test_a_server_is_set_up_as_it_says(script: str, shell: dict[str, str]) -> None:
    """Those commands, in an empty folder, end in a server that is ready and knows the key they printed."""
    with serving(script, shell) as (url, key):
        reply = httpx.get(f"{url}/api/v2/cdr", params={"key": key}, timeout=SECONDS)
    assert {"records": [], "total": 0, "page": 1, "search_token": None} == reply.json()


def test_the_targets_exist() -> None:
    """What README makes, the Makefile can make; `make demo` is `calldex demo`."""
    makefile = (ROOT / "Makefile").read_text()
    wanted = re.findall(r"^make (\w+)", "\n".join(blocks("sh make")), re.MULTILINE)
    assert ["demo", "test"] == wanted
    assert [] == [name for name in wanted if not re.search(rf"^{name}:", makefile, re.MULTILINE)]
    assert re.search(r"^demo:.*\n\t\$\(BIN\)/calldex demo --port \$\(PORT\)$", makefile, re.MULTILINE)


def test_every_block_says_what_it_is() -> None:
    """No block is left out by a fence nobody knows."""
    assert {kind for kind, _ in BLOCKS} <= {"sh", "sh make", "sh serve", "python", "js", "text", "json"}
    assert 2 * len(BLOCKS) == len(re.findall(r"^```", TEXT, re.MULTILINE))

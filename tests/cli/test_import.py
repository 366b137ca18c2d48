"""Files come in."""

from __future__ import annotations

import gzip
import os
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from calldex.api import control
from calldex.cli.importing import Input
from calldex.errors import DiskFull
from calldex.ingest import pipeline
from calldex.store import Batch, Outcome
from calldex.store.embedded import EmbeddedStore
from tests.cli.tools import SAMPLE, calldex, counts, jsonl

TEN = jsonl(10)


def written(path: Path, content: bytes) -> Path:
    """A file with a content."""
    path.write_bytes(content)
    return path


def test_the_format_is_recognised(data: Path, tmp_path: Path) -> None:
    """Records come in once, however often their file does."""
    file = written(tmp_path / "calls", TEN)
    assert [10, 10, 0, 0, 0] == counts(calldex("import", "--json", file, data=data))
    again = calldex("import", "--json", file, data=data)
    assert (0, [10, 0, 0, 10, 0]) == (again.exit_code, counts(again))


def test_gzip_is_recognised_by_its_bytes(data: Path, tmp_path: Path) -> None:
    """A packed file of several members, whatever it is called."""
    lines = TEN.splitlines(keepends=True)
    packed = gzip.compress(b"".join(lines[:4])) + gzip.compress(b"".join(lines[4:]))
    assert [10, 10, 0, 0, 0] == counts(calldex("import", "--json", written(tmp_path / "a", packed), data=data))


def test_standard_input(data: Path) -> None:
    """`-` is standard input, packed or not."""
    assert [10, 10, 0, 0, 0] == counts(calldex("import", "--json", "-", data=data, stdin=TEN))
    assert [10, 0, 0, 10, 0] == counts(calldex("import", "--json", "-", data=data, stdin=gzip.compress(TEN)))


def test_closed_standard_input(data: Path) -> None:
    """It is told as such; exit code 5."""
    words = [sys.executable, "-m", "calldex", "import", "--format", "jsonl", "--data", str(data), "-"]
    ended = subprocess.run(
        ["/bin/sh", "-c", 'exec "$@" <&-', "sh", *words], capture_output=True, timeout=60, check=False
    )
    assert (5, b"Error: standard input cannot be read: it is closed\n") == (ended.returncode, ended.stderr)


def test_a_name_that_is_no_text(data: Path, tmp_path: Path) -> None:
    """A file may have any name; its bytes that are no text are shown as such."""
    file = written(tmp_path / os.fsdecode(b"calls \xff.jsonl"), TEN + b"{}\n")
    result = calldex("import", "--json", file, data=data)
    assert (9, [11, 10, 0, 0, 1]) == (result.exit_code, counts(result))
    assert r"calls \xff.jsonl" == Path(msgspec.json.decode(result.stdout)["files"][0]["file"]).name
    assert r"calls \xff.jsonl" in calldex("quarantine", "list", data=data).stdout
    missing = calldex("import", tmp_path / os.fsdecode(b"\xfe"), data=data)
    assert (5, True) == (missing.exit_code, r"\xfe cannot be read: No such file" in missing.stderr)


def test_broken_gzip_keeps_what_came_before(data: Path, tmp_path: Path) -> None:
    """The file is named with what is wrong, the records before the break are kept, the next file is imported;
    exit code 5."""
    members = gzip.compress(TEN) + gzip.compress(jsonl(10, seed=2))[:-30]
    other = written(tmp_path / "other", jsonl(10, seed=3))
    result = calldex("import", "--json", written(tmp_path / "broken", members), other, data=data)
    assert 5 == result.exit_code
    assert "broken cannot be read to its end" in result.stderr
    assert 20 <= counts(result)[1] < 30


@given(records=st.binary(max_size=2000), cut=st.integers(0, 40))
def test_cut_gzip_is_seen(tmp_path_factory: pytest.TempPathFactory, records: bytes, cut: int) -> None:
    """A packed file that lacks its last bytes gives the beginning of its content, and a problem; a whole one neither
    lacks anything nor has a problem."""
    packed = gzip.compress(records)
    file = written(tmp_path_factory.mktemp("gz") / "f", packed[: len(packed) - min(cut, len(packed) - 2)])
    read = Input(str(file))
    content = b"".join(read.pieces(lambda size: None))
    assert records.startswith(content)
    assert (cut == 0) == (read.problem is None)
    assert cut or records == content


@pytest.mark.parametrize("fails", ["the records", "the note"])
def test_a_disk_that_fills_up_in_an_import(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fails: str
) -> None:
    """What is said of it is so of what was committed before as well; exit code 4."""
    file, write = written(tmp_path / "calls.jsonl", TEN), EmbeddedStore.write
    monkeypatch.setattr(pipeline, "BATCH", 4)

    def refused(self: EmbeddedStore, batch: Batch, *, wait: bool = True) -> list[Outcome]:
        if fails == "the records" and len(batch.records) < 4:
            raise DiskFull("there is no room left on the disk; nothing of this was kept")
        return write(self, batch, wait=wait)

    def unnoted(*_: object) -> None:
        raise DiskFull("this cannot be noted in the audit now; nothing was changed")

    monkeypatch.setattr(EmbeddedStore, "write", refused)
    if fails == "the note":
        monkeypatch.setattr(control, "note_ingest", unnoted)
    ended = calldex("import", file, data=data)
    kept = 8 if fails == "the records" else 10
    assert (4, True) == (ended.exit_code, f"{kept} pieces of this import were committed" in ended.stderr), ended.stderr
    monkeypatch.undo()
    assert [10, 10 - kept, 0, kept, 0] == counts(calldex("import", "--json", file, data=data))


def test_rejects_have_an_exit_code(data: Path, tmp_path: Path) -> None:
    """Exit code 9 when everything was read and some of it lies in the quarantine."""
    result = calldex("import", "--json", written(tmp_path / "f", TEN + b'{"uuid": 1}\n'), data=data)
    assert (9, [11, 10, 0, 0, 1]) == (result.exit_code, counts(result))


def test_an_empty_file_is_no_problem(data: Path, tmp_path: Path) -> None:
    """Nothing in, nothing out."""
    result = calldex("import", "--json", written(tmp_path / "empty", b""), data=data)
    assert (0, [0, 0, 0, 0, 0]) == (result.exit_code, counts(result))


@pytest.mark.parametrize("words", [(), ("--format", "asterisk")])
def test_asterisk_needs_a_source(words: tuple[str, ...], data: Path) -> None:
    """Recognised or named, a format that cannot be read without settings tells how to make a source; exit code 2."""
    result = calldex("import", *words, SAMPLE / "Master.csv", data=data)
    assert 2 == result.exit_code
    assert "calldex sources add NAME --format asterisk --set zone=..." in result.stderr


def test_an_unknown_format_stops_one_file(data: Path, tmp_path: Path) -> None:
    """A file that is not recognised is told, and the others are imported; exit code 2."""
    files = (written(tmp_path / "what", b"hello\nworld\n"), written(tmp_path / "calls", TEN))
    result = calldex("import", "--json", *files, data=data)
    assert (2, [10, 10, 0, 0, 0]) == (result.exit_code, counts(result))
    assert "what is of no format that can be recognised; name one with --format (jsonl, asterisk)" in result.stderr


@pytest.mark.parametrize(
    ("words", "exit_code", "message"),
    [
        (("--format", "jsnl", "FILE"), 1, "there is no format 'jsnl', did you mean 'jsonl'?; formats are"),
        (("--source", "pbx", "FILE"), 1, "there is no source 'pbx'"),
        (("--account", "nrth", "--format", "jsonl", "FILE"), 1, "there is no account 'nrth'"),
        (("--source", "pbx", "--format", "jsonl", "FILE"), 2, "--source tells the format and the account already"),
        (("--format", "jsonl", "-", "-"), 2, "standard input can be read only once"),
        (("--format", "jsonl", "FILE", "DIR/none"), 5, "none cannot be read: No such file or directory"),
        (("--format", "jsonl", "FILE", "DIR"), 5, "is a directory; name the files in it"),
    ],
)
def test_what_is_refused_before_anything_is_read(
    words: tuple[str, ...], exit_code: int, message: str, data: Path, tmp_path: Path
) -> None:
    """One line says what is wrong, and nothing was imported."""
    written(tmp_path / "calls", TEN)
    typed = [word.replace("FILE", str(tmp_path / "calls")).replace("DIR", str(tmp_path)) for word in words]
    result = calldex("import", *typed, data=data)
    assert exit_code == result.exit_code, result.output
    assert message in result.stderr
    if (data / "ledger.db").exists():
        assert "0 records match" in calldex("search", data=data).stderr

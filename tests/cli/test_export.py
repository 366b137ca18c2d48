"""`calldex export`: a whole match as a file, whole or not at all."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from calldex import exports
from calldex.cli.exporting import FORMATS, export
from calldex.cli.searching import search
from calldex.errors import CalldexError
from calldex.exports.lines import Lines
from tests.cli.tools import ROOT, calldex, command, jsonl, serving
from tests.examples import first_are_quick
from tests.s3 import S3, s3

RECORDS = 12_000


@pytest.fixture(scope="module")
def full(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data directory with records of several batches."""
    data = tmp_path_factory.mktemp("full") / "data"
    assert 0 == calldex("import", "-", data=data, stdin=jsonl(RECORDS)).exit_code
    return data


@pytest.fixture(scope="module")
def bucket() -> Iterator[S3]:
    """Where objects go."""
    with s3() as server:
        yield server


@pytest.fixture
def opened(bucket: S3, monkeypatch: pytest.MonkeyPatch) -> S3:
    """The same, and what opens it is in the environment."""
    for name, value in bucket.environment().items():
        monkeypatch.setenv(name, value)
    bucket.objects.clear()
    bucket.refused.clear()
    return bucket


def test_it_knows_every_format() -> None:
    """Those of the registry."""
    assert list(exports.FORMATS) == list(FORMATS)


def test_it_has_the_options_of_a_search() -> None:
    """Every filter, and the days."""
    own = {"format_", "limit", "everything"}

    def names(command: click.Command) -> set[str]:
        return {str(param.name) for param in command.params} - own

    assert names(search) <= names(export)


@pytest.mark.parametrize("name", first_are_quick(FORMATS))
def test_a_file_and_standard_output_are_the_same(full: Path, tmp_path: Path, name: str) -> None:
    """Whatever the format; a file that was there is replaced, and nothing else lies beside it."""
    path = tmp_path / "file"
    path.write_text("old")
    written = calldex("export", "--format", name, "-o", path, "--type", "inbound", data=full)
    assert (0, "") == (written.exit_code, written.stdout)
    piped = calldex("export", "--format", name, "-o", "-", "--type", "inbound", data=full)
    assert piped.stdout_bytes == path.read_bytes()
    assert "records match, all written to" in written.stderr
    assert [path] == list(tmp_path.iterdir())


def test_it_is_everything(full: Path) -> None:
    """In the order of a search, with the columns that were asked for."""
    printed = calldex("export", "--format", "ndjson", "-o", "-", "--fields", "uuid", data=full).stdout
    searched = calldex("search", "--all", "--format", "jsonl", data=full).stdout
    assert [json.loads(line)["uuid"] for line in searched.splitlines()] == [
        json.loads(line)["uuid"] for line in printed.splitlines()
    ]


@pytest.mark.slow
def test_a_server_does_the_same(full: Path, tmp_path: Path) -> None:
    """Over its socket."""
    alone = calldex("export", "--format", "csv", "-o", "-", data=full).stdout_bytes
    with serving("serve", data=full):
        assert 0 == calldex("export", "--format", "csv", "-o", tmp_path / "file", data=full).exit_code
    assert alone == (tmp_path / "file").read_bytes()


@pytest.mark.parametrize(
    ("words", "code", "told"),
    [
        (("--fields", "nothing", "-o", "f"), 2, "--fields"),
        (("--talk-min", "x", "-o", "f"), 2, "--talk-min"),
        (("-o", "s3://bucket"), 2, "s3://BUCKET/KEY"),
        (("-o", "s3://bucket/key?zone=1"), 2, "s3://BUCKET/KEY"),
        (("-o", "ftp://host/file"), 2, "s3://BUCKET/KEY"),
        (("-o", "missing/f"), 5, "folder is not there"),
        (("-o", "."), 5, "is a folder"),
    ],
)
def test_what_cannot_be_done(full: Path, tmp_path: Path, words: tuple[str, ...], code: int, told: str) -> None:
    """It is told, by the names that were typed, and nothing is written."""
    before = Path.cwd()
    os.chdir(tmp_path)
    try:
        result = calldex("export", "--format", "csv", *words, data=full)
    finally:
        os.chdir(before)
    assert (code, True) == (result.exit_code, told in result.stderr), result.stderr
    assert [] == list(tmp_path.iterdir())


def broken(monkeypatch: pytest.MonkeyPatch, failure: Exception) -> None:
    """Making a file fails with its second batch."""
    add, left = Lines.add, iter(range(1))

    def fail(self: Lines, records: bytes) -> bytes:
        if next(left, None) is None:
            raise failure
        return add(self, records)

    monkeypatch.setattr(Lines, "add", fail)


def test_one_that_fails_leaves_nothing(full: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The file that was there is there still; the error is the node's."""
    path = tmp_path / "file"
    path.write_text("old")
    broken(monkeypatch, CalldexError("the engine went away"))
    result = calldex("export", "--format", "ndjson", "-o", path, data=full)
    assert (1, "Error: the engine went away\n") == (result.exit_code, result.stderr)
    assert ("old", [path]) == (path.read_text(), list(tmp_path.iterdir()))


@pytest.mark.slow
def test_a_full_disk(full: Path) -> None:
    """Exit 4."""
    with Path("/dev/full").open("wb") as nowhere:
        ended = subprocess.run(
            [sys.executable, "-m", "calldex", *command("export", "--format", "csv", "-o", "-", data=full)],
            stdout=nowhere,
            stderr=subprocess.PIPE,
            check=False,
            env={**os.environ, "PYTHONPATH": str(ROOT / "src")},
        )
    assert 4 == ended.returncode, ended.stderr


@pytest.mark.slow
def test_a_bucket_gets_a_whole_object(full: Path, opened: S3) -> None:
    """In parts, each of them signed."""
    result = calldex("export", "--format", "ndjson", "-o", "s3://bucket/raw/all.ndjson", data=full)
    assert 0 == result.exit_code, result.stderr
    printed = calldex("export", "--format", "ndjson", "-o", "-", data=full).stdout_bytes
    assert {"/bucket/raw/all.ndjson": printed} == opened.objects
    assert len(printed) > 8 << 20
    assert {} == opened.uploads


def test_a_bucket_gets_nothing_of_one_that_fails(full: Path, opened: S3, monkeypatch: pytest.MonkeyPatch) -> None:
    """The upload is given up: where the file cannot be made, and where a part is refused."""
    opened.refused.add(2)
    result = calldex("export", "--format", "ndjson", "-o", "s3://bucket/all", data=full)
    assert (1, True) == (result.exit_code, "AccessDenied" in result.stderr), result.stderr
    assert ({}, {}, 1) == (opened.objects, opened.uploads, opened.aborted)
    broken(monkeypatch, CalldexError("the engine went away"))
    result = calldex("export", "--format", "ndjson", "-o", "s3://bucket/all", data=full)
    assert (1, "Error: the engine went away\n") == (result.exit_code, result.stderr)
    assert ({}, {}) == (opened.objects, opened.uploads)


def test_a_wrong_secret(full: Path, opened: S3, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is refused, and told without the secret."""
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "a wrong secret")
    result = calldex("export", "--format", "csv", "--cli", "000000", "-o", "s3://bucket/all", data=full)
    assert (1, True) == (result.exit_code, "SignatureDoesNotMatch" in result.stderr), result.stderr
    assert "a wrong secret" not in result.stderr
    assert {} == opened.objects


@pytest.mark.slow
def test_a_bar_is_for_a_terminal(full: Path, tmp_path: Path) -> None:
    """Elsewhere the result is one line."""
    ours, theirs = pty.openpty()
    words = command("export", "--format", "csv", "-o", tmp_path / "file", data=full)
    environ = {**os.environ, "PYTHONPATH": str(ROOT / "src"), "TERM": "xterm", "COLUMNS": "120"}
    started = subprocess.Popen([sys.executable, "-m", "calldex", *words], stderr=theirs, env=environ)
    assert 0 == started.wait(60)
    os.close(theirs)
    assert f"{RECORDS}/{RECORDS}" in os.read(ours, 1 << 16).decode()
    os.close(ours)
    plain = calldex(*words)
    assert [f"{RECORDS:,} records match, all written to {tmp_path / 'file'}"] == plain.stderr.splitlines()

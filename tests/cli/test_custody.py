"""A data directory of which a file is lost, exchanged, older than its neighbour or no file of ours: told in one line,
with exit code 5 and what to do, and nothing is made in its place. A start that was killed half-way goes on."""

from __future__ import annotations

import hashlib
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import closing, suppress
from pathlib import Path
from typing import Final

import duckdb
import msgspec
import pytest

from calldex.datadir import Lock
from calldex.directory import Directory
from calldex.store.embedded import LEDGER_FILE
from calldex.store.embedded.reader import LedgerReader
from tests.cli.tools import ROOT, calldex, ended, jsonl, process
from tests.engines import knowing_json

COMMANDS: Final = (("check",), ("search",), ("users", "list"))
FILES: Final = ("ledger.db", "directory.db")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data directory with a user and 50 records, closed."""
    return directory(tmp_path_factory.mktemp("made") / "data", 50)


def directory(data: Path, records: int) -> Path:
    """A data directory with a user and records."""
    assert 0 == calldex("users", "add", "ana@example.com", "--name", "Ana Ruiz", "--role", "admin", data=data).exit_code
    assert 0 == calldex("import", "-", data=data, stdin=jsonl(records)).exit_code
    return data


@pytest.fixture
def here(made: Path, tmp_path: Path) -> Path:
    """A copy of it."""
    return Path(shutil.copytree(made, tmp_path / "data"))


@pytest.fixture(scope="module")
def other(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Another one."""
    return directory(tmp_path_factory.mktemp("other") / "data", 20)


def content(data: Path) -> dict[str, str]:
    """Every file of a folder and the digest of what is in it."""
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in data.iterdir() if path.is_file()}


def refused(data: Path, *words: str) -> None:
    """Every command is refused with exit code 5, in one line that has these words, and changes nothing."""
    before = content(data)
    for command in COMMANDS:
        result = calldex(*command, data=data)
        assert (5, 1) == (result.exit_code, result.stderr.count("\n")), (command, result.output)
        assert all(word in result.stderr for word in words), result.stderr
    assert before == content(data)


def unlinked(*names: str) -> Callable[[Path], None]:
    """Takes files away."""

    def lose(data: Path) -> None:
        for name in names:
            (data / name).unlink()

    return lose


def written(name: str, content: bytes) -> Callable[[Path], None]:
    """Puts something else in the place of a file."""

    def lose(data: Path) -> None:
        (data / name).write_bytes(content)

    return lose


def copied(source: str, name: str) -> Callable[[Path], None]:
    """Puts another file in its place."""

    def lose(data: Path) -> None:
        shutil.copy(data / source, data / name)

    return lose


def linked(name: str, target: str) -> Callable[[Path], None]:
    """Moves a file away, and puts a link in its place."""

    def lose(data: Path) -> None:
        (data / name).rename(data / "real.db")
        (data / name).symlink_to(target)

    return lose


def linked_beside(name: str) -> Callable[[Path], None]:
    """Puts a link to a file elsewhere where an engine keeps one of its own."""

    def lose(data: Path) -> None:
        (data / "elsewhere").touch()
        (data / name).unlink(missing_ok=True)
        (data / name).symlink_to("elsewhere")

    return lose


def a_folder(data: Path) -> None:
    """Puts a folder in the place of a ledger."""
    (data / "ledger.db").unlink()
    (data / "ledger.db").mkdir()


TEXT: Final = b"no database\n" * 999
LOST: Final[dict[str, tuple[Callable[[Path], None], tuple[str, ...]]]] = {
    "ledger": (unlinked("ledger.db"), ("ledger.db is gone", "restore a backup")),
    "directory": (unlinked("directory.db"), ("directory.db is gone", "restore a backup")),
    "ledger and columns": (unlinked("ledger.db", "columns.duckdb"), ("ledger.db is gone",)),
    "empty ledger": (written("ledger.db", b""), ("ledger.db is empty",)),
    "empty directory": (written("directory.db", b""), ("directory.db is empty",)),
    "text for a ledger": (written("ledger.db", TEXT), ("ledger.db", "restore")),
    "text for a directory": (written("directory.db", TEXT), ("directory.db", "restore")),
    "directory as ledger": (copied("directory.db", "ledger.db"), ("ledger.db is a database of something else",)),
    "ledger as directory": (copied("ledger.db", "directory.db"), ("directory.db is a database of something else",)),
    "a folder for a ledger": (a_folder, ("is no file",)),
    "a link for a ledger": (linked("ledger.db", "real.db"), ("ledger.db is a symbolic link",)),
    "a link to nothing": (linked("ledger.db", "nowhere/ledger.db"), ("ledger.db is a symbolic link",)),
    **{
        f"a link for {name}": (linked_beside(name), (f"{name} is a symbolic link",))
        for name in ("ledger.db-wal", "ledger.db-shm", "directory.db-journal", "columns.duckdb.wal", "calldex.reserve")
    },
    "a link for the columns": (linked("columns.duckdb", "/dev/null"), ("columns.duckdb is a symbolic link",)),
}


@pytest.mark.parametrize(("lose", "words"), LOST.values(), ids=LOST)
def test_a_lost_file_is_told(here: Path, lose: Callable[[Path], None], words: tuple[str, ...]) -> None:
    """Whatever stands in the place of a file, or nothing."""
    lose(here)
    refused(here, *words)


@pytest.mark.parametrize("name", FILES)
def test_a_file_of_another_installation_is_told(here: Path, other: Path, name: str) -> None:
    """Exchanged with the one of another data directory."""
    shutil.copy(other / name, here / name)
    refused(here, "do not belong together", "restore a backup")


@pytest.mark.parametrize(("name", "words"), [("ledger.db", "records are missing"), ("directory.db", "is older than")])
def test_a_file_older_than_its_neighbour_is_told(here: Path, made: Path, name: str, words: str) -> None:
    """Put back to an earlier copy."""
    for _ in range(3):
        assert 0 == calldex("import", "-", data=here, stdin=jsonl(20, seed=5 + _)).exit_code
    shutil.copy(made / name, here / name)
    refused(here, words, f"Put the newest {name} back")


def test_columns_of_another_installation_are_made_again(here: Path, other: Path) -> None:
    """They are derived: nothing of them is needed."""
    shutil.copy(other / "columns.duckdb", here / "columns.duckdb")
    expected = calldex("search", "--format", "jsonl", "--all", data=here)
    assert (0, 50) == (expected.exit_code, expected.stdout.count("\n"))


@pytest.mark.slow
def test_a_lost_log_is_told(tmp_path: Path) -> None:
    """What was committed before a kill lies in the write-ahead log: that records are missing without it is said."""
    data = tmp_path / "data"
    program = (
        "import os, sys\nfrom pathlib import Path\n"
        "from calldex.node import Node\nfrom calldex.settings import Settings\n"
        "from tests.api.conftest import write\nfrom calldex.demo import interactions\n"
        "with Node(Settings(data=Path(sys.argv[1]), threads=1)) as node:\n"
        "    for seed in (1, 2, 3):\n        write(node, 'main', list(interactions(20, seed)))\n"
        "    node.store.settle()\n    os.kill(os.getpid(), 9)\n"
    )
    killed = subprocess.run([sys.executable, "-c", program, str(data)], cwd=ROOT, check=False, capture_output=True)
    assert -9 == killed.returncode, killed.stderr
    whole = Path(shutil.copytree(data, tmp_path / "whole"))
    looked = calldex("check", data=whole)
    assert 0 == looked.exit_code, looked.output
    (data / f"{LEDGER_FILE}-wal").unlink()
    result = calldex("check", data=data)
    assert 5 == result.exit_code, result.output
    assert 60 == calldex("search", "--format", "jsonl", "--all", data=whole).stdout.count("\n")


def test_check_makes_and_changes_nothing(here: Path, tmp_path: Path) -> None:
    """Neither where all is well, nor where there is nothing, nor where the columns are gone, nor of a killed server."""
    before = content(here)
    assert 0 == calldex("check", data=here).exit_code
    assert before == content(here)
    for name in ("columns.duckdb", "calldex.lock"):
        (here / name).unlink()
    result = calldex("check", data=here)
    assert (0, True) == (result.exit_code, "makes them again" in result.stdout)
    assert {"directory.db", "ledger.db"} == {path.name for path in here.iterdir()}
    assert 5 == calldex("check", data=tmp_path / "nothing").exit_code
    assert not (tmp_path / "nothing").exists()


def test_check_of_columns_that_a_kill_left_half_made(here: Path) -> None:
    """Nothing is wrong with them: the next start goes on."""
    (here / "columns.duckdb").unlink()
    duckdb.connect(here / "columns.duckdb").close()
    result = calldex("check", data=here)
    assert (0, True) == (result.exit_code, "brings them up to date" in result.stdout), result.output


def test_check_of_an_older_directory_does_not_migrate_it(here: Path) -> None:
    """It says that it has to be started once."""
    with closing(sqlite3.connect(here / "ledger.db")) as ledger:
        ledger.execute("PRAGMA user_version = 1")
    result = calldex("check", data=here)
    assert (7, True) == (result.exit_code, "start this Calldex on it once" in result.stderr)


def test_check_tells_damaged_columns(here: Path) -> None:
    """It does not die of what it is to report."""
    content = bytearray((here / "columns.duckdb").read_bytes())
    content[4096:] = bytes(len(content) - 4096)
    (here / "columns.duckdb").write_bytes(content)
    result = calldex("check", "--json", data=here)
    assert (1, 1) == (result.exit_code, len(msgspec.json.decode(result.stdout)["problems"]))


@pytest.mark.parametrize("begin", [0, 1, 2, 3, 8, 12])
def test_check_tells_damaged_pages(here: Path, begin: int) -> None:
    """Whichever pages of the ledger are overwritten, the words are about that, and no traceback."""
    content = bytearray((here / "ledger.db").read_bytes())
    content[begin * 8192 + 200 : begin * 8192 + 3000] = b"\xff" * 2800
    (here / "ledger.db").write_bytes(content)
    result = calldex("check", data=here)
    told = result.stdout + result.stderr
    if result.exit_code == 0:  # there was nothing in that place
        assert 50 == calldex("search", "--format", "jsonl", "--all", data=here).stdout.count("\n")
    else:
        assert result.exit_code in {1, 5}
        assert any(word in told for word in ("damaged", "written", "page"))


@pytest.mark.parametrize("begin", range(1, 40, 3))
def test_check_tells_damaged_pages_of_the_directory(here: Path, begin: int) -> None:
    """Likewise."""
    content = bytearray((here / "directory.db").read_bytes())
    content[begin * 4096 + 8 : begin * 4096 + 3000] = b"\xff" * 2992
    (here / "directory.db").write_bytes(content)
    result = calldex("check", data=here)
    assert result.exit_code in {0, 1, 5}, result.exception
    assert not result.exit_code or "directory" in result.stdout + result.stderr or "audit" in result.stdout


@pytest.mark.parametrize("value", ["NULL", "x'00ff'", "zeroblob(17)", "'word'", "-1", "1e300", "char(55296)"])
def test_check_tells_values_of_another_kind(here: Path, value: str) -> None:
    """Whatever stands in a column of a record that was changed by hand."""
    with closing(sqlite3.connect(here / "ledger.db")) as ledger:
        ledger.execute("PRAGMA writable_schema = ON")
        as_it_is = ledger.execute("SELECT sql FROM sqlite_master WHERE name = 'version'").fetchone()
        ledger.execute("UPDATE sqlite_master SET sql = replace(sql, 'NOT NULL', '') WHERE name = 'version'")
        ledger.commit()
    with closing(sqlite3.connect(here / "ledger.db")) as ledger:
        ledger.execute("PRAGMA writable_schema = ON")
        columns = [row[1] for row in ledger.execute("PRAGMA table_info(version)") if row[1] not in {"seq", "seq_to"}]
        for seq, column in enumerate(columns, 1):
            with suppress(sqlite3.IntegrityError):
                ledger.execute(f"UPDATE version SET {column} = {value} WHERE seq = ?", (seq,))
        ledger.execute("UPDATE sqlite_master SET sql = ? WHERE name = 'version'", as_it_is)
        ledger.commit()
    result = calldex("check", data=here)
    assert (1, True) == (result.exit_code, "is not what was written" in result.stdout), result.exception


def test_a_record_that_was_altered_is_refused_by_name(here: Path, tmp_path: Path) -> None:
    """Found by `check`; then not given, while others are; `backup` tells it as well; the record sent again is given."""
    with closing(sqlite3.connect(here / "ledger.db")) as ledger:
        knowing_json(ledger, here / "ledger.db").execute(
            "UPDATE version SET json = packed(replace(unpacked(json), '\"type\":', '\"Type\":')) WHERE seq = 7"
        )
        ledger.commit()
        uuid = ledger.execute("SELECT uuid FROM version WHERE seq = 7").fetchone()[0].hex()
    named = f"{uuid[:8]}-{uuid[8:12]}"
    checked = calldex("check", data=here)
    assert (1, True) == (checked.exit_code, named in checked.stdout)
    found = calldex("search", data=here)
    assert (1, True) == (found.exit_code, named in found.stderr)
    backed_up = calldex("backup", tmp_path / "b", data=here)
    assert (1, True) == (backed_up.exit_code, named in backed_up.stderr)
    assert 0 == calldex("import", "-", data=here, stdin=jsonl(50)).exit_code
    assert 0 == calldex("search", data=here).exit_code


def test_a_lock_file_that_was_deleted_makes_no_second_owner(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The folder itself is locked as well."""
    monkeypatch.setattr("calldex.cli.client.PATIENCE_S", 0.2)
    lock = Lock(here)
    try:
        (here / "calldex.lock").unlink()
        assert [6, 6] == [calldex(*words, data=here).exit_code for words in (("search",), ("check",))]
    finally:
        lock.release()


# --- new directories --------------------------------------------------------------------------------------------------


def test_a_missing_parent_is_refused(tmp_path: Path) -> None:
    """A disk that is not mounted gets no new, empty service."""
    for words in (("import", "-"), ("users", "add", "a@b.example", "--name", "A", "--role", "admin")):
        result = calldex(*words, data=tmp_path / "not" / "mounted")
        assert (5, True) == (result.exit_code, "is its disk mounted?" in result.stderr), result.output
    assert [] == list(tmp_path.iterdir())


def test_a_new_directory_is_announced(tmp_path: Path) -> None:
    """Once."""
    words = ("accounts", "add")
    assert "is a new data directory" in calldex(*words, "north", data=tmp_path / "data").stderr
    assert "is a new data directory" not in calldex(*words, "south", data=tmp_path / "data").stderr


def test_a_command_that_fails_leaves_nothing(tmp_path: Path) -> None:
    """A typo in `--data` makes no service that holds nothing."""
    (tmp_path / "typo").mkdir()
    for data in (tmp_path / "typo", tmp_path / "data"):
        assert 0 != calldex("import", "-", "--source", "nosuch", data=data, stdin=b"{}").exit_code
    assert ([], False) == (list((tmp_path / "typo").iterdir()), (tmp_path / "data").exists())


@pytest.mark.slow
def test_a_start_that_fails_leaves_nothing(tmp_path: Path) -> None:
    """A server that cannot listen takes away what it made."""
    code, _, err = ended(process("serve", "--host", "203.0.113.1", data=tmp_path / "data"))
    assert (2, False) == (code, (tmp_path / "data").exists()), err


@pytest.mark.slow
@pytest.mark.parametrize("at", ["directory", "ledger", "bound", "columns"])
def test_a_first_start_that_was_killed_goes_on(tmp_path: Path, at: str) -> None:
    """Whatever it had made by then."""
    data = tmp_path / "data"
    program = (
        "import os, sys\nfrom calldex.directory import Directory\nfrom calldex.store.embedded import EmbeddedStore\n"
        "from calldex.store.embedded import opening\nfrom calldex.store.embedded.ledger import Ledger\n"
        "from calldex.store.embedded.columns import Columns\n"
        "from calldex.cli import main\n"
        "def kill(*_, **__): os.kill(os.getpid(), 9)\n"
        "place = {'directory': (Directory, 'ledger_heads'), 'ledger': (opening, 'migrate'),"
        " 'bound': (Ledger, 'bind'), 'columns': (Columns, '_open')}[sys.argv[1]]\n"
        "setattr(*place, kill)\n"
        "main(['accounts', 'add', 'north', '--data', sys.argv[2]])\n"
    )
    killed = subprocess.run([sys.executable, "-c", program, at, str(data)], check=False, capture_output=True)
    assert -9 == killed.returncode, killed.stderr
    assert 0 == calldex("accounts", "add", "south", data=data).exit_code
    assert 0 == calldex("check", data=data).exit_code


def test_a_first_start_on_nothing_but_an_empty_file(tmp_path: Path) -> None:
    """As after a kill between making a file and its first table."""
    (tmp_path / "directory.db").touch()
    assert 0 == calldex("accounts", "add", "north", data=tmp_path).exit_code


def test_a_directory_from_before_heads_were_kept_starts(here: Path) -> None:
    """It is bound as it lies there; then it knows its ledger."""
    with closing(sqlite3.connect(here / "directory.db")) as db, closing(sqlite3.connect(here / "ledger.db")) as ledger:
        db.execute("DELETE FROM ledger_heads")
        db.commit()
        ledger.execute("DELETE FROM meta WHERE name = 'bound'")
        ledger.commit()
    assert 0 == calldex("accounts", "add", "north", data=here).exit_code
    with Directory.open(here / "directory.db") as directory, LedgerReader(here / "ledger.db") as ledger:
        assert {ledger.store_id: ledger.head()} == directory.ledger_heads()


# --- what was killed --------------------------------------------------------------------------------------------------

KILLED_COPY: Final = """
import os, sys
from calldex import backup
from calldex.cli import main
name = sys.argv[1]
def kill(*_, **__): os.kill(os.getpid(), 9)
rename, renames = backup.Path.rename, 0
def renamed(self, target):
    global renames
    renames += 1
    if renames == int(sys.argv[2]): kill()
    return rename(self, target)
backup.Path.rename = renamed
main(sys.argv[3:])
"""


def kill_at(rename: int, *words: object) -> None:
    """Run a command and kill it before its n-th file gets its name."""
    killed = subprocess.run(
        [sys.executable, "-c", KILLED_COPY, "", str(rename), *map(str, words)], check=False, capture_output=True
    )
    assert -9 == killed.returncode, killed.stderr


@pytest.mark.slow
def test_what_a_killed_backup_left_goes_with_the_next(here: Path, tmp_path: Path) -> None:
    """No copy of everything stays behind; what is no such leftover stays."""
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / ".mine.1.half").mkdir()
    (tmp_path / "b" / ".mine.1.half" / "letter").touch()
    kill_at(1, "backup", tmp_path / "b" / "one", "--data", here)
    assert 2 == len(list((tmp_path / "b").iterdir()))
    assert 0 == calldex("backup", tmp_path / "b" / "two", data=here).exit_code
    assert {"two", ".mine.1.half"} == {path.name for path in (tmp_path / "b").iterdir()}


@pytest.mark.slow
@pytest.mark.parametrize("rename", [1, 2])
def test_a_killed_restore_is_done_again(here: Path, tmp_path: Path, rename: int) -> None:
    """Nothing starts on what it left, and the next one begins anew."""
    assert 0 == calldex("backup", tmp_path / "b", data=here).exit_code
    new = tmp_path / "new"
    kill_at(rename, "restore", tmp_path / "b", "--data", new)
    for words in (("accounts", "add", "north"), ("check",)):
        result = calldex(*words, data=new)
        assert 5 == result.exit_code, result.output
    assert 0 == calldex("restore", tmp_path / "b", data=new).exit_code
    assert 0 == calldex("check", data=new).exit_code
    assert {"calldex.lock", "directory.db", "ledger.db"} == {path.name for path in new.iterdir()}
    assert 50 == calldex("search", "--format", "jsonl", "--all", data=new).stdout.count("\n")


@pytest.mark.slow
def test_a_server_that_stops_ends_an_import(tmp_path: Path) -> None:
    """Its sender is told what to do, exit code 3; the server ends well and says nothing else; what was committed is
    kept."""
    data = tmp_path / "data"
    server = process("serve", "--port", 0, data=data)
    assert server.stdout is not None
    assert b"serves" in server.stdout.readline()
    sockets = sockets_of(server)
    importing = process("import", "-", data=data)
    assert importing.stdin is not None
    importing.stdin.write(jsonl(300))  # more than a format is recognised by
    importing.stdin.flush()
    deadline, seen = time.monotonic() + 60, 0
    while seen < 10 and time.monotonic() < deadline:  # at first it only tries whether somebody listens
        seen = seen + 1 if sockets_of(server) > sockets else 0
        time.sleep(0.1)
    server.send_signal(signal.SIGTERM)
    code, _, err = ended(server)
    assert (0, False) == (code, "Traceback" in err), err
    code, _, err = ended(importing)
    assert (3, True) == (code, "the same can be imported again" in err), err
    assert 0 == calldex("check", data=data).exit_code


def sockets_of(server: subprocess.Popen[bytes]) -> int:
    """How many sockets a process has open."""
    count = 0
    for path in Path(f"/proc/{server.pid}/fd").iterdir():
        with suppress(FileNotFoundError):
            count += str(path.readlink()).startswith("socket:")
    return count

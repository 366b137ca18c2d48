"""Sources, and what of them could not be read."""

from __future__ import annotations

import re
from pathlib import Path

import msgspec
import pytest

from calldex.directory import Directory
from calldex.errors import DiskFull
from calldex.ingest import rebuild
from tests.cli.tools import SAMPLE, calldex, counts

ASTERISK = ("--format", "asterisk", "--set", "zone=UTC", "--set", "trunks=PJSIP/carrier-*", "--set", "extensions=10XX")


@pytest.fixture
def pbx(data: Path) -> Path:
    """A data directory with a source."""
    added = calldex("sources", "add", "pbx", *ASTERISK, data=data)
    assert 0 == added.exit_code, added.output
    return data


def test_an_asterisk_is_imported(pbx: Path) -> None:
    """The rows of a real PBX become its calls, 77 in the CDR and 12 more in the queue log alone; the same again, in
    any order, changes nothing."""
    files = (SAMPLE / "queue_log", SAMPLE / "Master.csv")
    first = calldex("import", "--source", "pbx", "--json", *files, data=pbx)
    assert 0 == first.exit_code, first.stderr
    assert "89 records match" in calldex("search", data=pbx).stderr
    read = counts(first)[0]
    assert [read, 0, 0, read, 0] == counts(calldex("import", "--source", "pbx", "--json", *reversed(files), data=pbx))


def test_a_source_is_shown_and_removed(pbx: Path) -> None:
    """With its settings as they were given; then it is gone."""
    shown = msgspec.json.decode(calldex("sources", "show", "pbx", "--json", data=pbx).stdout)
    assert {"zone": "UTC", "trunks": "PJSIP/carrier-*", "extensions": "10XX"} == shown["settings"]
    assert "PJSIP/carrier-*" in calldex("sources", "show", "pbx", data=pbx).stdout
    assert "pbx" in calldex("sources", "list", data=pbx).stdout
    assert 0 == calldex("sources", "remove", "pbx", data=pbx).exit_code
    assert [] == msgspec.json.decode(calldex("sources", "list", "--json", data=pbx).stdout)


@pytest.mark.parametrize(
    ("words", "exit_code", "message"),
    [
        (
            ("--format", "asterix"),
            1,
            "there is no format 'asterix', did you mean 'asterisk'?; formats are jsonl, asterisk",
        ),
        (("--format", "asterisk"), 2, "zone: is a setting that the format asterisk needs"),
        (("--format", "asterisk", "--set", "zone=UTC", "--set", "trunk=x"), 2, "did you mean 'trunks'?"),
        (
            ("--format", "asterisk", "--set", "zone=Mars"),
            2,
            "Error: --set: zone='Mars' is not a time zone; valid is an IANA name such as Europe/London, or UTC\n",
        ),
        (("--format", "asterisk", "--set", "zone"), 2, "--set 'zone': is not NAME=VALUE"),
        (("--format", "asterisk", "--set", "zone=UTC", "--set", "zone=UTC"), 2, "is given twice"),
    ],
)
def test_bad_sources_are_refused(words: tuple[str, ...], exit_code: int, message: str, data: Path) -> None:
    """With what is wrong and what is valid."""
    result = calldex("sources", "add", "pbx", *words, data=data)
    assert exit_code == result.exit_code, result.output
    assert message in result.stderr


def quarantined(data: Path) -> list[dict[str, object]]:
    """What lies in the quarantine."""
    found: list[dict[str, object]] = msgspec.json.decode(calldex("quarantine", "list", "--json", data=data).stdout)
    return found


def test_the_quarantine_is_listed_shown_and_retried(pbx: Path, tmp_path: Path) -> None:
    """A piece that was cut off is kept with its place and its bytes. A retry leaves it alone unless it is named: its
    whole may still come, and would be a call of its own. That it was cut is no failure of an import."""
    rows = (SAMPLE / "Master.csv").read_bytes().splitlines(keepends=True)[:5]
    cut = tmp_path / "Master.csv"
    cut.write_bytes(b"".join(rows)[:-10])
    imported = calldex("import", "--source", "pbx", cut, data=pbx)
    assert (0, True) == (
        imported.exit_code,
        "1 unfinished, as a file ended there;" in imported.stderr,
    )
    (piece,) = quarantined(pbx)
    assert ("pbx", "asterisk", str(cut), "line 5") == tuple(piece[k] for k in ("source", "format", "origin", "where"))
    assert rows[4][:-10] == calldex("quarantine", "show", piece["id"], "--raw", data=pbx).stdout_bytes
    assert str(piece["reason"]) in " ".join(calldex("quarantine", "show", piece["id"], data=pbx).stdout.split())
    for words in ((), (piece["id"],)):
        assert 0 == calldex("quarantine", "retry", *words, data=pbx).exit_code
        assert [piece] == quarantined(pbx)


def test_an_unfinished_row_is_retried_by_its_id(pbx: Path, tmp_path: Path) -> None:
    """Cut behind a column it reads as a row of another width, whose call would be there beside that of the whole row;
    so it stays where it is until somebody says that no more of it will come."""
    row = (SAMPLE / "Master.csv").read_bytes().splitlines()[0]
    cut = tmp_path / "Master.csv"
    cut.write_bytes(b",".join(row.split(b",")[:-5]))
    calldex("import", "--source", "pbx", cut, data=pbx)
    (piece,) = quarantined(pbx)
    calldex("quarantine", "retry", data=pbx)
    assert "0 records match" in calldex("search", data=pbx).stderr
    calldex("quarantine", "retry", piece["id"], data=pbx)
    assert [] == quarantined(pbx)
    assert "1 record matches" in calldex("search", data=pbx).stderr


def test_a_file_that_is_written_while_it_is_imported(pbx: Path, tmp_path: Path) -> None:
    """As often as it is imported: exit code 0, and in the end all is there and nothing in the quarantine. What cannot
    be read for another reason is exit code 9 all the same."""
    content, growing = (SAMPLE / "Master.csv").read_bytes(), tmp_path / "Master.csv"
    for size, unfinished in ((700, 1), (5000, 1), (5001, 1), (len(content), 0)):
        growing.write_bytes(content[:size])
        result = calldex("import", "--source", "pbx", "--json", growing, data=pbx)
        total = msgspec.json.decode(result.stdout)["total"]
        assert (0, unfinished, unfinished) == (result.exit_code, total["rejected"], total["unfinished"])
    assert [] == quarantined(pbx)
    growing.write_bytes(b"nonsense\n" + content[:700])
    result = calldex("import", "--source", "pbx", "--json", growing, data=pbx)
    assert (9, 1) == (result.exit_code, msgspec.json.decode(result.stdout)["total"]["unfinished"])


def test_pieces_are_dropped(pbx: Path, tmp_path: Path) -> None:
    """By their ids, or all of a source, and nothing else; it stands in the audit. An id that is not there is told, and
    then nothing is dropped."""
    junk = tmp_path / "junk"
    junk.write_bytes(b"one\ntwo\nthree\n")
    calldex("import", "--source", "pbx", junk, data=pbx)
    calldex("import", "--format", "jsonl", junk, data=pbx)
    first, second, *others = (each["id"] for each in quarantined(pbx))
    missing = calldex("quarantine", "drop", first, 999, data=pbx)
    assert (1, True) == (missing.exit_code, "the quarantine has no piece 999" in missing.stderr)
    dropped = calldex("quarantine", "drop", first, second, data=pbx)
    assert (0, "Dropped 2 pieces.\n", others) == (
        dropped.exit_code,
        dropped.stderr,
        [each["id"] for each in quarantined(pbx)],
    )
    calldex("quarantine", "drop", "--source", "pbx", data=pbx)
    assert others[1:] == [each["id"] for each in quarantined(pbx)]
    calldex("quarantine", "drop", "--source", "", data=pbx)
    assert [] == quarantined(pbx)
    noted = msgspec.json.decode(calldex("audit", "list", "--json", data=pbx).stdout)
    assert [("jsonl", 3), ("pbx", 1), ("pbx", 2)] == [
        (each["target"], each["detail"]["pieces"]) for each in noted if each["action"] == "quarantine_dropped"
    ]


@pytest.mark.parametrize("words", [(), ("7", "--source", "pbx")])
def test_what_to_drop_is_told_in_one_way(words: tuple[str, ...], pbx: Path) -> None:
    """Neither everything by mistake, nor two things at once; exit code 2."""
    refused = calldex("quarantine", "drop", *words, data=pbx)
    assert (2, True) == (refused.exit_code, "one of both" in refused.stderr)


def test_what_can_be_read_leaves_the_quarantine(data: Path, tmp_path: Path) -> None:
    """Rows in a column order that the source's settings did not tell are read once they do."""
    add = ("sources", "add", "old", "--format", "asterisk", "--set", "zone=UTC")
    assert 0 == calldex(*add, data=data).exit_code
    odd = tmp_path / "odd.csv"
    odd.write_text('"SIP/100-00000001","2026-01-05 10:00:00","2026-01-05 10:00:09","9","ANSWERED"\n')
    assert 9 == calldex("import", "--source", "old", odd, data=data).exit_code
    calldex("sources", "remove", "old", data=data)
    gone = calldex("quarantine", "retry", data=data)
    assert (1, True) == (gone.exit_code, "there is no source" in gone.stdout)
    assert 0 == calldex(*add, "--set", "columns=channel,start,end,billsec,disposition", data=data).exit_code
    assert 0 == calldex("quarantine", "retry", data=data).exit_code
    assert [] == msgspec.json.decode(calldex("quarantine", "list", "--json", data=data).stdout)
    assert "1 record matches" in calldex("search", data=data).stderr


def test_nothing_under_an_id(data: Path) -> None:
    """Exit code 1."""
    calldex("accounts", "add", "north", data=data)
    assert 1 == calldex("quarantine", "show", 7, data=data).exit_code


@pytest.mark.slow
def test_a_source_is_set_and_rebuilt(pbx: Path) -> None:
    """A wrong zone is put right: the preview says what will change, the rebuild makes new versions under the same
    uuids, and the settings are those that were asked for."""
    assert (
        0 == calldex("sources", "set", "pbx", "--set", "zone=Asia/Kathmandu", "--unset", "trunks", data=pbx).exit_code
    )
    calldex("import", "--source", "pbx", SAMPLE / "queue_log", SAMPLE / "Master.csv", data=pbx)
    before = uuids(pbx)
    done = calldex("sources", "set", "pbx", "--set", "zone=UTC", "--set", "trunks=PJSIP/carrier-*", data=pbx)
    assert "calldex sources rebuild pbx --preview" in done.stderr
    shown = calldex("sources", "show", "pbx", "--json", data=pbx)
    assert {"zone": "UTC", "trunks": "PJSIP/carrier-*", "extensions": "10XX"} == msgspec.json.decode(shown.stdout)[
        "settings"
    ]
    preview = msgspec.json.decode(calldex("sources", "rebuild", "pbx", "--preview", "--json", data=pbx).stdout)
    told = calldex("sources", "rebuild", "pbx", "--preview", data=pbx)
    assert "started_at" in told.stdout
    done = calldex("sources", "rebuild", "pbx", "--json", data=pbx)
    made = msgspec.json.decode(done.stdout)
    assert (89, preview["changed"], 0) == (made["changed"] + made["unchanged"], made["changed"], made["gone"])
    assert made["changed"] > 70
    assert before == uuids(pbx)
    assert [0, 89] == [
        msgspec.json.decode(calldex("sources", "rebuild", "pbx", "--json", data=pbx).stdout)[name]
        for name in ("changed", "unchanged")
    ]


def test_a_rebuild_that_ends_on_a_full_disk(pbx: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Says what it has done before; begun again it does the rest."""
    calldex("import", "--source", "pbx", SAMPLE / "Master.csv", data=pbx)
    calldex("sources", "set", "pbx", "--set", "zone=Asia/Kathmandu", data=pbx)
    monkeypatch.setattr(rebuild, "STEP", 40)
    step = rebuild.Rebuild.step

    def full(self: rebuild.Rebuild, after: int) -> rebuild.Step:
        if after > 0:
            raise DiskFull("there is no room left on the disk; nothing of this was kept")
        return step(self, after)

    monkeypatch.setattr(rebuild.Rebuild, "step", full)
    ended = calldex("sources", "rebuild", "pbx", data=pbx)
    done = re.search(r"; before that, (\d+) calls were put together otherwise, and are kept\n", ended.stderr)
    assert (4, True) == (ended.exit_code, done is not None), ended.stderr
    monkeypatch.setattr(rebuild.Rebuild, "step", step)
    made = msgspec.json.decode(calldex("sources", "rebuild", "pbx", "--json", data=pbx).stdout)
    assert done is not None
    assert made["unchanged"] == int(done[1]) > 0
    assert made["changed"] > 0


def uuids(data: Path) -> list[str]:
    """Those of all records."""
    found = calldex("search", "--all", "--format", "jsonl", data=data).stdout.splitlines()
    return sorted(msgspec.json.decode(each)["uuid"] for each in found)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("set", "pbx"), "say what to change"),
        (("set", "pbx", "--set", "zone=UTC", "--unset", "zone"), "zone: set and unset; one of both"),
        (("set", "pbx", "--unset", "dialer"), "--unset 'dialer': is not set"),
        (("set", "pbx", "--unset", "zone"), "zone: is a setting that the format asterisk needs"),
        (("set", "pbx", "--set", "zone=Mars"), "zone='Mars' is not a time zone"),
        (("set", "pbxx", "--set", "zone=UTC"), "there is no source 'pbxx', did you mean 'pbx'?"),
        (("rebuild", "pbxx"), "there is no source 'pbxx', did you mean 'pbx'?"),
    ],
)
def test_a_source_that_cannot_be_changed(words: tuple[str, ...], message: str, pbx: Path) -> None:
    """Says why, and stays as it was."""
    result = calldex("sources", *words, data=pbx)
    assert 0 != result.exit_code
    assert message in result.stderr
    assert "UTC" in calldex("sources", "show", "pbx", data=pbx).stdout


def test_what_opens_a_bucket_of_recordings_is_kept_sealed(data: Path) -> None:
    """The secret is read from standard input, and told nowhere; a source without a bucket needs none."""
    place = "recordings=s3://voices/calls?endpoint=https://storage.example.com"
    assert 0 == calldex("sources", "add", "pbx", "--format", "jsonl", "--set", place, data=data).exit_code
    words = ("sources", "credentials", "pbx", "--access-key-id", "AKIATEST")
    result = calldex(*words, data=data, stdin=b"a secret of some length\n")
    assert 0 == result.exit_code, result.stderr
    shown = calldex("sources", "show", "pbx", data=data)
    assert "a secret" not in result.output + shown.output
    assert b"a secret of some length" not in (data / "directory.db").read_bytes()
    with Directory.open(data / "directory.db") as directory:
        assert "a secret of some length" in str(directory.bucket_secret("recordings", "pbx"))
    calldex("sources", "set", "pbx", "--unset", "recordings", data=data)
    refused = calldex(*words, data=data, stdin=b"x\n")
    assert (2, True) == (refused.exit_code, "is no bucket" in refused.stderr), refused.stderr

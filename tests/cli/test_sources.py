"""Sources, and what of them could not be read."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

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


def test_the_quarantine_is_listed_shown_and_retried(pbx: Path, tmp_path: Path) -> None:
    """A piece that was cut off is kept with its place and its bytes, and stays as long as it cannot be read."""
    rows = (SAMPLE / "Master.csv").read_bytes().splitlines(keepends=True)[:5]
    cut = tmp_path / "Master.csv"
    cut.write_bytes(b"".join(rows)[:-10])
    assert 9 == calldex("import", "--source", "pbx", cut, data=pbx).exit_code
    (piece,) = msgspec.json.decode(calldex("quarantine", "list", "--json", data=pbx).stdout)
    assert ("pbx", "asterisk", str(cut), "line 5") == tuple(piece[k] for k in ("source", "format", "origin", "where"))
    assert rows[4][:-10] == calldex("quarantine", "show", piece["id"], "--raw", data=pbx).stdout_bytes
    assert piece["reason"] in " ".join(calldex("quarantine", "show", piece["id"], data=pbx).stdout.split())
    assert 0 == calldex("quarantine", "retry", data=pbx).exit_code
    assert "line 5" in calldex("quarantine", "list", data=pbx).stdout


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
    assert "1 records match" in calldex("search", data=data).stderr


def test_nothing_under_an_id(data: Path) -> None:
    """Exit code 1."""
    calldex("accounts", "add", "north", data=data)
    assert 1 == calldex("quarantine", "show", 7, data=data).exit_code

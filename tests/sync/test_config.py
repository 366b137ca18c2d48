"""The file of `calldex sync`."""

from __future__ import annotations

import subprocess
import sys
from datetime import date
from pathlib import Path

import pytest

from calldex.errors import BadSettings, UnreadableInput
from calldex.sync.config import Config, load, seconds
from calldex.sync.reading import bounds

CHANGED = ("2026-10-25", "2026-03-29", "2026-11-01")
GOOD = """
[source.main]
url = "http://127.0.0.1:8080"
key = "env:CDR_KEY"

[destination.out]
kind = "nothing"

[pipe.calls]
from = "main"
to = "out"
every = "5m"
filters = { type = "inbound,outbound", agent_ids = [1, 2] }
"""


def read(folder: Path, text: str) -> Config:
    """What a file with this text says, where the environment has a key."""
    path = folder / "sync.toml"
    path.write_text(text)
    return load(path, {"CDR_KEY": "cdx_secret", "EMPTY": ""})


def problems(folder: Path, text: str) -> dict[str, str]:
    """What is wrong with a file, by member."""
    with pytest.raises(BadSettings) as wrong:
        read(folder, text)
    return {problem.parameter: str(problem) for problem in wrong.value.problems}


def test_what_stands_in_the_file(tmp_path: Path) -> None:
    """Sources, destinations and pipes by name; `env:` and `file:` stand for what is elsewhere."""
    config = read(tmp_path, GOOD)
    assert "cdx_secret" == config.sources["main"].key
    assert {"type": "inbound,outbound", "agent_ids": [1, 2]} == config.pipes["calls"].filters
    assert 300 == seconds(config.pipes["calls"].every or "")
    assert tmp_path / "sync.toml.state" == config.state
    assert date(2026, 2, 28) == read(tmp_path, GOOD.replace("key =", "since = 2026-02-28\nkey =")).sources["main"].since
    (tmp_path / "key").write_text("cdx_other\n")
    assert "cdx_other" == read(tmp_path, GOOD.replace("env:CDR_KEY", "file:key")).sources["main"].key


@pytest.mark.parametrize(
    ("old", "new", "member", "words"),
    [
        ("env:CDR_KEY", "env:NONE", "source.main.key", "'env:NONE': the environment has no such variable"),
        ("env:CDR_KEY", "env:EMPTY", "source.main.key", "or an empty one"),
        ("env:CDR_KEY", "file:none", "source.main.key", "No such file"),
        ("env:CDR_KEY", "cdx_plain", "source.main.key", '"env:NAME" or "file:PATH"'),
        ("http://127", "ftp://127", "source.main.url", "Valid: an address, as https://example.com"),
        ('every = "5m"', 'every = "soon"', "pipe.calls.every", "Valid: 30s, 5m, 2h, 1d"),
        ('every = "5m"', 'evrey = "5m"', "pipe.calls.evrey", "did you mean 'every'"),
        ('to = "out"', 'to = "oat"', "pipe.calls.to", "Valid: out"),
        ('from = "main"', 'from = "man"', "pipe.calls.from", "did you mean 'main'"),
        ('kind = "nothing"', 'kind = "postgre"', "destination.out.kind", "postgre"),
        ('kind = "nothing"', 'kind = "nothing"\nurl = "x"', "destination.out.url", "unknown member"),
        ("[source.main]", "[sources.main]", "sources", "did you mean 'source'"),
        ('key = "env', 'timezone = "Europe/Berln"\nkey = "env', "source.main.timezone", "did you mean 'Europe/Berlin'"),
        ('key = "env', 'since = "2026-02-30"\nkey = "env', "source.main.since", "'2026-02-30'"),
        ('key = "env', 'look_back = 0\nkey = "env', "source.main.look_back", "1"),
        ("agent_ids =", "per_page = 5, agent_ids =", "pipe.calls.filters.per_page", "the sync itself sets it"),
        ("[pipe.calls]", '[watch]\nwebhook = "example.com"\n[pipe.calls]', "watch.webhook", "http"),
        ("[pipe.calls]", '[watch]\nsmtp = "localhost"\n[pipe.calls]', "watch.smtp", "Valid: smtp://host:25"),
        ('kind = "nothing"', 'kind = "push"\nurl = "example.com"', "destination.out.url", "http"),
        (
            'kind = "nothing"',
            'kind = "push"\nurl = "http://a"\nrate = "fast"',
            "destination.out.rate",
            "Valid: requests in",
        ),
        ('kind = "nothing"', 'kind = "push"\nurl = "http://a"\nregion = "uk"', "destination.out.region", "as GB"),
        (
            'kind = "nothing"',
            'kind = "zendesk"\nurl = "example.zendesk.com"\nemail = "a"\ntoken = "env:CDR_KEY"\napp_id = 1',
            "destination.out.url",
            "http",
        ),
    ],
)
def test_what_is_wrong_is_named(tmp_path: Path, old: str, new: str, member: str, words: str) -> None:
    """By its member, with what was given and what is valid, and without a secret."""
    found = problems(tmp_path, GOOD.replace(old, new, 1))
    assert words in found[member]
    assert "cdx_plain" not in str(found)


def test_everything_wrong_is_told_at_once(tmp_path: Path) -> None:
    """Not one at a time."""
    text = GOOD.replace("env:CDR_KEY", "env:NONE").replace('"5m"', '"x"').replace('to = "out"', 'to = "no"')
    assert {"source.main.key", "pipe.calls.every"} <= problems(tmp_path, text).keys()


def test_no_file(tmp_path: Path) -> None:
    """Says how one is made."""
    with pytest.raises(UnreadableInput, match="sync init"):
        load(tmp_path / "none.toml")
    with pytest.raises(UnreadableInput, match="not TOML"):
        read(tmp_path, "[")


def test_two_pipes_do_not_contend(tmp_path: Path) -> None:
    """One that deletes what it does not see is alone with the records of an account, though not with others'."""
    copy = GOOD.replace('kind = "nothing"', 'kind = "duckdb"\npath = "copy.duckdb"')
    more = '[pipe.more]\nfrom = "{}"\nto = "out"\n'
    assert (
        "the pipe calls brings the account main there" in problems(tmp_path, copy + more.format("main"))["pipe.more.to"]
    )
    assert {"calls", "more"} == read(tmp_path, GOOD + more.format("main")).pipes.keys()
    again = copy.replace("[pipe.", '[destination.again]\nkind = "duckdb"\npath = "copy.duckdb"\n[pipe.')
    assert "pipe.more.to" in problems(tmp_path, again + more.format("main").replace("out", "again"))
    other = '[source.other]\nurl = "http://127.0.0.1:8081"\nkey = "env:CDR_KEY"\n'
    assert {"calls", "more"} == read(tmp_path, copy + other + more.format("other")).pipes.keys()


def test_nothing_of_the_extra_is_imported_without_need() -> None:
    """What has no extra can use the command line, and every destination that needs none of it."""
    modules = "calldex.cli.sync, calldex.sync.runner, calldex.sync.service, calldex.sync.destinations.calldex"
    heavy = ("dlt", "pyarrow", "deltalake", "phonenumbers")
    script = f"import sys, {modules}; print([m for m in {heavy} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert "[]" == done.stdout.strip()


def test_a_day_has_as_many_hours_as_it_has() -> None:
    """Also where the clock is changed."""
    hours = [(end - start) // 3_600_000 for start, end in (bounds(day, day, "Europe/Berlin") for day in CHANGED)]
    assert [25, 23, 24] == hours

"""A source that was set up wrongly is put right: its calls are made again from the rows that are kept."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import msgspec
import pytest

from calldex.directory import Directory
from calldex.errors import UsageProblem
from calldex.formats.asterisk import FORMAT
from calldex.formats.asterisk.settings import AsteriskSettings
from calldex.formats.jsonl import FORMAT as JSONL
from calldex.formats.jsonl import JsonlSettings
from calldex.ingest import rebuild as module
from calldex.ingest.calls import Feed
from calldex.ingest.pipeline import Ingest
from calldex.ingest.rebuild import Rebuild, Rebuilt, Step
from calldex.ingest.settle import settle
from calldex.store import Batch, Store
from tests.engines import ENGINES, LONG_S, answer, erase, everything
from tests.formats.test_asterisk_consistent import EPOCH, at
from tests.formats.tools import ASTERISK_22, PBX, line


class Site:
    """A store, a directory and a source."""

    def __init__(self, store: Store, directory: Directory) -> None:
        self.store, self.directory = store, directory
        self.account_id = directory.account().id

    def feed(self, known: AsteriskSettings) -> Feed:
        """The source, set up like this."""
        return Feed(account_id=self.account_id, source="pbx", format=FORMAT, settings=known)

    def take(self, known: AsteriskSettings, *data: bytes) -> None:
        """Take in files."""
        for each in data:
            Ingest(self.directory, self.store).run(self.feed(known), [each], "file")

    def steps(self, known: AsteriskSettings, *whats: str) -> Rebuilt:
        """All steps of a rebuild."""
        found = Rebuilt()
        rebuild = Rebuild(self.directory, self.store, self.feed(known))
        for what in whats:
            step: Callable[[int], Step] = getattr(rebuild, what)
            after: int | None = 0
            while after is not None:
                made = step(after)
                found.include(made.found)
                after = made.last
        self.store.settle()
        return found

    def records(self) -> list[dict[str, Any]]:
        """Every record."""
        _, json = answer(self.store, everything(self.account_id))
        return sorted(map(msgspec.json.decode, json.splitlines()), key=lambda record: str(record["uuid"]))


@pytest.fixture(params=["embedded", pytest.param("chdb", marks=pytest.mark.slow)])
def site(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    """A site whose rebuilds take many steps."""
    monkeypatch.setattr(module, "STEP", 20)
    (tmp_path / "own").mkdir()
    with (
        closing(ENGINES[request.param](tmp_path, LONG_S)) as store,
        Directory.open(tmp_path / "own" / "directory.db") as directory,
    ):
        yield Site(store, directory)


FILES = ((PBX / "queue_log").read_bytes(), (PBX / "Master.csv").read_bytes())
WRONG = AsteriskSettings(zone="Asia/Kathmandu")


def test_wrong_settings_are_put_right_afterwards(site: Site) -> None:
    """What comes out is to the byte what the right settings would have made at once, under the same uuids; a preview
    says what will change, and changes nothing; another rebuild changes nothing either."""
    site.take(ASTERISK_22, *FILES)
    right = site.records()
    site.steps(WRONG, "relink", "step")
    wrong = site.records()
    assert [each["uuid"] for each in right] == [each["uuid"] for each in wrong]
    assert {"inbound", "internal"} == {each["type"] for each in wrong}

    shown = site.steps(ASTERISK_22, "relink", "preview")
    assert wrong == site.records()
    made = site.steps(ASTERISK_22, "relink", "step")
    assert right == site.records()
    assert (89, 0, 0) == (made.changed + made.unchanged, made.gone, made.new)
    assert (shown.changed, shown.unchanged, shown.members) == (made.changed, made.unchanged, made.members)
    assert made.members["type"] == sum(a["type"] != b["type"] for a, b in zip(right, wrong, strict=True))
    assert (89, 0) == ((again := site.steps(ASTERISK_22, "relink", "step")).unchanged, again.changed)


def test_rows_that_are_no_calls_go_and_come_back(site: Site) -> None:
    """By the setting, under the uuid they had."""
    text, call = line(dcontext="sms", uniqueid=f"{EPOCH}.1", linkedid=""), line(uniqueid=f"{EPOCH}.50", linkedid="")
    site.take(AsteriskSettings(zone="UTC"), text, call.replace(b"0000000", b"0000001"))
    before = site.records()
    assert 2 == len(before)
    gone = site.steps(AsteriskSettings(zone="UTC", no_calls=("sms",)), "relink", "step")
    assert (1, 1, 1) == (gone.gone, gone.unchanged, len(site.records()))
    back = site.steps(AsteriskSettings(zone="UTC"), "relink", "step")
    assert (1, before) == (back.new, site.records())


def test_rows_that_an_older_version_kept_apart_are_joined(site: Site) -> None:
    """Links are made as they would be today: the call of the older id stays, the other one becomes part of it."""
    asked = {"dstchannel": "PJSIP/202-00000004", "linkedid": f"{EPOCH + 20}.3", "uniqueid": f"{EPOCH + 20}.3"}
    consultation = line(**asked, channel="PJSIP/201-00000003", start=at(20), answer=at(24), end=at(70))
    after = line(dstchannel="PJSIP/202-00000004", start=at(70), answer=at(70), end=at(105), duration="35", billsec="35")
    site.take(WRONG, line(), consultation, after)
    (whole,) = site.records()
    feed = site.feed(WRONG)
    rows = [row for _, row in site.store.rows_of_source(site.account_id, "pbx", 0, 9)]
    assert 3 == site.store.count_rows(site.account_id, "pbx")

    plain = [msgspec.structs.replace(row, links=tuple(x for x in row.links if x.startswith("id:"))) for row in rows]
    site.store.write(
        Batch(account_id=site.account_id, source="older", format="asterisk", origin="", rows=plain), wait=True
    )
    older = msgspec.structs.replace(feed, source="older")
    rebuild = Rebuild(site.directory, site.store, older)
    assert plain == [row for _, row in site.store.rows_of_source(site.account_id, "older", 0, 9)]
    rebuild.relink(0)
    assert rows == [row for _, row in site.store.rows_of_source(site.account_id, "older", 0, 9)]
    assert [3] == [len(call) for call in [site.store.rows_of_calls(site.account_id, "older", plain[0].links)]]
    assert 3 == len(whole["legs"])


def test_what_was_erased_stays_erased(site: Site) -> None:
    """Whatever is still known of its rows."""
    site.take(ASTERISK_22, *FILES)
    first = str(site.records()[0]["uuid"])
    erase(site.store, site.account_id, [first])
    found = site.steps(WRONG, "relink", "step")
    assert (1, 0) == (found.erased, found.new)
    assert first not in {each["uuid"] for each in site.records()}


def test_a_call_that_was_settled_stays_so(site: Site) -> None:
    """Though its rows still say that it goes on."""
    site.take(ASTERISK_22, *FILES)
    site.directory.add_source("pbx", "asterisk", {"zone": "UTC"})
    assert 12 == settle(site.directory, site.store, int(time.time() * 1000) + 10**12)
    site.store.settle()
    before = site.records()
    assert (0, 89) == ((found := site.steps(ASTERISK_22, "relink", "step")).changed, found.unchanged)
    assert before == site.records()


def test_a_source_of_whole_records_has_nothing_to_put_together(site: Site) -> None:
    """It says so."""
    feed = Feed(account_id=site.account_id, source="crm", format=JSONL, settings=JsonlSettings())
    with pytest.raises(UsageProblem, match="the source crm has records of the format jsonl"):
        Rebuild(site.directory, site.store, feed)

"""Asterisk: the rows that its own test suite expects of 61 scenarios make the calls that were written down for them.

The suite's expectations are under another licence and lie beside the repository, if at all; here is only which of a
scenario's rows are one call, and what that call is. Expectations are patterns, without times and ids: rows are made
that fit them, and times are invented.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from calldex.formats.asterisk.settings import AsteriskSettings
from calldex.records.record import CallRow, Cdr
from tests.formats.test_asterisk_consistent import at, contradictions
from tests.formats.tools import calls, line, read, sample

SCENARIOS = json.loads((Path(__file__).parent / "goldens" / "asterisk-testsuite.json").read_bytes())
"""For each scenario its calls: the numbers of their rows, and what they are."""
KNOWN = AsteriskSettings(zone="UTC", agents=("PJSIP/alice=Alice Moreno", "PJSIP/bob=Bob Tan"))
RING_S, TALK_S = 4, 6
NAMES = {
    "channel": "channel",
    "dchannel": "dstchannel",
    "destination": "dst",
    "dcontext": "dcontext",
    "callerid": "clid",
    "source": "src",
    "lastapp": "lastapp",
    "lastarg": "lastdata",
    "disposition": "disposition",
    "accountcode": "accountcode",
    "userfield": "userfield",
}


def fitting(pattern: str, call: int) -> str:
    """A text that a pattern of the suite fits; channels of one pattern are one channel within a call."""
    text = pattern.removeprefix("^").removesuffix("$").replace(".*/", "PJSIP/").replace("\\", "")
    text = re.sub(r"-\.\{8\}|-\.\*", f"-{call:08x}", text)
    text = re.sub(r"-\.\{7\}", f"-{call:07x}", text)
    return re.sub(r"\.\{1\}|\.\*", "1", text)


def rows_of_call(lines: list[dict[str, str | None]], number: int) -> bytes:
    """Rows that fit a call's expectations: one after the other where the first was answered, else at once."""
    begin = 120 * number
    now, before = begin, None
    data = b""
    for place, expected in enumerate(lines):
        values = {NAMES[name]: fitting(value or "", number) for name, value in expected.items() if name in NAMES}
        answered = values.get("disposition", "ANSWERED") == "ANSWERED"
        if before is not None and before[1]:
            now = before[0]
        end = now + (RING_S + TALK_S if answered else RING_S)
        whole: dict[str, str] = {
            "src": "",
            "dst": "",
            "clid": "",
            "channel": "",
            "dstchannel": "",
            "lastapp": "",
            **values,
            **({"lastapp": "Dial"} if values.get("dstchannel") and not values.get("lastapp") else {}),
        }
        data += line(
            **whole,
            start=at(now),
            answer=at(now + RING_S) if answered else "",
            end=at(end),
            duration=str(end - now),
            billsec=str(TALK_S if answered else 0),
            uniqueid=f"{1782900000 + begin}.{number * 100 + CHANNEL_IDS.setdefault((number, whole['channel']), place)}",
            linkedid=f"{1782900000 + begin}.{number * 100}",
            sequence=str(place),
        )
        before = end, answered
    return data


CHANNEL_IDS: dict[tuple[int, str], int] = {}


def told(call: Cdr) -> dict[str, Any]:
    """What of a call the rows of the suite can decide."""
    found = {
        "type": call.type,
        "disposition": call.disposition,
        "from": call.from_,
        "to": call.to,
        "agent": call.agent,
        "duration_s": call.duration_s,
        "talk_s": call.talk_s,
        "events": [event.type for event in call.events],
        "legs": len(call.legs),
    }
    return {name: value for name, value in found.items() if value not in (None, [])}


def expected_lines(scenario: str) -> list[dict[str, str | None]]:
    """The rows that the suite expects of a scenario, of all its files."""
    suite = json.loads(sample("asterisk_testsuite/expected_cdr_by_scenario.json").read_bytes())
    return [each for file in suite[scenario]["expected"] for each in file["lines"]]


@pytest.mark.parametrize("scenario", sorted(SCENARIOS))
def test_a_scenario_of_the_test_suite_makes_its_calls(scenario: str) -> None:
    """Every row belongs to one call, what is made of it is what was written down, and does not contradict itself."""
    lines = expected_lines(scenario)
    written = SCENARIOS[scenario]
    assert sorted(place for call in written for place in call["rows"]) == list(range(len(lines)))
    for each in lines:
        for name in ("channel", "dchannel"):
            assert not each.get(name) or re.search(str(each[name]), fitting(str(each[name]), 1))
    CHANNEL_IDS.clear()
    data = b"".join(rows_of_call([lines[place] for place in call["rows"]], n) for n, call in enumerate(written))
    made = calls((row for row in read(data, KNOWN) if isinstance(row, CallRow)), KNOWN)
    assert [{name: value for name, value in call.items() if name != "rows"} for call in written] == [
        told(call) for call in made
    ]
    assert [] == [problem for call in made for problem in contradictions(call)]


def test_every_scenario_is_written_down() -> None:
    """All 61."""
    suite = json.loads(sample("asterisk_testsuite/expected_cdr_by_scenario.json").read_bytes())
    assert sorted(suite) == sorted(SCENARIOS)
    assert 61 == len(SCENARIOS)

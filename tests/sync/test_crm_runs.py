"""A pipe from the server into a CRM, as `calldex sync run` carries it out."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from calldex.sync.state import StateFile
from tests.sync.conftest import Rig, Source, changed, some
from tests.sync.vendors.hubspot import HubSpot
from tests.sync.vendors.server import answers

_CALLS = ("inbound", "outbound", "dialer", "click_to_call", "queue_callback", "scheduled_callback")
_OPEN = ("waiting", "active", "initiated")


@pytest.fixture
def hubspot() -> Iterator[HubSpot]:
    """An account that lets us work fast."""
    with HubSpot(1000, 1) as vendor:
        yield vendor


def expected(source: Source) -> set[str]:
    """The uuids of the calls that a CRM gets."""
    records = source.records().values()
    return {one["uuid"] for one in records if one["type"] in _CALLS and one["disposition"] not in _OPEN}


def test_a_crm_is_kept_up_to_date(source: Source, hubspot: HubSpot, tmp_path: Path) -> None:
    """All calls, and no other records; what the CRM refused is listed in its words, and sent when it changes; what is
    erased goes; a run in which nothing changed sends nothing."""
    mine = [one for one in some(40, seed=31) if one.type in _CALLS and one.disposition not in _OPEN]
    source.post(mine)
    hubspot.bad = {mine[0].uuid}
    given = {"kind": "hubspot", "token": "env:TOKEN", "url": hubspot.url}
    rig = Rig(tmp_path, source.url, source.keys["admin"], given)
    rig.environment["TOKEN"] = "pat-1"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("calldex.sync.crm.http._LONGEST_PAUSE_S", 0.05)
        hubspot.fail("upsert", answers(503), answers(429, retry_after="0"))
        status = rig.run()
    assert ("", 1) == (status.problem, status.failed)
    with StateFile(rig.config.state, writing=False) as file:
        (failure,) = file.failures("calls", 10)
    assert (mine[0].uuid, False) == (failure.uuid, failure.retry)
    assert "was not valid" in failure.message
    held = {call["calldex_uuid"] for call in hubspot.calls.values()}
    assert expected(source) - {mine[0].uuid} == held
    asked = hubspot.count("upsert")
    assert 0 == rig.run().changes
    assert asked == hubspot.count("upsert")
    hubspot.bad = set()
    source.post([changed(mine[0], comment="Called back")])
    source.delete([mine[1].uuid])
    assert 0 == rig.run().failed
    assert expected(source) == {call["calldex_uuid"] for call in hubspot.calls.values()}


def test_an_account_that_lets_nobody_in_is_told(source: Source, hubspot: HubSpot, tmp_path: Path) -> None:
    """The pipe has the problem in the vendor's words, without the token, and goes on when it is mended."""
    given = {"kind": "hubspot", "token": "env:TOKEN", "url": hubspot.url}
    rig = Rig(tmp_path, source.url, source.keys["admin"], given)
    rig.environment["TOKEN"] = "pat-2"
    status = rig.run()
    assert "HubSpot answered 401" in status.problem
    assert "pat-2" not in status.problem
    rig.environment["TOKEN"] = "pat-1"
    assert "" == rig.run().problem
    assert expected(source) == {call["calldex_uuid"] for call in hubspot.calls.values()}

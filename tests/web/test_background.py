"""Exports that the server makes while somebody goes on, and how numbers are written where people read them."""

from __future__ import annotations

import re
from typing import Any

import httpx
import pytest
from playwright.sync_api import Page, Route, expect

from tests.web.conftest import Place, list_at
from tests.web.test_list import asked
from tests.web.test_troubles import violations

pytestmark = pytest.mark.slow

EXPORTS = "/api/v2/cdr/exports"


@pytest.fixture(autouse=True)
def none_left(place: Place) -> None:
    """No export of a test is there for the next."""
    headers = {"Authorization": f"Bearer {place.keys['admin']}"}
    for each in httpx.get(f"{place.url}{EXPORTS}", headers=headers).json()["exports"]:
        httpx.delete(f"{place.url}{EXPORTS}/{each['id']}", headers=headers)


def panel(page: Page, url: str) -> None:
    """The panel of exports over a list."""
    list_at(page, url)
    page.get_by_test_id("export").click()
    expect(page.get_by_test_id("export-later")).to_be_visible()


def test_a_file_is_made_in_the_background(place: Place, page: Page) -> None:
    """It is what the API exports under these filters, columns and zone; there when one comes back, until it is
    deleted."""
    address = f"{place.url}/?type=inbound&columns=uuid,from&timezone=Europe/Berlin"
    panel(page, address)
    page.get_by_label("CSV for programs").check()
    page.get_by_test_id("export-later").click()
    own = page.get_by_test_id("exports")
    expect(own.get_by_role("link", name="Save the file")).to_be_visible()
    assert [] == violations(page)
    page.goto(address)
    page.get_by_test_id("export").click()
    with page.expect_download() as told:
        own.get_by_role("link", name="Save the file").click()
    headers = {"Authorization": f"Bearer {place.keys['admin']}"}
    query = {"type": "inbound", "fields": "uuid,from", "format": "csv", "timezone": "Europe/Berlin"}
    expected = httpx.get(f"{place.url}/api/v2/cdr/export", params=query, headers=headers, timeout=60)
    assert expected.content == told.value.path().read_bytes()
    own.get_by_role("button", name="Delete").click()
    expect(own).to_have_count(0)
    page.reload()
    page.get_by_test_id("export").click()
    expect(page.get_by_test_id("export-later")).to_be_visible()
    expect(own).to_have_count(0)


def shown(state: str, **members: Any) -> dict[str, Any]:
    """An export as the API shows it."""
    made = {"id": "0" * 32, "state": state, "format": "csv", "made_by": "admin@main.example.com", "schedule": None}
    rest = {"created_at": "2026-01-01T10:00:00Z", "records": 0, "total": None, "bytes": 0, "reason": None, "link": None}
    return made | rest | members


def test_how_far_it_is_and_what_became_of_it_is_told(place: Place, page: Page) -> None:
    """Waiting, running, failed: and it is stopped when somebody says so; exports of others and of schedules are
    not among one's own."""
    states = [shown("queued"), shown("running", total=400, records=100), shown("failed", reason="the disk is full")]
    others = [shown("done", id="1" * 32, made_by="x@main.example.com"), shown("done", id="2" * 32, schedule=7)]
    removed: list[str] = []
    turn = {"at": 0}

    def answer(route: Route) -> None:
        if route.request.method == "DELETE":
            removed.append(route.request.url)
            route.fulfill(status=204)
        else:
            route.fulfill(json={"exports": [states[turn["at"]], *others]})

    page.route(re.compile(EXPORTS), answer)
    panel(page, place.url)
    own = page.get_by_test_id("exports")
    expect(own.locator("li")).to_have_count(1)
    expect(own).to_contain_text("waits for its turn")
    turn["at"] = 1
    expect(own).to_contain_text("100 of 400")
    assert "100" == own.get_by_role("progressbar").get_attribute("value")
    turn["at"] = 2
    expect(own).to_contain_text("Failed: the disk is full")
    turn["at"] = 1
    page.keyboard.press("Escape")
    page.get_by_test_id("export").click()
    own.get_by_role("button", name="Stop").click()
    expect(own).to_have_count(0)
    assert [f"{place.url}{EXPORTS}/{'0' * 32}"] == removed


def test_escape_leaves_a_download_that_runs(place: Place, page: Page) -> None:
    """What could stop it stays; when it is stopped, Escape closes the panel, and that alone."""
    panel(page, f"{place.url}/cdr/{place.records[0].uuid}?timezone=UTC")
    page.route(re.compile(r"/cdr/export\?"), lambda _: None)  # it never answers
    page.get_by_test_id("export-start").click()
    stop = page.get_by_role("button", name="Stop")
    for _ in range(2):
        page.keyboard.press("Escape")
        expect(stop).to_be_visible()
    stop.click()
    page.keyboard.press("Escape")
    expect(page.get_by_test_id("export-start")).to_have_count(0)
    expect(page.get_by_test_id("record")).to_be_visible()


def test_more_than_may_be_made_is_refused_with_words(place: Place, page: Page) -> None:
    """What the server says stands where it was asked, and nothing that was chosen is lost."""
    error = {"error": "5 of your exports wait or run already", "type": "urn:calldex:error:too_many"}
    page.route(
        re.compile(EXPORTS),
        lambda route: route.continue_() if route.request.method == "GET" else route.fulfill(status=429, json=error),
    )
    panel(page, place.url)
    page.get_by_label("Excel").check()
    page.get_by_test_id("export-later").click()
    expect(page.get_by_test_id("error")).to_contain_text("5 of your exports")
    expect(page.get_by_label("Excel")).to_be_checked()


def test_numbers_are_written_as_their_country_does(place: Place, page: Page) -> None:
    """As the server says, in the list and in the record; what is copied or filtered by is the number itself."""
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    numbers = asked(place, type="inbound", per_page=100, numbers="international").json()["numbers"]
    record = next(each for each in place.records if each.type == "inbound" and each.from_ in numbers)
    written = numbers[record.from_]
    assert " " in written
    list_at(page, f"{place.url}/?type=inbound&from={record.from_}&columns=from,started_at")
    cell = page.get_by_test_id("row").first.get_by_role("gridcell").first
    expect(cell).to_have_text(written)
    expect(page.get_by_test_id("chip").filter(has_text=written)).to_be_visible()
    cell.click()
    expect(page.get_by_test_id("record").get_by_role("heading", level=2)).to_contain_text(written)
    page.keyboard.press("Escape")
    page.keyboard.press("c")
    assert f"+{record.from_}" == page.evaluate("navigator.clipboard.readText()")
    assert f"from={record.from_}" in page.url

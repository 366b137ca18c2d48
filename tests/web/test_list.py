"""The page in a browser: signing in, the list, its filters, a record, and what an address holds."""

from __future__ import annotations

import re
from itertools import pairwise
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest
from playwright.sync_api import Page, Route, expect

from tests.web.conftest import PASSWORD, RECORDS, Opened, Place, list_at, total, until

pytestmark = pytest.mark.slow


def asked(place: Place, /, **params: Any) -> httpx.Response:
    """What the API says to the admin's key."""
    headers = {"Authorization": f"Bearer {place.keys['admin']}"}
    return httpx.get(f"{place.url}/api/v2/cdr", params=params, headers=headers, timeout=60)


def uuids(page: Page) -> list[str]:
    """The uuids of the rows in their order on the screen."""
    rows = page.get_by_test_id("row").evaluate_all(
        "rows => rows.map(row => [Number(row.ariaRowIndex), row.dataset.uuid]).sort((a, b) => a[0] - b[0])"
    )
    return [uuid for _, uuid in rows]


def test_who_is_not_signed_in_is_sent_to_sign_in_and_comes_back(place: Place, watched: Opened) -> None:
    """An address is opened without a session: after the password, what it names is there."""
    page = watched().new_page()
    page.goto(f"{place.url}/?type=inbound&timezone=UTC")
    page.get_by_test_id("signin-email").fill("admin@main.example.com")
    page.get_by_test_id("signin-password").fill("not the password")
    page.get_by_test_id("signin-submit").click()
    expect(page.get_by_test_id("error")).to_contain_text("wrong")
    page.get_by_test_id("signin-password").fill(PASSWORD)
    # A failure makes the next attempt wait, and says for how long: what was typed stays until then.
    submit, rows = page.get_by_test_id("signin-submit"), page.get_by_test_id("row")
    for _ in range(5):
        submit.click()
        expect(rows.first.or_(page.get_by_text("Try again in"))).to_be_visible()
        if rows.count():
            break
        page.wait_for_timeout(500)
    expect(rows.first).to_be_visible()
    assert page.url == f"{place.url}/?type=inbound&timezone=UTC"
    expect(page.get_by_test_id("signin-openid")).to_have_count(0)


def test_after_signing_in_nobody_is_sent_elsewhere(place: Place, watched: Opened) -> None:
    """`next` names an address of this page only."""
    page = watched().new_page()
    page.goto(f"{place.url}/signin?next=//elsewhere.example/")
    page.get_by_test_id("signin-email").fill("admin@main.example.com")
    page.get_by_test_id("signin-password").fill(PASSWORD)
    page.get_by_test_id("signin-submit").click()
    expect(page.get_by_test_id("row").first).to_be_visible()
    assert page.url == f"{place.url}/"


def test_the_list_is_the_apis_newest_first(place: Place, page: Page) -> None:
    """Rows and total are what the API gives; at 800 pixels of height at least 25 rows are in sight."""
    list_at(page, place.url)
    shown = uuids(page)
    assert [record.uuid for record in place.records[: len(shown)]] == shown
    assert RECORDS == total(page)
    inside = page.get_by_test_id("row").evaluate_all(
        "rows => rows.filter(row => row.getBoundingClientRect().bottom <= innerHeight - 30).length"
    )
    assert inside >= 25


def test_scrolling_reaches_every_row_with_few_elements(place: Place, page: Page) -> None:
    """At the end of 20,000 rows stand the oldest; there are never more elements than fit the window, and no request
    asks for more than a page."""
    list_at(page, place.url)
    elements = "document.querySelectorAll('[data-testid=list] *').length"
    before = page.evaluate(elements)
    grid = page.get_by_test_id("list")
    for share in (0.25, 0.5, 0.9):
        grid.evaluate("(grid, share) => { grid.scrollTop = share * grid.scrollHeight }", share)
        row = page.locator(f"[aria-rowindex='{round(share * RECORDS) + 10}']")
        expect(row).to_have_attribute("data-uuid", place.records[round(share * RECORDS) + 8].uuid)
    grid.evaluate("grid => { grid.scrollTop = grid.scrollHeight }")
    oldest = place.records[-1].uuid
    expect(page.locator(f"[data-uuid='{oldest}']")).to_be_visible()
    expect(page.get_by_test_id("place")).to_contain_text("end")
    assert page.evaluate(elements) < before * 1.3
    last = page.locator(f"[data-uuid='{oldest}']")
    assert str(RECORDS + 1) == last.get_attribute("aria-rowindex")


def test_the_grid_can_be_walked(place: Place, page: Page) -> None:
    """Keys move one focus, which is where it is said to be; the grid tells its full size."""
    list_at(page, place.url)
    grid = page.get_by_test_id("list")
    assert str(RECORDS + 1) == grid.get_attribute("aria-rowcount")
    page.keyboard.press("j")
    page.keyboard.press("j")
    page.keyboard.press("ArrowRight")
    where = "[document.activeElement.closest('[role=row]').ariaRowIndex, document.activeElement.ariaColIndex]"
    assert ["4", "2"] == page.evaluate(where)
    page.keyboard.press("End")
    expect(page.locator(f"[data-uuid='{place.records[-1].uuid}']")).to_be_visible()
    until(page, f"document.activeElement.closest('[role=row]')?.ariaRowIndex == {RECORDS + 1}")
    assert 1 == page.locator("[role=row] [tabindex='0']").count()


def test_a_filter_is_a_chip_and_an_address(place: Place, page: Page) -> None:
    """A filter set by keyboard: rows and total are the API's, the address has it under the API's name, the chip takes
    it away, and going back brings it again."""
    list_at(page, place.url)
    page.keyboard.press("f")
    page.keyboard.type("Outcome")
    page.keyboard.press("Enter")
    page.get_by_role("checkbox", name=re.compile("Abandoned")).check()  # behind it stands how many there are
    page.keyboard.press("Enter")
    chip = page.get_by_test_id("chip")
    expect(chip).to_contain_text("Outcome is Abandoned")
    assert page.url.endswith("?disposition=abandoned")
    expected = asked(place, disposition="abandoned", per_page=20).json()
    expect(page.get_by_test_id("total")).to_have_text(f"{expected['total']:,}")
    assert [record["uuid"] for record in expected["records"]] == uuids(page)[:20]
    chip.get_by_label("Without this filter").click()
    expect(page.get_by_test_id("total")).to_have_text(f"{RECORDS:,}")
    page.go_back()
    expect(page.get_by_test_id("total")).to_have_text(f"{expected['total']:,}")


def test_an_address_shows_the_same_in_another_browser(place: Place, page: Page, watched: Opened) -> None:
    """Filters, columns, their order and widths travel in the address."""
    address = f"{place.url}/?type=inbound&min_duration=60&columns=uuid,from,talk_s&widths=from:300&timezone=Asia/Tokyo"
    list_at(page, address)
    other = watched()
    other.add_cookies(page.context.cookies())  # type: ignore[arg-type]  # what it gives it takes
    second = other.new_page()
    list_at(second, page.url)
    for each in (page, second):
        assert ["Uuid", "From", "Talk"] == each.get_by_role("columnheader").all_inner_texts()
        assert 300 == round(each.get_by_role("columnheader").nth(1).bounding_box()["width"])  # type: ignore[index]  # it is shown
        expect(each.get_by_test_id("zone")).to_contain_text("Asia/Tokyo")
    assert uuids(page) == uuids(second)
    assert total(page) == asked(place, type="inbound", min_duration=60, per_page=1).json()["total"]


def test_columns_stay_where_they_are_when_rows_come(place: Place, page: Page) -> None:
    """Every cell of a column begins where its head does, on each row, after scrolling too."""
    list_at(page, place.url)
    page.get_by_test_id("list").evaluate("grid => { grid.scrollTop = 9000 }")
    expect(page.locator("[aria-rowindex='412']")).to_have_attribute("data-uuid", place.records[410].uuid)
    edges = page.evaluate(
        "[...document.querySelectorAll('[role=row]')].map(row => [...row.children].map(cell =>"
        " Math.round(cell.getBoundingClientRect().left)).join())"
    )
    assert 1 == len(set(edges)), set(edges)


def test_a_pasted_number_or_uuid_just_works(place: Place, page: Page) -> None:
    """A number, however it is spaced, finds its calls; a uuid opens its record."""
    record = next(each for each in place.records if each.type == "inbound" and each.from_ and len(each.from_) == 12)
    assert record.from_ is not None
    list_at(page, place.url)
    page.keyboard.press("/")
    page.keyboard.type(f"+{record.from_[:2]} {record.from_[2:6]} {record.from_[6:]}")
    page.keyboard.press("Enter")
    expect(page.get_by_test_id("chip")).to_contain_text(record.from_)
    expect(page.locator(f"[data-uuid='{record.uuid}']")).to_be_visible()
    page.get_by_test_id("search").fill(place.records[50].uuid.upper())
    page.keyboard.press("Enter")
    expect(page.get_by_test_id("record")).to_be_visible()
    assert f"/cdr/{place.records[50].uuid}" in page.url


def test_a_record_opens_beside_the_list_and_is_a_page_of_its_own(place: Place, page: Page, watched: Opened) -> None:
    """Enter opens it, j goes on, Escape comes back to the row; its bare address is a page."""
    list_at(page, f"{place.url}/?type=inbound")
    shown = uuids(page)
    page.keyboard.press("j")
    page.keyboard.press("Enter")
    record = page.get_by_test_id("record")
    expect(record.get_by_test_id("timeline")).to_be_visible()
    walks: list[str] = []
    page.on("request", lambda request: walks.append(request.url) if "per_page=100" in request.url else None)
    assert f"{place.url}/cdr/{shown[1]}?type=inbound&timezone=Europe/London".split("&")[0] == page.url.split("&")[0]
    page.keyboard.press("j")
    expect(page).to_have_url(page.url.replace(shown[1], shown[2]))
    expect(page.get_by_test_id("row").and_(page.locator("[aria-selected=true]"))).to_have_attribute(
        "data-uuid", shown[2]
    )
    page.keyboard.press("Escape")
    expect(record).to_have_count(0)
    assert page.url.startswith(f"{place.url}/?type=inbound")
    until(page, "document.activeElement.closest('[role=row]')?.ariaRowIndex == 4")
    assert [] == walks, "a record that is opened or closed asks for the list again"
    page.goto(f"{place.url}/cdr/{shown[2]}")
    expect(page.get_by_test_id("timeline")).to_be_visible()
    expect(page.get_by_test_id("list")).to_have_count(0)


def test_only_this_and_without_this(place: Place, page: Page) -> None:
    """`=` on a cell keeps what has its value, `-` what has not."""
    list_at(page, place.url)
    page.keyboard.press("j")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("=")
    kind = place.records[1].type
    expect(page.get_by_test_id("chip")).to_have_attribute("data-filter", "type")
    of_kind = sum(each.type == kind for each in place.records)
    expect(page.get_by_test_id("total")).to_have_text(f"{of_kind:,}")
    page.get_by_test_id("chip").get_by_label("Without this filter").click()
    expect(page.get_by_test_id("total")).to_have_text(f"{RECORDS:,}")
    page.keyboard.press("j")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("-")
    expect(page.get_by_test_id("chip")).to_contain_text("Type is not")
    without = sum(each.type != place.records[1].type for each in place.records)
    expect(page.get_by_test_id("total")).to_have_text(f"{without:,}")


def test_nothing_found_says_which_filter_to_drop(place: Place, page: Page) -> None:
    """Each filter is named with how many calls there are without it."""
    page.goto(f"{place.url}/?from=1&type=inbound")
    empty = page.get_by_test_id("empty")
    expect(empty).to_contain_text(f"{sum(each.type == 'inbound' for each in place.records):,}")
    empty.get_by_role("link", name="From").click()
    expect(page.get_by_test_id("row").first).to_be_visible()


def test_an_unknown_filter_is_told(place: Place, page: Page) -> None:
    """A parameter that is misspelt in an address is not ignored."""
    page.goto(f"{place.url}/?quee_ids=5")
    expect(page.get_by_test_id("error")).to_contain_text("quee_ids")


def test_rows_come_in_order(place: Place) -> None:
    """The records of this test are in the order of the API."""
    assert all((a.started_at, a.uuid) > (b.started_at, b.uuid) for a, b in pairwise(place.records))


def test_a_list_of_a_million_rows_ends_and_moves_row_by_row(place: Place, page: Page) -> None:
    """Longer than a browser can draw: its end is reached, its rows are the right ones, and the wheel moves by rows."""
    total, real = 1_000_000, asked(place, per_page=1).json()["records"][0]

    def answer(route: Route) -> None:
        params = parse_qs(urlsplit(route.request.url).query)
        first = (int(params.get("page", ["1"])[0]) - 1) * 100
        records = [{**real, "uuid": f"00000000-0000-8000-8000-{index:012}"} for index in range(first, first + 100)]
        route.fulfill(json={"records": records, "total": total, "page": 1, "search_token": "t"})

    page.route(re.compile(r"/api/v2/cdr\?"), answer)
    list_at(page, place.url)
    grid = page.get_by_test_id("list")
    assert grid.evaluate("grid => grid.scrollHeight") < 10_000_000
    page.keyboard.press("j")
    page.keyboard.press("End")
    last = page.locator(f"[aria-rowindex='{total + 1}']")
    expect(last).to_have_attribute("data-uuid", f"00000000-0000-8000-8000-{total - 1:012}")
    grid.evaluate("grid => { grid.scrollTop = grid.scrollHeight / 2 }")
    place_told = page.get_by_test_id("place")
    expect(place_told).to_contain_text("rows 5")
    before = first_row(page)
    grid.hover()
    page.mouse.wheel(0, 220)
    expect(place_told).to_contain_text(f"rows {before + 10:,}")


def first_row(page: Page) -> int:
    """The first row in sight, as the foot tells."""
    found = re.search(r"[\d,]+", page.get_by_test_id("place").inner_text())
    assert found is not None
    return int(found[0].replace(",", ""))


def test_the_picture_and_the_sums_are_those_of_the_list(place: Place, page: Page) -> None:
    """Shares in the foot and counts of a filter's values are over all that is filtered; a time that is dragged in the
    picture is a filter of the API."""
    day = place.records[RECORDS // 2].started_at.date().isoformat()
    list_at(page, f"{place.url}/?start_date={day}&end_date={day}&timezone=UTC&type=inbound")
    params = {"start_date": day, "end_date": day, "timezone": "UTC", "type": "inbound", "per_page": 10_000}
    records = asked(place, **params).json()["records"]
    outcomes = [record["disposition"] for record in records]
    answered = f"{round(1000 * outcomes.count('answered') / len(outcomes)) / 10:g}%"
    expect(page.locator("footer")).to_contain_text(f"{answered} answered")
    picture = page.get_by_test_id("histogram").locator("svg")
    expect(picture.locator("g").first).to_be_attached()
    page.get_by_test_id("add-filter").click()
    page.locator(".panel [data-filter=disposition]").click()
    expect(page.locator("label").filter(has_text="Abandoned").first).to_contain_text(str(outcomes.count("abandoned")))
    page.keyboard.press("Escape")
    box = picture.bounding_box()
    assert box is not None
    page.mouse.move(box["x"] + box["width"] * 0.4, box["y"] + 30)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] * 0.6, box["y"] + 30)
    page.mouse.up()
    until(page, "location.search.includes('T')")
    chosen = parse_qs(urlsplit(page.url).query)
    params |= {name: chosen[name][0] for name in ("start_date", "end_date")}
    expect(page.get_by_test_id("total")).to_have_text(f"{asked(place, **params).json()['total']:,}")

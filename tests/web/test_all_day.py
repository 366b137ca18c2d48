"""What somebody meets who has the page open all day: rights that change, other tabs, walks that end, many views, a
page that did not come by TLS."""

from __future__ import annotations

import re
from typing import Any

import pytest
from playwright.sync_api import Page, Route, expect

from tests.web.conftest import PASSWORD, RECORDS, Opened, Place, TabOf, list_at, total
from tests.web.test_directions import _OUTSIDE
from tests.web.test_late import Held
from tests.web.test_troubles import SEARCH, violations

pytestmark = pytest.mark.slow

_SEND = """async ([method, path, body]) => {
    const headers = {"Content-Type": "application/json"};
    const reply = await fetch(path, {method, headers, body: JSON.stringify(body)});
    if (!reply.ok) throw new Error(await reply.text());
    return reply.status === 204 ? null : await reply.json();
}"""


def signed_in(place: Place, watched: Opened, email: str) -> Page:
    """A tab of somebody with a session of their own."""
    page = watched().new_page()
    page.goto(f"{place.url}/signin")
    page.get_by_test_id("signin-email").fill(email)
    page.get_by_test_id("signin-password").fill(PASSWORD)
    page.get_by_test_id("signin-submit").click()
    expect(page.get_by_test_id("row").first).to_have_attribute("data-uuid", re.compile("[0-9a-f-]{36}"))
    return page


def scroll_to(page: Page, row: int) -> None:
    """Bring a row into sight."""
    page.get_by_test_id("list").evaluate("(grid, row) => { grid.scrollTop = row * 22 }", row)


def test_rights_that_are_withdrawn_are_felt_where_one_is(place: Place, page: Page, watched: Opened) -> None:
    """Numbers are masked from the next rows on, and the list goes on; without any right what was there is gone, and
    it is said why."""
    page.goto(f"{place.url}/admin/groups")

    def administer(method: str, path: str, **body: Any) -> Any:
        return page.evaluate(_SEND, [method, f"/api/admin/v1/{path}", body])

    rights = ["see_cdrs", "see_details", "export", "see_numbers"]
    group = administer("POST", "groups", name="Passing", permissions=rights, reach={"whole": True})
    user = administer("POST", "users", name="Pia Passing", email="pia@main.example.com", groups=[group["name"]])
    administer("PUT", f"users/{user['id']}/password", password=PASSWORD)
    other = signed_in(place, watched, "pia@main.example.com")
    administer("PATCH", f"groups/{group['id']}", permissions=["see_cdrs"])
    scroll_to(other, 9_000)
    row = other.locator("[aria-rowindex='9010']")
    expect(row).to_have_attribute("data-uuid", place.records[9_008].uuid)
    expect(other.get_by_test_id("error")).to_have_count(0)
    expect(other.locator("[role=gridcell].from").filter(has_text="**").first).to_be_visible()
    row.click()
    expect(other.get_by_test_id("record")).to_contain_text("Events and legs are hidden from you")
    expect(other.get_by_test_id("record")).to_contain_text("Fields that your account keeps private")
    other.keyboard.press("Escape")
    administer("PATCH", f"users/{user['id']}", groups=[])
    other.get_by_role("link", name="Today", exact=True).click()
    expect(other.get_by_test_id("error").first).to_contain_text("You may not see this")
    expect(other.get_by_test_id("row")).to_have_count(0)


def test_who_signs_out_in_one_tab_is_signed_out_in_all(place: Place, watched: Opened) -> None:
    """The other says so as soon as somebody turns to it; and goes on when they have signed in anywhere."""
    first = signed_in(place, watched, "analyst@main.example.com")
    second = first.context.new_page()
    list_at(second, place.url)
    first.get_by_label("You, look and language").click()
    first.get_by_role("button", name="Sign out").click()
    expect(first.get_by_test_id("signin-email")).to_be_visible()
    turned = "window.dispatchEvent(new Event('focus'))"
    second.evaluate(turned)
    expect(second.get_by_role("dialog")).to_contain_text("Your session ended")
    first.get_by_test_id("signin-email").fill("analyst@main.example.com")
    first.get_by_test_id("signin-password").fill(PASSWORD)
    first.get_by_test_id("signin-submit").click()
    expect(first.get_by_test_id("row").first).to_be_visible()
    second.evaluate(turned)
    expect(second.get_by_role("dialog")).to_have_count(0)


@pytest.mark.parametrize("code", ["token_expired", "scope_changed"])
def test_a_walk_that_is_over_begins_anew(place: Place, page: Page, code: str) -> None:
    """A tab that was left open for days, or whose rights have changed: further rows come all the same."""
    list_at(page, place.url)
    over = {"error": "start a new search", "type": f"urn:calldex:error:{code}"}
    refused: list[str] = []
    anew: list[str] = []

    def answer(route: Route) -> None:
        further = "search_token=" in route.request.url
        (refused if further else anew).append(route.request.url)
        if further and not anew:
            route.fulfill(status=410, json=over)
        else:
            route.continue_()

    page.route(SEARCH, answer)
    scroll_to(page, 5_000)
    expect(page.locator("[aria-rowindex='5010']")).to_have_attribute("data-uuid", place.records[5_008].uuid)
    assert refused
    expect(page.get_by_test_id("error")).to_have_count(0)


def test_the_tab_one_is_in_looks_again(place: Place, page: Page) -> None:
    """The list, its sums and its picture; so does the pill, so that all tell the same."""
    page.goto(f"{place.url}/?start_date=today")
    expect(page.get_by_test_id("empty")).to_be_visible()  # the centre of these tests lies in the past
    expect(page.get_by_test_id("histogram")).to_be_visible()
    for name in ("Today", "All calls", "All calls"):
        with (
            page.expect_response(re.compile(r"/stats\?.*bucket=")),
            page.expect_response(re.compile(r"/stats\?.*group_by=type")),
            page.expect_response(re.compile(r"/api/v2/cdr\?.*per_page=100")),
        ):
            page.get_by_role("link", name=name, exact=True).click()
    page.clock.install()
    list_at(page, place.url)
    newest = {"records": [], "total": 2, "page": 1, "search_token": None}
    page.route(re.compile(r"/api/v2/cdr\?.*start_date="), lambda route: route.fulfill(json=newest))
    page.clock.run_for(20_000)
    with page.expect_response(re.compile(r"/stats\?.*bucket=")):
        page.get_by_test_id("newer").click()


def test_a_window_is_called_by_what_it_shows(place: Place, page: Page) -> None:
    """So that tabs and steps back can be told apart; a record's name goes with it."""
    list_at(page, f"{place.url}/?type=inbound&disposition=abandoned,missed")
    expect(page).to_have_title("Inbound, Abandoned or Missed · Calldex")
    page.get_by_test_id("row").first.click()
    expect(page).to_have_title(re.compile("→ .* · Calldex"))
    page.keyboard.press("Escape")
    expect(page).to_have_title("Inbound, Abandoned or Missed · Calldex")
    page.goto(f"{place.url}/?start_date=2026-01-01&end_date=2026-01-31")
    expect(page).to_have_title(re.compile("^01 Jan . 31 Jan · "))
    page.goto(f"{place.url}/missed")
    expect(page).to_have_title("Callers who were missed · Calldex")


def test_columns_are_widened_by_keyboard(place: Place, page: Page) -> None:
    """`>` and `<` on a cell; the address has it."""
    list_at(page, place.url)
    page.keyboard.press("j")
    page.keyboard.press("ArrowRight")
    head = page.get_by_role("columnheader").nth(1)
    before = head.bounding_box()
    page.keyboard.press(">")
    expect(page).to_have_url(re.compile("widths=type:"))
    wider = head.bounding_box()
    assert before is not None
    assert wider is not None
    assert 16 == round(wider["width"] - before["width"])
    page.keyboard.press("<")
    expect(page).to_have_url(re.compile(f"widths=type:{round(before['width'])}(&|$)"))
    page.keyboard.press("?")
    expect(page.get_by_role("dialog")).to_contain_text("Make the column narrower; wider")


def test_space_on_a_row_plays_it(place: Place, page: Page) -> None:
    """The record opens and its recording begins."""
    list_at(page, f"{place.url}/?has_recording=yes")
    page.keyboard.press("j")
    page.keyboard.press(" ")
    expect(page.get_by_test_id("record")).to_be_visible()
    expect(page.locator("audio")).to_have_count(1)


@pytest.mark.parametrize("width", [1366, 360])
def test_many_views_can_be_reached(place: Place, tab_of: TabOf, width: int) -> None:
    """The last of twelve, and the button that saves another; on a phone too."""
    page = tab_of("analyst", viewport={"width": width, "height": 740})
    views = [
        {
            "id": each,
            "name": f"View number {each}",
            "query": f"min_duration={each}",
            "shared": False,
            "own": True,
            "by": "",
        }
        for each in range(12)
    ]
    page.route("**/api/v2/views?*", lambda route: route.fulfill(json={"items": views, "total": 12}))
    list_at(page, place.url)
    last = page.get_by_test_id("view").last
    last.scroll_into_view_if_needed()
    expect(last).to_be_in_viewport()
    last.click()
    expect(page).to_have_url(re.compile("min_duration=11$"))
    page.get_by_test_id("save-view").click()
    expect(page.get_by_label("Name", exact=True)).to_be_in_viewport()
    assert [] == page.evaluate(_OUTSIDE)
    assert [] == violations(page)


def test_a_page_without_tls_copies_too(place: Place, tab_of: TabOf) -> None:
    """Browsers give such a page no clipboard; the focus stays where it was."""
    page = tab_of("analyst", permissions=["clipboard-read", "clipboard-write"])
    page.add_init_script(
        "const real = navigator.clipboard; window.pasted = () => real.readText();"
        "Object.defineProperty(navigator, 'clipboard', {value: undefined});"
    )
    list_at(page, f"{place.url}/?columns=uuid,from")
    page.keyboard.press("j")
    page.keyboard.press("c")
    expect(page.get_by_text("Copied.")).to_be_visible()
    assert place.records[1].uuid == page.evaluate("window.pasted()")
    page.keyboard.press("j")
    page.keyboard.press("c")
    assert place.records[2].uuid == page.evaluate("window.pasted()")


def test_a_zone_is_typed_as_people_do(place: Place, page: Page) -> None:
    """By its place, by a name that the browser does not list; what is none is told."""
    list_at(page, place.url)
    zone = page.get_by_test_id("zone")
    for typed, named in (("berlin", "Europe/Berlin"), ("Asia/Kolkata", "Asia/Kolkata"), ("utc", "UTC")):
        zone.click()
        page.get_by_label("Time zone").fill(typed)
        page.keyboard.press("Enter")
        expect(zone).to_contain_text(named)
    zone.click()
    page.get_by_label("Time zone").fill("Atlantis")
    page.keyboard.press("Enter")
    expect(page.get_by_role("alert")).to_contain_text("no such time zone")


def test_a_phone_tells_the_direction_to_who_cannot_see_it(place: Place, tab_of: TabOf) -> None:
    """The arrow is for the eye; what is read out is the word."""
    page = tab_of("analyst", viewport={"width": 360, "height": 740})
    list_at(page, f"{place.url}/?type=inbound&disposition=answered")
    expect(page.get_by_role("gridcell", name=re.compile(r"^Inbound .*Answered")).first).to_be_visible()
    assert "1" == page.get_by_test_id("list").get_attribute("aria-colcount")
    seen = page.get_by_test_id("search").bounding_box()
    zone = page.get_by_test_id("zone").bounding_box()
    assert seen is not None
    assert zone is not None
    assert abs(seen["y"] - zone["y"]) < 20, "search and zone stand in one line, above the tabs"


def test_rows_that_are_long_in_coming_are_told(place: Place, page: Page) -> None:
    """Over a slow line the list says that it looks, and not that there is nothing."""
    held = Held(page, r"/api/v2/cdr\?")
    page.goto(place.url)
    held.wait()
    expect(page.get_by_text("Looking …")).to_be_visible()
    expect(page.get_by_test_id("empty")).to_have_count(0)
    held.let_go()
    expect(page.get_by_test_id("row").first).to_be_visible()
    expect(page.get_by_text("Looking …")).to_have_count(0)


def test_more_users_than_a_page_are_all_there(place: Place, page: Page) -> None:
    """The rest comes when it is asked for."""
    asked: list[str] = []

    def answer(route: Route) -> None:
        asked.append(route.request.url)
        first = 500 if "page=2" in route.request.url.split("per_page=500")[1] else 0
        items = [
            {"id": at, "name": f"N{at}", "email": f"n{at}@x.example"} for at in range(first, min(first + 500, 620))
        ]
        route.fulfill(json={"items": items, "total": 620})

    page.route(re.compile("/api/admin/v1/users"), answer)
    page.goto(f"{place.url}/admin/users")
    expect(page.locator("tbody tr")).to_have_count(500)
    page.get_by_test_id("more").click()
    expect(page.locator("tbody tr")).to_have_count(620)
    expect(page.get_by_test_id("more")).to_have_count(0)
    assert 2 == len(asked)


def test_only_this_on_what_has_no_word(place: Place, page: Page) -> None:
    """A day, a recording, a withheld number: each is a filter; `-` on a recording leaves those that have one out."""
    list_at(page, f"{place.url}/?has_recording=yes&columns=recording,started_at,from&timezone=UTC")
    page.keyboard.press("j")
    page.keyboard.press("-")
    expect(page).to_have_url(re.compile("has_recording=no"))
    expect(page.get_by_test_id("total")).to_have_text(f"{sum(not each.recording for each in place.records):,}")
    page.goto(f"{place.url}/?columns=started_at&timezone=UTC")
    expect(page.get_by_test_id("row").first).to_have_attribute("data-uuid", re.compile("."))
    page.keyboard.press("j")
    page.keyboard.press("=")
    day = place.records[1].started_at.date()
    expect(page).to_have_url(re.compile(f"start_date={day}&end_date={day}"))
    assert sum(each.started_at.date() == day for each in place.records) == _total_when(page, less_than=RECORDS)
    list_at(page, f"{place.url}/?columns=from&withheld=yes&type=inbound")
    page.keyboard.press("j")
    page.keyboard.press("-")
    expect(page).to_have_url(re.compile("withheld=no"))


def test_without_this_waits_for_the_filters(place: Place, page: Page) -> None:
    """Which filters there are may come after the rows: what can be left out is not said to be kept."""
    held = Held(page, r"/openapi\.json")
    list_at(page, f"{place.url}/?columns=type")
    page.keyboard.press("j")
    page.keyboard.press("-")
    held.wait()
    held.let_go()
    expect(page).to_have_url(re.compile(f"type_not={place.records[1].type}"))


def _total_when(page: Page, less_than: int) -> int:
    """The total of the foot, when it is that of the new list."""
    expect(page.get_by_test_id("total")).not_to_have_text(f"{less_than:,}")
    return total(page)

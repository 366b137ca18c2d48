"""What the page says when something goes wrong, and that what was there stays; what it is for people who see little."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page, Route, expect

from tests.web.conftest import PASSWORD, RECORDS, Opened, Place, TabOf, list_at

pytestmark = pytest.mark.slow

SEARCH: Final = re.compile(r"/api/v2/cdr\?")


def refused(status: int, code: str, message: str, **headers: str) -> Callable[[Route], None]:
    """Answers a search as a server in trouble does."""
    body = {"error": message, "type": f"urn:calldex:error:{code}", "request_id": "trace-1"}

    def answer(route: Route) -> None:
        route.fulfill(status=status, json=body, headers=headers)

    return answer


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        (refused(429, "rate_exceeded", "too many", **{"Retry-After": "1"}), "Too many requests"),
        (refused(503, "store_not_ready", "3 of 9 commits are left", **{"Retry-After": "1"}), "3 of 9 commits are left"),
        (lambda route: route.abort(), "cannot be reached"),
        (refused(500, "internal", "something went wrong here"), "trace-1"),
    ],
    ids=["429", "503", "gone", "500"],
)
def test_a_server_in_trouble_leaves_the_list(
    place: Place, page: Page, answer: Callable[[Route], None], told: str
) -> None:
    """The error says what happened, the rows stay, the filter that was typed stays, and it goes on by itself or when
    asked."""
    list_at(page, place.url)
    page.route(SEARCH, answer)
    page.keyboard.press("/")
    page.keyboard.type("12345")
    page.keyboard.press("Enter")
    expect(page.get_by_test_id("error")).to_contain_text(told)
    expect(page.get_by_test_id("row").first).to_be_visible()
    expect(page.get_by_test_id("chip")).to_contain_text("12345")
    page.unroute(SEARCH)
    if told == "trace-1":
        page.get_by_role("button", name="Try again now").click()
    expect(page.get_by_test_id("error")).to_have_count(0)


def test_sums_and_a_picture_that_fail_say_so(place: Place, page: Page) -> None:
    """Each where it belongs, with a way to try again; the list is not concerned."""
    statistics = re.compile(r"/api/v2/cdr/stats\?")
    page.route(statistics, refused(500, "internal", "something went wrong here"))
    list_at(page, place.url)
    foot, picture = page.locator("footer"), page.get_by_test_id("histogram")
    expect(foot.get_by_test_id("error")).to_contain_text("The sums could not be made.")
    expect(picture.get_by_test_id("error")).to_contain_text("Calls over time could not be counted.")
    page.unroute(statistics)
    foot.get_by_role("button", name="Try again now").click()
    expect(foot).to_contain_text("answered")
    picture.get_by_role("button", name="Try again now").click()
    expect(picture.locator("rect").first).to_be_attached()
    expect(page.get_by_test_id("error")).to_have_count(0)


def test_a_session_that_ended_asks_in_place(place: Place, watched: Opened) -> None:
    """The session ends on the server: the page asks for the password over what is there, and goes on."""
    context = watched()
    page = context.new_page()
    page.goto(f"{place.url}/signin?next=/?type=inbound")
    page.get_by_test_id("signin-email").fill("analyst@main.example.com")
    page.get_by_test_id("signin-password").fill(PASSWORD)
    page.get_by_test_id("signin-submit").click()
    expect(page.get_by_test_id("row").first).to_be_visible()
    page.get_by_test_id("search").fill("half a word")
    page.wait_for_load_state("networkidle")
    context.clear_cookies()
    page.get_by_test_id("chip").get_by_label("Without this filter").click()
    password = page.get_by_test_id("signin-password")
    expect(password).to_be_focused()
    expect(page.get_by_test_id("signin-email")).to_have_value("analyst@main.example.com")
    password.fill(PASSWORD)
    page.keyboard.press("Enter")
    expect(password).to_have_count(0)
    expect(page.get_by_test_id("total")).to_have_text(f"{RECORDS:,}")
    expect(page.get_by_test_id("search")).to_have_value("half a word")
    expect(page.get_by_test_id("error")).to_have_count(0)


def test_who_may_see_nothing_is_told(place: Place, tab_of: TabOf) -> None:
    """A user without the right to see records reads that, not an empty list."""
    page = tab_of("phone")
    page.goto(place.url)
    expect(page.get_by_test_id("error")).to_contain_text("You may not see this")


def test_newer_calls_are_a_pill_and_move_nothing(place: Place, page: Page) -> None:
    """What came since the list was made is told; the rows stay where they are until somebody asks for it."""
    page.clock.install()
    list_at(page, f"{place.url}/?type=inbound")
    before = page.get_by_test_id("row").first.get_attribute("data-uuid")
    newest = {"records": [], "total": 37, "page": 1, "search_token": None}
    page.route(re.compile(r"/api/v2/cdr\?.*start_date="), lambda route: route.fulfill(json=newest))
    page.clock.run_for(20_000)
    expect(page.get_by_test_id("newer")).to_have_text("37 newer calls")
    assert before == page.get_by_test_id("row").first.get_attribute("data-uuid")
    page.get_by_test_id("newer").click()
    expect(page.get_by_test_id("newer")).to_have_count(0)


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", [(1366, 768), (360, 740)], ids=["wide", "phone"])
def test_axe_finds_nothing(place: Place, watched: Opened, page: Page, scheme: str, size: tuple[int, int]) -> None:
    """Signing in, the list with its filters, and a record: no violation in either theme, wide or on a phone."""
    context = watched(color_scheme=scheme, viewport={"width": size[0], "height": size[1]}, reduced_motion="reduce")
    tab = context.new_page()
    tab.goto(f"{place.url}/signin")
    expect(tab.get_by_test_id("signin-submit")).to_be_visible()
    assert [] == violations(tab)
    context.add_cookies(page.context.cookies())  # type: ignore[arg-type]  # what it gives it takes
    list_at(tab, f"{place.url}/?type=inbound&disposition=answered,abandoned")
    assert [] == violations(tab)
    tab.get_by_test_id("add-filter").click()
    tab.locator(".panel [data-filter=agent_ids]").click()
    expect(tab.get_by_role("checkbox").first).to_be_visible()
    assert [] == violations(tab)
    tab.keyboard.press("Escape")
    tab.get_by_test_id("row").first.click()
    expect(tab.get_by_test_id("timeline")).to_be_visible()
    assert [] == violations(tab)


def violations(page: Page, only: str | None = None) -> list[str]:
    """What axe finds, in short, by all of its rules or by one. Trusted types keep its script out of a page that is
    served: so the policy is passed over by the browser's own door."""
    found = Axe().run(page, options=None if only is None else {"runOnly": [only]}).response["violations"]
    return [f"{each['id']}: {[node['html'][:160] for node in each['nodes'][:3]]}" for each in found]


def test_nothing_is_cut_on_a_phone(place: Place, tab_of: TabOf) -> None:
    """At 360 pixels of width nothing lies beside the screen, neither on the list nor on a record."""
    page = tab_of("admin", viewport={"width": 360, "height": 740})
    list_at(page, f"{place.url}/?type=inbound&disposition=answered")
    wide = "['html', '[role=grid]'].some(each => document.querySelector(each)?.scrollWidth > innerWidth)"
    assert not page.evaluate(wide)
    expect(page.get_by_test_id("row").first).to_contain_text("Answered")
    page.get_by_test_id("add-filter").click()
    sheet = page.get_by_placeholder("Which filter?")
    box = page.locator(".panel").filter(has=sheet).bounding_box()
    assert box is not None
    assert box["x"] >= 0
    assert box["x"] + box["width"] <= 360
    assert not page.evaluate(wide)
    page.locator("section.filters").click(position={"x": 2, "y": 2})  # beside the sheet
    expect(sheet).to_have_count(0)
    page.get_by_test_id("row").first.click()
    expect(page.get_by_test_id("timeline")).to_be_visible()
    assert not page.evaluate(wide)


def test_little_is_loaded_before_the_first_rows(place: Place, tab_of: TabOf) -> None:
    """Script and style are at most 100 KB as they travel; there are few requests, elements and listeners."""
    page = tab_of("admin")
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    list_at(page, place.url)
    expect(page.locator("footer")).to_contain_text("answered")
    assert len([each for each in asked if "/api/" in each]) <= 8, asked
    assert len([each for each in asked if "/assets/" in each]) <= 5, asked
    assert 1 == len([each for each in asked if "/stats?" in each and "group_by=type" in each]), asked
    # Who it is is asked once, and before there is a script that could ask.
    session_asked, script_there = page.evaluate(
        "(() => {"
        " const all = performance.getEntriesByType('resource');"
        " const of = part => all.filter(each => each.name.includes(part));"
        " return [of('/api/session').map(each => each.startTime), of('/assets/page-')[0].responseEnd];"
        "})()"
    )
    assert 1 == len(session_asked)
    assert session_asked[0] < script_there
    assert [] == [each for each in asked if not each.startswith(place.url)]
    assert page.evaluate("document.querySelectorAll('*').length") < 1_500
    session = page.context.new_cdp_session(page)
    session.send("Performance.enable")
    measured = {each["name"]: each["value"] for each in session.send("Performance.getMetrics")["metrics"]}
    assert measured["JSEventListeners"] < 150
    loaded = page.evaluate(
        "performance.getEntriesByType('resource').filter(each => each.name.includes('/assets/'))"
        ".reduce((sum, each) => sum + each.encodedBodySize, 0)"
    )
    assert 10_000 < loaded < 100_000

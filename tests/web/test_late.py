"""Replies that come late, or in another order than they were asked for: they change nothing that somebody does by then,
and nothing that is newer."""

from __future__ import annotations

import re
from contextlib import suppress
from typing import Any

import httpx
import pytest
from playwright.sync_api import Error, Page, Route, expect

from tests.web.conftest import Place, list_at
from tests.web.test_working import MISSED

pytestmark = pytest.mark.slow


class Held:
    """Requests that wait for `let_go`: those of a pattern, but for the first `passing`."""

    def __init__(self, page: Page, pattern: str, passing: int = 0, method: str | None = None) -> None:
        self.routes: list[Route] = []
        self._page = page
        self._passing = passing
        self.open = False

        def hold(route: Route) -> None:
            if self.open or (method is not None and route.request.method != method):
                route.continue_()
            elif self._passing:
                self._passing -= 1
                route.continue_()
            else:
                self.routes.append(route)

        page.route(re.compile(pattern), hold)

    def wait(self, count: int = 1) -> None:
        """Until so many are held."""
        for _ in range(400):
            if len(self.routes) >= count:
                return
            self._page.wait_for_timeout(50)
        raise AssertionError(f"{len(self.routes)} requests came, not {count}")

    def let_go(self, **answer: Any) -> None:
        """Those that are held go on, or are answered like this; and what comes from now on is not held."""
        self.open = True
        for route in self.routes:
            with suppress(Error):  # the page has given it up
                route.fulfill(**answer) if answer else route.continue_()
        self._page.wait_for_timeout(400)


def test_a_list_that_was_asked_for_before_does_not_replace_a_newer_one(place: Place, page: Page) -> None:
    """Of the administration: what was searched for last is shown."""
    page.goto(f"{place.url}/admin/users")
    expect(page.locator("tbody tr").nth(3)).to_be_visible()
    held = Held(page, r"/users\?.*name=ana")
    search = page.get_by_label("Search", exact=True)
    search.fill("ana")
    search.press("Enter")
    held.wait()
    search.fill("superv")
    search.press("Enter")
    expect(page.locator("tbody tr")).to_have_count(1)
    held.let_go()
    expect(page.locator("tbody tr")).to_have_count(1)
    expect(page.locator("tbody tr")).to_contain_text("supervisor@")


def test_what_is_explained_is_what_was_asked_last(place: Place, page: Page) -> None:
    """Also when the answer about the one before comes after it; and a list that comes anew closes nothing."""
    page.goto(f"{place.url}/admin/users")
    rows = page.locator("tbody tr")
    held = Held(page, r"/users/\d+/access", method="GET")
    why = page.get_by_role("button", name="What they may see")
    expect(why.nth(1)).to_be_visible()
    why.nth(0).click()
    held.wait()
    first, held.open = held.routes[0], True
    why.nth(1).click()
    expect(rows.nth(2)).to_have_class(re.compile("why"))
    first.continue_()
    page.wait_for_timeout(400)
    expect(rows.nth(1)).not_to_have_class(re.compile("why"))
    expect(rows.nth(2)).to_have_class(re.compile("why"))


def test_a_form_that_was_opened_since_stays(place: Place, page: Page) -> None:
    """What another form saved arrives, and its key is shown; the text in the new one is there."""
    page.goto(f"{place.url}/admin/keys")
    held = Held(page, "/api/admin/v1/keys", method="POST")
    page.get_by_test_id("admin-add").click()
    form = page.get_by_test_id("admin-form")
    form.get_by_label("User").fill("analyst@main.example.com")
    form.get_by_label("read").check()
    form.get_by_role("button", name="Save").click()
    held.wait()
    page.keyboard.press("Escape")
    expect(form).to_have_count(0)
    page.get_by_test_id("admin-add").click()
    form.get_by_label("User").fill("phone@main.example.com")
    held.let_go()
    expect(page.locator("code").filter(has_text="cdx_")).to_be_visible()
    expect(form.get_by_label("User")).to_have_value("phone@main.example.com")


def missed_at(place: Place, page: Page) -> None:
    """The missed callers of a day, opened."""
    day = place.records[len(place.records) // 3].started_at.date().isoformat()
    page.goto(f"{place.url}/missed?start_date={day}&end_date={day}&timezone=UTC&{MISSED}")
    expect(page.get_by_test_id("missed-caller").nth(1)).to_be_visible()


def test_a_mark_that_comes_late_leaves_the_note_of_another_caller(place: Place, page: Page) -> None:
    """The note that is being written by then keeps its text."""
    missed_at(place, page)
    held = Held(page, "/mark", method="PUT")
    first, second = page.get_by_test_id("missed-caller").nth(0), page.get_by_test_id("missed-caller").nth(1)
    first.get_by_test_id("mark-done").click()
    page.get_by_label("Note").fill("one")
    page.keyboard.press("Enter")
    held.wait()
    second.get_by_test_id("mark-done").click()
    page.get_by_label("Note").fill("half a no")
    held.let_go()
    expect(first).to_contain_text("done by admin@main.example.com")
    expect(page.get_by_label("Note")).to_have_value("half a no")
    first.get_by_role("button", name="Not done").click()
    expect(first.get_by_test_id("mark-done")).to_be_visible()


def test_a_list_that_knows_nothing_of_a_mark_does_not_take_it_back(place: Place, page: Page) -> None:
    """A list that was asked for before something was marked, and comes after it, is asked for again."""
    missed_at(place, page)
    held = Held(page, r"/missed\?.*per_page=100&numbers")
    page.get_by_label("Done as well").check()
    held.wait()
    first = page.get_by_test_id("missed-caller").first
    first.get_by_test_id("mark-done").click()
    page.keyboard.press("Enter")
    expect(first).to_contain_text("done by admin@main.example.com")
    uuid = str(page.locator("[data-testid=missed-caller] a[href^='/cdr/']").first.get_attribute("href"))
    old = httpx.get(held.routes[0].request.url, headers={"Authorization": f"Bearer {place.keys['admin']}"}).json()
    for caller in old["missed"]:
        if uuid.endswith(caller["uuid"]):
            caller |= {"mark": None, "done": False}
    held.let_go(json=old)
    line = page.get_by_test_id("missed-caller").filter(has=page.locator(f"a[href='{uuid}']")).first
    expect(line).to_contain_text("done by admin@main.example.com")
    line.get_by_role("button", name="Not done").click()
    expect(line.get_by_test_id("mark-done")).to_be_visible()


def test_views_that_come_late_do_not_take_a_new_one_away(place: Place, page: Page) -> None:
    """The list of them that was asked for before one was saved; and a name being typed stays when that was saved."""
    held = Held(page, r"/api/v2/views\?")
    list_at(page, f"{place.url}/?type=outbound")
    held.wait()
    first, held.open = held.routes[0], True
    posts = Held(page, "/api/v2/views$", method="POST")
    page.get_by_test_id("save-view").click()
    page.get_by_label("Name", exact=True).fill("Calls out")
    page.get_by_role("button", name="Save", exact=True).click()
    posts.wait()
    page.keyboard.press("Escape")
    page.get_by_test_id("save-view").click()
    page.get_by_label("Name", exact=True).fill("Another na")
    posts.let_go()
    tab = page.get_by_test_id("view").filter(has_text="Calls out")
    expect(tab).to_be_visible()
    expect(page.get_by_label("Name", exact=True)).to_have_value("Another na")
    first.fulfill(json={"items": [], "total": 0})
    page.wait_for_timeout(400)
    expect(tab).to_be_visible()
    page.get_by_label("Remove the view Calls out").click()
    expect(tab).to_have_count(0)


def test_a_password_that_is_typed_anew_is_not_taken_away(place: Place, page: Page) -> None:
    """By the reply to what was sent before."""
    list_at(page, place.url)
    held = Held(page, "/api/session/password")
    page.get_by_label("You, look and language").click()
    page.get_by_role("button", name="Change password").click()
    page.get_by_label("Present password").fill("what it was before")
    page.get_by_label("New password").fill("one that is long")
    page.get_by_role("button", name="Change", exact=True).click()
    held.wait()
    page.get_by_label("New password").fill("another that is long")
    held.let_go(status=204)
    expect(page.get_by_label("New password")).to_have_value("another that is long")
    expect(page.get_by_label("Present password")).to_have_value("")


def test_a_pill_of_another_list_is_not_shown(place: Place, page: Page) -> None:
    """How many calls are newer was asked for before the filter was changed."""
    page.clock.install()
    list_at(page, f"{place.url}/?type=inbound")
    held = Held(page, r"/api/v2/cdr\?.*start_date=.*per_page=1$")
    page.clock.run_for(20_000)
    held.wait()
    page.get_by_test_id("chip").get_by_label("Without this filter").click()
    expect(page.get_by_test_id("chip")).to_have_count(0)
    expect(page.get_by_test_id("row").first).to_be_visible()
    held.let_go(json={"records": [], "total": 37, "page": 1, "search_token": None})
    expect(page.get_by_test_id("newer")).to_have_count(0)


def test_what_is_open_of_a_record_stays_when_its_list_comes_anew(place: Place, page: Page) -> None:
    """Its versions and its copies."""
    list_at(page, f"{place.url}/?type=inbound")
    page.get_by_test_id("row").first.click()
    page.get_by_role("button", name="Versions").click()
    expect(page.get_by_test_id("history")).to_be_visible()
    page.get_by_role("button", name="Copy").first.click()
    link = page.get_by_role("button", name="Copy JSON")
    expect(link).to_be_visible()
    page.get_by_test_id("list").focus()
    with page.expect_response(re.compile(r"/api/v2/cdr\?.*per_page=100&")):
        page.evaluate("history.pushState(null, '', location.pathname + location.search + '&max_duration=99999')")
        page.evaluate("dispatchEvent(new PopStateEvent('popstate', {state: null}))")
    page.wait_for_timeout(400)
    expect(page.get_by_test_id("history")).to_be_visible()
    expect(link).to_be_visible()


def test_bars_that_come_while_one_draws_wait(place: Place, page: Page) -> None:
    """The time that is chosen is what was drawn over."""
    page.goto(f"{place.url}/?timezone=UTC")
    bars = page.get_by_test_id("histogram").locator("g")
    expect(bars.nth(4)).to_be_attached()
    held = Held(page, r"/stats\?.*bucket")
    page.get_by_role("link", name="Today").click()
    held.wait()
    one = bars.nth(1).locator("rect").first.bounding_box()
    strip = page.get_by_test_id("histogram").locator("svg").bounding_box()
    assert one is not None
    assert strip is not None
    page.mouse.move(one["x"] + 2, strip["y"] + 20)
    page.mouse.down()
    held.let_go(json={"groups": [], "total": {"calls": 0}})
    page.mouse.move(one["x"] + one["width"] + 6, strip["y"] + 20, steps=4)
    page.mouse.up()
    expect(page).to_have_url(re.compile(r"start_date=\d{4}-\d\d-\d\d(&|$)"))


@pytest.mark.parametrize(("presses", "plays"), [(1, True), (2, False), (3, True)])
def test_a_recording_plays_when_it_was_last_asked_to(place: Place, page: Page, presses: int, *, plays: bool) -> None:
    """However often it was pressed while it was fetched."""
    page.goto(f"{place.url}/cdr/{next(each.uuid for each in place.records if each.recording)}")
    held = Held(page, "/peaks")
    play = page.get_by_test_id("play")
    for _ in range(presses):
        play.click()
    held.wait()
    coming = page.get_by_role("group", name="Recording").get_by_role("status")
    expect(coming).to_have_text("getting it …" if plays else "")
    held.let_go()
    expect(page.locator("canvas")).to_be_visible()
    expect(coming).to_have_text("")
    wanted = "audio => new Promise(done => setTimeout(() => done(!audio.paused), 500))"
    assert plays == page.locator("audio").evaluate(wanted)


def test_the_offer_that_was_moved_to_stays_when_others_come(place: Place, page: Page) -> None:
    """In the search box: names of queues and agents come later than words."""
    held = Held(page, r"/api/v2/cdr/(agents|queues|teams|wrapup_codes)$")
    list_at(page, place.url)
    box = page.get_by_test_id("search")
    box.fill("an")
    offers = page.get_by_role("option")
    expect(offers.nth(1)).to_be_visible()
    box.press("ArrowDown")
    chosen = page.locator("[role=option][aria-selected=true]")
    text = chosen.inner_text()
    before = offers.all_inner_texts()
    held.let_go()
    for _ in range(100):
        if before != offers.all_inner_texts():
            break
        page.wait_for_timeout(50)
    assert before != offers.all_inner_texts()
    assert text not in offers.all_inner_texts() or text == chosen.inner_text()


def test_a_board_shows_the_newest_sums(place: Place, page: Page) -> None:
    """Those that were asked for before come after them: they are left out."""
    held = Held(page, r"/stats\?")
    day = place.records[len(place.records) // 2].started_at.date().isoformat()
    page.goto(f"{place.url}/wallboard?start_date={day}&end_date={day}")
    held.wait(2)  # when it is opened, and when the feed says that it is
    older, newer = ({"groups": [], "total": {"calls": calls, "service_level": None}} for calls in (1_111, 2_222))
    held.routes[1].fulfill(json=newer)
    tile = page.get_by_test_id("wallboard").locator(".tiles b").first
    expect(tile).to_have_text("2,222")
    held.routes[0].fulfill(json=older)
    page.wait_for_timeout(400)
    expect(tile).to_have_text("2,222")

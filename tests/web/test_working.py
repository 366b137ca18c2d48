"""What people do in the page beside looking: views that they save, callers they call back, users they add and see as,
requests they try in the reference; and what two people see of the same calls."""

from __future__ import annotations

import re
from typing import Final

import httpx
import pytest
from playwright.sync_api import Page, Route, expect

from tests.web.conftest import Opened, Place, TabOf, list_at
from tests.web.test_troubles import violations

pytestmark = pytest.mark.slow

MISSED: Final = "callback_state=open&marked=no"


def test_a_view_is_saved_and_shared(place: Place, page: Page, tab_of: TabOf) -> None:
    """What the address says becomes a tab: for the other people of the account too, when it is shared; and goes."""
    list_at(page, f"{place.url}/?type=inbound&columns=uuid,from&widths=from:300")
    page.get_by_test_id("save-view").click()
    page.get_by_label("Name", exact=True).fill("Calls in")
    page.get_by_label("Shared with everybody").check()
    page.get_by_role("button", name="Save", exact=True).click()
    tab = page.get_by_test_id("view").filter(has_text="Calls in")
    expect(tab).to_have_class(re.compile("on"))
    other = tab_of("analyst")
    list_at(other, place.url)
    other.get_by_test_id("view").filter(has_text="Calls in").click()
    expect(other.get_by_role("columnheader")).to_have_count(2)
    expect(other.get_by_test_id("chip")).to_contain_text("Type is Inbound")
    page.get_by_test_id("save-view").click()
    page.get_by_label("Remove the view Calls in").click()
    expect(tab).to_have_count(0)


def test_a_missed_caller_is_marked_as_done(place: Place, page: Page) -> None:
    """Callers are those of the API, newest first; one is marked with a note, is told by whom, and comes back."""
    day = place.records[len(place.records) // 2].started_at.date().isoformat()
    address = f"start_date={day}&end_date={day}&timezone=UTC"
    expected = asked_missed(place, f"{address}&{MISSED}")
    page.goto(f"{place.url}/missed?{address}&{MISSED}")
    expect(page.get_by_test_id("missed-total")).to_contain_text(f"{expected['total']} caller")
    assert [] == violations(page)
    first = page.get_by_test_id("missed-caller").first
    first.get_by_test_id("mark-done").click()
    page.get_by_label("Note").fill("called, all well")
    page.keyboard.press("Enter")
    expect(first).to_contain_text("done by admin@main.example.com")
    expect(first).to_contain_text("called, all well")
    assert expected["total"] - 1 == asked_missed(place, f"{address}&{MISSED}")["total"]
    first.get_by_role("button", name="Not done").click()
    expect(first.get_by_test_id("mark-done")).to_be_visible()
    assert expected["total"] == asked_missed(place, f"{address}&{MISSED}")["total"]


def asked_missed(place: Place, query: str) -> dict[str, int]:
    """What the API says of missed callers."""
    headers = {"Authorization": f"Bearer {place.keys['admin']}"}
    found: dict[str, int] = httpx.get(f"{place.url}/api/v2/cdr/missed?{query}", headers=headers, timeout=60).json()
    return found


def test_a_user_is_added_and_seen_as(place: Place, page: Page, watched: Opened) -> None:
    """What was typed stays when it is refused; then there is the user, and what they see is seen, with nothing to be
    changed, until it is ended."""
    page.goto(f"{place.url}/admin/users")
    page.get_by_test_id("admin-add").click()
    form = page.get_by_test_id("admin-form")
    form.get_by_label("Name").fill("Nia New")
    form.get_by_label("E-mail").fill("not an address")
    form.get_by_role("button", name="Save").click()
    expect(form.get_by_test_id("error")).to_contain_text("E-mail: is not")
    form.get_by_label("E-mail").fill("nia@main.example.com")
    form.get_by_label("Role").select_option("agent")
    assert [] == violations(page)
    form.get_by_role("button", name="Save").click()
    row = page.get_by_role("row").filter(has_text="nia@main.example.com")
    row.get_by_role("button", name="Change").click()
    form.get_by_label("Extension").fill("2099")
    form.get_by_role("button", name="Save").click()
    expect(row).to_contain_text("2099")
    row.get_by_test_id("see-as").click()
    expect(page.get_by_test_id("seen-as")).to_contain_text("nia@main.example.com")
    expect(page.get_by_test_id("empty")).to_be_visible()  # nobody has called her yet
    assert [] == violations(page)
    page.goto(f"{place.url}/admin/users")
    expect(page.get_by_test_id("error")).to_contain_text("You may not see this")
    page.get_by_role("button", name="See as yourself again").click()
    expect(page.get_by_test_id("row").first).to_be_visible()
    expect(page.get_by_test_id("seen-as")).to_have_count(0)


def test_a_key_is_made_and_shown_once(place: Place, page: Page) -> None:
    """The key is there to be copied, and is gone with the next look."""
    page.goto(f"{place.url}/admin/keys")
    page.get_by_test_id("admin-add").click()
    form = page.get_by_test_id("admin-form")
    form.get_by_label("User").fill("analyst@main.example.com")
    form.get_by_label("read").check()
    form.get_by_role("button", name="Save").click()
    expect(page.locator("code").filter(has_text="cdx_")).to_be_visible()
    page.reload()
    expect(page.get_by_role("row").nth(1)).to_be_visible()
    expect(page.locator("code").filter(has_text=re.compile("cdx_.{20}"))).to_have_count(0)


def test_a_list_that_comes_late_leaves_what_is_typed(place: Place, page: Page) -> None:
    """A form that is open stays open, with its text, when the list behind it arrives."""
    held: list[Route] = []

    def hold(route: Route) -> None:
        held.append(route)

    page.route(re.compile("/api/admin/v1/keys"), hold)
    page.goto(f"{place.url}/admin/keys")
    page.get_by_test_id("admin-add").click()
    user = page.get_by_test_id("admin-form").get_by_label("User")
    user.fill("analyst@main.example.com")
    for route in held:
        route.continue_()
    expect(page.locator("tbody tr").first).to_be_attached()
    expect(user).to_have_value("analyst@main.example.com")


@pytest.mark.parametrize("signed_in", [True, False])
def test_the_reference_sends_requests(place: Place, watched: Opened, page: Page, *, signed_in: bool) -> None:
    """With the session or with a key, from a page that fetches nothing from elsewhere; without either it is told."""
    tab = page if signed_in else watched().new_page()
    tab.goto(f"{place.url}/docs?operation=search_cdr")
    tab.get_by_label("per_page").fill("1")
    tab.get_by_test_id("docs-send").click()
    reply = tab.get_by_test_id("docs-reply")
    expect(reply).to_contain_text("200" if signed_in else "401")
    if signed_in:
        expect(reply).to_contain_text(place.records[0].uuid)
        assert [] == violations(tab)
        return
    tab.get_by_label("API key").fill(place.keys["admin"])
    tab.get_by_test_id("docs-send").click()
    expect(reply).to_contain_text(place.records[0].uuid)


def test_two_people_see_what_each_may(place: Place, page: Page, tab_of: TabOf) -> None:
    """The same address: an admin reads numbers and every call; an agent theirs alone, and says so where it is not."""
    first = next(each for each in place.records if each.agent)
    agent, agent_id = first.agent, first.agent_id
    mine = [each for each in place.records if each.agent_id == agent_id]
    theirs = next(each for each in place.records if each.agent and each.agent_id != agent_id)
    list_at(page, f"{place.url}/?type=inbound")
    other = tab_of("agent")
    list_at(other, place.url)
    expect(other.get_by_test_id("total")).to_have_text(f"{len(mine):,}")
    agents = other.locator("[role=gridcell].agent").all_inner_texts()
    assert {agent} == {each for each in agents if each}
    other.goto(f"{place.url}/cdr/{theirs.uuid}")
    expect(other.get_by_test_id("error")).to_contain_text("not accessible")
    page.goto(f"{place.url}/cdr/{theirs.uuid}")
    expect(page.get_by_test_id("timeline")).to_be_visible()


def test_by_keyboard_alone(place: Place, watched: Opened) -> None:
    """From signing in to a filtered record and back, without a mouse; focus is always somewhere that is seen."""
    page = watched().new_page()
    page.goto(place.url)
    expect(page.get_by_test_id("signin-email")).to_be_focused()
    page.keyboard.type("analyst@main.example.com")
    page.keyboard.press("Tab")
    page.keyboard.type("correct horse battery")
    page.keyboard.press("Enter")
    expect(page.get_by_test_id("row").first).to_have_attribute("data-uuid", re.compile("[0-9a-f-]{36}"))
    page.keyboard.press("/")
    page.keyboard.type("aband")
    expect(page.get_by_role("option").first).to_contain_text("Abandoned")
    page.keyboard.press("Enter")
    expect(page.get_by_test_id("chip")).to_contain_text("Outcome is Abandoned")
    expect(page.get_by_test_id("row").first).to_contain_text("Abandoned")
    page.keyboard.press("j")
    page.keyboard.press("Enter")
    expect(page.get_by_test_id("record")).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.get_by_test_id("record")).to_have_count(0)
    page.keyboard.press("?")
    expect(page.get_by_role("dialog")).to_contain_text("Next, previous row")
    page.keyboard.press("Escape")
    seen = "document.activeElement !== document.body && document.activeElement.getBoundingClientRect().height > 0"
    for _ in range(5):
        page.keyboard.press("Shift+Tab")
        assert page.evaluate(seen)

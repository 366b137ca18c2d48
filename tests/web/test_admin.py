"""Administration in the page: for whom it is, and that it does what its API does."""

from __future__ import annotations

import pytest
from playwright.sync_api import Page, expect

from tests.web.conftest import Place, TabOf
from tests.web.test_troubles import violations

pytestmark = pytest.mark.slow


def test_an_admin_sees_people_and_why(place: Place, tab_of: TabOf) -> None:
    """Users are listed, and of each it is told what they may see, and by which group; the audit tells what was done."""
    page = tab_of("admin")
    page.goto(f"{place.url}/admin/users?search=superv")
    row = page.get_by_role("row").filter(has_text="supervisor@main.example.com")
    expect(row).to_have_count(1)
    row.get_by_role("button", name="What they may see").click()
    expect(page.locator("dl")).to_contain_text("See calls (Supervisor)")
    assert [] == violations(page)
    page.get_by_role("link", name="Audit").click()
    expect(page.get_by_role("row").filter(has_text="admin@main.example.com").first).to_be_visible()


def test_who_may_not_administer_is_told(place: Place, tab_of: TabOf) -> None:
    """An analyst finds no way there, and at its address reads that it is not for them."""
    page = tab_of("analyst")
    page.goto(f"{place.url}/admin/users")
    expect(page.get_by_test_id("error")).to_contain_text("You may not see this")
    page.goto(place.url)
    page.get_by_label("You, look and language").click()
    expect(page.get_by_role("link", name="API reference")).to_be_visible()
    expect(page.get_by_role("link", name="Administration")).to_have_count(0)


@pytest.mark.parametrize(
    "part", ["users", "teams", "groups", "keys", "queues", "campaigns", "sources", "export-schedules", "audit"]
)
def test_each_part_is_there(place: Place, page: Page, part: str) -> None:
    """With its lines, or saying that there are none; nothing that axe finds, and nothing beside a phone's screen."""
    page.goto(f"{place.url}/admin/{part}")
    expect(page.locator("tbody tr").first.or_(page.get_by_test_id("empty"))).to_be_visible()
    expect(page.get_by_test_id("error")).to_have_count(0)
    assert [] == violations(page)
    page.set_viewport_size({"width": 360, "height": 740})
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")


def test_a_source_tells_when_it_last_delivered(place: Place, page: Page) -> None:
    """One that has not yet, tells nothing."""
    page.goto(f"{place.url}/admin/sources")
    expect(page.get_by_role("columnheader", name="Last delivered")).to_be_visible()
    row = page.get_by_role("row").filter(has_text="demo")
    expect(row.get_by_role("cell").nth(3)).to_have_text("")
    listed = {"name": "pbx", "format": "asterisk", "created_at": "2026-01-01T00:00:00Z", "quarantined": 3}
    told = {**listed, "last_ingest_at": "2026-01-02T03:04:05Z", "lag_s": 7_200}
    page.route("**/admin/v1/sources?*", lambda route: route.fulfill(json={"items": [told], "total": 1}))
    page.goto(f"{place.url}/admin/sources?timezone=UTC")
    row = page.get_by_role("row").filter(has_text="pbx")
    expect(row).to_contain_text("03:04:05")
    expect(row).to_contain_text("2 hr ago")


def test_an_export_is_scheduled(place: Place, page: Page) -> None:
    """A place that there is not is refused, and what was typed stays; then it is there, and goes."""
    page.goto(f"{place.url}/admin/export-schedules")
    page.get_by_test_id("admin-add").click()
    form = page.get_by_test_id("admin-form")
    for name, text in (
        ("Name", "Täglich nachts"),
        ("At", "02:00"),
        ("Where to", "elsewhere"),
        ("Filters, as in an address", "type=inbound"),
    ):
        form.get_by_label(name, exact=True).fill(text)
    form.get_by_label("Format").select_option("csv")
    form.get_by_role("button", name="Save").click()
    expect(form.get_by_test_id("error")).to_contain_text("nightly")
    expect(form.get_by_label("Filters", exact=False)).to_have_value("type=inbound")
    form.get_by_label("Where to").fill("nightly")
    form.get_by_role("button", name="Save").click()
    row = page.get_by_role("row").filter(has_text="Täglich nachts")
    expect(row).to_contain_text("02:00")
    expect(row).to_contain_text("type: inbound")
    page.on("dialog", lambda dialog: dialog.accept())
    row.get_by_role("button", name="Remove").click()
    expect(row).to_have_count(0)


def test_an_account_without_calls_says_so(place: Place, tab_of: TabOf) -> None:
    """In every view: none is blank, and none reports a fault."""
    page = tab_of("quiet")
    page.goto(place.url)
    expect(page.get_by_test_id("empty")).to_contain_text("There are no calls yet.")
    page.goto(f"{place.url}/missed?start_date=last_7_days")
    expect(page.get_by_test_id("empty")).to_be_visible()
    page.goto(f"{place.url}/wallboard")
    expect(page.get_by_test_id("wallboard")).to_contain_text("No calls")
    page.goto(f"{place.url}/figures")
    expect(page.get_by_test_id("heat")).to_be_visible()
    page.goto(f"{place.url}/admin/sources")
    expect(page.get_by_role("status")).to_contain_text("There are no calls yet.")
    expect(page.get_by_test_id("error")).to_have_count(0)


def test_keys_and_the_clock_are_told_where_one_is(place: Place, page: Page) -> None:
    """The person's menu leads nowhere else; what is searched stays when times are shown another way."""
    page.goto(f"{place.url}/admin/users?search=a&timezone=UTC")
    page.get_by_role("button", name="You, look").click()
    page.get_by_role("button", name="Keyboard").click()
    keys = page.get_by_role("dialog")
    expect(keys).to_contain_text("Search")
    keys.get_by_role("button", name="Close").click()
    expect(keys).to_have_count(0)
    page.get_by_test_id("zone").click()
    page.get_by_label("Clock").select_option("12")
    expect(page).to_have_url(f"{place.url}/admin/users?search=a&timezone=UTC&clock=12")

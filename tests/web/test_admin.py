"""Administration in the page: for whom it is, and that it does what its API does."""

from __future__ import annotations

from collections.abc import Callable

from playwright.sync_api import expect

from tests.web.conftest import Opened, Place
from tests.web.test_troubles import violations


def test_an_admin_sees_people_and_why(
    place: Place, watched: Opened, cookies: Callable[[str], list[dict[str, str]]]
) -> None:
    """Users are listed, and of each it is told what they may see, and by which group; the audit tells what was done."""
    context = watched()
    context.add_cookies(cookies("admin"))  # type: ignore[arg-type]
    page = context.new_page()
    page.goto(f"{place.url}/admin/users?search=superv")
    row = page.get_by_role("row").filter(has_text="supervisor@main.example.com")
    expect(row).to_have_count(1)
    row.get_by_role("button", name="What they may see").click()
    expect(page.locator("dl")).to_contain_text("see_cdrs: Supervisor")
    assert [] == violations(page)
    page.get_by_role("link", name="Audit").click()
    expect(page.get_by_role("row").filter(has_text="admin@main.example.com").first).to_be_visible()


def test_who_may_not_administer_is_told(
    place: Place, watched: Opened, cookies: Callable[[str], list[dict[str, str]]]
) -> None:
    """An analyst finds no way there, and at its address reads that it is not for them."""
    context = watched()
    context.add_cookies(cookies("analyst"))  # type: ignore[arg-type]
    page = context.new_page()
    page.goto(f"{place.url}/admin/users")
    expect(page.get_by_test_id("error")).to_contain_text("You may not see this")
    page.goto(place.url)
    page.get_by_label("You, look and language").click()
    expect(page.get_by_role("link", name="API reference")).to_be_visible()
    expect(page.get_by_role("link", name="Administration")).to_have_count(0)

"""Pictures of what the list adds up to, the wallboard, and the versions of a record."""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import urlencode

import httpx
import pytest
from playwright.sync_api import Page, expect

from tests.web.conftest import Opened, Place, TabOf
from tests.web.test_list import asked
from tests.web.test_troubles import violations

pytestmark = pytest.mark.slow


def test_a_mark_of_a_picture_is_a_filter_of_the_server(place: Place, page: Page) -> None:
    """An hour, a waiting time and an outcome of a queue: each is a chip, and the list has as many calls as it told."""
    week = sorted({record.started_at.date() for record in place.records})[10:17]
    address = f"{place.url}/figures?start_date={week[0]}&end_date={week[-1]}&timezone=UTC&type=inbound"
    page.goto(address)
    busiest = page.get_by_test_id("heat").get_by_role("button", disabled=False).first
    number = busiest.inner_text()
    busiest.click()
    expect(page.get_by_test_id("total")).to_have_text(number)
    assert "T" in page.url.split("start_date=")[1][:12]
    page.go_back()
    bin_ = page.get_by_test_id("wait-bin").nth(3)
    number = bin_.locator(".number").inner_text()
    bin_.click()
    expect(page.get_by_test_id("total")).to_have_text(number)
    assert "min_wait=20&max_wait=31" in page.url
    page.go_back()
    outcome = page.get_by_role("button", name=re.compile("Abandoned: ")).first
    number = (outcome.get_attribute("aria-label") or "").rpartition(" ")[2]
    outcome.click()
    expect(page.get_by_test_id("total")).to_have_text(number)
    expect(page.get_by_test_id("chip")).to_have_count(4)


def test_the_service_level_is_of_calls_that_came_in(place: Place, page: Page) -> None:
    """Nobody waits to be served in a call that an agent makes: those are left out, in the foot, by agent and over time;
    a day of the picture leads to the calls that it is of."""
    days = sorted({record.started_at.date() for record in place.records})[10:17]
    span = {"start_date": str(days[0]), "end_date": str(days[-1]), "timezone": "UTC"}

    def told(**params: str) -> Any:
        wanted = {**span, "type": "inbound", "measures": "service_level", **params}
        key = {"Authorization": f"Bearer {place.keys['admin']}"}
        return httpx.get(f"{place.url}/api/v2/cdr/stats", params=wanted, headers=key, timeout=60).json()

    def written(share: float) -> str:
        return f"{int(1000 * share + 0.5) / 10:g}%"

    page.goto(f"{place.url}/figures?{urlencode(span)}")
    expect(page.locator("footer")).to_contain_text(f"service level {written(told()['total']['service_level'])} in 20 s")
    for of in ("queue", "agent"):
        row = page.get_by_role("region", name=f"By {of}").locator("tbody tr").first
        name = row.get_by_role("button").first.inner_text()
        shares = {group[of]: group["service_level"] for group in told(group_by=of)["groups"]}
        expect(row.locator(".number").nth(1)).to_have_text(written(shares[name]))
    day = page.locator(".levels button:not([disabled])").first
    number = re.findall(r"\((\S+)\)$", day.get_attribute("aria-label") or "")[0]
    day.click()
    expect(page).to_have_url(re.compile("type=inbound"))
    outcomes = {"disposition": "answered,abandoned", "type": "inbound", "end_date": str(days[0]), "per_page": "1"}
    assert number == f"{asked(place, **{**span, **outcomes}).json()['total']:,}"
    page.goto(f"{place.url}/figures?type=outbound&{urlencode(span)}")
    expect(page.get_by_role("region", name="By agent").locator("tbody tr").first).to_be_visible()
    expect(page.locator("footer")).not_to_contain_text("service level")
    expect(page.locator(".levels button")).to_have_count(0)


@pytest.mark.parametrize(("address", "there"), [("/figures", "wait-bin"), ("/wallboard", "live")])
def test_axe_finds_nothing_in_pictures(place: Place, page: Page, address: str, there: str) -> None:
    """No violation, in either theme, and nothing lies beside a phone's screen."""
    page.goto(place.url + address)
    expect(page.get_by_test_id(there).first).to_be_visible()
    assert [] == violations(page)
    page.emulate_media(color_scheme="dark")
    assert [] == violations(page, only="color-contrast")
    page.set_viewport_size({"width": 360, "height": 740})
    assert page.evaluate("document.documentElement.scrollWidth") <= 360


def test_figures_of_too_long_a_time_say_so(place: Place, page: Page) -> None:
    """What the server does not put together is told where it belongs; the other pictures are there."""
    refused = {"error": "that makes more than 10000 groups", "type": "urn:calldex:error:bad_request"}
    page.route(re.compile("stats.*bucket=hour"), lambda route: route.fulfill(status=400, json=refused))
    page.goto(f"{place.url}/figures")
    expect(page.get_by_test_id("error")).to_contain_text("shorter time")
    expect(page.get_by_test_id("wait-bin").first).to_be_visible()


def test_the_wallboard_is_live(place: Place, tab_of: TabOf) -> None:
    """It counts what is committed while it is watched, without being loaded again; another account's, as nothing is
    written to the one that other tests count."""
    page = tab_of("other")
    page.goto(f"{place.url}/wallboard?start_date=2031-01-01&timezone=UTC")
    expect(page.get_by_test_id("live")).to_contain_text("live")
    tile = page.get_by_role("link", name=re.compile("Calls$"))
    expect(tile).to_have_text(re.compile("^0"))
    fresh = {
        "uuid": "01980c1e-6f3a-8d21-9a3b-5c1f0e7d2b55",
        "started_at": "2031-01-02T09:00:00.000Z",
        "type": "inbound",
        "disposition": "waiting",
        "duration_s": 0,
    }
    posted = httpx.post(
        f"{place.url}/api/ingest/v1/records", json=[fresh], headers=bearer(place, "other_ingest"), timeout=60
    )
    assert posted.is_success, posted.text
    try:
        expect(tile).to_have_text(re.compile("^1"))
    finally:
        taken = httpx.post(
            f"{place.url}/api/ingest/v1/deletions",
            json={"uuids": [fresh["uuid"]]},
            headers=bearer(place, "other_ingest"),
            timeout=60,
        )
        assert taken.is_success, taken.text
    expect(tile).to_have_text(re.compile("^0"))


def bearer(place: Place, name: str) -> dict[str, str]:
    """A header with somebody's key."""
    return {"Authorization": f"Bearer {place.keys[name]}"}


def test_a_record_tells_its_versions_and_other_calls(place: Place, page: Page) -> None:
    """Versions are asked for when they are opened; other calls of the number lead to them."""
    numbers: dict[str, int] = {}
    for each in place.records:
        if each.from_ and each.type == "inbound":
            numbers[each.from_] = numbers.get(each.from_, 0) + 1
    record = next(each for each in place.records if each.type == "inbound" and numbers.get(each.from_ or "", 0) > 2)
    page.goto(f"{place.url}/cdr/{record.uuid}")
    page.get_by_role("button", name="Versions").click()
    expect(page.get_by_test_id("history")).to_contain_text("It never changed")
    total = asked(place, party=record.from_, per_page=1).json()["total"]
    expect(page.get_by_role("button", name=re.compile(f"{total} calls of this number"))).to_be_visible()
    page.get_by_test_id("others").get_by_role("link").first.click()
    expect(page).not_to_have_url(re.compile(record.uuid))
    expect(page.get_by_test_id("timeline")).to_be_visible()


def test_a_failed_return_from_the_provider_is_told(place: Place, page: Page) -> None:
    """Who comes back from an OpenID provider without success reads why where they sign in."""
    page.goto(f"{place.url}/openid/callback?code=x&state=y")
    expect(page.get_by_test_id("error")).to_contain_text("took too long")
    expect(page.get_by_test_id("signin-email")).to_be_visible()


def test_a_provider_that_is_down_is_told_where_one_signs_in(place: Place, watched: Opened) -> None:
    """The button is there for an account that has a provider; who presses it while that does not answer reads so, and
    can press it again or take the password."""
    page = watched().new_page()
    page.goto(f"{place.url}/signin?account=quiet")
    page.get_by_test_id("signin-openid").click()
    expect(page.get_by_test_id("error")).to_contain_text("Signing in with your organisation did not work")
    expect(page.get_by_test_id("signin-openid")).to_have_attribute("href", "/openid/start?account=quiet")
    expect(page.get_by_test_id("signin-submit")).to_be_visible()

"""Files that leave by the page: recordings that play, exports that are what the list is."""

from __future__ import annotations

import csv
from pathlib import Path

import httpx
import pytest
from playwright.sync_api import Page, expect

from tests.web.conftest import Place, list_at, until

pytestmark = pytest.mark.slow


def test_a_recording_plays_and_is_sought(place: Place, page: Page) -> None:
    """Play in the list opens the record and plays it; ten seconds on is ten seconds on; its waveform is drawn."""
    list_at(page, f"{place.url}/?type=inbound&disposition=answered&min_duration=120")
    page.locator("[data-play]").first.click()
    elapsed = page.get_by_test_id("elapsed")
    audio = page.locator("audio")
    expect(audio).to_have_count(1)
    until(page, "document.querySelector('audio')?.currentTime > 0.2")
    page.keyboard.press("]")
    until(page, "document.querySelector('audio').currentTime > 10")
    expect(elapsed).to_contain_text("0:1")
    drawn = "[...document.querySelector('canvas').getContext('2d').getImageData(0, 0, 300, 40).data].some(each => each)"
    assert page.evaluate(drawn)
    page.keyboard.press(" ")
    until(page, "document.querySelector('audio').paused")


def test_an_export_is_what_the_list_is(place: Place, page: Page, tmp_path: Path) -> None:
    """The file has the filtered records, in the list's order, with its columns."""
    list_at(page, f"{place.url}/?type=inbound&disposition=abandoned&columns=uuid,from,disposition")
    page.keyboard.press("e")
    page.get_by_label("CSV for programs").check()
    with page.expect_download() as coming:
        page.get_by_test_id("export-start").click()
    coming.value.save_as(tmp_path / "calls.csv")
    with (tmp_path / "calls.csv").open(newline="") as file:
        rows = list(csv.reader(file))
    reply = httpx.get(
        f"{place.url}/api/v2/cdr",
        params={"type": "inbound", "disposition": "abandoned", "per_page": 10_000},
        headers={"Authorization": f"Bearer {place.keys['admin']}"},
        timeout=60,
    ).json()
    assert ["uuid", "from", "disposition"] == rows[0]
    assert [each["uuid"] for each in reply["records"]] == [row[0] for row in rows[1:]]
    expect(page.get_by_role("dialog")).to_contain_text(f"{reply['total']} calls written")


def test_a_link_of_a_demo_signs_in_once(place: Place, page: Page) -> None:
    """What is no code of this server is told, and is gone from the address."""
    page.goto(f"{place.url}/signin#code=abcdefghijklmnop")
    expect(page.get_by_test_id("error")).to_contain_text("This link was used")
    assert page.url == f"{place.url}/signin"
    page.reload()
    expect(page.get_by_test_id("signin-email")).to_be_visible()
    page.goto(f"{place.url}/signin#code=abcdefghijklmnop")  # the same document: nothing is loaded
    expect(page.get_by_test_id("error")).to_contain_text("This link was used")


def test_other_languages(place: Place, page: Page) -> None:
    """A language is chosen, and stays."""
    list_at(page, place.url)
    page.get_by_label("You, look and language").click()
    page.get_by_role("combobox", name="Language").select_option("de")
    expect(page.get_by_role("columnheader").first).to_contain_text("Zeit")
    page.reload()
    expect(page.get_by_role("columnheader").first).to_contain_text("Zeit")
    assert "de" == page.evaluate("document.documentElement.lang")

"""How the main views look: like the pictures of them in `docs/page`, which README shows.

Compared loosely, as fonts differ between machines: where it is dark and where it is light has to agree. Pictures
are made anew by `CALLDEX_PICTURES=write`.
"""

from __future__ import annotations

import base64
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.web.conftest import Place, TabOf, list_at, until

pytestmark = pytest.mark.slow

PICTURES: Final = Path(__file__).parents[2] / "docs" / "page"
ALIKE: Final = 0.7
"""How much what is dark in one picture has to go with what is dark in the other (1: always)."""
_THUMBS: Final = """async ([a, b]) => {
    const thumb = async (data) => {
        const image = new Image();
        image.src = `data:image/png;base64,${data}`;
        await image.decode();
        const canvas = document.createElement('canvas');
        [canvas.width, canvas.height] = [96, 54];
        const context = canvas.getContext('2d');
        context.drawImage(image, 0, 0, 96, 54);
        const pixels = context.getImageData(0, 0, 96, 54).data;
        return Array.from({length: 96 * 54}, (_, at) => pixels[4 * at] + pixels[4 * at + 1] + pixels[4 * at + 2]);
    };
    const [x, y] = [await thumb(a), await thumb(b)];
    const mean = (values) => values.reduce((sum, each) => sum + each, 0) / values.length;
    const [mx, my] = [mean(x), mean(y)];
    let [xy, xx, yy] = [0, 0, 0];
    x.forEach((each, at) => {
        xy += (each - mx) * (y[at] - my); xx += (each - mx) ** 2; yy += (y[at] - my) ** 2;
    });
    return xx && yy ? xy / Math.sqrt(xx * yy) : 0;
}"""

DAYS: Final = "start_date={0}&end_date={0}&type=inbound&timezone=Europe/London"
Show = Callable[[Page, str, str], None]


def show_list(page: Page, url: str, day: str) -> None:
    """The list of a day."""
    list_at(page, f"{url}/?{day}")
    expect(page.locator("footer")).to_contain_text("answered")
    expect(page.get_by_test_id("histogram").locator("rect").first).to_be_attached()


def show_record(page: Page, url: str, day: str) -> None:
    """The same, with a record beside it that has a recording."""
    show_list(page, url, f"{day}&disposition=answered&min_duration=120")
    page.locator("[data-play]").nth(1).locator("xpath=ancestor::*[@data-testid='row']").click()
    expect(page.get_by_test_id("timeline")).to_be_visible()


def show_phone(page: Page, url: str, day: str) -> None:
    """The list on a phone."""
    list_at(page, f"{url}/?{day}")


def show_figures(page: Page, url: str, _day: str) -> None:
    """The figures of all days."""
    page.goto(f"{url}/figures?type=inbound&timezone=Europe/London")
    expect(page.get_by_role("table")).to_have_count(2)
    expect(page.get_by_test_id("wait-bin").first).to_be_visible()
    expect(page.get_by_test_id("histogram").locator("rect").first).to_be_attached()
    until(page, "document.querySelectorAll('.levels button').length > 7")
    until(page, "document.querySelectorAll('.heat button').length == 168")


VIEWS: Final[dict[str, tuple[Show, dict[str, Any]]]] = {
    "list-dark": (show_list, {"color_scheme": "dark", "viewport": {"width": 1366, "height": 768}}),
    "record": (show_record, {"viewport": {"width": 1366, "height": 768}}),
    "figures": (show_figures, {"viewport": {"width": 1366, "height": 768}}),
    "phone": (show_phone, {"viewport": {"width": 360, "height": 740}}),
}


@pytest.mark.parametrize("name", VIEWS)
def test_a_view_looks_like_its_picture(place: Place, browser: Browser, tab_of: TabOf, name: str) -> None:
    """And not like that of another view."""
    day = DAYS.format(place.records[len(place.records) // 2].started_at.date().isoformat())
    show, options = VIEWS[name]
    page = tab_of("admin", **options, reduced_motion="reduce")
    show(page, place.url, day)
    shot = page.screenshot()
    file = PICTURES / f"{name}.png"
    if os.environ.get("CALLDEX_PICTURES") == "write":
        file.write_bytes(shot)
        return
    blank = browser.new_page()
    try:
        assert alike(blank, shot, file.read_bytes()) > ALIKE
        other = PICTURES / ("figures.png" if name != "figures" else "record.png")
        assert alike(blank, shot, other.read_bytes()) < ALIKE
    finally:
        blank.close()


def alike(page: Page, one: bytes, other: bytes) -> float:
    """How much two pictures agree in what is dark."""
    found: float = page.evaluate(_THUMBS, [base64.b64encode(each).decode() for each in (one, other)])
    return found

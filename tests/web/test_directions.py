"""A language written from right to left, planted in the place of another: it lays the page out the other way."""

from __future__ import annotations

import re
from typing import Final

import pytest
from playwright.sync_api import Page, Route, expect

from tests.web.conftest import Place, TabOf, list_at
from tests.web.test_sources import WEB

_SIDES: Final = re.compile(
    r"(?m)^\s+(?:(?:margin|padding|border)-(?:left|right)"
    r"|(?:left|right): (?!50%)|text-align: (?:left|right)|float: (?:left|right))"
)
_OUTSIDE: Final = """() => {
    const scrolls = (each) => each && each !== document.body
        && ((each.scrollWidth > each.clientWidth && /auto|scroll|hidden/.test(getComputedStyle(each).overflowX))
            || scrolls(each.parentElement));
    const told = [document.documentElement.scrollWidth > innerWidth ? 'the page scrolls' : ''];
    for (const each of document.querySelectorAll('body *')) {
        const box = each.getBoundingClientRect();
        const beside = box.width && (box.left < -1 || box.right > innerWidth + 1);
        if (beside && !each.closest('.unseen, svg') && !scrolls(each))
            told.push(`${each.tagName}.${each.className} ${Math.round(box.left)}..${Math.round(box.right)}`);
    }
    return told.filter(Boolean);
}"""
"""What lies beside the screen and is in nothing that scrolls."""


_ENDS: Final = """() => {
    const walker = document.createTreeWalker(document.querySelector('[data-testid=list]'), NodeFilter.SHOW_TEXT);
    while (walker.nextNode()) {
        const text = walker.currentNode;
        if (!/^[+]\\d+ \\d/.test(text.data)) continue;
        const at = (index) => {
            const range = document.createRange();
            range.setStart(text, index);
            range.setEnd(text, index + 1);
            return range.getBoundingClientRect().left;
        };
        return [at(0), at(text.data.length - 1)];
    }
}"""
"""Where the plus sign and the last digit of a number stand: a number is read from the left in every language."""


def test_styles_name_no_side() -> None:
    """What is at the left in one language is at the right in another: styles speak of start and end."""
    found = {path.name: _SIDES.findall(path.read_text()) for path in (WEB / "src").rglob("*") if path.is_file()}
    assert {} == {name: sides for name, sides in found.items() if sides}


@pytest.mark.slow
@pytest.mark.parametrize("size", [(1366, 768), (360, 740)], ids=["wide", "phone"])
def test_right_to_left_lays_out_without_overflow(place: Place, tab_of: TabOf, size: tuple[int, int]) -> None:
    """Every view, wide and on a phone; the first column and the record lie on the other side."""
    page = tab_of("admin", locale="es-ES", viewport={"width": size[0], "height": size[1]}, reduced_motion="reduce")

    def planted(route: Route) -> None:
        reply = route.fetch()
        route.fulfill(response=reply, body=re.sub(r"([`\"'])ltr\1", '"rtl"', reply.text(), count=1))

    page.context.route(re.compile(r"/assets/es-.*\.js"), planted)
    list_at(page, f"{place.url}/?type=inbound&disposition=answered,abandoned")
    assert "rtl" == page.evaluate("document.documentElement.dir")
    assert [] == page.evaluate(_OUTSIDE)
    plus, last = page.evaluate(_ENDS)
    assert plus < last
    if size[0] > 640:
        heads = [each.bounding_box() for each in page.get_by_role("columnheader").all()]
        left = [head["x"] for head in heads if head is not None]
        assert left == sorted(left, reverse=True)
        sideways(page)
    page.get_by_test_id("row").first.click()
    expect(page.get_by_test_id("timeline")).to_be_visible()
    assert [] == page.evaluate(_OUTSIDE)
    box = page.get_by_test_id("record").bounding_box()
    assert box is not None
    assert abs(box["x"]) < 2
    for path in ("/figures", "/missed?start_date=last_30_days", "/wallboard", "/admin/users", "/docs", "/signin"):
        page.goto(place.url + path)
        page.wait_for_load_state("networkidle")
        assert [] == page.evaluate(_OUTSIDE), path


def sideways(page: Page) -> None:
    """A column is made wider by drawing its end, which is its left side, to the left."""
    head = page.get_by_role("columnheader").nth(2)
    before = head.bounding_box()
    assert before is not None
    page.mouse.move(before["x"] + 2, before["y"] + 10)
    page.mouse.down()
    page.mouse.move(before["x"] - 58, before["y"] + 10, steps=4)
    page.mouse.up()
    after = head.bounding_box()
    assert after is not None
    assert 40 < after["width"] - before["width"] < 80

"""Languages other than English: no text of the page is left in English, nor what it says when something fails."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final, get_args

import pytest
from playwright.sync_api import Page, expect

from calldex.access import Permission, Role
from calldex.audit.chain import Action
from calldex.records.fields import CALLBACK_STATES, FILTER
from calldex.records.record import DISPOSITIONS, END_REASONS, EVENT_TYPES, FLAGS, INTERACTION_TYPES
from tests.web.conftest import PASSWORD, Opened, Place, TabOf, list_at
from tests.web.test_sources import WEB
from tests.web.test_troubles import SEARCH, refused

LANG: Final = WEB / "src" / "lang"
_TEXT: Final = re.compile(r"(?m)^    '([\w.-]+)': (?:'([^']*)'|\{ one: '([^']*)', other: '([^']*)' \}),$")
_SEEN: Final = """() => {
    const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
    const seen = [];
    while (walker.nextNode()) seen.push(walker.currentNode.data.trim());
    for (const each of document.querySelectorAll('[aria-label],[title],[placeholder]'))
        for (const name of ['aria-label', 'title', 'placeholder']) seen.push((each.getAttribute(name) ?? '').trim());
    return [...new Set(seen)];
}"""
_NAMES: Final = {"Admin", "Supervisor", "Analyst", "Agent", "Hardware phone"}
"""Of groups: whoever made them named them."""
VIEWS: Final = (
    "/?columns=started_at,type,from,to,disposition,queue,agent,wait_s,recording,wrapup_code,end_reason,flags",
    "/figures?start_date=last_30_days",
    "/missed?start_date=last_30_days",
    "/wallboard",
    *(f"/admin/{part}" for part in ("users", "groups", "keys", "sources", "export-schedules", "audit")),
)


def texts_of(language: str) -> dict[str, str]:
    """The texts of a language, by their names; of those with a plural, the plural."""
    return {name: one or many for name, one, _, many in _TEXT.findall((LANG / f"{language}.ts").read_text())}


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("type", INTERACTION_TYPES),
        ("disposition", DISPOSITIONS),
        ("end_reason", END_REASONS),
        ("event", EVENT_TYPES),
        ("flag", FLAGS),
        ("record", FLAGS),
        ("callback_state", CALLBACK_STATES),
        ("filter", {each.removesuffix("_not") for each in FILTER} - {"wrapup_code_ids"}),
        ("permission", get_args(Permission)),
        ("role", get_args(Role)),
        ("action", get_args(Action)),
    ],
    ids=lambda given: given if isinstance(given, str) else "",
)
def test_every_word_of_the_api_has_a_text(kind: str, words: Iterable[str]) -> None:
    """Else a word is made of the API's own, in every language."""
    known = texts_of("en")
    assert [] == [word for word in words if f"{kind}.{word}" not in known]


def test_every_head_of_the_administration_has_a_text() -> None:
    """The columns that the administration shows, and the fields of its forms."""
    source = (WEB / "src" / "admin" / "Admin.svelte").read_text()
    names = {name for listed in re.findall(r"columns: \[(.*?)\]", source) for name in re.findall(r"'(\w+)'", listed)}
    names |= set(re.findall(r"\{ name: '(\w+)', kind:", source))
    assert len(names) > 30
    assert [] == sorted(name for name in names if f"field.{name}" not in texts_of("en"))


@pytest.mark.slow
@pytest.mark.parametrize("locale", ["es-ES", "de-DE"])
def test_no_view_has_english_in_it(place: Place, tab_of: TabOf, locale: str) -> None:
    """No text, label or hint of any view is one of the English ones."""
    english, own = texts_of("en"), texts_of(locale[:2])
    assert english.keys() == own.keys()
    foreign = {text for name, text in english.items() if text != own[name]} - set(own.values()) - _NAMES
    assert len(foreign) > 400
    foreign -= {name for each in place.records for name in (each.queue, each.agent) if name}
    page = tab_of("admin", locale=locale)
    for path in VIEWS:
        page.goto(place.url + path)
        if path == "/wallboard":  # whose feed goes on
            expect(page.locator("thead")).to_be_visible()
        else:
            page.wait_for_load_state("networkidle")
        assert [] == sorted(foreign & set(page.evaluate(_SEEN))), path
    list_at(page, f"{place.url}/?type=inbound&disposition=answered&has_recording=yes")
    page.get_by_test_id("row").first.click()
    expect(page.get_by_test_id("timeline")).to_be_visible()
    page.locator("h3 button").first.click()
    expect(page.get_by_test_id("history")).to_be_visible()
    assert [] == sorted(foreign & set(page.evaluate(_SEEN)))


@pytest.mark.slow
def test_what_is_refused_is_told_in_the_pages_language(place: Place, tab_of: TabOf, watched: Opened) -> None:
    """A wrong password, a filter that there is not, a server that has too much to do; English is what only the server
    knows, and is marked as such."""
    page = watched(locale="de-DE").new_page()
    page.goto(f"{place.url}/signin")
    page.get_by_test_id("signin-email").fill("nobody@main.example.com")
    page.get_by_test_id("signin-password").fill("nothing")
    page.get_by_test_id("signin-submit").click()
    expect(page.get_by_test_id("error")).to_have_text("E-Mail-Adresse oder Passwort stimmt nicht.")
    page = tab_of("admin", locale="de-DE")
    page.goto(f"{place.url}/?agnt_ids=1")
    expect(page.get_by_test_id("error")).to_contain_text("agnt_ids „1“ wird nicht angenommen. (unknown parameter")
    page.route(SEARCH, refused(429, "rate_exceeded", "too many requests", **{"Retry-After": "600"}))
    page.goto(place.url)
    expect(page.get_by_test_id("error")).to_contain_text("Zu viele Anfragen auf einmal.")
    expect(page.get_by_test_id("error")).not_to_contain_text("too many")
    page.unroute(SEARCH)
    page.route(SEARCH, refused(500, "internal", "something went wrong here"))
    page.goto(place.url)
    expect(page.get_by_test_id("error").locator("[lang=en]")).to_have_text("something went wrong here")
    _a_wrong_old_password(page)


def _a_wrong_old_password(page: Page) -> None:
    page.get_by_label("Sie, Darstellung und Sprache").click()
    page.get_by_role("button", name="Passwort ändern").click()
    page.get_by_label("Jetziges Passwort").fill("not this one")
    page.get_by_label("Neues Passwort").fill(PASSWORD)
    page.get_by_role("button", name="Ändern", exact=True).click()
    expect(page.get_by_text("Das jetzige Passwort stimmt nicht.")).to_be_visible()

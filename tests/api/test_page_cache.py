"""Cached pages are kept, within bounds, and are never another's."""

from __future__ import annotations

from calldex.api.page_cache import LARGEST, LIMIT, CachedPage, PageCache
from tests.api.conftest import Site


def page(size: int) -> CachedPage:
    """A page of so many bytes."""
    return CachedPage(b"x" * size, "identity", 1)


def test_a_page_is_found_until_others_need_its_room() -> None:
    """Pages are kept up to a number of bytes; the one not asked for longest goes first."""
    pages = PageCache()
    room = LIMIT // LARGEST
    for number in range(room):
        pages.put(str(number), page(LARGEST))
    assert page(LARGEST) == pages.get("0")
    pages.put("one more", page(1))
    assert None is pages.get("1")
    assert page(LARGEST) == pages.get("0")
    assert page(1) == pages.get("one more")


def test_a_page_put_twice_counts_once() -> None:
    """Two requests that make the same page at the same time take room for one."""
    pages = PageCache()
    pages.put("other", page(1))
    for _ in range(2 * LIMIT // LARGEST):
        pages.put("same", page(LARGEST))
    assert page(1) == pages.get("other")


def test_a_large_page_is_not_kept() -> None:
    """A page of a walk does not push out what many ask for."""
    pages = PageCache()
    pages.put("large", page(LARGEST + 1))
    assert None is pages.get("large")


def test_the_same_search_of_two_accounts_is_not_the_same_page(site: Site) -> None:
    """A page that one account asked for is not found by another, in whatever order they ask."""
    replies = [site.cdr(key, per_page=9).json() for key in ("admin", "other", "analyst", "other", "admin")]
    assert replies[0] == replies[2] == replies[4]
    assert replies[1] == replies[3]
    assert not {r["uuid"] for r in replies[0]["records"]} & {r["uuid"] for r in replies[1]["records"]}

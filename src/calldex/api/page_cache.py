"""Cached pages, kept for the next who asks the same.

A page's entity tag names everything that its bytes depend on, the scope included, so a page that is found under a tag
is the page. Nothing here becomes stale: a write makes other tags. Bounded in bytes; the page not asked for longest goes
first.
"""

from __future__ import annotations

import threading
from typing import Final

import msgspec
from cachetools import LRUCache

from calldex.transport.replies import Coding

LIMIT: Final = 32 * 1024 * 1024
LARGEST: Final = 1024 * 1024
"""Larger pages are those of walks, which nobody asks for twice."""


class CachedPage(msgspec.Struct, frozen=True, gc=False):
    """A page as it is sent, and how many records it holds."""

    body: bytes
    coding: Coding
    records: int


class PageCache:
    """The pages by their tags. May be used from several threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._pages: LRUCache[str, CachedPage] = LRUCache(LIMIT, getsizeof=lambda page: len(page.body))

    def get(self, tag: str) -> CachedPage | None:
        """The page of a tag, if it is still kept."""
        with self._lock:
            return self._pages.get(tag)

    def put(self, tag: str, page: CachedPage) -> None:
        """Keep a page."""
        if len(page.body) > LARGEST:
            return
        with self._lock:
            self._pages[tag] = page

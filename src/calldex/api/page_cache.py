"""Cached pages, kept for the next who asks the same.

A page's entity tag names everything that its bytes depend on, the scope included, so a page that is found under a tag
is the page. Nothing here becomes stale: a write makes other tags. Bounded in bytes; the page not asked for longest goes
first.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from typing import Final

import msgspec

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
        self._pages: OrderedDict[str, CachedPage] = OrderedDict()
        self._bytes = 0

    def get(self, tag: str) -> CachedPage | None:
        """The page of a tag, if it is still kept."""
        with self._lock:
            page = self._pages.get(tag)
            if page is not None:
                self._pages.move_to_end(tag)
            return page

    def put(self, tag: str, page: CachedPage) -> None:
        """Keep a page."""
        if len(page.body) > LARGEST:
            return
        with self._lock:
            if tag not in self._pages:
                self._pages[tag] = page
                self._bytes += len(page.body)
            while self._bytes > LIMIT:
                self._bytes -= len(self._pages.popitem(last=False)[1].body)

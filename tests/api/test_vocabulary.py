"""Replies in the words of an account or a key."""

from __future__ import annotations

from typing import Any

import msgspec

from calldex.access import Reach
from calldex.directory import GroupChanges
from calldex.records.record import InteractionType
from calldex.records.vocabulary import SERVED_AS
from tests.api.conftest import Site, write

KINDS: tuple[InteractionType, ...] = ("dialer", "click_to_call", "queue_callback", "scheduled_callback", "inbound")


def filled(empty: Site, site: Site) -> Site:
    """A site with one record of each of these kinds."""
    records = [msgspec.structs.replace(site.main[n], type=kind) for n, kind in enumerate(KINDS)]
    write(empty.node, "main", records)
    return empty


def types(empty: Site, key: str = "admin", **params: Any) -> set[str]:
    """The types of the records of a page."""
    reply = empty.cdr(key, **params)
    assert 200 == reply.status_code, reply.text
    return {record["type"] for record in reply.json()["records"]}


COMPATIBLE = {*SERVED_AS["compatible"].values(), "inbound"}
DOCUMENTED = {"dialer", "click_to_call", "queue_callback", "inbound"}


def test_the_words_of_an_account_and_of_a_key(empty: Site, site: Site) -> None:
    """The documented ones, unless the account says otherwise; a key's own count more."""
    filled(empty, site)
    directory = empty.node.directory
    assert DOCUMENTED == types(empty)
    empty.keys["own"] = directory.create_key("admin@main.example.com", vocabulary="compatible")
    assert COMPATIBLE == types(empty, "own")
    directory.set_account("main", vocabulary="compatible")
    assert COMPATIBLE == types(empty)
    directory.set_key(empty.keys["admin"], "documented")
    assert (DOCUMENTED, COMPATIBLE) == (types(empty), types(empty, "analyst"))
    directory.set_key(empty.keys["admin"], None)
    assert COMPATIBLE == types(empty)


def test_filters_find_by_every_word(empty: Site, site: Site) -> None:
    """`queue_callback` finds scheduled callbacks as well, whichever words are served; the other words one kind each."""
    filled(empty, site)
    empty.keys["compatible"] = empty.node.directory.create_key("admin@main.example.com", vocabulary="compatible")
    for key in ("admin", "compatible"):
        for word, count in (("queue_callback", 2), ("queue-callback", 1), ("scheduled-callback", 1), ("campaign", 1)):
            assert count == empty.cdr(key, type=word).json()["total"]


def test_a_walk_and_a_tag_have_one_vocabulary(empty: Site, site: Site) -> None:
    """When it changes, a token that was given before is refused, and a page that is kept is made again."""
    filled(empty, site)
    first = empty.cdr(per_page=2)
    directory = empty.node.directory
    directory.set_account("main", vocabulary="compatible")
    again = empty.cdr(per_page=2, headers={"If-None-Match": first.headers["etag"]})
    assert (200, True) == (again.status_code, first.headers["etag"] != again.headers["etag"])
    refused = empty.cdr(per_page=2, search_token=first.json()["search_token"])
    assert (409, "urn:calldex:error:scope_changed") == (refused.status_code, refused.json()["type"])


def test_masked_records_have_their_words(empty: Site, site: Site) -> None:
    """Words and masks are laid over the same records."""
    filled(empty, site)
    directory = empty.node.directory
    changes = GroupChanges(name="Readers", permissions=("see_cdrs",), reach=Reach(whole=True))
    directory.put_group("main", None, changes)
    directory.add_user("reader@main.example.com", "Reader", None, groups=("Readers",))
    empty.keys["reader"] = directory.create_key("reader@main.example.com", vocabulary="compatible")
    assert COMPATIBLE == types(empty, "reader")
    assert all("*" in str(record["from"]) for record in empty.cdr("reader").json()["records"] if record["from"])

"""Whose a request is when it came through a proxy: what trusted ones say in `X-Forwarded-*` and `Forwarded` (RFC 7239).

Used by `middleware` alone; everything behind it reads the address and the scheme from the scope. Each proxy writes the
address it was called from behind those that it was given, so a list is read from its end, no further than the first
address that is no proxy's: what stands before that came from the client, who may have written anything.
"""

from __future__ import annotations

import re
from typing import Final

from starlette.datastructures import Headers

from calldex.errors import BadRequest
from calldex.networks import Networks, read_address

MOST_PROXIES: Final = 20
"""How far back a list is read."""
_SCHEMES: Final = frozenset({"http", "https"})
_NODE: Final = re.compile(r"\[([^\]]*)\](?::\d{1,5})?|([^:]*)(?::\d{1,5})?")
_PAIR: Final = re.compile(r'([!#$%&\'*+.^_`|~0-9A-Za-z-]+)=(?:([!#$%&\'*+.^_`|~0-9A-Za-z-]+)|"([^"\\]*)")')


def forwarded(peer: str, headers: Headers, trusted: Networks) -> tuple[str, str | None]:
    """The client's address, and the scheme they used if a proxy told it.

    The peer's own address unless that is a trusted proxy's, and also if that proxy wrote something that is no address.
    `BadRequest` if both headers are there and name different clients: one of them is not the proxy's.
    """
    if peer not in trusted:
        return peer, None
    listed = _items(headers, "x-forwarded-for")
    elements = [_element(text) for text in _items(headers, "forwarded")[-MOST_PROXIES:]]
    found = {
        _client(names, peer, trusted) for names in (listed, [element.get("for", "") for element in elements]) if names
    }
    if len(found) > 1:
        raise BadRequest(
            "`X-Forwarded-For` and `Forwarded` name different clients; the proxy has to remove one of them"
        )
    schemes = _items(headers, "x-forwarded-proto") or [element.get("proto", "") for element in elements]
    scheme = schemes[-1].lower() if schemes else None
    return found.pop() if found else peer, scheme if scheme in _SCHEMES else None


def _items(headers: Headers, name: str) -> list[str]:
    """The items of a list in a header, of all lines in which it came."""
    return [item.strip() for line in headers.getlist(name) for item in line.split(",")]


def _client(names: list[str], peer: str, trusted: Networks) -> str:
    address = peer
    for name in reversed(names[-MOST_PROXIES:]):
        found = _NODE.fullmatch(name) if name.count(":") < 2 or name.startswith("[") else None
        try:
            address = str(read_address((found[1] or found[2]) if found else name))
        except ValueError:
            return peer
        if address not in trusted:
            break
    return address


def _element(text: str) -> dict[str, str]:
    """The pairs of an element of `Forwarded`, by their names in lower case; nothing if it is none.

    A comma in quotes would cut an element in two, but no address and no scheme has one: cutting there, nothing that the
    client wrote reaches into what a proxy wrote behind it.
    """
    pairs = [_PAIR.fullmatch(pair.strip()) for pair in text.split(";")]
    return {pair[1].lower(): pair[2] or pair[3] or "" for pair in pairs if pair} if all(pairs) else {}

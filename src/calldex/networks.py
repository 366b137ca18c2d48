"""Addresses and networks of the internet protocol, as they are written in settings, keys and headers.

Pure. One address has one spelling here, however it came: an IPv4 address in IPv6 clothes is the IPv4 address.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Final

MOST_NETWORKS: Final = 100
_CACHED: Final = 4096
_ORIGIN: Final = re.compile(r"https?://(?:[a-z0-9.-]+|\[[0-9a-f:.]+\])(?::[1-9][0-9]{0,4})?")
_LONGEST_ORIGIN: Final = 300
_SITE_BITS: Final = 64
"""The part of an IPv6 address that is its owner's to choose."""


@lru_cache(maxsize=_CACHED)
def read_address(text: str) -> IPv4Address | IPv6Address:
    """An address; `ValueError` if it is none."""
    found = ip_address(text)
    return found.ipv4_mapped or found if isinstance(found, IPv6Address) else found


def is_loopback(host: str) -> bool:
    """Whether what listens at a host is reached from this machine alone."""
    try:
        return read_address(host).is_loopback
    except ValueError:
        return host == "localhost"


@lru_cache(maxsize=_CACHED)
def site_of(text: str) -> str:
    """Whose an address is, for counting: itself, of IPv6 the first 64 bits; `ValueError` if it is none."""
    found = read_address(text)
    return f"{int(found) >> _SITE_BITS:x}::" if isinstance(found, IPv6Address) else str(found)


class Networks:
    """A list of networks, given as text with commas or as several texts: `10.0.0.0/8`, `2001:db8::/32`, `::1`."""

    __slots__ = ("_networks",)

    def __init__(self, given: str | Sequence[str] = ()) -> None:
        """Read it; `ValueError` names what is no network, also one that has bits behind its length."""
        texts = [text.strip() for text in given.split(",")] if isinstance(given, str) else given
        if len(texts) > MOST_NETWORKS:
            raise ValueError(f"{len(texts)} networks are given; at most {MOST_NETWORKS} are allowed")
        if not all(isinstance(text, str) for text in texts):
            raise ValueError("a network is text")  # to the library, a number is a network as well
        self._networks: tuple[IPv4Network | IPv6Network, ...] = tuple(map(ip_network, texts))

    @property
    def listed(self) -> list[str]:
        """Each of them, as text."""
        return list(map(str, self._networks))

    def __contains__(self, address: str) -> bool:
        found = read_address(address)
        return any(found in network for network in self._networks)

    def covers(self, other: Networks) -> bool:
        """Whether every address of others lies in one of these."""
        return all(any(_within(each, network) for network in self._networks) for each in other._networks)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Networks) and self._networks == other._networks

    def __hash__(self) -> int:
        return hash(self._networks)

    def __str__(self) -> str:
        return ",".join(self.listed)

    def __repr__(self) -> str:
        return f"Networks({str(self)!r})"


read_networks: Final = lru_cache(maxsize=_CACHED)(Networks)
"""The same, kept for who asks with every request."""


class Origins:
    """A list of origins as browsers send them, given as text with commas or as several texts:
    `https://reports.example.com`."""

    __slots__ = ("listed",)

    def __init__(self, given: str | Sequence[str] = ()) -> None:
        """Read it; `ValueError` names what is not an origin. One that stands for all (`*`) is none."""
        texts = [text.strip() for text in given.split(",") if text.strip()] if isinstance(given, str) else given
        if len(texts) > MOST_NETWORKS:
            raise ValueError(f"{len(texts)} origins are given; at most {MOST_NETWORKS} are allowed")
        if not all(isinstance(text, str) for text in texts):
            raise ValueError("an origin is text")
        for text in texts:
            if len(text) > _LONGEST_ORIGIN or not _ORIGIN.fullmatch(text):
                raise ValueError(f"{text[:100]!r} is not an origin")
        self.listed: tuple[str, ...] = tuple(dict.fromkeys(texts))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Origins) and self.listed == other.listed

    def __hash__(self) -> int:
        return hash(self.listed)

    def __str__(self) -> str:
        return ",".join(self.listed)

    def __repr__(self) -> str:
        return f"Origins({str(self)!r})"


def _within(small: IPv4Network | IPv6Network, large: IPv4Network | IPv6Network) -> bool:
    if isinstance(small, IPv4Network) and isinstance(large, IPv4Network):
        return small.subnet_of(large)
    return isinstance(small, IPv6Network) and isinstance(large, IPv6Network) and small.subnet_of(large)

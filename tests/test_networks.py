"""Addresses and networks, as people write them."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from calldex.networks import MOST_NETWORKS, Networks, read_address, site_of


@pytest.mark.parametrize(
    ("address", "inside"),
    [
        ("10.0.0.0", True),
        ("10.255.255.255", True),
        ("11.0.0.0", False),
        ("::ffff:10.1.2.3", True),
        ("192.0.2.7", True),
        ("192.0.2.8", False),
        ("2001:db8::1", True),
        ("2001:db9::1", False),
    ],
)
def test_what_lies_in_a_network(address: str, inside: bool) -> None:
    """A list has the addresses of each of its networks; an IPv4 address is one in whatever clothes it comes."""
    for networks in (
        Networks("10.0.0.0/8, 192.0.2.7,2001:db8::/32"),
        Networks(["10.0.0.0/8", "192.0.2.7", "2001:db8::/32"]),
    ):
        assert inside == (address in networks)
        assert "10.0.0.0/8,192.0.2.7/32,2001:db8::/32" == str(networks)
    assert address not in Networks()


@pytest.mark.parametrize(
    "given", ["", "x", "10.0.0.1/8", "10.0.0.0/8,", "10.0.0.0/8;::1", [1], ["::1"] * (MOST_NETWORKS + 1)]
)
def test_what_is_no_network(given: str | list[str]) -> None:
    """What is none is refused, also a network that is not its own first address, and a number."""
    with pytest.raises(ValueError, match=r"network|address|host bits"):
        Networks(given)


@given(st.ip_addresses())
def test_whose_an_address_is(address: IPv4Address | IPv6Address) -> None:
    """Of IPv4 each address is somebody's, of IPv6 each first half."""
    site = site_of(str(address))
    found = read_address(str(address))
    if isinstance(found, IPv4Address):
        assert str(found) == site
        assert site == site_of(f"::ffff:{found}")
    else:
        half = int(found) >> 64
        assert site == site_of(str(IPv6Address(half << 64)))
        assert site != site_of(str(IPv6Address((half ^ 1) << 64 | 0xFFFF)))

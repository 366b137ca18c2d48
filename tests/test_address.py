"""Addresses of databases: which there are, and that what is secret in one is never shown."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from calldex.address import Address, DirectoryAddress, StoreAddress

SECRET = "not-for-messages"


@pytest.mark.parametrize(
    ("kind", "whole", "shown"),
    [
        (StoreAddress, "embedded", "embedded"),
        (DirectoryAddress, "", ""),
        (StoreAddress, "chdb:///var/lib/chdb", "chdb:///var/lib/chdb"),
        (StoreAddress, "clickhouse://one/cdr", "clickhouse://one/cdr"),
        (StoreAddress, "clickhouse://ann@one:8123/cdr", "clickhouse://ann@one:8123/cdr"),
        (
            StoreAddress,
            f"clickhouse://ann:{SECRET}@one,two:8123/cdr?secure=1",
            "clickhouse://ann:***@one,two:8123/cdr?***",
        ),
        (StoreAddress, f"clickhouse://ann:a:/?#%40{SECRET}@[::1]:9/cdr", "clickhouse://ann:***@[::1]:9/cdr"),
        (DirectoryAddress, f"postgresql://ann:{SECRET}@db:5432/cdr", "postgresql://ann:***@db:5432/cdr"),
        (DirectoryAddress, f"postgresql://db/cdr?user=ann&password={SECRET}", "postgresql://db/cdr?***"),
    ],
)
def test_an_address_as_it_is_shown(kind: type[Address], whole: str, shown: str) -> None:
    """Scheme, user, hosts and database; neither password nor options. All of it is there for whoever connects."""
    address = kind(whole)
    assert (whole, shown, f"{kind.__name__}({shown!r})") == (address.whole, str(address), repr(address))
    assert (address, hash(address)) == (kind(whole), hash(kind(whole)))


@pytest.mark.parametrize("kind", [StoreAddress, DirectoryAddress])
@pytest.mark.parametrize(
    "whole",
    [
        "elsewhere",
        "Embedded",
        f"mysql://ann:{SECRET}@db/cdr",
        f"clickhouse://ann:{SECRET}@db",
        f"clickhouse://ann:{SECRET}@db/",
        f"clickhouse://ann:{SECRET}@/cdr",
        f"clickhouse://ann:{SECRET}@one,/cdr",
        f"clickhouse://ann:{SECRET}@one:http/cdr",
        f"clickhouse://ann:x@{SECRET}@one/cdr",
        f"clickhouse://ann:x@one/{SECRET}@cdr",
        f"clickhouse://ann:x@one/cdr?{SECRET}@two",
        f"clickhouse://ann:{SECRET}@one/cdr#three",
        f"postgresql+psycopg://ann:{SECRET}@db/cdr",
        f"postgresql://ann:{SECRET}@one,two/cdr",
        f"postgresql://ann:{SECRET}@db/cdr/more",
        "chdb://",
        "chdb://folder",
    ],
)
def test_what_is_no_address(kind: type[Address], whole: str) -> None:
    """It is refused with what is valid, and nothing of it is repeated."""
    with pytest.raises(ValueError, match="is no such address; valid: ") as error:
        kind(whole)
    assert SECRET not in str(error.value)


PLAIN = st.text(st.characters(exclude_characters="@", exclude_categories=["Cs"]), min_size=1)


@given(PLAIN)
def test_no_password_is_shown(password: str) -> None:
    """Whatever characters it is made of: two addresses that differ in their passwords look alike."""
    shown = {str(StoreAddress(f"clickhouse://ann:{word}@one/cdr")) for word in ("x", password)}
    assert {"clickhouse://ann:***@one/cdr"} == shown


@given(st.text())
def test_any_text_is_an_address_or_refused(text: str) -> None:
    """What is taken has a scheme that is known, or is the word for what lies in the data directory."""
    for kind in (StoreAddress, DirectoryAddress):
        try:
            address = kind(text)
        except ValueError:
            continue
        assert address.embedded or text.partition("://")[0] in kind.forms

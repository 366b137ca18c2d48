"""The address of a ClickHouse: what it may be, and that nothing tells its password."""

from __future__ import annotations

import pytest

from calldex.errors import BadSettings
from calldex.store.clickhouse.address import Dsn, parse_dsn


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("clickhouse://ch1/calls", Dsn(hosts=(("ch1", 8123),), database="calls")),
        (
            "clickhouse://me:p%40ss%25@h1,h2:9000/d?secure=1",
            Dsn(hosts=(("h1", 9000), ("h2", 9000)), user="me", password="p@ss%", database="d", secure=True),
        ),
        (
            "clickhouse://h1:1,h2:2,h3/d?secure=1",
            Dsn(hosts=(("h1", 1), ("h2", 2), ("h3", 8443)), database="d", secure=True),
        ),
        ("clickhouse://[::1]:8123/d", Dsn(hosts=(("[::1]", 8123),), database="d")),
        (
            "clickhouse://h/d?secure=1&ca_cert=/ca.pem",
            Dsn(hosts=(("h", 8443),), database="d", secure=True, ca_cert="/ca.pem"),
        ),
        ("chdb:///var/lib/calldex", Dsn(path="/var/lib/calldex", database="calldex")),
    ],
)
def test_addresses(text: str, expected: Dsn) -> None:
    """A port counts for the hosts before it; without one it is ClickHouse's own."""
    assert expected == parse_dsn(text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "postgresql://u:secret@h/d",
        "clickhouse://u:secret@h",
        "clickhouse://u:secret@h/a/b",
        "clickhouse://u:secret@h:0/d",
        "clickhouse://u:secret@h:x/d",
        "clickhouse://u:secret@/d",
        "clickhouse://u:secret@h,/d",
        "clickhouse://u:sec@ret@h/d",
        "clickhouse://u:secret@h/d?secure=yes",
        "clickhouse://u:secret@h/d?compress=1",
        "clickhouse://u:secret@[h/d",
        f"clickhouse://u:secret@{','.join('h' * 65)}/d",
        "chdb://secret",
        "chdb:///",
    ],
)
def test_what_is_no_address(text: str) -> None:
    """It is refused with a form that is right, and without a word of it."""
    with pytest.raises(BadSettings, match="clickhouse://user:password@host1") as refused:
        parse_dsn(text)
    assert "sec" not in str(refused.value).replace("`secure`", "").replace("?secure=1", "")


def test_nothing_tells_the_password() -> None:
    """Neither `str` nor `repr`."""
    found = parse_dsn("clickhouse://me:hidden@h1,h2/d")
    assert "clickhouse://me@h1:8123,h2:8123/d" == str(found) == repr(found)

"""Words for people that depend on a number."""

from __future__ import annotations

import pytest

from calldex.cli import output


@pytest.mark.parametrize(
    ("number", "day", "entry"),
    [
        (0, "0 days", "0 entries"),
        (1, "1 day", "1 entry"),
        (2, "2 days", "2 entries"),
        (1000, "1,000 days", "1,000 entries"),
    ],
)
def test_one_is_not_many(number: int, day: str, entry: str) -> None:
    """One thing has the noun as it is, any other number its plural."""
    assert (day, entry) == (output.many(number, "day"), output.many(number, "entry", "entries"))

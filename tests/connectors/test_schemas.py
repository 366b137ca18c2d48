"""What the connectors know of a record."""

from __future__ import annotations

from connectors import generate


def test_the_connectors_know_every_member_of_a_record() -> None:
    """The files are what `make docs` would write."""
    for path, text in generate.written().items():
        assert text == path.read_text(encoding="utf-8"), f"{path.name} is of older code; make docs writes it anew"

"""Exports and schedules as the directory keeps them, on SQLite and on PostgreSQL."""

from __future__ import annotations

import msgspec
import pytest

from calldex.directory import Directory, Export, Schedule
from calldex.directory.exports import MOST_KEPT, MOST_OPEN
from calldex.errors import Conflict, NotFound, TooMany
from tests.directory.places import Place

MAKER = {"account_id": 1, "user_id": 0, "key_id": None, "email": "owner", "credential": ""}


def export(n: int, **given: object) -> Export:
    """An export that is asked for."""
    values = {"id": f"{n:032x}", "node": "", "parameters": [("format", "csv")], "scope": b"s" * 16, "store_id": "s"}
    return msgspec.convert(MAKER | values | {"created_at": n, "expires_at": 10_000} | given, Export)


def schedule(name: str = "nightly") -> Schedule:
    """A schedule."""
    values = {"id": 0, "name": name, "at": "02:00", "timezone": "UTC", "next_day": "2026-01-01", "target": "lake"}
    return msgspec.convert(MAKER | values | {"parameters": [("format", "csv")], "created_at": 0}, Schedule)


def test_an_export_has_its_life(directory: Directory) -> None:
    """Asked for, begun, done; what is over is not begun again, and what is forgotten is changed no more."""
    asked = export(1)
    directory.add_export(asked)
    assert [asked] == directory.open_exports("") == directory.exports(1, 0)
    assert directory.change_export(asked.id, state="running", as_of=7, total=3, records=2, size=9, after=b"x")
    found = directory.export(asked.id, 1)
    assert ("running", 7, 3, 2, 9, b"x") == (
        *(found.state, found.as_of, found.total, found.records, found.size),
        found.after,
    )
    assert directory.end_export(asked.id, "done")
    assert not directory.change_export(asked.id, state="running")
    assert ([], [asked.id]) == (directory.open_exports(""), directory.kept_exports(""))
    assert directory.end_export(asked.id, "failed", "its rights changed")
    assert (1, 0) == (directory.drop_exports(10_000), directory.drop_exports(10_000))
    assert not directory.change_export(asked.id, records=1)
    with pytest.raises(NotFound):
        directory.export(asked.id)


def test_a_user_has_so_many(directory: Directory) -> None:
    """Of those that wait, and in all; others are not concerned."""
    for n in range(MOST_OPEN):
        directory.add_export(export(n))
    with pytest.raises(TooMany, match=r"wait or run"):
        directory.add_export(export(MOST_OPEN))
    directory.add_export(export(99, user_id=7))
    for n in range(MOST_KEPT):
        directory.end_export(f"{n:032x}", "done")
        if n >= MOST_OPEN:
            directory.add_export(export(n))
            directory.end_export(f"{n:032x}", "done")
    with pytest.raises(TooMany, match=r"are kept"):
        directory.add_export(export(MOST_KEPT))


def test_of_two_nodes_one_makes_a_run(directory: Directory, place: Place) -> None:
    """Whoever moves the day on first; the other one's export is not there."""
    planned = directory.add_schedule(schedule())
    with place.open() as other:
        seen = other.schedule(1, "nightly")
        assert planned == seen
        run, same = export(1, schedule_id=planned.id, day="2025-12-31"), export(2, schedule_id=planned.id)
        assert directory.claim_run(planned, "2026-01-02", run)
        assert not other.claim_run(seen, "2026-01-02", same)
        assert [run.id] == [each.id for each in other.exports(1, None)]
    assert "2026-01-02" == directory.schedule(1, planned.id).next_day


def test_a_name_is_taken_once(directory: Directory) -> None:
    """In an account."""
    directory.add_schedule(schedule())
    with pytest.raises(Conflict):
        directory.add_schedule(schedule())
    directory.remove_schedule(1, directory.schedule(1, "nightly").id)
    directory.add_schedule(schedule())


def test_what_opens_a_place_is_sealed(directory: Directory, place: Place) -> None:
    """The database does not tell it; another value takes its place."""
    assert directory.bucket_secret("export_target", "lake") is None
    for secret in ("the first of two", "the second of two"):
        directory.set_bucket_secret("export_target", "lake", secret)
        assert secret == directory.bucket_secret("export_target", "lake")
        assert not place.holds(secret.encode())

"""`GET /api/v2/cdr/{uuid}/history`: what changed in a record, for those who see it, as they see it."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from calldex.access import Reach
from calldex.api.history import MOST_VERSIONS, reply_of
from calldex.demo import interactions
from calldex.directory import GroupChanges
from calldex.store import Version
from tests.api.conftest import Site, write

NONE = "01980c1e-6f3a-8d21-9a3b-5c1f0e7d2b44"


def history(site: Site, key: str, uuid: str) -> dict[str, Any]:
    """What is replied."""
    reply = site.api.get(f"/api/v2/cdr/{uuid}/history", site.keys[key])
    assert 200 == reply.status_code, reply.text
    found: dict[str, Any] = reply.json()
    return found


def test_each_version_says_what_it_changed(shared: Site) -> None:
    """The newest first, each with what was and what became of it, as the asker is served it; and it is noted."""
    record = next(each for each in interactions(50, seed=4) if each.type == "inbound" and each.from_)
    moved = msgspec.structs.replace(record, comment="called again", from_="447700900999")
    for each in (record, moved):
        write(shared.node, "main", [each])
    found = history(shared, "admin", record.uuid)
    last, first = found["versions"]
    assert (2, []) == (found["total"], first["changes"])
    assert last["seq"] > first["seq"]
    changes = {each["field"]: (each["before"], each["after"]) for each in last["changes"]}
    assert {"from": (record.from_, "447700900999"), "comment": (record.comment, "called again")} == changes

    directory = shared.node.directory
    directory.put_group("main", None, GroupChanges(name="Masked", permissions=("see_cdrs",), reach=Reach(whole=True)))
    masked = directory.add_user("masked@main.example.com", "Masked", None, account="main", groups=("Masked",))
    shared.keys["masked"] = directory.create_key(masked.email, ("read",))
    seen = msgspec.json.encode(history(shared, "masked", record.uuid)).decode()
    assert "447700900999" not in seen
    assert str(record.from_) not in seen
    assert "called again" in seen


@pytest.mark.parametrize(
    ("key", "uuid"), [("other", None), ("supervisor", None), ("admin", "nonsense"), ("admin", NONE)]
)
def test_who_does_not_see_it_finds_nothing(site: Site, key: str, uuid: str | None) -> None:
    """Of another account, beyond the reach, or none at all: 404."""
    reply = site.api.get(f"/api/v2/cdr/{uuid or site.main[0].uuid}/history", site.keys[key])
    assert 404 == reply.status_code


def test_of_very_many_versions_the_newest_are_told() -> None:
    """A hundred, each with its changes, and how many there are."""
    kept = [Version(n, n + 1, "u", b'{"uuid":"u","talk_s":%d}' % n, n) for n in range(1, MOST_VERSIONS + 11)]
    found = reply_of(kept)
    assert (MOST_VERSIONS, MOST_VERSIONS + 10) == (len(found.versions), found.total)
    assert (MOST_VERSIONS + 10, 11) == (found.versions[0].seq, found.versions[-1].seq)
    assert all(1 == len(version.changes) for version in found.versions)

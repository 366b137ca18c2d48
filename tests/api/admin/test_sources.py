"""`/api/admin/v1/sources`: where the account's records come from."""

from __future__ import annotations

from calldex.store import Batch, Reject
from tests.api.admin.conftest import Office


def test_the_accounts_sources_are_listed(office: Office) -> None:
    """Each with what of it could not be read, without its settings; those of another account are not there."""
    office.directory.add_source("pbx", "jsonl", {"recordings": "/srv/secret"})
    office.directory.add_source("theirs", "jsonl", {}, "other")
    account = office.directory.account("main").id
    rejects = [Reject("no type", f"line {n}", b"{%d" % n) for n in range(3)]
    office.site.node.store.write(
        Batch(account_id=account, source="pbx", format="jsonl", origin="x", rejects=rejects), wait=True
    )
    found = office.done("GET", "/sources")
    assert [("pbx", "jsonl", 3)] == [(each["name"], each["format"], each["quarantined"]) for each in found["items"]]
    assert "secret" not in str(found)
    assert 403 == office.ask("GET", "/sources", "reader").status_code

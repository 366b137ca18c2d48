"""Names over HTTP: listed, set over those of the records, and forgotten."""

from __future__ import annotations

import pytest

from calldex.records.record import Cdr
from tests.api.admin.conftest import Office
from tests.api.conftest import Site, write


def named(site: Site) -> Cdr:
    """A record that names everything."""
    record = site.main[0]
    fields = {name: getattr(record, name) for name in record.__struct_fields__}
    names = {"agent": "Ada", "agent_id": 7, "queue": "Sales", "queue_id": 8, "campaign": "Spring", "campaign_id": 9}
    return Cdr(**{**fields, **names, "wrapup_code": "01/00", "wrapup_description": "Sale"})


@pytest.mark.parametrize(
    ("path", "key", "name"),
    [
        ("/agents", 7, "Ada"),
        ("/queues", 8, "Sales"),
        ("/campaigns", 9, "Spring"),
        ("/wrapup_codes", "01/00", "Sale"),
    ],
)
def test_a_name_is_set_over_that_of_records(office: Office, site: Site, path: str, key: int | str, name: str) -> None:
    """It is listed as pinned, served by the look-up, and kept when a record comes; forgotten, it is that of records."""
    member, shown = ("code", "description") if isinstance(key, str) else ("id", "name")

    def listed() -> object:
        return next((each for each in office.done("GET", path)["items"] if each[member] == key), None)

    record = named(site)
    write(office.site.node, "main", [record])
    assert {member: key, "name": name, "pinned": False} == listed()
    pinned = {member: key, "name": "Other", "pinned": True}
    assert pinned == office.done("PUT", f"{path}/{key}", json={"name": "Other"}) == listed()
    again = Cdr(**{**{n: getattr(record, n) for n in record.__struct_fields__}, "duration_s": record.duration_s + 1})
    write(office.site.node, "main", [again])
    assert pinned == listed()
    looked_up = office.site.api.get(f"/api/v2/cdr{path}", office.keys["boss"]).json()
    assert "Other" in [each[shown] for each in looked_up if each[member] == key]
    assert None is office.done("DELETE", f"{path}/{key}")
    assert None is listed()
    assert 404 == office.ask("DELETE", f"{path}/{key}").status_code
    write(office.site.node, "main", [record])
    assert {member: key, "name": name, "pinned": False} == listed()


@pytest.mark.parametrize("path", ["/queues/5", "/campaigns/5", "/agents/5", "/wrapup_codes/5"])
def test_what_is_not_known_yet_gets_a_name(office: Office, path: str) -> None:
    """In its own account alone; without a name there is nothing to set."""
    assert {"name"} == office.wrong("PUT", path, json={})
    assert {"name"} == office.wrong("PUT", path, json={"name": ""})
    assert {"name"} == office.wrong("PUT", path, json={"name": "x" * 201})
    assert office.done("PUT", path, json={"name": "Five"})["pinned"]
    kind = path.rpartition("/")[0]
    assert "Five" not in office.ask("GET", kind, "stranger").text
    assert 404 == office.ask("DELETE", path, "stranger").status_code


@pytest.mark.parametrize("id_", ["0", "-1", "x", "1.0", "9007199254740992", "1" * 300, "\u0661"])
def test_what_is_no_id_names_nothing(standing: Office, id_: str) -> None:
    """Another word in the place of an id is not found, whatever is to be done."""
    assert 404 == standing.ask("PUT", f"/queues/{id_}", json={"name": "x"}).status_code
    for path in (f"/users/{id_}", f"/teams/{id_}", f"/groups/{id_}"):
        assert 404 == standing.ask("GET", path).status_code

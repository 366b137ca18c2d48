"""`GET /api/v2/cdr/export`: the whole match, under the rights of who asks."""

from __future__ import annotations

import csv
import hashlib
import io
import json
from typing import Any, get_args

import pytest

from calldex.directory import AuditFilter
from calldex.exports import COLUMN, FORMATS
from calldex.exports.request import FORMAT_WORDS
from calldex.records.fields import FIELDS
from tests.api.conftest import Site

PATH = "/api/v2/cdr/export"


def lines(site: Site, key: str = "admin", **params: Any) -> list[dict[str, Any]]:
    """The records of an export."""
    reply = site.api.get(PATH, site.keys[key], **params)
    assert 200 == reply.status_code, reply.text
    assert reply.headers["calldex-expected-records"] == str(reply.text.count("\n"))
    return [json.loads(line) for line in reply.text.splitlines()]


def test_the_formats_are_those_of_the_registry() -> None:
    """What may be asked for is what can be made."""
    assert list(FORMATS) == list(get_args(FORMAT_WORDS))


@pytest.mark.parametrize("asked", [{}, {"type": "inbound"}, {"disposition": "answered", "min_duration": "60"}])
def test_it_is_what_the_list_has(site: Site, asked: dict[str, Any]) -> None:
    """The same objects in the same order, however many."""
    assert site.cdr(per_page=10_000, **asked).json()["records"] == lines(site, **asked)


@pytest.mark.parametrize("key", ["supervisor", "analyst", "other"])
def test_it_shows_what_the_list_shows(site: Site, key: str) -> None:
    """Of the rows and of each row."""
    assert site.cdr(key, per_page=10_000).json()["records"] == lines(site, key)


def test_who_may_not_export(site: Site) -> None:
    """It needs its permission, and a key for reading."""
    for key in ("phone", "ingest"):
        assert 403 == site.api.get(PATH, site.keys[key]).status_code
    assert 401 == site.api.get(PATH, "cdx_wrong").status_code


@pytest.mark.parametrize("name", FORMATS)
def test_every_format_is_served(site: Site, name: str) -> None:
    """With its type and a name for the file; an empty match is a file as well."""
    empty: dict[str, Any] = {"cli": "000000"}
    for asked in ({}, empty):
        reply = site.api.get(PATH, site.keys["admin"], format=name, **asked)
        assert (200, FORMATS[name].media_type) == (reply.status_code, reply.headers["content-type"])
        assert f'.{FORMATS[name].suffix}"' in reply.headers["content-disposition"]
        assert reply.content or (name == "ndjson" and asked)


def test_an_empty_csv_has_its_columns(site: Site) -> None:
    """All of them, or those that were chosen."""
    reply = site.api.get(PATH, site.keys["admin"], format="csv", cli="000000")
    assert [[field.name for field in FIELDS]] == list(csv.reader(io.StringIO(reply.text)))
    reply = site.api.get(PATH, site.keys["admin"], format="csv", cli="000000", fields="to,uuid")
    assert "to,uuid\r\n" == reply.text


@pytest.mark.parametrize("coding", ["gzip", "zstd", "identity"])
@pytest.mark.parametrize("name", [name for name, format_ in FORMATS.items() if format_.last])
def test_the_last_line_proves_the_rest(site: Site, name: str, coding: str) -> None:
    """It has the number of records and the digest of every byte before it, whatever the connection's coding."""
    reply = site.api.get(PATH, site.keys["admin"], {"Accept-Encoding": coding}, format=name, end="line")
    assert coding == reply.headers.get("content-encoding", "identity")
    body = reply.content
    last = body[body.rindex(b"\n", 0, -1) + 1 :]
    digest = hashlib.sha256(body[: -len(last)]).hexdigest()
    if name == "ndjson":
        assert {"$end": {"records": len(site.main), "sha256": digest}} == json.loads(last)
    else:
        assert f"#end,{len(site.main)},{digest}\r\n".encode() == last


@pytest.mark.parametrize(
    ("asked", "told"),
    [
        ({"format": "xls"}, ("format", "csv-excel, json")),
        ({"fields": "uuid,form"}, ("fields", "from")),
        ({"fields": "uuid,uuid"}, ("fields", "more than once")),
        ({"format": "xlsx", "end": "line"}, ("end", "with format ndjson, csv")),
        ({"end": "yes"}, ("end", "line")),
        ({"page": "2"}, ("page", "unknown")),
        ({"timezone": "Mars/Base"}, ("timezone", "IANA")),
    ],
)
def test_what_is_wrong_is_told_before_the_file_begins(site: Site, asked: dict[str, Any], told: tuple[str, str]) -> None:
    """With 400, the parameter, and what is valid."""
    reply = site.api.get(PATH, site.keys["admin"], **asked)
    assert 400 == reply.status_code
    assert [told[0]] == [problem["parameter"] for problem in reply.json()["problems"]]
    assert told[1] in reply.text


def test_it_is_in_the_audit(site: Site) -> None:
    """With what was asked and how many records left."""
    count = len(lines(site, type="inbound"))
    account = site.node.directory.account("main").id
    found = site.node.directory.audit_entries(account, AuditFilter(action="export"), 1)[0]
    assert (count, "inbound") == (found.rows, found.detail["type"])


def test_every_column_can_be_chosen(site: Site) -> None:
    """Each by its name."""
    (found,) = lines(site, fields=",".join(COLUMN), uuid=site.main[0].uuid)
    assert list(COLUMN) == list(found)


@pytest.mark.parametrize("name", ["ndjson", "csv", "json"])
def test_when_a_version_was_committed(site: Site, name: str) -> None:
    """The same instants as the change feed has."""
    feed = site.api.get("/api/v2/cdr/changes", site.keys["admin"], limit=10_000).json()["changes"]
    reply = site.api.get(PATH, site.keys["admin"], format=name, fields="uuid,updated_at")
    match name:
        case "ndjson":
            found = [json.loads(line) for line in reply.text.splitlines()]
        case "csv":
            found = list(csv.DictReader(io.StringIO(reply.text)))
        case _:
            found = reply.json()["records"]
    assert {change["uuid"]: change["at"] for change in feed} == {one["uuid"]: one["updated_at"] for one in found}

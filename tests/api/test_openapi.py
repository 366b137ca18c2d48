"""The OpenAPI document is true, and the page made from it is safe to open."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, assume, given, settings
from schemathesis import Case, GenerationMode
from schemathesis.specs.openapi.checks import ignored_auth, positive_data_acceptance
from schemathesis.specs.openapi.schemas import OpenApiSchema

from calldex.api.admin.endpoint import PREFIX
from calldex.api.openapi import operations
from calldex.records.fields import FIELDS, FILTER
from calldex.search.query import PARAMETERS
from tests.api.conftest import Site, from_an_address


@pytest.fixture(scope="module")
def described(site: Site) -> OpenApiSchema:
    """The document, as the app serves it."""
    return schemathesis.openapi.from_asgi("/openapi.json", from_an_address(site.api.app))


@pytest.mark.parametrize(
    "mode", [GenerationMode.POSITIVE, pytest.param(GenerationMode.NEGATIVE, marks=pytest.mark.slow)]
)
@pytest.mark.parametrize(
    ("path", "method"),
    [(each.path, each.method) for each in operations() if not each.path.startswith(PREFIX)],  # `admin` asks the others
)
def test_the_server_is_as_it_is_described(
    site: Site, described: OpenApiSchema, path: str, method: str, mode: GenerationMode
) -> None:
    """Whatever is sent, the status is one that is declared, the body fits its schema, and what breaks a schema is
    refused."""
    headers = {"Authorization": f"Bearer {site.keys['ingest' if method == 'post' else 'admin']}"}

    @settings(
        max_examples=15 if method == "post" else 40,
        deadline=None,
        derandomize=True,
        suppress_health_check=list(HealthCheck),
    )
    @given(case=described[path][method].as_strategy(generation_mode=mode))
    def holds(case: Case[Any]) -> None:
        assume(not blank(case))
        # A well-formed request may still be refused (an end before its start, a token that is none of ours), and a
        # blank key beside a valid Bearer is none; `test_access` has the rest.
        case.call_and_validate(headers=headers, excluded_checks=[positive_data_acceptance, ignored_auth])

    if mode.is_positive or method == "post" or described[path][method].query:
        holds()


def blank(case: Case[Any]) -> bool:
    """Whether a parameter is sent without a value: that means "not given", which no schema can say."""
    values = (value if isinstance(value, list) else [value] for value in case.query.values())
    return any(not "".join(map(str, value)).strip() for value in values)


def test_every_parameter_and_field_is_described(site: Site) -> None:
    """What the table declares is in the document, with its description."""
    document = site.api.get("/openapi.json").json()
    parameters = {p["name"]: p["description"] for p in document["paths"]["/api/v2/cdr"]["get"]["parameters"]}
    assert {*FILTER, *(p.name for p in PARAMETERS)} - {"key"} == set(parameters)
    assert all(parameters.values())
    record = document["components"]["schemas"]["Record"]
    assert [field.name for field in FIELDS] == list(record["properties"])
    assert {field.name: field.description for field in FIELDS} == {
        name: member["description"] for name, member in record["properties"].items()
    }


def test_a_served_record_has_every_member(site: Site) -> None:
    """The document says that each member of a record is always there, and so it is."""
    for record in site.cdr().json()["records"]:
        assert {field.name for field in FIELDS} == set(record)


class Links(HTMLParser):
    """What a page refers to."""

    def __init__(self) -> None:
        super().__init__()
        self.targets: list[str] = []
        self.tags: set[str] = set()
        self.ids: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note a tag."""
        self.tags.add(tag)
        for name, value in attrs:
            assert not name.startswith("on")
            if name in ("href", "src", "action"):
                self.targets.append(str(value))
            if name == "id":
                self.ids.add(str(value))


def test_the_page_fetches_nothing(site: Site) -> None:
    """The page has no script, refers to nothing outside, and its policy lets a browser fetch nothing."""
    reply = site.api.get("/docs")
    assert "text/html; charset=utf-8" == reply.headers["content-type"]
    policy = reply.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    page = Links()
    page.feed(reply.text)
    assert not page.tags & {"script", "img", "iframe", "link", "object", "form"}
    assert not re.search(r"url\(|@import", reply.text)
    assert [] == [target for target in page.targets if target != "/openapi.json" and target[1:] not in page.ids]


def test_the_page_shows_everything(site: Site) -> None:
    """Every path, parameter and field is on the page, with a line that can be tried."""
    text = site.api.get("/docs").text
    document = site.api.get("/openapi.json").json()
    for path in document["paths"]:
        assert f"<code>{path}</code>" in text
    for name in (*FILTER, *(field.name for field in FIELDS)):
        assert f"<code>{name}</code>" in text
    assert "curl -G" in text

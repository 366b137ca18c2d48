"""The OpenAPI document is true, and the page made from it is safe to open."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from typing import Any

import jsonschema_rs
import msgspec
import pytest
import schemathesis
from hypothesis import HealthCheck, assume, given, settings
from openapi_spec_validator import validate
from schemathesis import Case, GenerationMode
from schemathesis.specs.openapi.checks import ignored_auth, positive_data_acceptance
from schemathesis.specs.openapi.schemas import OpenApiSchema
from starlette.applications import Starlette
from starlette.routing import Route

from calldex.api.administration import PREFIX
from calldex.api.endpoint import Endpoint
from calldex.api.openapi import document
from calldex.api.routes import ENDPOINTS
from calldex.records.fields import FIELDS, FILTER
from calldex.search.query import PARAMETERS
from tests.api.conftest import Site, from_an_address
from tests.examples import examples, first_are_quick


@pytest.fixture(scope="module")
def described(site: Site) -> OpenApiSchema:
    """The document, as the app serves it."""
    return schemathesis.openapi.from_asgi("/openapi.json", from_an_address(site.api.app))


@pytest.mark.parametrize(
    "mode", [GenerationMode.POSITIVE, pytest.param(GenerationMode.NEGATIVE, marks=pytest.mark.slow)]
)
@pytest.mark.parametrize(
    ("path", "method"),
    first_are_quick(
        (
            (each.path, each.method.lower())
            for each in ENDPOINTS
            if each.documented and not each.path.startswith(PREFIX)  # `admin` asks the others
        ),
        8,
    ),
)
def test_the_server_is_as_it_is_described(
    site: Site, described: OpenApiSchema, path: str, method: str, mode: GenerationMode
) -> None:
    """Whatever is sent, the status is one that is declared, the body fits its schema, and what breaks a schema is
    refused."""
    headers = {"Authorization": f"Bearer {site.keys['ingest' if method == 'post' else 'admin']}"}

    @settings(
        max_examples=examples(15 if method == "post" else 40),
        deadline=None,
        derandomize=True,
        suppress_health_check=list(HealthCheck),
    )
    @given(case=described[path][method].as_strategy(generation_mode=mode))
    def holds(case: Case[Any]) -> None:
        assume(not blank(case))
        case.query.pop("wait", None)  # a page that is waited for is in `test_changes`
        # A well-formed request may still be refused (an end before its start, a token that is none of ours), and a
        # blank key beside a valid Bearer is none; `test_access` has the rest.
        case.call_and_validate(headers=headers, excluded_checks=[positive_data_acceptance, ignored_auth])

    if mode.is_positive or method == "post" or described[path][method].query:
        holds()


def blank(case: Case[Any]) -> bool:
    """Whether a parameter is sent without a value (nothing, a list or an object of nothing), which means "not given",
    or with blanks around it, which do not count when its length is measured: no schema can say so."""
    values = (value if isinstance(value, list) else [value] for value in case.query.values())
    texts = ["".join("" if one in ({}, None) else str(one) for one in value) for value in values]
    return any(not text or text != text.strip() for text in texts)


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


# --- the document and what runs ---------------------------------------------------------------------------------------


def test_what_runs_is_described_and_what_is_described_runs(site: Site) -> None:
    """Every path and method that the application answers is in the document, but the page's own; and none is there that
    it does not answer."""
    starlette = site.api.app
    assert isinstance(starlette, Starlette)
    answered = {
        (re.sub(r":\w+\}", "}", route.path), method)
        for route in starlette.routes
        if isinstance(route, Route)
        for method in (route.methods or set()) - {"HEAD"}
    }
    described = {(path, method.upper()) for path, item in document()["paths"].items() for method in item}
    pages = {(each.path, each.method) for each in ENDPOINTS if not each.documented}
    assert answered - pages == described
    assert {("/api/session/code", "POST")} == {each for each in pages if each[0].startswith("/api/")}
    for path, method in described:
        reply = site.api.request(method, re.sub(r"\{\w+\}", "1", path))
        assert reply.status_code not in (404, 405) or "no such" not in reply.text.lower(), (method, path)


def test_the_document_is_openapi() -> None:
    """By the specification's own schema, and by what generators stumble over: names of operations that are not unique
    or no identifiers, tags, summaries, descriptions and replies that are missing, parameters that are lists."""
    validate(document())
    operations = [(path, method, op) for path, item in document()["paths"].items() for method, op in item.items()]
    ids = [op["operationId"] for _, _, op in operations]
    assert len(ids) == len(set(ids))
    for path, method, op in operations:
        assert op["operationId"].isidentifier(), op["operationId"]
        assert op["summary"], (path, method)
        assert not op["summary"].endswith("."), op["summary"]
        assert op["description"].endswith((".", "`")), op["description"]
        assert [status for status in op["responses"] if status < "400"], (path, method)
        named = [(p["in"], p["name"]) for p in op.get("parameters", ())]
        assert len(named) == len(set(named)), (path, named)
        assert set(re.findall(r"\{(\w+)\}", path)) == {name for where, name in named if where == "path"}
        assert all(p["description"] and p["schema"].get("type") != "array" for p in op.get("parameters", ())), path
    used = set(re.findall(r"#/components/schemas/([\w.]+)", msgspec.json.encode(document()).decode()))
    assert used == set(document()["components"]["schemas"])


@pytest.mark.parametrize("endpoint", [each for each in ENDPOINTS if each.documented], ids=lambda each: each.id)
def test_every_operation_has_an_example_of_its_type(endpoint: Endpoint) -> None:
    """Replies and parameters are shown by examples, and these are of the schema and the type that are declared."""
    operation = document()["paths"][endpoint.path][endpoint.method.lower()]
    for declared in operation.get("parameters", ()):
        if "example" in declared:
            of_schema(declared["schema"], declared["example"])
    if endpoint.gives is None:
        return
    content = operation["responses"][str(endpoint.status)]["content"][endpoint.media_type]
    of_schema(content["schema"], content["example"])
    typed = msgspec.convert(content["example"], endpoint.gives)
    assert content["example"] == msgspec.json.decode(msgspec.json.encode(typed))


def of_schema(schema: dict[str, Any], example: object) -> None:
    """An example fits a schema of the document."""
    jsonschema_rs.validate({**schema, "components": document()["components"]}, example)


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
    reply = site.api.get("/docs/plain")
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
    text = site.api.get("/docs/plain").text
    document = site.api.get("/openapi.json").json()
    for path in document["paths"]:
        assert f"<code>{path}</code>" in text
    for name in (*FILTER, *(field.name for field in FIELDS)):
        assert f"<code>{name}</code>" in text
    assert "curl -G" in text

"""Errors have one shape on every route, and every reply has its id and its safe headers."""

from __future__ import annotations

import re

import pytest
from starlette.types import Receive, Scope, Send
from structlog.testing import capture_logs

from calldex.api.routes import ENDPOINTS
from calldex.errors import Unavailable
from calldex.networks import Networks
from calldex.settings import Settings
from calldex.transport.backpressure import Backpressure
from calldex.transport.limits import Limits
from calldex.transport.metrics import Metrics
from calldex.transport.middleware import Edge
from calldex.transport.workers import Workers
from tests.api.conftest import Api, Site

OPERATIONS = [(each.path.replace("{id}", "1").replace("{code}", "1"), each.method, each) for each in ENDPOINTS]
METHODS = {
    path: {method for _, method, each in OPERATIONS if re.fullmatch(re.sub(r"\{\w+\}", "[^/]+", each.path), path)}
    for path, _, _ in OPERATIONS
}
MEMBERS = {"error", "type", "title", "status", "detail", "request_id"}


def shape(reply_json: dict[str, object], status: int) -> None:
    """Hold an error to its shape."""
    assert set(reply_json) >= MEMBERS
    assert status == reply_json["status"]
    assert reply_json["error"] == reply_json["detail"] != ""


@pytest.mark.parametrize("path", METHODS)
def test_another_method_is_refused(site: Site, path: str) -> None:
    """A method that a route does not have is refused with those it has."""
    for used in {"GET", "POST", "PUT", "PATCH", "DELETE", "BREW"} - METHODS[path]:
        reply = site.api.request(used, path)
        assert (405, "urn:calldex:error:method_not_allowed") == (reply.status_code, reply.json()["type"])
        assert METHODS[path] == set(reply.headers["allow"].split(", ")) - {"HEAD"}
        assert reply.headers["allow"] in reply.json()["error"]
        shape(reply.json(), 405)


@pytest.mark.parametrize("path", ["/nothing", "/api/v2/cdr/", "/API/v2/cdr", "/api/v2/cdr/agents/1", "/docs/"])
def test_another_address_is_refused(site: Site, path: str) -> None:
    """An address that is none is 404, never a redirect, which would repeat a key."""
    reply = site.api.request("GET", path, params={"key": "cdx_secret"})
    assert (404, "urn:calldex:error:not_found") == (reply.status_code, reply.json()["type"])
    assert "cdx_secret" not in str(reply.headers)
    shape(reply.json(), 404)


@pytest.mark.parametrize(
    ("path", "method"), [(path, method) for path, method, each in OPERATIONS if each.credential != "none"]
)
def test_every_route_refuses_in_the_same_shape(site: Site, path: str, method: str) -> None:
    """Without a key, every route that needs one answers the same error."""
    reply = site.api.request(method, path)
    assert 401 == reply.status_code
    shape(reply.json(), 401)
    assert "application/json" == reply.headers["content-type"]
    assert "no-store" == reply.headers["cache-control"]


def test_a_fault_of_ours_is_logged_and_not_told(site: Site, capsys: pytest.CaptureFixture[str]) -> None:
    """An unexpected exception is 500 without its words; the log has them under the request's id, and no key."""

    async def broken(scope: Scope, receive: Receive, send: Send) -> None:
        raise ZeroDivisionError("a detail")

    key = site.keys["admin"]
    edge = Edge(broken, metrics(site), Limits(Settings(), lambda _: None), Networks())
    reply = Api(edge, site.api.runner).get(f"/?key={key}", key)
    assert 500 == reply.status_code
    shape(reply.json(), 500)
    assert reply.json()["request_id"] == reply.headers["x-request-id"]
    assert "a detail" not in reply.text
    log = capsys.readouterr().out
    assert "a detail" in log
    assert reply.json()["request_id"] in log
    assert key not in log


def metrics(site: Site) -> Metrics:
    """Metrics of a server that does nothing."""
    idle = Workers("idle", 1, 0, lambda: Unavailable("idle"))
    return Metrics(site.node, idle, idle, Backpressure())


def test_every_reply_has_safe_headers(site: Site) -> None:
    """No reply lets a browser guess its type, frame it, or tell others where it came from."""
    for reply in (site.cdr(), site.cdr(page=0), site.api.get("/docs"), site.api.get("/nothing"), site.api.get("/")):
        assert "nosniff" == reply.headers["x-content-type-options"]
        assert "no-referrer" == reply.headers["referrer-policy"]
        assert "DENY" == reply.headers["x-frame-options"]


def test_a_request_id_is_kept_if_it_is_one(site: Site) -> None:
    """A sane id is returned and logged; anything else is replaced."""
    with capture_logs() as logs:
        kept = site.api.get("/", headers={"X-Request-Id": "trace-1.2_3"}).headers["x-request-id"]
    assert "trace-1.2_3" == kept == logs[-1]["request_id"]
    for given in ("", "a b", "x" * 65, "<script>", site.keys["admin"]):
        made = site.api.get("/", headers={"X-Request-Id": given}).headers["x-request-id"]
        assert given != made
        assert 16 == len(made)


def test_the_log_has_a_line_for_each_request(site: Site) -> None:
    """A line tells the route, the status, the time, the size and whose key it was; not what was searched."""
    with capture_logs() as logs:
        reply = site.cdr(cli="447700900123")
        site.cdr(cli="447700900123", page=0)
    good, bad = (line for line in logs if line["event"] == "request")
    assert ("request", "GET", "/api/v2/cdr", 200) == tuple(good[n] for n in ("event", "method", "route", "status"))
    assert (len(reply.content), site.keys["admin"][:8]) == (good["bytes"], good["key"])
    assert (400, "bad_parameters") == (bad["status"], bad["error"])
    assert "447700900123" not in str(logs)

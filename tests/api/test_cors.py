"""Pages of named origins may read the API with a key; without the setting, none may; never with a cookie."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from calldex.api.app import public
from calldex.networks import Origins
from calldex.node import Node
from calldex.settings import Settings
from tests.api.conftest import Api, Site, people

OURS = "https://reports.example.com"
ASKS = {"Access-Control-Request-Method": "GET", "Access-Control-Request-Headers": "authorization"}


def test_none_may_without_the_setting(site: Site) -> None:
    """No reply names an origin, and a question before a request is none of our methods."""
    reply = site.cdr(headers={"Origin": OURS})
    assert (200, False) == (reply.status_code, "access-control-allow-origin" in reply.headers)
    assert 405 == site.api.request("OPTIONS", "/api/v2/cdr", headers={"Origin": OURS, **ASKS}).status_code


def test_named_origins_may(tmp_path: Path, runner: asyncio.Runner) -> None:
    """Theirs is told, with what they may see of a reply; others', and other methods, are not."""
    with Node(
        Settings(data=tmp_path / "data", threads=1, cors_origins=Origins(f"{OURS}, http://localhost:3000"))
    ) as node:
        keys, api = people(node), Api(public(node), runner)

        def allowed(method: str, origin: str, key: str | None = keys["admin"], **more: str) -> str | None:
            sent = {"Origin": origin, **more} | ({"Authorization": f"Bearer {key}"} if key else {})
            reply = api.request(method, "/api/v2/cdr/export", headers=sent)
            assert "access-control-allow-credentials" not in reply.headers
            found: str | None = reply.headers.get("access-control-allow-origin")
            if found:
                assert "Origin" in reply.headers["vary"]
            return found

        assert [OURS, "http://localhost:3000"] == [allowed("GET", each) for each in (OURS, "http://localhost:3000")]
        assert None is allowed("GET", "https://evil.example.com")
        assert OURS == allowed("GET", OURS, "no key"), "errors can be read"
        assert OURS == allowed("OPTIONS", OURS, None, **ASKS)
        assert None is allowed("OPTIONS", "https://evil.example.com", None, **ASKS)
        reply = api.request(
            "OPTIONS", "/api/v2/cdr", headers={"Origin": OURS, **ASKS} | {"Access-Control-Request-Method": "PUT"}
        )
        assert 400 == reply.status_code
        head = ASKS | {"Access-Control-Request-Method": "HEAD"}
        assert OURS == allowed("OPTIONS", OURS, None, **head), "how long a file is, before parts of it"
        reply = api.get("/api/v2/cdr/export", keys["admin"], {"Origin": OURS})
        exposed = reply.headers["access-control-expose-headers"].split(", ")
        assert {"Calldex-Expected-Records", "Accept-Ranges", "Content-Range", "ETag", "Retry-After"} <= set(exposed)


@pytest.mark.parametrize(
    "text", ["*", "reports.example.com", "https://a.example.com/", "https://A.example.com", "null"]
)
def test_what_is_no_origin(text: str) -> None:
    """All of them, a host, a page: refused where the settings are read."""
    with pytest.raises(ValueError, match="is not an origin"):
        Origins(text)

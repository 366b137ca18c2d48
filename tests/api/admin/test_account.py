"""The account over HTTP."""

from __future__ import annotations

import pytest

from tests.api.admin.conftest import Office


def test_the_account_is_shown_and_changed(office: Office) -> None:
    """The caller's own; each reply is the new state, and what is not sent stays."""
    first = office.done("GET", "/account")
    assert ("main", None, [], True) == tuple(first[n] for n in ("name", "timezone", "sensitive", "agents_see_own"))
    changed = office.done("PATCH", "/account", json={"timezone": "Europe/London", "sensitive": ["comment"]})
    assert {**first, "timezone": "Europe/London", "sensitive": ["comment"]} == changed
    assert {**changed, "agents_see_own": False} == office.done("PATCH", "/account", json={"agents_see_own": False})
    assert None is office.done("PATCH", "/account", json={"timezone": None})["timezone"]
    assert ("other", None, True) == tuple(
        office.done("GET", "/account", "stranger")[n] for n in ("name", "timezone", "agents_see_own")
    )


def test_what_agents_may_changes_at_once(office: Office) -> None:
    """Where agents do not see their own records, the role grants nothing with their next request."""
    office.person("ana", "agent")
    api = office.site.api
    assert 200 == api.get("/api/v2/cdr", office.keys["ana"]).status_code
    office.done("PATCH", "/account", json={"agents_see_own": False})
    assert 403 == api.get("/api/v2/cdr", office.keys["ana"]).status_code


@pytest.mark.parametrize(
    ("body", "wrong"),
    [
        ({"timezone": "Mars"}, {"timezone"}),
        ({"sensitive": ["uuid"]}, {"sensitive"}),
        ({"agents_see_own": "yes"}, {"agents_see_own"}),
        ({"name": "x"}, {"name"}),
    ],
)
def test_what_is_wrong_is_named(standing: Office, body: dict[str, object], wrong: set[str]) -> None:
    """Every member that is wrong is told, and nothing is changed."""
    before = standing.done("GET", "/account")
    assert wrong == standing.wrong("PATCH", "/account", json=body)
    assert before == standing.done("GET", "/account")

"""User API keys over HTTP: made, listed, revoked; what they are worth is for the directory's tests."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from tests.api.admin.conftest import Office

BOSS = "boss@main.example.com"


def test_a_key_is_made_listed_and_revoked(office: Office) -> None:
    """The key itself is told once, its begin is listed; it works, and when it is revoked no more."""
    ends = (datetime.now(UTC) + timedelta(days=1)).replace(microsecond=0)
    new = {
        "user": BOSS.upper(),
        "scopes": ["manage", "read"],
        "expires_at": ends.isoformat(),
        "networks": ["127.0.0.0/8"],
    }
    made = office.done("POST", "/keys", json=new)
    office.keys["new"] = key = made.pop("key")
    listed = office.done("GET", "/keys", params={"user": BOSS})["items"][-1]
    assert made == listed
    assert (BOSS, key[:8], ["127.0.0.0/8"], None) == tuple(
        listed[name] for name in ("user", "prefix", "networks", "revoked_at")
    )
    assert {"manage", "read"} == set(listed["scopes"])
    assert ends == datetime.fromisoformat(listed["expires_at"])
    assert 200 == office.ask("GET", "/keys", "new").status_code
    assert None is office.done("DELETE", f"/keys/{made['id']}")
    assert 401 == office.ask("GET", "/keys", "new").status_code
    assert None is not office.done("GET", "/keys", params={"user": BOSS})["items"][-1]["revoked_at"]
    assert 404 == office.ask("DELETE", f"/keys/{made['id']}").status_code


def test_a_key_for_ever_and_everywhere(office: Office) -> None:
    """Without an end and networks it has none."""
    made = office.done("POST", "/keys", json={"user": BOSS, "scopes": ["read"]})
    assert (None, []) == (made["expires_at"], made["networks"])


def test_keys_of_one_user_are_listed(office: Office) -> None:
    """Only theirs, whoever of the account they are; of who is not there, none. No key is told by a list."""
    keys = office.done("GET", "/keys", params={"user": "Clerk@main.example.com"})["items"]
    assert ["clerk@main.example.com"] == [key["user"] for key in keys]
    for nobody in ("stranger@other.example.com", "nobody"):
        assert 0 == office.done("GET", "/keys", params={"user": nobody})["total"]
    text = office.ask("GET", "/keys", params={"per_page": 1000}).text
    assert [] == [name for name, key in office.keys.items() if key in text]


@pytest.mark.parametrize(
    ("changes", "wrong"),
    [
        ({"user": "nobody@example.com"}, {"user"}),
        ({"user": "stranger@other.example.com"}, {"user"}),
        ({"scopes": []}, {"scopes"}),
        ({"scopes": ["read", "read"]}, {"scopes"}),
        ({"scopes": ["write"]}, {"scopes[0]"}),
        ({"expires_at": "2020-01-01T00:00:00Z"}, {"expires_at"}),
        ({"expires_at": "2999-01-01T00:00:00"}, {"expires_at"}),
        ({"expires_at": 5}, {"expires_at"}),
        ({"networks": ["10.0.0.1/8"]}, {"networks"}),
        ({"networks": ["::1/128"] * 51}, {"networks"}),
    ],
)
def test_what_is_wrong_is_named(standing: Office, changes: dict[str, object], wrong: set[str]) -> None:
    """Every member that is wrong is told, and no key is made."""
    before = standing.done("GET", "/keys")["total"]
    assert wrong == standing.wrong("POST", "/keys", json={"user": BOSS, "scopes": ["read"], **changes})
    assert before == standing.done("GET", "/keys")["total"]


def test_a_key_makes_no_key_that_outlives_it(office: Office) -> None:
    """A key with an end makes none that works longer, one with networks none that works elsewhere: nobody makes more of
    a key that they found than it is."""
    ends = (datetime.now(UTC) + timedelta(days=1)).replace(microsecond=0)
    limits = {"expires_at": ends.isoformat(), "networks": ["127.0.0.0/8", "2001:db8::/32"]}
    made = office.done("POST", "/keys", json={"user": BOSS, "scopes": ["manage", "read"], **limits})
    office.keys["short"] = made["key"]
    later = (ends + timedelta(seconds=1)).isoformat()
    body = {"user": BOSS, "scopes": ["read"], **limits}
    for wider, what in (
        ({"expires_at": later}, "expires later"),
        ({"expires_at": None}, "expires later"),
        ({"networks": []}, "works elsewhere"),
        ({"networks": ["126.0.0.0/7"]}, "works elsewhere"),
        ({"networks": ["127.0.0.1", "2001::/16"]}, "works elsewhere"),
    ):
        status, message = office.refused("POST", "/keys", "short", json={**body, **wider})
        assert (403, True) == (status, what in message), message
    narrower = {"networks": ["127.1.2.0/24", "2001:db8::1"], "expires_at": (ends - timedelta(hours=1)).isoformat()}
    for limits_of_it in ({}, narrower):
        office.done("POST", "/keys", "short", json={**body, **limits_of_it})
    office.done("POST", "/keys", json={"user": BOSS, "scopes": ["read"]})


def test_a_disabled_user_gets_no_key(office: Office) -> None:
    """It would not work."""
    id_ = office.person("ana")
    office.done("PATCH", f"/users/{id_}", json={"disabled": True})
    body = {"user": "ana@main.example.com", "scopes": ["read"]}
    assert 409 == office.ask("POST", "/keys", json=body).status_code


def test_a_key_has_words_of_its_own(office: Office) -> None:
    """It is made with a vocabulary, or given one, or that of the account again; another word is refused."""
    made = office.done("POST", "/keys", json={"user": BOSS, "scopes": ["read"], "vocabulary": "compatible"})
    assert "compatible" == made["vocabulary"]
    for vocabulary in ("documented", None):
        changed = office.done("PATCH", f"/keys/{made['id']}", json={"vocabulary": vocabulary})
        listed = office.done("GET", "/keys", params={"user": BOSS, "per_page": 1000})["items"]
        assert (vocabulary, [vocabulary]) == (
            changed["vocabulary"],
            [key["vocabulary"] for key in listed if key["id"] == made["id"]],
        )
    assert 400 == office.ask("PATCH", f"/keys/{made['id']}", json={"vocabulary": "klingon"}).status_code
    assert 404 == office.ask("PATCH", "/keys/999999", json={"vocabulary": None}).status_code

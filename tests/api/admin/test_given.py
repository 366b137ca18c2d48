"""What is sent: every member of every body is looked at, and nothing is ignored."""

from __future__ import annotations

import msgspec
import pytest

from calldex.admin import VERBS
from calldex.admin.verb import Nothing, Verb
from calldex.api.administration import BODY_LIMIT
from tests.api.admin.conftest import Office

SERVED = [verb for verb in VERBS if verb.path]

BODIES = [each for each in SERVED if each.method != "GET" and each.takes not in (bytes, Nothing)]
BODILESS = [each for each in SERVED if each.method == "GET" or each.takes is Nothing]
LISTS = [each for each in SERVED if each.method == "GET"]
JSON = {"Content-Type": "application/json"}


def name_of(endpoint: Verb) -> str:
    """How a test of an operation is called."""
    return endpoint.id


def path_of(endpoint: Verb) -> str:
    """An address of it."""
    return endpoint.path.format(id=1, code="x")


@pytest.mark.parametrize("endpoint", BODIES, ids=name_of)
def test_every_member_is_looked_at(standing: Office, endpoint: Verb) -> None:
    """A member of another type is named with what is valid; so is one that is unknown, with the nearest that is not."""
    for field in msgspec.structs.fields(endpoint.takes):
        wrong: object = [1] if field.name == "filters" else {"x": 1}
        told = "" if field.name == "password" else msgspec.json.encode(wrong).decode()
        reply = standing.ask(endpoint.method, path_of(endpoint), json={field.name: wrong, f"{field.name}x": 1})
        assert 400 == reply.status_code
        problems = {problem["parameter"]: problem for problem in reply.json()["problems"]}
        assert f"did you mean {field.name!r}?" in problems[f"{field.name}x"]["message"]
        assert told == problems[field.name]["given"]
        assert all(problem["valid"] for problem in problems.values())


@pytest.mark.parametrize("endpoint", BODIES, ids=name_of)
@pytest.mark.parametrize(
    ("body", "told"),
    [
        (b"", "not JSON"),
        (b"{", "not JSON"),
        (b"[]", "must be a JSON object"),
        (b"null", "must be a JSON object"),
        (b'{"name":NaN}', "not JSON"),
        (b'{"name":"\xff"}', "not JSON"),
        (b'{"name":"\\ud800"}', "not JSON"),
        (b'{"name":' + b"[" * 50_000 + b"]" * 50_000 + b"}", "not JSON"),
        (b'{"id":' + b"9" * 5000 + b"}", "not JSON"),
        (b'{"name":"a","name":"b"}', "given more than once"),
        (b'{"reach":{"own":true,"own":false}}', "given more than once"),
    ],
)
def test_a_broken_body_is_refused(standing: Office, endpoint: Verb, body: bytes, told: str) -> None:
    """What is no JSON object, or has a member twice, is refused as a whole."""
    status, message = standing.refused(endpoint.method, path_of(endpoint), content=body, headers=JSON)
    assert (400, True) == (status, told in message), message


@pytest.mark.parametrize("endpoint", [*BODIES, *(each for each in SERVED if each.takes is bytes)], ids=name_of)
def test_a_body_has_its_type_and_its_size(standing: Office, endpoint: Verb) -> None:
    """Another type or a coding is refused with the one that is read, and so is what is too large."""
    method, path = endpoint.method, path_of(endpoint)
    wanted = "text/csv" if endpoint.takes is bytes else "application/json"
    for headers in ({}, {"Content-Type": "text/plain"}, {"Content-Type": "application/x-www-form-urlencoded"}):
        status, message = standing.refused(method, path, content=b"{}", headers=headers)
        assert (415, True) == (status, wanted in message)
    headers = {"Content-Type": wanted, "Content-Encoding": "gzip"}
    assert 415 == standing.ask(method, path, content=b"{}", headers=headers).status_code
    large = b" " * (BODY_LIMIT + 1)
    assert 413 == standing.ask(method, path, content=large, headers={"Content-Type": wanted}).status_code
    assert 400 == standing.ask(f"{method}", f"{path}?x=1", content=b"{}", headers={"Content-Type": wanted}).status_code


@pytest.mark.parametrize("endpoint", BODILESS, ids=name_of)
def test_what_takes_no_body_gets_none(standing: Office, endpoint: Verb) -> None:
    """A body that would be ignored is refused."""
    reply = standing.ask(endpoint.method, path_of(endpoint), content=b"{}", headers=JSON)
    assert (400, "this address takes no body") == (reply.status_code, reply.json()["error"])


@pytest.mark.parametrize("endpoint", LISTS, ids=name_of)
def test_unknown_parameters_are_refused(standing: Office, endpoint: Verb) -> None:
    """A parameter that a list does not know is refused, and so is one that comes twice, or is of another type."""
    assert {"x"} == standing.wrong("GET", path_of(endpoint), params={"x": 1})
    known = endpoint.takes.__struct_fields__
    for name in known:
        assert {name} == standing.wrong("GET", f"{path_of(endpoint)}?{name}=1&{name}=1")
    for name in {"page", "per_page", "team"}.intersection(known):
        for value in ("x", "0", "-1", "1.5", "9" * 30):
            assert {name} == standing.wrong("GET", path_of(endpoint), params={name: value})


def test_a_key_is_never_repeated(standing: Office) -> None:
    """Wherever a key stands, no reply has it, and nothing is called by it."""
    key = standing.keys["boss"]
    replies = [
        standing.ask("GET", f"/users?{key}=1"),
        standing.ask("GET", f"/users?role={key}"),
        standing.ask("GET", f"/users/{key}"),
        standing.ask("DELETE", f"/wrapup_codes/{key}"),
        standing.ask("DELETE", f"/keys/{key}"),
        standing.ask("POST", "/users", json={key: key, "email": key, "name": [key], "role": {"x": key}}),
        standing.ask("PUT", "/queues/5", json={"name": f"the queue {key}"}),
        standing.ask("POST", "/users/import", content=f"{key}\n{key}\n", headers={"Content-Type": "text/csv"}),
    ]
    assert {400, 404} == {reply.status_code for reply in replies}
    assert [] == [reply.text for reply in replies if key in reply.text]


def test_only_what_an_address_answers_is_asked(standing: Office) -> None:
    """Another method is refused with those there are."""
    reply = standing.ask("PUT", "/users/1")
    assert (405, {"DELETE", "GET", "HEAD", "PATCH"}) == (reply.status_code, set(reply.headers["allow"].split(", ")))
    head = standing.ask("HEAD", "/users")
    assert (200, b"") == (head.status_code, head.content)

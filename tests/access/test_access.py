"""Who may see what, who may write, and why."""

from __future__ import annotations

from typing import Any, get_args

import pytest

from calldex.access import (
    PERMISSIONS,
    ROLES,
    SCOPES,
    Group,
    KeyScope,
    Mask,
    Permission,
    Principal,
    Reach,
    Role,
    Scope,
    explain,
    needed_for,
    outranks,
    permissions_of,
    permit_recording,
    scope_of,
)
from calldex.errors import Forbidden
from calldex.records.fields import DETAILS, FILTER, FILTERS, RECORDINGS
from calldex.records.record import Cdr, Team, from_ms

READ: tuple[Permission, ...] = ("see_cdrs", "see_details", "listen", "see_numbers", "see_sensitive")


def principal(*groups: Group, scopes: tuple[KeyScope, ...] = ("read",), account_id: int = 7, **more: Any) -> Principal:
    """Somebody in these groups."""
    values: dict[str, Any] = {
        "user_id": 1,
        "agent_id": 500,
        "supervised_teams": (11,),
        "supervised_queues": (21, 22),
        **more,
    }
    return Principal(
        account_id=account_id,
        account="main",
        email="a@example.com",
        timezone="UTC",
        groups=groups,
        scopes=scopes,
        credential="cdx_1",
        **values,
    )


def group(name: str = "G", permissions: tuple[Permission, ...] = READ, **reach: Any) -> Group:
    """A custom group."""
    return Group(id=1, name=name, permissions=permissions, reach=Reach(**reach))


def record(**members: Any) -> Cdr:
    """A record."""
    values: dict[str, Any] = {"agent_id": None, "queue_id": None, "campaign_id": None, **members}
    return Cdr(
        uuid="01980c1e-6f3a-8d21-9a3b-5c1f0e7d2b44",
        type="inbound",
        disposition="answered",
        started_at=from_ms(0),
        duration_s=1,
        **values,
    )


WHOLE: list[tuple[Role, KeyScope]] = [("admin", "read"), ("analyst", "read")]
WRITES: list[tuple[Role, KeyScope]] = [("admin", "ingest")]
MANAGES: list[tuple[Role, KeyScope]] = [("admin", "manage")]


@pytest.mark.parametrize("key_scope", get_args(KeyScope))
@pytest.mark.parametrize("role", get_args(Role))
def test_every_role_with_every_key(role: Role, key_scope: KeyScope) -> None:
    """Only the roles and keys named here see all, write or manage; whoever is new does nothing."""
    somebody = principal(ROLES[role], scopes=(key_scope,))
    allowed = permissions_of(somebody)
    assert ((role, key_scope) in WHOLE) is scope_of(somebody).whole
    assert ((role, key_scope) in WRITES) is ("ingest" in allowed)
    assert ((role, key_scope) in MANAGES) is ("manage_users" in allowed)


def test_the_roles_reach_what_the_contract_says() -> None:
    """Supervisors their teams and the queues of these, agents their own records, telephones nothing."""
    assert Scope(account_id=7, teams=(11,), queues=(21, 22)) == scope_of(principal(ROLES["supervisor"]))
    assert Scope(account_id=7, agents=(500,)) == scope_of(principal(ROLES["agent"]))
    assert scope_of(principal(ROLES["hardware_phone"])).nothing


def test_no_group_no_rows() -> None:
    """Deny by default: without a group, with a group that reaches nothing, or one that sees no records."""
    assert scope_of(principal()).nothing
    assert scope_of(principal(group())).nothing
    assert scope_of(principal(group(permissions=("listen",), whole=True))).nothing
    assert Scope(account_id=1).nothing


def test_recordings_of_legs_go_with_the_legs() -> None:
    """Who sees no legs hears the record's own recording and none of a leg; whom recordings are hidden from, none."""
    hears = group(permissions=("see_cdrs", "listen"), whole=True)
    permit_recording(principal(hears), "listen", leg=False)
    permit_recording(principal(hears, group(permissions=("see_details",))), "listen", leg=True)
    for somebody, leg in ((principal(hears), True), (principal(hears, sensitive=("recording",)), False)):
        with pytest.raises(Forbidden, match="hidden from you"):
            permit_recording(somebody, "listen", leg=leg)


def test_permissions_and_reaches_unite() -> None:
    """Of somebody in two groups; the mask is that of all their permissions."""
    both = principal(
        group("A", ("see_cdrs",), teams=(3, 1), own=True),
        group("B", ("see_numbers", "listen"), teams=(2, 3), queues=(9,), campaigns=(8,), agents=(4,)),
    )
    mask = Mask(numbers=False, match=True, hidden=("events", "legs"))
    assert scope_of(both) == Scope(
        account_id=7, teams=(1, 2, 3), queues=(9,), campaigns=(8,), agents=(4, 500), mask=mask
    )


def test_a_key_only_narrows() -> None:
    """Every permission is in one scope; a key leaves those of its scopes and adds none."""
    assert set(get_args(Permission)) == {permission for scope in SCOPES.values() for permission in scope}
    assert set(PERMISSIONS) == set(get_args(Permission))
    given: tuple[tuple[KeyScope, ...], ...] = (("read",), ("ingest",), ("manage", "read"))
    for scopes in given:
        left = permissions_of(principal(group(permissions=("see_cdrs", "manage_users"), whole=True), scopes=scopes))
        assert left == {"see_cdrs", "manage_users"} & {permission for scope in scopes for permission in SCOPES[scope]}


def test_a_scope_is_of_the_principals_account() -> None:
    """The account is that of the key's owner."""
    assert [7, 8] == [scope_of(principal(ROLES["admin"], account_id=each)).account_id for each in (7, 8)]


def test_fingerprints() -> None:
    """Scopes that differ in rows or mask have different fingerprints, the same one the same; 16 bytes."""
    scopes = [
        *(Scope(account_id=account_id, whole=whole) for account_id in (1, 2, 256) for whole in (True, False)),
        Scope(account_id=1, teams=(1,)),
        Scope(account_id=1, queues=(1,)),
        Scope(account_id=1, campaigns=(1,)),
        Scope(account_id=1, agents=(1,)),
        Scope(account_id=1, whole=True, mask=Mask(numbers=True)),
        Scope(account_id=1, whole=True, mask=Mask(match=False)),
        Scope(account_id=1, whole=True, mask=Mask(hidden=("tags",))),
    ]
    prints = [scope.fingerprint() for scope in scopes]
    assert len(scopes) == len(set(prints))
    assert {16} == set(map(len, prints))
    assert Scope(account_id=1, whole=True).fingerprint() == prints[0]


def test_nothing_is_granted_by_leaving_it_out() -> None:
    """A scope is of an account, which has no default, and reaches nothing unless it says so."""
    with pytest.raises(TypeError):
        Scope(whole=True)  # type: ignore[call-arg]  # that is refused
    assert not Scope(account_id=1).whole


def test_what_is_hidden() -> None:
    """Details, recordings and the fields listed as sensitive are, each without its permission."""
    every = tuple(p for p in get_args(Permission) if p in SCOPES["read"])

    def hidden(*without: Permission) -> set[str]:
        permissions = tuple(p for p in every if p not in without)
        somebody = principal(group(permissions=permissions, whole=True), sensitive=("comment", "tags"))
        return set(scope_of(somebody).mask.hidden)

    assert hidden() == set()
    assert hidden("see_details") == DETAILS
    assert hidden("listen") == hidden("download_recordings") == set()
    assert hidden("listen", "download_recordings") == RECORDINGS
    assert hidden("see_sensitive") == {"comment", "tags"}


@pytest.mark.parametrize(
    ("more", "mask"),
    [
        ((), (True, False)),
        (("match_numbers",), (True, True)),
        (("see_numbers",), (False, True)),
    ],
)
def test_who_may_look_for_a_number(more: tuple[Permission, ...], mask: tuple[bool, bool]) -> None:
    """Whether numbers are withheld, and whether a full one finds its records all the same."""
    found = scope_of(principal(group(permissions=("see_cdrs", *more), whole=True))).mask
    assert mask == (found.numbers, found.match)


def test_filters_that_would_tell_are_refused() -> None:
    """With masked numbers no filter on a number is left but that for a full one, and that by its own permission; a
    filter on a hidden field is not either."""
    masked = Mask(numbers=True, match=True, hidden=("events", "wrapup_code"))
    needed = {filter_.name: needed_for(filter_, masked) for filter_ in FILTERS}
    assert {name: permission for name, permission in needed.items() if permission} == {
        "cli": "see_numbers",
        "wildcard_cli": "see_numbers",
        "number": "see_numbers",
        "wildcard_number": "see_numbers",
        "party": "see_numbers",
        "events": "see_details",
        "events_not": "see_details",
        "passed_queues": "see_details",
        "passed_queues_not": "see_details",
        "wrapup_codes": "see_sensitive",
        "wrapup_codes_not": "see_sensitive",
    }
    assert needed_for(FILTER["from"], Mask(numbers=True, match=False)) == "match_numbers"
    assert {None} == {needed_for(filter_, Mask()) for filter_ in FILTERS}


def test_tags_may_hold_numbers() -> None:
    """Under a mask of numbers a tag is found by those who may find a number; a hidden recording by nobody."""
    assert "match_numbers" == needed_for(FILTER["tags"], Mask(numbers=True, match=False))
    assert None is needed_for(FILTER["tags"], Mask(numbers=True, match=True))
    assert "see_sensitive" == needed_for(FILTER["tags"], Mask(hidden=("tags",)))
    assert "match_numbers" == needed_for(FILTER["tags_not"], Mask(numbers=True, match=False))
    assert "match_numbers" == needed_for(FILTER["passed_queues"], Mask(numbers=True, match=False))
    assert "listen" == needed_for(FILTER["has_recording"], Mask(hidden=("recording",)))


def test_nobody_outranks_whom_they_do_not_cover() -> None:
    """In permissions and in rows."""
    admin, analyst = principal(ROLES["admin"], scopes=("read", "manage")), principal(ROLES["analyst"])
    team = principal(group(teams=(1, 2)))
    assert outranks(admin, analyst)
    assert outranks(analyst, team)
    assert not outranks(analyst, admin)
    assert not outranks(team, analyst)
    assert not outranks(team, principal(group(teams=(1, 3))))
    assert outranks(team, principal(group(teams=(2,))))
    assert not outranks(team, principal(group(teams=(2,)), account_id=8))
    assert not outranks(team, principal(group(queues=(1,))))


@pytest.mark.parametrize("name", ["teams", "queues", "campaigns", "agents"])
def test_each_list_of_a_reach_is_covered_by_its_like(name: str) -> None:
    """By one that has all of it, and by a whole reach."""
    lists: dict[str, Any] = dict.fromkeys(("teams", "queues", "campaigns", "agents"), (1, 2))
    others = principal(group(**{**lists, name: ()}))
    small, large = principal(group(**{**lists, name: (1,)})), principal(group(**lists))
    assert outranks(large, small)
    assert not outranks(small, large)
    assert not outranks(others, small)
    assert outranks(principal(group(whole=True)), large)


@pytest.mark.parametrize(
    ("reach", "cdr", "by"),
    [
        ({"whole": True}, record(), ["whole"]),
        ({"own": True}, record(agent_id=500), ["own"]),
        ({"own": True}, record(agent_id=501), []),
        ({"supervised": True}, record(teams=(Team(11),)), ["supervised"]),
        ({"supervised": True}, record(queue_id=22), ["supervised"]),
        ({"supervised": True}, record(teams=(Team(12),), queue_id=23, agent_id=11), []),
        ({"teams": (1,), "queues": (2,)}, record(teams=(Team(3), Team(1)), queue_id=2), ["teams", "queues"]),
        ({"campaigns": (1,)}, record(campaign_id=1), ["campaigns"]),
        ({"agents": (1,)}, record(agent_id=1), ["agents"]),
        ({"agents": (1,)}, record(), []),
    ],
)
def test_a_record_is_explained(reach: dict[str, Any], cdr: Cdr, by: list[str]) -> None:
    """By which parts of the reach it is seen; what explains and what decides agree."""
    somebody = principal(group(**reach))
    verdict = explain(somebody, cdr).record
    assert verdict is not None
    assert by == [line.by for line in verdict.by]
    assert verdict.visible is bool(by) is scope_of(somebody).admits(cdr)
    assert verdict.reason


def test_an_explanation_names_the_groups() -> None:
    """Of every permission, and what the key withholds."""
    somebody = principal(group("A", ("see_cdrs", "ingest")), group("B", ("see_cdrs",), whole=True))
    explained = explain(somebody)
    assert explained.permissions == {"see_cdrs": ("A", "B")}
    assert explained.withheld == ("ingest",)
    assert [line.group for line in explained.reach] == ["B"]
    blind = explain(principal(group(permissions=("listen",), whole=True)), record()).record
    assert blind is not None
    assert not blind.visible
    assert "see_cdrs" in blind.reason

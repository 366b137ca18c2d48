"""The same truth everywhere: whatever a user's groups grant, every route tells them that and nothing else.

What they may see is worked out here once more, naively and from the issue's words, and compared to the byte; and it is
shown that these comparisons fail when the scope, the account or the mask is taken out of the program.
"""

from __future__ import annotations

import asyncio
import random
import re
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from itertools import count
from typing import Any, Final, get_args

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from calldex.access import KeyScope, Permission, Reach, Role, Scope, masking
from calldex.api.app import public
from calldex.directory.model import GroupChanges, TeamChanges
from calldex.node import Node
from calldex.records import codec
from calldex.records.fields import DETAILS, RECORDINGS
from calldex.records.record import Cdr, Event, Leg, Team, canonical, from_ms, time_uuid
from calldex.settings import Settings
from calldex.store import sql
from calldex.store.embedded.combinations import Combinations
from tests import reference
from tests.api.conftest import Api, Site, write
from tests.examples import examples

AGENTS: Final = (1, 2, 3, 4, 5)
TEAMS: Final = (11, 12, 13)
QUEUES: Final = (21, 22, 23)
CAMPAIGNS: Final = (31, 32)
SENSITIVE: Final = ("comment", "tags", "wrapup_code")
NUMBERS: Final = ("447700900412", "447700900413", "12025550143", "1001", "alice")
READS: Final = tuple(
    p for p in get_args(Permission) if p not in ("ingest", "manage_users", "manage_access", "read_audit")
)
ROLE_REACH: Final[Mapping[str, Mapping[str, object]]] = {
    "admin": {"whole": True},
    "supervisor": {"supervised": True},
    "analyst": {"whole": True},
    "agent": {"own": True},
    "hardware_phone": {},
}
EMPTY: Final[dict[str, Any]] = {
    "events": [],
    "legs": [],
    "recording": None,
    "comment": None,
    "tags": [],
    "wrapup_code": None,
}


def records(seed: int, size: int = 60) -> list[Cdr]:
    """Records that name everything and each other's numbers."""
    draw = random.Random(seed)
    return [canonical(_record(draw, seed, index)) for index in range(size)]


def _record(draw: random.Random, seed: int, index: int) -> Cdr:
    agent, queue = draw.choice((None, *AGENTS)), draw.choice((None, *QUEUES))
    campaign, number = draw.choice((None, None, *CAMPAIGNS)), draw.choice(NUMBERS)
    return Cdr(
        uuid=time_uuid(10**12 + index, str(seed)),
        type="inbound",
        disposition=draw.choice(("answered", "missed")),
        started_at=from_ms(10**12 + index // 3 * 1000),
        from_=number,
        to="442079460018",
        agent=None if agent is None else f"Agent {agent}",
        agent_id=agent,
        queue=None if queue is None else f"Queue {queue}",
        queue_id=queue,
        campaign=None if campaign is None else f"Campaign {campaign}",
        campaign_id=campaign,
        teams=tuple(Team(id_, f"Team {id_}") for id_ in draw.sample(TEAMS, draw.randint(0, 2))),
        wrapup_code=draw.choice((None, "0100", "0200")),
        duration_s=draw.randint(0, 90),
        events=draw.choice(((), tuple(Event(type=t, at=from_ms(0), number=number) for t in ("hold", "dtmf")))),
        legs=draw.choice(((), (Leg(started_at=from_ms(0), from_=number, channel=f"PJSIP/{number}-00000001"),))),
        recording=draw.choice((None, f"in-{number}-1.wav")),
        comment=draw.choice((None, f"asked to be called on {number}")),
        tags=draw.choice(((), ("vip", "late"))),
        source=f"account {seed}",
    )


class Asker(msgspec.Struct, frozen=True):
    """Somebody, as the test knows them: what they were given, and their key."""

    key: str
    permissions: frozenset[str]
    reaches: tuple[Mapping[str, Any], ...]
    agent_id: int
    supervises: tuple[int, ...]


TEAM_QUEUES: Final = {11: (21,), 12: (21, 22), 13: ()}


# --- what they may see, naively ---------------------------------------------------------------------------------------


def sees(asker: Asker, cdr: Cdr) -> bool:
    """Whether somebody may see a record."""
    if "see_cdrs" not in asker.permissions:
        return False
    teams = {team.id for team in cdr.teams}
    for reach in asker.reaches:
        if reach.get("whole"):
            return True
        if reach.get("own") and cdr.agent_id == asker.agent_id:
            return True
        if reach.get("supervised"):
            queues = {queue for team in asker.supervises for queue in TEAM_QUEUES[team]}
            if teams & set(asker.supervises) or cdr.queue_id in queues:
                return True
        named: dict[str, set[Any]] = {
            "teams": teams,
            "queues": {cdr.queue_id},
            "campaigns": {cdr.campaign_id},
            "agents": {cdr.agent_id},
        }
        for name, values in named.items():
            if values & set(reach.get(name, ())):
                return True
    return False


def masked(number: str) -> str:
    """A number as it is shown to those who may not see it."""
    code = {"4": 2, "1": 1}.get(number[0], 0) if re.fullmatch(r"\d{7,}", number) else 0
    return number[:code] + "*" * (len(number) - code - 2) + number[-2:]


def without_numbers(value: Any) -> Any:
    """Text with every number of these records masked, wherever it stands; an extension only where it stands alone."""
    if isinstance(value, str):
        for number in (*NUMBERS, "442079460018"):
            if len(number) > 4 or value == number:
                value = value.replace(number, masked(number))
        return value
    if isinstance(value, list):
        return [without_numbers(each) for each in value]
    if isinstance(value, dict):
        return {name: without_numbers(each) for name, each in value.items()}
    return value


def shown(asker: Asker, cdr: Cdr) -> bytes:
    """A record as somebody sees it."""
    found = msgspec.json.decode(codec.encode(cdr))
    if "see_numbers" not in asker.permissions:
        found |= {name: without_numbers(value) for name, value in found.items() if name != "uuid"}
    hidden: set[str] = set()
    if "see_details" not in asker.permissions:
        hidden |= DETAILS
    if not asker.permissions & {"listen", "download_recordings"}:
        hidden |= RECORDINGS
    if "see_sensitive" not in asker.permissions:
        hidden |= set(SENSITIVE)
    return msgspec.json.encode(found | {name: EMPTY[name] for name in hidden})


def refused(asker: Asker, asked: Mapping[str, str]) -> bool:
    """Whether a search would tell what is withheld."""
    parts, exact = {"cli", "number", "wildcard_cli", "wildcard_number"}, {"from", "to"}
    return bool(
        ("see_numbers" not in asker.permissions and parts & set(asked))
        or (not asker.permissions & {"see_numbers", "match_numbers"} and exact & set(asked))
        or ("see_details" not in asker.permissions and "events" in asked)
        or ("see_sensitive" not in asker.permissions and "wrapup_codes" in asked)
    )


# --- what they are told -----------------------------------------------------------------------------------------------

_numbers = count(1)


class Centre(msgspec.Struct, frozen=True):
    """Two accounts with the same teams, queues and numbers, and a way to hire people."""

    site: Site

    def hire(
        self,
        groups: Sequence[tuple[Sequence[str], Mapping[str, Any]]],
        *,
        role: Role | None = None,
        agent: int = 1,
        supervises: Sequence[int] = (),
        scopes: Sequence[KeyScope] = ("read",),
        account: str = "main",
    ) -> Asker:
        """Somebody in groups of these permissions and reaches, with a key of these scopes."""
        directory, number = self.site.node.directory, next(_numbers)
        names = [f"group {number} {index}" for index in range(len(groups))]
        for name, (permissions, reach) in zip(names, groups, strict=True):
            granted_to = GroupChanges(name=name, permissions=tuple(permissions), reach=Reach(**reach))
            directory.put_group(account, None, granted_to)
        email = f"p{number}@example.com"
        # Two users of an account never share an agent's id: who is to be agent 1 takes it from the one before.
        for user in directory.users(account):
            if user.agent_id == agent:
                directory.remove_user(user.email)
        directory.add_user(
            email,
            f"P{number}",
            role,
            groups=tuple(names),
            agent_id=agent,
            account=account,
            supervises=tuple(supervises),
        )
        granted = {permission for permissions, _ in groups for permission in permissions}
        if role is not None and role != "hardware_phone":
            granted |= set(READS)
        left = granted & (set(READS) if "read" in scopes else set())
        reaches = tuple(reach for _, reach in groups) + (() if role is None else (ROLE_REACH[role],))
        return Asker(directory.create_key(email, tuple(scopes)), frozenset(left), reaches, agent, tuple(supervises))


def wrong(centre: Centre, asker: Asker, asked: Mapping[str, str]) -> Iterator[str]:
    """Everything that somebody is told otherwise than they should be."""
    site = centre.site
    visible = [cdr for cdr in site.main if sees(asker, cdr)]
    yield from _wrong_walk(site, asker, visible, asked)
    if "see_cdrs" not in asker.permissions:
        return
    for cdr in (*site.main[:6], site.other[0]):
        found = site.api.get("/api/v2/cdr", asker.key, None, uuid=cdr.uuid).content
        expected = [cdr] if cdr in visible else []
        if not found.startswith(b'{"records":[%s],"total":%d' % (_page(asker, expected), len(expected))):
            yield f"uuid {cdr.uuid}: {found[:200]!r}"
    yield from _wrong_lookups(site, asker, visible)


def _page(asker: Asker, cdrs: Sequence[Cdr]) -> bytes:
    return b",".join(shown(asker, cdr) for cdr in cdrs)


def _wrong_walk(site: Site, asker: Asker, visible: Sequence[Cdr], asked: Mapping[str, str]) -> Iterator[str]:
    expected = reference.answer(visible, asked)
    at = 0
    token: str | None = ""
    while token is not None:
        reply = site.api.get("/api/v2/cdr", asker.key, None, per_page="7", search_token=token, **asked)
        if "see_cdrs" not in asker.permissions or refused(asker, asked):
            if reply.status_code != 403 or {"records", "total"} & set(reply.json()):
                yield f"{asked}: {reply.status_code} {reply.text[:200]} instead of 403"
            return
        body = reply.json()
        part = expected[at : at + 7]
        if not reply.content.startswith(b'{"records":[%s],"total":%d,' % (_page(asker, part), len(expected))):
            yield f"{asked} from {at} of {len(expected)}: {reply.content[:300]!r}"
            return
        at, token = at + 7, body["search_token"]
    if at < len(expected):
        yield f"{asked}: the walk ended at {at} of {len(expected)}"


def _wrong_lookups(site: Site, asker: Asker, visible: Sequence[Cdr]) -> Iterator[str]:
    whole = any(reach.get("whole") for reach in asker.reaches)
    supervised = any(reach.get("supervised") for reach in asker.reaches)
    own = any(reach.get("own") for reach in asker.reaches)
    teams = set(asker.supervises) if supervised else set()
    listed: dict[str, set[object]] = {
        "agents": {cdr.agent_id for cdr in visible} | ({asker.agent_id} if own else set()),
        "queues": {cdr.queue_id for cdr in visible} | {queue for team in teams for queue in TEAM_QUEUES[team]},
        "campaigns": {cdr.campaign_id for cdr in visible},
        "teams": {team.id for cdr in visible for team in cdr.teams} | teams,
        "wrapup_codes": {cdr.wrapup_code for cdr in visible},
    }
    for name in ("agents", "queues", "campaigns", "teams"):
        for reach in asker.reaches:
            listed[name] |= set(reach.get(name, ()))
    every = {
        "agents": AGENTS,
        "queues": QUEUES,
        "campaigns": CAMPAIGNS,
        "teams": TEAMS,
        "wrapup_codes": ("0100", "0200"),
    }
    for name, ids in every.items():
        found = site.api.get(f"/api/v2/cdr/{name}", asker.key).json()
        told = {entry["code" if name == "wrapup_codes" else "id"] for entry in found} & set(ids)
        expected = set(ids) if whole else listed[name] & set(ids)
        if name == "wrapup_codes" and "see_sensitive" not in asker.permissions:
            expected = set()
        if told != expected:
            yield f"{name}: {sorted(told)} instead of {sorted(expected, key=str)}"
    users = site.api.get("/api/v3/cdr/users", asker.key).json()
    agents = {user.agent_id for user in site.node.directory.users("main")}
    seen = agents if whole else agents & listed["agents"]
    if {user["id"] for user in users} != seen:
        yield f"users: {users}"


@pytest.fixture(scope="module")
def centre(tmp_path_factory: pytest.TempPathFactory, runner: asyncio.Runner) -> Iterator[Centre]:
    """Two accounts with records of the same kind; tests add people and change no record."""
    with Node(Settings(data=tmp_path_factory.mktemp("centre"), threads=2)) as node:
        node.directory.add_account("other")
        for account, seed in (("other", 2), ("main", 1)):
            write(node, account, records(seed))
            # An account keeps an admin, whoever comes and goes.
            node.directory.add_user(f"root@{account}.example.com", "Root", "admin", account=account, agent_id=99)
            node.directory.set_account(account, sensitive=SENSITIVE)
            for team, queues in TEAM_QUEUES.items():
                node.directory.put_team(account, team, TeamChanges(name=f"Team {team}", queues=queues))
        yield Centre(Site(node, Api(public(node), runner), {}, records(1), records(2)))


REACHES: Final = st.fixed_dictionaries(
    {},
    optional={
        "whole": st.sampled_from((True, False, False)),
        "own": st.booleans(),
        "supervised": st.booleans(),
        "teams": st.lists(st.sampled_from(TEAMS), max_size=2, unique=True).map(tuple),
        "queues": st.lists(st.sampled_from(QUEUES), max_size=2, unique=True).map(tuple),
        "campaigns": st.lists(st.sampled_from(CAMPAIGNS), max_size=1).map(tuple),
        "agents": st.lists(st.sampled_from(AGENTS), max_size=2, unique=True).map(tuple),
    },
)
PERMISSIONS: Final = st.lists(st.sampled_from(get_args(Permission)), max_size=8, unique=True) | st.just(list(READS))
SEES: Final = PERMISSIONS.map(lambda permissions: sorted({*permissions, "see_cdrs"}))
ASKED: Final = st.fixed_dictionaries(
    {},
    optional={
        "cli": st.sampled_from(("4477", "1", "447700900412")),
        "wildcard_number": st.sampled_from(("9460", "7")),
        "from": st.sampled_from(NUMBERS),
        "to": st.sampled_from(("442079460018", "4420")),
        "events": st.just("hold"),
        "agent_ids": st.sampled_from(("1", "2,3")),
        "team_ids": st.sampled_from(("11", "12,13")),
        "disposition": st.just("missed"),
        "min_duration": st.just("30"),
        "wrapup_codes": st.sampled_from(("0100", "0100,0200")),
    },
)


HIRED: Final = st.fixed_dictionaries(
    {
        "groups": st.lists(st.tuples(SEES | PERMISSIONS, REACHES), max_size=3),
        "role": st.sampled_from((None, None, *get_args(Role))),
        "agent": st.sampled_from(AGENTS),
        "supervises": st.lists(st.sampled_from(TEAMS), max_size=2, unique=True),
        "scopes": st.sampled_from((("read",), ("read",), ("read", "manage"), ("ingest",))),
    }
)


@settings(max_examples=examples(40), deadline=None, suppress_health_check=list(HealthCheck))
@given(hired=HIRED, searches=st.lists(ASKED, max_size=2))
def test_the_same_truth_everywhere(centre: Centre, hired: Any, searches: list[dict[str, str]]) -> None:
    """For people in any groups, with any key, on every route: what the naive reading says, to the byte."""
    asker = centre.hire(**hired)
    for asked in ({}, *searches):
        assert [] == list(wrong(centre, asker, asked))


def limited(centre: Centre, queue: int) -> Asker:
    """Somebody who sees the records of a team and a queue, without numbers. Each test has a queue of its own, since
    the program remembers answers by what was granted."""
    return centre.hire([(("see_cdrs", "see_details", "listen", "see_sensitive"), {"teams": (11,), "queues": (queue,)})])


def test_somebody_limited_is_told_the_truth(centre: Centre) -> None:
    """The one with whom the next tests show what is found when a part of the program is taken away."""
    asker = limited(centre, 21)
    assert [] == list(wrong(centre, asker, {}))
    assert 0 < sum(sees(asker, cdr) for cdr in centre.site.main) < len(centre.site.main)


def _all_rows(scope: Scope, dialect: sql.Dialect) -> sql.Sql:
    return sql.Sql("account_id = ?", (scope.account_id,))


def _all_accounts(scope: Scope, dialect: sql.Dialect) -> sql.Sql:
    return sql.Sql("TRUE")


@pytest.mark.parametrize(("instead", "queue"), [(_all_rows, 22), (_all_accounts, 23)])
def test_without_the_scope_it_would_be_found(
    centre: Centre, monkeypatch: pytest.MonkeyPatch, instead: Any, queue: int
) -> None:
    """Without the condition of the rows granted, or of the account, the comparison above fails."""
    asker = limited(centre, queue)
    monkeypatch.setattr(sql, "granted", instead)
    assert list(wrong(centre, asker, {}))


def test_without_the_bits_of_a_reach_it_would_be_found(centre: Centre, monkeypatch: pytest.MonkeyPatch) -> None:
    """If every combination of agent, queue, campaign and teams were within every reach, the comparison would fail."""
    asker = centre.hire([(READS, {"teams": (13,)})])
    # What the columns and the index in memory both ask.
    monkeypatch.setattr(Combinations, "_reach", lambda self, which, scope: b"\1" * (which.stop - which.start))
    assert list(wrong(centre, asker, {}))


def test_without_the_account_the_other_is_found(centre: Centre, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of somebody who sees their whole account, the comparison fails when the account is taken out of the condition."""
    asker = centre.hire([(READS, {"whole": True})])
    assert [] == list(wrong(centre, asker, {"min_duration": "7"}))
    monkeypatch.setattr(sql, "granted", lambda scope, dialect: sql.Sql("?", (scope.whole,)))
    assert list(wrong(centre, asker, {"min_duration": "8"}))


def test_without_the_mask_it_would_be_found(centre: Centre, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the mask the comparison fails."""
    monkeypatch.setattr(masking, "masked", lambda json, mask: json)
    asker = centre.hire([(("see_cdrs",), {"teams": (12,)})], agent=3)
    assert list(wrong(centre, asker, {}))


# --- the attack -------------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_number_cannot_be_found_digit_by_digit(centre: Centre) -> None:
    """Somebody with masked numbers asks for every next digit, by every filter and alias that could tell, alone and with
    the uuid of the one record: the answers are the same for right and wrong digits, but for the digits themselves."""
    target = next(cdr for cdr in centre.site.main if cdr.from_ == NUMBERS[0])
    asker = centre.hire([(tuple(set(READS) - {"see_numbers", "match_numbers"}), {"whole": True})], agent=4)
    assert target.from_ is not None
    told: dict[str, set[tuple[int, str, str | None]]] = defaultdict(set)
    for known in range(len(target.from_)):
        for digit in "0123456789":
            guess = target.from_[:known] + digit
            for name in ("cli", "wildcard_cli", "number", "wildcard_number", "from", "to"):
                for more in ({}, {"uuid": target.uuid}):
                    reply = centre.site.api.get("/api/v2/cdr", asker.key, None, **{name: guess}, **more)
                    body = re.sub(r'"request_id":"[^"]*"', "", reply.text)
                    told[name].add((reply.status_code, body, reply.headers.get("etag")))
    assert [1] * 6 == [len(answers) for answers in told.values()]
    assert {403} == {status for answers in told.values() for status, _, _ in answers}


def test_a_known_number_is_found_by_those_who_may(centre: Centre) -> None:
    """With the permission for it a full number finds its records, still masked; a part of it finds nothing."""
    asker = centre.hire([(("see_cdrs", "match_numbers"), {"whole": True})], agent=5)
    number = NUMBERS[0]
    found = centre.site.api.get("/api/v2/cdr", asker.key, None, **{"from": number})
    assert len([cdr for cdr in centre.site.main if cdr.from_ == number]) == found.json()["total"]
    assert number not in found.text
    parts = {"from": number[:-1]}
    assert 0 == centre.site.api.get("/api/v2/cdr", asker.key, None, **parts).json()["total"]


def test_masked_and_full_never_share_a_page(centre: Centre) -> None:
    """Two who see the same rows, one masked: neither entity tags nor tokens of the one work for the other."""
    full = centre.hire([(READS, {"whole": True})], agent=1)
    blind = centre.hire([(("see_cdrs",), {"whole": True})], agent=2)
    one, other = (centre.site.api.get("/api/v2/cdr", asker.key, None, per_page="5") for asker in (full, blind))
    assert one.headers["etag"] != other.headers["etag"]
    again = centre.site.api.get("/api/v2/cdr", blind.key, {"If-None-Match": one.headers["etag"]}, per_page="5")
    assert (200, other.content) == (again.status_code, again.content)
    token = one.json()["search_token"]
    assert 409 == centre.site.api.get("/api/v2/cdr", blind.key, None, per_page="5", search_token=token).status_code


def test_a_reach_edited_during_a_walk_ends_it(centre: Centre) -> None:
    """The next page is refused with 409; a new search sees the new reach."""
    asker = centre.hire([(READS, {"teams": (11, 12)})], agent=3)
    first = centre.site.api.get("/api/v2/cdr", asker.key, None, per_page="2").json()
    newest = max(centre.site.node.directory.users("main"), key=lambda user: user.id)
    group = newest.groups[0]
    centre.site.node.directory.put_group("main", group, GroupChanges(reach=Reach(teams=(11,))))
    reply = centre.site.api.get("/api/v2/cdr", asker.key, None, per_page="2", search_token=first["search_token"])
    assert 409 == reply.status_code
    left = msgspec.structs.replace(asker, reaches=({"teams": (11,)},))
    assert [] == list(wrong(centre, left, {}))

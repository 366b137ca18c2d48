"""The cast of a demo: people, teams, queues, campaigns, wrap-up codes and customers, all from the seed.

Only who and what there is; what they do is `floor`'s.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final, Literal

import msgspec

from calldex.demo.chance import Draw, draws, ids, pick, shuffled
from calldex.records.record import Team

Role = Literal["admin", "supervisor", "analyst", "agent"]


class DemoUser(msgspec.Struct, frozen=True, kw_only=True):
    """A person of the centre as a directory user; who takes no calls has no extension and no agent id.

    `member_of` and `supervises` are ids of teams.
    """

    name: str
    email: str
    role: Role
    timezone: str
    extension: str | None = None
    agent_id: int | None = None
    member_of: tuple[int, ...] = ()
    supervises: tuple[int, ...] = ()
    skills: tuple[str, ...] = ()


class Agent(msgspec.Struct, frozen=True):
    """What a record says of a person who takes calls."""

    id: int
    name: str
    extension: str
    teams: tuple[Team, ...]


class Queue(msgspec.Struct, frozen=True):
    """A queue, the team that answers it and the own numbers (DIDs, digits) that lead into it."""

    id: int
    name: str
    team_id: int
    dids: tuple[str, ...]


class Campaign(msgspec.Struct, frozen=True):
    """A dialer campaign and the team that works on it."""

    id: int
    name: str
    team_id: int


class WrapupCode(msgspec.Struct, frozen=True):
    """What an agent may choose after a call."""

    code: str
    description: str


class Centre(msgspec.Struct, frozen=True):
    """Who and what a demo is about. `people` has the office first, then the supervisors, then the agents."""

    teams: tuple[Team, ...]
    people: tuple[DemoUser, ...]
    agents: tuple[Agent, ...]
    queues: tuple[Queue, ...]
    campaigns: tuple[Campaign, ...]
    wrapup_codes: tuple[WrapupCode, ...]
    skills: tuple[str, ...]


# Names by culture: given names, family names, whether the family name leads, time zone. A name that a mail address
# cannot spell has its plain spelling after `=`.
_CULTURES: Final = (
    (
        "Oliver Amelia George Isla Harry Freya Grace Alfie Niamh Owen",
        "Smith Taylor Davies Hughes O'Neill=oneill Clarke Bennett Murphy Wright Campbell",
        False,
        "Europe/London",
    ),
    (
        "Élodie=elodie Chloé=chloe Hugo Mathieu Léa=lea Inès=ines Théo=theo Camille",
        "Dubois Lefèvre=lefevre Moreau Girard Rousseau Hébert=hebert Noël=noel Petit",
        False,
        "Europe/Paris",
    ),
    (
        "José=jose María=maria Lucía=lucia Álvaro=alvaro Begoña=begona Íñigo=inigo Carmen Pablo",
        "Muñoz=munoz García=garcia Núñez=nunez Ortega Ibáñez=ibanez Romero Peña=pena Castro",
        False,
        "Europe/Madrid",
    ),
    (
        "João=joao Tiago Mafalda Conceição=conceicao Beatriz Luís=luis",
        "Gonçalves=goncalves Araújo=araujo Pereira Simões=simoes Magalhães=magalhaes Costa",
        False,
        "Europe/Lisbon",
    ),
    (
        "Jürgen=juergen Anja Björn=bjoern Søren=soeren Katrin Jörg=joerg",
        "Müller=mueller Groß=gross Nygård=nygaard Krüger=krueger Schäfer=schaefer Vogt",
        False,
        "Europe/Berlin",
    ),
    (
        "Łukasz=lukasz Małgorzata=malgorzata Kasia Tomáš=tomas Agnieszka",
        "Wójcik=wojcik Dąbrowska=dabrowska Dvořák=dvorak Nowak Zieliński=zielinski",
        False,
        "Europe/Warsaw",
    ),
    (
        "静=jing 伟=wei 芳=fang 磊=lei 秀英=xiuying 明=ming 婷=ting 浩然=haoran",
        "陈=chen 王=wang 李=li 张=zhang 刘=liu 杨=yang 黄=huang 吴=wu",
        True,
        "Asia/Singapore",
    ),
    (
        "Priya Arjun Ananya Rohan Kavya Vikram",
        "Sharma Patel Iyer Nair Reddy Singh",
        False,
        "Asia/Kolkata",
    ),
)


class _Plan(msgspec.Struct, frozen=True):
    """A team before it has people: its name, its skill, its queues, what its conversations end in."""

    name: str
    skill: str
    queues: tuple[str, ...]
    codes: tuple[str, ...]


_PLANS: Final = (
    _Plan("Sales", "sales", ("New business", "Renewals"), ("0100", "0110", "0120", "0200")),
    _Plan("Customer Care", "care", ("General enquiries", "Orders and delivery"), ("0200", "0210", "0220", "0110")),
    _Plan("Technical Support", "technical", ("Technical support", "Second line"), ("0300", "0310", "0320", "0200")),
    _Plan("Billing", "billing", ("Billing", "Payments"), ("0400", "0410", "0420", "0220")),
    _Plan("Retention", "retention", ("Cancellations",), ("0500", "0510", "0110", "0220")),
    _Plan("Atención al cliente", "español", ("Atención al cliente",), ("0200", "0210", "0220", "0900")),
    _Plan("Service clients", "français", ("Service clients",), ("0200", "0210", "0220", "0900")),
)
_CAMPAIGNS: Final = (  # each with the place of its team
    ("Autumn renewals", 0),
    ("Broadband upgrade", 0),
    ("Satisfaction survey", 1),
    ("Overdue invoices", 3),
    ("Win-back", 4),
)
NO_CONTACT: Final = WrapupCode("0910", "0910: No contact")
_WRAPUP_CODES: Final = (
    WrapupCode("0100", "0100: Sale"),
    WrapupCode("0110", "0110: Call again"),
    WrapupCode("0120", "0120: Not interested"),
    WrapupCode("0200", "0200: Question answered"),
    WrapupCode("0210", "0210: Order status"),
    WrapupCode("0220", "0220: Complaint"),
    WrapupCode("0300", "0300: Fault fixed"),
    WrapupCode("0310", "0310: Passed to second line"),
    WrapupCode("0320", "0320: Engineer booked"),
    WrapupCode("0400", "0400: Payment taken"),
    WrapupCode("0410", "0410: Invoice explained"),
    WrapupCode("0420", "0420: Payment plan"),
    WrapupCode("0500", "0500: Customer stays"),
    WrapupCode("0510", "0510: Customer leaves"),
    WrapupCode("0900", "0900: Wrong number"),
    NO_CONTACT,
)
_OWN_NUMBERS: Final = ("448081570", "442079460")  # freephone and London; no customer of the demo has one of these


def _people(draw: Draw) -> Iterator[DemoUser]:
    """Persons with names and mail addresses that no other has; without teams, as analysts."""
    taken: set[str] = set()
    while True:
        givens, families, family_first, timezone = pick(draw, _CULTURES)
        given, _, given_plain = pick(draw, givens.split()).partition("=")
        family, _, family_plain = pick(draw, families.split()).partition("=")
        email = f"{given_plain or given.lower()}.{family_plain or family.lower()}@example.com"
        if email not in taken:
            taken.add(email)
            name = f"{family}{given}" if family_first else f"{given} {family}"
            yield DemoUser(name=name, email=email, role="analyst", timezone=timezone)


def _team_people(draw: Draw, teams: Sequence[Team], persons: Iterator[DemoUser]) -> Iterator[DemoUser]:
    """The supervisor of each team, then the members of each; one member in eight helps in the next team as well."""
    for team in teams:
        yield msgspec.structs.replace(next(persons), role="supervisor", supervises=(team.id,))
    extensions = ids(draw, 2001)
    agent_ids = ids(draw, 4101 + 100 * int(draw() * 9))
    for number, team in enumerate(teams):
        for _ in range(8 + int(draw() * 5)):
            helps = draw() < 0.125
            beside = (number + 1) % len(teams)
            yield msgspec.structs.replace(
                next(persons),
                role="agent",
                extension=str(next(extensions)),
                agent_id=next(agent_ids),
                member_of=(team.id, teams[beside].id) if helps else (team.id,),
                skills=(_PLANS[number].skill, _PLANS[beside].skill) if helps else (_PLANS[number].skill,),
            )


def centre(seed: int) -> Centre:
    """The cast of this seed."""
    draw = draws(seed, "centre")
    team_ids = ids(draw, 1201)
    teams = tuple(Team(next(team_ids), plan.name) for plan in _PLANS)
    by_id = {team.id: team for team in teams}
    persons = _people(draw)
    admin = msgspec.structs.replace(next(persons), role="admin")
    people = (admin, next(persons), next(persons), *_team_people(draw, teams, persons))
    queue_ids = ids(draw, 301)
    campaign_ids = ids(draw, 7101)
    suffixes = iter(shuffled(draw, range(1000)))
    return Centre(
        teams=teams,
        people=people,
        agents=tuple(
            Agent(person.agent_id, person.name, person.extension, tuple(by_id[id_] for id_ in person.member_of))
            for person in people
            if person.agent_id is not None and person.extension is not None
        ),
        queues=tuple(
            Queue(next(queue_ids), name, team.id, tuple(f"{prefix}{next(suffixes):03d}" for prefix in _OWN_NUMBERS))
            for team, plan in zip(teams, _PLANS, strict=True)
            for name in plan.queues
        ),
        campaigns=tuple(Campaign(next(campaign_ids), name, teams[number].id) for name, number in _CAMPAIGNS),
        wrapup_codes=_WRAPUP_CODES,
        skills=tuple(plan.skill for plan in _PLANS),
    )


def users(cast: Centre) -> tuple[DemoUser, ...]:
    """The directory users of a centre: an admin, two analysts, a supervisor for each team, and the agents."""
    return cast.people


def wrapup_codes_by_team(cast: Centre) -> dict[int, tuple[WrapupCode, ...]]:
    """By the id of each team, the codes that its people choose from after a conversation."""
    return {
        team.id: tuple(code for code in cast.wrapup_codes if code.code in plan.codes)
        for team, plan in zip(cast.teams, _PLANS, strict=True)
    }


# Ranges that no subscriber has: first digits, digits after them, and of how many numbers one is taken.
_FICTION: Final = (
    *((prefix, 3, 1) for prefix in ("447700900", "441632960", "443069990")),
    *((f"44{area}4960", 3, 1) for area in (113, 114, 115, 116, 117, 118, 121, 131, 141, 151, 161)),
    *((f"1{area}55501", 2, 1) for area in (*range(201, 210), *range(212, 221), *range(301, 311), *range(312, 322))),
    *((f"33{block}", 4, 5) for block in (19900, 26191, 35301, 46571, 53649, 63998)),
    *((prefix, 3, 1) for prefix in ("493023125", "496990009", "494066969", "492214710", "498999998")),
    *((f"61{area}{block}", 4, 8) for area in (2, 3, 7, 8) for block in (5550, 7010)),
)


def customers(seed: int) -> tuple[list[str], list[str | None]]:
    """The numbers of all customers, the most frequent first, and beside them each one's account with the company."""
    draw = draws(seed, "customers")
    numbers = shuffled(
        draw,
        [
            f"{prefix}{suffix:0{digits}d}"
            for prefix, digits, step in _FICTION
            for suffix in range(int(draw() * step), 10**digits, step)
        ],
    )
    return numbers, [f"ACC-{100_000 + 7 * place}" if draw() < 0.6 else None for place in range(len(numbers))]

"""The cast of a demo: people, teams, queues, campaigns, wrap-up codes and customers, all from the seed.

Only who and what there is; what they do is `floor`'s.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Final, Literal

import msgspec

from calldex.demo.chance import Draw, draws, ids, pick, shuffled
from calldex.demo.course import CURVE, WEEKDAYS
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
    """What a record says of a person who takes calls, and what they can do."""

    id: int
    name: str
    extension: str
    teams: tuple[Team, ...]
    skills: tuple[str, ...] = ()


class Queue(msgspec.Struct, frozen=True):
    """A queue, the team that answers it and the own numbers (DIDs, digits) that lead into it; none where one writes.

    Who has the `skill` takes its calls. `share` is its part of the arrivals; `talk` and `patience` are percent of what
    is usual; after `limit_s` a caller is sent away. `office` queues keep shorter hours than the centre.
    """

    id: int
    name: str
    team_id: int
    dids: tuple[str, ...]
    skill: str
    share: int
    talk: int = 100
    patience: int = 100
    limit_s: int = 900
    office: bool = False


class Campaign(msgspec.Struct, frozen=True):
    """A dialer campaign and the team that works on it; the codes its conversations end in."""

    id: int
    name: str
    team_id: int
    codes: tuple[str, ...] = ()


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


class _Line(msgspec.Struct, frozen=True):
    """A queue before it has ids; its members are told at `Queue`. Without a skill, everybody of the team takes it."""

    name: str
    share: int
    talk: int = 100
    patience: int = 100
    limit_s: int = 900
    office: bool = False
    skill: str = ""


class _Plan(msgspec.Struct, frozen=True):
    """A team before it has people: its name, its skill, its queues, what its conversations end in.

    `ease` is how generously it is staffed (percent of the square root of its load); `own` what it does of the calls
    that agents place.
    """

    name: str
    skill: str
    queues: tuple[_Line, ...]
    codes: tuple[str, ...]
    ease: int
    own: int = 10


_PLANS: Final = (
    _Plan(
        "Sales",
        "sales",
        (_Line("New business", 15, talk=125, patience=80, limit_s=300), _Line("Renewals", 9, talk=105)),
        ("0100", "0110", "0120", "0120", "0200"),
        ease=75,
        own=35,
    ),
    _Plan(
        "Customer Care",
        "care",
        (_Line("General enquiries", 19, talk=85, limit_s=600), _Line("Orders and delivery", 15, talk=75, patience=110)),
        ("0200", "0200", "0210", "0210", "0220"),
        ease=45,
    ),
    _Plan(
        "Technical Support",
        "technical",
        (
            _Line("Technical support", 16, talk=150, patience=170, limit_s=1_500),
            _Line("Second line", 3, talk=210, patience=220, limit_s=1_800, office=True, skill="second line"),
        ),
        ("0300", "0300", "0320", "0200"),
        ease=15,
    ),
    _Plan(
        "Billing",
        "billing",
        (_Line("Billing", 10, talk=95), _Line("Payments", 8, talk=50, patience=90, limit_s=240)),
        ("0400", "0410", "0410", "0420", "0220"),
        ease=60,
        own=20,
    ),
    _Plan("Retention", "retention", (_Line("Cancellations", 7, talk=140, patience=120),), ("0500", "0510"), 60, 15),
    _Plan(
        "Atención al cliente",
        "español",
        (_Line("Atención al cliente", 6, talk=100, office=True),),
        ("0200", "0210", "0220"),
        ease=30,
    ),
    _Plan(
        "Service clients",
        "français",
        (_Line("Service clients", 5, talk=105, office=True),),
        ("0200", "0210", "0220"),
        ease=50,
    ),
    _Plan("Outreach", "outreach", (), ("0120",), ease=25, own=0),
    _Plan(
        "Messaging",
        "writing",
        (_Line("Messages", 2, patience=100), _Line("Web chat", 1, patience=60)),
        ("0200", "0210", "0220"),
        ease=80,
        own=0,
    ),
)
OUTREACH: Final = 7
MESSAGING: Final = 8
"""The places of the team that works with the dialer, and of the one that writes."""
_CAMPAIGNS: Final = (  # each with what its conversations end in
    ("Autumn renewals", ("0100", "0110", "0120", "0120")),
    ("Broadband upgrade", ("0100", "0110", "0120", "0120", "0120")),
    ("Satisfaction survey", ("0600", "0600", "0610")),
    ("Overdue invoices", ("0400", "0420", "0430")),
    ("Win-back", ("0100", "0110", "0120", "0120", "0120")),
)
SECOND_LINE: Final = WrapupCode("0310", "0310: Passed to second line")
KNOWN_OUTAGE: Final = WrapupCode("0330", "0330: Known outage")
WRONG_NUMBER: Final = WrapupCode("0900", "0900: Wrong number")
NO_CONTACT: Final = WrapupCode("0910", "0910: No contact")
PASSED_ON: Final = WrapupCode("0920", "0920: Transferred")
CUT_OFF: Final = WrapupCode("0930", "0930: Line dropped")
_WRAPUP_CODES: Final = (
    WrapupCode("0100", "0100: Sale"),
    WrapupCode("0110", "0110: Call again"),
    WrapupCode("0120", "0120: Not interested"),
    WrapupCode("0200", "0200: Question answered"),
    WrapupCode("0210", "0210: Order status"),
    WrapupCode("0220", "0220: Complaint"),
    WrapupCode("0300", "0300: Fault fixed"),
    SECOND_LINE,
    WrapupCode("0320", "0320: Engineer booked"),
    KNOWN_OUTAGE,
    WrapupCode("0400", "0400: Payment taken"),
    WrapupCode("0410", "0410: Invoice explained"),
    WrapupCode("0420", "0420: Payment plan"),
    WrapupCode("0430", "0430: Promised to pay"),
    WrapupCode("0500", "0500: Customer stays"),
    WrapupCode("0510", "0510: Customer leaves"),
    WrapupCode("0600", "0600: Survey completed"),
    WrapupCode("0610", "0610: Survey declined"),
    WRONG_NUMBER,
    NO_CONTACT,
    PASSED_ON,
    CUT_OFF,
)
_OWN_NUMBERS: Final = ("448081570", "442079460")  # freephone and London; no customer of the demo has one of these


def _people(draw: Draw) -> Iterator[DemoUser]:
    """Persons with names and mail addresses that no other has; without teams, as analysts."""
    taken: set[str] = set()
    while True:
        givens, families, family_first, timezone = pick(draw, _CULTURES)
        given, _, given_plain = pick(draw, givens.split()).partition("=")
        family, _, family_plain = pick(draw, families.split()).partition("=")
        mailbox = f"{given_plain or given.lower()}.{family_plain or family.lower()}"
        name = f"{family}{given}" if family_first else f"{given} {family}"
        if mailbox in taken and len(taken) < _NAMES:
            continue
        while mailbox in taken:  # a centre of many hundreds has namesakes, told apart by initials
            initial = pick(draw, _INITIALS)
            mailbox, name = f"{mailbox}{initial.lower()}", f"{name} {initial}."
        taken.add(mailbox)
        yield DemoUser(name=name, email=f"{mailbox}@example.com", role="analyst", timezone=timezone)


_NAMES: Final = 300
"""As many people have names without initials."""
_INITIALS: Final = "ABCDEFGHIJKLMNOPRSTVWZ"


def _team_people(
    draw: Draw, teams: Sequence[Team], persons: Iterator[DemoUser], seats: Sequence[int]
) -> Iterator[DemoUser]:
    """The supervisor of each team, then so many members of each; one member in six of those who answer calls helps in
    the next team as well, and every second one of a team has the skill that one of its queues asks for."""
    for team in teams:
        yield msgspec.structs.replace(next(persons), role="supervisor", supervises=(team.id,))
    extensions = ids(draw, 2001)
    agent_ids = ids(draw, 4101 + 100 * int(draw() * 9))
    for number, (team, plan) in enumerate(zip(teams, _PLANS, strict=True)):
        special = tuple(line.skill for line in plan.queues if line.skill)
        for place in range(seats[number]):
            helps = draw() < 1 / 6 and number < OUTREACH
            beside = (number + 1) % OUTREACH
            yield msgspec.structs.replace(
                next(persons),
                role="agent",
                extension=str(next(extensions)),
                agent_id=next(agent_ids),
                member_of=(team.id, teams[beside].id) if helps else (team.id,),
                skills=(
                    plan.skill,
                    *(special if place % 2 == 0 else ()),
                    *((_PLANS[beside].skill,) if helps else ()),
                ),
            )


def _seats(records: int, days: int) -> list[int]:
    """How many people each team needs: its load in the busiest hour of a usual Monday (Erlang), and somewhat more for
    chance, as the plan says; about half of a team is at work and at a telephone then."""
    busiest = records / max(days, 5) * 7 * WEEKDAYS[0] / sum(WEEKDAYS) * 2 * max(CURVE) / sum(CURVE)
    called = sum(line.share for plan in _PLANS[:OUTREACH] for line in plan.queues)
    own = sum(plan.own for plan in _PLANS)
    seats = []
    for place, plan in enumerate(_PLANS):
        seconds = (
            sum(line.share * (2.75 * line.talk + 30) for line in plan.queues) / called * 0.56 + plan.own / own * 38
        )
        seconds = {OUTREACH: 13, MESSAGING: 22}.get(place, seconds)
        load = busiest * seconds / 3600
        seats.append(max(_FEWEST, math.ceil((load + plan.ease / 100 * math.sqrt(load)) / 0.56)))
    return seats


_FEWEST: Final = 4


def centre(seed: int, records: int = 50_000, days: int = 90) -> Centre:
    """The cast of this seed, of a size that copes with so many interactions in so many days."""
    draw = draws(seed, "centre")
    team_ids = ids(draw, 1201)
    teams = tuple(Team(next(team_ids), plan.name) for plan in _PLANS)
    by_id = {team.id: team for team in teams}
    persons = _people(draw)
    admin = msgspec.structs.replace(next(persons), role="admin", timezone=_CULTURES[0][3])
    people = (
        admin,
        next(persons),
        next(persons),
        *_team_people(draw, teams, persons, _seats(records, days)),
    )
    queue_ids = ids(draw, 301)
    campaign_ids = ids(draw, 7101)
    suffixes = iter(shuffled(draw, range(1000)))
    return Centre(
        teams=teams,
        people=people,
        agents=tuple(
            Agent(
                person.agent_id,
                person.name,
                person.extension,
                tuple(by_id[id_] for id_ in person.member_of),
                person.skills,
            )
            for person in people
            if person.agent_id is not None and person.extension is not None
        ),
        queues=tuple(
            Queue(
                next(queue_ids),
                line.name,
                team.id,
                tuple(f"{prefix}{next(suffixes):03d}" for prefix in _OWN_NUMBERS) if place < OUTREACH else (),
                line.skill or plan.skill,
                line.share,
                line.talk,
                line.patience,
                line.limit_s,
                line.office,
            )
            for place, (team, plan) in enumerate(zip(teams, _PLANS, strict=True))
            for line in plan.queues
        ),
        campaigns=tuple(Campaign(next(campaign_ids), name, teams[OUTREACH].id, codes) for name, codes in _CAMPAIGNS),
        wrapup_codes=_WRAPUP_CODES,
        skills=tuple(dict.fromkeys(skill for person in people for skill in person.skills)),
    )


def users(cast: Centre) -> tuple[DemoUser, ...]:
    """The directory users of a centre: an admin, two analysts, a supervisor for each team, and the agents."""
    return cast.people


def wrapup_codes_by_team(cast: Centre) -> dict[int, tuple[WrapupCode, ...]]:
    """By the id of each team, the codes that its people choose from after a conversation, some more than once."""
    known = {code.code: code for code in cast.wrapup_codes}
    return {team.id: tuple(known[code] for code in plan.codes) for team, plan in zip(cast.teams, _PLANS, strict=True)}


def own_calls_by_team(cast: Centre) -> tuple[int, ...]:
    """The ids of teams, each as often as its people place calls."""
    return tuple(team.id for team, plan in zip(cast.teams, _PLANS, strict=True) for _ in range(plan.own))


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

"""Who of a demo is at work when, and who is free: shifts, breaks, leave, and the line of those who wait for work.

An agent who is free takes who waits longest, and of several free agents the one who is idle longest takes the next:
both are the first in a heap by the instant from which somebody is free. It is exact as long as work is handed out in
order of time; the roster lets nobody begin before they are free.
"""

from __future__ import annotations

import heapq
from typing import Final

from calldex.demo.cast import Agent, Centre
from calldex.demo.chance import draws, shuffled
from calldex.demo.course import DAY, weekday

Spells = tuple[tuple[int, int], ...]
"""When somebody works on a day: begins and ends in ms after midnight, breaks between them."""

_MINUTE: Final = 60_000
_SHIFTS: Final = (  # begin and end, minutes after midnight; as they are given out in a team
    (7 * 60, 15 * 60 + 30),
    (11 * 60 + 45, 20 * 60 + 15),
    (8 * 60, 16 * 60 + 30),
    (9 * 60 + 45, 18 * 60 + 15),
    (9 * 60, 17 * 60 + 30),
    (8 * 60 + 45, 13 * 60 + 15),
    (11 * 60 + 45, 20 * 60 + 15),
    (7 * 60 + 30, 16 * 60),
)
_SATURDAY: Final = (9 * 60, 17 * 60 + 15)
_LEAVE: Final = 0.09
_SICK: Final = 0.03
_DAYS_AHEAD: Final = 60
_DAYS_KEPT: Final = 4


class Roster:
    """The shifts of one team. The same seed gives the same days, in whatever order they are asked for."""

    def __init__(self, seed: int, team: int, size: int) -> None:
        self._seed, self._team, self._size = seed, team, size
        self._known: dict[int, list[Spells]] = {}
        self._away: dict[int, frozenset[int]] = {}

    def on(self, day: int) -> list[Spells]:
        """When each member works on a day (of the epoch); on a day off, no spells."""
        if (found := self._known.get(day)) is None:
            if len(self._known) >= _DAYS_KEPT:
                del self._known[min(self._known)]
            found = self._known[day] = self._made(day)
        return found

    def _made(self, day: int) -> list[Spells]:
        week_day, week = weekday(day * DAY), (day + 3) // 7
        spells: list[Spells] = [()] * self._size
        if week_day == 6:
            return spells
        draw = draws(self._seed, f"roster {self._team} {day}")
        away = self._on_leave(week)
        present = [
            member
            for member in (*range(week % self._size, self._size), *range(week % self._size))
            if draw() >= _SICK and member not in away
        ]
        if week_day == 5:  # a part of the team, another one each week
            present = present[: max(1, len(present) * 2 // 5)]
        for place, member in enumerate(present):
            begin, end = _SATURDAY if week_day == 5 else _SHIFTS[place % len(_SHIFTS)]
            spells[member] = _spells(begin, end, place + place // len(_SHIFTS), int(draw() * 4 * _MINUTE))
        return spells

    def _on_leave(self, week: int) -> frozenset[int]:
        """Who is on leave that week; of a small team at most one."""
        if week not in self._away:
            if len(self._away) >= _DAYS_KEPT:
                del self._away[min(self._away)]
            draw = draws(self._seed, f"leave {self._team} {week}")
            wishes = [member for member in range(self._size) if draw() < _LEAVE]
            self._away[week] = frozenset(shuffled(draw, wishes)[: max(1, self._size // 6)])
        return self._away[week]


def _spells(begin: int, end: int, turn: int, late: int) -> Spells:
    """A shift (minutes) with its breaks, which are taken in turns; it begins some ms later than it should."""
    length = end - begin
    breaks = [
        (begin + length * 9 // 20 - 15 + turn % 3 * 30, 30),
        (begin + 90 + turn % 4 * 15, 10),
        (end - 75 - turn % 4 * 15, 10),
    ]
    if length < 6 * 60:
        breaks = breaks[1:2]
    spells = []
    at = begin * _MINUTE + late
    for pause, minutes in sorted(breaks):
        spells.append((at, pause * _MINUTE))
        at = (pause + minutes) * _MINUTE
    return (*spells, (at, end * _MINUTE))


class Seat:
    """A place at which one interaction at a time is worked on; who talks has one, who writes has several.

    `free` is the instant (ms) from which the seat's agent is at work and has nothing to do, as far as it is known.
    """

    __slots__ = ("agent", "free", "lines", "member", "number", "pace", "roster")

    def __init__(self, agent: Agent, number: int, roster: Roster, member: int, pace: int) -> None:
        self.agent, self.number, self.roster, self.member = agent, number, roster, member
        self.pace = pace
        self.free = 0
        self.lines: tuple[Line, ...] = ()

    def at_work(self, at: int) -> int:
        """The instant itself if the agent is at work then, else when they are next."""
        day, rest = divmod(at, DAY)
        for begin, end in self.roster.on(day)[self.member]:
            if rest < end:
                return at if rest >= begin else day * DAY + begin
        for later in range(day + 1, day + _DAYS_AHEAD):
            if spells := self.roster.on(later)[self.member]:
                return later * DAY + spells[0][0]
        return (day + _DAYS_AHEAD) * DAY

    def busy(self, until: int) -> None:
        """The seat is taken up to an instant, and then stands in line again."""
        self.free = free = self.at_work(until)
        for line in self.lines:
            heapq.heappush(line, (free, self.number, self))


Line = list[tuple[int, int, Seat]]
"""The seats that a queue's calls can go to: a heap by `free`. What does not tell a seat's `free` any more is stale."""


def first(line: Line, at: int) -> Seat:
    """The seat that is free longest at an instant or, if none is, next; which work that comes then would get.

    If its `free` is not later than `at`, its agent is idle and at work.
    """
    while True:
        free, _, seat = line[0]
        if free != seat.free:
            heapq.heappop(line)
        elif free >= at or (begins := seat.at_work(at)) == at:
            return seat
        else:
            heapq.heappop(line)
            seat.free = begins
            for other in seat.lines:
                heapq.heappush(other, (begins, seat.number, seat))


def idle(line: Line, at: int) -> Seat | None:
    """The seat that is idle longest at an instant, if one is."""
    seat = first(line, at)
    return seat if seat.free <= at else None


class Staff:
    """Everybody who answers, in the lines of the queues (`lines`, by queue) and of their team (`teams`)."""

    def __init__(self, cast: Centre, seed: int, begin: int, at_once: dict[int, int]) -> None:
        """`at_once` says by team how many interactions one agent works on at a time; one if it is not told."""
        draw = draws(seed, "pace")
        sizes = dict.fromkeys((team.id for team in cast.teams), 0)
        for agent in cast.agents:
            sizes[agent.teams[0].id] += 1
        rosters = {team: Roster(seed, team, size) for team, size in sizes.items()}
        self.lines: dict[int, Line] = {queue.id: [] for queue in cast.queues}
        self.teams: dict[int, Line] = {team.id: [] for team in cast.teams}
        self.seats: list[Seat] = []
        members = dict.fromkeys(sizes, 0)
        for agent in cast.agents:
            team = agent.teams[0].id
            pace = 82 + int(draw() * 37)
            lines = (self.teams[team], *(self.lines[queue.id] for queue in cast.queues if queue.skill in agent.skills))
            for _ in range(at_once.get(team, 1)):
                seat = Seat(agent, len(self.seats), rosters[team], members[team], pace)
                seat.lines = lines
                self.seats.append(seat)
                seat.busy(begin)
            members[team] += 1

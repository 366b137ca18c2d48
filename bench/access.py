"""What rights cost: a reach of many agents, queues and teams, and a mask, beside the same without them in one run."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec

from bench.figures import SEED, WALK_PAGE, Figures, lines, milliseconds
from bench.service import Server, served
from calldex.access import Mask, Reach, permissions_of, scope_of
from calldex.access.masking import masked
from calldex.datadir import DIRECTORY_FILE
from calldex.demo import interactions
from calldex.directory import Directory
from calldex.directory.model import GroupChanges
from calldex.records.record import NamedKind

AGENTS, QUEUES, TEAMS = 200, 50, 20


def access(data: Path) -> Figures:
    """All of it."""
    with Directory.open(data / DIRECTORY_FILE) as directory:
        reach = Reach(
            agents=_some(directory, "agent", AGENTS),
            queues=_some(directory, "queue", QUEUES),
            teams=_some(directory, "team", TEAMS),
        )
        within = _hired(directory, "within", reach, ("see_cdrs", "see_details", "listen", "see_numbers"))
        blind = _hired(directory, "blind", Reach(whole=True), ("see_cdrs", "see_details", "listen"))
        principal = directory.find_key(within)
        assert principal is not None
        decided = _microseconds(lambda: (permissions_of(principal), scope_of(principal)))
    with served(data) as server:
        return {"scope_cached_us": decided, **_reached(server, within), **_masked(server, blind)}


def _some(directory: Directory, kind: NamedKind, most: int) -> tuple[int, ...]:
    """So many ids; where the records name fewer, ids that nothing has."""
    known = [entry.id for entry in directory.lookup(directory.account().id, kind)][:most]
    return tuple(sorted((*known, *range(2**52, 2**52 + most - len(known)))))


def _hired(directory: Directory, name: str, reach: Reach, permissions: tuple[str, ...]) -> str:
    directory.put_group("main", None, GroupChanges(name=name, permissions=permissions, reach=reach))
    directory.add_user(f"{name}@example.com", name.title(), groups=(name,))
    return directory.create_key(f"{name}@example.com")


def _reached(server: Server, within: str) -> Figures:
    """The newest page of 100 with its total: whole account and within the reach in turns."""
    began = time.perf_counter()
    server.get(key=within, per_page=99)
    first_ms = (time.perf_counter() - began) * 1e3
    whole, reached = _in_turns(
        lambda run: server.get(per_page=100 + run), lambda run: server.get(key=within, per_page=100 + run)
    )
    records = list(lines(interactions(40, SEED + 7)))

    def written(run: int) -> None:
        server.post(records[run])

    fresh = []
    for run in range(1, 20):
        written(run)
        began = time.perf_counter()
        server.get(key=within, per_page=100)
        fresh.append((time.perf_counter() - began) * 1e3)
    return {
        "reach_first_ms": round(first_ms, 2),
        "reach_whole_newest_100_ms": whole,
        "reach_newest_100_ms": reached,
        "reach_ratio": round(reached / whole, 2),
        "reach_newest_100_after_write_ms": round(statistics.median(fresh), 2),
    }


def _masked(server: Server, blind: str) -> Figures:
    """A page of 10,000, as it is and with its numbers masked."""
    plain, hidden = _in_turns(
        lambda run: server.get(per_page=WALK_PAGE - run), lambda run: server.get(key=blind, per_page=WALK_PAGE - run)
    )
    page = server.page(per_page=WALK_PAGE)
    json = b"\n".join(map(msgspec.json.encode, page["records"]))
    alone = milliseconds(lambda _: masked(json, Mask(numbers=True, match=False)))
    return {"mask_10000_ms": alone, "mask_page_plain_ms": plain, "mask_page_ms": hidden}


def _in_turns(one: Callable[[int], object], other: Callable[[int], object], times: int = 21) -> tuple[float, float]:
    """The median milliseconds of two things done in turns, so that a busy machine is busy for both."""
    one(0), other(0)
    taken: Sequence[list[float]] = ([], [])
    for run in range(1, times + 1):
        for work, into in zip((one, other), taken, strict=True):
            began = time.perf_counter()
            work(run)
            into.append((time.perf_counter() - began) * 1e3)
    return round(statistics.median(taken[0]), 2), round(statistics.median(taken[1]), 2)


def _microseconds(work: Callable[[], object], times: int = 10_000) -> float:
    began = time.perf_counter()
    for _ in range(times):
        work()
    return round((time.perf_counter() - began) / times * 1e6, 2)

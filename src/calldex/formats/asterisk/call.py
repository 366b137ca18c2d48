"""What the rows of one call say, put in order: facts, from which `direction`, `outcome`, `transfers` and `lengths`
conclude. Nothing is decided here but what contradicting rows leave open.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from functools import cached_property
from typing import Final

from msgspec.json import encode

from calldex.formats.asterisk.rows import (
    JITTER,
    CdrPath,
    CdrRow,
    QueueRow,
    caller,
    dial_targets,
    digits,
    disagrees,
    epoch_of,
    fit,
    id_rank,
    is_local,
    number,
    path_of,
    whole,
)
from calldex.formats.asterisk.settings import Profile, peer_of
from calldex.formats.asterisk.visits import QueueEvent, Visit, order_in_second, queue_event_of, visits_of

_QUARTER: Final = timedelta(minutes=15)


class Call:
    """The rows of a call in order of time, whichever order they came in.

    Rows of contexts that are no calls count for nothing but the call's key.
    """

    def __init__(self, rows: Iterable[CdrRow | QueueRow], known: Profile) -> None:
        rows = sorted(set(rows), key=encode)
        cdr_rows = [row for row in rows if isinstance(row, CdrRow)]
        queue_rows = [row for row in rows if isinstance(row, QueueRow)]
        names = {name for row in cdr_rows for name in (row.linkedid, row.uniqueid)}
        names |= {row.callid for row in queue_rows}
        self.profile = known
        self.key = min(names - {""}, key=id_rank, default="")
        """The id of the call's first channel; '' if no row has an id."""
        self.paths = sorted(
            (path_of(row, known) for row in cdr_rows if not known.no_calls.match(row.dcontext)),
            key=lambda path: (path.start, id_rank(path.row.uniqueid), digits(path.row.sequence)),
        )
        self.queue_events = sorted(
            (queue_event_of(row, self.shifted) for row in queue_rows),
            key=lambda event: (event.at, order_in_second(event.row)),
        )
        self.visits = visits_of(self.queue_events, self._ends.get)

    @cached_property
    def _ends(self) -> dict[str, datetime]:
        """When each channel that has rows of its own was gone, by its id."""
        ends: dict[str, datetime] = {}
        for path in self.paths:
            name = path.row.uniqueid or path.row.linkedid
            if path.end is not None:
                ends[name] = max(path.end, ends.get(name, path.end))
        return ends

    @cached_property
    def own_paths(self) -> list[CdrPath]:
        """The rows of the call's first channel, in order; those of the oldest channel known if its own are missing."""
        if not self.paths:
            return []
        first = min(self.paths, key=lambda path: id_rank(path.row.uniqueid))
        return [path for path in self.paths if path.row.uniqueid == first.row.uniqueid]

    @cached_property
    def _off(self) -> timedelta | None:
        """How far local times and ids contradict each other; None if they do not."""
        first: dict[str, CdrPath] = {}
        for path in self.paths:
            first.setdefault(path.row.uniqueid, path)
        for name, path in first.items():
            epoch = epoch_of(name)
            if epoch is not None and disagrees(path.start, epoch):
                return path.start - epoch
        return None

    @property
    def zone_suspect(self) -> bool:
        """Whether local times and ids contradict each other as they do if the source's zone is wrong."""
        return self._off is not None

    @cached_property
    def shifted(self) -> timedelta:
        """By how many quarters of an hour the source's zone makes CDR rows differ from the queue log, which is UTC."""
        if self._off is None:
            return timedelta()
        quarters = round(self._off / _QUARTER) * _QUARTER
        return quarters if abs(self._off - quarters) <= JITTER else timedelta()

    @cached_property
    def is_suspect(self) -> bool:
        """Whether times of the call contradict each other."""
        rows = any(path.suspect for path in self.paths) or any(event.suspect for event in self.queue_events)
        return self.zone_suspect or rows

    @cached_property
    def started_at(self) -> datetime:
        """The first start. If the first channel has no row of its own, the second in its id counts as well."""
        starts = [path.start for path in self.paths]
        epoch = epoch_of(self.key)
        if epoch is not None and not self.zone_suspect and all(path.row.uniqueid != self.key for path in self.paths):
            starts.append(epoch)
        return min([*starts, *(event.at for event in self.queue_events)])

    @cached_property
    def last_seen(self) -> datetime:
        """The last moment that any row tells of."""
        moments = [self.started_at, *(event.at for event in self.queue_events)]
        moments += [moment for path in self.paths for moment in (path.start, path.end) if moment is not None]
        return max(moments)

    @cached_property
    def is_open(self) -> bool:
        """Whether a caller is still in a queue or with its agent, as far as is known. A CDR row is written when its
        path is over, so rows alone never say that a call goes on."""
        return any(visit.finish is None for visit in self.visits)

    @cached_property
    def ended_at(self) -> datetime | None:
        """The end of the last row or queue stay; None while one goes on, or if no row tells it."""
        if self.is_open:
            return None
        ends = [path.end for path in self.paths if path.end is not None]
        ends += [visit.finish for visit in self.visits if visit.finish is not None]
        return max(self.started_at, *ends) if ends else None

    @cached_property
    def served(self) -> list[Visit]:
        """The queue stays in which an agent answered."""
        return [visit for visit in self.visits if visit.served is not None]

    @cached_property
    def conversations(self) -> list[CdrPath]:
        """The rows in which two people's channels were joined, in order of the answer.

        A queue's own row is none if the queue log says that the caller left unserved.
        """
        unserved = bool(self.visits) and not self.served and all(visit.left is not None for visit in self.visits)
        talks = [path for path in self.paths if path.is_person and not (unserved and path.is_queue)]
        return sorted(talks, key=lambda path: path.answered_at or path.start)

    def member(self, token: str) -> str | None:
        """The name of a queue's member. Of one that is called through a Local channel and has no name in the settings,
        it is that of the telephone which this led to."""
        peer = peer_of(token).removesuffix("/n")
        if is_local(peer) and peer not in self.profile.agents:
            return self._behind_local.get(peer) or fit(self.profile.person(token), 200)
        return fit(self.profile.person(token), 200)

    @cached_property
    def _behind_local(self) -> dict[str, str | None]:
        """Who answered behind each Local channel, by its name without what is new for each call."""
        return {
            peer_of(path.row.channel): fit(self.profile.person(path.row.dstchannel), 200)
            for path in reversed(self.conversations)
            if is_local(path.row.channel)
        }

    @cached_property
    def queue_paths(self) -> list[CdrPath]:
        """The rows that a queue wrote."""
        return [path for path in self.paths if path.is_queue]

    @cached_property
    def marks(self) -> set[str]:
        """What may tell a dialer or a click-to-call: contexts, account codes, user fields."""
        return {
            mark
            for path in self.paths
            for mark in (path.row.dcontext, path.row.accountcode, path.row.userfield)
            if mark
        }

    @cached_property
    def first_device(self) -> str:
        """The channel that was called first where the PBX itself began the call (Originate); behind a Local channel,
        the one that this led to. '' if no row names it."""
        if not self.own_paths:
            return ""
        channel = self.own_paths[0].row.channel
        if not is_local(channel):
            return channel
        led_to = (
            path.row.dstchannel
            for path in self.paths
            if whole(path.row.channel) == whole(channel) and path.row.dstchannel and not is_local(path.row.dstchannel)
        )
        return next(led_to, "")

    @cached_property
    def went_somewhere(self) -> bool:
        """Whether anything was called or answered: a channel, what a Dial names, the dialplan itself."""
        return any(path.row.dstchannel or path.outcome == "answered" or dial_targets(path.row) for path in self.paths)

    @cached_property
    def number_from(self) -> str | None:
        """Who calls."""
        numbers = [number(path.row.src) or number(caller(path.row)[1]) for path in self.own_paths]
        numbers += [number(event.row.parameters[1]) for event in self._with("ENTERQUEUE", 2)]
        return next(filter(None, numbers), None)

    @cached_property
    def number_dialled(self) -> str | None:
        """The number the call's first channel dialled, as it was dialled."""
        numbers = [number(path.row.dst) for path in self.own_paths]
        numbers += [number(event.row.queue) for event in self.queue_events if event.row.queue.isdigit()]
        return next(filter(None, numbers), None)

    @cached_property
    def number_outside(self) -> str | None:
        """The number of the first row that went out over a trunk, as it was dialled."""
        is_trunk = self.profile.is_trunk
        numbers = [
            number(path.row.dst)
            for path in self.paths
            if is_trunk(path.row.dstchannel) or any(is_trunk(target) for target, _ in dial_targets(path.row))
        ]
        return next(filter(None, numbers), None)

    @cached_property
    def did(self) -> str | None:
        """The number of the house that was called from outside, if something says so or the dialled one looks it: it
        is none of the house's own extensions and queues."""
        numbers = [number(path.row.did) for path in self.paths]
        numbers += [number(event.row.parameters[0]) for event in self._with("DID", 1)]
        dialled = (number(path.row.dst) for path in self.own_paths)
        numbers += [each for each in dialled if each and each.isdigit() and not self.is_inside(each)]
        return next(filter(None, numbers), None)

    def is_inside(self, dialled: str) -> bool:
        """Whether a number is an extension or a queue: by the settings, or because what it reached is called so."""
        return self.profile.is_extension(dialled) or dialled in self._inside

    @cached_property
    def _inside(self) -> set[str]:
        names = {visit.queue for visit in self.visits} | {queue_of(path.row) for path in self.queue_paths}
        reached = {path.row.dstchannel for path in self.paths} | {
            target for path in self.paths for target, _ in dial_targets(path.row)
        }
        return names | {peer_of(name).partition("/")[2] for name in reached if not self.profile.is_trunk(name)}

    def _with(self, event: str, parameters: int) -> Sequence[QueueEvent]:
        return [e for e in self.queue_events if e.row.event == event and len(e.row.parameters) >= parameters]


def queue_of(row: CdrRow) -> str:
    """The queue that a row of the application Queue names."""
    return row.lastdata.split(",")[0].split("|")[0].strip()

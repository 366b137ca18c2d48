"""What every CRM is given: calls that are new or changed, with the contact whose number theirs is, in requests as large
as the vendor takes, several at a time, at the vendor's pace.

What a CRM has of a call is remembered by its uuid: the vendor's id and a digest of what was sent. A call of which the
CRM would be sent the same again is not sent. A vendor that knows no id of ours (`keyed` is false) would make a second
call of a request that is repeated; there it is remembered that a call is about to be sent, and one of which no answer
came is looked up, or listed if the vendor offers no way to.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Final, Literal, TypeVar

import msgspec
import structlog
from msgspec import Meta

from calldex.clock import now_ms
from calldex.sync.crm.call import Call, NotACall, call_of, e164
from calldex.sync.crm.http import Http, Refused, Unavailable, Unsure
from calldex.sync.destinations import Batch, Context, Destination, DestinationProblem, Failed, Region
from calldex.sync.stopping import Stopped

T = TypeVar("T")

_FINAL: Final = frozenset((400, 404, 413, 422))
"""The same request would be refused again."""
_SENDING: Final = "? ?"
"""Remembered of a call that is about to be sent to a vendor who does not know our ids."""
_SEARCH_LAG_S: Final = 3600
"""How long a contact that was made here is known without a CRM's search finding it."""

log = structlog.get_logger()


class CrmOptions(Destination.Options, frozen=True, kw_only=True):
    """What the file says of every CRM."""

    region: Region | None = None
    """Where numbers without a country code belong, as `GB`, in records and in the CRM."""
    contacts: Literal["match", "create", "none"] = "match"
    """Whether calls are put to the contact who has the number, whether one is made where there is none."""
    several: Literal["oldest", "newest", "none"] = "oldest"
    """Which of several contacts with the same number a call is put to."""
    agents: dict[str, str] = msgspec.field(default_factory=dict)
    """The CRM's id of the user who is an agent, by the agent's name or id."""
    agent: str | None = None
    """The CRM's id of the user for all other calls."""
    timeout_s: Annotated[float, Meta(gt=0, le=120)] = 30
    """How long one answer may take."""
    tries: Annotated[int, Meta(ge=1, le=20)] = 6
    """How often one request is sent before the run is given up."""


@dataclass(frozen=True)
class Contact:
    """Somebody in the CRM with their numbers as they stand there. Of several the one with the lowest `rank` counts,
    then the oldest by `created`, a text or number that grows."""

    id: str
    numbers: Sequence[str]
    created: str
    rank: int = 0


@dataclass(frozen=True)
class Item:
    """A call to send, and what it is in the vendor's words. `known`: the vendor's id, if the CRM has the call."""

    call: Call
    contact: str | None
    payload: Mapping[str, Any]
    known: str | None

    @property
    def digest(self) -> str:
        """Equal for what would be sent equally."""
        text = json.dumps([self.payload, self.contact], sort_keys=True, default=str)
        return hashlib.sha256(text.encode()).hexdigest()[:32]


@dataclass(frozen=True)
class Took:
    """The CRM has the call, under this id. `lacking` says why it has not all of it; what it lacks is sent again."""

    id: str
    lacking: str = ""


Outcome = Took | Failed


class Crm(Destination):
    """The base. A vendor's class says `vendor`, how many calls one request takes (`size`), whether it knows them by
    our uuid (`keyed`), and how the things below are done."""

    vendor: ClassVar[str]
    size: ClassVar[int]
    keyed: ClassVar[bool] = False
    find_size: ClassVar[int] = 100
    """For how many numbers contacts are looked up at once."""
    workers: ClassVar[int] = 8
    """How many requests are under way at once: so that a vendor's limit is reached although it answers slowly."""
    batch_size: ClassVar[int] = 2000

    def __init__(self, options: Any, context: Context) -> None:
        super().__init__(options, context)
        self.http: Http = self.connect()
        self._prepared = False
        self._memory = context.remembered

    def connect(self) -> Http:
        """The vendor's API."""
        raise NotImplementedError

    def prepare(self, *, make: bool) -> None:
        """Try the connection and the rights; if told to, make what the CRM lacks to know our calls. Raises
        `Unavailable`, `Refused`."""
        raise NotImplementedError

    def read(self, record: Mapping[str, Any]) -> Call:
        """The call that a record is. Raises `NotACall`."""
        return call_of(record, self.options.region)

    def payload(self, call: Call) -> Mapping[str, Any]:
        """A call in the vendor's words, as JSON; `ValueError` says what it lacks."""
        raise NotImplementedError

    def send(self, items: Sequence[Item]) -> Mapping[str, Outcome]:
        """Send calls, at most `size`, and say by uuid what became of each; what is left out failed. Raises `Refused`
        if the vendor took none of them, `Unsure`, `Unavailable`."""
        raise NotImplementedError

    def remove(self, known: Mapping[str, str | None]) -> Sequence[Failed]:
        """Take calls out of the CRM, at most `size`, given as uuid and the vendor's id if it is remembered."""
        raise NotImplementedError

    def find(self, numbers: Sequence[str]) -> Sequence[Contact]:
        """The contacts who may have these numbers (E.164), at most `find_size`."""
        raise NotImplementedError

    def make(self, numbers: Sequence[str]) -> Mapping[str, str]:
        """Make a contact for each number, and say their ids."""
        raise NotImplementedError

    def look(self, item: Item) -> str | None:
        """The vendor's id of a call that may have been sent, None if it was not; `NotImplementedError` if the vendor
        has no way to know."""
        raise NotImplementedError

    def check(self) -> None:
        """See `Destination`."""
        try:
            self.prepare(make=False)
        except (Refused, Unavailable, Unsure) as error:
            raise DestinationProblem(str(error)) from None

    def close(self) -> None:
        """See `Destination`."""
        self.http.close()

    def apply(self, batch: Batch) -> Sequence[Failed]:
        """See `Destination`."""
        try:
            if not self._prepared:
                self.prepare(make=True)
                self._prepared = True
            calls, failed = self._calls(batch)
            contacts = self._contacts(call.customer_e164 for call in calls)
            items, lacking = self._items(calls, contacts)
            gone = {change.uuid: self._remembered(change.uuid) for change in batch.changes if change.json is None}
            failed += lacking
            failed += self._sent(items)
            failed += self._removed({uuid: known.id if known else None for uuid, known in gone.items()})
        except (Refused, Unavailable, Unsure) as error:
            raise DestinationProblem(str(error)) from None
        return failed

    def _calls(self, batch: Batch) -> tuple[list[Call], list[Failed]]:
        calls, failed = [], []
        left_out: Counter[str] = Counter()
        for change in batch.changes:
            if change.record is None:
                continue
            try:
                calls.append(self.read(change.record))
            except NotACall as reason:
                left_out[str(reason)] += 1
            except (KeyError, ValueError) as error:
                failed.append(Failed(change.uuid, f"the record cannot be read: {error!r}", retry=False))
        if left_out:
            log.info("records that are no ended calls with a customer are not sent", why=dict(left_out))
        return calls, failed

    def _contacts(self, numbers: Iterable[str | None]) -> dict[str, str]:
        """The id of the contact of each number that has one."""
        wanted = sorted({number for number in numbers if number})
        if self.options.contacts == "none" or not wanted:
            return {}
        found: dict[str, list[Contact]] = {}
        with ThreadPoolExecutor(self.workers) as pool:
            for contacts in pool.map(self.find, _chunks(wanted, self.find_size)):
                for contact in contacts:
                    for number in {e164(text, self.options.region) for text in contact.numbers}:
                        if number:
                            found.setdefault(number, []).append(contact)
        chosen = {number: self._one(found[number]) for number in wanted if number in found}
        known = {number: one for number, one in chosen.items() if one is not None}
        if self.options.contacts == "create":
            known |= self._made([number for number in wanted if number not in found])
        return known

    def _one(self, contacts: Sequence[Contact]) -> str | None:
        """The rule for several contacts with one number."""
        best = min(contact.rank for contact in contacts)
        those = {contact.id: contact for contact in contacts if contact.rank == best}
        if len(those) > 1 and self.options.several == "none":
            return None
        ordered = sorted(those.values(), key=lambda contact: (contact.created, len(contact.id), contact.id))
        return ordered[-1 if self.options.several == "newest" else 0].id

    def _made(self, numbers: Sequence[str]) -> dict[str, str]:
        now_s, made, wanted = now_ms() / 1000, {}, []
        for number in numbers:
            at, _, id_ = self._memory.get(f"contact:{number}", "0 ").partition(" ")
            if float(at) > now_s - _SEARCH_LAG_S:
                made[number] = id_
            else:
                wanted.append(number)
        for some in _chunks(wanted, self.find_size):
            fresh = self.make(some)
            self._memory.update({f"contact:{number}": f"{now_s:.0f} {id_}" for number, id_ in fresh.items()})
            made |= fresh
        return made

    def _items(self, calls: Sequence[Call], contacts: Mapping[str, str]) -> tuple[list[Item], list[Failed]]:
        """What is to be sent: the calls that are not known as they are now."""
        items, failed = [], []
        for call in calls:
            contact = contacts.get(call.customer_e164 or "")
            known = self._remembered(call.uuid)
            try:
                item = Item(call, contact, self.payload(call), known.id if known else None)
            except ValueError as lack:
                failed.append(Failed(call.uuid, str(lack), retry=False))
                continue
            if known is None or known.digest != item.digest:
                items.append(item)
        if self.keyed:
            return items, failed
        ready = []
        for item in items:
            if self._memory.get(f"call:{item.call.uuid}") == _SENDING:
                problem = self._found_out(item)
                failed += [problem] if problem else []
                ready += [] if problem or self._remembered(item.call.uuid) else [item]
            else:
                ready.append(item)
        return ready, failed

    def _found_out(self, item: Item) -> Failed | None:
        """Of a call of which no answer came: note whether the CRM has it."""
        try:
            id_ = self.look(item)
        except NotImplementedError:
            words = (
                f"no answer came from {self.vendor} when it was sent, which may have it; see how to go on in the guide"
            )
            return Failed(item.call.uuid, words, retry=False)
        if id_ is None:
            del self._memory[f"call:{item.call.uuid}"]
        else:
            self._memory[f"call:{item.call.uuid}"] = f"{id_} {item.digest}"
        return None

    def _sent(self, items: Sequence[Item]) -> list[Failed]:
        failed: list[Failed] = []
        ended: list[Exception] = []
        chunks = list(_chunks(items, self.size))
        if not self.keyed:
            self._memory.update({f"call:{item.call.uuid}": _SENDING for item in items if item.known is None})
        with ThreadPoolExecutor(self.workers) as pool:
            for some, (outcomes, error) in zip(chunks, pool.map(self._tried, chunks), strict=True):
                failed += self._noted(some, outcomes, error)
                if isinstance(error, Unavailable | Stopped):
                    ended.append(error)
        if ended:
            raise ended[0]
        return failed

    def _tried(self, items: Sequence[Item]) -> tuple[Mapping[str, Outcome], Exception | None]:
        """What became of calls, and what ended it. Those that a vendor refuses together are sent in halves, until it
        is known which one it is."""
        try:
            return self.send(items), None
        except Refused as refused:
            if len(items) == 1:
                failure = Failed(items[0].call.uuid, str(refused), retry=refused.status not in _FINAL)
                return {failure.uuid: failure}, None
        except (Unavailable, Unsure, Stopped) as trouble:
            return {}, trouble
        middle = len(items) // 2
        first, error = self._tried(items[:middle])
        if isinstance(error, Unavailable | Stopped):
            return first, error
        second, other = self._tried(items[middle:])
        return {**first, **second}, other or error

    def _noted(self, items: Sequence[Item], outcomes: Mapping[str, Outcome], error: Exception | None) -> list[Failed]:
        """Remember what the CRM has, and tell what it has not."""
        took: dict[str, str] = {}
        failed: list[Failed] = []
        not_sent = []
        for item in items:
            uuid = item.call.uuid
            outcome = outcomes.get(uuid)
            if outcome is None and isinstance(error, Unsure):
                failed.append(Failed(uuid, str(error), retry=True))
                continue  # it stays noted that it may have been sent
            if isinstance(outcome, Took):
                took[f"call:{uuid}"] = f"{outcome.id} {'-' if outcome.lacking else item.digest}"
                failed += [Failed(uuid, outcome.lacking, retry=True)] if outcome.lacking else []
                continue
            if item.known is None:
                not_sent.append(uuid)
            if isinstance(outcome, Failed):
                failed.append(outcome)
            elif error is None:
                failed.append(Failed(uuid, f"{self.vendor} said nothing of it", retry=True))
        self._memory.update(took)
        for uuid in () if self.keyed else not_sent:
            del self._memory[f"call:{uuid}"]
        return failed

    def _removed(self, known: Mapping[str, str | None]) -> list[Failed]:
        failed: list[Failed] = []
        for uuids in _chunks(list(known), self.size):
            problems = self.remove({uuid: known[uuid] for uuid in uuids})
            failed += problems
            for uuid in set(uuids) - {problem.uuid for problem in problems}:
                self._memory.pop(f"call:{uuid}", None)
        return failed

    def _remembered(self, uuid: str) -> _Known | None:
        text = self._memory.get(f"call:{uuid}", "")
        id_, _, digest = text.rpartition(" ")
        return None if text in ("", _SENDING) else _Known(id_, digest)

    def user(self, call: Call) -> str | None:
        """The CRM's id of the user who is a call's agent."""
        agents = self.options.agents
        found: str | None = agents.get(call.agent or "") or agents.get(str(call.agent_id)) or self.options.agent
        return found


@dataclass(frozen=True)
class _Known:
    """What the CRM has of a call: its id there, and a digest of what was sent last; `-` if not all of it was."""

    id: str
    digest: str


def _chunks(values: Sequence[T], size: int) -> Iterator[Sequence[T]]:
    for start in range(0, len(values), size):
        yield values[start : start + size]

"""What a store must offer: how records go in and answers come out.

A store keeps versions of records (see `docs/architecture.md`). Each write is one commit. The versions of each account
are numbered for themselves, in the order of commits; a commit has the number of its last one. A record is visible "as
of S" when its version began at or before S and was not superseded by then. Everything that reads takes S, so that a
walk over many pages sees one state of the data, whatever is written meanwhile.

Each engine, or two that work together, has a folder beside this file; all pass `tests/store`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from enum import Enum
from pathlib import Path
from typing import Any, Final, Protocol

import msgspec

from calldex.access import Scope
from calldex.records.record import CallRow, Cdr
from calldex.search.query import Query
from calldex.search.statistics import Grouping

RECEIPT_MS: Final = 24 * 3600 * 1000
"""How long a receipt counts; an older one is as if it were not there."""


class Outcome(Enum):
    """What became of one record that was written."""

    ACCEPTED = "accepted"
    """It is new."""
    UPDATED = "updated"
    """It replaces an earlier version."""
    UNCHANGED = "unchanged"
    """It is what is already kept; nothing was written."""
    DELETED = "deleted"
    """It was there, and is removed."""
    ABSENT = "absent"
    """It was to be removed, and was not there; nothing was written."""


class Position(msgspec.Struct, frozen=True):
    """Where a record stands: newest start first, then greatest uuid."""

    started_ms: int
    uuid: str


class Slice(msgspec.Struct, frozen=True):
    """Some records in their order: their JSON, a line each, how many, and where the last one stands."""

    json: bytes
    count: int
    last: Position | None


class Span(msgspec.Struct, frozen=True):
    """Commit numbers from `first` to `last`, both included."""

    first: int
    last: int


class Head(msgspec.Struct, frozen=True):
    """How far a chain of commits has come: the number of the last one, and its link (empty where none is kept)."""

    seq: int
    hash: bytes


class Reject(msgspec.Struct, frozen=True):
    """A piece of input for the quarantine."""

    reason: str
    where: str
    raw: bytes


class Quarantined(msgspec.Struct, frozen=True, kw_only=True):
    """A piece of input in the quarantine."""

    id: int
    account_id: int
    source: str
    format: str
    origin: str
    where: str
    reason: str
    raw: bytes
    at_ms: int


class Receipt(msgspec.Struct, frozen=True):
    """The answer once given to a request that named an idempotency key, and the digest of that request's body."""

    digest: bytes
    answer: bytes


class AlreadyAnswered(Exception):
    """A batch's request was carried out before, under the same key: nothing of it is written, and it gets the `answer`
    of then."""

    def __init__(self, answer: bytes) -> None:
        super().__init__()
        self.answer = answer


class Prepared(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """A record as stores keep it: its uuid, its columns (`sql.values`) and its JSON. See `sql.prepared`."""

    uuid: str
    values: tuple[int | str, ...]
    json: bytes


class Batch(msgspec.Struct, frozen=True, kw_only=True):
    """What is written in one commit, all of it or nothing.

    `records` in the order in which they arrived, `Prepared` where another process has read them; `removed`, uuids that
    ceased to be interactions of their own, or that their source took back; `rows`, rows of calls of `source`; `rejects`
    for the quarantine; `released`, ids to be taken out of it. `receipt` makes the answer to remember under an
    idempotency key from the outcomes of the batch; when it raises `IdempotencyMismatch` or `AlreadyAnswered`, nothing
    of the batch is written.
    """

    account_id: int
    source: str
    format: str
    origin: str
    records: Sequence[Cdr | Prepared] = ()
    removed: Sequence[str] = ()
    rows: Sequence[CallRow] = ()
    rejects: Sequence[Reject] = ()
    released: Sequence[int] = ()
    receipt_key: str | None = None
    receipt: Callable[[Sequence[Outcome]], Receipt] | None = None


class Version(msgspec.Struct, frozen=True):
    """One version of a record: the commit that began it, the one that ended it (None: live), its JSON (None: erased),
    and when it was written."""

    seq: int
    seq_to: int | None
    uuid: str
    json: bytes | None
    written_ms: int


class Change(msgspec.Struct, frozen=True, gc=False):
    """A version that began: the commit that began it, its uuid as 16 bytes, and when that was; whether it matches what
    was asked (a tombstone does not). `erased`: it is a tombstone."""

    seq: int
    uuid: bytes
    at_ms: int
    matches: bool
    erased: bool


class Changes(msgspec.Struct, frozen=True):
    """The versions that began behind a commit, in the order of commits, and the JSON of those that match, a line
    each; up to the commit `upto`; whether there are `more` behind it. Nothing can come behind `upto` any more that
    was committed before `complete_ms`."""

    changes: Sequence[Change]
    json: bytes
    upto: int
    more: bool
    complete_ms: int


class Loaded(msgspec.Struct, frozen=True):
    """A version as another store has it: the commit that began it and the one that ended it (None: none), its uuid as
    16 bytes, its values (as `sql.VALUE_NAMES`), its JSON (None: a tombstone, whose `values` count for their start
    alone), and when it was written and ended (0: not)."""

    seq: int
    seq_to: int | None
    uuid: bytes
    values: Sequence[Any]
    json: bytes | None
    written_ms: int
    ended_ms: int


class DayCheck(msgspec.Struct, frozen=True):
    """How one UTC day of one account compares between the parts of a store: live records and a checksum over them."""

    account_id: int
    day: str
    kept: int
    answering: int
    equal: bool


class State(msgspec.Struct, frozen=True, kw_only=True):
    """Whether a store can answer searches; if not, how far it has come: `behind` of `total` commits, of all accounts,
    since those are brought up to date in one. `damaged`: how many versions are refused as they are not what was
    written."""

    ready: bool
    behind: int
    total: int
    reason: str | None = None
    damaged: int = 0

    @property
    def left_percent(self) -> int:
        """How much of what was committed cannot be searched yet, for whoever is not to learn how much others write."""
        return max(100 * self.behind // max(self.total, 1), 1) if self.behind else 0

    @property
    def left(self) -> str:
        """The same in words."""
        return f"{self.left_percent} % of what was committed is left"


class Mentioned(msgspec.Struct, frozen=True, kw_only=True):
    """What some records name: the ids of agents, queues, campaigns and teams, and the codes of wrap-up codes."""

    agents: frozenset[int]
    queues: frozenset[int]
    campaigns: frozenset[int]
    teams: frozenset[int]
    wrapup_codes: frozenset[str]


class MissedLine(msgspec.Struct, frozen=True):
    """The missed calls of one caller that the same call answered, or that none did: when the first and the last began,
    how many there are, the uuids of the newest, what became of them, and the call that answered them."""

    first_ms: int
    last_ms: int
    attempts: int
    uuids: Sequence[str]
    state: int
    answer_ms: int | None
    answer_uuid: str | None

    @property
    def position(self) -> Position:
        """Where the line stands: as its last call does."""
        return Position(self.last_ms, self.uuids[0])


class MissedAsk(msgspec.Struct, frozen=True, kw_only=True):
    """Which lines are wanted: so many behind a position, after skipping some; `last` are the uuids of calls that one
    must, or (`without`) must not, end with."""

    limit: int
    after: Position | None = None
    skip: int = 0
    last: Sequence[str] | None = None
    without: bool = False


class ChangeLog(Protocol):
    """What was committed, in the order of commits. As soon as a commit is acknowledged it is in here, whether or not it
    can be searched yet."""

    def since(self, query: Query, after: int, base: int, limit: int) -> Changes:
        """What began behind the commit `after` in the query's account, `limit` versions at the most, and which of it
        the query means: of versions that ended by the commit `base`, none."""

    def superseded(self, query: Query, after: int, since: int, upto: int) -> dict[bytes, int]:
        """The records (uuids as 16 bytes) whose versions as of the commit `after` matched and ended behind `since`, by
        `upto`: with the commit that ended them."""

    def last(self, account_id: int) -> int:
        """The last commit of an account; 0 if there is none."""

    def before(self, account_id: int, at_ms: int) -> int:
        """The last commit before an instant; 0 if there is none."""


class Capabilities(msgspec.Struct, frozen=True, kw_only=True):
    """What a store can do, and how it is best used: how many batches of an import (see `ingest.pipeline`) to commit as
    one, how long to wait at least between two purges, how often to look whether something was committed, and by what it
    is backed up, if `Care.backup` cannot do it."""

    batches_at_once: int = 1
    purge_every_s: float = 0.0
    look_every_s: float = 0.02
    backed_up_by: str | None = None


class Records(Protocol):
    """Records as of a commit S. Reads raise `StoreNotReady` while answers cannot be given, `QueryTimeout` beyond their
    time, and `TokenExpired` as of a commit behind which versions were purged."""

    def head(self, account_id: int) -> int:
        """The newest S as of which this account can be searched."""

    def head_at_once(self, account_id: int) -> int | None:
        """The same where it can be told without waiting for anything, so that the event loop may ask; else None."""

    def purged_upto(self, account_id: int) -> int:
        """Versions of this account that were superseded up to this commit are gone: a search as of an earlier one
        would not be complete."""

    def total(self, query: Query, as_of: int) -> int:
        """How many records match."""

    def slice(
        self, query: Query, as_of: int, *, limit: int, total: int, after: Position | None = None, skip: int = 0
    ) -> Slice:
        """The first `limit` matching records behind a position, after skipping some. `total` tells how many match
        in all, which helps to look in the right place."""

    def walk(
        self, query: Query, as_of: int, *, size: int, total: int, passed: int = 0, after: Position | None = None
    ) -> Iterator[Slice]:
        """The matching records behind a position, `size` at a time. `total` tells how many match in all, `passed` how
        many of them are not behind it."""

    def aggregate(self, query: Query, as_of: int, grouping: Grouping) -> list[tuple[Any, ...]]:
        """What is measured of the groups of the records that match, in the order of their values: of each the begin of
        its bucket, if there are buckets, its values and its measures, as columns keep them. Of no group, one row."""

    def missed(self, query: Query, as_of: int, ask: MissedAsk) -> tuple[int, list[MissedLine]]:
        """How many lines of missed calls match, and some of them, the newest last call first: see `search.missed`. Of
        no line that is given, the number may be 0 all the same."""

    def mentioned(self, scope: Scope) -> Mentioned:
        """What the live records of a scope name."""

    def get(self, account_id: int, uuid: str) -> Version | None:
        """The live version of a record, whatever state the answers are in."""

    def written(self, account_id: int, uuids: Sequence[str], as_of: int) -> dict[str, int]:
        """When the versions of these records were committed that are visible as of a commit, in epoch milliseconds."""

    def history(self, account_id: int, uuid: str) -> list[Version]:
        """Every version of a record that is still kept, oldest first."""


class Writing(Protocol):
    """Records go in, and are erased; what belongs to them is kept in the same commit."""

    def write(self, batch: Batch, *, wait: bool = True) -> list[Outcome]:
        """Commit a batch; one outcome for each record, then one for each of `removed`. When it returns, the batch is
        durable, and with `wait` also visible to searches. Raises `DiskFull`; then nothing of the batch was written."""

    def write_all(self, batches: Sequence[Batch]) -> list[list[Outcome] | Exception]:
        """Commit some batches that came at once, for little more than one costs: of each its outcomes, or why nothing
        of it was written. When it returns, they are durable and visible."""

    def assemble(self, account_id: int, make: Callable[[], Batch]) -> list[Outcome]:
        """Commit the batch that `make` makes of rows that are kept: until it is durable, nobody on any node changes
        rows of calls of this account. It need not be visible yet. Raises what `write` and `make` raise."""

    def settle(self) -> None:
        """Return when everything committed is visible to searches. Raises `DiskFull`, or `StoreNotReady` when that
        does not come nearer; what was committed is kept all the same."""


class Staging(Protocol):
    """What is kept beside records, and is written with them: rows of calls, the quarantine, receipts."""

    def rows_of_calls(self, account_id: int, source: str, links: Sequence[str]) -> list[CallRow]:
        """Every kept row that is tied to one of these links, directly or through other rows."""

    def rows_of_source(self, account_id: int, source: str, after: int, limit: int) -> list[tuple[int, CallRow]]:
        """So many kept rows of a source behind an id, in the order in which they came, each with its id."""

    def count_rows(self, account_id: int, source: str) -> int:
        """How many rows of a source are kept."""

    def known_rows(self, account_id: int, source: str, keys: Sequence[bytes]) -> set[bytes]:
        """Which of these rows are kept already."""

    def receipt(self, account_id: int, key: str) -> Receipt | None:
        """What was answered under an idempotency key in the last 24 hours."""

    def quarantined(self, account_id: int | None = None, reason: str | None = None) -> Iterator[Quarantined]:
        """What lies in the quarantine, of one account or for one reason if that is given, oldest first."""

    def quarantine_size(self) -> int:
        """How many pieces lie in the quarantine, of all accounts."""


class Care(Protocol):
    """What keeps a store sound, and tells how it is."""

    def purge(self, now_ms: int) -> int:
        """Drop what was superseded longer ago than any token lives, and old receipts; how many versions went."""

    def check(self) -> Iterator[DayCheck]:
        """Compare the parts of the store day by day."""

    def integrity(self) -> list[str]:
        """What is wrong with the files and the versions in them; empty when all is sound. Who asks for a version that
        is not what was written gets `RecordDamaged` from then on."""

    def backup(self, target: Path) -> list[str]:
        """Write a consistent copy into a folder while serving, and prove it; what of it is not what was written.
        `UsageProblem` if it is backed up by something else."""

    def state(self) -> State:
        """Whether searches can be answered, as far as that is known without asking anybody."""

    def answers(self) -> str | None:
        """Return if it can be reached now, and what of it cannot all the same; `Unavailable` if nothing can. Takes
        seconds at most."""

    def close(self) -> None:
        """Finish what is running and let go of the files."""


class Store(Records, Writing, Staging, Care, Protocol):
    """All of it. Every method may be called from any thread. Whoever needs a part alone asks for that part."""

    @property
    def capabilities(self) -> Capabilities:
        """What it can do, which never changes."""

    @property
    def log(self) -> ChangeLog:
        """What was committed, in order."""

    @property
    def store_id(self) -> str:
        """Differs between stores, and between a store and its restored backup."""

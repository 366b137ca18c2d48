"""What the owner of a data directory may ask of its node, but for the administration (`admin`)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from itertools import groupby, islice
from pathlib import Path
from typing import Annotated, Any, Final, Literal

import anyio.to_thread
import msgspec

from calldex.api import signin_operations  # noqa: F401 - theirs are among `OPERATIONS`
from calldex.api.operation import MAIN, Operation
from calldex.audit.chain import OWNER, Actor, Entry, Link, Verified, entry
from calldex.backup import Manifest, backup
from calldex.check import Checked, of_node
from calldex.directory import Account, AuditFilter, Directory, Source
from calldex.directory.refs import reference
from calldex.errors import BadSettings, CalldexError, NotFound, Problem, suggest
from calldex.formats import UNFINISHED, formats, settings_of
from calldex.ingest.calls import Feed
from calldex.ingest.pipeline import Summary
from calldex.ingest.rebuild import Rebuild, row_format
from calldex.ingest.rebuild import Step as RebuildStep
from calldex.node import Node
from calldex.records.record import NamedKind
from calldex.search.reader import SEARCH, Caller, Reader
from calldex.store import Quarantined
from calldex.texts import listed

QUARANTINE_LIMIT: Final = 10_000
AUDIT_LIMIT: Final = 10_000
_AT_ONCE: Final = 1_000


# --- accounts ---------------------------------------------------------------------------------------------------------


class AddAccount(Operation[Account], frozen=True, kw_only=True):
    """Add an account."""

    name: str
    timezone: str | None = None

    def run(self, node: Node) -> Account:
        """Do it."""
        account = node.directory.add_account(self.name, self.timezone)
        node.audit.owner("account_added", account.id, account.name)
        return account


class ListAccounts(Operation[list[Account]], frozen=True, kw_only=True):
    """Every account."""

    def run(self, node: Node) -> list[Account]:
        """Do it."""
        return node.directory.accounts()


# --- where records come from ------------------------------------------------------------------------------------------


class AddSource(Operation[Source], frozen=True, kw_only=True):
    """Add a source, with settings that its format understands."""

    name: str
    format: str
    settings: dict[str, str]
    account: str = MAIN

    def run(self, node: Node) -> Source:
        """Do it."""
        known = formats()
        if self.format not in known:
            hint = suggest(self.format, known)
            raise NotFound(f"there is no format {self.format[:100]!r}{hint}; formats are {', '.join(known)}")
        settings_of(known[self.format], self.settings)
        return node.directory.add_source(self.name, self.format, self.settings, self.account)


class ListSources(Operation[list[Source]], frozen=True, kw_only=True):
    """Every source."""

    def run(self, node: Node) -> list[Source]:
        """Do it."""
        return node.directory.sources()


class ShowSource(Operation[Source], frozen=True, kw_only=True):
    """One source."""

    name: str

    def run(self, node: Node) -> Source:
        """Do it."""
        return node.directory.source(self.name)


class SetSource(Operation[Source], frozen=True, kw_only=True):
    """Change settings of a source, and take others back; the format must understand the whole of them."""

    name: str
    settings: dict[str, str]
    unset: tuple[str, ...] = ()

    def run(self, node: Node) -> Source:
        """Do it."""
        source = node.directory.source(self.name)
        if unknown := [name for name in self.unset if name not in source.settings]:
            raise BadSettings(
                [
                    Problem("--unset", name[:100], "is not set", ", ".join(sorted(source.settings)) or "nothing is set")
                    for name in unknown
                ]
            )
        settings = {**source.settings, **self.settings}
        for name in self.unset:
            del settings[name]
        settings_of(formats()[source.format], settings)
        return node.directory.set_source(self.name, settings)


class RebuildSource(Operation[RebuildStep], frozen=True, kw_only=True):
    """A step of putting the calls of a source together again: first all of `links`, then of `preview` or `calls`."""

    name: str
    what: Literal["links", "preview", "calls"]
    after: int = 0

    def run(self, node: Node) -> RebuildStep:
        """Do it."""
        rebuild = Rebuild(node.directory, node.store, node.feed(self.name, None))
        step = {"links": rebuild.relink, "preview": rebuild.preview, "calls": rebuild.step}[self.what](self.after)
        if step.last is None:
            node.store.settle()
        return step


class CountRows(Operation[int], frozen=True, kw_only=True):
    """How many rows of a source are kept; raises what keeps it from being rebuilt."""

    name: str

    def run(self, node: Node) -> int:
        """Do it."""
        feed = node.feed(self.name, None)
        row_format(feed)
        return node.store.count_rows(feed.account_id, feed.source)


class RemoveSource(Operation[None], frozen=True, kw_only=True):
    """Forget a source; its records stay."""

    name: str

    def run(self, node: Node) -> None:
        """Do it."""
        node.directory.remove_source(self.name)


class CheckFeed(Operation[None], frozen=True, kw_only=True):
    """Whether something can be imported like this; raises what is wrong with it."""

    source: str | None
    format: str | None
    account: str

    def run(self, node: Node) -> None:
        """Do it."""
        node.feed(self.source, self.format, self.account)


# --- what could not be read -------------------------------------------------------------------------------------------


class ListQuarantine(Operation[list[Quarantined]], frozen=True, kw_only=True):
    """The first pieces in the quarantine of one account or of all, oldest first, without what they are."""

    account: str | None
    limit: Annotated[int, msgspec.Meta(ge=1, le=QUARANTINE_LIMIT)]

    def run(self, node: Node) -> list[Quarantined]:
        """Do it."""
        found = islice(_quarantined(node, self.account), self.limit)
        return [msgspec.structs.replace(piece, raw=b"") for piece in found]


class ShowQuarantined(Operation[Quarantined], frozen=True, kw_only=True):
    """One piece in the quarantine, whole."""

    id: int

    def run(self, node: Node) -> Quarantined:
        """Do it."""
        for piece in node.store.quarantined():
            if piece.id == self.id:
                return piece
        raise _nothing_under(self.id)


class Retried(msgspec.Struct, frozen=True):
    """What became of the pieces of one source or format; `problem` says why they could not be tried."""

    source: str
    format: str
    summary: Summary
    problem: str | None = None


class RetryQuarantine(Operation[list[Retried]], frozen=True, kw_only=True):
    """Read pieces in the quarantine again, as their source is set up now: those with these ids, or without ids all but
    the unfinished ones, which would be read as if nothing of them were missing."""

    account: str | None
    ids: frozenset[int] = frozenset()

    def run(self, node: Node) -> list[Retried]:
        """Do it."""
        names = {account.id: account.name for account in node.directory.accounts()}
        retried: dict[tuple[int, str, str], Retried] = {}
        pieces = _quarantined(node, self.account)
        chosen = _named(pieces, self.ids) if self.ids else (each for each in pieces if each.reason != UNFINISHED)
        for key, group in groupby(chosen, lambda piece: (piece.account_id, piece.source, piece.format)):
            account_id, source, format_ = key
            while some := list(islice(group, _AT_ONCE)):
                before = retried.setdefault(key, Retried(source, format_, Summary()))
                try:
                    feed = node.feed(source or None, format_, names[account_id])
                except CalldexError as error:
                    retried[key] = msgspec.structs.replace(before, problem=error.message)
                    continue
                before.summary.include(node.ingest.retry(feed, [(piece.id, piece.raw) for piece in some], "quarantine"))
        for (account_id, *_), each in retried.items():
            _note_ingest(node, account_id, each.source or each.format, each.summary, 200)
        return list(retried.values())


class DropQuarantined(Operation[int], frozen=True, kw_only=True):
    """Take pieces out of the quarantine for good: those with these ids, or all of a source (empty: all that came
    without one), of one account or of all; how many there were."""

    account: str | None
    ids: frozenset[int] = frozenset()
    source: str | None = None

    def run(self, node: Node) -> int:
        """Do it."""
        pieces = _quarantined(node, self.account)
        found = _named(pieces, self.ids) if self.ids else (each for each in pieces if each.source == self.source)
        dropped: Counter[tuple[int, str]] = Counter()
        while some := list(islice(found, _AT_ONCE)):
            node.ingest.drop(some)
            dropped.update((piece.account_id, piece.source or piece.format) for piece in some)
        for (account_id, target), count in dropped.items():
            actor = Actor(actor=OWNER, account_id=account_id)
            node.audit.note(entry(actor, "quarantine_dropped", target=target, detail={"pieces": count}))
        return dropped.total()


def _named(pieces: Iterator[Quarantined], ids: AbstractSet[int]) -> Iterator[Quarantined]:
    """The pieces with these ids; `NotFound`, before anything is done, if one is not there."""
    found = [piece for piece in pieces if piece.id in ids]
    if missing := sorted(ids - {piece.id for piece in found}):
        raise _nothing_under(*missing)
    return iter(found)


def _nothing_under(*ids: int) -> NotFound:
    given = ", ".join(map(str, ids[:10]))
    return NotFound(f"there is nothing under {given} in the quarantine; `calldex quarantine list` shows it")


def _quarantined(node: Node, account: str | None) -> Iterator[Quarantined]:
    return node.store.quarantined(None if account is None else node.directory.account(account).id)


def note_import(node: Node, feed: Feed, committed: Summary, error: CalldexError | None) -> None:
    """Note what of a stream was committed, and the error with which it broke off."""
    _note_ingest(node, feed.account_id, feed.source or feed.format.name, committed, error.status if error else 200)


def _note_ingest(node: Node, account_id: int, target: str, counted: Summary, status: int) -> None:
    actor = Actor(actor=OWNER, account_id=account_id)
    rows = counted.accepted + counted.updated
    detail = msgspec.structs.asdict(counted)
    node.audit.note(entry(actor, "ingest", target=target, detail=detail, rows=rows, status=status))


# --- records ----------------------------------------------------------------------------------------------------------


class Found(msgspec.Struct, frozen=True):
    """A page of a search: the JSON array of its records, the size of the whole match, the token for the rest."""

    records: msgspec.Raw
    total: int
    search_token: str | None


_IDS_OF: Final[Mapping[str, NamedKind]] = {
    "agent_ids": "agent",
    "queue_ids": "queue",
    "team_ids": "team",
    "campaign_ids": "campaign",
}


def with_ids(directory: Directory, account_id: int, parameters: Sequence[tuple[str, str]]) -> list[tuple[str, str]]:
    """Parameters with ids in place of names where ids belong. What is no list is left to the search."""
    found = []
    for name, value in parameters:
        kind = _IDS_OF.get(name)
        try:
            refs = [reference(item) for item in listed(value)] if kind is not None else []
        except ValueError:
            refs = []
        if kind is not None and all(refs) and any(isinstance(ref, str) for ref in refs):
            found.append((name, ",".join(map(str, directory.meant(account_id, kind, name, refs)))))
        else:
            found.append((name, value))
    return found


class Export(Operation[None], frozen=True, kw_only=True):
    """A file of records of an account, as a stream of frames (`frames`); `parameters` are those of the API."""

    account: str
    parameters: Sequence[tuple[str, str]]


class Search(Operation[Found], frozen=True, kw_only=True):
    """A page of a search over all of an account; `parameters` are those of the API."""

    account: str
    parameters: Sequence[tuple[str, str]]

    async def read(self, node: Node, reader: Reader) -> Found:
        """Do it."""
        owner = await anyio.to_thread.run_sync(node.owner, self.account)
        caller = Caller(owner, Actor(actor=OWNER, account_id=owner.account_id))
        parameters = await anyio.to_thread.run_sync(with_ids, node.directory, owner.account_id, self.parameters)
        async with reader.open(caller, SEARCH, parameters) as search:
            page = await search.run(lambda: search.page(search.place(search.own), search.own))
            search.told(page.count)
        return Found(msgspec.Raw(b"[" + page.json + b"]"), page.total, page.token)


# --- the audit --------------------------------------------------------------------------------------------------------


class ListAudit(Operation[list[Entry]], frozen=True, kw_only=True):
    """Entries of one account or of all, newest first."""

    account: str | None
    wanted: AuditFilter
    limit: Annotated[int, msgspec.Meta(ge=1, le=AUDIT_LIMIT)]

    def run(self, node: Node) -> list[Entry]:
        """Do it."""
        account_id = None if self.account is None else node.directory.account(self.account).id
        found = node.directory.audit_entries(account_id, self.wanted, self.limit)
        detail = {name: value for name, value in msgspec.structs.asdict(self.wanted).items() if value is not None}
        actor = Actor(actor=OWNER, account_id=account_id or 0)
        node.audit.note(entry(actor, "audit_read", detail=detail, rows=len(found)))
        return found


class VerifyAudit(Operation[Verified], frozen=True, kw_only=True):
    """Whether the audit is as it was written; `expected` is a link of its chain that was noted elsewhere."""

    expected: Link | None

    def run(self, node: Node) -> Verified:
        """Do it."""
        return node.directory.verify_audit(self.expected)


class HeadOfAudit(Operation[Link], frozen=True, kw_only=True):
    """The newest entry's place in the chain."""

    def run(self, node: Node) -> Link:
        """Do it."""
        return node.directory.audit_head()


# --- the data directory -----------------------------------------------------------------------------------------------


class Backup(Operation[Manifest], frozen=True, kw_only=True):
    """Write a backup into a folder, named by its absolute path."""

    target: str

    def run(self, node: Node) -> Manifest:
        """Do it."""
        return backup(node, Path(self.target))


class Check(Operation[Checked], frozen=True, kw_only=True):
    """Verify the store, the directory and the audit."""

    def run(self, node: Node) -> Checked:
        """Do it."""
        return of_node(node)


OPERATIONS: Final[tuple[type[Operation[Any]], ...]] = tuple(
    kind for kind in Operation.__subclasses__() if kind not in (Search, Export)
)
"""All that run in a thread by themselves; each is asked for by the name of its class."""

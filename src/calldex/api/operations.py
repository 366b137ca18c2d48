"""What the owner of a data directory may ask of its node: one struct for each operation, with what it does.

The command line makes them, `control` carries them out, in a server or in the command's own process. Nobody's rights
are looked at: whoever may use the data directory may do all of this. Knows no HTTP.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from itertools import groupby, islice
from pathlib import Path
from typing import Annotated, Any, Final, Generic, TypeVar

import msgspec

from calldex.backup import Manifest, backup
from calldex.directory import Account, Key, Source, User
from calldex.errors import CalldexError, NotFound, suggest
from calldex.formats import formats, settings_of
from calldex.ingest import Summary
from calldex.node import Node
from calldex.query import parse
from calldex.store import DayCheck, Quarantined

MAIN: Final = "main"
QUARANTINE_LIMIT: Final = 10_000
_RETRIED_AT_ONCE: Final = 1_000

Reply = TypeVar("Reply")


class Operation(msgspec.Struct, Generic[Reply], frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Something to be done; `Reply` is what comes of it. Raises the errors of the layers that it asks."""

    def run(self, node: Node) -> Reply:
        """Do it."""
        raise NotImplementedError


# --- who there is -----------------------------------------------------------------------------------------------------


class AddAccount(Operation[Account], frozen=True, kw_only=True):
    """Add an account."""

    name: str
    timezone: str | None = None

    def run(self, node: Node) -> Account:
        """Do it."""
        return node.directory.add_account(self.name, self.timezone)


class ListAccounts(Operation[list[Account]], frozen=True, kw_only=True):
    """Every account."""

    def run(self, node: Node) -> list[Account]:
        """Do it."""
        return node.directory.accounts()


class AddUser(Operation[User], frozen=True, kw_only=True):
    """Add a user to an account."""

    email: str
    name: str
    role: str
    timezone: str | None = None
    account: str = MAIN
    extension: str | None = None

    def run(self, node: Node) -> User:
        """Do it."""
        return node.directory.add_user(
            self.email,
            self.name,
            self.role,
            timezone=self.timezone,
            account=self.account,
            extension=self.extension,
        )


class ListUsers(Operation[list[User]], frozen=True, kw_only=True):
    """The users of one account, or of all."""

    account: str | None = None

    def run(self, node: Node) -> list[User]:
        """Do it."""
        return node.directory.users(self.account)


class EnableUser(Operation[User], frozen=True, kw_only=True):
    """Let a user's keys work, or not."""

    email: str
    enabled: bool

    def run(self, node: Node) -> User:
        """Do it."""
        if self.enabled:
            node.directory.enable_user(self.email)
        else:
            node.directory.disable_user(self.email)
        return node.directory.user(self.email)


class CreateKey(Operation[str], frozen=True, kw_only=True):
    """A new key of a user, shown this once."""

    email: str
    scope: str

    def run(self, node: Node) -> str:
        """Do it."""
        return node.directory.create_key(self.email, self.scope)


class ListKeys(Operation[list[Key]], frozen=True, kw_only=True):
    """The keys of one user, or of all."""

    email: str | None = None

    def run(self, node: Node) -> list[Key]:
        """Do it."""
        node.directory.flush_touches()
        return node.directory.list_keys(self.email)


class RevokeKey(Operation[Key], frozen=True, kw_only=True):
    """Make a key useless; it is named by its id, its prefix or itself."""

    reference: str

    def run(self, node: Node) -> Key:
        """Do it."""
        return node.directory.revoke_key(self.reference)


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
        raise NotFound(f"there is nothing under {self.id} in the quarantine; `calldex quarantine list` shows it")


class Retried(msgspec.Struct, frozen=True):
    """What became of the pieces of one source or format; `problem` says why they could not be tried."""

    source: str
    format: str
    summary: Summary
    problem: str | None = None


class RetryQuarantine(Operation[list[Retried]], frozen=True, kw_only=True):
    """Read what is in the quarantine of one account or of all again, as its source is set up now."""

    account: str | None

    def run(self, node: Node) -> list[Retried]:
        """Do it."""
        names = {account.id: account.name for account in node.directory.accounts()}
        retried: dict[tuple[int, str, str], Retried] = {}
        pieces = _quarantined(node, self.account)
        for key, group in groupby(pieces, lambda piece: (piece.account_id, piece.source, piece.format)):
            account_id, source, format_ = key
            while some := list(islice(group, _RETRIED_AT_ONCE)):
                before = retried.setdefault(key, Retried(source, format_, Summary()))
                try:
                    feed = node.feed(source or None, format_, names[account_id])
                except CalldexError as error:
                    retried[key] = msgspec.structs.replace(before, problem=error.message)
                    continue
                before.summary.include(node.ingest.retry(feed, [(piece.id, piece.raw) for piece in some], "quarantine"))
        return list(retried.values())


def _quarantined(node: Node, account: str | None) -> Iterator[Quarantined]:
    return node.store.quarantined(None if account is None else node.directory.account(account).id)


# --- records ----------------------------------------------------------------------------------------------------------


class Found(msgspec.Struct, frozen=True):
    """A page of a search: the JSON array of its records, the size of the whole match, the token for the rest."""

    records: msgspec.Raw
    total: int
    search_token: str | None


class Search(Operation[Found], frozen=True, kw_only=True):
    """A page of a search over all of an account; `parameters` are those of the API."""

    account: str
    parameters: Sequence[tuple[str, str]]

    def run(self, node: Node) -> Found:
        """Do it."""
        account = node.directory.account(self.account)
        query, wanted = parse(self.parameters, node.whole(self.account), account.timezone or "UTC")
        place = node.pager.place(query, wanted, time.time_ns() // 1_000_000)
        page = node.pager.read(query, place, wanted.per_page)
        return Found(msgspec.Raw(b"[" + page.json + b"]"), page.total, page.token)


# --- the data directory -----------------------------------------------------------------------------------------------


class Backup(Operation[Manifest], frozen=True, kw_only=True):
    """Write a backup into a folder, named by its absolute path."""

    target: str

    def run(self, node: Node) -> Manifest:
        """Do it."""
        return backup(node, Path(self.target))


class Checked(msgspec.Struct, frozen=True):
    """What a check found: each UTC day of each account, and what is wrong with the files and the directory."""

    days: list[DayCheck]
    problems: list[str]


class Check(Operation[Checked], frozen=True, kw_only=True):
    """Verify the store and the directory."""

    def run(self, node: Node) -> Checked:
        """Do it."""
        problems = [f"ledger: {line}" for line in node.store.integrity()]
        problems += [f"directory: {line}" for line in node.directory.check()]
        return Checked(list(node.store.check()), problems)


OPERATIONS: Final[tuple[type[Operation[Any]], ...]] = tuple(Operation.__subclasses__())
"""All of them; each is asked for by the name of its class."""

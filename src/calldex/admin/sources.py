"""Sources: where records come from, and calls made again from the rows of one. Changed by the owner alone: a source is
named on the machine that reads it, and one name is one source over all accounts."""

from __future__ import annotations

from collections import Counter
from datetime import datetime
from itertools import islice
from typing import Final, Literal

import msgspec

from calldex.admin.verb import EITHER, Call, Listing, Nothing, Paging, Verb, by_owner, paged
from calldex.buckets import Credentials, keep_credentials
from calldex.clock import now_ms
from calldex.directory import Directory, Source
from calldex.errors import BadSettings, NotFound, Problem, suggest
from calldex.formats import formats, settings_of
from calldex.ingest.rebuild import Rebuild, row_format
from calldex.ingest.rebuild import Step as RebuildStep
from calldex.records.record import from_ms
from calldex.targets import S3, VALID_BUCKET

MOST_COUNTED: Final = 1_000


class NewSource(msgspec.Struct, frozen=True, kw_only=True):
    """A source to be added, with settings that its format understands."""

    format: str
    settings: dict[str, str] = {}


class SourceChanges(msgspec.Struct, frozen=True, kw_only=True):
    """Settings to be changed, and names of those to be taken back."""

    settings: dict[str, str] = {}
    unset: tuple[str, ...] = ()


class RebuildFrom(msgspec.Struct, frozen=True, kw_only=True):
    """Which step: first all of `links`, then of `preview` or `calls`; `after` is the `last` of the step before."""

    what: Literal["links", "preview", "calls"]
    after: int = 0


class Feeding(msgspec.Struct, frozen=True, kw_only=True):
    """How something is to be imported."""

    source: str | None
    format: str | None


class SourceState(msgspec.Struct, frozen=True, kw_only=True):
    """A source of the account: its format, since when there is it, when it last delivered something, how old the newest
    of its calls is (`lag_s`, by its begin), and how many pieces of it lie in the quarantine, of the account's oldest
    1,000 there."""

    name: str
    format: str
    created_at: datetime
    last_ingest_at: datetime | None
    lag_s: int | None
    quarantined: int


def list_account_sources(call: Call, paging: Paging) -> Listing[SourceState]:
    """List the account's sources.

    Without their settings, which name folders and hosts of the server.
    """
    account_id, at_ms = call.actor.account_id, now_ms()
    call.node.note_ingests()
    unread = Counter(piece.source for piece in islice(call.node.store.quarantined(account_id), MOST_COUNTED))
    return paged(
        [
            SourceState(
                name=source.name,
                format=source.format,
                created_at=from_ms(source.created_at),
                last_ingest_at=None if source.last_ingest_at is None else from_ms(source.last_ingest_at),
                lag_s=None if source.newest_started_at is None else max(0, at_ms - source.newest_started_at) // 1000,
                quarantined=unread[source.name],
            )
            for source in call.directory.sources()
            if source.account_id == account_id
        ],
        paging,
    )


def list_sources(call: Call, _: Nothing) -> list[Source]:
    """List the sources of all accounts."""
    return call.directory.sources()


def show_source(call: Call, _: Nothing) -> Source:
    """Show a source."""
    return call.directory.source(call.subject)


def create_source(call: Call, new: NewSource) -> Source:
    """Add a source."""
    call.noted.target = call.subject
    known = formats()
    if new.format not in known:
        hint = suggest(new.format, known)
        raise NotFound(f"there is no format {new.format[:100]!r}{hint}; formats are {', '.join(known)}")
    settings_of(known[new.format], new.settings)
    return call.directory.add_source(call.subject, new.format, new.settings, call.actor.account)


def change_source(call: Call, changes: SourceChanges) -> Source:
    """Change settings of a source, and take others back; the format must understand the whole of them."""
    source = show_source(call, Nothing())
    call.noted.target = source.name
    if unknown := [name for name in changes.unset if name not in source.settings]:
        valid = ", ".join(sorted(source.settings)) or "nothing is set"
        raise BadSettings([Problem("--unset", name[:100], "is not set", valid) for name in unknown])
    settings = {**source.settings, **changes.settings}
    for name in changes.unset:
        del settings[name]
    settings_of(formats()[source.format], settings)
    return call.directory.set_source(source.name, settings)


def set_source_credentials(call: Call, given: Credentials) -> None:
    """Keep what opens the bucket of a source's recordings, sealed."""
    call.noted.target = call.subject
    source = show_source(call, Nothing())
    recordings = source.settings.get("recordings", "")
    if not recordings.startswith(S3):
        raise BadSettings([Problem("recordings", recordings[:100], "is no bucket", VALID_BUCKET)])
    keep_credentials(call.directory, "recordings", source.name, given)


def remove_source(call: Call, _: Nothing) -> None:
    """Forget a source; its records stay."""
    call.noted.target = call.subject
    call.directory.remove_source(call.subject)


def count_rows(call: Call, _: Nothing) -> int:
    """Count the rows of a source that are kept; raises what keeps it from being rebuilt."""
    feed = call.node.feed(call.subject, None)
    row_format(feed)
    return call.node.store.count_rows(feed.account_id, feed.source)


def rebuild_source(call: Call, wanted: RebuildFrom) -> RebuildStep:
    """Do a step of putting the calls of a source together again."""
    rebuild = Rebuild(call.directory, call.node.store, call.node.feed(call.subject, None))
    step = {"links": rebuild.relink, "preview": rebuild.preview, "calls": rebuild.step}[wanted.what](wanted.after)
    if step.last is None:
        call.node.store.settle()
    return step


def check_feed(call: Call, wanted: Feeding) -> None:
    """Check that something can be imported like this; raises what is wrong with it."""
    call.node.feed(wanted.source, wanted.format, call.actor.account)


def _home(directory: Directory, name: str) -> str:
    return directory.source(name).account


VERBS: Final[tuple[Verb, ...]] = (
    Verb("GET", "/sources", list_account_sources, EITHER),
    by_owner(list_sources),
    by_owner(show_source, home=_home),
    by_owner(create_source, "source_added"),
    by_owner(change_source, "source_changed", home=_home),
    by_owner(set_source_credentials, "source_credentials_set", home=_home),
    by_owner(remove_source, "source_removed", home=_home),
    by_owner(count_rows, home=_home),
    by_owner(rebuild_source, home=_home),
    by_owner(check_feed),
)

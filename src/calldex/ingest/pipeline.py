"""Records come in: from a format or a request to the store, counted, in batches, with nothing lost on the way.

Pieces in = accepted + updated + unchanged + rejected, always. What could not be read goes to the quarantine in the
same commit as what could. Rows of calls are kept, gathered and assembled again with every row that is added. Knows no
format by name, opens no file, speaks no HTTP.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing
from itertools import chain, groupby, repeat
from typing import Final, TypeVar

import msgspec

from calldex.clock import now_ms
from calldex.directory import Directory, Seen
from calldex.errors import CalldexError, IdempotencyMismatch
from calldex.formats import UNFINISHED, RowFormat
from calldex.ingest.calls import Feed, assembled, grouped, records_of
from calldex.ingest.posted import Readers
from calldex.ingest.tally import Tally
from calldex.ingest.workers import (
    BATCH_BYTES,
    Block,
    Followed,
    Mention,
    Metered,
    batches,
    block,
    mentions,
    read_blocks,
)
from calldex.records.record import CallRow, Rejected, to_ms
from calldex.store import AlreadyAnswered, Batch, Outcome, Quarantined, Receipt, Reject, Store

_T = TypeVar("_T")

BATCH: Final = 10_000
"""How many pieces are committed at once; fewer where they are long, see `workers.BATCH_BYTES`."""


class Summary(msgspec.Struct):
    """What became of the pieces read: of records, or of rows of calls.

    A row that begins a call is accepted, one that adds to a known call updates it. `unfinished` counts those of the
    rejected within which the stream ended; `interactions` the records that were made or changed.
    """

    accepted: int = 0
    updated: int = 0
    unchanged: int = 0
    rejected: int = 0
    unfinished: int = 0
    interactions: int = 0

    @property
    def read(self) -> int:
        """All pieces."""
        return self.accepted + self.updated + self.unchanged + self.rejected

    def include(self, other: Summary) -> None:
        """Count what another one counted."""
        for name in self.__struct_fields__:
            setattr(self, name, getattr(self, name) + getattr(other, name))

    def add(self, outcomes: Iterable[Outcome]) -> None:
        """Count outcomes."""
        for outcome in outcomes:
            match outcome:
                case Outcome.ACCEPTED:
                    self.accepted += 1
                case Outcome.UPDATED:
                    self.updated += 1
                case Outcome.UNCHANGED:
                    self.unchanged += 1

    def reject(self, rejects: Sequence[Reject]) -> None:
        """Count what could not be read."""
        self.rejected += len(rejects)
        self.unfinished += sum(reject.reason == UNFINISHED for reject in rejects)


class Post(msgspec.Struct, frozen=True):
    """What one request sends: records that were read, and the uuids of those that are `removed`. What could not be read
    is for the client to keep, and comes not into the quarantine.

    `answer` makes the answer of the outcomes, those of records first. `receipt_key`: under which it is kept with the
    `digest` of the request's body, which is not needed without one.
    """

    account_id: int
    sent: Block
    receipt_key: str | None
    digest: bytes
    answer: Callable[[Sequence[Outcome]], bytes]
    removed: Sequence[str] = ()


class Ingest:
    """Writes what formats read. May be used from several threads."""

    def __init__(self, directory: Directory, store: Store) -> None:
        self._directory = directory
        self._store = store
        self.tally = Tally()
        self.readers = Readers()

    def close(self) -> None:
        """End what reads for it."""
        self.readers.close()

    def run(
        self, feed: Feed, chunks: Iterable[bytes], origin: str, progress: Callable[[Summary], None] = lambda _: None
    ) -> Summary:
        """Take in a byte stream, batch by batch; `progress` is told after each commit. `origin` names the stream in
        the quarantine."""
        summary = Summary()
        followed = Followed(chunks, self._unfinished(feed))
        stream = Metered(followed)
        if isinstance(feed.format, RowFormat):
            for rows in batches(feed.format.rows(stream, feed.settings), BATCH, stream):
                self._rows(feed, feed.format, rows, origin, summary)
                progress(summary)
        else:
            with closing(read_blocks(feed.format, feed.settings, feed.source, stream, BATCH)) as blocks:
                for joined in _joined(blocks, stream, BATCH * self._store.capabilities.batches_at_once):
                    self._records(feed, joined, origin, summary)
                    progress(summary)
        if followed.continued:
            # What stands there whole by now and still cannot be read lies in the quarantine for another reason.
            self.drop(piece for piece in self._unfinished(feed) if piece.id in followed.continued)
        self._store.settle()
        return summary

    def drop(self, pieces: Iterable[Quarantined]) -> None:
        """Take pieces out of the quarantine, for good."""
        for (account_id, source, format_), group in groupby(pieces, lambda p: (p.account_id, p.source, p.format)):
            released = [piece.id for piece in group]
            batch = Batch(account_id=account_id, source=source, format=format_, origin="", released=released)
            self._store.write(batch, wait=False)

    def retry(self, feed: Feed, quarantined: Sequence[tuple[int, bytes]], origin: str) -> Summary:
        """Read pieces of the quarantine again, each by itself; those that can be read now leave it, of the others the
        reason is that of now."""
        summary = Summary()
        for id_, raw in quarantined:
            stream = [raw, b"\n"]
            if isinstance(feed.format, RowFormat):
                rows = _again(feed.format.rows(stream, feed.settings), raw)
                released = [] if any(isinstance(row, Rejected) for row in rows) else [id_]
                self._rows(feed, feed.format, rows, origin, summary, released=released)
            else:
                read = block(_again(feed.format.read(stream, feed.settings), raw), feed.source)
                self._records(feed, [read], origin, summary, released=[] if read.rejects else [id_])
        self._store.settle()
        return summary

    def post(self, post: Post) -> bytes:
        """Write one, and give its answer; see `post_all`, and raises what that one gives as an error."""
        (answer,) = self.post_all([post])
        if isinstance(answer, Exception):
            raise answer
        return answer

    def post_all(self, posts: Sequence[Post]) -> list[bytes | Exception]:
        """Write what some requests sent, each in one commit or not at all, durable and visible when this returns; the
        answer of each, or why nothing of it was written. Together they cost little more than one.

        Under a receipt key the first answer is kept, and given again without writing anything: `IdempotencyMismatch`
        when the key came with another body.
        """
        answers: list[bytes | Exception | None] = [self._answered(post) for post in posts]
        new = [place for place, answer in enumerate(answers) if answer is None]
        for place in new:
            self._note(posts[place].account_id, posts[place].sent.mentions)
        outcomes = self._store.write_all([self._batch(posts[place]) for place in new])
        for place, found in zip(new, outcomes, strict=True):
            answers[place] = self._answer(posts[place], found)
        return [answer for answer in answers if answer is not None]

    def _answered(self, post: Post) -> bytes | Exception | None:
        """What was answered before to the same request."""
        try:
            return self._receipt(post)
        except CalldexError as error:
            return error

    def _answer(self, post: Post, found: Sequence[Outcome] | Exception) -> bytes | Exception:
        """The answer, once it is known what became of the post."""
        if isinstance(found, AlreadyAnswered):
            return found.answer
        if isinstance(found, Exception):
            return found
        return self._answered(post) or post.answer(found)

    def _batch(self, post: Post) -> Batch:
        def receipt(outcomes: Sequence[Outcome]) -> Receipt:
            """Asks once more, within the commit: the same or another request may have come first, and then nothing is
            written."""
            if (known := self._receipt(post)) is not None:
                raise AlreadyAnswered(known)
            return Receipt(post.digest, post.answer(outcomes))

        return Batch(
            account_id=post.account_id,
            source="",
            format="jsonl",
            origin="HTTP",
            records=post.sent.records,
            removed=post.removed,
            receipt_key=post.receipt_key,
            receipt=receipt,
        )

    def _receipt(self, post: Post) -> bytes | None:
        if post.receipt_key is None:
            return None
        known = self._store.receipt(post.account_id, post.receipt_key)
        if known is not None and known.digest != post.digest:
            raise IdempotencyMismatch("this Idempotency-Key came before with another body; use a new one")
        return None if known is None else known.answer

    def _unfinished(self, feed: Feed) -> list[Quarantined]:
        """The pieces of a source within which a file ended that was still being written, or was cut off."""
        kept = self._store.quarantined(feed.account_id, UNFINISHED)
        return [piece for piece in kept if (piece.source, piece.format) == (feed.source, feed.format.name)]

    # --- records ------------------------------------------------------------------------------------------------------

    def _records(
        self, feed: Feed, blocks: Sequence[Block], origin: str, summary: Summary, *, released: Sequence[int] = ()
    ) -> None:
        """Write some blocks in one commit."""
        rejects = [reject for each in blocks for reject in each.rejects]
        self._note(feed.account_id, chain.from_iterable(each.mentions for each in blocks))
        outcomes = self._store.write(
            Batch(
                account_id=feed.account_id,
                source=feed.source,
                format=feed.format.name,
                origin=origin,
                records=[record for each in blocks for record in each.records],
                rejects=rejects,
                released=released,
            ),
            wait=False,
        )
        summary.add(outcomes)
        summary.reject(rejects)
        summary.interactions += sum(outcome is not Outcome.UNCHANGED for outcome in outcomes)
        newest_ms = max((int(record.values[0]) for each in blocks for record in each.records), default=0)
        self._count(feed.source, outcomes, len(rejects), newest_ms)

    def _count(self, source: str, outcomes: Iterable[Outcome], rejected: int, newest_ms: int) -> None:
        words = chain((outcome.value for outcome in outcomes), repeat("rejected", rejected))
        self.tally.count(source, now_ms(), words, newest_ms)

    def _note(self, account_id: int, found: Iterable[Mention]) -> None:
        """Tell the directory what things are called."""
        self._directory.note_seen(account_id, [Seen(*mention) for mention in found])

    # --- rows of calls ------------------------------------------------------------------------------------------------

    def _rows(
        self,
        feed: Feed,
        format_: RowFormat,
        pieces: Sequence[CallRow | Rejected],
        origin: str,
        summary: Summary,
        *,
        released: Sequence[int] = (),
    ) -> None:
        """Keep the rows that are new, and assemble every call they belong to again."""
        rows = [piece for piece in pieces if not isinstance(piece, Rejected)]
        rejects = [Reject(piece.reason, piece.where, piece.raw) for piece in pieces if isinstance(piece, Rejected)]
        new: dict[bytes, CallRow] = {}
        calls: list[list[CallRow]] = []
        newest_ms = 0

        def make() -> Batch:
            """The calls of which there are new rows."""
            nonlocal newest_ms
            known = self._store.known_rows(feed.account_id, feed.source, [row.key for row in rows])
            new.update({row.key: row for row in rows if row.key not in known})
            links = sorted({link for row in new.values() for link in row.links})
            kept = self._store.rows_of_calls(feed.account_id, feed.source, links)
            calls.extend(grouped([*new.values(), *kept]))
            batch = assembled(self._directory, feed, format_, calls, new.keys())
            newest_ms = max((to_ms(cdr.started_at) for cdr in records_of(batch)), default=0)
            self._note(feed.account_id, mentions(records_of(batch)))
            return msgspec.structs.replace(batch, origin=origin, rejects=rejects, released=released)

        became = self._store.assemble(feed.account_id, make)
        outcomes = [each for each in became if each not in (Outcome.DELETED, Outcome.ABSENT)]
        begun = sum(all(row.key in new for row in call) for call in calls)
        summary.accepted += begun
        summary.updated += len(new) - begun
        summary.unchanged += len(rows) - len(new)
        summary.reject(rejects)
        summary.interactions += sum(outcome is not Outcome.UNCHANGED for outcome in outcomes)
        self._count(feed.source, outcomes, len(rejects), newest_ms)


def _again(pieces: Iterable[_T | Rejected], raw: bytes) -> list[_T | Rejected]:
    """What a piece of the quarantine is by now; where several of its parts cannot be read, it stays one piece."""
    found = list(pieces)
    problem = next((piece for piece in found if isinstance(piece, Rejected)), None)
    read: list[_T | Rejected] = [piece for piece in found if not isinstance(piece, Rejected)]
    return read if problem is None else [*read, msgspec.structs.replace(problem, raw=raw)]


def _joined(blocks: Iterable[Block], stream: Metered, size: int) -> Iterator[list[Block]]:
    """The blocks, as many together as make so many pieces."""
    held: list[Block] = []
    pieces = begun = 0
    for each in blocks:
        held.append(each)
        pieces += len(each.records) + len(each.rejects)
        if pieces >= size or stream.taken - begun >= BATCH_BYTES:
            yield held
            held, pieces, begun = [], 0, stream.taken
    if held:
        yield held

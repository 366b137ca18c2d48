"""Whether the versions of a ledger are those that were written, by the chain of its commits (see `chain`).

Reads in pieces, none of which keeps the write-ahead log for long, and goes on behind whatever cannot be read. Changes
nothing; what is to be done about a fault is for whoever asked.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Final
from uuid import UUID

import msgspec

from calldex.errors import StoreDamaged
from calldex.store import Head
from calldex.store.embedded import chain
from calldex.store.embedded.packing import Packing
from calldex.store.embedded.sqlite import Readers, rows
from calldex.store.sql import LIVE

_LINKS: Final = 100
_VERSIONS: Final = 5_000
_MOST_TOLD: Final = 1_000
_MOST_LINES: Final = 100
_OTHER_END: Final = "did not end as is written"


class Fault(msgspec.Struct, frozen=True):
    """Something that is not as it was written: a version (`uuid` is empty where that cannot be read), or, where `seq`
    is None, something that no version can be blamed for."""

    seq: int | None
    account_id: int
    uuid: str
    what: str

    def __str__(self) -> str:
        """As it is told."""
        if self.seq is None:
            return self.what
        uuid = self.uuid or "(its uuid cannot be read)"
        return f"record {uuid} of account {self.account_id}, version {self.seq}: {self.what}"


class _Link(msgspec.Struct, frozen=True):
    """The link of a commit: the commit before it, its own last number, over how many values its digests are, these,
    its hash, and how many of its versions were purged."""

    after: int
    seq: int
    covered: int
    digests: bytes
    hash: bytes
    purged: int

    def digest(self, seq: int) -> bytes:
        place = (seq - self.after - 1) * chain.DIGEST_BYTES
        return self.digests[place : place + chain.DIGEST_BYTES]


def faults(readers: Readers, upto: int, *, after: int = 0, ends: bool = True) -> Iterator[Fault]:
    """Everything that is wrong with the versions of the commits behind `after`, which ends one, up to `upto`; with
    `ends` also when versions ended."""
    with readers() as reader:
        packing = Packing(reader)
        found = rows(reader, "SELECT seq, hash FROM link WHERE seq <= ? ORDER BY seq DESC LIMIT 1", (after,))
    last = Head(*found[0]) if found else Head(0, chain.NOTHING)
    while last.seq < upto:
        with readers() as reader:
            links = rows(
                reader,
                "SELECT seq, covered, digests, hash, ifnull(versions, 0) FROM link LEFT JOIN link_purged USING (seq)"
                " WHERE seq > ? AND seq <= ? ORDER BY seq LIMIT ?",
                (last.seq, upto, _LINKS),
            )
        if not links:
            yield _of_none(f"the commits {last.seq + 1} to {upto} have no links: they were put in, or links taken out")
            break
        for row in links:
            link = _Link(last.seq, *row)
            whole = len(link.digests) == chain.DIGEST_BYTES * (link.seq - last.seq)
            if not whole or link.hash != chain.link(last.hash, link.seq, link.covered, link.digests):
                yield _of_none(f"the link of the commit {link.seq} does not follow the one before it")
            if whole:  # or nobody can tell whose the digests are
                yield from _of_commit(readers, packing, link)
            last = Head(link.seq, link.hash)
    if ends:
        yield from _ends(readers, upto)


def _of_none(what: str) -> Fault:
    return Fault(None, 0, "", what)


def _of_commit(readers: Readers, packing: Packing, link: _Link) -> Iterator[Fault]:
    """What is wrong with the versions of one commit."""
    found = 0
    for first in range(link.after, link.seq, _VERSIONS):
        for each in _of_piece(readers, packing, link, first, min(first + _VERSIONS, link.seq)):
            if isinstance(each, Fault):
                yield each
                found += 1
            else:
                found += each
    missing = link.seq - link.after - found - link.purged
    if missing:
        which = f"of the versions {link.after + 1} to {link.seq}, {abs(missing)}"
        yield _of_none(f"{which} are gone" if missing > 0 else f"{which} are there again that were dropped")


def _of_piece(readers: Readers, packing: Packing, link: _Link, after: int, upto: int) -> Iterator[Fault | int]:
    """The faults of some versions, and how many others there are. Where some cannot be read, each half by itself."""
    names = "".join(f", {name}" for name in chain.COVERED[: link.covered])
    sound = 0
    try:
        with readers() as reader:
            some = rows(
                reader,
                f"SELECT seq, seq_to, account_id, uuid, written_ms, CAST(json AS BLOB){names} FROM version"
                " WHERE seq > ? AND seq <= ? ORDER BY seq",
                (after, upto),
            )
    except StoreDamaged as error:
        if upto - after > 1:
            middle = (after + upto) // 2
            yield from _of_piece(readers, packing, link, after, middle)
            yield from _of_piece(readers, packing, link, middle, upto)
        else:
            yield Fault(upto, *_named(readers, upto), f"cannot be read: {error.message}")
        return
    texts = iter(packing.each([row[5] for row in some if isinstance(row[5], bytes)]))
    for row in some:
        if what := _wrong(link, row, next(texts) if isinstance(row[5], bytes) else None):
            yield Fault(row[0], _account(row[2]), _text(row[3]), what)
        else:
            sound += 1
    yield sound


def _named(readers: Readers, seq: int) -> tuple[int, str]:
    """Account and uuid of a version of which something cannot be read, as far as they can."""
    try:
        with readers() as reader:
            found = rows(reader, "SELECT account_id, uuid FROM version WHERE seq = ?", (seq,))
    except StoreDamaged:
        found = []
    return (_account(found[0][0]), _text(found[0][1])) if found else (0, "")


def _wrong(link: _Link, row: tuple[Any, ...], text: bytes | None) -> str | None:
    """What is wrong with a version whose stored text is this JSON; None if it is a tombstone, or cannot be told."""
    seq, seq_to, account_id, uuid, written_ms, stored, *covered = row
    try:
        found = chain.digest(account_id, uuid, written_ms, covered, text) if text or stored is None else b""
    except (TypeError, OverflowError):
        found = b""
    if found != link.digest(seq):
        return "is not what was written"
    return None if (stored is None) == (seq_to == -seq) else _OTHER_END


def _ends(readers: Readers, upto: int) -> Iterator[Fault]:
    """The versions that did not end with the one that followed them: each ends with the number of the next version of
    its record, and the last one lives."""
    same = "n.account_id = v.account_id AND n.uuid = v.uuid"
    other = "EXISTS (SELECT 1 FROM version AS n WHERE"
    wrong = (
        f"v.seq_to > 0 AND v.seq_to < {LIVE} AND NOT {other} n.seq = v.seq_to AND n.seq > v.seq AND {same})",
        f"v.seq_to = {LIVE} AND {other} {same} AND n.seq > v.seq AND n.seq <= ?1)",
        "v.seq_to <= 0 AND v.seq_to <> -v.seq",
    )
    for condition in wrong:
        try:
            with readers() as reader:
                found = rows(
                    reader,
                    "SELECT v.seq, v.account_id, v.uuid FROM version AS v"
                    f" WHERE v.seq <= ?1 AND {condition} LIMIT {_MOST_TOLD}",
                    (upto,),
                )
        except StoreDamaged as error:
            yield _of_none(error.message)
            return
        for seq, account_id, uuid in found:
            yield Fault(seq, _account(account_id), _text(uuid), _OTHER_END)


def _account(found: object) -> int:
    """An account's id as it is kept; 0 where something else stands."""
    return found if isinstance(found, int) else 0


def _text(uuid: Any) -> str:
    return str(UUID(bytes=uuid)) if isinstance(uuid, bytes) and len(uuid) == 16 else ""


def in_lines(found: Sequence[Fault]) -> list[str]:
    """What is wrong, a line each, and of many the first ones and how many there are."""
    lines = [str(fault) for fault in found[:_MOST_LINES]]
    return [*lines, f"and {len(found) - _MOST_LINES} more"] if len(found) > _MOST_LINES else lines

"""The numbers that the versions of each account have for themselves: 1, 2, 3 and so on, whatever others write.

The ledger counts the versions of all accounts together, and the columns follow that count. Whoever asks the store knows
the numbers of an account alone: they become the ledger's where they enter it, and are turned back. See decision 0046.
"""

from __future__ import annotations

from array import array
from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

from calldex.store import Head
from calldex.store.embedded.sqlite import Connection, Readers, carray, rows

NUMBER: Final = "(SELECT n.number + {0} - n.seq FROM numbering AS n WHERE n.seq <= {0} ORDER BY n.seq DESC LIMIT 1)"
"""The number of a version, by the name of the column that has its place in the ledger's count."""


class Place(NamedTuple):
    """A version, in the count of its account and in the ledger's."""

    number: int
    seq: int


class Begun:
    """The versions that a commit begins, numbered, and the head of the ledger's chain behind it; kept when it is made.
    `last`: what each account had before; `newest`: which was the last to write."""

    def __init__(self, last: Mapping[int, Place], newest: int, upto: int, head: Head) -> None:
        self._last = last
        self.newest, self.upto, self.head = newest, upto, head
        self.places: dict[int, Place] = {}

    def next(self, account_id: int) -> int:
        """The number that the next version of an account gets."""
        return self.places.get(account_id, self._last.get(account_id, Place(0, 0))).number + 1

    def put(self, writer: Connection, account_id: int, versions: int) -> None:
        """Number the next so many versions of the ledger, which are an account's."""
        if not versions:
            return
        number = self.next(account_id)
        if account_id != self.newest:
            writer.execute("INSERT INTO numbering VALUES (?, ?, ?)", (self.upto + 1, account_id, number))
        self.newest, self.upto = account_id, self.upto + versions
        self.places[account_id] = Place(number + versions - 1, self.upto)


class Numbering:
    """Both counts of a ledger; any thread asks, one writes."""

    def __init__(self, connection: Connection, readers: Readers, last_seq: int) -> None:
        self._readers = readers
        self._last: dict[int, Place] = {}
        self._newest = 0
        for account_id, seq, number in rows(
            connection, "SELECT account_id, max(seq), number FROM numbering WHERE account_id > 0 GROUP BY account_id"
        ):
            behind = rows(connection, "SELECT min(seq) FROM numbering WHERE seq > ?", (seq,))[0][0]
            upto = last_seq if behind is None else behind - 1
            self._last[account_id] = Place(number + upto - seq, upto)
            if behind is None:
                self._newest = account_id

    def begin(self, last_seq: int, head: Head) -> Begun:
        """What a commit begins behind another."""
        return Begun(self._last, self._newest, last_seq, head)

    def keep(self, begun: Begun) -> None:
        """To be called when the commit is made, before anybody is told."""
        self._last.update(begun.places)
        self._newest = begun.newest

    def last(self, account_id: int) -> int:
        """The number of an account's last version; 0 if it has none."""
        return self._last.get(account_id, Place(0, 0)).number

    def number(self, account_id: int, seq: int) -> int:
        """How many versions of an account there are up to a place of the ledger: the number of the last."""
        number = self.number_at_once(account_id, seq)
        if number is not None:
            return number
        with self._readers() as reader:
            return number_at(reader, account_id, seq)

    def number_at_once(self, account_id: int, seq: int) -> int | None:
        """The same where it is that of the account's last version, which is known; else None."""
        last = self._last.get(account_id, Place(0, 0))
        return last.number if seq >= last.seq else None

    def numbers(self, account_id: int, seqs: Sequence[int]) -> list[int]:
        """The numbers of some versions of an account, given by their places in order."""
        if not seqs:
            return []
        ahead = self.number(account_id, seqs[0]) - seqs[0]
        if self.number(account_id, seqs[-1]) - seqs[-1] == ahead:  # nobody else wrote in between
            return [seq + ahead for seq in seqs]
        with self._readers() as reader:
            asked = f"SELECT {NUMBER.format('value')} FROM carray(?)"
            return [number for (number,) in rows(reader, asked, (carray(array("q", seqs)),))]

    def seq(self, account_id: int, number: int) -> int:
        """The place of a version in the ledger; of a number that there is not yet, that of the last one."""
        last = self._last.get(account_id, Place(0, 0))
        if number >= last.number:
            return last.seq
        with self._readers() as reader:
            return seq_at(reader, account_id, number)


def number_at(connection: Connection, account_id: int, seq: int) -> int:
    """See `Numbering.number`."""
    found = rows(
        connection,
        "SELECT number + min(?2, ifnull((SELECT min(o.seq) FROM numbering AS o WHERE o.seq > n.seq) - 1, ?2)) - seq,"
        " (SELECT o.number - 1 FROM numbering AS o WHERE o.account_id = ?1 AND o.seq > n.seq ORDER BY o.seq LIMIT 1)"
        " FROM numbering AS n WHERE account_id = ?1 AND seq <= ?2 ORDER BY seq DESC LIMIT 1",
        (account_id, seq),
    )
    return min(number for number in found[0] if number is not None) if found else 0


def seq_at(connection: Connection, account_id: int, number: int) -> int:
    """See `Numbering.seq`, of a number that there is."""
    found = rows(
        connection,
        "SELECT seq + ?2 - number FROM numbering WHERE account_id = ?1 AND number <= ?2 ORDER BY number DESC LIMIT 1",
        (account_id, number),
    )
    return int(found[0][0]) if found else 0

"""What one row of Asterisk says: a CDR row with its times as instants, and what its columns hold.

Between reading and the call: `reading` keeps rows in these shapes, `calls` decides over what they say. Here a
row is only understood, each by itself; no other row, no direction and no outcome of a call is known here.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Final, Literal

import msgspec

from calldex.formats.asterisk.settings import Profile
from calldex.records.record import is_withheld


class CdrRow(msgspec.Struct, frozen=True, omit_defaults=True, gc=False, tag_field="row", tag="cdr"):
    """A CDR row as it is kept: every column decoded, none converted; times are local."""

    accountcode: str = ""
    src: str = ""
    dst: str = ""
    dcontext: str = ""
    clid: str = ""
    channel: str = ""
    dstchannel: str = ""
    lastapp: str = ""
    lastdata: str = ""
    start: str = ""
    answer: str = ""
    end: str = ""
    duration: str = ""
    billsec: str = ""
    disposition: str = ""
    amaflags: str = ""
    uniqueid: str = ""
    userfield: str = ""
    peeraccount: str = ""
    linkedid: str = ""
    sequence: str = ""
    did: str = ""
    recordingfile: str = ""


class QueueRow(msgspec.Struct, frozen=True, omit_defaults=True, gc=False, tag_field="row", tag="queue"):
    """A line of queue_log as it is kept. `time` is epoch seconds."""

    time: int
    callid: str
    queue: str
    agent: str
    event: str
    parameters: tuple[str, ...] = ()


decoded: Final = msgspec.json.Decoder(CdrRow | QueueRow).decode
"""The row that a kept text is."""

UNIQUEID: Final = re.compile(r"(?:.+-)?(\d{9,10})\.(\d{1,18})", re.ASCII)
"""`[systemname-]epoch.counter`; a system's name may hold whatever its administrator likes, hyphens too."""
SECOND: Final = timedelta(seconds=1)
_QUARTER: Final = timedelta(minutes=15)
JITTER: Final = timedelta(seconds=5)
_WIDEST_ZONE: Final = timedelta(hours=26)
_ROUNDING_S: Final = 2
MOST_SECONDS: Final = 2**31 - 1
Outcome = Literal["answered", "no_answer", "busy", "failed"]
_OUTCOMES: Final[dict[str, Outcome]] = {
    **dict.fromkeys(("answered", "8"), "answered"),
    **dict.fromkeys(("noanswer", "cancel", "0", "1", "32"), "no_answer"),
    **dict.fromkeys(("busy", "4"), "busy"),
    **dict.fromkeys(("failed", "congestion", "2", "16"), "failed"),
}
"""Words of the CDR without blanks, `_` and `-`; the numbers are what some back ends write instead."""

_NOBODY: Final = frozenset(("asterisk", "s", "h", "i", "t", "o", "e", "a"))
"""What stands for no number: words for a withheld one, and the dialplan's own extensions."""
_CLID: Final = re.compile(r"(.*)<([^<>]*)>", re.DOTALL)
_PLAIN_NUMBER: Final = re.compile(r"\+?[ ().\-/]*[0-9][0-9 ().\-/]*", re.ASCII)


def epoch_of(name: str) -> datetime | None:
    """The second in which a channel was made, from its uniqueid; None if the id does not hold one."""
    match = UNIQUEID.fullmatch(name)
    return datetime.fromtimestamp(int(match[1]), UTC) if match else None


class CdrPath(msgspec.Struct, frozen=True):
    """A CDR row with its times as instants."""

    row: CdrRow
    start: datetime
    answer: datetime | None
    end: datetime | None
    duration_s: int | None
    billsec_s: int | None
    outcome: Outcome
    unknown_word: bool
    suspect: bool

    @property
    def is_person(self) -> bool:
        """Whether a person, or the far end, was talked to: bridged with a channel that is somebody's."""
        row = self.row
        return (
            self.outcome == "answered"
            and bool(self.billsec_s)
            and bool(row.dstchannel)
            and not is_local(row.dstchannel)
        )

    @property
    def is_queue(self) -> bool:
        """Whether a queue had the caller."""
        return self.row.lastapp.lower() == "queue"

    @property
    def is_voicemail(self) -> bool:
        """Whether a mailbox answered."""
        return self.row.lastapp.lower() == "voicemail" and bool(self.billsec_s)

    @property
    def answered_at(self) -> datetime | None:
        """When the B channel answered, as near as the row knows: after an IVR `answer` is that of the IVR."""
        if self.answer is not None:
            return self.answer
        if self.end is None or self.billsec_s is None:
            return None
        return max(self.start, self.end - self.billsec_s * SECOND)


_HALF: Final = re.compile(r"[;,][12]$")


def is_local(channel: str) -> bool:
    """Whether a channel only leads to another part of the dialplan, and is nobody's telephone."""
    return channel.startswith("Local/")


def plain(channel: str) -> str:
    """A channel's name without what an Asterisk adds while it moves the channel somewhere else."""
    return channel.removeprefix("AsyncGoto/").removesuffix("<ZOMBIE>").removesuffix("<MASQ>")


def whole(channel: str) -> str:
    """A channel's name; both halves of a Local channel have one."""
    channel = plain(channel)
    return _HALF.sub("", channel) if is_local(channel) else channel


def path_of(row: CdrRow, known: Profile) -> CdrPath:
    """A row with its times as instants. Times that contradict each other make it suspect.

    An end before the start is put where the row's own length says; an answer outside of the row is none.
    """
    epoch = epoch_of(row.uniqueid) or epoch_of(row.linkedid)
    duration, billsec = _number_of_seconds(row.duration), _number_of_seconds(row.billsec)
    start = known.instant(row.start, epoch) or epoch or known.instant(row.answer, None) or known.instant(row.end, None)
    if start is None:
        raise ValueError("a row needs a time")
    end = known.instant(row.end, start + (duration or 0) * SECOND)
    answer = known.instant(row.answer, start + max(0, (duration or 0) - (billsec or 0)) * SECOND)
    suspect = row.duration.startswith("-") or row.billsec.startswith("-")
    if end is None or end < start:
        suspect = suspect or end is not None
        end = start + duration * SECOND if duration is not None else None
    elif duration is not None:
        suspect = suspect or abs(whole_seconds(end - start) - duration) > _ROUNDING_S
    if answer is not None and (answer < start or (end is not None and answer > end)):
        suspect, answer = True, None
    if billsec is None and answer is not None and end is not None and not row.billsec:
        billsec = whole_seconds(end - answer)
    if duration is not None and billsec is not None and billsec > duration:
        suspect, billsec = suspect or billsec > duration + 1, duration
    word = re.sub(r"[\s_-]", "", row.disposition).lower()
    guessed: Outcome = "answered" if answer is not None and billsec else "no_answer"
    return CdrPath(
        row, start, answer, end, duration, billsec, _OUTCOMES.get(word, guessed), word not in _OUTCOMES, suspect
    )


def number(text: str) -> str | None:
    """A number as it is kept: digits alone if it is digits, `+` and separators; None for none (`s`, anonymous, '')."""
    text = text.strip()
    if not text or text.lower().strip("<>") in _NOBODY or is_withheld(text):
        return None
    if _PLAIN_NUMBER.fullmatch(text):
        text = re.sub(r"[^0-9]", "", text)
    return fit(text, 64)


def fit(text: str, length: int) -> str | None:
    """The text within a field's length, its cut marked; None if there is none. The row keeps the whole of it."""
    return (text if len(text) <= length else text[: length - 1] + "…") or None


def caller(row: CdrRow) -> tuple[str, str]:
    """Name and number in a caller id: `"Name" <number>`."""
    match = _CLID.fullmatch(row.clid)
    if match is None:
        return "", row.clid if row.clid.isdigit() else ""
    return match[1].rstrip().removesuffix('"').removeprefix('"').strip(), match[2]


def dial_targets(row: CdrRow) -> list[tuple[str, str]]:
    """What a Dial was told to call, also when it got no channel: as a channel would be named, and the number there."""
    if row.lastapp.lower() != "dial":
        return []
    targets = []
    for target in re.split(r"[,|]", row.lastdata, maxsplit=1)[0].split("&"):
        technology, _, resource = target.partition("/")
        user, at, host = resource.partition("@")
        peer, _, rest = resource.partition("/")
        targets.append((f"{technology}/{host if at else peer}-00000000", user if at else rest))
    return targets


def disagrees(start: datetime, epoch: datetime | None) -> bool:
    """Whether a start is off its channel's id by quarters of an hour, as a wrong zone makes it, or before it."""
    if epoch is None:
        return False
    off = start - epoch
    apart = abs(off)
    rest = apart % _QUARTER
    is_zone = _QUARTER - JITTER <= apart <= _WIDEST_ZONE and min(rest, _QUARTER - rest) <= JITTER
    return is_zone or off < -JITTER


def id_rank(name: str) -> tuple[int, int, int, str]:
    """Sorts ids by the time and the counter in them, those without after those with, none at all last."""
    match = UNIQUEID.fullmatch(name)
    if match:
        return 0, int(match[1]), int(match[2]), name
    return (1 if name else 2), 0, 0, name


_MOST_DIGITS: Final = 18


def digits(text: str) -> int:
    """A number of a sane length; -1 for what is none."""
    return int(text) if text.isascii() and text.isdigit() and len(text) <= _MOST_DIGITS else -1


def _number_of_seconds(text: str) -> int | None:
    """Whole seconds of a column, which some back ends write with a fraction; None if empty or below zero."""
    return int(float(text)) if text and not text.startswith("-") else None


def whole_seconds(length: timedelta) -> int:
    """A length in a record: whole seconds, never negative."""
    return min(max(0, int(length.total_seconds())), MOST_SECONDS)

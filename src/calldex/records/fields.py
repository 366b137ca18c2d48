"""THE TABLE: every field of a record, every column a store keeps beside its JSON, every filter of the API.

Parsing of parameters (`query`), SQL and DDL (`store/sql`), OpenAPI, the reference page and the command line's options
are derived from these rows. A new filter is one row in `FILTERS`; if it needs a column that is not there yet, one more
in `COLUMNS`. This module knows no engine's SQL, parses nothing and does no I/O.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum, auto
from functools import lru_cache
from typing import Final, Literal

import msgspec

from calldex.records.record import DISPOSITIONS, END_REASONS, EPOCH_FORMS, EVENT_TYPES, FLAGS, INTERACTION_TYPES

Hideable = Literal["number", "details", "recording"]


class Field(msgspec.Struct, frozen=True):
    """A member of a record's JSON. Its type and limits are those of `record.Cdr`.

    `contract` marks those that Voiso's clients rely on. `part` says what a field is a part of that somebody may be
    kept from seeing; `sensitive`, that an account may list it among those that only some see. What is withheld is
    served empty.
    """

    name: str
    description: str
    contract: bool = False
    part: Hideable | None = None
    sensitive: bool = False


FIELDS: Final = (
    Field("uuid", "Identifies the interaction within the account; never changes.", True),
    Field("timestamp", "When the interaction began, UTC, whole seconds.", True),
    Field(
        "type",
        "Kind of interaction, in the vocabulary of the key, else of the account: `documented`, where `queue_callback`"
        " is a scheduled one as well, or `compatible`, where `dialer` is `campaign`, `click_to_call` is `callback`, and"
        " a callback is `queue-callback` or `scheduled-callback`.",
        True,
    ),
    Field(
        "from",
        "Calling party: digits, or the source's own word where it has no digits; null when withheld (`anonymous`,"
        " `private` and the like).",
        True,
        part="number",
    ),
    Field("to", "Called party, written as `from` is.", True, part="number"),
    Field("duration", "From begin to end as `HH:MM:SS`; hours may exceed 99.", True),
    Field("disposition", "How the interaction ended; never null.", True),
    Field("agent", "Display name of the person who took or made the interaction.", True),
    Field("agent_id", "Id of that person, as in the look-up `agents`.", True),
    Field("started_at", "First moment the platform knew the interaction, UTC, to the millisecond."),
    Field("answered_at", "When a person, or for outbound the far end, answered. A menu or a queue does not count."),
    Field("ended_at", "When the last leg was down."),
    Field("did", "The own number that was called (inbound).", part="number"),
    Field("end_reason", "Who or what ended the interaction.", sensitive=True),
    Field("queue", "Name of the queue; of several, the one that handled the interaction last."),
    Field("queue_id", "Id of that queue, as in the look-up `queues`."),
    Field("teams", "Teams of the agent at that time, each with id and name."),
    Field("campaign", "Name of the dialer campaign."),
    Field("campaign_id", "Id of that campaign, as in the look-up `campaigns`."),
    Field(
        "wrapup_code", "Code the agent chose after the interaction, as in the look-up `wrapup_codes`.", sensitive=True
    ),
    Field("wrapup_description", "Description of that code.", sensitive=True),
    Field("duration_s", "From begin to end, seconds."),
    Field("talk_s", "Customer connected to a person, holds included, seconds."),
    Field("ring_s", "The answering person's telephone (or the last one tried) rang, seconds."),
    Field("wait_s", "From entering the queue to the answer or to leaving it, seconds."),
    Field("hold_s", "Customer on hold, seconds."),
    Field("wrapup_s", "Agent's work after the interaction, seconds."),
    Field("events", "What happened meanwhile, in order of time.", part="details", sensitive=True),
    Field(
        "legs",
        "The paths the interaction consists of, as the phone system logged them, in order of time.",
        part="details",
        sensitive=True,
    ),
    Field(
        "linked_uuids",
        "Interactions that belong together with this one, such as the parts of a transfer.",
        sensitive=True,
    ),
    Field("recording", "Reference of the recording as the source gave it.", part="recording", sensitive=True),
    Field(
        "external_account_id",
        "The customer's own number for whom the interaction is to be accounted to.",
        sensitive=True,
    ),
    Field("tags", "Free labels.", sensitive=True),
    Field("comment", "Free text of agent or supervisor.", sensitive=True),
    Field("score", "Quality score, 0 to 100.", sensitive=True),
    Field("custom", "Further values by name that the source or a script set.", sensitive=True),
    Field("source", "Name of the source that delivered the record.", sensitive=True),
    Field(
        "flags",
        "What to know before trusting the record: `provisional` (more rows of this call are expected), `time_suspect`"
        " (its times contradict each other), `disposition_unknown` (the source's word for the outcome is not known),"
        " `unfinished` (the end of the call never came, and it was taken to be over).",
    ),
)


DETAILS: Final = frozenset(field.name for field in FIELDS if field.part == "details")
RECORDINGS: Final = frozenset(field.name for field in FIELDS if field.part == "recording")
SENSITIVE: Final = tuple(field.name for field in FIELDS if field.sensitive)
"""The fields that an account may list as sensitive."""


class Kind(Enum):
    """What a column holds. Absence is 0 or the empty text, never NULL: engines then compare without special cases."""

    CODE = auto()
    """Position of a word in its vocabulary, counted from 1; below 256."""
    NUMBER = auto()
    """Whole number below 2**31."""
    ID = auto()
    """An id, below 2**53."""
    BITS = auto()
    """One bit for each word of a vocabulary."""
    WORD = auto()
    """Short text of few different values."""
    PHONE = auto()
    """A telephone number as text. Engines without an index on text keep its `prefix_key` beside it."""
    ID_SET = auto()
    """Several ids, as `,1,2,` (see `id_set`)."""
    YES_NO = auto()
    """Whether there is a value: 1 or 0."""
    SECONDS = auto()
    """A length that may not be known: whole seconds and one more, 0 where it is not."""
    ANSWER = auto()
    """When the interaction was answered: milliseconds after its begin and one more, 0 where it was not."""
    TEXT_SET = auto()
    """Several texts, as `text_set` writes them."""
    PASSED = auto()
    """The texts that the record and its events have for one thing, each once, as `text_set` writes them."""


class Column(msgspec.Struct, frozen=True):
    """A value stores keep beside a record's JSON because a filter or a statistic asks for it: made from one attribute
    of a record, by the column's kind (see `store.sql.values`)."""

    name: str
    kind: Kind
    attribute: str
    words: tuple[str, ...] = ()
    """The vocabulary of `CODE` and `BITS`."""
    member: str = ""
    """Of an attribute that lists objects, the member of these that counts."""


COLUMNS: Final = (
    Column("type", Kind.CODE, "type", INTERACTION_TYPES),
    Column("disposition", Kind.CODE, "disposition", DISPOSITIONS),
    Column("end_reason", Kind.CODE, "end_reason", END_REASONS),
    Column("agent_id", Kind.ID, "agent_id"),
    Column("queue_id", Kind.ID, "queue_id"),
    Column("campaign_id", Kind.ID, "campaign_id"),
    Column("team_ids", Kind.ID_SET, "teams", member="id"),
    Column("wrapup_code", Kind.WORD, "wrapup_code"),
    Column("events", Kind.BITS, "events", EVENT_TYPES, member="type"),
    Column("duration_s", Kind.NUMBER, "duration_s"),
    Column("caller", Kind.PHONE, "from_"),
    Column("callee", Kind.PHONE, "to"),
    Column("tags", Kind.TEXT_SET, "tags"),
    Column("flags", Kind.BITS, "flags", FLAGS),
    Column("has_recording", Kind.YES_NO, "recording"),
    Column("answer_ms", Kind.ANSWER, "answered_at"),
    Column("talk_s", Kind.SECONDS, "talk_s"),
    Column("ring_s", Kind.SECONDS, "ring_s"),
    Column("wait_s", Kind.SECONDS, "wait_s"),
    Column("hold_s", Kind.SECONDS, "hold_s"),
    Column("wrapup_s", Kind.SECONDS, "wrapup_s"),
    Column("passed_queues", Kind.PASSED, "events", member="queue"),
)
COLUMN: Final = {column.name: column for column in COLUMNS}


@lru_cache(maxsize=16_384)
def id_set(ids: tuple[int, ...]) -> str:
    """`,1,2,`: ids in ascending order, each between commas."""
    return f",{','.join(map(str, sorted(set(ids))))},"


_BETWEEN: Final = "\x1f"
"""What stands between the texts of a set: the unit separator."""


@lru_cache(maxsize=16_384)
def text_set(texts: tuple[str, ...]) -> str:
    """Texts, a unit separator before, between and behind them; one that a text holds itself is written otherwise. So a
    text is in a set exactly if the set of it alone is a part of that."""
    plain = [text.replace("\x1e", "\x1e0").replace(_BETWEEN, "\x1e1") for text in texts]
    return f"{_BETWEEN}{_BETWEEN.join(plain)}{_BETWEEN}"


PREFIX_DIGITS: Final = 18
_BASE_11: Final = str.maketrans("0123456789", "123456789a")


@lru_cache(maxsize=131_072)
def prefix_key(number: str) -> int:
    """The leading digits of a number as one integer, so that "begins with" is a range of integers.

    Digit d is written as d + 1 in base 11, left-aligned in 18 places, 0 where no digit is: `44` stays apart from
    `440`, and 11**18 fits 63 bits.
    """
    if not (number.isascii() and number.isdigit()):
        length = 0
        while length < len(number) and number[length] in "0123456789":
            length += 1
        number = number[:length]
    return int(number[:PREFIX_DIGITS].translate(_BASE_11).ljust(PREFIX_DIGITS, "0"), 11)


def prefix_range(prefix: str) -> tuple[int, int] | None:
    """The keys of the numbers that begin with a prefix, both ends included; None where keys cannot tell."""
    if not (prefix.isascii() and prefix.isdigit() and len(prefix) <= PREFIX_DIGITS):
        return None
    digits = prefix.translate(_BASE_11)
    return int(digits.ljust(PREFIX_DIGITS, "0"), 11), int(digits.ljust(PREFIX_DIGITS, "a"), 11)


class Op(Enum):
    """How a filter compares its column with the values given."""

    BEGINS = auto()
    """Begins with the text."""
    CONTAINS = auto()
    """Contains the text."""
    IS = auto()
    """Is the text."""
    ANY_WORD = auto()
    """Is one of the words of a vocabulary (the values are codes)."""
    ANY_ID = auto()
    """Is one of the ids."""
    ANY_OF_SET = auto()
    """The set holds one of the ids."""
    ANY_TEXT = auto()
    """Is one of the texts."""
    ANY_TEXT_OF_SET = auto()
    """The set holds one of the texts."""
    ANY_BIT = auto()
    """Has one of the bits (one value, the mask)."""
    LONGER = auto()
    """Is greater than the number."""
    SHORTER = auto()
    """Is less than the number."""
    KNOWN_LONGER = auto()
    """Of a length that may not be known: is known, and greater than the number."""
    KNOWN_SHORTER = auto()
    """Likewise, and less."""
    ANY_UUID = auto()
    """Is one of the uuids."""
    YES = auto()
    """Is 1, or 0, as the value is."""
    LACKS = auto()
    """There is no value, or there is one: as the value is 1 or 0."""
    SINCE = auto()
    """The version was committed at or after the instant (epoch milliseconds); its column is not one of `COLUMNS`."""
    CALLED_BACK = auto()
    """It is a missed call, and what other records tell of its caller since is one of the words (the values are codes);
    its column is not one of `COLUMNS`."""


LISTS: Final = frozenset(
    (Op.ANY_WORD, Op.ANY_ID, Op.ANY_OF_SET, Op.ANY_TEXT, Op.ANY_TEXT_OF_SET, Op.ANY_BIT, Op.ANY_UUID, Op.CALLED_BACK)
)
"""Those that take several values."""


MAX_VALUES: Final = 1000
"""How many values a comma-separated parameter may hold."""


class Filter(msgspec.Struct, frozen=True, kw_only=True):
    """A parameter of the API that chooses records. Several filters combine with AND, the values of one with OR."""

    name: str
    op: Op
    column: str
    description: str
    example: str
    words: tuple[str, ...] = ()
    """The vocabulary of `ANY_WORD` and `ANY_BIT`."""
    word_aliases: Mapping[str, tuple[str, ...]] = {}
    """Other words accepted, and what each stands for."""
    aliases: tuple[str, ...] = ()
    """Other names of the parameter."""
    or_column: str = ""
    """Another column: it suffices if one of the two is as the filter says."""
    negated: bool = False
    """The records that are not as the filter says; those without a value are among them."""

    @property
    def all_words(self) -> tuple[str, ...]:
        """Every word accepted."""
        return tuple(dict.fromkeys((*self.words, *self.word_aliases)))


TRANSFERS: Final = ("blind_transfer", "attended_transfer", "queue_transfer")
EXITS: Final = ("exit_timeout", "exit_empty", "exit_key")
CALLBACK_STATES: Final = ("open", "returned", "answered_later")
"""What became of a missed call."""
CALLBACK_HOURS: Final = 24
MOST_CALLBACK_HOURS: Final = 720
_LISTED: Final = "One or several, comma-separated."
_TEXT: Final = "no wildcards, letters in any case"

_CHOOSING: Final = (
    Filter(
        name="cli",
        op=Op.BEGINS,
        column="caller",
        description=f"Caller's number begins with these digits (or this text, where it is a word); {_TEXT}.",
        example="447700",
    ),
    Filter(
        name="wildcard_cli",
        op=Op.CONTAINS,
        column="caller",
        description=f"Caller's number contains these digits (or this text); {_TEXT}.",
        example="9004",
    ),
    Filter(
        name="number",
        op=Op.BEGINS,
        column="callee",
        description=f"Called number begins with these digits (or this text, where it is a word); {_TEXT}.",
        example="442079",
    ),
    Filter(
        name="wildcard_number",
        op=Op.CONTAINS,
        column="callee",
        description=f"Called number contains these digits (or this text); {_TEXT}.",
        example="9460",
    ),
    Filter(
        name="from",
        op=Op.IS,
        column="caller",
        description="Caller's number is exactly this one.",
        example="447700900412",
    ),
    Filter(
        name="to",
        op=Op.IS,
        column="callee",
        description="Called number is exactly this one.",
        example="442079460018",
    ),
    Filter(
        name="type",
        op=Op.ANY_WORD,
        column="type",
        description=f"Kind of interaction; `queue_callback` finds scheduled callbacks as well. {_LISTED}",
        example="inbound",
        words=INTERACTION_TYPES,
        word_aliases={
            "campaign": ("dialer",),
            "callback": ("click_to_call",),
            "queue_callback": ("queue_callback", "scheduled_callback"),
            "queue-callback": ("queue_callback",),
            "scheduled-callback": ("scheduled_callback",),
        },
    ),
    Filter(
        name="disposition",
        op=Op.ANY_WORD,
        column="disposition",
        description=f"Outcome. {_LISTED}",
        example="answered",
        words=DISPOSITIONS,
    ),
    Filter(
        name="end_reasons",
        op=Op.ANY_WORD,
        column="end_reason",
        description=f"Who or what ended the interaction. {_LISTED}",
        example="agent_disconnect",
        words=END_REASONS,
    ),
    Filter(
        name="events",
        op=Op.ANY_BIT,
        column="events",
        description=(
            "A record matches if it has any of these events; `all_transfers` is every transfer, `all_exits` every way"
            f" out of a queue without an answer but hanging up. {_LISTED}"
        ),
        example="all_transfers",
        words=EVENT_TYPES,
        word_aliases={"all_transfers": TRANSFERS, "all_exits": EXITS},
    ),
    Filter(
        name="agent_ids",
        op=Op.ANY_ID,
        column="agent_id",
        description=f"Ids of agents, from the look-up `agents`. {_LISTED}",
        example="1201",
    ),
    Filter(
        name="queue_ids",
        op=Op.ANY_ID,
        column="queue_id",
        description="Ids of queues, from the look-up `queues`: a record's queue is the one that handled it last, so"
        f" that the sums of queues agree with the whole; `passed_queues` finds it by the others. {_LISTED}",
        example="501",
    ),
    Filter(
        name="passed_queues",
        op=Op.ANY_TEXT_OF_SET,
        column="passed_queues",
        description="A record matches if it passed any of these queues, whichever handled it last: their names, as"
        f" `queue` of the record or of its events has them, exactly. {_LISTED}",
        example="Support",
    ),
    Filter(
        name="team_ids",
        op=Op.ANY_OF_SET,
        column="team_ids",
        description=f"Ids of teams, from the look-up `teams`. {_LISTED}",
        example="101",
    ),
    Filter(
        name="campaign_ids",
        op=Op.ANY_ID,
        column="campaign_id",
        description=f"Ids of campaigns, from the look-up `campaigns`. {_LISTED}",
        example="301",
    ),
    Filter(
        name="wrapup_codes",
        op=Op.ANY_TEXT,
        column="wrapup_code",
        description=f"Wrap-up codes, the `code` of the look-up `wrapup_codes`. {_LISTED}"
        ' One with a comma in it stands in double quotes, as `"Sale, big"`.',
        example="0100",
        aliases=("wrapup_code_ids",),
    ),
    Filter(
        name="min_duration",
        op=Op.LONGER,
        column="duration_s",
        description="Longer than this many seconds (this many excluded).",
        example="30",
    ),
    Filter(
        name="max_duration",
        op=Op.SHORTER,
        column="duration_s",
        description="Shorter than this many seconds (this many excluded).",
        example="600",
    ),
    Filter(
        name="min_wait",
        op=Op.KNOWN_LONGER,
        column="wait_s",
        description="Waited longer than this many seconds (this many excluded).",
        example="20",
    ),
    Filter(
        name="max_wait",
        op=Op.KNOWN_SHORTER,
        column="wait_s",
        description="Waited shorter than this many seconds (this many excluded).",
        example="120",
    ),
    Filter(
        name="tags",
        op=Op.ANY_TEXT_OF_SET,
        column="tags",
        description=f"A record matches if it has any of these tags, each exactly as it is written. {_LISTED}",
        example="vip",
    ),
    Filter(
        name="flags",
        op=Op.ANY_BIT,
        column="flags",
        description=f"A record matches if it has any of these flags. {_LISTED}",
        example="provisional",
        words=FLAGS,
    ),
    Filter(
        name="party",
        op=Op.CONTAINS,
        column="caller",
        or_column="callee",
        description="Caller's or called number contains these digits (or this text); no wildcards.",
        example="9004",
    ),
    Filter(
        name="withheld",
        op=Op.LACKS,
        column="caller",
        description="`yes`: the caller's number is not there, as it was withheld or is not known; `no`: it is.",
        example="yes",
    ),
    Filter(
        name="has_recording",
        op=Op.YES,
        column="has_recording",
        description="`yes`: the record has a reference of a recording; `no`: it has none.",
        example="yes",
    ),
    Filter(
        name="callback_state",
        op=Op.CALLED_BACK,
        column="callback",
        description="Inbound calls that nobody took, by what became of their caller within `callback_hours`: whichever"
        " came first of an answered call to that number (`returned`) and an answered call from it (`answered_later`);"
        " else `open`, as every call whose number is withheld. Calls beyond the reader's reach do not count."
        f" {_LISTED}",
        example="open",
        words=CALLBACK_STATES,
    ),
    Filter(
        name="changed_since",
        op=Op.SINCE,
        column="written_ms",
        description="The record was written as it is now at or after this ISO 8601 instant with offset.",
        example="2026-01-31T08:00:00Z",
    ),
    Filter(
        name="uuid",
        op=Op.ANY_UUID,
        column="uuid",
        description=f"The records with these uuids. {_LISTED}",
        example="01980c1e-6f3a-8d21-9a3b-5c1f0e7d2b44",
    ),
)


def _without(filter_: Filter) -> Filter:
    """The filter that leaves out what another one chooses."""
    return msgspec.structs.replace(
        filter_,
        name=f"{filter_.name}_not",
        aliases=tuple(f"{alias}_not" for alias in filter_.aliases),
        negated=True,
        description=f"Leaves out the records that `{filter_.name}` with these values finds; those without a value stay."
        f" {_LISTED}",
    )


FILTERS: Final[tuple[Filter, ...]] = (*_CHOOSING, *(_without(filter_) for filter_ in _CHOOSING if filter_.op in LISTS))
FILTER: Final = {name: filter_ for filter_ in FILTERS for name in (filter_.name, *filter_.aliases)}


class Parameter(msgspec.Struct, frozen=True):
    """A parameter of the API that chooses no records by a column: the days, who asks, what a route takes of its own."""

    name: str
    description: str
    example: str
    schema: Mapping[str, object]


DAY_PARAMETERS: Final = (
    Parameter(
        "start_date",
        "First day, included, or an ISO 8601 instant with offset, included. Days are cut in the zone of `timezone`,"
        " else of the key's owner, else of their account, else UTC. Programs may send instants as they have them:"
        f" {EPOCH_FORMS}, or without an offset where `timezone` names the clock.",
        "2026-01-01",
        {"type": "string"},
    ),
    Parameter(
        "end_date",
        "Last day, included, or an ISO 8601 instant (as at `start_date`), excluded.",
        "2026-12-31",
        {"type": "string"},
    ),
    Parameter("timezone", "IANA name of the zone in which days are cut.", "Europe/London", {"type": "string"}),
)
FILTER_PARAMETERS: Final = (
    Parameter(
        "callback_hours",
        "Within how many hours a missed call counts as returned or answered later; only with `callback_state`,"
        f" {CALLBACK_HOURS} without it.",
        str(CALLBACK_HOURS),
        {"type": "integer", "minimum": 1, "maximum": MOST_CALLBACK_HOURS},
    ),
)
"""What filters need beside their values."""
KEY_PARAMETER: Final = Parameter(
    "key", "User API key; `Authorization: Bearer` does as well.", "", {"type": "string", "maxLength": 200}
)

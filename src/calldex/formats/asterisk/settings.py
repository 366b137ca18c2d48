"""What an Asterisk source's settings say, and what names mean under them.

An Asterisk writes neither its time zone, nor which channels are trunks, nor who sits at an extension: the settings of
the source do. This module checks them and answers questions about names; it reads no row and builds no call.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from fnmatch import translate
from functools import lru_cache
from typing import Annotated, Final
from zoneinfo import ZoneInfo

import msgspec

from calldex.errors import suggest
from calldex.formats import RowSettings
from calldex.zones import timezones

COLUMNS: Final = (
    "accountcode",
    "src",
    "dst",
    "dcontext",
    "clid",
    "channel",
    "dstchannel",
    "lastapp",
    "lastdata",
    "start",
    "answer",
    "end",
    "duration",
    "billsec",
    "disposition",
    "amaflags",
    "uniqueid",
    "userfield",
    "peeraccount",
    "linkedid",
    "sequence",
    "did",
    "recordingfile",
)
"""Every column a row may have: the 21 of cdr_csv in its order, then two that dialplans add to cdr_custom."""

SKIPPED: Final = "-"
"""In a column list: a column that is there and not read."""

_NEEDED: Final = (("start",), ("channel",), ("disposition",), ("end", "duration"), ("answer", "billsec"))
_SUFFIX: Final = re.compile(r"-[0-9a-f]{4,16}(?:[;,][12])?$")
_DIALLED: Final = re.compile(r"[0-9*#]+")

Patterns = tuple[str, ...]


class AsteriskSettings(RowSettings, frozen=True, kw_only=True):
    """The settings of an Asterisk source. Lists are comma-separated where they are given as one text.

    Patterns are shell globs (`*`, `?`, `[...]`) in any case, except `extensions`, which are dialplan patterns.
    `ValueError` on a setting that is no good or contradicts another, naming what is valid.
    """

    zone: Annotated[str, msgspec.Meta(description="IANA name of the zone in which the PBX writes CDR times.")]
    columns: Annotated[
        Patterns,
        msgspec.Meta(description="Columns of a cdr_custom file in order; `-` skips one. Empty: cdr_csv, any width."),
    ] = ()
    trunks: Annotated[
        Patterns, msgspec.Meta(description="Globs over channel names that are trunks, as `PJSIP/carrier-*`.")
    ] = ()
    extensions: Annotated[
        Patterns,
        msgspec.Meta(description="Dialplan patterns of internal numbers, as `10XX`: X 0-9, Z 1-9, N 2-9, `[1-3]`, `.`"),
    ] = ()
    inbound_contexts: Annotated[
        Patterns, msgspec.Meta(description="Globs over the contexts in which calls from outside begin.")
    ] = ()
    outbound_contexts: Annotated[
        Patterns, msgspec.Meta(description="Globs over the contexts in which calls to outside begin.")
    ] = ()
    dialer: Annotated[
        Patterns,
        msgspec.Meta(description="Globs: a call with such a context, account code or user field is a dialer's."),
    ] = ()
    click_to_call: Annotated[
        Patterns,
        msgspec.Meta(description="Globs: a call with such a context, account code or user field is a click-to-call."),
    ] = ()
    no_calls: Annotated[
        Patterns,
        msgspec.Meta(description="Globs over the contexts whose rows are no calls, as text messages or paging."),
    ] = ()
    agents: Annotated[
        Patterns,
        msgspec.Meta(
            description="Who sits at a channel or is a queue member, as `PJSIP/a1=Alice Moreno`; names may have commas."
        ),
    ] = ()
    outbound_prefix: Annotated[
        str, msgspec.Meta(description="What is dialled to get an outside line, as `9`; not part of the number called.")
    ] = ""
    charset: Annotated[
        str, msgspec.Meta(description="Encoding of a field whose bytes are not UTF-8, as `cp1252` or `koi8-r`.")
    ] = "cp1252"

    def __post_init__(self) -> None:
        super().__post_init__()
        _check_zone(self.zone)
        _check_columns(self.columns)
        _check_charset(self.charset)
        if self.outbound_prefix and not _DIALLED.fullmatch(self.outbound_prefix):
            raise ValueError(f"outbound_prefix={self.outbound_prefix!r}: only digits, * and # can be dialled")
        for one, other in (("inbound_contexts", "outbound_contexts"), ("dialer", "click_to_call")):
            both = set(getattr(self, one)) & set(getattr(self, other))
            if both:
                raise ValueError(f"{', '.join(sorted(both))}: in {one} and in {other}; a pattern can be in one of them")
        for name in ("trunks", "inbound_contexts", "outbound_contexts", "dialer", "click_to_call", "no_calls"):
            if any(not pattern.strip() for pattern in getattr(self, name)):
                raise ValueError(f"{name}: an empty pattern; leave the setting out to match nothing")
        names = _agent_names(self.agents)
        for pattern in self.extensions:
            _extension_regex(pattern)
        trunks = _globs(self.trunks)
        for peer in names:
            if trunks.match(f"{peer}-00000000"):
                raise ValueError(f"agents: {peer} is a trunk by {', '.join(self.trunks)}; an agent is not on a trunk")


class Profile(msgspec.Struct, frozen=True):
    """The settings made ready to be asked."""

    zone: ZoneInfo
    trunks: re.Pattern[str]
    has_trunks: bool
    extensions: re.Pattern[str]
    inbound_contexts: re.Pattern[str]
    outbound_contexts: re.Pattern[str]
    dialer: re.Pattern[str]
    click_to_call: re.Pattern[str]
    no_calls: re.Pattern[str]
    agents: dict[str, str]
    outbound_prefix: str

    def instant(self, text: str, near: datetime | None) -> datetime | None:
        """The instant of a local time, None for the ways of writing none.

        Of the two instants an hour has when clocks go back, the one nearer to `near`.
        """
        local = local_time(text)
        if local is None:
            return None
        first, second = (local.replace(tzinfo=self.zone, fold=fold).astimezone(UTC) for fold in (0, 1))
        if near is None or abs(first - near) <= abs(second - near):
            return first
        return second

    def is_trunk(self, channel: str) -> bool:
        """Whether a channel, or what a Dial was told to call, is a trunk."""
        return bool(self.trunks.match(channel))

    def is_extension(self, number: str | None) -> bool:
        """Whether a number is one of the house."""
        return number is not None and bool(self.extensions.fullmatch(number))

    def person(self, token: str) -> str:
        """The name of an agent, from the queue member name, interface or channel; unknown ones keep what they have."""
        peer = peer_of(token)
        return self.agents.get(peer) or self.agents.get(peer.removesuffix("/n")) or peer


@lru_cache(maxsize=64)
def profile(settings: AsteriskSettings) -> Profile:
    """The profile of settings; made once."""
    return Profile(
        zone=ZoneInfo(settings.zone),
        trunks=_globs(settings.trunks),
        has_trunks=bool(settings.trunks),
        extensions=re.compile("|".join(map(_extension_regex, settings.extensions)) or r"(?!)"),
        inbound_contexts=_globs(settings.inbound_contexts),
        outbound_contexts=_globs(settings.outbound_contexts),
        dialer=_globs(settings.dialer),
        click_to_call=_globs(settings.click_to_call),
        no_calls=_globs(settings.no_calls),
        agents=_agent_names(settings.agents),
        outbound_prefix=settings.outbound_prefix,
    )


_TIME: Final = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d(?:\.\d{1,6})?", re.ASCII)
_ZERO_TIME: Final = re.compile(r"0000-00-00(?: 00:00:00(?:\.0{1,6})?)?")
_FIRST_YEAR: Final = 1971
_LAST_YEAR: Final = 9000


@lru_cache(maxsize=4096)
def local_time(text: str) -> datetime | None:
    """A time as the CDR writes it, without zone; None for empty, zero dates and epoch 0. `ValueError` on anything else.

    Asterisk prints epoch 0 in its own zone, so all of 1970 and before counts as "no time".
    """
    if not text or _ZERO_TIME.fullmatch(text):
        return None
    if not _TIME.fullmatch(text):
        raise ValueError(f"not a time: {text[:40]!r}, valid is YYYY-MM-DD HH:MM:SS")
    try:
        local = datetime.fromisoformat(text)
    except ValueError:
        raise ValueError(f"not a time: {text!r} is not in the calendar") from None
    if local.year > _LAST_YEAR:
        raise ValueError(f"not a time: {text!r} is beyond the year {_LAST_YEAR}")
    return local if local.year >= _FIRST_YEAR else None


def peer_of(channel: str) -> str:
    """A channel's name without the part that is new for each call: `PJSIP/agent1-0000000a` is `PJSIP/agent1`."""
    return _SUFFIX.sub("", channel)


def _globs(patterns: Patterns) -> re.Pattern[str]:
    return re.compile("|".join(translate(pattern.strip()) for pattern in patterns) or r"(?!)", re.IGNORECASE)


_CLASSES: Final = {"X": "[0-9]", "Z": "[1-9]", "N": "[2-9]"}
_PATTERN_PART: Final = re.compile(r"\[[0-9A-Za-z*#-]+\]|[0-9A-Za-z*#+_-]")


def _extension_regex(pattern: str) -> str:
    """The regular expression of a dialplan pattern, with or without its leading underscore.

    Unlike in a dialplan only the capitals X, Z and N are classes, so that a name as `line1` stays a name.
    """
    body = pattern.strip().removeprefix("_")
    open_end = body.endswith((".", "!"))
    parts = _PATTERN_PART.findall(body[:-1] if open_end else body)
    if not body or "".join(parts) != (body[:-1] if open_end else body):
        raise ValueError(
            f"extensions: {pattern!r} is not a dialplan pattern; valid are digits, X, Z, N, [1-5] and at the end . or !"
        )
    regex = "".join(_CLASSES.get(part) or (part if part.startswith("[") else re.escape(part)) for part in parts)
    try:
        re.compile(regex)
    except re.error as error:
        raise ValueError(f"extensions: {pattern!r} is not a dialplan pattern: {error}") from None
    return regex + {".": ".+", "!": ".*"}.get(body[-1], "")


def _agent_names(agents: Patterns) -> dict[str, str]:
    names: dict[str, str] = {}
    for entry in _whole_entries(agents):
        peer, equals, name = (part.strip() for part in entry.partition("="))
        if not (peer and equals and name):
            raise ValueError(f"agents: {entry!r} is not CHANNEL=NAME, as PJSIP/agent1=Alice Moreno")
        if names.setdefault(peer, name) != name:
            raise ValueError(f"agents: {peer} is given as {names[peer]!r} and as {name!r}; give it once")
    return names


def _whole_entries(agents: Patterns) -> list[str]:
    """Entries, also of names that have commas, as `Moreno, Alice`: a piece without `=` goes on with the name before,
    unless it looks like a channel whose name was forgotten."""
    entries: list[str] = []
    for piece in agents:
        if entries and "=" not in piece and "/" not in piece:
            entries[-1] += f", {piece.strip()}"
        else:
            entries.append(piece)
    return entries


def _check_zone(zone: str) -> None:
    if zone not in timezones():
        raise ValueError(
            f"zone={zone[:100]!r} is not a time zone{suggest(zone, sorted(timezones()))};"
            " valid is an IANA name such as Europe/London, or UTC"
        )


def _check_columns(columns: Patterns) -> None:
    valid = f"valid are {', '.join(COLUMNS)}, and {SKIPPED} for a column not to be read"
    named = [column for column in columns if column != SKIPPED]
    for column in named:
        if column not in COLUMNS:
            raise ValueError(f"columns: unknown column {column!r}; {valid}")
        if named.count(column) > 1:
            raise ValueError(f"columns: {column} is given twice; {valid}")
    if not columns:
        return
    for choice in _NEEDED:
        if not set(choice) & set(named):
            raise ValueError(f"columns: no {' or '.join(choice)} among {', '.join(columns)}; a call needs it")


_PROBE: Final = bytes(range(128)) + b"\\ud800+2AA-"
"""Every ASCII character, and what UTF-7 and the escape encodings would turn into something else."""


def _check_charset(charset: str) -> None:
    try:
        holds_ascii = _PROBE.decode(charset) == _PROBE.decode("ascii")
    except (LookupError, ValueError):
        holds_ascii = False
    if not holds_ascii:
        raise ValueError(
            f"charset={charset!r} is not an encoding that holds ASCII; valid are as cp1252, latin-1, koi8-r"
        )

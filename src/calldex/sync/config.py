"""The file of `calldex sync`: sources, destinations, and the pipes between them.

It is read whole and checked whole: every member that is wrong is named, as `destination.warehouse.url`. What is secret
is not in it: `env:NAME` stands for a variable of the environment, `file:PATH` for the content of a file, wherever a
text can stand.
"""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Iterator, Mapping
from datetime import date
from importlib import import_module
from pathlib import Path
from typing import Annotated, Any, Final, Literal, TypeVar

import msgspec
from msgspec import Meta

from calldex.errors import BadSettings, Problem, UnreadableInput, suggest
from calldex.inputs import read_members
from calldex.sync.destinations import KINDS, Copy, Destination, Url
from calldex.zones import timezones

S = TypeVar("S", bound=msgspec.Struct)

FILE_LIMIT: Final = 1024 * 1024
STATE_SUFFIX: Final = ".state"
"""What is kept of pipes beside the file: `sync.toml.state`."""
SECRETS: Final = frozenset(
    ("key", "token", "secret", "password", "access_token", "refresh_token", "client_secret", "secret_access_key")
)
"""Members that are `env:` or `file:` and nothing else, so that the file can be shown and kept under version control."""
_PARTS: Final = ("source", "destination", "pipe", "watch")
_OWN: Final = frozenset(("key", "page", "per_page", "search_token", "cursor", "start", "limit", "wait", "timezone"))
"""Parameters by which a sync reads, and no filters."""
_NAME: Final = re.compile(r"[A-Za-z0-9_-]{1,64}")
_UNITS: Final = {"s": 1, "m": 60, "h": 3600, "d": 86_400}
_SPAN: Final = re.compile(r"([1-9][0-9]{0,5})([smhd])")
Span = Annotated[str, Meta(pattern=rf"^{_SPAN.pattern}$", description="30s, 5m, 2h, 1d")]
"""A length of time: `30s`, `5m`, `2h`, `1d`."""
Values = str | int | bool | list[str | int]


def seconds(span: str) -> int:
    """The seconds of a span; `ValueError` if it is none."""
    found = _SPAN.fullmatch(span)
    if found is None:
        raise ValueError(f"{span!r} is not a length of time; valid: 30s, 5m, 2h, 1d")
    return int(found[1]) * _UNITS[found[2]]


class Source(msgspec.Struct, frozen=True, kw_only=True):
    """An endpoint of the contract. `account` is what copies call it; its name in the file, if not given."""

    url: Url
    key: str
    kind: Literal["calldex", "v2"] | None = None
    account: str = ""
    look_back: Annotated[int, Meta(ge=1, le=366)] = 3
    """Of v2: how many days, today among them, are read again each time, since records change after the call."""
    since: date | None = None
    """Of v2: the first day that is read; the first that has records, if not given."""
    requests_per_minute: Annotated[int, Meta(ge=1, le=100_000)] = 600
    timezone: str = "UTC"
    """Of v2: the zone in which the endpoint cuts days: that of the key's owner."""


class Pipe(msgspec.Struct, frozen=True, kw_only=True, rename={"from_": "from"}):
    """What goes from a source to a destination: the records that match the filters, with these fields (or all)."""

    from_: str
    to: str
    every: Span | None = None
    filters: dict[str, Values] = {}
    fields: list[str] = []
    lookups: bool = True
    """Whether agents, queues, teams, campaigns and wrap-up codes go as well, where the destination has tables."""


class Watch(msgspec.Struct, frozen=True, kw_only=True):
    """Who is told when a pipe falls behind or is not equal: a webhook, or somebody by e-mail."""

    webhook: Url | None = None
    email: str | None = None
    smtp: Annotated[str, Meta(pattern="^smtps?://", description="smtp://host:25, smtps://host")] = "smtp://localhost:25"
    sender: str = "calldex-sync@localhost"
    lag: Span = "1h"
    """A pipe that was not up to date for so long has fallen behind."""


class Target(msgspec.Struct, frozen=True, kw_only=True):
    """A destination of the file: its kind, and its own options as the destination declares them."""

    kind: str
    options: msgspec.Struct

    @property
    def made(self) -> type[Destination]:
        """The class that carries it out."""
        return destination(self.kind)

    @property
    def place(self) -> bytes:
        """Where it is, whatever it is called in the file."""
        return msgspec.json.encode((self.kind, self.options))


class Config(msgspec.Struct, frozen=True, kw_only=True):
    """The whole file, each part by its name. `path` is where it lies."""

    path: Path
    sources: dict[str, Source]
    destinations: dict[str, Target]
    pipes: dict[str, Pipe]
    watch: Watch = Watch()

    @property
    def state(self) -> Path:
        """The file of what is kept of pipes."""
        return self.path.with_name(self.path.name + STATE_SUFFIX)

    def chosen(self, names: tuple[str, ...]) -> list[str]:
        """The pipes of these names; all where none is named. `BadSettings` for one that there is not."""
        wrong = [name for name in names if name not in self.pipes]
        if wrong:
            raise BadSettings([_unknown("pipe", name, self.pipes) for name in wrong])
        return list(names or self.pipes)


def destination(kind: str) -> type[Destination]:
    """The class of a kind of destination; it is imported only now."""
    module, _, name = KINDS[kind].partition(":")
    found: type[Destination] = getattr(import_module(module), name)
    return found


def load(path: Path, environment: Mapping[str, str] = os.environ) -> Config:
    """The file, read and checked; `UnreadableInput`, or `BadSettings` with everything that is wrong in it."""
    return parse(_read(path), path, environment)


def parse(found: Mapping[str, Any], path: Path, environment: Mapping[str, str]) -> Config:
    """The same of what stands in the file."""
    problems: list[Problem] = [
        Problem(name, "", f"there is no such part{suggest(name, _PARTS)}", ", ".join(_PARTS))
        for name in found
        if name not in _PARTS
    ]
    parts = {part: _named(part, found.get(part, {}), problems) for part in _PARTS[:3]}
    read = _Reader(environment, path.parent, problems)
    sources = {name: read.struct(f"source.{name}", given, Source) for name, given in parts["source"].items()}
    targets = {name: read.target(f"destination.{name}", given) for name, given in parts["destination"].items()}
    pipes = {name: read.struct(f"pipe.{name}", given, Pipe) for name, given in parts["pipe"].items()}
    watch = read.struct("watch", found.get("watch", {}), Watch)
    problems += _unheard_of(pipes, sources, targets)
    if not problems:
        problems += _contending(_whole(pipes), _whole(sources), _whole(targets))
    if not problems and not pipes:
        problems.append(Problem("pipe", "", "there is none", "[pipe.NAME] with `from` and `to`"))
    if problems:
        raise BadSettings(problems)
    return Config(
        path=path, sources=_whole(sources), destinations=_whole(targets), pipes=_whole(pipes), watch=watch or Watch()
    )


def _unheard_of(
    pipes: Mapping[str, Pipe | None], sources: Mapping[str, Source | None], targets: Mapping[str, Target | None]
) -> Iterator[Problem]:
    """Names that mean nothing: of a zone, of either end of a pipe; and filters by which a sync itself reads."""
    for name, source in sources.items():
        if source is not None and source.timezone not in timezones():
            said = f"is no time zone{suggest(source.timezone, timezones())}"
            yield Problem(f"source.{name}.timezone", source.timezone, said, "Europe/London, UTC")
    for name, pipe in pipes.items():
        if pipe is None:
            continue
        if pipe.from_ not in sources:
            yield _unknown(f"pipe.{name}.from", pipe.from_, sources)
        if pipe.to not in targets:
            yield _unknown(f"pipe.{name}.to", pipe.to, targets)
        for own in sorted(_OWN & pipe.filters.keys()):
            given = "" if own in SECRETS else str(pipe.filters[own])[:100]
            yield Problem(f"pipe.{name}.filters.{own}", given, "is no filter: the sync itself sets it")


def _contending(
    pipes: Mapping[str, Pipe], sources: Mapping[str, Source], targets: Mapping[str, Target]
) -> Iterator[Problem]:
    """Pipes that would delete each other's records: of one account, into one copy."""
    first: dict[tuple[bytes, str], str] = {}
    for name, pipe in pipes.items():
        account = sources[pipe.from_].account or pipe.from_
        target = targets[pipe.to]
        if issubclass(target.made, Copy) and (other := first.setdefault((target.place, account), name)) != name:
            yield Problem(
                f"pipe.{name}.to",
                pipe.to,
                f"the pipe {other} brings the account {account} there",
                "another destination",
            )


class _Reader:
    """Reads parts of the file as structs, and notes what is wrong."""

    def __init__(self, environment: Mapping[str, str], folder: Path, problems: list[Problem]) -> None:
        self._environment = environment
        self._folder = folder
        self._problems = problems

    def struct(self, at: str, given: Any, kind: type[S]) -> S | None:
        """A part as a struct; None if something is wrong with it."""
        if not isinstance(given, dict):
            self._problems.append(Problem(at, str(given)[:100], "is no table", f"[{at}]"))
            return None
        before = len(self._problems)
        resolved = {name: self._resolved(f"{at}.{name}", name, value) for name, value in given.items()}
        if len(self._problems) > before:
            return None
        found: list[Problem] = []
        made = read_members(resolved, kind, found)
        self._problems += [_hidden(at, problem, given) for problem in found]
        return made

    def target(self, at: str, given: Any) -> Target | None:
        """A destination."""
        kind = given.get("kind") if isinstance(given, dict) else None
        if not isinstance(kind, str) or kind not in KINDS:
            self._problems.append(
                Problem(
                    f"{at}.kind",
                    str(kind or ""),
                    f"is no kind of destination{suggest(str(kind), KINDS)}",
                    ", ".join(KINDS),
                )
            )
            return None
        rest = {name: value for name, value in given.items() if name != "kind"}
        options = self.struct(at, rest, destination(kind).Options)
        return None if options is None else Target(kind=kind, options=options)

    def _resolved(self, at: str, name: str, value: Any) -> Any:
        """A value with what `env:` and `file:` stand for."""
        if isinstance(value, dict):
            return {inner: self._resolved(f"{at}.{inner}", inner, each) for inner, each in value.items()}
        if not isinstance(value, str):
            return value
        way, colon, rest = value.partition(":")
        if colon and way == "env":
            if self._environment.get(rest):
                return self._environment[rest]
            self._problems.append(Problem(at, value, "the environment has no such variable, or an empty one"))
        elif colon and way == "file":
            try:
                return (self._folder / rest).read_text().strip()
            except (OSError, UnicodeDecodeError) as error:
                why = getattr(error, "strerror", None) or "it is not UTF-8"
                self._problems.append(Problem(at, value, f"the file cannot be read: {why}"))
        elif name in SECRETS:
            self._problems.append(Problem(at, "", "a secret does not stand in the file", '"env:NAME" or "file:PATH"'))
        return value


def _hidden(at: str, problem: Problem, given: Mapping[str, Any]) -> Problem:
    """A problem of a part's member by its whole name; what came from elsewhere is shown as it stands in the file."""
    raw = given.get(problem.parameter)
    shown = raw if isinstance(raw, str) else problem.given
    return Problem(f"{at}.{problem.parameter}", shown[:100], problem.message, problem.valid)


def _named(part: str, given: Any, problems: list[Problem]) -> dict[str, Any]:
    if not isinstance(given, dict):
        problems.append(Problem(part, str(given)[:100], "is no table", f"[{part}.NAME]"))
        return {}
    problems += [
        Problem(f"{part}.{name[:100]}", "", "a name has 1 to 64 letters, digits, `_` and `-`")
        for name in given
        if not _NAME.fullmatch(name)
    ]
    return given


def _unknown(at: str, name: str, known: Mapping[str, object]) -> Problem:
    return Problem(at, name, f"there is none of this name{suggest(name, known)}", ", ".join(known))


def _whole(parts: dict[str, S | None]) -> dict[str, S]:
    return {name: part for name, part in parts.items() if part is not None}


def _read(path: Path) -> dict[str, Any]:
    try:
        with path.open("rb") as file:
            body = file.read(FILE_LIMIT + 1)
    except OSError as error:
        raise UnreadableInput(f"{path} cannot be read: {error.strerror}; make one with `calldex sync init`") from None
    if len(body) > FILE_LIMIT:
        raise UnreadableInput(f"{path} is larger than {FILE_LIMIT} bytes")
    try:
        return tomllib.loads(body.decode())
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UnreadableInput(f"{path} is not TOML: {error}") from None

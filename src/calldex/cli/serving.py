"""`calldex serve` and `demo`: the commands that own a data directory as long as they run."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime, timedelta
from datetime import time as datetime_time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click
import msgspec

from calldex.cli import options, output
from calldex.cli.command import Command
from calldex.clock import now, now_ms
from calldex.errors import Conflict, UnreadableInput

if TYPE_CHECKING:
    from calldex.formats import FormatSettings
    from calldex.node import Node
    from calldex.records.record import Cdr

DEMO_FILE: Final = "demo.json"
DEMO_SOURCE: Final = "demo"
DEMO_RECORDS: Final = 50_000
DEMO_SEED: Final = 1
DEMO_DAYS: Final = 42
DEMO_KEY_DAYS: Final = 7


@click.command(
    cls=Command,
    epilog=f"""\b
Examples:
  calldex serve --data /srv/calldex --host 0.0.0.0 --port 8080
  CALLDEX_LOG_FORMAT=json calldex serve --data /srv/calldex

{options.ENVIRONMENT} Ctrl-C or SIGTERM ends it, when running requests have finished.
""",
)
@options.data
@options.every_setting
def serve(data: Path | None, **flags: object) -> None:
    """Answer the API over a data directory."""
    with _node(data, flags) as node:
        _serve(node, lambda url: click.echo(f"Calldex serves {node.settings.data} on {url} until Ctrl-C"))


class Demo(msgspec.Struct, frozen=True):
    """Which demo a data directory holds, and whether all of it is there."""

    records: int
    seed: int
    complete: bool
    end: datetime = datetime(2026, 10, 1, tzinfo=UTC)
    """Where its records end; those of older demos ended there."""


class _End(click.ParamType[datetime]):
    """With which the demo ends: a date, or `today`, which is an hour ago, so that all of it is over."""

    name = "end"

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> datetime:
        """The instant."""
        if value == "today":
            return now().replace(second=0, microsecond=0) - timedelta(hours=1)
        try:
            return datetime.combine(date.fromisoformat(value), datetime_time.min, UTC) + timedelta(days=1)
        except (ValueError, OverflowError):
            self.fail(f"{value!r} is neither `today` nor a date as 2026-09-30", param, ctx)


@click.command(
    cls=Command,
    epilog="""\b
Examples:
  calldex demo
  calldex demo --records 1000000 --seed 7 --data /tmp/big --port 8081
  calldex demo --end 2026-09-30 --data /tmp/fixed

The same seed and end give the same records. A demo that is there already is served as it is, with a new key.
""",
)
@click.option(
    "--records", type=click.IntRange(min=0), metavar="N", help=f"How many interactions.  [default: {DEMO_RECORDS}]"
)
@click.option("--seed", type=int, metavar="S", help=f"Random seed.  [default: {DEMO_SEED}]")
@click.option(
    "--end", type=_End(), metavar="DATE", help="The last day, UTC; `today` ends an hour ago.  [default: today]"
)
@options.data
@options.every_setting
def demo(records: int | None, seed: int | None, end: datetime | None, data: Path | None, **flags: object) -> None:
    """Make a believable contact centre, and serve it."""
    with _node(data, flags, free_port=True) as node:
        made = _demo(node, records, seed, end)

        def announce(url: str) -> None:
            from calldex.networks import is_loopback
            from calldex.onetime import OneTimeCode
            from calldex.texts import PREFIX_LENGTH

            admin = next(user for user in node.directory.users() if user.role == "admin" and not user.disabled_at)
            ends = now_ms() + DEMO_KEY_DAYS * 86_400_000
            key = node.directory.create_key(admin.email, expires_at=ends)
            node.audit.owner("key_created", node.directory.account().id, admin.email, key=key[:PREFIX_LENGTH])
            link = ""
            if is_loopback(node.settings.host):
                node.one_time_code = OneTimeCode(admin.email)
                link = (
                    f"  Look      {url}/signin#code={node.one_time_code.code}\n"
                    f"            signs {admin.name} in, once, within ten minutes\n"
                )
            click.echo(
                f"Calldex demo: {made.records:,} interactions in {DEMO_DAYS} days up to {made.end:%Y-%m-%d %H:%M} UTC,"
                f" seed {made.seed}, in {node.settings.data}\n\n"
                f"{link}"
                f"  Base URL  {url}\n"
                f"  API key   {key}\n"
                f"            new, of {admin.email}; it is shown this once and works for {DEMO_KEY_DAYS} days\n"
                f"  Try       curl -H 'Authorization: Bearer {key}' '{url}/api/v2/cdr?per_page=2'\n\n"
                "It runs until Ctrl-C."
            )

        _serve(node, announce)


@contextmanager
def _node(data: Path | None, flags: dict[str, object], *, free_port: bool = False) -> Iterator[Node]:
    """The node; with `free_port`, not before it is known that its port can be had."""
    from calldex.allocator import keep_freed_memory
    from calldex.api.server import check_port
    from calldex.cli.process import prepare
    from calldex.node import Node

    if not os.isatty(0):  # a service's reload, not the end of a terminal
        signal.signal(signal.SIGHUP, signal.SIG_IGN)  # until there is a certificate to read again
    settings, origins = options.resolved(data, flags)
    prepare(settings, origins, serving=True)
    if free_port:
        check_port(settings)
    keep_freed_memory()  # before there are threads
    with Node(settings) as node:
        if node.is_new:
            output.say(f"{settings.data} is a new data directory.")
        yield node


def _serve(node: Node, announce: Any) -> None:
    from calldex.api.control import control
    from calldex.api.server import serve as served

    served(node, control(node), announce=announce)


# --- the demo's data --------------------------------------------------------------------------------------------------


def _demo(node: Node, records: int | None, seed: int | None, end: datetime | None) -> Demo:
    """The demo that the data directory holds, or the one that it is given; `Conflict` if it holds something else.

    One that was interrupted is completed: what is there already is left unchanged.
    """
    path = node.settings.data / DEMO_FILE
    known = _read(path)
    wanted = Demo(
        (known.records if known else DEMO_RECORDS) if records is None else records,
        (known.seed if known else DEMO_SEED) if seed is None else seed,
        complete=True,
        end=(known.end if known else _End()("today")) if end is None else end,
    )
    used = any(node.store.head(account.id) for account in node.directory.accounts()) or node.directory.users()
    if known is None and used:
        raise Conflict(
            f"{node.settings.data} holds data that is no demo; name another directory with --data,"
            " or serve it with `calldex serve`"
        )
    if known is not None and msgspec.structs.replace(known, complete=True) != wanted:
        raise Conflict(
            f"{node.settings.data} holds a demo of {known.records} records with seed {known.seed} that ends with"
            f" {known.end:%Y-%m-%d %H:%M} UTC; leave --records, --seed and --end out to serve it, or name another"
            " directory with --data"
        )
    _place_recordings(node)
    if known is None or not known.complete:
        _write(path, msgspec.structs.replace(wanted, complete=False))
        _fill(node, wanted)
        _write(path, wanted)
    return wanted


def _read(path: Path) -> Demo | None:
    try:
        return msgspec.json.decode(path.read_bytes(), type=Demo)
    except FileNotFoundError:
        return None
    except msgspec.DecodeError as error:
        raise UnreadableInput(f"{path} was not written by a demo: {error}") from None


def _write(path: Path, made: Demo) -> None:
    half = path.with_suffix(".half")
    half.write_bytes(msgspec.json.encode(made))
    half.replace(path)


def _place_recordings(node: Node) -> None:
    """The source that the records name: its recordings are made when somebody listens."""
    from calldex.recordings.places import INVENTED

    if not any(source.name == DEMO_SOURCE for source in node.directory.sources()):
        node.directory.add_source(DEMO_SOURCE, "jsonl", {"recordings": INVENTED})


def _fill(node: Node, wanted: Demo) -> None:
    """Cast the centre, and import what happened in it."""
    from calldex import demo as demos
    from calldex.admin.quarantine import note_ingest
    from calldex.directory import TeamChanges
    from calldex.formats.jsonl import JsonlSettings
    from calldex.ingest.calls import Feed

    centre = demos.centre(wanted.seed, wanted.records, DEMO_DAYS)
    known = {user.email for user in node.directory.users()}
    for team in centre.teams:
        node.directory.put_team("main", team.id, TeamChanges(name=team.name or str(team.id)))
    for user in demos.users(centre):
        if user.email not in known:
            node.directory.add_user(
                user.email,
                user.name,
                user.role,
                timezone=user.timezone,
                extension=user.extension,
                agent_id=user.agent_id,
                skills=user.skills,
                teams=user.member_of,
                supervises=user.supervises,
            )
    feed = Feed(
        account_id=node.directory.account().id,
        source=DEMO_SOURCE,
        format=_DemoFormat(demos.interactions(wanted.records, wanted.seed, wanted.end, DEMO_DAYS)),
        settings=JsonlSettings(),
    )
    with _progress(wanted.records) as tell:
        summary = node.ingest.run(feed, (), "demo", lambda summary: tell(summary.read))
    note_ingest(node, feed.account_id, "jsonl", summary)


class _DemoFormat:
    """The records of a demo, as if they were read from JSON Lines."""

    name = "jsonl"

    def __init__(self, records: Iterable[Cdr]) -> None:
        from calldex.formats.jsonl import JsonlSettings

        self.settings: type[FormatSettings] = JsonlSettings
        self._records = records

    def sniff(self, head: bytes) -> bool:
        """There is nothing to be read."""
        return False

    def read(self, chunks: Iterable[bytes], settings: FormatSettings) -> Iterator[Cdr]:
        """The records."""
        from calldex.records.record import canonical

        yield from map(canonical, self._records)


@contextmanager
def _progress(records: int) -> Iterator[Any]:
    """A bar on a terminal, a line elsewhere."""
    console = output.console(err=True)
    if not console.is_terminal:
        output.say(f"making a contact centre with {records:,} interactions")
        yield lambda done: None
        return
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("Making a contact centre"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True) as bars:
        task = bars.add_task("", total=records)
        yield lambda done: bars.update(task, completed=done)

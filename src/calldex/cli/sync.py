"""`calldex sync`: keeps copies of records up to date elsewhere. It needs no data directory."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import date, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from calldex.cli import options, output
from calldex.cli.command import Group

if TYPE_CHECKING:
    from calldex.sync.config import Config
    from calldex.sync.runner import Worker

_UNDONE: Final = 1
_LATER: Final = 3
_DAY: Final = click.DateTime(formats=["%Y-%m-%d"])
_pipes = click.argument("pipes", nargs=-1, metavar="[PIPE]...", help="The pipes; all, if none is named.")


@click.group(cls=Group)
@click.option(
    "--config",
    "path",
    type=click.Path(path_type=Path),
    default=Path("sync.toml"),
    show_default=True,
    metavar="FILE",
    help="The file that names sources, destinations and pipes.",
)
@click.pass_context
def sync(context: click.Context, path: Path) -> None:
    """Keep copies up to date elsewhere: warehouses, CRM, files, another Calldex.

    Reads any endpoint of the CDR API, Calldex's or the vendor's. Needs `pip install "calldex[sync]"` for warehouses and
    files. What was delivered stands beside the file, or in the destination; a sync can be killed at any moment.

    Exit codes: 0 done; 1 something is left undone (records that failed, days that could not be read whole, a copy that
    is not equal, a key that is not valid); 2 the file or the command is wrong; 3 a source or a destination cannot be
    used now, the same may work later; 5 the file cannot be read; 6 another sync works with it.
    """
    context.obj = path


@sync.command(epilog="Example: calldex sync init")
@click.pass_obj
def init(path: Path) -> None:
    """Write a commented file by asking."""
    from calldex.sync.starting import DESTINATIONS, written

    if path.exists():
        raise click.UsageError(f"{path} is there already; name another with --config")
    url = click.prompt("Address of the source", default="http://127.0.0.1:8080")
    key = click.prompt("Variable of the environment that holds its key", default="CDR_KEY")
    kind = click.prompt("Kind of destination", type=click.Choice(list(DESTINATIONS)), default="postgres")
    given = {name: click.prompt(words, default=default) for name, words, default in DESTINATIONS[kind]}
    path.write_text(written(url, key, kind, given))
    output.say(f"Wrote {path}. Try it with: calldex sync --config {path} check")


@sync.command(epilog="Example: calldex sync check")
@_pipes
@click.pass_obj
def check(path: Path, pipes: tuple[str, ...]) -> None:
    """Try every connection, and say what is wrong.

    Nothing is changed. Exit code 3 if a pipe cannot run.
    """
    from calldex.client import ClientError
    from calldex.sync.destinations import DestinationProblem

    wrong = False
    with _opened(path, pipes) as (_, workers, _file):
        for name, worker in workers.items():
            try:
                output.say(f"{name}: works; its source is of the kind {worker.check()}")
            except (ClientError, DestinationProblem) as error:
                wrong = True
                output.say(f"{name}: {error}")
    if wrong:
        raise click.exceptions.Exit(_LATER)


@sync.command(
    epilog="""\b
Examples:
  calldex sync run
  calldex sync --config /etc/calldex/sync.toml run --every 5m --metrics-port 9109
"""
)
@_pipes
@click.option("--every", metavar="SPAN", help="Go on for ever: feeds are followed, lists read every 5m, say.")
@click.option("--metrics-port", type=click.IntRange(1, 65535), help="Answer Prometheus at this port of 127.0.0.1.")
@click.option("--metrics-file", type=click.Path(path_type=Path), help="Write metrics to this file, for node_exporter.")
@click.pass_obj
def run(
    path: Path, pipes: tuple[str, ...], every: str | None, metrics_port: int | None, metrics_file: Path | None
) -> None:
    """Bring destinations up to date, once or for ever.

    A pipe's own `every` comes before that of the command.
    """
    from calldex.sync.config import seconds
    from calldex.sync.service import serve

    if every is not None:
        try:
            seconds(every)
        except ValueError as error:
            raise click.BadParameter(str(error), param_hint="--every") from None
    with _opened(path, pipes, progress=every is None, working=True) as (config, workers, file):
        watched = _Watched(config, file, workers, metrics_file)
        if metrics_port is not None:
            try:
                watched.metrics.serve(metrics_port)
            except OSError as error:
                why = f"{metrics_port} cannot be listened at: {error.strerror}"
                raise click.BadParameter(why, param_hint="--metrics-port") from None
        if every is not None:
            stopping = next(iter(workers.values())).stopping
            for number in (signal.SIGTERM, signal.SIGINT):
                signal.signal(number, lambda *_: stopping.set())
            if not serve(workers, every, stopping, watched.look, config.watch.lag):
                os._exit(0)  # what a library waits for would hold it back; a sync may end anywhere
            return
        _each(workers, lambda worker: worker.run())
        watched.look()
        _left(workers)


@sync.command(epilog="Example: calldex sync verify --deep calls")
@_pipes
@click.option("--deep", is_flag=True, help="Read everything, and compare what each row of a copy says.")
@click.pass_obj
def verify(path: Path, pipes: tuple[str, ...], deep: bool) -> None:
    """Prove copies equal, and repair what differs.

    By the checksums of Calldex, each day, then hours; of another endpoint everything is read and compared. That shows
    which records are there in which version. Exit code 1 if something differs all the same.
    """
    with _opened(path, pipes, progress=True, working=True) as (config, workers, file):
        _each(workers, lambda worker: worker.verify(deep=deep))
        _Watched(config, file, workers, None).look()
        for name, worker in workers.items():
            if not worker.status.problem:
                output.say(f"{name}: {worker.status.unequal or 'equal'}; repaired: {worker.status.repaired:,}")
        _left(workers)


@sync.command(epilog="Example: calldex sync backfill --from 2026-01-01 --to 2026-01-31")
@_pipes
@click.option("--from", "first", type=_DAY, required=True, metavar="DAY", help="The first day.")
@click.option("--to", "last", type=_DAY, required=True, metavar="DAY", help="The last day.")
@click.pass_obj
def backfill(path: Path, pipes: tuple[str, ...], first: datetime, last: datetime) -> None:
    """Read some days again, and make the copies equal there.

    Days are cut in UTC, or in the zone of the source where it is an endpoint that has the list alone.
    """
    if last < first:
        raise click.BadParameter(f"{last.date()} is before {first.date()}", param_hint="--to")
    days: tuple[date, date] = first.date(), last.date()
    with _opened(path, pipes, progress=True, working=True) as (_, workers, _file):
        _each(workers, lambda worker: worker.backfill(*map(str, days)))
        for name, worker in workers.items():
            if not worker.status.problem:
                output.say(f"{name}: read again from {days[0]} to {days[1]}; repaired: {worker.status.changes:,}")
        _left(workers)


@sync.command(epilog="Example: calldex sync reset calls")
@_pipes
@click.confirmation_option(prompt="Read everything again with the next run?")
@click.pass_obj
def reset(path: Path, pipes: tuple[str, ...]) -> None:
    """Forget how far a pipe has read.

    The next run reads everything, and deletes from the copy what is no more. Nothing is deleted now.
    """
    with _opened(path, pipes, working=True) as (_, workers, _file):
        _each(workers, lambda worker: worker.reset())
        for name, worker in workers.items():
            if not worker.status.problem:
                output.say(f"{name}: the next run reads everything")
        _left(workers)


@sync.command(epilog="Example: calldex sync status --json")
@_pipes
@options.as_json
@click.option("--healthcheck", is_flag=True, help="Exit code 1 if a pipe never ran, is behind, or is not equal.")
@click.pass_obj
def status(path: Path, pipes: tuple[str, ...], as_json: bool, healthcheck: bool) -> None:
    """Show how pipes fare: up to when, what failed and why, which days are not whole.

    Connects to nothing. Lengths are seconds, instants epoch milliseconds in JSON.
    """
    from calldex.sync.config import load, seconds
    from calldex.sync.runner import shown, unheard_of
    from calldex.sync.state import StateFile, written

    config = load(path)
    names = config.chosen(pipes)
    if config.state.exists():
        with written(config.state), StateFile(config.state, writing=False) as file:
            found = [shown(file, name, seconds(config.watch.lag)) for name in names]
    else:
        output.say("No pipe ran yet.")
        found = [unheard_of(name) for name in names]
    if as_json:
        output.json(found)
    else:
        headings = ("Pipe", "Condition", "Up to date", "Changes", "Failed", "Days not whole", "Problem")
        rows = [
            (
                *(each.status.pipe, each.condition, output.moment(each.status.current_ms), each.status.changes),
                *(each.status.failed, ", ".join(each.status.not_whole), each.status.problem or each.status.unequal),
            )
            for each in found
        ]
        output.table(headings, rows, right=("Changes", "Failed"))
        for each in found:
            for failure in each.failures:
                again = f"tried {failure.tries}x, again later" if failure.retry else "not tried again"
                output.say(f"{each.status.pipe} {failure.uuid}: {failure.message} ({again})")
    if healthcheck and any(each.status.run_ms is None or each.condition in ("behind", "unequal") for each in found):
        raise click.exceptions.Exit(_UNDONE)


# --- inside -----------------------------------------------------------------------------------------------------------


class _Watched:
    """Who is told how pipes fare."""

    def __init__(self, config: Config, file: Any, workers: Mapping[str, Worker], target: Path | None) -> None:
        from calldex.sync.watch import Metrics, Watcher

        self.metrics = Metrics()
        self._workers = workers
        self._target = target
        self._watcher = Watcher(config.watch, file, self.metrics)
        for worker in workers.values():
            worker.applied = self.metrics.applied

    def look(self) -> None:
        """Judge pipes, and write the metrics."""
        self._watcher.look({name: worker.status for name, worker in self._workers.items()})
        if self._target is not None:
            self.metrics.write(self._target)


@contextmanager
def _opened(
    path: Path, pipes: tuple[str, ...], *, progress: bool = False, working: bool = False
) -> Iterator[tuple[Config, Mapping[str, Worker], Any]]:
    """The file, and the pipes that are named."""
    from calldex.allocator import give_freed_memory_back
    from calldex.cli.process import log_to_stderr
    from calldex.sync.config import load
    from calldex.sync.runner import workers
    from calldex.sync.state import StateFile, written

    give_freed_memory_back()
    config = load(path)
    names = config.chosen(pipes)
    stopping = threading.Event()
    with written(config.state), StateFile(config.state) as file, _bars(progress) as tell:
        log_to_stderr("auto" if not output.console(err=True).is_terminal else "console", "info", serving=False)
        made = workers(config, names, file, stopping=stopping, **({"progress": tell} if tell else {}))
        try:
            yield config, made, file
        finally:
            if not stopping.is_set():
                for worker in made.values():
                    worker.close()


def _each(workers: Mapping[str, Worker], work: Callable[[Worker], object]) -> None:
    for worker in workers.values():
        work(worker)


def _left(workers: Mapping[str, Worker]) -> None:
    """The exit code that says what is left."""
    found = [worker.status for worker in workers.values()]
    for each in found:
        if each.problem:
            output.say(f"{each.pipe}: {each.problem}")
        if each.not_whole:
            output.say(f"{each.pipe}: days that could not be read whole: {', '.join(each.not_whole)}")
        if each.failed:
            output.say(f"{each.pipe}: {output.count(each.failed, 'record', 'fail')}; `calldex sync status` says why")
    if any(each.problem and each.later for each in found):
        raise click.exceptions.Exit(_LATER)
    if not all(each.done for each in found):
        raise click.exceptions.Exit(_UNDONE)


@contextmanager
def _bars(wanted: bool) -> Iterator[Callable[[str, int, int | None], None] | None]:
    """A bar for each pipe, with rate and time left, where a person looks; else nothing, as the log tells."""
    terminal = output.console(err=True)
    if not (wanted and terminal.is_terminal):
        yield None
        return
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    rate = TextColumn("{task.fields[rate]}/s")
    shown = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), rate, TimeRemainingColumn())
    with Progress(*shown, console=terminal) as bars:
        tasks: dict[str, Any] = {}

        def tell(what: str, done: int, total: int | None) -> None:
            if what not in tasks:
                tasks[what] = bars.add_task(what, total=total, rate="")
            task = tasks[what]
            elapsed = bars.tasks[task].elapsed or 0
            bars.update(task, completed=done, total=total, rate=f"{done / elapsed:,.0f}" if elapsed else "")

        yield tell

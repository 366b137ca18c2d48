"""`calldex migrate`: a data directory moved to databases that several nodes share."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import click

from calldex.cli import options, output
from calldex.cli.command import Command


@click.command(
    cls=Command,
    epilog="""\b
Examples:
  calldex migrate --data /srv/calldex --to clickhouse://ann:secret@ch1,ch2:8123/calldex \\
      --directory postgresql://ann:secret@db/calldex
  CALLDEX_STORE=... CALLDEX_DIRECTORY=... calldex migrate --data /srv/calldex

Others on the machine can read options while the command runs; CALLDEX_STORE and CALLDEX_DIRECTORY, or calldex.toml,
keep passwords to yourself.
""",
)
@click.option("--to", "store", metavar="ADDRESS", help="The store; else the setting `store`.")
@click.option(
    "--directory",
    metavar="ADDRESS",
    help="Where users, rights and names go; else the setting `directory`. Without either they stay where they are.",
)
@options.data
def migrate(store: str | None, directory: str | None, data: Path | None) -> None:
    """Move a data directory to a shared store and directory.

    Everything is copied, compared day by day, and only then visible. Nobody may serve the data directory meanwhile; its
    ledger stays as it was. When it was interrupted, run it again. Make the tables first: `calldex schema`.
    """
    from calldex.cli.process import prepare
    from calldex.migrate import migrate as migrated

    settings, origins = options.resolved(data, {"store": store, "directory": directory})
    prepare(settings, origins, serving=False)
    with _progress() as tell:
        done = migrated(settings, tell)
    output.say(
        f"Moved {done.records:,} records ({done.versions:,} versions) of {done.accounts:,} accounts on {done.days:,}"
        f" days to {settings.store}, all of them equal; {done.rows_of_calls:,} rows of calls and {done.quarantined:,}"
        " pieces of the quarantine."
    )
    if done.directory is not None:
        output.say(f"Moved the directory ({done.directory:,} rows) to {settings.directory}.")


@contextmanager
def _progress() -> Iterator[Callable[[str, int, int], None]]:
    """A bar on a terminal for each thing that is moved, a line elsewhere."""
    console = output.console(err=True)
    if not console.is_terminal:
        told: set[str] = set()

        def say(what: str, done: int, total: int) -> None:
            if what not in told:
                told.add(what)
                output.say(f"{what}: {total:,}")

        yield say
        return
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console) as bars:
        tasks = {}

        def show(what: str, done: int, total: int) -> None:
            if what not in tasks:
                tasks[what] = bars.add_task(what, total=total)
            bars.update(tasks[what], completed=done, total=total)

        yield show

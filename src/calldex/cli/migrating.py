"""`calldex migrate`: a data directory moved to databases that several nodes share."""

from __future__ import annotations

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
    with output.progress() as tell:
        done = migrated(settings, tell)
    output.say(
        f"Moved {done.records:,} records ({done.versions:,} versions) of {done.accounts:,} accounts on {done.days:,}"
        f" days to {settings.store}, all of them equal; {done.rows_of_calls:,} rows of calls and {done.quarantined:,}"
        " pieces of the quarantine."
    )
    if done.directory is not None:
        output.say(f"Moved the directory ({done.directory:,} rows) to {settings.directory}.")

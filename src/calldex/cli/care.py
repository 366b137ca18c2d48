"""`calldex backup`, `restore`, `check` and `settings`: looking after a data directory."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import click

from calldex.cli import options, output
from calldex.cli.command import Command

_FOUND: Final = 1


@click.command(
    cls=Command,
    epilog="""\b
Examples:
  calldex backup /backup/calldex-$(date +%F)
  calldex restore /backup/calldex-2026-09-30 --data /srv/calldex
""",
)
@click.argument("folder", type=click.Path(path_type=Path), metavar="FOLDER", help="The new folder.")
@options.data
def backup(folder: Path, data: Path | None) -> None:
    """Copy everything into a new folder, also while serving.

    The folder holds the ledger, the directory and a manifest with their digests, and gets its name when it is complete.
    Exit code 1 if some of it is not what was written: the backup is made, and tells which records.
    Keep it as safe as the data directory: it holds every number, and the hashes of the keys. What lies in ClickHouse or
    PostgreSQL is backed up by their own means.
    """
    from calldex.admin.care import BackupTo, back_up
    from calldex.cli.client import connected

    with connected(data) as control:
        manifest = control.do(back_up, BackupTo(str(folder.absolute())))
    size = sum(file.bytes for file in manifest.files)
    output.say(f"Backed up {size:,} bytes to {folder}.")
    if manifest.damaged:
        for line in manifest.damaged:
            output.say(f"Damaged: {line}")
        output.say("The backup holds what is damaged as it is. Keep older backups; `calldex check` tells more.")
        raise click.exceptions.Exit(_FOUND)


@click.command(cls=Command, epilog="Example: calldex restore /backup/calldex-2026-09-30 --data /srv/calldex")
@click.argument("folder", type=click.Path(path_type=Path), metavar="BACKUP", help="Folder that `backup` wrote.")
@options.data
def restore(folder: Path, data: Path | None) -> None:
    """Make a data directory from a backup.

    The directory must be empty, but for calldex.toml. Keys work as they did; search tokens of before are refused.
    """
    from calldex.backup import restore as restored

    settings, _ = options.resolved(data)
    manifest = restored(folder, settings)
    made = output.moment(manifest.made_ms)
    output.say(f"Restored the backup of {made} to {settings.data}; the first start brings its columns up to date.")


@click.command(cls=Command, epilog="Example: calldex check && calldex backup /backup/tonight")
@options.as_json
@options.data
def check(as_json: bool, data: Path | None) -> None:
    """Verify that store and directory are sound.

    Compares each version with its checksum and the chain of commits, and the parts of the store by number and checksum
    of the records of each day; looks into the files, the directory and the audit. Exit code 1 when something is wrong,
    5 when a file is lost or of another installation. Makes, deletes and migrates nothing; versions that are found
    damaged are marked, and not given to anybody from then on.
    """
    from calldex.cli.client import checked

    found = checked(data)
    wrong = [day for day in found.days if not day.equal]
    if as_json:
        output.json(found)
    else:
        if wrong:
            rows = [(day.account_id, day.day, day.kept, day.answering) for day in wrong]
            output.table(("account", "day that differs", "kept", "answering"), rows, right=("kept", "answering"))
        for problem in (*found.problems, *found.notes):
            click.echo(output.shown(problem))
        kept = sum(day.kept for day in found.days)
        click.echo(
            f"{output.many(len(found.days), 'day')} with {output.many(kept, 'record')}: {len(wrong) or 'none'} differ;"
            f" {output.many(len(found.problems), 'other problem') if found.problems else 'no other problems'}"
        )
    if wrong or found.problems:
        raise click.exceptions.Exit(_FOUND)


@click.command(cls=Command, epilog=f"Example: calldex settings --data /srv/calldex\n\n{options.ENVIRONMENT}")
@options.as_json
@options.data
def settings(as_json: bool, data: Path | None) -> None:
    """Show each setting, its value and where that comes from."""
    import msgspec

    found, origins = options.resolved(data)
    values = msgspec.structs.asdict(found)
    if as_json:
        output.json(
            {
                name: {"value": v if isinstance(v, int | None) else str(v), "origin": origins[name]}
                for name, v in values.items()
            }
        )
    else:
        output.table(("setting", "value", "from"), [(name, value, origins[name]) for name, value in values.items()])

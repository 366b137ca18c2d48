"""`calldex exports`: what is made in the background and every night, and what opens the places that it goes to."""

from __future__ import annotations

from pathlib import Path

import click

from calldex.cli import credentials, options, output
from calldex.cli.command import Group
from calldex.cli.exporting import FORMATS


@click.group(cls=Group)
def exports() -> None:
    """Exports that are made in the background, and every night."""


@exports.command("list", epilog="Example: calldex exports list")
@options.account
@options.as_json
@options.data
def list_exports(account: str, as_json: bool, data: Path | None) -> None:
    """Show what is made in the background, newest first, with who asked for it."""
    from calldex.admin.exports import list_kept_exports
    from calldex.admin.verb import Paging
    from calldex.cli.client import connected

    with connected(data) as control:
        found = control.every(list_kept_exports, Paging(), account=account)
    if as_json:
        output.json(found)
        return
    headings = ("id", "state", "format", "made by", "day", "records", "of", "created", "expires", "reason")
    rows = [
        (
            *(each.id, each.state, each.format, each.made_by, each.day, each.records, each.total),
            *map(output.moment, (each.created_at, each.expires_at)),
            each.reason,
        )
        for each in found
    ]
    output.table(headings, rows, right=("records", "of"))


@exports.command("cancel", epilog="Example: calldex exports cancel 5f0c9a1e77b2d3045f0c9a1e77b2d304")
@click.argument("id", help="Id of the export, as `calldex exports list` shows it.")
@options.account
@options.data
def cancel(id: str, account: str, data: Path | None) -> None:  # noqa: A002 - what it is called
    """Stop an export, or delete it and its file."""
    from calldex.admin.exports import cancel_export
    from calldex.admin.verb import Nothing
    from calldex.cli.client import connected

    with connected(data) as control:
        control.do(cancel_export, Nothing(), account=account, subject=id)
    output.say(f"Deleted the export {id}.")


@exports.command(
    "schedule",
    epilog="""\b
Examples:
  calldex exports schedule nightly --at 02:00 --timezone Europe/London --format parquet --target lake
  calldex exports schedule sales --at 06:30 --format csv --target share --queue-ids 501 --fields uuid,started_at,from
""",
)
@click.argument("name", help="What it is called, also in the names of its files.")
@click.option("--at", required=True, metavar="HH:MM", help="When it runs, in --timezone, else in the account's zone.")
@click.option("--target", required=True, metavar="NAME", help="A place of the setting `export_targets`.")
@click.option("--format", "format_", type=click.Choice(FORMATS), required=True, help="Kind of file.")
@click.option("--fields", metavar="NAMES", help="Columns in their order, between commas; else all of a record.")
@options.filters
@options.account
@options.data
def schedule(
    *,
    name: str,
    at: str,
    target: str,
    format_: str,
    fields: str | None,
    timezone: str | None,
    account: str,
    data: Path | None,
    **filters: str | None,
) -> None:
    """Export the records of the day before, every day, to a folder or a bucket.

    It needs a server that runs; what was missed, while none did, is made up. Files are called after account, schedule
    and day.
    """
    from calldex.admin.exports import NewSchedule, create_schedule
    from calldex.cli.client import connected

    new = NewSchedule(
        name=name,
        at=at,
        target=target,
        format=format_,  # type: ignore[arg-type]  # one of its words, by the option
        timezone=timezone,
        fields=tuple(fields.split(",")) if fields else (),
        filters={name: text for name, text in filters.items() if text is not None},
    )
    with connected(data) as control:
        made = control.do(create_schedule, new, account=account)
    output.say(f"{made.name} runs next at {output.moment(made.next_at)}.")


@exports.command("schedules", epilog="Example: calldex exports schedules --json")
@options.account
@options.as_json
@options.data
def schedules(account: str, as_json: bool, data: Path | None) -> None:
    """Show the schedules, with when each runs next."""
    from calldex.admin.exports import list_schedules
    from calldex.admin.verb import Paging
    from calldex.cli.client import connected

    with connected(data) as control:
        found = control.every(list_schedules, Paging(), account=account)
    if as_json:
        output.json(found)
        return
    headings = ("name", "at", "zone", "target", "asks for", "made by", "next")
    rows = [
        (
            *(each.name, each.at, each.timezone, each.target),
            " ".join(f"{name}={value}" for name, value in each.parameters.items()),
            *(each.made_by, output.moment(each.next_at)),
        )
        for each in found
    ]
    output.table(headings, rows)


@exports.command("unschedule", epilog="Example: calldex exports unschedule nightly")
@click.argument("name", help="Name or id of the schedule.")
@options.account
@options.data
def unschedule(name: str, account: str, data: Path | None) -> None:
    """Forget a schedule; what it has made stays where it is."""
    from calldex.admin.exports import remove_schedule
    from calldex.admin.verb import Nothing
    from calldex.cli.client import connected

    with connected(data) as control:
        control.do(remove_schedule, Nothing(), account=account, subject=name)
    output.say(f"Removed the schedule {name}.")


@exports.command(
    "credentials",
    epilog="""\b
Examples:
  calldex exports credentials lake --access-key-id AKIA...
  pass show lake | calldex exports credentials lake --access-key-id AKIA...
""",
)
@click.argument("target", help="A bucket of the setting `export_targets`.")
@credentials.access_key_id
@options.data
def target_credentials(target: str, access_key_id: str, data: Path | None) -> None:
    """Keep what opens a bucket, sealed.

    The secret access key is asked for, or read from standard input. Without, what the server has in its environment
    opens the bucket (AWS_ACCESS_KEY_ID and the like).
    """
    from calldex.admin.exports import set_target_credentials

    credentials.keep(set_target_credentials, access_key_id, data, subject=target, of=target, account="main")

"""`calldex sources` and `quarantine`: where records come from, and what of it could not be read."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Final, Literal

import click

from calldex.cli import credentials, options, output
from calldex.cli.command import Group
from calldex.errors import BadParameters, CalldexError, Problem, UsageProblem

_LISTED: Final = 100


def _assignments(context: click.Context, option: click.Parameter, given: tuple[str, ...]) -> dict[str, str]:
    """The settings of `--set k=v`, each once."""
    found: dict[str, str] = {}
    problems: list[Problem] = []
    for each in given:
        name, equals, value = each.partition("=")
        if not name or not equals:
            problems.append(Problem("--set", each[:100], "is not NAME=VALUE", "as zone=Europe/London"))
        elif name in found:
            problems.append(Problem("--set", each[:100], "is given twice", "each setting once"))
        found[name] = value
    if problems:
        raise BadParameters(problems)
    return found


# --- sources ----------------------------------------------------------------------------------------------------------


@click.group(cls=Group)
def sources() -> None:
    """Phone systems and other places that records come from."""


@sources.command(
    "add",
    epilog="""\b
Examples:
  calldex sources add pbx --format asterisk --set zone=Europe/London
  calldex sources add pbx2 --format asterisk --set zone=UTC --set 'trunks=PJSIP/carrier-*' --set 'extensions=1XXX'

A setting that has several values takes them separated by commas.
""",
)
@click.argument("name", help="Name of the source.")
@click.option("--format", "format_", required=True, metavar="NAME", help="The format of what comes from it.")
@click.option(
    "--set",
    "settings",
    multiple=True,
    callback=_assignments,
    metavar="NAME=VALUE",
    help="A setting of the format; may be given several times.",
)
@options.account
@options.data
def add_source(name: str, format_: str, settings: dict[str, str], account: str, data: Path | None) -> None:
    """Add a source; what is unknown or contradicts itself in its settings is refused."""
    from calldex.admin.sources import NewSource, create_source
    from calldex.cli.client import connected

    with connected(data, new=True) as control:
        source = control.do(create_source, NewSource(format=format_, settings=settings), account=account, subject=name)
    output.say(f"Added the source {source.name}; `calldex import --source {source.name} FILE...` reads files of it.")


@sources.command("list", epilog="Example: calldex sources list")
@options.as_json
@options.data
def list_sources(as_json: bool, data: Path | None) -> None:
    """Show every source."""
    from calldex.admin.sources import list_sources as listed
    from calldex.admin.verb import Nothing
    from calldex.cli.client import connected

    with connected(data) as control:
        found = control.do(listed, Nothing())
    if as_json:
        output.json(found)
    else:
        rows = [(each.name, each.format, each.account, output.moment(each.created_at)) for each in found]
        output.table(["name", "format", "account", "created"], rows)


@sources.command("show", epilog="Example: calldex sources show pbx")
@click.argument("name", help="Name of the source.")
@options.as_json
@options.data
def show_source(name: str, as_json: bool, data: Path | None) -> None:
    """Show a source with its settings."""
    from calldex.admin.sources import show_source as shown
    from calldex.admin.verb import Nothing
    from calldex.cli.client import connected

    with connected(data) as control:
        source = control.do(shown, Nothing(), subject=name)
    if as_json:
        output.json(source)
        return
    rows = [("format", source.format), ("account", source.account), ("created", output.moment(source.created_at))]
    rows += [(f"set {key}", value) for key, value in sorted(source.settings.items())]
    output.table(["source", source.name], rows)


@sources.command(
    "set",
    epilog="""\b
Examples:
  calldex sources set pbx --set zone=Europe/London
  calldex sources set pbx --set 'trunks=PJSIP/carrier-*,DAHDI/*' --unset dialer
""",
)
@click.argument("name", help="Name of the source.")
@click.option(
    "--set",
    "settings",
    multiple=True,
    callback=_assignments,
    metavar="NAME=VALUE",
    help="A setting of the format; may be given several times.",
)
@click.option("--unset", multiple=True, metavar="NAME", help="A setting to take back; may be given several times.")
@options.data
def set_source(name: str, settings: dict[str, str], unset: tuple[str, ...], data: Path | None) -> None:
    """Change how a source is read; other settings stay. Rows that are kept count by them after a rebuild."""
    from calldex.admin.sources import SourceChanges, change_source
    from calldex.cli.client import connected

    if not settings and not unset:
        raise UsageProblem("say what to change, as --set zone=Europe/London or --unset dialer")
    if both := sorted(settings.keys() & set(unset)):
        raise UsageProblem(f"{', '.join(both)}: set and unset; one of both")
    with connected(data) as control:
        source = control.do(change_source, SourceChanges(settings=settings, unset=unset), subject=name)
    output.say(
        f"Changed the source {source.name}; `calldex sources rebuild {source.name} --preview` shows what that makes of"
        " the calls that are here already."
    )
    if reread := sorted({"columns", "charset"} & {*settings, *unset}):
        output.say(f"What is kept was read with the former {' and '.join(reread)}; the new one counts from now on.")


@sources.command(
    "rebuild",
    epilog="""\b
Examples:
  calldex sources rebuild pbx --preview
  calldex sources rebuild pbx
""",
)
@click.argument("name", help="Name of the source.")
@click.option("--preview", is_flag=True, help="Only show what would change.")
@options.as_json
@options.data
def rebuild_source(name: str, preview: bool, as_json: bool, data: Path | None) -> None:
    """Put the calls of a source together again from the rows that are kept, as the source is set up now.

    A call that comes out otherwise gets a new version under its uuid; the rest stays as it is. Servers go on meanwhile;
    what is broken off may be begun again.
    """
    from calldex.admin.sources import RebuildFrom, count_rows
    from calldex.admin.sources import rebuild_source as rebuilt
    from calldex.admin.verb import Nothing
    from calldex.cli.client import connected
    from calldex.ingest.rebuild import Rebuilt

    found = Rebuilt()
    with connected(data) as control, output.progress() as tell:
        total = control.do(count_rows, Nothing(), subject=name)
        steps: list[tuple[Literal["links", "preview", "calls"], str]] = [
            ("links", "rows"),
            ("preview" if preview else "calls", "calls of rows"),
        ]
        for what, label in steps:
            after: int | None = 0
            done = 0
            while after is not None:
                try:
                    step = control.do(rebuilt, RebuildFrom(what=what, after=after), subject=name)
                except CalldexError as error:
                    if what == "calls" and (made := found.changed + found.new):  # whatever it says of this step
                        error.message += f"; before that, {made:,} calls were put together otherwise, and are kept"
                    raise
                after, done = step.last, done + step.rows
                found.include(step.found)
                tell(label, done, max(total, done))
    if as_json:
        output.json(found)
        return
    counts = ("unchanged", "changed", "new", "gone", "erased")
    output.table(counts, [tuple(f"{getattr(found, each):,}" for each in counts)], right=counts)
    if found.members:
        output.table(["changed", "calls"], Counter(found.members).most_common(), right=("calls",))
    if preview and found.examples:
        rows = [
            (each.uuid, n, output.shown(was), output.shown(is_))
            for each in found.examples
            for n, (was, is_) in each.members.items()
        ]
        output.table(["uuid", "changes", "from", "to"], rows)


@sources.command(
    "credentials",
    epilog="""\b
Examples:
  calldex sources credentials pbx --access-key-id AKIA...
  pass show recordings | calldex sources credentials pbx --access-key-id AKIA...
""",
)
@click.argument("name", help="Name of the source, whose `recordings` are a bucket.")
@credentials.access_key_id
@options.data
def source_credentials(name: str, access_key_id: str, data: Path | None) -> None:
    """Keep what opens the bucket of a source's recordings, sealed.

    The secret access key is asked for, or read from standard input. Without, what the server has in its environment
    opens the bucket (AWS_ACCESS_KEY_ID and the like).
    """
    from calldex.admin.sources import set_source_credentials

    credentials.keep(set_source_credentials, access_key_id, data, subject=name, of=f"the recordings of {name}")


@sources.command("remove", epilog="Example: calldex sources remove pbx")
@click.argument("name", help="Name of the source.")
@options.data
def remove_source(name: str, data: Path | None) -> None:
    """Forget a source; the records that came from it stay."""
    from calldex.admin.sources import remove_source as removed
    from calldex.admin.verb import Nothing
    from calldex.cli.client import connected

    with connected(data) as control:
        control.do(removed, Nothing(), subject=name)
    output.say(f"Removed the source {name}; its records stay.")


# --- quarantine -------------------------------------------------------------------------------------------------------


@click.group(cls=Group)
def quarantine() -> None:
    """What could not be read: kept with the reason, to be tried again."""


@quarantine.command("list", epilog="Example: calldex quarantine list --account main --limit 20")
@options.one_account
@click.option(
    "--limit",
    type=click.IntRange(1, 10_000),
    default=_LISTED,
    show_default=True,
    metavar="N",
    help="How many, oldest first.",
)
@options.as_json
@options.data
def list_quarantine(account: str | None, limit: int, as_json: bool, data: Path | None) -> None:
    """Show what lies in the quarantine, and why."""
    from calldex.admin.quarantine import FirstPieces
    from calldex.admin.quarantine import list_quarantine as listed
    from calldex.cli.client import connected

    with connected(data) as control:
        found = control.do(listed, FirstPieces(account=account, limit=limit))
    if as_json:
        output.json(found)
        return
    headings = ("id", "since", "source", "format", "file", "where", "reason")
    rows = [(p.id, output.moment(p.at_ms), p.source, p.format, p.origin, p.where, p.reason) for p in found]
    output.table(headings, rows, right=("id",))
    if len(found) == limit:
        output.say(f"The first {limit} are shown; --limit shows more.")


@quarantine.command(
    "show",
    epilog="""\b
Examples:
  calldex quarantine show 7
  calldex quarantine show 7 --raw > piece.jsonl
""",
)
@click.argument("id", type=int, help="Id of the piece, as `quarantine list` shows it.")
@click.option("--raw", is_flag=True, help="Print the piece alone, byte for byte, to be corrected and imported again.")
@options.data
def show_quarantined(id: int, raw: bool, data: Path | None) -> None:  # noqa: A002 - what the help calls it
    """Show one piece and what it is."""
    from calldex.admin.quarantine import show_quarantined as shown
    from calldex.admin.verb import Nothing
    from calldex.cli.client import connected

    with connected(data) as control:
        piece = control.do(shown, Nothing(), subject=str(id))
    if raw:
        click.echo(piece.raw, nl=False)
        return
    rows = [
        ("since", output.moment(piece.at_ms)),
        ("source", piece.source),
        ("format", piece.format),
        ("file", piece.origin),
        ("where", piece.where),
        ("reason", piece.reason),
        ("what it is", piece.raw.decode(errors="backslashreplace")),
    ]
    output.table(["quarantined", str(piece.id)], rows)


_IDS: Final = click.argument("ids", nargs=-1, type=int, metavar="[ID...]", help="Ids, as `quarantine list` shows them.")


@quarantine.command(
    "retry",
    epilog="""\b
Examples:
  calldex quarantine retry
  calldex quarantine retry 7 8
""",
)
@_IDS
@options.one_account
@options.data
def retry_quarantine(ids: tuple[int, ...], account: str | None, data: Path | None) -> None:
    """Read what is in it again, as its source is set up now; what can be read leaves it.

    Incomplete last rows are skipped unless named: they are read as if nothing were missing, and a call can be there
    twice if the whole of it comes after all.
    """
    from calldex.admin.quarantine import PiecesToRetry
    from calldex.admin.quarantine import retry_quarantine as retry
    from calldex.cli.client import connected

    with connected(data) as control:
        retried = control.do(retry, PiecesToRetry(account=account, ids=frozenset(ids)))
    counts = ("accepted", "updated", "unchanged", "rejected")
    rows = [
        (each.source, each.format, *(getattr(each.summary, name) for name in counts), each.problem) for each in retried
    ]
    output.table(("source", "format", *counts, "problem"), rows, right=counts)
    if any(each.problem for each in retried):
        raise click.exceptions.Exit(1)


@quarantine.command(
    "drop",
    epilog="""\b
Examples:
  calldex quarantine drop 7 8
  calldex quarantine drop --source pbx
""",
)
@_IDS
@click.option("--source", metavar="NAME", help="All that came from this source; empty, all that came without one.")
@options.one_account
@options.data
def drop_quarantined(ids: tuple[int, ...], source: str | None, account: str | None, data: Path | None) -> None:
    """Throw pieces away, for good."""
    if bool(ids) == (source is not None):
        raise UsageProblem("name the pieces to drop by their ids, or all of a source with --source; one of both")

    from calldex.admin.quarantine import PiecesToDrop
    from calldex.admin.quarantine import drop_quarantined as drop
    from calldex.cli.client import connected

    with connected(data) as control:
        dropped = control.do(drop, PiecesToDrop(account=account, ids=frozenset(ids), source=source))
    output.say(f"Dropped {output.many(dropped, 'piece')}.")

"""`calldex export`: a whole match as a file, to a path, to standard output, or to a bucket.

The node makes the file and sends it in frames (`api.frames`); what it is written to is this process's matter, so it
has the rights of who typed the command. A file appears whole or not at all.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import click

from calldex.cli import options, output
from calldex.cli.command import Command
from calldex.errors import BadParameters, Problem, UnreadableInput, UsageProblem
from calldex.targets import VALID_BUCKET, Bucket, bucket_of

FORMATS: Final = ("json", "ndjson", "csv", "csv-excel", "xlsx", "parquet", "arrow")
"""Those of `exports.FORMATS`, which takes too long to import for a help; a test compares them."""
_BINARY: Final = ("xlsx", "parquet", "arrow")
_EPILOG: Final = """\b
Examples:
  calldex export --format parquet -o september.parquet --start-date 2026-09-01 --end-date 2026-09-30
  calldex export --format csv --fields uuid,started_at,from,to --type inbound -o - | gzip > inbound.csv.gz
  AWS_REGION=eu-west-1 calldex export --format ndjson -o s3://bucket/raw/all.ndjson

Days are cut in --timezone, else in the account's zone, else in UTC. What opens a bucket is taken from the environment:
AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_REGION, AWS_ENDPOINT_URL.
"""


@click.command(cls=Command, epilog=_EPILOG)
@click.option("--format", type=click.Choice(FORMATS), required=True, help="Kind of file.")
@click.option(
    *("--output", "-o", "to"),
    metavar="FILE|-|s3://BUCKET/KEY",
    required=True,
    help="Where it goes: a file, which it replaces; `-`, standard output; or an object of a bucket.",
)
@click.option("--fields", metavar="NAMES", help="Columns in their order, between commas; else all of a record.")
@click.option("--end", type=click.Choice(("line",)), help="`line`: NDJSON and CSV end in a line that proves the rest.")
@options.filters
@options.account
@options.data
def export(to: str, account: str, data: Path | None, **given: str | None) -> None:
    """Write all records that match to a file.

    As of its beginning, newest first, of any size. It appears whole or not at all; what is piped can only be cut off,
    and the exit code says so.
    """
    from calldex.api.owners_search import Search
    from calldex.cli.client import connected

    target = _target(to, str(given["format"]))
    asked = Search(account=account, parameters=[(name, text) for name, text in given.items() if text is not None])
    with (
        connected(data) as control,
        control.export(asked) as (total, pieces),
        output.progress(elsewhere=False) as tell,
    ):
        _write(target, _watched(pieces, total, tell))
    output.say(f"{output.count(total, 'record', 'match')}, all written to {to}")


def _target(to: str, format_: str) -> Path | Bucket | None:
    """Where the file goes; None is standard output."""
    if to == "-":
        if format_ in _BINARY and sys.stdout.isatty():
            raise UsageProblem(f"{format_} cannot be shown on a terminal; name a file with -o, or pipe it")
        return None
    if "://" in to:
        try:
            bucket = bucket_of(to)
        except ValueError:
            bucket = None
        if bucket is None or not bucket.key or bucket.key.endswith("/"):
            raise BadParameters([Problem("--output", to[:100], "is not an object in a bucket", VALID_BUCKET)])
        return bucket
    path = Path(to)
    if path.is_dir() or not path.parent.is_dir():
        raise UnreadableInput(f"{to} cannot be written: it is a folder, or its folder is not there")
    return path


def _watched(pieces: Iterator[tuple[int, bytes]], total: int, tell: output.Tell) -> Iterator[bytes]:
    done = 0
    for records, piece in pieces:
        yield piece
        done += records
        tell("records", done, total)


def _write(target: Path | Bucket | None, pieces: Iterator[bytes]) -> None:
    from calldex.buckets import write_object
    from calldex.jobs.delivery import write_file

    if target is None:
        for piece in pieces:
            sys.stdout.buffer.write(piece)
        sys.stdout.buffer.flush()
    elif isinstance(target, Bucket):
        write_object(target, pieces, None)
    else:
        write_file(target, pieces)

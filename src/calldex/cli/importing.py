"""`calldex import`: files become streams of bytes for the control surface.

Reads and unpacks; what the bytes are is for `formats`, and what becomes of them for `ingest`.
"""

from __future__ import annotations

import gzip
import os
import stat
import sys
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from io import BufferedReader, TextIOWrapper
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Final, cast

import click
import msgspec

from calldex.cli import options, output
from calldex.cli.command import Command
from calldex.errors import UnreadableInput, UsageProblem

if TYPE_CHECKING:
    from calldex.cli.client import Control

STDIN: Final = "-"
EXIT_REJECTED: Final = 9
"""All was read, and some of it cannot be read."""
_PIECE: Final = 4 << 20
_HEAD: Final = 64 * 1024
"""How much of a file its format is recognised by."""
_GZIP_MAGIC: Final = b"\x1f\x8b"

Tell = Callable[[int], object]


class ImportedFile(msgspec.Struct, frozen=True, kw_only=True):
    """What became of a file: counts of pieces (see `ingest.pipeline.Summary`), and what went wrong in reading it."""

    file: str
    read: int
    accepted: int
    updated: int
    unchanged: int
    rejected: int
    unfinished: int
    interactions: int
    problem: str | None = None


_COUNTS: Final = ("read", "accepted", "updated", "unchanged", "rejected", "unfinished", "interactions")


class Input:
    """A file that is read once, unpacked if it is gzip.

    When reading fails on the way, the stream ends there, and `problem` says why: what came before it is kept.
    """

    def __init__(self, name: str) -> None:
        """Raises `UnreadableInput` for what cannot be a file to be read."""
        # A name may hold any bytes; those that are no text are shown as `\xff`.
        self.name = os.fsencode(name).decode(errors="backslashreplace")
        self._path = Path(name)
        self.size: int | None = None
        self.problem: UnreadableInput | None = None
        if name == STDIN:
            if sys.stdin is None:
                raise UnreadableInput("standard input cannot be read: it is closed")
            return
        try:
            found = self._path.stat()
            if stat.S_ISDIR(found.st_mode):
                raise UnreadableInput(f"{self.name} is a directory; name the files in it, as {self.name.rstrip('/')}/*")
            if stat.S_ISREG(found.st_mode):
                self.size = found.st_size
                self._path.open("rb").close()
        except OSError as error:
            raise UnreadableInput(f"{self.name} cannot be read: {error.strerror}") from None

    def pieces(self, tell: Tell) -> Iterator[bytes]:
        """The content; `tell` is told of each number of bytes read from the file itself."""
        try:
            if self.name == STDIN:
                # Detached: who still waits for it when the process ends must not keep Python from closing it.
                yield from _unpacked(cast(BufferedReader, cast(TextIOWrapper, sys.stdin).detach()), tell)
            else:
                with self._path.open("rb") as file:
                    yield from _unpacked(file, tell)
        except (OSError, EOFError, zlib.error) as error:
            self.problem = UnreadableInput(
                f"{self.name} cannot be read to its end ({getattr(error, 'strerror', None) or error});"
                " what was read before that is kept"
            )


class _Packed:
    """What `gzip` reads from: a file whose first bytes have been read already."""

    def __init__(self, head: bytes, file: BufferedReader, tell: Tell) -> None:
        self._head = head
        self._file = file
        self._tell = tell

    def read(self, size: int) -> bytes:
        head, self._head = self._head[:size], self._head[size:]
        piece = self._file.read(size - len(head))
        self._tell(len(head) + len(piece))
        return head + piece


def _unpacked(file: BufferedReader, tell: Tell) -> Iterator[bytes]:
    """What a file holds or, if that is gzip, what that holds."""
    head = file.read(len(_GZIP_MAGIC))
    if head == _GZIP_MAGIC:
        with gzip.GzipFile(fileobj=cast(BinaryIO, _Packed(head, file, tell)), mode="rb") as packed:
            while piece := packed.read1(_PIECE):
                yield piece
        return
    while head:
        tell(len(head))
        yield head
        # What a pipe holds now is taken as it is: a slow one is not waited for until a piece is full.
        head = file.read1(_PIECE)


# --- the command ------------------------------------------------------------------------------------------------------

_EPILOG: Final = """\b
Examples:
  calldex import --format jsonl calls.jsonl.gz
  calldex sources add pbx --format asterisk --set zone=Europe/London --set 'trunks=PJSIP/carrier-*'
  calldex import --source pbx /var/log/asterisk/cdr-csv/Master.csv /var/log/asterisk/queue_log
  zcat old/*.gz | calldex import --format jsonl -

\b
Exit code 9: everything was read, but some pieces were rejected; see `calldex quarantine list`. It is 0 if all of these
are unfinished: a file that is still being written may end within a row, which leaves the quarantine with an import of
the whole of it.

A file can be imported again at any time: what is known already is left unchanged. When an import is interrupted,
what was committed until then stays.
"""


@click.command("import", cls=Command, epilog=_EPILOG)
@click.argument("files", nargs=-1, required=True, metavar="FILE...", help="Files of records; - is standard input.")
@click.option(
    "--source", metavar="NAME", help="The source that the files come from; it tells format, account and settings."
)
@click.option("--format", "format_", metavar="NAME", help="The format, if it needs no source; else it is recognised.")
@click.option("--account", metavar="NAME", help="The account they belong to, if there is no source.  [default: main]")
@options.as_json
@options.data
def import_(
    *,
    files: tuple[str, ...],
    source: str | None,
    format_: str | None,
    account: str | None,
    as_json: bool,
    data: Path | None,
) -> None:
    """Take in files of call records.

    FILE may be `-` for standard input, and may be packed with gzip, whatever it is called.
    """
    if source is not None and (format_ is not None or account is not None):
        raise UsageProblem("--source tells the format and the account already; leave --format and --account out")
    if files.count(STDIN) > 1:
        raise UsageProblem("standard input can be read only once; give `-` once")
    inputs = [Input(name) for name in files]

    from calldex.admin.sources import Feeding, check_feed
    from calldex.cli.client import connected

    done: list[ImportedFile] = []
    first_problem: UsageProblem | None = None
    try:
        with connected(data, new=True) as control, _progress(inputs) as watch:
            if source is not None or format_ is not None:
                _refuse_sourceless(format_)
                control.do(check_feed, Feeding(source=source, format=format_), account=account or "main")
            for each in inputs:
                imported, problem = _imported(
                    control, each, watch(each), source=source, format_=format_, account=account or "main"
                )
                first_problem = first_problem or problem
                done.append(imported)
    finally:
        if done:
            _report(done, as_json)
    if first_problem is not None:
        raise click.exceptions.Exit(first_problem.exit_code)
    if any(each.rejected > each.unfinished for each in done):
        raise click.exceptions.Exit(EXIT_REJECTED)


def _imported(
    control: Control, given: Input, tell: Tell, *, source: str | None, format_: str | None, account: str
) -> tuple[ImportedFile, UsageProblem | None]:
    """Import one file. What is wrong with the file itself does not keep the others from being imported."""
    from calldex.api.control import Import
    from calldex.ingest.pipeline import Summary

    pieces = given.pieces(tell)
    summary = Summary()
    problem: UsageProblem | None = None
    if source is None and format_ is None:
        try:
            format_, pieces = _recognised(given, pieces)
        except UsageProblem as error:
            problem = error
    if source is not None or format_ is not None:
        asked = Import(origin=given.name, source=source, format=format_, account=account)
        summary = control.send(asked, pieces)
    problem = problem or given.problem
    if problem is not None:
        output.say(f"Error: {problem.message}")
    counts = {name: getattr(summary, name) for name in _COUNTS}
    return ImportedFile(file=given.name, problem=problem.message if problem else None, **counts), problem


def _recognised(given: Input, pieces: Iterator[bytes]) -> tuple[str | None, Iterator[bytes]]:
    """The format of a file by its first bytes, and all of its pieces; no format if there is nothing in it."""
    from calldex.formats import formats

    held: list[bytes] = []
    size = 0
    for piece in pieces:
        held.append(piece)
        size += len(piece)
        if size >= _HEAD:
            break
    head = b"".join(held)[:_HEAD]
    if not head:
        return None, iter(())
    known = formats()
    found = next((name for name, each in known.items() if each.sniff(head)), None)
    if found is None:
        raise UsageProblem(
            f"{given.name} is of no format that can be recognised; name one with --format ({', '.join(known)}),"
            " or a source with --source"
        )
    _refuse_sourceless(found, f"{given.name}: ")
    return found, chain(held, pieces)


def _refuse_sourceless(format_: str | None, where: str = "") -> None:
    """Refuse a format that cannot be read without settings, which only a source has."""
    from calldex.formats import formats

    known = formats().get(format_ or "")
    needed = [field.name for field in msgspec.structs.fields(known.settings) if field.required] if known else []
    if needed:
        settings = " ".join(f"--set {name}=..." for name in needed)
        raise UsageProblem(
            f"{where}the format {format_} needs settings; make a source once, `calldex sources add NAME --format"
            f" {format_} {settings}`, and import with --source NAME"
        )


@contextmanager
def _progress(inputs: list[Input]) -> Iterator[Callable[[Input], Tell]]:
    """A bar for each file on a terminal, by the bytes read of it; nothing elsewhere."""
    console = output.console(err=True)
    if not console.is_terminal:
        yield lambda given: lambda size: None
        return
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console, transient=True) as bars:

        def watch(given: Input) -> Tell:
            task = bars.add_task(output.shown(given.name), total=given.size)
            return lambda size: bars.advance(task, size)

        yield watch


def _report(done: list[ImportedFile], as_json: bool) -> None:
    # One interaction may have rows in several files, so those of all files are not added up.
    total = {name: sum(getattr(each, name) for each in done) for name in _COUNTS if name != "interactions"}
    if as_json:
        output.json({"files": done, "total": total})
        return
    shown = [name for name in _COUNTS if name != "unfinished"]
    rows: list[list[object]] = [[each.file, *(f"{getattr(each, name):,}" for name in shown)] for each in done]
    if len(done) > 1:
        rows.append(["in all", *(f"{total[name]:,}" for name in shown if name in total), ""])
    output.table(["file", *shown], rows, right=shown)
    if total["rejected"]:
        output.say("Rejected pieces lie in the quarantine: `calldex quarantine list`.")
    if total["unfinished"]:
        output.say(
            f"{total['unfinished']:,} unfinished, as a file ended there; an import of the whole file takes it out."
        )

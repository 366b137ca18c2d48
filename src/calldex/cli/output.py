"""What commands print: tables for people, JSON for scripts.

Results go to standard output, everything else to standard error.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

import click
import msgspec

from calldex.records.record import from_ms

if TYPE_CHECKING:
    from rich.console import Console

_WIDE: Final = 250
"""Columns of a table that goes to no terminal."""


def console(*, err: bool = False) -> Console:
    """Where tables and progress go."""
    from rich.console import Console

    found = Console(stderr=err, highlight=False, markup=False, emoji=False)
    return found if found.is_terminal else Console(stderr=err, width=_WIDE, highlight=False, markup=False, emoji=False)


def table(headings: Sequence[str], rows: Sequence[Sequence[object]], *, right: Sequence[str] = ()) -> None:
    """A table on standard output, nothing of it cut off; headings named in `right` stand over numbers."""
    from rich import box
    from rich.table import Table

    made = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False)
    for heading in headings:
        made.add_column(heading, justify="right" if heading in right else "left", overflow="fold")
    for row in rows:
        made.add_row(*map(shown, row))
    console().print(made)


def shown(value: object) -> str:
    """A value as people read it: nothing for None, and no control character that a terminal would obey."""
    if value is None:
        return ""
    text = ", ".join(map(str, value)) if isinstance(value, tuple) else str(value)
    return text if text.isprintable() else "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text)


def moment(ms: int | None) -> str:
    """Epoch milliseconds as people read them, in UTC."""
    return "" if ms is None else f"{from_ms(ms):%Y-%m-%d %H:%M:%S}Z"


def json(value: object) -> None:
    """A value as JSON on standard output."""
    click.echo(msgspec.json.format(msgspec.json.encode(value), indent=2).decode())


def say(text: str) -> None:
    """A line on standard error."""
    click.echo(text, err=True)


@contextmanager
def progress() -> Iterator[Callable[[str, int, int], None]]:
    """A bar on a terminal for each thing that is worked on, a line elsewhere; told what it is, what is done, of how
    much."""
    terminal = console(err=True)
    if not terminal.is_terminal:
        told: set[str] = set()

        def tell(what: str, done: int, total: int) -> None:
            if what not in told:
                told.add(what)
                say(f"{what}: {total:,}")

        yield tell
        return
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=terminal) as bars:
        tasks = {}

        def show(what: str, done: int, total: int) -> None:
            if what not in tasks:
                tasks[what] = bars.add_task(what, total=total)
            bars.update(tasks[what], completed=done, total=total)

        yield show

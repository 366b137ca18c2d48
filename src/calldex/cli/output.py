"""What commands print: tables for people, JSON for scripts.

Results go to standard output, everything else to standard error.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import TYPE_CHECKING, Final, NamedTuple

import click
import msgspec

from calldex.records.record import from_ms, to_ms

if TYPE_CHECKING:
    from rich.console import Console

Tell = Callable[[str, int, int], None]
"""Is told what is worked on, what is done, of how much."""
_WIDE: Final = 250
"""Columns of a table that goes to no terminal."""


def console(*, err: bool = False) -> Console:
    """Where tables and progress go."""
    from rich.console import Console

    found = Console(stderr=err, highlight=False, markup=False, emoji=False)
    return found if found.is_terminal else Console(stderr=err, width=_WIDE, highlight=False, markup=False, emoji=False)


def table(headings: Sequence[str], rows: Sequence[Sequence[object]], *, right: Sequence[str] = ()) -> None:
    """A table on standard output, nothing of it cut off; headings named in `right` stand over numbers. That there are
    no rows is said."""
    from rich import box
    from rich.table import Table

    if not rows:
        say("There are none.")
        return
    made = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False, show_edge=False)
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


def moment(at: int | datetime | None) -> str:
    """An instant, or epoch milliseconds, as people read them, in UTC."""
    if at is None:
        return ""
    ms = at if isinstance(at, int) else to_ms(at)
    return f"{from_ms(ms):%Y-%m-%d %H:%M:%S}" + (f".{ms % 1000:03}Z" if ms % 1000 else "Z")


def many(number: int, noun: str, plural: str = "") -> str:
    """`1 day`, `2 days`; `1 entry`, `2 entries`."""
    return f"{number:,} {noun if number == 1 else plural or noun + 's'}"


def count(number: int, noun: str, verb: str) -> str:
    """`1 record matches`, `2 records match`."""
    return f"{many(number, noun)} {verb}es" if number == 1 else f"{many(number, noun)} {verb}"


class Column(NamedTuple):
    """A column of a table that fits its terminal: its heading, how wide it may be, and how soon it is left out (the
    highest first)."""

    heading: str
    most: int
    rank: int


_GAP: Final = 2
"""Between two columns."""


def fitting(columns: Sequence[Column], rows: Sequence[Sequence[str]], width: int) -> tuple[list[str], list[list[str]]]:
    """The headings and the rows of as many columns as a width has room for; texts that are longer than their column
    end in an ellipsis. A column in which nothing stands is left out first."""
    from rich.cells import cell_len

    widths = [
        min(column.most, max((cell_len(row[at]) for row in rows), default=0)) for at, column in enumerate(columns)
    ]
    widths = [max(wide, cell_len(column.heading)) if wide else 0 for wide, column in zip(widths, columns, strict=True)]
    shown_: list[int] = []
    left = width + _GAP
    for at in sorted(range(len(columns)), key=lambda at: columns[at].rank):
        if widths[at] and widths[at] + _GAP <= left:
            left -= widths[at] + _GAP
            shown_.append(at)
    kept = sorted(shown_)
    return (
        [columns[at].heading for at in kept],
        [[_cut(row[at], columns[at].most) for at in kept] for row in rows],
    )


def _cut(text: str, most: int) -> str:
    from rich.cells import cell_len, set_cell_size

    return text if cell_len(text) <= most else set_cell_size(text, most - 1).rstrip() + "…"


def json(value: object) -> None:
    """A value as JSON on standard output."""
    click.echo(msgspec.json.format(msgspec.json.encode(value), indent=2).decode())


def say(text: str) -> None:
    """A line on standard error."""
    click.echo(text, err=True)


@contextmanager
def progress(*, elsewhere: bool = True) -> Iterator[Tell]:
    """A bar on a terminal for each thing that is worked on, a line elsewhere, or nothing; told what it is, what is
    done, of how much."""
    terminal = console(err=True)
    if not terminal.is_terminal:
        named: set[str] = set()

        def tell(what: str, done: int, total: int) -> None:
            if elsewhere and what not in named:
                named.add(what)
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

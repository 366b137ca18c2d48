"""Users and teams in CSV files, as spreadsheets write them.

UTF-8, with or without a byte order mark; the cells of a line separated by commas or by semicolons, as in the first
line, which names the columns. A cell with several values has them separated by semicolons. A column that is missing
changes nothing; an empty cell takes away what stood there, where that can be. Pure.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterator
from typing import Any, Final

from calldex.directory.model import Done, Imported, TeamChanges, UserChanges, refuse
from calldex.directory.refs import reference
from calldex.errors import MOST_PROBLEMS, BadParameters, CalldexError, Problem, TooLarge, suggest

MOST_LINES: Final = 100_000
MOST_BYTES: Final = 16 << 20
USER_COLUMNS: Final = (
    *("email", "name", "role", "groups", "timezone", "extension", "sip_account", "caller_id"),
    *("skills", "agent_id", "teams", "supervises"),
)
TEAM_COLUMNS: Final = ("name", "id", "queues", "supervisors")
_KEPT: Final = ("email", "name", "agent_id", "id")
"""What an empty cell leaves as it is: nobody is without it."""
_TEXTS: Final = ("skills", "groups", "supervisors")
_REFERENCES: Final = ("teams", "supervises", "queues")
_Cells = dict[str, str]


def take_users(text: bytes, do: Callable[[str, UserChanges], Done]) -> Imported:
    """Hand each user of a file to `do`, by the e-mail address in lower case.

    `BadParameters` with everything that is wrong in the file or for `do`, by line; `TooLarge`.
    """

    def take(cells: _Cells) -> Done:
        changes = UserChanges(**_values(cells))
        refuse(changes.problems())
        return do(cells["email"].lower(), changes)

    return _take(text, USER_COLUMNS, take)


def take_teams(text: bytes, do: Callable[[int | None, TeamChanges], Done]) -> Imported:
    """Hand each team of a file to `do`, with its id if the line has one. `BadParameters` and `TooLarge` as above."""

    def take(cells: _Cells) -> Done:
        values = _values(cells)
        id_ = values.pop("id", None)
        changes = TeamChanges(**values)
        refuse(changes.problems())
        return do(id_, changes)

    return _take(text, TEAM_COLUMNS, take)


def _values(cells: _Cells) -> dict[str, Any]:
    """What a line gives, each of its type."""
    values: dict[str, Any] = {}
    for column, cell in cells.items():
        items = tuple(item.strip() for item in cell.split(";") if item.strip())
        if column in _TEXTS:
            values[column] = items
        elif column in _REFERENCES:
            values[column] = tuple(map(reference, items))
        elif not cell:
            if column not in _KEPT:
                values[column] = None
        elif column in ("agent_id", "id"):
            id_ = reference(cell)
            if isinstance(id_, str):
                raise BadParameters([Problem(column, cell[:100], "is not an id", "a whole number")])
            values[column] = id_
        else:
            values[column] = cell
    return values


def _take(text: bytes, columns: tuple[str, ...], take: Callable[[_Cells], Done]) -> Imported:
    """Hand each line to `take`; the first column is what tells lines apart."""
    problems: list[Problem] = []
    done: list[Done] = []
    known: dict[str, int] = {}
    for number, found in _lines(text, columns):
        try:
            if isinstance(found, Problem):
                raise BadParameters([found])
            key = found[columns[0]]
            if not key:
                raise BadParameters([Problem(columns[0], "", "is empty", "what it is known by")])
            if (first := known.setdefault(key.casefold(), number)) != number:
                raise BadParameters([Problem(columns[0], key[:100], f"stands on line {first} as well", "one line")])
            done.append(take(found))
        except CalldexError as error:
            problems += _of_line(number, error)
        if len(problems) > MOST_PROBLEMS:  # `BadParameters` tells that there are more
            break
    refuse(problems)
    return Imported.of(done)


def _of_line(number: int, error: CalldexError) -> Iterator[Problem]:
    for problem in error.problems:
        yield Problem(f"line {number}", problem.given, f"{problem.parameter}: {problem.message}", problem.valid)
    if not error.problems:
        yield Problem(f"line {number}", "", error.message)


def _lines(text: bytes, columns: tuple[str, ...]) -> Iterator[tuple[int, _Cells | Problem]]:
    """The lines behind the first, each with its number and its cells by column, or what is wrong with it."""
    if len(text) > MOST_BYTES:
        raise TooLarge(f"the file is larger than {MOST_BYTES} bytes")
    try:
        decoded = text.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        number = text.count(b"\n", 0, error.start) + 1
        raise BadParameters([Problem(f"line {number}", "", "is not UTF-8", "save the file as CSV UTF-8")]) from None
    first = decoded.partition("\n")[0]
    rows = csv.reader(io.StringIO(decoded, newline=""), delimiter=";" if ";" in first else ",", strict=True)
    names: list[str] = []
    number = 0
    try:
        for count, cells in enumerate(rows):
            number, before = rows.line_num, number
            if count > MOST_LINES:
                raise TooLarge(f"the file has more than {MOST_LINES} lines")
            if not count:
                names = _header(cells, columns)
            elif any(cells):
                yield before + 1, _cells(names, cells)
    except csv.Error as error:
        yield number + 1, Problem("cells", "", f"cannot be told apart: {error}", "quotes that are closed")
    if not names:
        raise BadParameters([Problem("line 1", "", "is missing", f"the names of columns: {', '.join(columns)}")])


def _header(cells: list[str], columns: tuple[str, ...]) -> list[str]:
    """The names of the columns that a file has."""
    names = [cell.strip().lower() for cell in cells]
    refuse(_header_problems(names, columns))
    return names


def _header_problems(names: list[str], columns: tuple[str, ...]) -> Iterator[Problem]:
    valid = ", ".join(columns)
    if columns[0] not in names:
        yield Problem("line 1", "", f"has no column {columns[0]}", valid)
    for name in columns:
        if names.count(name) > 1:
            yield Problem("line 1", name, "names two columns", "each column once")
    for name in names:
        if name not in columns:
            yield Problem("line 1", name[:100], f"is no column{suggest(name, columns)}", valid)


def _cells(names: list[str], cells: list[str]) -> _Cells | Problem:
    if len(cells) != len(names):
        return Problem("cells", str(len(cells)), "is not the number of columns of the first line", str(len(names)))
    return dict(zip(names, map(str.strip, cells), strict=True))

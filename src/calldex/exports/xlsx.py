"""XLSX: a workbook that is streamed, for people. Real dates and lengths (`[h]:mm:ss`), text that stays text.

Office Open XML (ECMA-376), with texts inline, so that nothing of a sheet is kept until its end. Libraries either hold
the workbook or write a seventh as fast; see docs/decisions. A sheet has up to 1,048,576 rows; more go to further ones.
"""

from __future__ import annotations

import re
import zipfile
from collections.abc import Callable
from datetime import datetime
from typing import IO, Final
from xml.sax.saxutils import escape
from zoneinfo import ZoneInfo

from calldex.exports.columns import Cell, Column, Kind, Layout, flat
from calldex.exports.csv import heading
from calldex.exports.sink import Sink

ROWS: Final = 1_048_576
"""Of one sheet, the headings included."""
CELL_CHARACTERS: Final = 32_767
_EXACT: Final = 10**15
"""A spreadsheet keeps 15 digits of a number: longer ones are text."""
_LEVEL: Final = 1
_EPOCH: Final = datetime(1899, 12, 30)  # noqa: DTZ001 - a spreadsheet's times have no zone
_DAY_S: Final = 86_400
_DATE, _LENGTH, _BOLD = 1, 2, 3
_UNFIT: Final = re.compile(r"[\x00-\x08\x0b\x0c\x0d\x0e-\x1f\ufffe\uffff]|_(?=x[0-9A-Fa-f]{4}_)")
"""What XML cannot hold, and what would be read as the way to write that."""
_MAIN: Final = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"
_RELATIONS: Final = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
_PACKAGE: Final = "http://schemas.openxmlformats.org/package/2006"
_XML: Final = '<?xml version="1.0" encoding="UTF-8" standalone="yes"?>\n'
_STYLES: Final = (
    f'{_XML}<styleSheet xmlns="{_MAIN}">'
    '<numFmts count="2"><numFmt numFmtId="164" formatCode="yyyy\\-mm\\-dd hh:mm:ss"/>'
    '<numFmt numFmtId="165" formatCode="[h]:mm:ss"/></numFmts>'
    '<fonts count="2"><font/><font><b/></font></fonts><fills count="1"><fill/></fills><borders count="1"><border/>'
    '</borders><cellStyleXfs count="1"><xf/></cellStyleXfs><cellXfs count="4"><xf/>'
    '<xf numFmtId="164" applyNumberFormat="1"/><xf numFmtId="165" applyNumberFormat="1"/>'
    '<xf fontId="1" applyFont="1"/></cellXfs></styleSheet>'
)
_SHEET: Final = (
    f'{_XML}<worksheet xmlns="{_MAIN}"><sheetViews><sheetView workbookViewId="0">'
    '<pane ySplit="1" topLeftCell="A2" activePane="bottomLeft" state="frozen"/></sheetView></sheetViews><sheetData>'
)


class Xlsx:
    """Writes the workbook. `rows`: of one sheet, for tests."""

    def __init__(self, layout: Layout, rows: int = ROWS) -> None:
        self._rows = flat(layout.columns, True)
        self._most = rows - 1
        self._sheets = max(1, -(-layout.total // self._most))
        zone = ZoneInfo(layout.timezone)
        self._cells = [_cell_of(column, zone) for column in layout.columns]
        heads = "".join(_text(heading(column, layout.timezone), _BOLD) for column in layout.columns)
        self._head = f"{_SHEET}<row>{heads}</row>".encode()
        self._sink = Sink()
        self._zip = zipfile.ZipFile(self._sink.file, "w", zipfile.ZIP_DEFLATED, compresslevel=_LEVEL)
        self._sheet: IO[bytes] | None = None
        self._begun = 0
        self._left = 0

    def begin(self) -> bytes:
        """What a workbook says of its sheets."""
        for name, text in _parts(self._sheets).items():
            with self._zip.open(name, "w") as part:  # which has no date, so that equal records are equal bytes
                part.write(text.encode())
        self._next_sheet()
        return self._sink.taken()

    def convert(self, records: bytes) -> list[str]:
        """A row each, while those before are compressed, which needs no lock of Python's."""
        return [f"<row>{''.join(self._row(row))}</row>" for row in self._rows(records)]

    def add(self, converted: list[str]) -> bytes:
        """Put the rows into the sheet, and into the next one where it is full."""
        rows = converted
        while rows:
            if not self._left:
                self._next_sheet()
            now, rows = rows[: self._left], rows[self._left :]
            self._left -= len(now)
            self._write("".join(now).encode())
        return self._sink.taken()

    def end(self) -> bytes:
        """The end of the last sheet, and the directory without which it is no workbook."""
        self._end_sheet()
        self._zip.close()
        return self._sink.taken()

    def close(self) -> None:
        """Let go of the sheet, and of the archive, which would be ended when it is collected."""
        self._end_sheet()
        self._zip.close()

    def _next_sheet(self) -> None:
        self._end_sheet()
        self._begun += 1
        self._left = self._most
        self._sheet = self._zip.open(f"xl/worksheets/sheet{self._begun}.xml", "w", force_zip64=True)
        self._sheet.write(self._head)

    def _row(self, row: list[Cell]) -> list[str]:
        return [
            "<c/>" if cell is None or cell == "" else make(cell) for make, cell in zip(self._cells, row, strict=True)
        ]

    def _write(self, text: bytes) -> None:
        if self._sheet is not None:
            self._sheet.write(text)

    def _end_sheet(self) -> None:
        if self._sheet is not None:
            self._sheet.write(b"</sheetData></worksheet>")
            self._sheet.close()
            self._sheet = None


def _parts(sheets: int) -> dict[str, str]:
    """The other parts of a workbook with so many sheets."""
    numbers = range(1, sheets + 1)
    office = "application/vnd.openxmlformats-officedocument.spreadsheetml"
    types = "".join(
        f'<Override PartName="/xl/worksheets/sheet{n}.xml" ContentType="{office}.worksheet+xml"/>' for n in numbers
    )
    listed = "".join(f'<sheet name="Calls{f" {n}" if n > 1 else ""}" sheetId="{n}" r:id="rId{n}"/>' for n in numbers)
    related = "".join(
        f'<Relationship Id="rId{n}" Type="{_RELATIONS}/worksheet" Target="worksheets/sheet{n}.xml"/>' for n in numbers
    )
    relations = f'<Relationships xmlns="{_PACKAGE}/relationships">'
    return {
        "[Content_Types].xml": f'{_XML}<Types xmlns="{_PACKAGE}/content-types">'
        '<Default Extension="rels" ContentType="application/vnd.openxmlformats-package.relationships+xml"/>'
        f'<Override PartName="/xl/workbook.xml" ContentType="{office}.sheet.main+xml"/>'
        f'<Override PartName="/xl/styles.xml" ContentType="{office}.styles+xml"/>{types}</Types>',
        "_rels/.rels": f'{_XML}{relations}<Relationship Id="rId1" Type="{_RELATIONS}/officeDocument"'
        ' Target="xl/workbook.xml"/></Relationships>',
        "xl/workbook.xml": f'{_XML}<workbook xmlns="{_MAIN}" xmlns:r="{_RELATIONS}">'
        f"<sheets>{listed}</sheets></workbook>",
        "xl/_rels/workbook.xml.rels": f"{_XML}{relations}{related}"
        f'<Relationship Id="rId{sheets + 1}" Type="{_RELATIONS}/styles" Target="styles.xml"/></Relationships>',
        "xl/styles.xml": _STYLES,
    }


_Make = Callable[[Cell], str]


def _cell_of(column: Column, zone: ZoneInfo) -> _Make:
    """What makes the cells of a column."""
    if column.kind is Kind.INSTANT:
        return lambda cell: f'<c s="{_DATE}"><v>{_serial(cell, zone)}</v></c>' if isinstance(cell, datetime) else "<c/>"
    if column.kind is Kind.LENGTH:
        return lambda cell: f'<c s="{_LENGTH}"><v>{int(cell) / _DAY_S!r}</v></c>'  # type: ignore[arg-type]  # a length is whole seconds
    if column.kind in (Kind.WHOLE, Kind.DECIMAL):
        return lambda cell: f"<c><v>{cell}</v></c>" if abs(float(str(cell))) < _EXACT else _text(str(cell))
    return lambda cell: _text(str(cell))


def _serial(cell: datetime, zone: ZoneInfo) -> float:
    """Days since a spreadsheet's beginning, in the reader's zone, to the millisecond."""
    return (cell.astimezone(zone).replace(tzinfo=None) - _EPOCH).total_seconds() / _DAY_S


def _text(text: str, style: int = 0) -> str:
    if len(text) > CELL_CHARACTERS:
        text = f"({len(text)} characters, more than a cell holds; the other formats have them)"
    # One by one these take a fifth of the time of an expression for all, and most texts are long JSON without any.
    if "<" in text or "&" in text or ">" in text or "_x" in text or not text.isprintable():
        text = escape(_UNFIT.sub(lambda found: f"_x{ord(found[0]):04X}_", text))
    return f'<c t="inlineStr" s="{style}"><is><t xml:space="preserve">{text}</t></is></c>'

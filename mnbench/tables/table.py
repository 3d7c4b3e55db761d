"""Tables with typed columns: each value in its base unit, and as the text that a person reads."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from importlib import import_module
from operator import attrgetter
from typing import Any, Generic, TypeAlias, TypeVar

from mnbench.errors import MnbenchError
from mnbench.tables import FORMATS
from mnbench.text import printable

R = TypeVar("R")
CellValue: TypeAlias = str | int | float | None

ABSENT = "–"

SPARKLINE_BARS = "▁▂▃▄▅▆▇█"
"""The characters that draw a series in a cell, the lowest first."""


def _same_name(row: object) -> CellValue:
    """Stand for the attribute that has the column's name."""
    raise NotImplementedError


@dataclass(frozen=True, kw_only=True)
class Column(Generic[R]):
    """A column: `value` returns a row's value in the base unit that `name` ends with, `format` writes it in `unit`.

    `value` is the row's attribute `name` unless it is given. Numbers are aligned right, `left` columns left. A narrow
    terminal drops the column of the highest `drop_priority` first, and never one of priority 0; one of a negative
    priority only if cutting names short does not help. The text of a `wrap` column may take several lines. `style`
    returns how a terminal with colours sets the cell apart. In CSV and JSON, `parts` stand for a column that draws
    several values, or none, for people.
    """

    name: str
    value: Callable[[R], CellValue] = _same_name
    format: Callable[..., str] = str
    title: str = ""
    unit: str = ""
    drop_priority: int = 0
    left: bool = False
    wrap: bool = False
    style: Callable[[R], str] | None = None
    parts: "Sequence[Column[R]] | None" = None

    def __post_init__(self) -> None:
        if self.value is _same_name:
            object.__setattr__(self, "value", attrgetter(self.name))

    def text(self, row: R) -> str:
        """Return what a person reads in that row, in one line: a name may hold line breaks and control characters."""
        value = self.value(row)
        if value is None:
            return ABSENT
        text = self.format(value)
        return printable(text).rstrip() if isinstance(value, str) else text

    @property
    def header_lines(self) -> list[str]:
        """Title and unit, one below the other."""
        return [printable(line) for line in (*(self.title or self.name).split("\n"), self.unit) if line]


class IntervalColumn(Column[R]):
    """A column of both ends of an interval, its two `parts`."""

    def text(self, row: R) -> str:
        """Return `9.55–9.88`."""
        ends = [part.text(row) for part in self.parts or ()]
        return ABSENT if ABSENT in ends else "–".join(ends)


@dataclass(frozen=True, slots=True)
class FailedRow:
    """A row without values."""

    name: str


@dataclass(frozen=True, kw_only=True)
class Table(Generic[R]):
    """Rows under columns, with a title above, subtitles below it, and notes below all: each is one line."""

    columns: Sequence[Column[R]]
    rows: Sequence[R]
    title: str = ""
    subtitles: Sequence[str] = ()
    notes: Sequence[str] = ()

    @property
    def title_lines(self) -> list[str]:
        """Title and subtitles as a person reads them."""
        return [printable(line) for line in (self.title, *self.subtitles) if line]

    @property
    def note_lines(self) -> list[str]:
        """The notes as a person reads them."""
        return [printable(note) for note in self.notes]

    def with_columns(self, columns: Sequence[Column[R]], notes: Sequence[str]) -> "Table[R]":
        """Return the same rows under other columns and notes."""
        return replace(self, columns=columns, notes=notes)

    @property
    def data_columns(self) -> list[Column[R]]:
        """The columns with their values apart: each holds a number in its base unit or a word."""
        columns = [part for column in self.columns for part in ((column,) if column.parts is None else column.parts)]
        return list({column.name: column for column in columns}.values())

    def with_failures(self, failures: Sequence[tuple[str, MnbenchError]]) -> "Table[Any]":
        """Return the table with a row for each failure, which has a name and nothing else, and a note that says why."""
        columns = [_with_failed_rows(column, named=index == 0) for index, column in enumerate(self.columns)]
        rows = [*self.rows, *(FailedRow(name) for name, _ in failures)]
        notes = [*self.notes, *(f"{error.message} ({error.hint})" for _, error in failures)]
        return replace(self, columns=columns, rows=rows, notes=notes)

    def with_notes(self, notes: Sequence[str]) -> "Table[R]":
        """Return the same table with more notes."""
        return replace(self, notes=[*self.notes, *notes])

    def to_dicts(self) -> list[dict[str, CellValue]]:
        """Return each row's values, in base units, by the names of the data columns."""
        return [{column.name: column.value(row) for column in self.data_columns} for row in self.rows]

    def to(self, format: str) -> str:  # noqa: A002  the command line's word
        """Return the table as text: `rich`, `markdown`, `csv`, `json`, `latex` or `html`.

        Raises:
            MnbenchError: there is no such format.
        """
        if format not in FORMATS:
            raise MnbenchError(f"unknown format {format!r}", hint=f"use one of {', '.join(FORMATS)}")
        return import_module(FORMATS[format]).render(self)

    def __repr__(self) -> str:
        from mnbench.tables import rich_text  # noqa: PLC0415  only who prints for people imports rich

        return rich_text.render(self, styled=False)

    def _repr_html_(self) -> str:
        return self.to("html")


def _with_failed_rows(column: Column[Any], *, named: bool) -> Column[Any]:
    """Return the column for failed rows too, in which it is empty or holds the name."""

    def value(row: Any) -> CellValue:
        if isinstance(row, FailedRow):
            return row.name if named else None
        return column.value(row)

    parts = column.parts and [_with_failed_rows(part, named=False) for part in column.parts]
    return replace(column, value=value, parts=parts)

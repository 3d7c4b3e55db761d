"""Text for a terminal: as wide as it is, with colours where it has them."""

import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from rich import box
from rich.cells import cell_len, set_cell_size
from rich.console import Console
from rich.table import Table as RichTable
from rich.text import Text

from mnbench.tables.table import Column, Table

PIPE_WIDTH = 100
"""Columns of text that no terminal shows, unless the variable COLUMNS says otherwise."""
GAP = 2
MIN_NAME = 12
"""To so many characters names are cut short, before a column of a negative `drop_priority` is dropped."""
MAX_RICH_ROWS = 200
"""The rows that rich lays out; it takes seconds for thousands."""


@dataclass(slots=True)
class _Cells:
    """A column with its text in each row, and their width: a text is formatted once."""

    column: Column[Any]
    texts: Sequence[str]
    width: int

    @classmethod
    def of(cls, column: Column[Any], rows: Sequence[Any]) -> "_Cells":
        texts = [column.text(row) for row in rows]
        return cls(column, texts, max(map(_width, (*column.header_lines, *texts))))

    @property
    def padded(self) -> Iterator[str]:
        """The texts of the rows that rich does not lay out, as wide as the column."""
        for text in self.texts[MAX_RICH_ROWS:]:
            if not self.column.left:
                yield text.rjust(self.width)
            elif text.isascii():
                yield text[: self.width].ljust(self.width)
            else:
                yield set_cell_size(text, self.width)


def render(table: Table[Any], *, styled: bool = True, console: Console | None = None) -> str:
    """Return the table as the terminal shows it, without the columns that do not fit; elsewhere of COLUMNS, or 100."""
    console = console or (Console() if styled else Console(color_system=None, force_jupyter=False))
    if not console.is_terminal:
        console.width = shutil.get_terminal_size((PIPE_WIDTH, 24)).columns
    columns, dropped = _fitting([_Cells.of(column, table.rows) for column in table.columns], console.width)
    excess = max(0, _total_width(columns) - console.width)
    # A name may be cut short where nothing else helps, a number never.
    names = [cells for cells in columns if cells.column.left]
    names.sort(key=lambda cells: (cells.column.wrap, cells.width), reverse=True)
    for shortest in (MIN_NAME, 1):
        for cells in names:
            cut = min(excess, max(0, cells.width - shortest))
            cells.width -= cut
            excess -= cut
    with console.capture() as top:
        if table.title_lines:
            # A Text stays as it is: in a str, rich replaces names of emoji.
            console.print(Text("\n".join(table.title_lines), style="bold"))
            console.print()
        console.print(_grid(columns, table.rows[:MAX_RICH_ROWS]))
    lines = [f"{(' ' * GAP).join(row).rstrip()}\n" for row in zip(*(cells.padded for cells in columns), strict=True)]
    if dropped:
        table = table.with_notes([f"no room for {', '.join(column.name for column in dropped)}"])
    with console.capture() as bottom:
        if table.notes:
            console.print()
        for note in table.note_lines[:MAX_RICH_ROWS]:
            # An indented note is a command: it stays on one line for the mouse to copy.
            console.print(Text(note, style="dim"), soft_wrap=note.startswith("    "))
    return top.get() + "".join(lines) + bottom.get() + "".join(f"{note}\n" for note in table.note_lines[MAX_RICH_ROWS:])


def _grid(columns: Sequence[_Cells], rows: Sequence[Any]) -> RichTable:
    grid = RichTable(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False, show_edge=False, header_style="bold")
    vertical = "top" if any(cells.column.wrap for cells in columns) else "bottom"
    for cells in columns:
        column = cells.column
        grid.add_column(
            Text("\n".join(column.header_lines)),
            justify="left" if column.left else "right",
            no_wrap=not column.wrap,
            width=cells.width,
            vertical=vertical,
        )
    for index, row in enumerate(rows):
        styles = [cells.column.style for cells in columns]
        texts = [cells.texts[index] for cells in columns]
        grid.add_row(
            *(Text(text, style=style(row) if style else "") for text, style in zip(texts, styles, strict=True))
        )
    return grid


def _fitting(columns: Sequence[_Cells], width: int) -> tuple[list[_Cells], list[Column[Any]]]:
    """Return the columns that fit, in order, and the dropped ones, the least important first."""
    fitting, dropped = list(columns), list[Column[Any]]()
    for last_resort in (False, True):
        while _total_width(fitting, cut=last_resort) > width:
            droppable = [
                index for index, cells in enumerate(fitting) if (cells.column.drop_priority < 0) == last_resort
            ]
            last = max(droppable, key=lambda index: (abs(fitting[index].column.drop_priority), index), default=None)
            if last is None or fitting[last].column.drop_priority == 0:
                break
            dropped.append(fitting.pop(last).column)
    return fitting, dropped


def _total_width(columns: Sequence[_Cells], *, cut: bool = False) -> int:
    """Return the width of all columns; `cut` with names cut as short as possible."""
    widths = [min(cells.width, MIN_NAME) if cut and cells.column.left else cells.width for cells in columns]
    return sum(width + GAP for width in widths) - GAP


def _width(text: str) -> int:
    return len(text) if text.isascii() else cell_len(text)

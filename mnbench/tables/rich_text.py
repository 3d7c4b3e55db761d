"""Text for a terminal: as wide as it is, with colours where it has them."""

import shutil
from collections.abc import Sequence
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


def render(table: Table[Any], *, styled: bool = True, console: Console | None = None) -> str:
    """Return the table as the terminal shows it, without the columns that do not fit; elsewhere of COLUMNS, or 100."""
    console = console or (Console() if styled else Console(color_system=None, force_jupyter=False))
    if not console.is_terminal:
        console.width = shutil.get_terminal_size((PIPE_WIDTH, 24)).columns
    columns, dropped = _fitting(table, console.width)
    excess = max(0, _total_width(columns, table.rows) - console.width)
    # A name may be cut short where nothing else helps, a number never.
    widths = [_width(column, table.rows) for column in columns]
    names = [index for index, column in enumerate(columns) if column.left]
    names.sort(key=lambda index: (columns[index].wrap, widths[index]), reverse=True)
    for shortest in (MIN_NAME, 1):
        for index in names:
            cut = min(excess, max(0, widths[index] - shortest))
            widths[index] -= cut
            excess -= cut
    with console.capture() as top:
        if table.title_lines:
            # A Text stays as it is: in a str, rich replaces names of emoji.
            console.print(Text("\n".join(table.title_lines), style="bold"))
            console.print()
        console.print(_grid(columns, widths, table.rows[:MAX_RICH_ROWS]))
    lines = [_line(row, columns, widths) for row in table.rows[MAX_RICH_ROWS:]]
    if dropped:
        table = table.with_notes([f"no room for {', '.join(column.name for column in dropped)}"])
    with console.capture() as bottom:
        if table.notes:
            console.print()
        for note in table.note_lines:
            # An indented note is a command: it stays on one line for the mouse to copy.
            console.print(Text(note, style="dim"), soft_wrap=note.startswith("    "))
    return top.get() + "".join(lines) + bottom.get()


def _grid(columns: Sequence[Column[Any]], widths: Sequence[int], rows: Sequence[Any]) -> RichTable:
    grid = RichTable(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False, show_edge=False, header_style="bold")
    vertical = "top" if any(column.wrap for column in columns) else "bottom"
    for column, width in zip(columns, widths, strict=True):
        justify = "left" if column.left else "right"
        grid.add_column(
            Text("\n".join(column.header_lines)),
            justify=justify,
            no_wrap=not column.wrap,
            width=width,
            vertical=vertical,
        )
    for row in rows:
        grid.add_row(*(Text(column.text(row), style=column.style(row) if column.style else "") for column in columns))
    return grid


def _line(row: Any, columns: Sequence[Column[Any]], widths: Sequence[int]) -> str:
    cells = [(column.text(row), column.left, width) for column, width in zip(columns, widths, strict=True)]
    padded = (set_cell_size(text, width) if left else text.rjust(width) for text, left, width in cells)
    return (" " * GAP).join(padded).rstrip() + "\n"


def _fitting(table: Table[Any], width: int) -> tuple[list[Column[Any]], list[Column[Any]]]:
    """Return the columns that fit, in order, and the dropped ones, the least important first."""
    fitting, dropped = list(table.columns), list[Column[Any]]()
    for last_resort in (False, True):
        while _total_width(fitting, table.rows, cut=last_resort) > width:
            droppable = [column for column in fitting if (column.drop_priority < 0) == last_resort]
            last = max(droppable, key=lambda column: (abs(column.drop_priority), fitting.index(column)), default=None)
            if last is None or last.drop_priority == 0:
                break
            fitting.remove(last)
            dropped.append(last)
    return fitting, dropped


def _total_width(columns: Sequence[Column[Any]], rows: Sequence[Any], *, cut: bool = False) -> int:
    """Return the width of all columns; `cut` with names cut as short as possible."""
    widths = [_width(column, rows) for column in columns]
    if cut:
        widths = [min(width, MIN_NAME) if column.left else width for column, width in zip(columns, widths, strict=True)]
    return sum(width + GAP for width in widths) - GAP


def _width(column: Column[Any], rows: Sequence[Any]) -> int:
    return max(map(cell_len, (*column.header_lines, *map(column.text, rows))))

"""HTML: a `<table>` with its notes below."""

from collections.abc import Callable
from html import escape
from typing import Any

from mnbench.tables.table import Column, Table
from mnbench.text import printable


def escape_text(text: str) -> str:
    """Return a text of any origin as HTML, in an element or an attribute."""
    return escape(printable(text))


def header_content(column: Column[Any]) -> str:
    return escape(" ".join(column.header_lines))


def cell(column: Column[Any], row: Any) -> str:
    return f"<td{_alignment(column)}>{escape(column.text(row))}</td>"


def render(
    table: Table[Any],
    *,
    row_attributes: Callable[[Any], str] = lambda _: "",
    header_content: Callable[[Column[Any]], str] = header_content,
    cell: Callable[[Column[Any], Any], str] = cell,
) -> str:
    """Return the table as HTML; the functions return a row's attributes, a header cell's content and a whole cell."""
    caption = f"<caption>{'<br>'.join(map(escape, table.title_lines))}</caption>\n" if table.title_lines else ""
    headers = "".join(f'<th scope="col"{_alignment(column)}>{header_content(column)}</th>' for column in table.columns)
    rows = "\n".join(
        f"<tr{row_attributes(row)}>{''.join(cell(column, row) for column in table.columns)}</tr>" for row in table.rows
    )
    notes = "".join(f'\n<p class="note">{escape(note)}</p>' for note in table.note_lines)
    return f"<table>\n{caption}<thead><tr>{headers}</tr></thead>\n<tbody>\n{rows}\n</tbody>\n</table>{notes}\n"


def _alignment(column: Column[Any]) -> str:
    return "" if column.left else ' class="n"'

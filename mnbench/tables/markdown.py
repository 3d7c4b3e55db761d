"""Markdown: a pipe table with its title above and its notes below."""

from collections.abc import Sequence
from typing import Any

from mnbench.tables.table import Table


def render(table: Table[Any]) -> str:
    """Return the table in GitHub Flavored Markdown."""
    title = [f"{line}\n" for line in table.title.splitlines()]
    header = _row([column.header.replace("\n", " ") for column in table.columns])
    rule = _row(["---" if column.left else "---:" for column in table.columns])
    rows = [_row([column.text(row) for column in table.columns]) for row in table.rows]
    return "\n".join([*title, header, rule, *rows, *(f"\n{note}" for note in table.notes)]) + "\n"


def _row(cells: Sequence[str]) -> str:
    escaped = (cell.replace("|", "\\|") for cell in cells)
    return f"| {' | '.join(escaped)} |"

"""CSV: base units under the columns' own names."""

import csv
from collections.abc import Mapping, Sequence
from io import StringIO
from typing import Any

from mnbench.tables.table import CellValue, Table
from mnbench.text import printable

FORMULA_SIGNS = ("=", "+", "-", "@", "＝", "＋", "－", "＠")
"""How a cell begins that a spreadsheet calculates."""


def render(table: Table[Any]) -> str:
    """Return the table as CSV with a header, without title and notes."""
    return dump([column.name for column in table.data_columns], table.to_dicts())


def dump(columns: Sequence[str], rows: Sequence[Mapping[str, CellValue]]) -> str:
    """Return rows as CSV with a header; a text that a spreadsheet would calculate begins with `'`."""
    text = StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(map(_cell, columns))
    writer.writerows([_cell(row[name]) for name in columns] for row in rows)
    return text.getvalue()


def _cell(value: CellValue) -> CellValue:
    if not isinstance(value, str):
        return value
    text = printable(value)
    return f"'{text}" if text.lstrip().startswith(FORMULA_SIGNS) and not _is_number(text) else text


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True

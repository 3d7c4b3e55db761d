"""CSV: base units under the columns' own names."""

import csv
from io import StringIO
from typing import Any

from mnbench.tables.table import Table


def render(table: Table[Any]) -> str:
    """Return the table as CSV with a header, without title and notes."""
    text = StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([column.name for column in table.data_columns])
    writer.writerows(row.values() for row in table.to_dicts())
    return text.getvalue()

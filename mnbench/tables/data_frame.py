"""Rows as a pandas data frame; pandas is an optional dependency."""

from collections.abc import Mapping, Sequence
from typing import Any

from mnbench.errors import import_extra


def to_data_frame(rows: Sequence[Mapping[str, Any]], columns: Sequence[str]) -> Any:
    """Return a data frame with these rows and columns.

    Raises:
        MissingDependency: pandas is not installed.
    """
    pandas = import_extra("pandas", extra="pandas", use="a data frame")
    return pandas.DataFrame(rows, columns=list(columns))

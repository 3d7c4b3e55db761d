"""Rows as a pandas data frame; pandas is an optional dependency."""

from collections.abc import Mapping, Sequence
from importlib import import_module
from typing import Any

from mnbench.errors import MissingDependency


def to_data_frame(rows: Sequence[Mapping[str, Any]], columns: Sequence[str]) -> Any:
    """Return a data frame with these rows and columns.

    Raises:
        MissingDependency: pandas is not installed.
    """
    try:
        pandas = import_module("pandas")
    except ImportError as failure:
        raise MissingDependency("pandas is not installed", hint="pip install mnbench[pandas]") from failure
    return pandas.DataFrame(rows, columns=list(columns))

"""A comparison in the formats of CI services: one module a format, whose `export` returns the text of one file.

`series` is a folder that each comparison extends.
"""

from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from pkgutil import iter_modules
from typing import TYPE_CHECKING

from mnbench import atomic_files
from mnbench.errors import MnbenchError

if TYPE_CHECKING:
    from mnbench.comparison.comparison import Comparison

EXPORTS = {
    module.name.replace("_", "-"): f"{__name__}.{module.name}"
    for module in iter_modules(__path__)
    if module.name != "otava"
}
"""The module of each format, by the format's name. None is imported before it is used: the help lists them."""

EXPORTS["markdown"] = EXPORTS.pop("github-summary")

REPORT_FORMATS = ("markdown", *sorted(EXPORTS.keys() - {"markdown"}), "json", "series")
"""What `--report` takes."""


def export(comparison: "Comparison", format: str) -> str:  # noqa: A002  the command line's word
    """Return a comparison in one of these formats, or as `json`.

    Raises:
        MnbenchError: there is no such format.
    """
    if format == "json":
        from mnbench.tables import json_text  # noqa: PLC0415  the help needs the names of formats alone

        return json_text.dump(comparison)
    if format not in EXPORTS:
        raise MnbenchError(f"unknown format {format!r}", hint=f"use json or one of {', '.join(EXPORTS)}")
    return import_module(EXPORTS[format]).export(comparison)


def write_exports(comparison: "Comparison", files: Sequence[tuple[str, Path]]) -> None:
    """Write a file in each of these formats.

    Raises:
        FileError: no space, no permission.
        ResultsError: a series cannot be continued.
    """
    for name, path in files:
        if name == "series":
            from mnbench.comparison.exports import otava  # noqa: PLC0415  it imports what a comparison needs

            otava.extend_series(path, otava.comparison_to_series(comparison))
        else:
            atomic_files.write_atomically(path, export(comparison, name).encode(), durable=False)

"""The files that the rows of a user's own models are gated with."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from mnbench.errors import ResultsError
from mnbench.network.row import Row, row_labels
from mnbench.network.variant import InputOptions, OnnxFile
from mnbench.results.record import Record

ARRAY = "array"
"""What an input was fed that was given as an array in Python."""


def match_user_models(records: Sequence[Record], models: Sequence[OnnxFile]) -> Mapping[Row, OnnxFile]:
    """Return the file for each row of a user's model, with the label of the row.

    It is the file at the row's path, the one that has the row's label, or the one that has its name, if no other file
    has rows of that name.

    Raises:
        ResultsError: a file is for no row.
    """
    rows = dict.fromkeys(record.row for record in records if record.architecture is None)
    labels = row_labels(rows)
    matched: dict[Row, OnnxFile] = {}
    for row in rows:
        alone = len({other.file for other in rows if _base(other.name) == _base(row.name)}) == 1
        at_path = [model for model in models if model.row.file == row.file]
        labelled = [model for model in models if model.name in (labels[row], _base(labels[row]))]
        named = [model for model in models if alone and model.name == _base(row.name)]
        for model in [*at_path, *labelled, *named][:1]:
            matched[row] = replace(model, label=_base(labels[row]))
    for model in models:
        if not any(model.path == taken.path for taken in matched.values()):
            names = ", ".join(dict.fromkeys(map(_base, labels.values()))) or "none"
            raise ResultsError(
                f"{model.path}: no row is of this file",
                hint=f"rows of your own files: {names}; name one: ROW={model.path}",
            )
    return matched


def _base(name: str) -> str:
    """Return the name of a file's row without its inputs: `net` of `net[height=32]`."""
    return name.partition("[")[0]


def recorded_inputs(record: Record) -> InputOptions:
    """Return the sizes of all inputs of a record, and the values that a user gave as text; a variant needs none."""
    inputs = record.inputs if record.architecture is None else ()
    return InputOptions(
        shapes={fed.name: fed.shape for fed in inputs},
        values={fed.name: fed.values for fed in inputs if not fed.chosen},
    )


def require_stored_inputs(record: Record) -> None:
    """Check that a record's inputs can be made again.

    Raises:
        ResultsError: an input was an array in memory, which is not stored.
    """
    for fed in record.inputs:
        if fed.values == ARRAY:
            raise ResultsError(
                f"its input {fed.name} was an array in memory", hint="measure it with the array in an .npy file"
            )

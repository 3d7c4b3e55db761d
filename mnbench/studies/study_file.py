"""Study files: a paper's experiment, with the networks it compares, the figures it prints and its claims."""

from pathlib import Path
from typing import Annotated, Literal, TypeAlias

import msgspec

from mnbench.errors import StudyFileError
from mnbench.network.toml_struct import TomlStruct, read_toml
from mnbench.workspace import find_table

RowLabels: TypeAlias = Annotated[tuple[str, ...], msgspec.Meta(min_length=1)]
Quantity: TypeAlias = Literal["latency", "rank", "mult_adds", "memory", "time_share"]


class StudyRow(TomlStruct, frozen=True, kw_only=True):
    """A row of the paper's table: a variant for each column, with the paper's figures if it prints any."""

    label: str
    variants: RowLabels
    published: tuple[float, ...] = ()


class Claim(TomlStruct, frozen=True, kw_only=True):
    """A claim: a quantity of each of these rows, divided by that of the `baseline` row, lies within bounds.

    A `rank` is Spearman's correlation of the latencies that the paper prints with those of this device, the baseline's
    included.
    A `time_share` has no baseline: it is the share of a row's time that layers of the type `layer` take. The bounds of
    a `latency` are 1: the row is slower (`at_least`) or not slower (`at_most`). A `control` is a claim of the study
    itself, not of the paper.
    """

    says: str
    quantity: Quantity
    rows: RowLabels
    baseline: str = ""
    at_least: float | None = None
    at_most: float | None = None
    layer: str = ""
    published: float | None = None
    control: bool = False

    @property
    def row_labels(self) -> tuple[str, ...]:
        """The labels of the rows that the claim compares."""
        return (*self.rows, *([self.baseline] if self.baseline else []))

    def problem(self) -> str:
        """Return what is wrong with the keys of this claim, or an empty string."""
        if self.at_least is None and self.at_most is None:
            return "needs `at_least` or `at_most`"
        if self.quantity == "time_share":
            return "" if self.layer and not self.baseline else "a time_share needs `layer`, and no `baseline`"
        if not self.baseline or self.layer:
            return f"the quantity {self.quantity} needs `baseline`, and no `layer`"
        if self.quantity == "rank" and (len(self.rows) < 3 or self.at_least is None or abs(self.at_least) > 1):
            return "a rank needs at least 3 rows, and `at_least` from -1 to 1"
        if self.quantity == "latency" and sorted([self.at_least or 0, self.at_most or 0]) != [0, 1]:
            return "a latency needs either `at_least = 1` or `at_most = 1`"
        return ""


class Study(TomlStruct, frozen=True, kw_only=True):
    """A file of `graphs/studies/`. `differs` lists how this experiment differs from the paper's."""

    title: str
    paper: str
    table: str
    unit: Literal["images/s", "ms", "KB", ""] = ""
    on: str = ""
    """The paper's device."""
    columns: tuple[str, ...] = ("",)
    rows: Annotated[tuple[StudyRow, ...], msgspec.Meta(min_length=1)]
    claims: Annotated[tuple[Claim, ...], msgspec.Meta(min_length=1)]
    differs: tuple[str, ...] = ()

    def row(self, label: str) -> StudyRow:
        """Return the row with that label."""
        return next(row for row in self.rows if row.label == label)

    def check(self, path: Path) -> None:
        """Check that rows fit the columns and claims fit the rows.

        Raises:
            StudyFileError: a row has more or fewer entries than there are columns, or a claim is incomplete or names an
                unknown row.
        """
        labels = [row.label for row in self.rows]
        for number, row in enumerate(self.rows, 1):
            for key in ("variants", "published"):
                entries = getattr(row, key)
                if entries and len(entries) != len(self.columns):
                    problem = f"has {len(entries)} entries for {len(self.columns)} columns"
                    raise StudyFileError(path, f"row {number}, key `{key}`", problem, hint="write one for each column")
        for number, claim in enumerate(self.claims, 1):
            where = f"key `claims`, entry {number}"
            if problem := claim.problem():
                raise StudyFileError(path, where, problem, hint="see docs/studies.md")
            for label in claim.row_labels:
                if label not in labels:
                    raise StudyFileError(path, where, f"there is no row {label!r}", hint=f"rows: {', '.join(labels)}")
                if claim.quantity == "rank" and not self.row(label).published:
                    raise StudyFileError(
                        path, where, f"row {label!r} has no `published`", hint="rank printed rows alone"
                    )


def read_study(name: str) -> Study:
    """Read the study of that name or path.

    Raises:
        StudyFileError: there is none, or its file is wrong.
    """
    path = find_table(name, "graphs/studies", StudyFileError)
    study = read_toml(path, Study, StudyFileError)
    study.check(path)
    return study

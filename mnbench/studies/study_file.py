"""A paper's experiment: the networks it times, the figures it prints, and what it claims."""

from pathlib import Path
from typing import Annotated, Literal, TypeAlias

import msgspec

from mnbench.errors import TomlError
from mnbench.network.toml_struct import TomlStruct, read_toml
from mnbench.workspace import find_table

RowLabels: TypeAlias = Annotated[tuple[str, ...], msgspec.Meta(min_length=1)]
PrintedMultAdds: TypeAlias = Annotated[str, msgspec.Meta(pattern=r"^\d+(\.\d+)?M$")]


class StudyRow(TomlStruct, frozen=True, kw_only=True):
    """One row of the paper's table: a variant a column, and what the paper prints of each, if it prints anything."""

    label: str
    variants: RowLabels
    published: tuple[float, ...] = ()


class Slower(TomlStruct, frozen=True, kw_only=True, tag_field="type", tag="slower"):
    """Each of these rows takes longer than another, in every column. A `control` is ours, and no claim of the paper."""

    says: str
    rows: RowLabels
    than: str
    control: bool = False


class NotSlower(TomlStruct, frozen=True, kw_only=True, tag_field="type", tag="not slower"):
    """Each of these rows takes no longer than another, in every column."""

    says: str
    rows: RowLabels
    than: str


class Saves(TomlStruct, frozen=True, kw_only=True, tag_field="type", tag="saves"):
    """A row has so many fewer Mult-Adds than another: "30M"."""

    says: str
    row: str
    than: str
    printed: PrintedMultAdds


class TimesLess(TomlStruct, frozen=True, kw_only=True, tag_field="type", tag="times less"):
    """A row has so many times fewer Mult-Adds than another, between two bounds."""

    says: str
    row: str
    than: str
    printed: tuple[float, float]


class ShareOfTime(TomlStruct, frozen=True, kw_only=True, tag_field="type", tag="share of time"):
    """Layers of a type take so much of a row's time, in whole percent."""

    says: str
    row: str
    layer: str
    printed: Annotated[int, msgspec.Meta(ge=1, le=100)]


class LessMemory(TomlStruct, frozen=True, kw_only=True, tag_field="type", tag="less memory"):
    """A row's activations take less memory than those of each of these rows."""

    says: str
    row: str
    than: RowLabels


Claim: TypeAlias = Slower | NotSlower | Saves | TimesLess | ShareOfTime | LessMemory


class Study(TomlStruct, frozen=True, kw_only=True):
    """One file of `graphs/claims/`. `differs` says where what is measured here is not what the paper measured."""

    title: str
    paper: str
    table: str
    unit: Literal["images/s", "ms", "KB", ""] = ""
    on: str = ""
    """What the paper measured on."""
    columns: tuple[str, ...] = ("",)
    rows: Annotated[tuple[StudyRow, ...], msgspec.Meta(min_length=1)]
    claims: Annotated[tuple[Claim, ...], msgspec.Meta(min_length=1)]
    differs: tuple[str, ...] = ()

    def row(self, label: str) -> StudyRow:
        """The row of that label."""
        return next(row for row in self.rows if row.label == label)

    def check(self, path: Path) -> None:
        """Hold the file against itself.

        Raises:
            TomlError: a claim is about a row that there is not, or a row has more or fewer variants than columns.
        """
        labels = [row.label for row in self.rows]
        for number, row in enumerate(self.rows, 1):
            for key in ("variants", "published"):
                result = getattr(row, key)
                if result and len(result) != len(self.columns):
                    what = f"has {len(result)} entries for {len(self.columns)} columns"
                    raise TomlError(path, f"row {number}, key `{key}`", what, hint="one for each column")
        for number, claim in enumerate(self.claims, 1):
            for label in row_labels(claim):
                if label not in labels:
                    where = f"key `claims`, entry {number}"
                    raise TomlError(path, where, f"there is no row {label!r}", hint=f"rows: {', '.join(labels)}")


def row_labels(claim: Claim) -> tuple[str, ...]:
    """The labels of the rows that a claim is about."""
    match claim:
        case Slower() | NotSlower():
            return (*claim.rows, claim.than)
        case Saves() | TimesLess():
            return (claim.row, claim.than)
        case ShareOfTime():
            return (claim.row,)
        case LessMemory():
            return (claim.row, *claim.than)


def read_study(name: str) -> Study:
    """The study of that name or path.

    Raises:
        TomlError: there is none, or its file is wrong.
    """
    path = find_table(name, "graphs/claims", TomlError)
    study = read_toml(path, Study, TomlError)
    study.check(path)
    return study

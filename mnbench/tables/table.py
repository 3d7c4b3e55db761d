"""Tables with typed columns: each value in its base unit, and as the text that a person reads."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Generic, TypeAlias, TypeVar

R = TypeVar("R")
CellValue: TypeAlias = str | int | float | None

ABSENT = "–"


@dataclass(frozen=True, kw_only=True)
class Column(Generic[R]):
    """`value` is in the base unit that `name` names, `show` writes it in `unit`.

    Numbers stand right and words `left`. Narrow terminals drop the column of highest `rank` first, and never rank 0.
    `style` is how a terminal with colours sets a row's text apart.
    """

    name: str
    value: Callable[[R], CellValue]
    format: Callable[..., str] = str
    title: str = ""
    unit: str = ""
    drop_priority: int = 0
    left: bool = False
    style: Callable[[R], str] | None = None

    def text(self, row: R) -> str:
        """What a person reads in that row."""
        value = self.value(row)
        return ABSENT if value is None else self.format(value)

    @property
    def header(self) -> str:
        """Title and unit, one below the other."""
        return f"{self.title or self.name}\n{self.unit}".rstrip()


@dataclass(frozen=True, kw_only=True)
class Table(Generic[R]):
    """Rows under columns, with a title above and notes below."""

    columns: Sequence[Column[R]]
    rows: Sequence[R]
    title: str = ""
    notes: Sequence[str] = ()

    def with_columns(self, columns: Sequence[Column[R]], notes: Sequence[str]) -> "Table[R]":
        """The same rows under other columns and notes."""
        return replace(self, columns=columns, notes=notes)

    def to_dicts(self) -> list[dict[str, CellValue]]:
        """For programs: each row's values, in base units, by the columns' names."""
        return [{column.name: column.value(row) for column in self.columns} for row in self.rows]

"""Rows: what a line of a table is about, and the shortest label that tells it from the others."""

from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import PurePosixPath
from typing import NamedTuple, Self


class Row(NamedTuple):
    """A variant of a graph, a user's file by its name and path, or a model in memory by its name and bytes.

    `architecture` is None for the last two; `sha256` is the digest of a model in memory, and None for the first two: a
    file that changes stays the same row.
    """

    name: str
    architecture: str | None
    file: str | None = None
    sha256: str | None = None

    @classmethod
    def of(cls, name: str, architecture: str | None, file: str | None, sha256: str) -> Self:
        """Return the row of a model with these facts."""
        return cls(name, architecture, file, None if architecture or file else sha256)

    @property
    def id(self) -> str:
        """A text that no other row has: `v1-a1-r224`, `model=small/model.onnx`, `net@3fa2b1c0d4e5`."""
        if self.file is not None:
            return f"{self.name}={self.file}"
        return f"{self.name}@{self.sha256[:12]}" if self.sha256 else self.name


def row_labels(rows: Iterable[Row]) -> dict[Row, str]:
    """Return a label for each row: its name, or, for files of one name, as much of their paths as tells them apart.

    A variant is always labelled with its name: `small/model`, `large/model`, `v1-a1-r224`.
    """
    labels = {row: row.name for row in rows}
    namesakes = Counter(labels.values())
    groups: dict[str, list[Row]] = {}
    for row in labels:
        if namesakes[row.name] > 1:
            groups.setdefault(row.name, []).append(row)
    for group in groups.values():
        labels |= _distinct(group)
    return labels


def _distinct(rows: Sequence[Row]) -> dict[Row, str]:
    depth = max(len(_folders(row)) for row in rows)

    def is_enough(folders: int) -> bool:
        return len({_label(row, folders) for row in rows}) == len(rows)

    folders = bisect_left(range(depth + 2), 1, lo=1, key=is_enough)
    return {row: _label(row, folders) if folders < depth + 2 else row.id for row in rows}


def _label(row: Row, folders: int) -> str:
    return "/".join([*_folders(row)[-folders:], row.name]) if row.file is not None else row.id


def _folders(row: Row) -> Sequence[str]:
    path = PurePosixPath(row.file or "")
    return path.relative_to(path.anchor).parent.parts

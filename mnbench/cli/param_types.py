"""Kinds of arguments: what their texts mean, and how a shell completes them."""

import math
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, Generic, Literal, TypeVar

import click
from click.shell_completion import CompletionItem

from mnbench.units import parse_quantity
from mnbench.workspace import Folder, table_paths

T = TypeVar("T")

DYNAMIC: Literal["dynamic"] = "dynamic"


class Parsed(click.ParamType[T], Generic[T]):
    """An argument that a function parses; if it raises a ValueError, the text is not what was `expected`."""

    def __init__(self, parse: Callable[[str], T], name: str, expected: str) -> None:
        self.parse = parse
        self.name = name
        self.expected = expected

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> T:
        """Parse a text; return a value that is parsed already."""
        if not isinstance(value, str):
            return value
        try:
            return self.parse(value)
        except ValueError:
            self.fail(f"{value!r} is not {self.expected}", param, ctx)


def comma_separated(parse_item: Callable[[str], T], name: str, expected: str = "") -> Parsed[list[T]]:
    """Return the type of one or several items, such as `1,0.75,0.5`."""

    def parse(text: str) -> list[T]:
        return [parse_item(part.strip()) for part in text.split(",")]

    return Parsed(parse, f"{name},...", f"{expected or f'a {name}'}, or several with commas between")


def parse_positive(text: str, base_unit: str, limit: float = math.inf) -> float:
    """Parse a number above 0 and below the limit, with or without a unit, into the base unit."""
    value = parse_quantity(text, base_unit)
    if not 0 < value < limit:
        raise ValueError(text)
    return value


def parse_threads(text: str) -> int | Literal["all"]:
    """Parse a number of threads: a positive integer or `all`."""
    if text == "all":
        return "all"
    if int(text) < 1:
        raise ValueError(text)
    return int(text)


def parse_core(text: str) -> int:
    """Parse the number of a core, from 0."""
    if int(text) < 0:
        raise ValueError(text)
    return int(text)


def parse_image_size(text: str) -> tuple[int, int]:
    """Parse `160`, or height × width as `240x320`."""
    height, cross, width = text.lower().replace("×", "x").partition("x")
    return int(height), int(width if cross else height)


def parse_batch(text: str) -> int | Literal["dynamic"]:
    """Parse a number of images, or `dynamic`, which leaves it open."""
    return DYNAMIC if text == DYNAMIC else int(text)


def parse_named(text: str) -> tuple[str, str]:
    """Parse `NAME=TEXT`; a name may contain `=`, and is empty if there is none."""
    name, _, value = text.rpartition("=")
    if not value:
        raise ValueError(text)
    return name, value


def parse_sizes(text: str) -> tuple[str, list[int]]:
    """Parse `height=320`, or several sizes as `height=320,640`."""
    name, sizes = parse_named(text)
    if not name:
        raise ValueError(text)
    return name, [int(size) for size in sizes.split(",")]


def parse_shape(text: str) -> tuple[str, tuple[int, ...]]:
    """Parse `1,3,48,320`, of an input that may be named: `x=1,3,48,320`."""
    name, sizes = parse_named(text)
    return name, tuple(int(size) for size in sizes.split(","))


SHARE = Parsed(lambda text: parse_positive(text, ""), "share", "a share such as 0.1% or 0.001")
SHARE_BELOW_1 = Parsed(lambda text: parse_positive(text, "", limit=1), "share", "a share such as 1% or 0.01")
DURATION_S = Parsed(lambda text: parse_positive(text, "s"), "duration", "a duration such as 20s, 2m or 500ms")
SIZE_BYTES = Parsed(lambda text: round(parse_positive(text, "bytes")), "size", "a size such as 10MB or 500kB")
IMAGE_SIZE = Parsed(parse_image_size, "size", "a size such as 160 or 240x320 (height x width)")
NAMED_SIZES = Parsed(parse_sizes, "name=size,...", "a size by name, such as height=320 or height=320,640")
INPUT_SHAPE = Parsed(parse_shape, "[input=]shape", "a shape such as 1,3,48,320 or x=1,3,48,320")
INPUT_VALUE = Parsed(parse_named, "[input=]value", "a value such as rate=16000, ids=0..999 or x=x.npy")
BATCH_SIZE = Parsed(parse_batch, "batch", "a number or `dynamic`")


class ReportFile(click.ParamType[tuple[str, Path]]):
    """`junit=report.xml`: a format, and where to write it."""

    name = "format=file"

    def __init__(self, *formats: str) -> None:
        self.formats = formats

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, Path]:
        """Reject an unknown format, a missing file name or a folder, before anything is measured."""
        if not isinstance(value, str):
            return value
        kind, _, file = value.partition("=")
        if kind not in self.formats or not file:
            self.fail(f"{value!r} is not FORMAT=FILE with one of the formats {', '.join(self.formats)}", param, ctx)
        if Path(file).is_dir() != (kind == "series") and Path(file).exists():
            self.fail(f"{file} is {'a file' if kind == 'series' else 'a folder'}", param, ctx)
        return kind, Path(file)

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:  # noqa: ARG002
        return [CompletionItem(f"{item}=") for item in self.formats if item.startswith(incomplete)]


class WorkspaceName(click.ParamType[str]):
    """The name of a table, or a path to a file."""

    def __init__(self, folder: Folder) -> None:
        self.folder: Folder = folder
        self.name = folder.removesuffix("s")

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:  # noqa: ARG002
        """Complete names, then files and folders."""
        # The shell would run what another name holds.
        known = (name for name in table_paths(self.folder) if re.fullmatch(r"\w[\w.+-]*", name))
        names = [CompletionItem(name) for name in known if name.startswith(incomplete)]
        return names if names and "/" not in incomplete else [*names, CompletionItem(incomplete, type="file")]


class WorkspaceNames(click.ParamType[list[str]]):
    """One or several of these, with commas between."""

    def __init__(self, folder: Folder) -> None:
        self.item_type = WorkspaceName(folder)
        self.name = f"{self.item_type.name},..."

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> list[str]:
        """Split the names."""
        names = [name.strip() for name in value.split(",")] if isinstance(value, str) else value
        if not all(names):
            self.fail(f"{value!r} has an empty name", param, ctx)
        return names

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        """Complete the last name."""
        before, comma, last = incomplete.rpartition(",")
        items = self.item_type.shell_complete(ctx, param, last)
        return [CompletionItem(f"{before}{comma}{item.value}", type=item.type) for item in items]

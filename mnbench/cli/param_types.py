"""Kinds of arguments: what their texts mean, and how a shell completes them."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, Generic, Literal, TypeVar

import click
from click.shell_completion import CompletionItem

from mnbench.workspace import Folder, table_paths

T = TypeVar("T")


class CommaSeparated(click.ParamType[list[T]], Generic[T]):
    """`1,0.75,0.5`: one or many; `name` is what help calls one, and `like` what an error does."""

    def __init__(self, parse_item: Callable[[str], T], name: str, *, expected: str = "") -> None:
        self.parse_item = parse_item
        self.name = f"{name},..."
        self.expected = expected or f"a {name}"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> list[T]:
        """Convert each part."""
        if not isinstance(value, str):
            return value
        try:
            return [self.parse_item(part.strip()) for part in value.split(",")]
        except ValueError:
            self.fail(f"{value!r} is not {self.expected}, or several with commas between", param, ctx)


class Percent(click.ParamType[float]):
    """`1%`, as 0.01."""

    name = "percent"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Convert a share; it needs a percent sign."""
        number, sign, remainder = str(value).partition("%")
        try:
            share = float(number) / 100
        except ValueError:
            share = -1.0
        if not 0 < share < 1 or not sign or remainder:
            self.fail(f"{value!r} is no share such as 1% or 0.5%", param, ctx)
        return share


class Duration(click.ParamType[float]):
    """`20s`, `2m` or `500ms`, in seconds."""

    name = "duration"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Convert a duration; a number without unit is in seconds."""
        match = re.fullmatch(r"(\d+(?:\.\d+)?)(ms|s|m|h|)", str(value))
        duration_s = float(match[1]) * {"ms": 1e-3, "s": 1, "": 1, "m": 60, "h": 3600}[match[2]] if match else 0.0
        if not 0 < duration_s < float("inf"):
            self.fail(f"{value!r} is no duration such as 20s, 2m or 500ms", param, ctx)
        return duration_s


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
            self.fail(f"{value!r} is no FORMAT=FILE with a format of {', '.join(self.formats)}", param, ctx)
        if Path(file).is_dir() != (kind == "series") and Path(file).exists():
            self.fail(f"{file} is {'a file' if kind == 'series' else 'a folder'}", param, ctx)
        return kind, Path(file)

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:  # noqa: ARG002
        """Complete the formats."""
        return [CompletionItem(f"{item}=") for item in self.formats if item.startswith(incomplete)]


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


class WorkspaceName(click.ParamType[str]):
    """The name of a table, or a path to a file."""

    def __init__(self, folder: Folder, *suffixes: str) -> None:
        self.folder: Folder = folder
        self.suffixes = suffixes
        self.name = folder.removesuffix("s")

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:  # noqa: ARG002
        """Complete names, then files and folders."""
        names = [CompletionItem(name) for name in table_paths(self.folder) if name.startswith(incomplete)]
        return names if names and "/" not in incomplete else [*names, CompletionItem(incomplete, type="file")]


class WorkspaceNames(click.ParamType[list[str]]):
    """One or several of these, with commas between."""

    def __init__(self, folder: Folder, *suffixes: str) -> None:
        self.item_type = WorkspaceName(folder, *suffixes)
        self.name = f"{self.item_type.name},..."

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> list[str]:
        """Convert each name."""
        names = [name.strip() for name in value.split(",")] if isinstance(value, str) else value
        if not all(names):
            self.fail(f"{value!r} leaves a name out", param, ctx)
        return names

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        """Complete the last name."""
        before, comma, last = incomplete.rpartition(",")
        completion_items = self.item_type.shell_complete(ctx, param, last)
        return (
            [CompletionItem(f"{before}{comma}{item.value}", type=item.type) for item in completion_items]
            if comma
            else completion_items
        )


def parse_image_size(text: str) -> tuple[int, int]:
    """Parse `160`, or height × width as `240x320`."""
    height, cross, width = text.lower().replace("×", "x").partition("x")
    return int(height), int(width if cross else height)


class ImageSize(click.ParamType[tuple[int, int]]):
    """Parse `160`, or height × width as `240x320`."""

    name = "size"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[int, int]:
        """One."""
        try:
            return parse_image_size(value)
        except ValueError:
            self.fail(f"{value!r} is no size such as 160 or 240x320 (height x width)", param, ctx)


class BatchSize(click.ParamType[int | None]):
    """A number of images, or `dynamic`."""

    name = "batch"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int | None:
        """Convert a batch size; `dynamic` leaves it open."""
        try:
            return None if value in (None, "dynamic") else int(value)
        except ValueError:
            self.fail(f"{value!r} is neither a number nor `dynamic`", param, ctx)

"""Arguments and options that commands share."""

import json
import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any, Generic, Literal, TypeVar

import click
from click.shell_completion import CompletionItem

from mnbench.errors import BuildError
from mnbench.network.accuracy import published_variants
from mnbench.network.variant import OnnxFile, Source, Variant, at_rho
from mnbench.spec import locate

T = TypeVar("T")
Command = TypeVar("Command", bound=Callable[..., Any])


class CommaSeparated(click.ParamType[list[T]], Generic[T]):
    """`1,0.75,0.5`: one or many."""

    def __init__(self, one: Callable[[str], T], name: str) -> None:
        self.one = one
        self.name = name

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> list[T]:
        """Each part by itself."""
        if not isinstance(value, str):
            return value
        try:
            return [self.one(part.strip()) for part in value.split(",")]
        except ValueError:
            self.fail(f"{value!r} is not {self.name}, or several with commas between", param, ctx)


class Share(click.ParamType[float]):
    """`1%`, as 0.01."""

    name = "percent"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """A percent sign leaves no doubt."""
        number, sign, rest = str(value).partition("%")
        try:
            share = float(number) / 100
        except ValueError:
            share = -1.0
        if not 0 < share < 1 or not sign or rest:
            self.fail(f"{value!r} is no share such as 1% or 0.5%", param, ctx)
        return share


class Duration(click.ParamType[float]):
    """`20s`, `2m` or `500ms`, in seconds."""

    name = "duration"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """A bare number is seconds."""
        found = re.fullmatch(r"(\d+(?:\.\d+)?)(ms|s|m|h|)", str(value))
        duration_s = float(found[1]) * {"ms": 1e-3, "s": 1, "": 1, "m": 60, "h": 3600}[found[2]] if found else 0.0
        if not 0 < duration_s < float("inf"):
            self.fail(f"{value!r} is no duration such as 20s, 2m or 500ms", param, ctx)
        return duration_s


class Report(click.ParamType[tuple[str, Path]]):
    """`junit=report.xml`: a format, and where to write it."""

    name = "format=file"

    def __init__(self, *formats: str) -> None:
        self.formats = formats

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, Path]:
        """Refused before anything is measured: an unknown format, no file, a folder in the place of a file."""
        if not isinstance(value, str):
            return value
        kind, _, file = value.partition("=")
        if kind not in self.formats or not file:
            self.fail(f"{value!r} is no FORMAT=FILE with a format of {', '.join(self.formats)}", param, ctx)
        if Path(file).is_dir() != (kind == "series") and Path(file).exists():
            self.fail(f"{file} is {'a file' if kind == 'series' else 'a folder'}", param, ctx)
        return kind, Path(file)

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:  # noqa: ARG002
        """The formats."""
        return [CompletionItem(f"{one}=") for one in self.formats if one.startswith(incomplete)]


def threads(text: str) -> int | Literal["all"]:
    """A positive number, or `all`."""
    if text == "all":
        return "all"
    if int(text) < 1:
        raise ValueError(text)
    return int(text)


def core(text: str) -> int:
    """The number of a core, from 0."""
    if int(text) < 0:
        raise ValueError(text)
    return int(text)


class TableName(click.ParamType[str]):
    """The name of a table, or a path to a file."""

    def __init__(self, folder: locate.Folder, *suffixes: str) -> None:
        self.folder: locate.Folder = folder
        self.suffixes = suffixes
        self.name = folder.removesuffix("s")

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:  # noqa: ARG002
        """Names first, then files and folders."""
        names = [CompletionItem(name) for name in locate.tables(self.folder) if name.startswith(incomplete)]
        return names if names and "/" not in incomplete else [*names, CompletionItem(incomplete, type="file")]


class TableNames(click.ParamType[list[str]]):
    """One or several of these, with commas between."""

    def __init__(self, folder: locate.Folder, *suffixes: str) -> None:
        self.one = TableName(folder, *suffixes)
        self.name = f"{self.one.name},..."

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> list[str]:
        """Each name by itself."""
        names = [name.strip() for name in value.split(",")] if isinstance(value, str) else value
        if not all(names):
            self.fail(f"{value!r} leaves a name out", param, ctx)
        return names

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        """The last of them."""
        before, comma, last = incomplete.rpartition(",")
        found = self.one.shell_complete(ctx, param, last)
        return [CompletionItem(f"{before}{comma}{item.value}", type=item.type) for item in found] if comma else found


def _size(text: str) -> tuple[int, int]:
    """`160`, or height × width as `240x320`."""
    height, cross, width = text.lower().replace("×", "x").partition("x")
    return int(height), int(width if cross else height)


class Size(click.ParamType[tuple[int, int]]):
    """`160`, or height × width as `240x320`."""

    name = "size"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[int, int]:
        """One."""
        try:
            return _size(value)
        except ValueError:
            self.fail(f"{value!r} is no size such as 160 or 240x320 (height x width)", param, ctx)


class Batch(click.ParamType[int | None]):
    """A number of images, or `dynamic`."""

    name = "batch"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int | None:
        """`dynamic` leaves it open."""
        try:
            return None if value in (None, "dynamic") else int(value)
        except ValueError:
            self.fail(f"{value!r} is neither a number nor `dynamic`", param, ctx)


FORMATS = ("rich", "md", "csv", "json")


def format_option(*formats: str) -> Callable[[Command], Command]:
    """`--format`, from the formats that the command knows."""
    return click.option(
        "--format",
        "output",
        type=click.Choice(formats or FORMATS),
        default="rich",
        show_default=True,
        help="How to print: for people, or for programs.",
    )


results_option = click.option(
    "--results", default="results", show_default=True, type=click.Path(path_type=Path), help="Folder of the results."
)

where_option = click.option(
    "--where", multiple=True, metavar="CONDITION", help="Only rows with latency_ns<=10ms, graph=v3-* or issues=."
)


def parsed(read: Callable[[str], T], text: str) -> T:
    """What a reader makes of an option's text.

    Raises:
        click.UsageError: it refused the text.
    """
    try:
        return read(text)
    except ValueError as failure:
        raise click.UsageError(str(failure)) from failure


def variant_options(command: Command) -> Command:
    """GRAPH… with `--alpha`, `--res` or `--rho`, and what else makes a variant of it."""
    for decorate in (
        click.option(
            "--precision",
            type=click.Choice(["fp32", "fp16", "int8"]),
            default="fp32",
            help="Of weights and arithmetic.",
        ),
        click.option("--activation", type=click.Choice(["relu"]), help="In place of V3's h-swish (its Table 5)."),
        click.option(
            "--padding",
            type=click.Choice(["torch", "same"]),
            default="torch",
            help="At stride 2: PyTorch's, or TensorFlow's SAME.",
        ),
        click.option("--unit", help="Form of ShuffleNets' units: paper, megvii, or V2's torchvision."),
        click.option("--groups", type=CommaSeparated(int, "a number"), help="Of ShuffleNet V1: 1, 2, 3, 4 or 8."),
        click.option("--classes", type=int, help="How many; 0 for features only. Default: the table's own."),
        click.option("--batch", type=Batch(), default="1", help="How many images at once, or dynamic."),
        click.option(
            "--rho", type=CommaSeparated(float, "a number"), help="Resolution multipliers, instead of --res: 0.714."
        ),
        click.option(
            "--res",
            type=CommaSeparated(_size, "a size such as 160 or 240x320 (height x width)"),
            help="Input sizes: 224,160 or 240x320 (height x width). Default: the table's own.",
        ),
        click.option(
            "--alpha", type=CommaSeparated(float, "a number"), help="Width multipliers: 1,0.75,0.5. Default: 1."
        ),
        click.option("--published", is_flag=True, help="Every α, size and groups with a published accuracy."),
        click.argument("graphs", nargs=-1, metavar="[GRAPH]...", type=TableName("graphs", ".toml", ".onnx")),
    ):
        command = decorate(command)
    return command


def sources(
    graphs: Sequence[str],
    *,
    alpha: Sequence[float] | None,
    res: Sequence[tuple[int, int]] | None,
    rho: Sequence[float] | None,
    groups: Sequence[int] | None,
    activation: str | None,
    published: bool = False,
    **options: Any,
) -> list[Source]:
    """Every graph at every α, every resolution and every number of groups; every file at every resolution given.

    `published` takes those of each graph for which a source prints an accuracy.

    Raises:
        click.UsageError: options that exclude each other.
        ArchitectureError, BuildError: a graph is unknown, an α or a resolution impossible.
    """
    if res and rho:
        raise click.UsageError("--res and --rho say the same in two ways: give one")
    chosen = [alpha, res, rho, groups, activation, options.get("unit"), options.get("classes")]
    if published and any(one is not None for one in chosen):
        raise click.UsageError("--published says which: give --alpha, --res and other options of a variant without it")
    found: list[Source] = []
    for name in graphs:
        if name.endswith(".onnx"):
            if alpha or rho or groups or published:
                raise click.UsageError(f"{name} is a finished model: --alpha, --rho, --groups and such are for graphs")
            found += [OnnxFile(path=Path(name), resolution=size) for size in res or [None]]
            continue
        architecture = locate.architecture(name)
        if published:
            own = {"padding": options["padding"], "batch": options["batch"], "precision": options["precision"]}
            found += [replace(variant, **own) for variant in published_variants(architecture)]
            continue
        sizes = [at_rho(architecture, share) for share in rho] if rho else res or [architecture.resolution]
        for one, size, count in product(alpha or [1.0], sizes, groups or [None]):
            found.append(
                Variant(
                    architecture=architecture,
                    alpha=one,
                    resolution=size,
                    groups=count,
                    relu=activation == "relu",
                    **options,
                )
            )
    names = Counter(source.name for source in found)
    for name, count in names.items():
        if count > 1:
            raise BuildError(f"{name} is asked for twice", hint="name every variant once")
    return found


def echo_json(payload: Any) -> None:
    """Data for programs, on stdout."""
    click.echo(json.dumps(payload, indent=2, ensure_ascii=False))

"""Arguments and options that commands share."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import click

from mnbench.cli.param_types import BatchSize, CommaSeparated, WorkspaceName, parse_image_size
from mnbench.families import family_options, select_variants
from mnbench.network.variant import ModelSource

T = TypeVar("T")
Command = TypeVar("Command", bound=Callable[..., Any])

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
    "--results", default="results", show_default=True, type=click.Path(path_type=Path), help="Results folder."
)


def device_option(text: str) -> Callable[[Command], Command]:
    """Return `--device`, which names one device."""
    return click.option("--device", default="cpu", show_default=True, type=WorkspaceName("devices", ".toml"), help=text)


def seed_option(text: str) -> Callable[[Command], Command]:
    """Return `--seed`."""
    return click.option("--seed", default=0, show_default=True, type=click.IntRange(min=0), help=text)


where_option = click.option(
    "--where", multiple=True, metavar="CONDITION", help="Only rows with latency_ns<=10ms, graph=v3-* or issues=."
)


def parse_option(read: Callable[[str], T], text: str) -> T:
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
        click.option("--groups", type=CommaSeparated(int, "number"), help="Of ShuffleNet V1: 1, 2, 3, 4 or 8."),
        click.option("--classes", type=int, help="How many; 0 for features only. Default: the table's own."),
        click.option("--batch", type=BatchSize(), default="1", help="How many images at once, or dynamic."),
        click.option(
            "--rho", type=CommaSeparated(float, "number"), help="Resolution multipliers, instead of --res: 0.714."
        ),
        click.option(
            "--res",
            type=CommaSeparated(parse_image_size, "size", expected="a size such as 160 or 240x320 (height x width)"),
            help="Input sizes: 224,160 or 240x320 (height x width). Default: the table's own.",
        ),
        click.option(
            "--alpha", type=CommaSeparated(float, "number"), help="Width multipliers: 1,0.75,0.5. Default: 1."
        ),
        *map(_family_option, sorted(set(family_options()) - {"groups", "unit", "activation"})),
        click.option("--published", is_flag=True, help="Every α, size and groups with a published accuracy."),
        click.argument("graphs", nargs=-1, metavar="[GRAPH]...", type=WorkspaceName("graphs", ".toml", ".onnx")),
    ):
        command = decorate(command)
    return command


def _family_option(name: str) -> Callable[[Command], Command]:
    """Return the command-line option for an option that a family declares."""
    values = family_options()[name].values
    kind = CommaSeparated(int, "number") if values and isinstance(values[0], int) else CommaSeparated(str, "value")
    return click.option(f"--{name}", type=kind, help=f"Family option: {', '.join(map(str, values))}.")


def select_sources(
    graphs: Sequence[str],
    *,
    alpha: Sequence[float] | None,
    res: Sequence[tuple[int, int]] | None,
    rho: Sequence[float] | None,
    published: bool = False,
    **options: Any,
) -> list[ModelSource]:
    """Every graph at every α, every resolution and every number of groups; every file at every resolution given.

    `published` takes those of each graph for which a source prints an accuracy.

    Raises:
        click.UsageError: options that exclude each other.
        GraphFileError, BuildError: a graph is unknown, an α or a resolution impossible.
    """
    if res and rho:
        raise click.UsageError("--res and --rho say the same in two ways: give one")
    chosen_options = {name: options.pop(name) for name in family_options() if options.get(name)}
    options = {name: value for name, value in options.items() if name not in family_options()}
    selected = [alpha, res, rho, *chosen_options.values(), options.get("classes")]
    if published and any(item is not None for item in selected):
        raise click.UsageError("--published says which: give --alpha, --res and other options of a variant without it")
    for name in graphs:
        if name.endswith(".onnx") and (alpha or rho or chosen_options.get("groups") or published):
            raise click.UsageError(f"{name} is a finished model: --alpha, --rho, --groups and such are for graphs")
    return select_variants(
        graphs,
        alphas=alpha or (1.0,),
        resolutions=res or (),
        rhos=rho or (),
        published=published,
        options={name: [value] if isinstance(value, str) else value for name, value in chosen_options.items()},
        **options,
    )

"""Arguments and options that commands share. `main` shows the default of every option in its help."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from mnbench.cli.param_types import (
    BATCH_SIZE,
    DYNAMIC,
    INPUT_SHAPE,
    INPUT_VALUE,
    NAMED_SIZES,
    WorkspaceName,
    comma_separated,
    parse_image_size,
)
from mnbench.families import family_options, find_model, select_variants
from mnbench.network.variant import InputOptions, ModelSource
from mnbench.trust import trusting_all

if TYPE_CHECKING:
    from mnbench.results.selection import Condition

T = TypeVar("T")
Command = TypeVar("Command", bound=Callable[..., Any])

FORMATS = ("rich", "md", "csv", "json")


def combine(*decorators: Callable[..., Any]) -> Callable[[Command], Command]:
    """Return one decorator for several options, which the help lists in this order."""

    def decorate(command: Command) -> Command:
        for decorator in reversed(decorators):
            command = decorator(command)
        return command

    return decorate


def format_option(*formats: str) -> Callable[[Command], Command]:
    """Return `--format`, by default with the formats of every table."""
    kinds = click.Choice(formats or FORMATS)
    return click.option("--format", "output", type=kinds, default="rich", help="Output format; rich is for a terminal.")


def device_option(text: str) -> Callable[[Command], Command]:
    """Return `--device`, which names one device."""
    return click.option("--device", default="cpu", type=WorkspaceName("devices"), help=text)


def seed_option(text: str) -> Callable[[Command], Command]:
    """Return `--seed`."""
    return click.option("--seed", default=0, type=click.IntRange(min=0), help=text)


def max_processes_option(per: str) -> Callable[[Command], Command]:
    """Return `--processes` of a comparison, which limits their number per row, or per something else."""
    processes = click.IntRange(min=4, max=64)
    return click.option("--processes", default=24, type=processes, help=f"Maximum number of processes per {per}.")


def parse_option(read: Callable[[str], T], text: str) -> T:
    """Parse the text of an option.

    Raises:
        click.UsageError: the function raised a ValueError; the message is the same.
    """
    try:
        return read(text)
    except ValueError as failure:
        raise click.UsageError(str(failure)) from failure


def _parse_conditions(_context: click.Context, _option: click.Parameter, texts: Sequence[str]) -> "list[Condition]":
    if not texts:
        return []
    from mnbench.results.selection import Condition

    return [parse_option(Condition.parse, text) for text in texts]


devices_argument = click.argument("devices", nargs=-1, metavar="[DEVICE]...", type=WorkspaceName("devices"))


def _trust_all(ctx: click.Context, _option: click.Parameter, value: bool) -> None:  # noqa: FBT001  Click's call
    if value:
        ctx.with_resource(trusting_all())


trust_option = click.option(
    "--trust",
    is_flag=True,
    expose_value=False,
    is_eager=True,
    callback=_trust_all,
    help="Start, install and set what files of this folder ask for; `mnbench trust --show` lists it.",
)

results_option = click.option(
    "--results", default="results", type=click.Path(path_type=Path), help="Folder of the results."
)

host_option = click.option(
    "--host",
    help="Use rows of this host: the name or digest that a table's title shows, or all. Default: each device's newest.",
)

where_option = click.option(
    "--where",
    "conditions",
    multiple=True,
    metavar="CONDITION",
    callback=_parse_conditions,
    help="Use only rows that meet this condition: latency_ns<=10ms, graph=v3-* or issues= (without any). Repeatable.",
)

allow_fallback_option = click.option(
    "--allow-fallback", is_flag=True, help="Accept nodes that run on another provider than the device's."
)

graph_form_options = combine(
    click.option("--no-simplify", is_flag=True, help="Do not simplify the graph."),
    click.option("--keep-bn", is_flag=True, help="Keep batch normalization as separate nodes."),
)


size_options = combine(
    click.option(
        "--dim",
        "dims",
        multiple=True,
        type=NAMED_SIZES,
        help="Size of an .onnx file's open size of that name, in every input: height=320; height=320,640 are two rows. "
        "Repeatable.",
    ),
    click.option(
        "--shape",
        "shapes",
        multiple=True,
        type=INPUT_SHAPE,
        help="Shape of an input of an .onnx file: x=1,3,48,320; without a name, of its only input. Repeatable.",
    ),
)

values_option = click.option(
    "--input",
    "values",
    multiple=True,
    type=INPUT_VALUE,
    help="What an input of an .onnx file holds: rate=16000, lengths=1,2,3, ids=0..999 (random), x=x.npy, or an .npz "
    "file with several. Default: random numbers, and 1 for whole numbers. Repeatable.",
)


def variant_options(command: Command) -> Command:
    """Add GRAPH…, and the options that select its variants."""
    shared = ("groups", "unit", "activation")
    family = [_family_option(name) for name in sorted(family_options().keys() - set(shared))]
    return combine(
        click.argument("graphs", nargs=-1, metavar="[GRAPH]...", type=WorkspaceName("graphs")),
        click.option("--published", is_flag=True, help="Select every variant that has a published accuracy."),
        *family,
        click.option(
            "--alpha", type=comma_separated(float, "number"), help="Width multipliers: 1,0.75,0.5. Default: 1."
        ),
        click.option(
            "--res",
            type=comma_separated(parse_image_size, "size", "a size such as 160 or 240x320 (height x width)"),
            help="Input sizes: 224,160 or 240x320 (height x width). Default: the graph's own.",
        ),
        click.option(
            "--rho",
            type=comma_separated(float, "number"),
            help="Input sizes as shares of the graph's own, in place of --res: 0.714.",
        ),
        click.option("--batch", type=BATCH_SIZE, help="Number of images per inference, or dynamic. Default: 1."),
        click.option(
            "--classes", type=int, help="Number of classes; 0 ends at the features. Default: the graph's own number."
        ),
        click.option(
            "--groups", type=comma_separated(int, "number"), help="Number of groups in ShuffleNet V1: 1, 2, 3, 4 or 8."
        ),
        click.option("--unit", help="Unit of a ShuffleNet: paper, megvii or, for V2, torchvision."),
        click.option(
            "--padding",
            type=click.Choice(["torch", "same"]),
            help="Padding of convolutions with stride 2: PyTorch's, or TensorFlow's SAME. Default: torch.",
        ),
        click.option(
            "--activation", type=click.Choice(["relu"]), help="Replace the h-swish of V3 by ReLU, as in its Table 5."
        ),
        click.option(
            "--precision",
            type=click.Choice(["fp32", "fp16", "int8"]),
            help="Precision of weights and arithmetic. Default: fp32.",
        ),
        size_options,
        values_option,
    )(command)


def _family_option(name: str) -> Callable[[Command], Command]:
    """Return the command-line option for an option that a family declares."""
    values = family_options()[name].values
    kind = comma_separated(int, "number") if values and isinstance(values[0], int) else comma_separated(_word, "value")
    about = family_options()[name].about or "Family option"
    return click.option(f"--{name}", type=kind, help=f"{about}: {', '.join(map(str, values))}.")


def _word(text: str) -> str:
    """Return a value as a name spells it: `embedding128` for `embedding:128`."""
    return text.replace(":", "")


def select_sources(
    graphs: Sequence[str],
    *,
    alpha: Sequence[float] | None,
    res: Sequence[tuple[int, int]] | None,
    rho: Sequence[float] | None,
    dims: Sequence[tuple[str, Sequence[int]]],
    shapes: Sequence[tuple[str, tuple[int, ...]]],
    values: Sequence[tuple[str, str]],
    published: bool = False,
    to_measure: bool = False,
    **options: Any,
) -> list[ModelSource]:
    """Return every graph at every alpha, size and number of groups, and every model file at every size.

    With `published`, return the variants of each graph for which a source prints an accuracy. Models `to_measure` need
    a batch of fixed size.

    Raises:
        click.UsageError: options exclude each other, or mean nothing for a graph or a file that is named.
        GraphFileError, BuildError: a graph is unknown, or an alpha or a size is impossible.
    """
    if res and rho:
        raise click.UsageError("--res and --rho both set the input size: use one of them")
    typed = {name: value for name, value in options.items() if value is not None}
    family = {name: typed.pop(name) for name in family_options() if name in typed}
    selected = [alpha, res, rho, *family.values(), typed.get("classes")]
    if published and any(item is not None for item in selected):
        raise click.UsageError("--published selects the variants: remove --alpha, --res and other options of variants")
    for name in graphs:
        if find_model(name):
            fixed = {name: value for name, value in typed.items() if name != "batch"}
            for_graphs = {"alpha": alpha, "rho": rho, "published": published, **family, **fixed}
            _reject_options(for_graphs, f"{name} is a finished model", "--res, --batch, --dim and --shape")
        else:
            _reject_options({"dim": dims, "shape": shapes, "input": values}, f"{name} is a graph", "--res and --batch")
    common: dict[str, Any] = {name: None if value == DYNAMIC else value for name, value in typed.items()}
    sources = select_variants(
        graphs,
        alphas=alpha or (),
        resolutions=res or (),
        rhos=rho or (),
        published=published,
        options={name: [value] if isinstance(value, str) else value for name, value in family.items()},
        input_options=expand_input_options(dims, shapes, values, batch=common.get("batch"), resolutions=res),
        **common,
    )
    if to_measure and (common.get("batch", 1) is None or any(getattr(item, "batch", 1) is None for item in sources)):
        raise click.UsageError("a measurement needs a batch of fixed size: a dynamic one is for build")
    return sources


def expand_input_options(
    dims: Sequence[tuple[str, Sequence[int]]],
    shapes: Sequence[tuple[str, tuple[int, ...]]],
    values: Sequence[tuple[str, str]] = (),
    *,
    batch: int | None = None,
    resolutions: Sequence[tuple[int, int]] | None = None,
) -> list[InputOptions]:
    """Return what is given of the inputs of files: one for each combination of sizes.

    Raises:
        click.UsageError: an option is given twice for one name.
    """
    for option, entries in (("dim", dims), ("shape", shapes), ("input", values)):
        for name, count in Counter(name for name, _ in entries).items():
            if count > 1:
                raise click.UsageError(f"--{option} {name} is given twice")
    names = [name for name, _ in dims]
    return [
        InputOptions(
            sizes=dict(zip(names, sizes, strict=True)),
            shapes=dict(shapes),
            values=dict(values),
            batch=batch,
            resolution=resolution,
        )
        for resolution in resolutions or [None]
        for sizes in product(*(sizes for _, sizes in dims))
    ]


def _reject_options(options: Mapping[str, Any], reason: str, alternatives: str) -> None:
    """Fail if options were given that mean nothing here.

    Raises:
        click.UsageError: some were.
    """
    if rejected := [f"--{name}" for name, value in options.items() if value]:
        listed = f"{', '.join(rejected)} {'does' if len(rejected) == 1 else 'do'} not apply"
        raise click.UsageError(f"{reason}, to which {listed}: set its sizes with {alternatives}")

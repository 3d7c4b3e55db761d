"""Check a model's outputs against a reference."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import click

from mnbench.cli.options import (
    device_option,
    expand_input_options,
    format_option,
    seed_option,
    size_options,
    trust_option,
)
from mnbench.cli.output import emit
from mnbench.cli.param_types import IMAGE_SIZE, INPUT_VALUE, SHARE, WorkspaceName
from mnbench.cli.progress_bar import ProgressBar, verbosity_options
from mnbench.families import find_model, parse_variant
from mnbench.network.variant import InputOptions, ModelSource
from mnbench.targets.device import read_device

EXIT_DIFFERENT = 1


@click.command(
    epilog="\b\nExample:\n  mnbench verify v2-a0.5-r160-int8\n"
    "  mnbench verify model.onnx --against reference.onnx --input cat.jpg"
)
@click.argument("model", type=WorkspaceName("graphs"))
@click.option("--against", metavar="MODEL", help="Reference model. Default: the model's own graph in fp32.")
@device_option("Device to run MODEL on.")
@click.option(
    "--input",
    "inputs",
    multiple=True,
    help="A batch of inputs for a model of one input: a .npy array or an image; or what one input holds, as for run: "
    "rate=16000, x=x.npy. Repeatable.",
)
@click.option("--seeded", type=click.IntRange(min=1), help="Number of random inputs. Default: 8, or 0 with --input.")
@click.option("--res", type=IMAGE_SIZE, help="Size of the images that an .onnx file takes: 224 or 240x320.")
@click.option("--batch", type=click.IntRange(min=1), help="Size of an open first axis of an .onnx file.")
@size_options
@click.option(
    "--tolerance",
    type=SHARE,
    help="Largest difference that agrees, as a share of the output's largest number. Default: 0.001 in fp32, 0.05 in "
    "fp16, 0.5 in int8, 0.1 for an int8 file compared with itself, and less than a constant output would have.",
)
@seed_option("Seed for the random weights and inputs.")
@trust_option
@verbosity_options
@format_option()
def command(
    *,
    model: str,
    against: str | None,
    device: str,
    inputs: tuple[str, ...],
    seeded: int | None,
    res: tuple[int, int] | None,
    batch: int | None,
    dims: Sequence[tuple[str, Sequence[int]]],
    shapes: Sequence[tuple[str, tuple[int, ...]]],
    tolerance: float | None,
    seed: int,
    output: str,
) -> None:
    """Check a model's outputs against a reference.

    MODEL is an .onnx file or a variant's name. The device runs it, and onnxruntime's CPU provider computes the
    reference without optimizations: from the same graph in fp32, or from another model. Exit code 0: the outputs agree;
    1: they differ, or prove nothing.
    """
    from mnbench.bench.verify import verify_model

    files = [Path(item) for item in inputs if "=" not in item or Path(item).exists()]
    values = [INPUT_VALUE.parse(item) for item in inputs if Path(item) not in files]
    (input_options, *more) = expand_input_options(dims, shapes, values, batch=batch, resolutions=[res] if res else None)
    if more:
        raise click.UsageError("one model is verified at one size: give one size to each --dim")
    with ProgressBar() as bar:
        verification = verify_model(
            _source(model, input_options),
            _source(against, input_options) if against else None,
            read_device(device),
            inputs=files,
            random_input_count=seeded,
            tolerance=tolerance,
            seed=seed,
            on_progress=bar,
        )
    emit(verification.table(), output, verification)
    if not verification.agrees:
        raise click.exceptions.Exit(EXIT_DIFFERENT)


def _source(name: str, input_options: InputOptions) -> ModelSource:
    if file := find_model(name):
        return replace(file, input_options=input_options)
    if str(input_options):
        raise click.UsageError(f"{name} is a variant, whose inputs are fixed: {input_options} is for .onnx files")
    return parse_variant(name)

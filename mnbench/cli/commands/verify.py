"""`mnbench verify`."""

import tempfile
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from mnbench.cli.options import format_option
from mnbench.cli.output import emit
from mnbench.cli.param_types import ImageSize, WorkspaceName
from mnbench.families import parse_variant
from mnbench.network.variant import OnnxFile
from mnbench.targets.device import read_device

if TYPE_CHECKING:
    from mnbench.model.build import BuiltModel

RANDOM_INPUTS = 8
EXIT_DIFFERENT = 1


@click.command(
    epilog="\b\nExample:\n  mnbench verify v2-a0.5-r160-int8\n"
    "  mnbench verify model.onnx --against reference.onnx --input cat.jpg"
)
@click.argument("model", type=WorkspaceName("graphs", ".onnx"))
@click.option("--against", metavar="MODEL", help="What it should put out. Default: what it is by definition, in fp32.")
@click.option(
    "--device", default="cpu", show_default=True, type=WorkspaceName("devices", ".toml"), help="Where MODEL is run."
)
@click.option(
    "--input",
    "given",
    multiple=True,
    type=click.Path(path_type=Path),
    help="Input to compare on: a .npy array or an image; more than once for more.",
)
@click.option(
    "--seeded",
    type=click.IntRange(min=1),
    help=f"Random inputs to compare on. Default: {RANDOM_INPUTS}, without --input.",
)
@click.option("--res", type=ImageSize(), help="Input size, of an .onnx that leaves it open: 224 or 240x320.")
@click.option(
    "--tolerance",
    type=click.FloatRange(min=0, min_open=True),
    help="Difference that agrees, as a share of the output's spread. Default: 0.001 in fp32, 0.2 in fp16, 2.5 in int8; "
    "0.25 of an int8 file from itself.",
)
@click.option("--seed", default=0, show_default=True, type=click.IntRange(min=0), help="Of weights and inputs.")
@format_option()
def command(
    *,
    model: str,
    against: str | None,
    device: str,
    given: tuple[Path, ...],
    seeded: int | None,
    res: tuple[int, int] | None,
    tolerance: float | None,
    seed: int,
    output: str,
) -> None:
    """Tell whether a model puts out what it should.

    MODEL is an .onnx file or a variant's name. It is run on the device, and what it should put out is computed by
    onnxruntime's CPU without optimizations: by the same graph in fp32, or by another model. Exit code 0: they agree, 1:
    they do not, or there is nothing to compare.
    """
    from mnbench import atomic_files
    from mnbench.bench.trial import OUTPUT_TOLERANCES, SELF_REFERENCE_TOLERANCE
    from mnbench.bench.verify import verify
    from mnbench.bench.verify_table import verification_table
    from mnbench.cli.measuring import announce_environment
    from mnbench.model.inputs import random_inputs
    from mnbench.model.load_inputs import load_inputs
    from mnbench.targets.environments import prepare_device

    on = prepare_device(read_device(device), on_create=announce_environment)
    built = _made(model, res, seed)
    other = _made(against, res, seed) if against else None
    itself = "itself" if built.model is built.reference else "its plain graph in fp32"
    if not other and built.model is built.reference and built.precision == "int8":
        tolerance = tolerance or SELF_REFERENCE_TOLERANCE
    proto = built.model.proto
    feeds = load_inputs(given, proto) if given else []
    feeds += [random_inputs(proto, seed + at) for at in range(seeded or (0 if given else RANDOM_INPUTS))]
    with tempfile.TemporaryDirectory(prefix="mnbench-") as folder:
        path = Path(folder) / "model.onnx"
        atomic_files.write_atomically(path, built.model.data, durable=False)
        verdict = verify(
            built.model,
            other.model if other else replace(built.reference, name=itself),
            on,
            feeds,
            path=path,
            precision=max((item.precision for item in (built, other) if item), key=OUTPUT_TOLERANCES.__getitem__),
            tolerance=tolerance,
        )
    emit(verification_table(verdict), output, verdict)
    if not verdict.agrees:
        raise click.exceptions.Exit(EXIT_DIFFERENT)


def _made(name: str, resolution: tuple[int, int] | None, seed: int) -> "BuiltModel":
    from mnbench.model.build import build_model

    if name.endswith(".onnx"):
        return build_model(OnnxFile(path=Path(name), resolution=resolution), simplified=False)
    return build_model(parse_variant(name), seed=seed)

"""Build and simplify ONNX models."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from mnbench.cli.options import format_option, graph_form_options, seed_option, select_sources, variant_options
from mnbench.cli.output import emit, fail_if_rejected, rejected_to_dict
from mnbench.cli.progress_bar import ProgressBar, verbosity_options
from mnbench.errors import FileError
from mnbench.families import is_variant_name
from mnbench.network.variant import ModelSource, Variant

if TYPE_CHECKING:
    from mnbench.model.to_onnx import PretrainedWeights


@click.command(
    epilog="\b\nExample:\n  mnbench build v1 --alpha 0.5 --res 160\n  mnbench build v1 -o v1.onnx --keep-bn"
    "\n  mnbench build v2 --weights mobilenet_v2.safetensors"
)
@variant_options
@click.option(
    "-o",
    "--output-file",
    "path",
    type=click.Path(path_type=Path),
    help="File to write. Default: the variant's name: v1-a0.5-r160.onnx.",
)
@seed_option("Seed for the random weights.")
@click.option(
    "--weights",
    type=click.Path(path_type=Path),
    help="Trained weights, a .safetensors file with torchvision's, timm's or Megvii's names.",
)
@click.option(
    "--bn-epsilon",
    type=click.FloatRange(min=0, max=1, min_open=True, max_open=True),
    help="Batch-normalization epsilon for --weights. Default: the epsilon of the library the checkpoint comes from.",
)
@click.option("--opset", default=17, type=int, help="Version of the ONNX operator set.")
@graph_form_options
@verbosity_options
@format_option()
def command(
    *,
    path: Path | None,
    seed: int,
    weights: Path | None,
    bn_epsilon: float | None,
    opset: int,
    no_simplify: bool,
    keep_bn: bool,
    output: str,
    **selection: Any,
) -> None:
    """Build and simplify ONNX models.

    GRAPH is a graph's or variant's name, a path to a .toml table, or an .onnx model to simplify. Weights are seeded
    random numbers, or trained weights from a file: each tensor is matched by name and used once, and alpha is read from
    the shapes. The simplified graph is checked: it has the outputs of the plain graph, and passes ONNX's full checker.
    An .onnx model keeps its open sizes, except those that --dim, --shape, --batch and --res set.
    """
    sources = select_sources(**selection)
    if not sources:
        raise click.UsageError("name a graph or an .onnx file: mnbench build v1")
    if path and len(sources) > 1:
        raise click.UsageError(f"-o names one file, but this builds {len(sources)}: remove it")
    if path and path.is_dir():
        raise FileError(f"{path}: is a folder", hint="name the file to write in it")
    if bn_epsilon and not weights:
        raise click.UsageError("--bn-epsilon needs --weights")
    from mnbench.model.build import save_models
    from mnbench.model.model_table import model_table

    pretrained = _fit(weights, sources, selection, bn_epsilon) if weights else []
    sources = [checkpoint.variant for checkpoint in pretrained] or sources
    with ProgressBar() as bar:
        saved, rejected = save_models(
            sources,
            path,
            pretrained=pretrained,
            seed=seed,
            opset=opset,
            simplified=not no_simplify,
            keep_bn=keep_bn,
            on_progress=bar,
        )
    data = [model.to_dict(file) for file, model in saved.items()]
    models = data[0] if len(sources) == 1 else {"models": data, **rejected_to_dict(rejected)}
    emit(model_table(saved).with_failures(rejected), output, models)
    fail_if_rejected(rejected, len(sources))


def _fit(
    weights: Path, sources: Sequence[ModelSource], selection: dict[str, Any], epsilon: float | None
) -> list["PretrainedWeights"]:
    """Fit the file's weights to one graph at one alpha, at each resolution."""
    from mnbench.model.pretrained.checkpoint import open_checkpoint
    from mnbench.model.pretrained.fit import fit_checkpoint

    variants = [source for source in sources if isinstance(source, Variant)]
    alphas: list[float] = selection["alpha"] or []
    if len(variants) < len(sources) or len(selection["graphs"]) > 1 or len(alphas) > 1:
        raise click.UsageError("--weights fit one graph at one alpha: name one graph, and at most one --alpha")
    checkpoint = open_checkpoint(weights)
    alpha = alphas[0] if alphas else variants[0].alpha if is_variant_name(selection["graphs"][0]) else None
    return [fit_checkpoint(checkpoint, variant, alpha=alpha, epsilon=epsilon) for variant in variants]

"""`mnbench build`."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from mnbench.cli.options import format_option, select_sources, variant_options
from mnbench.cli.output import emit
from mnbench.errors import FileError
from mnbench.network.variant import ModelSource, Variant

if TYPE_CHECKING:
    from mnbench.model.pretrained.fit import FittedCheckpoint


@click.command(
    epilog="\b\nExample:\n  mnbench build v1 --alpha 0.5 --res 160\n  mnbench build v1 -o v1.onnx --keep-bn"
    "\n  mnbench build v2 --weights mobilenet_v2.safetensors"
)
@variant_options
@click.option("-o", "--output-file", "path", type=click.Path(path_type=Path), help="Default: v1-a0.5-r160.onnx, here.")
@click.option("--seed", default=0, show_default=True, type=click.IntRange(min=0), help="Of the random weights.")
@click.option(
    "--weights",
    type=click.Path(path_type=Path),
    help="Trained weights, .safetensors or .npz, by torchvision's, timm's or Megvii's names.",
)
@click.option(
    "--bn-epsilon",
    type=click.FloatRange(min=0, max=1, min_open=True, max_open=True),
    help="Of batch normalization, with --weights. Default: that of the library whose names they have.",
)
@click.option("--opset", default=17, show_default=True, type=int, help="Version of the ONNX operator set.")
@click.option("--no-simplify", is_flag=True, help="Leave the plain graph.")
@click.option("--keep-bn", is_flag=True, help="Keep batch normalization as nodes of its own.")
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

    GRAPH is a name, a path to a .toml table, or an .onnx model to simplify. Weights are seeded random numbers, or those
    of a file: its tensors are known by their names, each is used once, and alpha is read from their shapes. The
    simplified graph is proved to compute what the plain one does, and passes ONNX's full checker.
    """
    chosen = select_sources(**selection)
    if not chosen:
        raise click.UsageError("name a graph or an .onnx file: mnbench build v1")
    if path and len(chosen) > 1:
        raise click.UsageError(f"-o names one file, and this builds {len(chosen)}: leave it out")
    if path and path.is_dir():
        raise FileError(f"{path}: is a folder", hint="name the file to write in it")
    if bn_epsilon and not weights:
        raise click.UsageError("--bn-epsilon goes with --weights")
    from mnbench import atomic_files
    from mnbench.cli.progress_bar import show_progress
    from mnbench.model import build_table
    from mnbench.model.build import build_model

    fits = _fitted(weights, chosen, selection, bn_epsilon) if weights else []
    chosen = [fitted_checkpoint.variant for fitted_checkpoint in fits] or chosen
    built: list[build_table.SavedModel] = []
    with show_progress("building", len(chosen)) as step:
        for source, fit in zip(chosen, fits or [None] * len(chosen), strict=True):
            model = build_model(
                source,
                seed=seed,
                opset=opset,
                simplified=not no_simplify,
                keep_bn=keep_bn,
                pretrained=fit.pretrained if fit else None,
            )
            target = path or Path(f"{source.name}.onnx")
            if target.exists() and any(
                target.samefile(graph) for graph in selection["graphs"] if graph.endswith(".onnx")
            ):
                raise FileError(f"{target}: is the model that was read", hint="name another file with -o")
            atomic_files.write_atomically(target, model.model.data, durable=False)
            built.append(build_table.SavedModel(path=target, built=model))
            step()
    data = [model.to_dict() for model in built]
    emit(build_table.build_table(built), output, data[0] if len(data) == 1 else {"models": data})


def _fitted(
    weights: Path, chosen: Sequence[ModelSource], selection: dict[str, Any], epsilon: float | None
) -> list["FittedCheckpoint"]:
    """One graph at one α with the file's weights, at each resolution asked for."""
    from mnbench.model.pretrained.checkpoint import open_checkpoint
    from mnbench.model.pretrained.fit import fit_checkpoint

    variants = [source for source in chosen if isinstance(source, Variant)]
    alphas: list[float] = selection["alpha"] or []
    if len(variants) < len(chosen) or len(selection["graphs"]) > 1 or len(alphas) > 1:
        raise click.UsageError("--weights are of one graph at one alpha: name one graph, and at most one --alpha")
    checkpoint = open_checkpoint(weights)
    return [
        fit_checkpoint(checkpoint, variant, alpha=alphas[0] if alphas else None, epsilon=epsilon)
        for variant in variants
    ]

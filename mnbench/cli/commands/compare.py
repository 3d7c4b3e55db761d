"""Compare two models, precisions, settings or runtimes."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from mnbench.cli.decisions import decision_options, emit_comparison
from mnbench.cli.options import format_option, select_sources, variant_options
from mnbench.cli.progress_bar import ProgressBar, verbosity_options
from mnbench.targets.device import read_device

if TYPE_CHECKING:
    from mnbench.comparison.procedure import ComparisonSettings


@click.command(
    epilog="\b\nExample:\n  mnbench compare old.onnx new.onnx\n  mnbench compare v1-a0.5-r160 v2-a0.5-r160"
    "\n  mnbench compare fp32 int8 v1 --alpha 1,0.5\n  mnbench compare onnxruntime==1.30.0 onnxruntime v1"
    "\n  mnbench compare default session.intra_op.allow_spinning=1 v1"
)
@click.argument("base")
@click.argument("candidate")
@variant_options
@decision_options
@verbosity_options
@format_option()
def command(
    *,
    base: str,
    candidate: str,
    graphs: tuple[str, ...],
    device: str | None,
    results: Path,
    reports: Sequence[tuple[str, Path]],
    output: str,
    settings: "ComparisonSettings",
    **selection: Any,
) -> None:
    """Compare two models, precisions, settings or runtimes.

    BASE and CANDIDATE are two .onnx files, two folders of them, two variants, or two precisions, runtimes or settings
    followed by the graphs to compare them with. Options of variants and of inputs apply to both. Both are measured in
    interleaved runs, in fresh processes, until every row is decided. Exit code 0: no row is slower; 3: some rows are;
    4: inconclusive.
    """
    from mnbench.comparison.compare import compare_requests
    from mnbench.comparison.sides import pair_sides

    requests = pair_sides(base, candidate, graphs, lambda name: select_sources([name], **selection, to_measure=True))
    with ProgressBar() as bar:
        comparison = compare_requests(
            requests,
            settings,
            device=read_device(device or "cpu"),
            results=results,
            labels=(base, base if settings.self_check else candidate),
            on_progress=bar,
        )
    emit_comparison(comparison, results, output, reports)

"""The public Python API: one function for everything that a command does.

Everything that these functions return is documented; what is not in `mnbench.__all__` may change.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import replace
from os import PathLike, fspath
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, cast

from mnbench.bench.plan import SamplingConfig
from mnbench.comparison.decide import DecisionRules
from mnbench.errors import BuildError, ResultsError
from mnbench.families import find_model
from mnbench.model.sources import Graph, Size, list_variants, open_sources
from mnbench.network.architecture import OptionValue
from mnbench.network.variant import OnnxFile, Padding, Precision, Variant
from mnbench.results.results import Results
from mnbench.targets.device import read_device
from mnbench.temporary import temporary_folder

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from mnbench.bench.diagnose import HostReport
    from mnbench.bench.verify import Verification
    from mnbench.comparison.comparison import Comparison
    from mnbench.comparison.procedure import ComparisonSettings
    from mnbench.model.model import Model
    from mnbench.network.cost_tables import Costs
    from mnbench.plots.figures import Plot
    from mnbench.progress import OnProgress


def variants(
    graphs: str | Iterable[str],
    *,
    alpha: float | Iterable[float] = 1.0,
    resolution: Size | Iterable[Size] | None = None,
    published: bool = False,
    **options: OptionValue,
) -> list[Variant]:
    """Return every graph at every alpha and resolution. A name such as "v1-a0.5-r160" is one variant.

    Args:
        graphs: Names of graphs or variants, or paths to .toml files.
        alpha: The width multiplier, or several.
        resolution: The input size, or several. Default: that of the graph's table.
        published: Return the variants for which a source prints an accuracy, instead of a grid.
        options: batch, classes, padding, precision, and the family's own: groups=8, unit="megvii", activation="relu".

    Raises:
        GraphFileError: a graph is unknown, or its file is wrong.
        BuildError: an alpha, a resolution or an option is impossible, or cannot be set, because a name is one variant.
    """
    names = [graphs] if isinstance(graphs, str) else graphs
    return list_variants(names, alpha=alpha, resolution=resolution, published=published, **options)


def build(
    graph: Graph,
    *,
    alpha: float = 1.0,
    resolution: Size | None = None,
    batch: int | None = 1,
    classes: int | None = None,
    precision: Precision = "fp32",
    padding: Padding = "torch",
    weights: str | PathLike[str] | None = None,
    seed: int = 0,
    opset: int = 17,
    simplify: bool = True,
    fold_batch_norm: bool = True,
    **options: OptionValue,
) -> Model:
    """Build a graph as an ONNX model.

    Args:
        graph: What to build. A finished model is simplified; open sizes that `onnx_file` sets are written into it.
        alpha: The width multiplier. At 1.0, `weights` decide: the alpha that their shapes fit.
        resolution: The input size. Default: that of the graph's table.
        batch: The number of images; None leaves it open.
        classes: The number of classes; 0 ends at the features. Default: that of the graph's table.
        precision: The precision of weights and arithmetic.
        padding: PyTorch's padding at stride 2, or TensorFlow's "same".
        weights: A checkpoint with trained weights. Default: random weights.
        seed: The seed for the random weights.
        opset: The version of the ONNX operator set.
        simplify: Simplify the graph and check that it computes the same.
        fold_batch_norm: Fold batch normalization into the convolutions.
        options: The family's own: groups=8, unit="megvii", activation="relu".

    Raises:
        GraphFileError: the graph is unknown, or its file is wrong.
        BuildError: the model cannot be built, or an option cannot be set, because the graph is one variant or finished.
        FileError: a file cannot be read.
    """
    from mnbench.model.build import build_model
    from mnbench.model.pretrained.checkpoint import open_checkpoint
    from mnbench.model.pretrained.fit import fit_checkpoint

    common = {"batch": batch, "classes": classes, "precision": precision, "padding": padding}
    with open_sources() as sources:
        source = sources.source(graph, alpha=alpha, resolution=resolution, **common, **options)
        pretrained = None
        if weights is not None:
            if not isinstance(source, Variant):
                raise BuildError("weights are for a graph, not for a finished model", hint="leave `weights` out")
            fitting_alpha = None if source.alpha == 1 else source.alpha
            pretrained = fit_checkpoint(open_checkpoint(Path(weights)), source, alpha=fitting_alpha)
            source = pretrained.variant
        form: dict[str, Any] = {"opset": opset, "simplified": simplify, "keep_bn": not fold_batch_norm}
        return build_model(source, pretrained=pretrained, seed=seed, fix_sizes=True, **form)


def cost(graph: Graph, *, per: Literal["model", "layer", "type", "row"] = "model", **variant: Any) -> Costs:
    """Count params, Mult-Adds and memory access without building the model.

    Args:
        graph: What to count.
        per: The rows of the returned costs: the whole model, each layer, each layer type, or each row of the graph.
        variant: alpha, resolution and options, as `build` takes them.

    Raises:
        GraphFileError: the graph is unknown, or its file is wrong.
        BuildError: the variant is impossible, or a finished model has no rows of a graph.
    """
    from mnbench.model.count import count_model

    with open_sources() as sources:
        source = sources.source(graph, **variant)
        if per == "row" and not isinstance(source, Variant):
            raise BuildError("a finished model has no rows of a graph", hint='use per="layer"')
        return count_model(source, per)


def run(
    graphs: Graph | Iterable[Graph],
    *,
    device: str | Iterable[str] = "cpu",
    sampling: SamplingConfig | None = None,
    threads: int | Literal["all"] | None = None,
    cores: Sequence[int] = (),
    packages: Sequence[str] = (),
    seed: int = 0,
    results: str | PathLike[str] | None = None,
    resume: bool = True,
    roofline: bool = True,
    profile: bool = False,
    allow_fallback: bool = False,
    on_progress: OnProgress | None = None,
) -> Results:
    """Measure the latency of each graph on each device.

    With `results`, every record is appended to that folder, and an unfinished run continues. A case that cannot be
    measured is a record with `error`; of several models, one that cannot be built is in `Results.rejected`. A device
    that cannot be used is in `Results.skipped`.

    Args:
        graphs: What to measure: a graph, or several. A Model with the bytes that `run` builds of its variant (default
            opset, random weights of this `seed`, simplified and folded) is that variant; any other Model is a file.
        device: The name of a device file, or several, which share their rounds.
        sampling: How many processes, how precise, how long. Default: `SamplingConfig()`.
        threads: The threads of one inference. Default: the device's own.
        cores: The cores to bind the process to. Default: any.
        packages: Measure with these packages, in an environment of their own: "onnxruntime==1.26.0".
        seed: The seed for the random weights, the inputs and the order.
        results: The folder of the results. Default: nothing is stored.
        resume: Continue an unfinished run of the same plan.
        roofline: Measure the device's peak and bandwidth first, once in 30 days.
        profile: Measure the time of each layer too; stored with the run, so it needs `results`.
        allow_fallback: Accept nodes that run on another provider than the device's.
        on_progress: Called with a Progress after each step.

    Raises:
        GraphFileError, DeviceFileError, BuildError: a graph or a device is wrong.
        ResultsError: `profile` without `results`.
        MnbenchError: no device could be used; the error of the last one.
    """
    from mnbench.bench.benchmark import BenchmarkOptions, run_benchmark
    from mnbench.bench.devices import select_devices

    if profile and results is None:
        raise ResultsError("profiles are stored with the results", hint='name their folder: results="results"')
    names = [device] if isinstance(device, str) else list(device)
    options = BenchmarkOptions(
        sampling=replace(sampling or SamplingConfig(), seed=seed),
        threads=() if threads is None else (threads,),
        cores=tuple(cores),
        roofline=roofline,
        profile=profile,
        allow_fallback=allow_fallback,
        fresh=not resume,
    )
    with open_sources() as sources, temporary_folder() as folder:
        target = Path(folder if results is None else results)
        devices = select_devices(names, packages)
        outcome = run_benchmark(sources.sources(graphs, seed=seed), devices, target, options, on_progress)
    if not outcome.runs and outcome.skipped:
        raise list(outcome.skipped.values())[-1]
    return Results(
        outcome.records,
        skipped=outcome.skipped,
        rejected=dict(outcome.rejected),
        folder=None if results is None else target,
    )


def compare(
    baseline: Graph,
    candidate: Graph,
    *,
    graphs: Iterable[str | Variant] = (),
    device: str = "cpu",
    rules: DecisionRules | None = None,
    budget_s: float = 120.0,
    seed: int = 0,
    allow: Collection[str] = (),
    results: str | PathLike[str] | None = None,
    on_progress: OnProgress | None = None,
) -> Comparison:
    """Measure baseline and candidate in interleaved pairs and decide every row at one family-wise error rate.

    Args:
        baseline: A graph or a folder of .onnx files; with `graphs`, a precision ("fp32"), a setting
            ("session.KEY=VALUE", or "default") or a runtime build ("onnxruntime==1.30.0").
        candidate: What to compare with it, of the same kind.
        graphs: The graphs that precisions, settings or runtime builds are compared with.
        device: The name of a device file.
        rules: When a row is slower. Default: `DecisionRules()`.
        budget_s: The time limit of the whole comparison.
        seed: The seed for the random weights and the order.
        allow: Preconditions to ignore: "busy", "cpu", "fallback", "inconclusive", "missing", "shapes", "threads".
        results: The folder to store the pairs in. Default: they are not stored.
        on_progress: Called with a Progress after each step.

    Raises:
        BuildError: the two do not go together, or a model cannot be built.
        DeviceFileError, RuntimeUnavailable, UnreachableError: the device cannot be used.
    """
    from mnbench.comparison.compare import compare_requests
    from mnbench.comparison.sides import pair_sides

    with open_sources() as sources:
        base, new = (fspath(side) if isinstance(side, PathLike) else side for side in (baseline, candidate))
        requests = pair_sides(base, new, sources.sources(graphs), lambda graph: [sources.source(graph)])
        return compare_requests(
            requests,
            _settings(rules, budget_s, seed, allow),
            device=read_device(device),
            results=None if results is None else Path(results),
            labels=(_label(baseline), _label(candidate)),
            on_progress=on_progress,
        )


def gate(
    table: str | PathLike[str],
    *,
    models: Iterable[str | PathLike[str]] = (),
    host: str = "all",
    base_ref: str | None = None,
    measure_unchanged: bool = False,
    device: str | None = None,
    rules: DecisionRules | None = None,
    budget_s: float = 120.0,
    seed: int = 0,
    allow: Collection[str] = (),
    results: str | PathLike[str] | None = None,
    on_progress: OnProgress | None = None,
) -> Comparison:
    """Compare what each row of a latency table was measured with against what it is now.

    Args:
        table: A .jsonl file that `run` wrote.
        models: Your own .onnx files that have rows, or "NAME=model.onnx" for the row of that name.
        host: The host whose rows to compare: all figures are measured here and now. Default: every host's.
        base_ref: Take the baseline's table, graphs and tool from this git revision.
        measure_unchanged: Measure unchanged rows too.
        device: The name of a device file. Default: that of the table.
        rules: When a row is slower. Default: `DecisionRules()`.
        budget_s: The time limit of the whole comparison.
        seed: The seed for the order.
        allow: Preconditions to ignore, as `compare` takes them.
        results: The folder to store the pairs in. Default: they are not stored.
        on_progress: Called with a Progress after each step.

    Raises:
        ResultsError: the table has no latencies, or the revision has no such table.
        DeviceFileError, RuntimeUnavailable, UnreachableError: the device cannot be used.
    """
    from mnbench.comparison.compare import gate_table

    table = Path(table)
    names = [fspath(model) for model in models]
    return gate_table(
        table,
        _settings(rules, budget_s, seed, allow),
        device=device,
        user_models=[find_model(name) or OnnxFile(path=Path(name)) for name in names],
        host=host,
        base_ref=base_ref,
        measure_unchanged=measure_unchanged,
        results=None if results is None else Path(results),
        on_progress=on_progress,
    )


def verify(
    model: Graph,
    reference: Graph | None = None,
    *,
    device: str = "cpu",
    inputs: Sequence[str | PathLike[str] | NDArray[Any]] = (),
    random_inputs: int | None = None,
    tolerance: float | None = None,
    seed: int = 0,
    on_progress: OnProgress | None = None,
) -> Verification:
    """Compare a model's outputs on a device with a reference.

    Args:
        model: What to check.
        reference: What computes the right outputs. Default: the model's own graph in fp32.
        device: The name of a device file.
        inputs: Arrays, .npy files or images.
        random_inputs: The number of random inputs. Default: 8, or 0 with `inputs`.
        tolerance: The largest difference that agrees, as a share of the output's largest number.
        seed: The seed for the random weights and inputs.
        on_progress: Called with a Progress after each step.

    Raises:
        BuildError: a model cannot be built, or the two take different inputs.
        TrialError, DeviceFileError, RuntimeUnavailable, UnreachableError: the device cannot run the model.
    """
    from mnbench.bench.verify import verify_model

    with open_sources() as sources:
        return verify_model(
            sources.source(model),
            None if reference is None else sources.source(reference),
            read_device(device),
            inputs=sources.inputs(inputs),
            random_input_count=random_inputs,
            tolerance=tolerance,
            seed=seed,
            on_progress=on_progress,
        )


def plot(results: Results, kind: str = "mult-adds", *, dark: bool = False) -> Plot:
    """Draw results. The plot shows itself in a notebook and has `save`; both need `pip install ".[plot]"`.

    Args:
        results: What to draw.
        kind: "mult-adds", "memory-access" or "params" (latency against a cost); "accuracy", "coco", "voc" or
            "cityscapes" (a published accuracy against latency); "roofline"; or "layers" or "distribution",
            which read the profiles and samples in the folder that the results are stored in.
        dark: Draw light on dark.

    Raises:
        ResultsError: the results have nothing of that kind.
    """
    from mnbench.plots.figures import Plot

    return Plot(kind=cast("Any", kind), results=results.folder, records=tuple(results), dark=dark)


def diagnose(device: str = "cpu", *, measure_noise: bool = True, on_progress: OnProgress | None = None) -> HostReport:
    """Describe a device, its noise sources with their fixes, and how much two runs of one model differ.

    Args:
        device: The name of a device file.
        measure_noise: Measure how much two runs of one model differ, in about 20 seconds.
        on_progress: Called with a Progress after each step.

    Raises:
        DeviceFileError, RuntimeUnavailable, UnreachableError: the device cannot be used.
    """
    from mnbench.bench.devices import ready_device
    from mnbench.bench.diagnose import diagnose as diagnose_device

    target = ready_device(read_device(device), on_progress)
    return diagnose_device(target, measure_noise=measure_noise, on_progress=on_progress)


def _settings(rules: DecisionRules | None, budget_s: float, seed: int, allow: Collection[str]) -> ComparisonSettings:
    from mnbench.comparison.procedure import ComparisonSettings

    return ComparisonSettings(rules=rules or DecisionRules(), budget_s=budget_s, seed=seed, allow=frozenset(allow))


def _label(graph: Graph) -> str:
    return fspath(graph) if isinstance(graph, str | PathLike) else getattr(graph, "name", "model")

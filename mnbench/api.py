"""The public Python API: one function for everything that a command does.

Everything that these functions return is documented; what is not in `mnbench.__all__` may change.
"""

from __future__ import annotations

import tempfile
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from os import PathLike, fspath
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Self, TypeAlias, cast

from mnbench.bench.plan import SamplingConfig
from mnbench.comparison.decide import DecisionRules
from mnbench.errors import BuildError, ResultsError
from mnbench.families import architecture, parse_variant, select_variants
from mnbench.network.architecture import OptionValue
from mnbench.network.variant import ModelSource, OnnxFile, Padding, Precision, Variant
from mnbench.results.results import Results, load_results
from mnbench.targets.device import read_device

if TYPE_CHECKING:
    import onnx
    from numpy.typing import NDArray

    from mnbench.bench.diagnose import HostReport
    from mnbench.bench.verify import Verification
    from mnbench.comparison.comparison import Comparison
    from mnbench.comparison.procedure import ComparisonSettings
    from mnbench.model.model import Model
    from mnbench.network.cost_tables import Costs
    from mnbench.plots.figures import Plot
    from mnbench.progress import OnProgress

Size: TypeAlias = int | tuple[int, int]
"""The side of a square image, or (height, width)."""

_DEFAULTS = {"alpha": 1.0, "batch": 1, "padding": "torch", "precision": "fp32", "published": False}

Graph: TypeAlias = "str | PathLike[str] | Variant | Model | onnx.ModelProto"
"""A name such as "v1" or "v1-a0.5-r160", a path to a .toml or .onnx file, a Variant, a Model or a ModelProto."""

__all__ = [
    "build",
    "compare",
    "cost",
    "diagnose",
    "gate",
    "load_results",
    "plot",
    "run",
    "variants",
    "verify",
]


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
    common, family = _split_options(options)
    chosen = _chosen(alpha=alpha, resolution=resolution, published=published, **options)
    selected: list[Variant] = []
    for name in [graphs] if isinstance(graphs, str) else graphs:
        if _is_variant_name(name):
            selected.append(_refine(parse_variant(name), chosen))
            continue
        selected += cast(
            "list[Variant]",
            select_variants(
                [name],
                alphas=[alpha] if isinstance(alpha, int | float) else list(alpha),
                resolutions=_sizes(resolution),
                published=published,
                options={key: [value] for key, value in family.items()},
                **common,
            ),
        )
    return selected


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
        graph: What to build; a finished model is simplified.
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
    with _Sources() as sources:
        source = sources.source(graph, alpha=alpha, resolution=resolution, options={**common, **options})
        pretrained = None
        if weights is not None:
            if not isinstance(source, Variant):
                raise BuildError("weights are for a graph, not for a finished model", hint="leave `weights` out")
            fitted = fit_checkpoint(
                open_checkpoint(Path(weights)), source, alpha=_chosen(alpha=source.alpha).get("alpha")
            )
            source, pretrained = fitted.variant, fitted.pretrained
        return build_model(
            source,
            pretrained=pretrained,
            seed=seed,
            opset=opset,
            simplified=simplify,
            keep_bn=not fold_batch_norm,
        )


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

    alpha, resolution = variant.pop("alpha", 1.0), variant.pop("resolution", None)
    with _Sources() as sources:
        source = sources.source(graph, alpha=alpha, resolution=resolution, options=variant)
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
    measured is a record with `error`; a device that cannot be used is in `Results.skipped`.

    Args:
        graphs: What to measure: a graph, or several.
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
    from mnbench.bench.benchmark import BenchmarkOptions, run_benchmark, select_devices

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
    with _Sources() as sources, tempfile.TemporaryDirectory(prefix="mnbench-") as folder:
        selected = sources.several(graphs)
        target = Path(folder if results is None else results)
        outcome = run_benchmark(selected, select_devices(names, packages), target, options, on_progress)
    if not outcome.runs and outcome.skipped:
        raise list(outcome.skipped.values())[-1]
    return Results(outcome.records, skipped=outcome.skipped, folder=None if results is None else target)


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
    from mnbench.comparison.sides import Side, pair_sides, parse_side

    with _Sources() as sources:

        def side(value: Graph) -> Side:
            return parse_side(fspath(value)) if isinstance(value, str | PathLike) else sources.source(value)

        requests = pair_sides(side(baseline), side(candidate), sources.several(graphs) if graphs else [])
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
        models: Your own .onnx files that have rows.
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
    files = [Path(model) for model in models]
    return gate_table(
        table,
        _settings(rules, budget_s, seed, allow),
        device=device,
        user_models={OnnxFile(path=path).name: path for path in files},
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
        tolerance: The largest difference that agrees, as a share of the output's standard deviation.
        seed: The seed for the random weights and inputs.
        on_progress: Called with a Progress after each step.

    Raises:
        BuildError: a model cannot be built, or the two take different inputs.
        TrialError, DeviceFileError, RuntimeUnavailable, UnreachableError: the device cannot run the model.
    """
    from mnbench.bench.verify import verify_model

    with _Sources() as sources:
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
    """Draw results. The plot shows itself in a notebook and has `save`; both need `pip install "mnbench[plot]"`.

    Args:
        results: What to draw.
        kind: "mult-adds", "memory-access" or "params" (latency against a cost), "accuracy" or "roofline"; or "layers"
            or "distribution", which read the profiles and samples in the folder that the results are stored in.
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
    from mnbench.bench.benchmark import ready_device
    from mnbench.bench.diagnose import diagnose as diagnose_device

    target = ready_device(read_device(device), on_progress)
    return diagnose_device(target, measure_noise=measure_noise, on_progress=on_progress)


def _settings(rules: DecisionRules | None, budget_s: float, seed: int, allow: Collection[str]) -> ComparisonSettings:
    from mnbench.comparison.procedure import ComparisonSettings

    return ComparisonSettings(rules=rules or DecisionRules(), budget_s=budget_s, seed=seed, allow=frozenset(allow))


def _label(graph: Graph) -> str:
    return fspath(graph) if isinstance(graph, str | PathLike) else getattr(graph, "name", "model")


def _sizes(resolution: Size | Iterable[Size] | None) -> list[tuple[int, int]]:
    """Return one size for an integer or a pair of integers, and each size of a sequence. A pair is (height, width)."""
    if resolution is None:
        return []
    if isinstance(resolution, int):
        return [(resolution, resolution)]
    items = list(resolution)
    if isinstance(resolution, tuple) and len(items) == 2 and all(isinstance(item, int) for item in items):
        return [cast("tuple[int, int]", resolution)]
    return [(item, item) if isinstance(item, int) else item for item in items]


def _chosen(**options: Any) -> dict[str, Any]:
    """Return the options of a variant that differ from their defaults."""
    return {key: value for key, value in options.items() if value != _DEFAULTS.get(key)}


def _refine(variant: Variant, chosen: Mapping[str, Any]) -> Variant:
    """Return the variant with options that every variant has. Its alpha, resolution and family's options are fixed."""
    common, others = _split_options(chosen)
    _reject(f"{variant.name} is one variant", others, hint=f"name the graph: {variant.architecture.name}")
    return replace(variant, **common)


def _reject(reason: str, chosen: Mapping[str, Any], hint: str) -> None:
    """Raise an error if options were chosen that cannot be set.

    Raises:
        BuildError: they were.
    """
    if chosen:
        raise BuildError(f"{reason}: {', '.join(chosen)} cannot be set", hint=hint)


def _split_options(options: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Split a variant's options into those of all families and a family's own."""
    common = {key: options[key] for key in ("batch", "classes", "padding", "precision") if key in options}
    return common, {key: value for key, value in options.items() if key not in common and value is not None}


def _is_variant_name(name: str) -> bool:
    """Whether a name is that of a variant and not that of a graph or a file."""
    if name.endswith((".toml", ".onnx")):
        return False
    try:
        parse_variant(name)
    except BuildError:
        return False
    return True


class _Sources:
    """Turn what callers pass into variants and files; models in memory are written into a folder of its own."""

    def __init__(self) -> None:
        self._folder: tempfile.TemporaryDirectory[str] | None = None
        self._count = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._folder:
            self._folder.cleanup()

    def several(self, graphs: Graph | Iterable[Graph]) -> list[ModelSource]:
        """Return each graph; a graph's name stands for its table's own variant."""
        single = isinstance(graphs, str | PathLike | Variant) or not isinstance(graphs, Iterable)
        return [self.source(graph) for graph in cast("Iterable[Graph]", [graphs] if single else graphs)]

    def source(
        self,
        graph: Graph,
        *,
        alpha: float = 1.0,
        resolution: Size | None = None,
        options: dict[str, Any] | None = None,
    ) -> ModelSource:
        """Return the variant or the file that a graph is."""
        sizes = _sizes(resolution)
        chosen = _chosen(alpha=alpha, resolution=resolution, **(options or {}))
        if isinstance(graph, Variant):
            return _refine(graph, chosen)
        if isinstance(graph, str | PathLike):
            name = fspath(graph)
            if name.endswith(".onnx"):
                chosen.pop("resolution", None)
                _reject(f"{name} is a finished model", chosen, hint="a file takes a resolution alone")
                return OnnxFile(path=Path(name), resolution=sizes[0] if sizes else None)
            common, family = _split_options(options or {})
            if _is_variant_name(name):
                return _refine(parse_variant(name), chosen)
            described = architecture(name)
            size = sizes[0] if sizes else described.resolution
            return Variant(architecture=described, alpha=alpha, resolution=size, options=family, **common)
        name = getattr(graph, "name", None) or f"model-{self._count}"
        _reject(f"{name} is a finished model", chosen, hint="build it with these options")
        proto: Any = getattr(graph, "proto", graph)
        path = self._path(f"{name}.onnx")
        path.write_bytes(proto.SerializeToString(deterministic=True))
        return OnnxFile(path=path)

    def inputs(self, inputs: Sequence[str | PathLike[str] | NDArray[Any]]) -> list[Path]:
        """Return each input as a file; arrays are written."""
        import numpy as np

        files: list[Path] = []
        for item in inputs:
            if isinstance(item, str | PathLike):
                files.append(Path(item))
            else:
                files.append(self._path("input.npy"))
                np.save(files[-1], item)
        return files

    def _path(self, name: str) -> Path:
        """Return a new path, in a folder of its own so that names may repeat."""
        self._folder = self._folder or tempfile.TemporaryDirectory(prefix="mnbench-")
        self._count += 1
        folder = Path(self._folder.name) / str(self._count)
        folder.mkdir()
        return folder / name

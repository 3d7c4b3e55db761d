"""From a variant or a file to the model that is saved or measured."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from mnbench.errors import FileError, SimplifyError
from mnbench.model.attempts import Rejection, attempt_each
from mnbench.model.changes import describe_changes
from mnbench.model.equivalence import check_equivalence
from mnbench.model.input_sizes import write_sizes
from mnbench.model.isolated import Step
from mnbench.model.model import OPSET, Model
from mnbench.model.precision import convert_precision
from mnbench.model.read_onnx import read_onnx
from mnbench.model.simplify import simplify
from mnbench.model.to_onnx import PretrainedWeights, check_model, to_onnx
from mnbench.network.network import build_network
from mnbench.network.variant import InputOptions, ModelSource, OnnxFile, Variant
from mnbench.progress import OnProgress, StageProgress

SIMPLIFICATION = Step("simplification", "keep the plain graph with --no-simplify", SimplifyError)
CHECK = Step("ONNX's checker", "export the model again")


def build_model(
    source: ModelSource,
    *,
    seed: int = 0,
    opset: int = OPSET,
    simplified: bool = True,
    keep_bn: bool = False,
    pretrained: PretrainedWeights | None = None,
    fix_sizes: bool = False,
) -> Model:
    """Build a variant's graph, or read a user's file; simplify it and prove that it computes the same, if asked to.

    A variant's weights are the `pretrained` ones, or seeded random numbers. With `fix_sizes`, sizes that the user gives
    are written into a file's graph; those that nobody gives stay open.

    Raises:
        FileError, BuildError: the file cannot be read, or the checker refuses the model.
        SimplifyError: simplification failed, or changed what the graph computes.
    """
    if isinstance(source, Variant):
        plain = to_onnx(build_network(source), seed=seed, opset=opset, pretrained=pretrained)
    else:
        file = read_onnx(source.path)
        plain = replace(file, name=source.name, in_memory=source.in_memory, input_options=source.inputs)
    model = _fix_given_sizes(plain) if fix_sizes and isinstance(source, OnnxFile) else plain
    if simplified:
        model = model.run_native(SIMPLIFICATION, _simplify, model, plain, keep_bn)
    if isinstance(source, Variant):
        model = convert_precision(model, source.precision, seed=seed)
    if isinstance(source, Variant) or (model is not plain and not simplified):
        # What was simplified has been run. The checker refuses files that runtimes take, such as sparse weights.
        model.run_native(CHECK, check_model, model)
    if isinstance(source, OnnxFile):
        embedded = ["the weights of its data files are inside"] if plain.data is None else []
        changes = describe_changes(plain.proto, model.proto) if model is not plain else []
        model = replace(model, changes=(*embedded, *model.changes, *changes))
    is_plain = model.proto is plain.proto
    return replace(model, plain=None if is_plain else plain, keeps_batch_norm=keep_bn and simplified)


def _simplify(model: Model, plain: Model, keep_bn: bool) -> Model:  # noqa: FBT001  positional in the helper process
    """Simplify the model, and prove that it computes the same as the plain one."""
    # Our own graphs hold no constant expressions.
    simplified = simplify(model, thorough=model.variant is None, keep_bn=keep_bn)
    difference, not_proven = check_equivalence(plain, simplified)
    return replace(simplified, difference=difference, not_proven=not_proven)


def _fix_given_sizes(model: Model) -> Model:
    """Return the model with the sizes that the user gives of its inputs; the others stay open."""
    shapes = {
        name: [None if axis in entry.assumed else size for axis, size in enumerate(entry.array.shape)]
        for name, entry in model.describe_inputs(0).items()
    }
    proto = write_sizes(model.proto, shapes)
    if list(proto.graph.input) == list(model.proto.graph.input):
        return model
    return replace(model.with_proto(proto), input_options=InputOptions(values=model.input_options.values))


def save_models(
    sources: Sequence[ModelSource],
    path: Path | None = None,
    *,
    pretrained: Sequence[PretrainedWeights] = (),
    seed: int,
    opset: int,
    simplified: bool,
    keep_bn: bool,
    on_progress: OnProgress | None = None,
) -> tuple[dict[Path, Model], list[Rejection]]:
    """Build each model and save it as `path`, or under its own name; `pretrained` are the weights of each, if any.

    Returns:
        The saved models by their files, and the models of several that could not be built or saved.

    Raises:
        FileError: the only file cannot be written, or is one of the models that are read.
        BuildError: the only model cannot be built.
    """
    files = [source.path for source in sources if isinstance(source, OnnxFile)]
    targets = {source.row: path or Path(f"{source.name.removesuffix('.onnx')}.onnx") for source in sources}
    for target, count in Counter(targets.values()).items():
        if count > 1:
            raise FileError(f"{target}: {count} models would be written to it", hint="name them: NAME=path/model.onnx")
    weights = {item.variant.name: item for item in pretrained}
    progress = StageProgress(on_progress, "build", len(sources))

    def save(source: ModelSource) -> tuple[Path, Model]:
        target = targets[source.row]
        model = build_model(
            source,
            seed=seed,
            opset=opset,
            simplified=simplified,
            keep_bn=keep_bn,
            pretrained=weights.get(source.name),
            fix_sizes=True,
        )
        if target.exists() and any(file.exists() and target.samefile(file) for file in files):
            raise FileError(
                f"{target}: is the model that is read", hint="name another: -o FILE, or NAME=path/model.onnx"
            )
        return model.save(target), model

    saved, rejected = attempt_each(sources, save, progress.advance)
    return dict(saved), rejected

"""Build models and save each to a file."""

from collections.abc import Sequence
from pathlib import Path

from mnbench import atomic_files
from mnbench.errors import FileError
from mnbench.model.build import build_model
from mnbench.model.build_table import SavedModel
from mnbench.model.to_onnx import PretrainedWeights
from mnbench.network.variant import ModelSource, OnnxFile
from mnbench.progress import OnProgress, StageProgress


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
) -> list[SavedModel]:
    """Build each model and save it as `path`, or under its own name; `pretrained` are the weights of each, if given.

    Raises:
        FileError: a file cannot be written, or is one of the models that are read.
        BuildError: a model cannot be built.
    """
    read = [source.path for source in sources if isinstance(source, OnnxFile)]
    progress = StageProgress(on_progress, "build", len(sources))
    saved: list[SavedModel] = []
    for index, source in enumerate(sources):
        weights = pretrained[index] if pretrained else None
        model = build_model(source, seed=seed, opset=opset, simplified=simplified, keep_bn=keep_bn, pretrained=weights)
        target = path or Path(f"{source.name}.onnx")
        if target.exists() and any(target.samefile(file) for file in read):
            raise FileError(f"{target}: is the model that was read", hint="name another file with -o")
        atomic_files.write_atomically(target, model.model.data, durable=False)
        saved.append(SavedModel(path=target, built=model))
        progress.advance()
    return saved

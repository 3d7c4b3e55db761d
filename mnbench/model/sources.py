"""What callers of the Python API pass as graphs, as variants and files."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from itertools import count
from os import PathLike, fspath
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias, cast

from mnbench.errors import BuildError
from mnbench.families import find_model, replace_options, select_variants
from mnbench.network.variant import InputOptions, ModelSource, OnnxFile, Variant
from mnbench.temporary import temporary_folder

if TYPE_CHECKING:
    import onnx
    from numpy.typing import NDArray

    from mnbench.model.model import Model

Size: TypeAlias = int | tuple[int, int]
"""The side of a square image, or (height, width)."""

Graph: TypeAlias = "str | PathLike[str] | Variant | OnnxFile | Model | onnx.ModelProto"
"""A name such as "v1" or "v1-a0.5-r160", a path to a .toml or .onnx file, or what this package or onnx returns."""

InputValue: TypeAlias = "int | float | str | Path | NDArray[Any]"
"""What an input holds: a number, a text as on the command line, the path of an .npy file, or an array."""

COMMON_OPTIONS = ("batch", "classes", "padding", "precision")
"""Options of every family; the others are a family's own."""

DEFAULTS = {"alpha": 1.0, "batch": 1, "padding": "torch", "precision": "fp32", "published": False}


def list_variants(
    names: Iterable[str],
    *,
    alpha: float | Iterable[float] = 1.0,
    resolution: Size | Iterable[Size] | None = None,
    published: bool = False,
    **options: Any,
) -> list[Variant]:
    """Return every graph at every alpha and resolution; a variant's name is one variant.

    Raises:
        GraphFileError: a graph is unknown, or its file is wrong.
        BuildError: an alpha, a resolution or an option is impossible, or cannot be set, because a name is one variant.
    """
    common, family = _split_options(options)
    selected = select_variants(
        list(names),
        alphas=list(alpha) if isinstance(alpha, Iterable) else [] if alpha == DEFAULTS["alpha"] else [alpha],
        resolutions=_sizes(resolution),
        published=published,
        options={key: [value] for key, value in family.items()},
        **common,
    )
    return cast("list[Variant]", selected)


def onnx_file(
    path: str | PathLike[str],
    *,
    name: str = "",
    sizes: Mapping[str, int] | None = None,
    shapes: Mapping[str, tuple[int, ...]] | None = None,
    inputs: Mapping[str, InputValue] | None = None,
    batch: int | None = None,
    resolution: Size | None = None,
) -> OnnxFile:
    """Return a model file with what is said of its inputs; every function here takes it as a graph.

    Args:
        path: The .onnx file.
        name: What its rows are called. Default: the file's name.
        sizes: Open sizes by name, in every input: {"height": 320}.
        shapes: The shapes of inputs by name: {"state": (2, 1, 128)}.
        inputs: What inputs hold: a number, an array, "0..999" (random), or the path of an .npy file.
        batch: The size of an open first axis.
        resolution: The size of the images that it takes.
    """
    input_options = InputOptions(
        sizes=dict(sizes or {}),
        shapes=dict(shapes or {}),
        values={key: _as_text(value) for key, value in (inputs or {}).items()},
        batch=batch,
        resolution=_one_size(resolution),
    )
    return OnnxFile(path=Path(path), label=name, input_options=input_options)


class Sources:
    """Variants and files of graphs; models and arrays in memory are written into the folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._numbers = count()

    def source(
        self, graph: Graph, *, alpha: float = 1.0, resolution: Size | None = None, **options: Any
    ) -> ModelSource:
        """Return the variant or the file that a graph is; a graph's name stands for its table's own variant.

        Raises:
            GraphFileError: the graph is unknown, or its file is wrong.
            BuildError: an option is impossible, or cannot be set, because the graph is one variant or finished.
        """
        chosen: dict[str, Any] = {"alpha": alpha, "resolution": resolution, **options}
        if isinstance(graph, Variant):
            common, fixed = _split_options(chosen)
            return replace_options(graph, common, fixed=fixed)
        if not isinstance(graph, str | PathLike | OnnxFile):
            number = next(self._numbers)
            name = getattr(graph, "name", "") or f"model-{number}"
            from mnbench.model.model import Model  # noqa: PLC0415  variants need no onnx

            model = graph if isinstance(graph, Model) else Model(name=name, proto=graph)
            path = model.file_in(self._folder)
            graph = OnnxFile(path=path, label=name, in_memory=True, preset=model.input_options)
        if isinstance(graph, OnnxFile):
            return replace(graph, input_options=graph.input_options | _input_options(graph.label or graph.name, chosen))
        name = fspath(graph)
        if file := find_model(name):
            return replace(file, input_options=_input_options(name, chosen))
        return list_variants([name], published=False, **chosen)[0]

    def sources(self, graphs: Graph | Iterable[Graph], *, seed: int | None = None) -> list[ModelSource]:
        """Return the variant or the file of each graph.

        With `seed`, a Model is its variant if that is built with this seed as the same bytes: a row of its own variant.
        """
        single = isinstance(graphs, str | PathLike | Variant | OnnxFile) or not isinstance(graphs, Iterable)
        listed = cast("Iterable[Graph]", [graphs] if single else graphs)
        return [self.source(graph if seed is None else _rebuildable(graph, seed)) for graph in listed]

    def inputs(self, inputs: Sequence[str | PathLike[str] | NDArray[Any]]) -> list[Path]:
        """Return the file of each input."""
        import numpy as np  # noqa: PLC0415  variants need no numpy

        files: list[Path] = []
        for item in inputs:
            if isinstance(item, str | PathLike):
                files.append(Path(item))
            else:
                files.append(self._folder / f"input-{len(files)}.npy")
                np.save(files[-1], item)
        return files


@contextmanager
def open_sources() -> Generator[Sources]:
    """Yield sources whose folder is deleted at the end."""
    with temporary_folder() as folder:
        yield Sources(folder)


def _input_options(name: str, options: dict[str, Any]) -> InputOptions:
    """Return what the options say of the inputs of a finished model.

    Raises:
        BuildError: another option is set.
    """
    size, batch = options.pop("resolution"), options.pop("batch", 1)
    if changed := [key for key, value in options.items() if value != DEFAULTS.get(key)]:
        raise BuildError(
            f"{name} is a finished model: {', '.join(changed)} cannot be set",
            hint="a finished model takes a resolution and a batch",
        )
    return InputOptions(batch=None if batch == 1 else batch, resolution=_one_size(size))


def _rebuildable(graph: Graph, seed: int) -> Graph:
    """Return the variant of a Model that is built from it as the same bytes; otherwise the graph itself."""
    variant, simplified = getattr(graph, "variant", None), getattr(graph, "difference", None) is not None
    if variant is None or not simplified:
        return graph
    from mnbench.model.build import build_model  # noqa: PLC0415  variants need no onnx

    return variant if build_model(variant, seed=seed).sha256 == cast("Model", graph).sha256 else graph


def _split_options(options: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the options that are not at their default: those of every family, and the others."""
    changed = {key: value for key, value in options.items() if value != DEFAULTS.get(key)}
    common = {key: changed.pop(key) for key in COMMON_OPTIONS if key in changed}
    return common, changed


def _one_size(resolution: Size | None) -> tuple[int, int] | None:
    """Return (height, width)."""
    return next(iter(_sizes(resolution)), None)


def _as_text(value: InputValue) -> Any:
    """Return a number or a path as it is typed on the command line, and an array as it is."""
    return str(value) if isinstance(value, int | float | Path) else value


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

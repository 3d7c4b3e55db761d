"""One module a family; they are found by being here. Files, names and the grid of options become variants."""

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from functools import cache
from importlib import import_module
from inspect import getmembers, isclass
from itertools import product
from pathlib import Path
from pkgutil import iter_modules
from typing import Any, Union, cast

from mnbench.errors import BuildError, GraphFileError
from mnbench.network.architecture import Architecture, Option, OptionValue
from mnbench.network.model_file import read_model_file
from mnbench.network.toml_struct import read_toml
from mnbench.network.variant import (
    VARIANT_NAME,
    InputOptions,
    ModelSource,
    OnnxFile,
    Precision,
    Variant,
    resolution_at_rho,
)
from mnbench.workspace import CURRENT_FOLDER, check_name, find_table, is_built_in, table_path, table_paths

NAME_HINT = "a variant's name is like v1-a0.5-r160, and a file's ends with .onnx"


@cache
def family_classes() -> dict[str, type[Architecture]]:
    """Return the family of every module here, by the `family` key of its files: each Architecture with a `tag`."""
    classes: dict[str, type[Architecture]] = {}
    for info in iter_modules(__path__):
        module = import_module(f"{__name__}.{info.name}")
        for name, member in getmembers(module, isclass):
            if issubclass(member, Architecture) and member.__module__ == module.__name__:
                tag = str(member.__struct_config__.tag)
                # Without a tag of its own, msgspec gives a class its name.
                classes |= {tag: member} if tag != name else {}
    return classes


def family_options() -> dict[str, Option]:
    return {name: option for family in family_classes().values() for name, option in family.options.items()}


def read_architecture(path: Path) -> Architecture:
    """Read and check one graph file."""
    kinds = cast("type[Any]", Union[tuple(family_classes().values())])  # noqa: UP007  of as many as there are
    architecture = cast("Architecture", read_toml(path, kinds, GraphFileError))
    architecture.check(path)
    return architecture


def architecture(name: str, root: Path = CURRENT_FOLDER) -> Architecture:
    """Return the architecture of that name, short name or path.

    Raises:
        GraphFileError: there is none, or its file is wrong.
    """
    known = table_paths("graphs", root)
    if name not in known and not name.endswith(".toml"):
        tables = architectures(root)
        names = [table.name for table in tables if table.short == name and table.name in known]
        name = min(names, key=lambda name: not is_built_in(known[name], "graphs"), default=name)
    path = graph_path(name, root) or find_table(name, "graphs", GraphFileError, root)
    table = read_architecture(path)
    check_name(table.name, path, GraphFileError)
    return table


def architectures(root: Path = CURRENT_FOLDER) -> list[Architecture]:
    """Return all architectures; files of graphs/ that name an `.onnx` model are left out."""
    paths = table_paths("graphs", root).values()
    return [read_architecture(path) for path in paths if not read_model_file(path)]


def graph_path(name: str, root: Path = CURRENT_FOLDER) -> Path | None:
    """Return the file of a graph, also one of studies, which no list shows and no run measures by default."""
    return table_path(name, "graphs", root) or table_path(name, "graphs/study_networks", root)


def find_model(name: str, root: Path = CURRENT_FOLDER) -> OnnxFile | None:
    """Return the `.onnx` file of that path, or the one that a file of graphs/ names; None for a graph.

    Raises:
        GraphFileError: the file of graphs/ is wrong.
    """
    if name.lower().endswith(".onnx"):
        return OnnxFile.parse(name)
    path = Path(name) if name.endswith(".toml") else table_path(name, "graphs", root)
    return read_model_file(path) if path else None


def parse_variant(name: str, root: Path = CURRENT_FOLDER) -> Variant:
    """Return the variant of that name: `v1-a0.5-r160`.

    Raises:
        BuildError: it is not a variant's name, or the variant cannot be built.
        GraphFileError: its graph file is wrong, or there is none.
    """
    match = VARIANT_NAME.fullmatch(name)
    if not match:
        raise BuildError(f"{name!r} is not a variant's name", hint=NAME_HINT)
    try:
        alpha, height = float(match["alpha"]), int(match["height"])
    except ValueError as failure:
        raise BuildError(f"{name!r} has no number after -a", hint=NAME_HINT) from failure
    table, words = _split_graph(match["own"], root)
    options, unknown = parse_options(table, words)
    size_options, unknown_size = parse_options(table, match["tail"].split("-")[1:], after_size=True)
    if unknown or unknown_size:
        raise BuildError(f"{name!r} is not a variant's name", hint=NAME_HINT)
    return Variant(
        architecture=table,
        alpha=alpha,
        resolution=(height, int(match["width"] or height)),
        batch=None if match["batch"] == "dynamic" else int(match["batch"] or 1),
        classes=None if match["classes"] is None else int(match["classes"]),
        options=options | size_options,
        padding="same" if match["same"] else "torch",
        precision=cast("Precision", match["precision"] or "fp32"),
    )


def is_variant_name(name: str, root: Path = CURRENT_FOLDER) -> bool:
    """Return whether a name is that of a variant, and not of a graph or a file."""
    is_file = name.lower().endswith((".toml", ".onnx"))
    return not is_file and VARIANT_NAME.fullmatch(name) is not None and graph_path(name, root) is None


def replace_options(variant: Variant, options: Mapping[str, Any], *, fixed: Collection[str]) -> Variant:
    """Return the variant with other `options`: batch, classes, padding or precision.

    Raises:
        BuildError: `fixed` names options that the variant's name settles.
    """
    if fixed:
        raise BuildError(
            f"{variant.name} is one variant: {', '.join(fixed)} cannot be set",
            hint=f"name the graph: {variant.architecture.name}",
        )
    return replace(variant, **options)


def _split_graph(text: str, root: Path) -> tuple[Architecture, list[str]]:
    """Return the graph that a text begins with, the longest of that kind, and the words behind it."""
    words = text.split("-")
    for count in range(len(words), 0, -1):
        graph = "-".join(words[:count])
        if graph_path(graph, root):
            return architecture(graph, root), words[count:]
    return architecture(text, root), []


def parse_options(
    table: Architecture, words: Sequence[str], *, after_size: bool = False
) -> tuple[dict[str, OptionValue], Sequence[str]]:
    """Return the options that the words spell, and the words that spell none."""
    options: dict[str, OptionValue] = {}
    for name, option in table.options.items():
        value = option.parse(words[0]) if words and option.after_size == after_size else None
        if value is not None:
            options[name], words = value, words[1:]
    return options, words


def select_variants(
    graphs: Sequence[str],
    *,
    alphas: Sequence[float] = (),
    resolutions: Sequence[tuple[int, int]] = (),
    rhos: Sequence[float] = (),
    published: bool = False,
    options: Mapping[str, Sequence[OptionValue]] | None = None,
    input_options: Sequence[InputOptions] = (InputOptions(),),
    root: Path = CURRENT_FOLDER,
    **common: Any,
) -> list[ModelSource]:
    """Return every graph at every alpha, resolution and value of its options; every model with all `input_options`.

    A model is an `.onnx` file, or a file of graphs/ that names one. Without `resolutions`, `rhos` give them as shares
    of the table's own; without both it is the table's own. With `published`, return the variants of each graph for
    which a source prints an accuracy. A variant's name is that variant. `common` are the batch, classes, padding and
    precision that all variants get, where they are given.

    Raises:
        GraphFileError: a graph is unknown.
        BuildError: an alpha, a resolution or an option is impossible, or fixed by a variant's name; or a variant is
            selected twice.
    """
    from mnbench.families.published_accuracy import published_variants  # noqa: PLC0415  it imports this module

    selected: list[ModelSource] = []
    for name in graphs:
        if file := find_model(name, root):
            selected += [replace(file, input_options=inputs) for inputs in input_options]
            continue
        if is_variant_name(name, root):
            grid = {"alpha": alphas, "resolution": resolutions, "rho": rhos, "published": published, **(options or {})}
            fixed = [option for option, values in grid.items() if values]
            selected.append(replace_options(parse_variant(name, root), common, fixed=fixed))
            continue
        table = architecture(name, root)
        if published:
            selected += published_variants(table, **common)
            continue
        sizes = [resolution_at_rho(table, rho) for rho in rhos] or resolutions or [table.resolution]
        names = {name: values for name, values in (options or {}).items() if values}
        choices = [dict(zip(names, values, strict=True)) for values in product(*names.values())]
        for alpha, size, choice in product(alphas or [1.0], sizes, choices):
            selected.append(Variant(architecture=table, alpha=alpha, resolution=size, options=choice, **common))
    for row, count in Counter(source.row for source in selected).items():
        if count > 1:
            raise BuildError(f"{row.name} is selected twice", hint="name each variant and each file once")
    return selected

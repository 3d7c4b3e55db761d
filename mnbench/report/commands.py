"""The commands that measure again what a report shows."""

import shlex
from collections.abc import Iterator, Sequence
from pathlib import PurePosixPath

from mnbench.comparison.user_models import recorded_inputs
from mnbench.network.variant import format_alpha, format_resolution
from mnbench.results.record import Record


def rerun_commands(records: Sequence[Record]) -> list[str]:
    """Return as few `mnbench run` commands as measure all of these rows, and no others."""
    alphas_by_size: dict[tuple[str, str], dict[str, list[str]]] = {}
    for record in records:
        graph = _spelled_name(record.architecture) if record.architecture else _spelled_file(record)
        alpha = size = ""
        if record.architecture and record.alpha is not None and record.resolution:
            alpha, size = format_alpha(record.alpha), format_resolution(record.resolution)
        alphas_by_size.setdefault((graph, _options(record)), {}).setdefault(size, []).append(alpha)
    graphs: dict[tuple[str, str, str], list[str]] = {}
    for (graph, options), sizes in alphas_by_size.items():
        sizes_by_alphas: dict[str, list[str]] = {}
        for size, alphas in sizes.items():
            sizes_by_alphas.setdefault(",".join(dict.fromkeys(alphas)), []).append(size)
        for alphas, same_alphas in sizes_by_alphas.items():
            graphs.setdefault((alphas, ",".join(same_alphas), options), []).append(graph)
    commands: list[str] = []
    for (alphas, sizes, options), names in graphs.items():
        words = [*names, alphas and f"--alpha {alphas}", sizes and f"--res {sizes}", options]
        commands.append(" ".join(["mnbench run", *filter(None, words)]))
    return commands


def _spelled_file(record: Record) -> str:
    """Return a user's file as it is typed, with its name if that is not the file's."""
    name = record.variant.partition("[")[0]
    file = PurePosixPath(record.file or f"{name}.onnx")
    return _spelled_name(str(file) if name in (file.stem, file.name) else f"{name}={file}")


def _spelled_name(name: str) -> str:
    """Return a name as a word that no shell reads as more, and mnbench as no option."""
    return shlex.quote(f"./{name}" if name.startswith("-") else name)


def _option(name: str, value: object) -> str:
    separate = not str(value).startswith("-")
    return shlex.join([f"--{name}", str(value)] if separate else [f"--{name}={value}"])


def _options(record: Record) -> str:
    """Return the options of a record beside its α and resolution, without those that are defaults."""
    words = [_option(name, value) for name, value in record.options.items()]
    words += [_option("batch", record.batch)] * (record.batch != 1)
    words += [_option("classes", record.classes)] * (record.classes is not None)
    words += [_option("padding", record.padding)] * (record.padding != "torch")
    words += [_option("precision", record.precision)] * (record.precision != "fp32")
    words += ["--no-simplify"] * (not record.simplified) + ["--keep-bn"] * (not record.fold_batch_norm)
    setting = [_option("device", record.device), _option("threads", record.threads)]
    return " ".join([*words, *setting] if record.architecture else [*_spelled_inputs(record), *setting])


def _spelled_inputs(record: Record) -> Iterator[str]:
    """Yield the sizes and values of a user's model, if it has any that its file does not have."""
    input_options = recorded_inputs(record)
    if _spelled_file(record) == shlex.quote(record.file or "") and "[" not in record.variant:
        return
    shapes = {name: ",".join(map(str, shape)) for name, shape in input_options.shapes.items() if shape}
    for option, entries in (("shape", shapes), ("input", input_options.values)):
        for name, value in entries.items():
            yield _option(option, f"{name}={value}")

"""The commands that measure again what a report shows."""

from collections.abc import Sequence
from typing import NamedTuple

from mnbench.network.variant import format_alpha, format_resolution
from mnbench.results.record import Record


class _Options(NamedTuple):
    """What one command measures in one way."""

    device: str
    threads: int
    own: str
    remainder: str


def rerun_commands(records: Sequence[Record]) -> list[str]:
    """As few `mnbench run` as measure every one of these rows, and no other."""
    of_graph: dict[tuple[_Options, str], dict[str, list[str]]] = {}
    for record in records:
        options, alpha, size = _told(record)
        graph = record.architecture or f"{record.variant}.onnx"
        of_graph.setdefault((options, graph), {}).setdefault(size, []).append(alpha)
    together: dict[tuple[_Options, tuple[str, ...], tuple[str, ...]], list[str]] = {}
    for (options, graph), sizes in of_graph.items():
        of_alphas: dict[tuple[str, ...], list[str]] = {}
        for size, alphas in sizes.items():
            of_alphas.setdefault(tuple(dict.fromkeys(alphas)), []).append(size)
        for alphas, same in of_alphas.items():
            together.setdefault((options, alphas, tuple(same)), []).append(graph)
    return [_command(*key, graphs) for key, graphs in together.items()]


def _told(record: Record) -> tuple[_Options, str, str]:
    """Return the options of a variant, its α and its resolution, as the command line takes them."""
    if record.architecture is None or record.alpha is None or record.resolution is None:
        return _Options(record.device, record.threads, "", ""), "", ""
    words = [
        "" if record.batch == 1 else f"--batch {record.batch}",
        "" if record.classes is None else f"--classes {record.classes}",
        "" if record.padding == "torch" else f"--padding {record.padding}",
        "" if record.precision == "fp32" else f"--precision {record.precision}",
        "" if record.simplified else "--no-simplify",
        "" if record.fold_batch_norm else "--keep-bn",
    ]
    chosen = " ".join(f"--{name} {value}" for name, value in record.options.items())
    options = _Options(record.device, record.threads, chosen, " ".join(word for word in words if word))
    return options, format_alpha(record.alpha), format_resolution(record.resolution)


def _command(options: _Options, alphas: Sequence[str], sizes: Sequence[str], graphs: Sequence[str]) -> str:
    parts = ["mnbench run", *graphs]
    parts += [f"--alpha {','.join(alphas)}"] if any(alphas) else []
    parts += [f"--res {','.join(sizes)}"] if any(sizes) else []
    parts += [options.own, options.remainder, f"--device {options.device}", f"--threads {options.threads}"]
    return " ".join(part for part in parts if part)

"""What other programs take in: a judgement in the formats of CI services, each by its published definition.

A module a format. Each gives the text of one file, but for `series`, which is a folder that grows.
"""

from collections.abc import Callable, Sequence
from pathlib import Path

from mnbench import atomic_files
from mnbench.comparison.decide import Comparison
from mnbench.comparison.exports import annotations, github_summary, junit, machine, otava, services

TEXT_EXPORTS: dict[str, Callable[[Comparison], str]] = {
    "markdown": github_summary.to_github_summary,
    "annotations": annotations.to_annotations,
    "junit": junit.to_junit,
    "json": machine.to_json,
    "bencher": lambda judgement: services.to_bencher(services.comparison_to_metrics(judgement)),
    "benchmark-action": lambda judgement: services.to_benchmark_action(services.comparison_to_metrics(judgement)),
}


def write_exports(judgement: Comparison, wanted: Sequence[tuple[str, Path]]) -> None:
    """Write every report that is wanted.

    Raises:
        FileError: no space, no permission.
        ResultsError: a series that is to go on cannot be read.
    """
    for name, path in wanted:
        if name == "series":
            otava.extend_series(path, otava.comparison_to_series(judgement))
        else:
            atomic_files.write_atomically(path, TEXT_EXPORTS[name](judgement).encode(), durable=False)

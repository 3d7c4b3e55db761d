"""What other programs take in: a judgement in the formats of CI services, each by its published definition.

A module a format. Each gives the text of one file, but for `series`, which is a folder that grows.
"""

from collections.abc import Callable, Sequence
from pathlib import Path

from mnbench import atomic_files
from mnbench.comparison.decide import Judgement
from mnbench.comparison.exports import annotations, github_summary, junit, machine, otava, services

TEXTS: dict[str, Callable[[Judgement], str]] = {
    "markdown": github_summary.markdown,
    "annotations": annotations.annotations,
    "junit": junit.junit,
    "json": machine.json_text,
    "bencher": lambda judgement: services.bencher(services.of_judgement(judgement)),
    "benchmark-action": lambda judgement: services.benchmark_action(services.of_judgement(judgement)),
}


def write(judgement: Judgement, wanted: Sequence[tuple[str, Path]]) -> None:
    """Write every report that is wanted.

    Raises:
        FileError: no space, no permission.
        RecordError: a series that is to go on cannot be read.
    """
    for name, path in wanted:
        if name == "series":
            otava.extend(path, otava.of_judgement(judgement))
        else:
            atomic_files.write(path, TEXTS[name](judgement).encode(), durable=False)

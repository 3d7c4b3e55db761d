"""What other programs take in: a judgement in the formats of CI services, each by its published definition.

A module a format. Each gives the text of one file, but for `series`, which is a folder that grows.
"""

from collections.abc import Callable, Sequence
from pathlib import Path

from mnbench import files
from mnbench.gate.judge import Judgement
from mnbench.show.reports import annotations, junit, machine, series, services, summary

TEXTS: dict[str, Callable[[Judgement], str]] = {
    "markdown": summary.markdown,
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
            series.extend(path, series.of_judgement(judgement))
        else:
            files.write(path, TEXTS[name](judgement).encode(), durable=False)

"""`mnbench gate`."""

import os
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from mnbench.cli.commands.compare import decision_options, read_settings, report_comparison, run_comparison
from mnbench.cli.options import format_option
from mnbench.errors import MnbenchError, ResultsError
from mnbench.targets.device import read_device

if TYPE_CHECKING:
    from mnbench.comparison.baseline import RequestBuilder
    from mnbench.results.record import Record


@click.command(
    epilog="\b\nExample:\n  mnbench gate results/cpu.jsonl\n  mnbench gate results/cpu.jsonl --base-ref main"
    "\n  mnbench gate results/cpu.jsonl --report junit=gate.xml --report markdown=gate.md"
)
@click.argument("table", type=click.Path(path_type=Path))
@click.argument("models", nargs=-1, metavar="[MODEL]...", type=click.Path(path_type=Path))
@click.option("--base-ref", metavar="REV", help="Take table, graphs and tool of the base from another git revision.")
@click.option("--all", "every", is_flag=True, help="Measure also rows in which nothing has changed.")
@decision_options
@format_option()
def command(
    *,
    table: Path,
    models: tuple[Path, ...],
    base_ref: str | None,
    every: bool,
    results: Path,
    reports: Sequence[tuple[str, Path]],
    output: str,
    **judging: Any,
) -> None:
    """Tell whether a table has become slower.

    TABLE is a file that `mnbench run` has written: results/cpu.jsonl. What each row was measured with is made again
    and measured beside what is there now; its number is not used. Rows in which nothing has changed cost no time.
    MODEL names .onnx files of your own that have rows. Exit code 0: no row is slower; 3: some are; 4: nobody can tell.
    """
    from mnbench.cli.measuring import announce_environment
    from mnbench.cli.progress_bar import show_progress
    from mnbench.comparison.baseline import RequestBuilder
    from mnbench.hosts.host_facts import runtime_version
    from mnbench.network.variant import OnnxFile
    from mnbench.targets.environments import prepare_device

    records = () if base_ref else _records(table)
    profile = read_device(judging["device"] or table.stem)
    settings = read_settings(**judging)
    own = {OnnxFile(path=path).name: path for path in models}
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="mnbench-")))
        version = "" if base_ref else runtime_version(prepare_device(profile, on_create=announce_environment))
        baseline = RequestBuilder(
            table.parent, folder, device=profile, version=version, own=own, every=every or settings.self_check
        )
        if base_ref:
            _from_revision(stack, baseline, base_ref, table, folder)
        else:
            with show_progress("building", len(records)) as step:
                for record in records:
                    baseline.add(record)
                    step()
        judgement = run_comparison(
            baseline.requests,
            settings,
            device=profile,
            results=results,
            labels=(f"{table} at {base_ref}" if base_ref else str(table), "now"),
            known_findings=baseline.findings,
            raise_errors=False,
        )
    report_comparison(judgement, results, output, reports)


def _from_revision(stack: ExitStack, baseline: "RequestBuilder", ref: str, table: Path, folder: Path) -> None:
    """The rows of the table as it was there, each with the model that the tool of then makes."""
    from mnbench.cli.progress_bar import show_progress
    from mnbench.comparison.baseline import build_at_revision
    from mnbench.results.git_history import checkout_revision, path_in_repository

    tree = stack.enter_context(checkout_revision(ref)) / path_in_repository()
    records = _records(tree / os.path.relpath(table))
    with show_progress("building", len(records)) as step:
        for record in records:
            try:
                base = build_at_revision(tree, record, folder)
            except MnbenchError as failure:
                baseline.reject(record, failure)
            else:
                baseline.add(record, base)
            step()


def _records(table: Path) -> Sequence["Record"]:
    """The newest record with a latency of each variant and number of threads, whatever runtime and CPU it had.

    Raises:
        ResultsError: there is none, or the table is broken.
    """
    from mnbench.results.latency_table import newest_records
    from mnbench.results.store import ResultsFile

    if table.suffix != ".jsonl":
        raise ResultsError(f"{table}: is no table of results", hint="name one: mnbench gate results/cpu.jsonl")
    if not table.exists():
        raise ResultsError(f"{table}: there is no such table", hint="measure one: mnbench run v1")
    known = ResultsFile(table.parent, table.stem).read_records()
    records = newest_records(
        {(record.variant, record.threads): record for record in known if record.latency_ns}.values()
    )
    if not records and any(record.emulated for record in known):
        raise ResultsError(f"{table}: all of it is emulated, so times tell nothing", hint="measure on a real machine")
    if not records:
        raise ResultsError(f"{table}: holds no latencies", hint="measure some: mnbench run v1")
    return records

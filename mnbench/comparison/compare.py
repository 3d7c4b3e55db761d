"""Compare baselines with candidates: what `mnbench compare` and `mnbench gate` do."""

import os
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path

from mnbench.bench.devices import ready_device
from mnbench.comparison.baseline import RequestBuilder, holds_tool
from mnbench.comparison.cases import CaseBuilder
from mnbench.comparison.comparison import Comparison
from mnbench.comparison.decide import Finding
from mnbench.comparison.procedure import ComparisonSettings, Procedure
from mnbench.comparison.sides import ComparisonRequest
from mnbench.comparison.storage import PairedTrialLog, unfinished_folders
from mnbench.comparison.user_models import match_user_models
from mnbench.errors import ResultsError
from mnbench.hosts.host_facts import runtime_version
from mnbench.network.row import row_labels
from mnbench.network.variant import OnnxFile
from mnbench.progress import OnProgress, StageProgress
from mnbench.results.git_history import checkout_revision, path_in_repository, resolve_commit
from mnbench.results.host_selection import ALL_HOSTS, select_hosts
from mnbench.results.latency_table import newest_records
from mnbench.results.record import Record, SessionOptions
from mnbench.results.store import ResultsFile
from mnbench.targets import demands
from mnbench.targets.device import Device, read_device, require_trust_in
from mnbench.temporary import temporary_folder
from mnbench.trust import Demand, require_trust


def compare_requests(
    requests: Sequence[ComparisonRequest],
    settings: ComparisonSettings,
    *,
    device: Device,
    results: Path | None,
    labels: tuple[str, str],
    known_findings: Sequence[Finding] = (),
    raise_errors: bool | None = None,
    on_progress: OnProgress | None = None,
) -> Comparison:
    """Build the models, measure them in pairs and decide every row at one error rate.

    `labels` are the names of baseline and candidate. The pairs are stored in `results`, unless the comparison is
    interrupted. A model that cannot be built is an error if it belongs to the only row, or if `raise_errors` says so,
    and otherwise a finding.

    Raises:
        RuntimeUnavailable, UnreachableError: nothing can be measured on this device.
        FileError: the pairs cannot be stored.
    """
    device = ready_device(device, on_progress, real_for="and are not compared")
    with (
        unfinished_folders(results, "comparison") as new_folder,
        temporary_folder() as models,
    ):
        builder = CaseBuilder(device, Path(models), settings)
        progress = StageProgress(on_progress, "build", len(requests))
        for request in requests:
            builder.add(request, raise_errors=len(requests) == 1 if raise_errors is None else raise_errors)
            progress.advance()
        folder = new_folder() if builder.cases else None
        progress = StageProgress(on_progress, "compare", settings.rules.processes)
        procedure = Procedure(builder.cases, settings, PairedTrialLog(folder), on_progress=progress.advance)
        return procedure.run(*labels, known_findings=[*builder.findings, *known_findings])


def gate_table(
    table: Path,
    settings: ComparisonSettings,
    *,
    device: str | None,
    user_models: Sequence[OnnxFile],
    host: str | None = ALL_HOSTS,
    base_ref: str | None = None,
    measure_unchanged: bool = False,
    results: Path | None,
    on_progress: OnProgress | None = None,
) -> Comparison:
    """Compare what each row of a latency table was measured with against what it is now.

    `base_ref` takes the table, the graphs, the files and the tool of the baseline from another git revision.
    `user_models` replace the files that rows were measured with. Default device: that of the table's name. Rows of
    every `host` are compared by default: all figures are measured here and now.

    Raises:
        TrustError: the table, its device file or the revision demands what the user has not trusted.
        ResultsError: the table has no latencies, or none of that host; the revision has no such table; or a file is
            for no row.
        RuntimeUnavailable, UnreachableError: nothing can be measured on this device.
    """
    with ExitStack() as stack:
        tree = stack.enter_context(checkout_revision(base_ref)) / path_in_repository() if base_ref else None
        table_then = tree / os.path.relpath(table) if tree else table
        records = read_gated_records(table_then, host)
        target = require_trust_in(read_device(device or table.stem))
        folder = stack.enter_context(temporary_folder())
        version = None if tree else runtime_version(ready_device(target, on_progress))
        require_trust([table_demand(table, records, target, version=version), *_tool_demands(tree, base_ref, records)])
        builder = RequestBuilder(
            results=table_then.parent,
            folder=folder,
            device=target,
            version=version or "",
            tree=tree,
            user_models=match_user_models(records, user_models),
            labels=row_labels(record.row for record in records),
            measure_unchanged=measure_unchanged or settings.self_check,
        )
        progress = StageProgress(on_progress, "build", len(records))
        for record in records:
            builder.add(record)
            progress.advance()
        return compare_requests(
            builder.requests,
            settings,
            device=target,
            results=results,
            labels=(f"{table} at {base_ref}" if base_ref else str(table), "now"),
            known_findings=builder.findings,
            raise_errors=False,
            on_progress=on_progress,
        )


def table_demand(table: Path, records: Sequence[Record], device: Device, *, version: str | None) -> Demand:
    """Return what a table makes `mnbench gate` install, set and load, to measure its rows as they were measured.

    Only rows of the device's runtime and provider are measured. Rows of another `version` of the runtime install it,
    unless it is None. What the device file sets as well is not the table's demand.
    """
    actions: list[str] = []
    for record in records:
        if (record.runtime.name, record.provider) != (device.runtime, device.provider):
            continue
        if version is not None and record.runtime.version not in ("", version):
            actions += demands.install_actions([f"{record.runtime.name}=={record.runtime.version}"])
        actions += demands.thread_actions([record.threads])
        session = record.session or SessionOptions()
        actions += demands.environment_actions(_difference(session.environment, device.environment))
        actions += demands.option_actions(_difference(session.options, device.options))
        actions += demands.option_actions(_difference(session.provider_options, device.provider_options))
    return Demand(file=table, actions=tuple(dict.fromkeys(actions)))


def _difference(options: Mapping[str, str], known: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in options.items() if known.get(name) != value}


def _tool_demands(tree: Path | None, base_ref: str | None, records: Sequence[Record]) -> list[Demand]:
    """Return that the revision's own mnbench builds the models of these rows, if it does."""
    if not (tree and base_ref and holds_tool(tree) and any(record.architecture for record in records)):
        return []
    action = f"runs the mnbench of revision {resolve_commit(base_ref)[:12]}"
    return [Demand(file=Path("mnbench"), actions=(action,), is_of_file=False)]


def read_gated_records(table: Path, host: str | None = ALL_HOSTS) -> Sequence[Record]:
    """Return the newest record with a latency of each row and number of threads, of any runtime, on these hosts.

    Raises:
        ResultsError: there is none, or the table cannot be read.
    """
    if table.suffix != ".jsonl":
        raise ResultsError(f"{table}: is not a results table", hint="name one: mnbench gate results/cpu.jsonl")
    if not table.exists():
        raise ResultsError(f"{table}: the table does not exist", hint="measure one: mnbench run v1")
    records = select_hosts(ResultsFile(table.parent, table.stem).read_records(), host).items
    measured = {(record.row, record.threads): record for record in records if record.latency_ns}
    newest = newest_records(measured.values())
    if not newest and any(record.emulated for record in records):
        raise ResultsError(
            f"{table}: all of it is emulated, so its latencies are meaningless", hint="measure on a real machine"
        )
    if not newest:
        raise ResultsError(f"{table}: holds no latencies", hint="measure some: mnbench run v1")
    return newest

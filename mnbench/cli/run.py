"""`mnbench run`."""

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from mnbench.cli.options import TableName, echo_json, format_option, sources, variant_options
from mnbench.errors import MnbenchError
from mnbench.network.variant import OnnxFile, Source
from mnbench.spec import locate

if TYPE_CHECKING:
    from mnbench.measure.plan import Cell, Plan
    from mnbench.records.record import Record
    from mnbench.records.store import Store

INTERRUPTED = 130
MAX_DURATION_S = 3600.0


def _no_nan(ctx: click.Context, parameter: click.Parameter, value: float) -> float:
    """Refuse what no range refuses."""
    if value != value:  # noqa: PLR0124  NaN alone differs from itself
        raise click.BadParameter("nan is no number of seconds", ctx=ctx, param=parameter)
    return value


@click.command(
    epilog="\b\nExample:\n  mnbench run v1 --alpha 1,0.75,0.5,0.25 --res 224,192,160,128\n  mnbench run model.onnx"
)
@variant_options
@click.option(
    "--device", default="cpu", show_default=True, type=TableName("devices", ".toml"), help="Where to measure."
)
@click.option(
    "--results", default="results", show_default=True, type=click.Path(path_type=Path), help="Folder of the results."
)
@click.option("--processes", default=6, show_default=True, type=click.IntRange(min=1), help="Fresh processes a cell.")
@click.option(
    "--duration",
    default=1.0,
    show_default=True,
    type=click.FloatRange(min=0, min_open=True, max=MAX_DURATION_S),
    callback=_no_nan,
    help="Seconds timed in each.",
)
@click.option("--seed", default=0, show_default=True, type=click.IntRange(min=0), help="Of weights, inputs and order.")
@click.option("--no-simplify", is_flag=True, help="Measure the plain graphs.")
@click.option("--keep-bn", is_flag=True, help="Keep batch normalization as nodes of its own.")
@click.option("--fresh", is_flag=True, help="Measure all again, instead of continuing an unfinished run.")
@format_option()
def command(
    *,
    device: str,
    results: Path,
    processes: int,
    duration: float,
    seed: int,
    no_simplify: bool,
    keep_bn: bool,
    fresh: bool,
    output: str,
    **selection: Any,
) -> None:
    """Measure latency and append it to the results.

    GRAPH is a name, a path to a .toml table, or an .onnx model, which is measured as it is. Without one, every graph
    is measured. Each cell is visited by several fresh processes, in random order. What is measured is kept at once:
    after Ctrl-C the same command continues.
    """
    from mnbench.measure.plan import Plan, Protocol
    from mnbench.records.store import Store

    selection["graphs"] = selection["graphs"] or tuple(locate.tables("graphs"))
    chosen, profile = sources(**selection), locate.device(device)
    if selection["batch"] is None:
        raise click.UsageError("a measurement needs a batch of fixed size: --batch dynamic is for build")
    with tempfile.TemporaryDirectory(prefix="mnbench-") as folder:
        cells = _cells(chosen, Path(folder), seed=seed, simplified=not no_simplify, keep_bn=keep_bn)
        protocol = Protocol(processes=processes, min_duration_s=duration, seed=seed)
        plan = Plan(cells=tuple(cells), device=profile, protocol=protocol)
        store = Store(results, profile.name)
        records = _measured(plan, store, fresh=fresh)
    _show(records, store, output)
    if any(record.error for record in records):
        raise MnbenchError(
            f"{sum(record.error is not None for record in records)} of {len(records)} cells could not be measured",
            hint="the notes below the table say why",
        )


def _cells(chosen: Sequence[Source], folder: Path, *, seed: int, simplified: bool, keep_bn: bool) -> list["Cell"]:
    from mnbench.measure.prepare import prepare
    from mnbench.model.make import make
    from mnbench.show.progress import progress

    form = "-plain" if not simplified else "-bn" if keep_bn else ""
    cells: list[Cell] = []
    with progress("building", len(chosen)) as step:
        for source in chosen:
            own = not isinstance(source, OnnxFile)
            made = make(source, seed=seed, simplified=simplified and own, keep_bn=keep_bn)
            cells.append(prepare(made, folder, variant=source.name + form))
            step()
    return cells


def _measured(plan: "Plan", store: "Store", *, fresh: bool) -> list["Record"]:
    from mnbench.records.collect import collect
    from mnbench.records.table import COLUMNS
    from mnbench.show.progress import progress

    run = store.open_run(plan, fresh=fresh)
    total = len(plan.cells) * plan.protocol.processes
    made = sum(run.has(cell, process) for cell, process in plan.visits())
    if made or run.recorded:
        click.echo(f"continuing run {run.id}: {made} of {total} visits are made (--fresh starts anew)", err=True)
    with progress("measuring", total) as step:

        def seen(_cell: "Cell", _process: int, record: "Record | None") -> None:
            step(f"{record.variant}: {COLUMNS['latency_ns'].text(record)} ms" if record else "")

        try:
            return collect(plan, store, run, seen=seen)
        except KeyboardInterrupt:
            interrupted = True
    assert interrupted
    made = sum(run.has(cell, process) for cell, process in plan.visits())
    click.echo(f"stopped: {made} of {total} visits are kept in {run.folder}; the same command continues", err=True)
    raise click.exceptions.Exit(INTERRUPTED)


def _show(records: Sequence["Record"], store: "Store", output: str) -> None:
    import msgspec

    from mnbench import files
    from mnbench.records.table import latency_table, latest
    from mnbench.show.render import echo, markdown

    if output == "json":
        echo_json({"records": msgspec.to_builtins(records)})
    else:
        echo(latency_table(records), output)
    files.write(store.path.with_suffix(".md"), markdown(latency_table(latest(store.records()))).encode())
    click.echo(f"kept in {store.path}", err=True)

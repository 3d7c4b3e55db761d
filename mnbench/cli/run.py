"""`mnbench run`."""

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import click
import msgspec

from mnbench.cli import INTERRUPTED
from mnbench.cli.options import (
    CommaSeparated,
    Duration,
    Share,
    TableName,
    core,
    echo_json,
    format_option,
    sources,
    threads,
    variant_options,
)
from mnbench.errors import MnbenchError
from mnbench.network.variant import OnnxFile, Precision, Source, named
from mnbench.spec import locate

if TYPE_CHECKING:
    from mnbench.measure.plan import Ceiling, Cell, Plan
    from mnbench.measure.profile import Profile
    from mnbench.records.record import Record
    from mnbench.records.store import Run, Store
    from mnbench.spec.device import Device

MAX_DURATION_S = 3600.0
ANCHOR = "v1-a0.25-r64"
ARGUMENTS = "mnbench.run.arguments"


class Remembering(click.Command):
    """Keeps the arguments as they were given, for the run to be resumed with."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """As ever."""
        ctx.meta[ARGUMENTS] = [argument for argument in args if argument != "--fresh"]
        return super().parse_args(ctx, args)


def _no_nan(ctx: click.Context, parameter: click.Parameter, value: float) -> float:
    """Refuse what no range refuses."""
    if value != value:  # noqa: PLR0124  NaN alone differs from itself
        raise click.BadParameter("nan is no number of seconds", ctx=ctx, param=parameter)
    return value


@click.command(
    cls=Remembering,
    epilog="\b\nExample:\n  mnbench run v1 --alpha 1,0.75,0.5,0.25 --res 224,192,160,128\n  mnbench run model.onnx",
)
@variant_options
@click.option(
    "--device", default="cpu", show_default=True, type=TableName("devices", ".toml"), help="Where to measure."
)
@click.option(
    "--results", default="results", show_default=True, type=click.Path(path_type=Path), help="Folder of the results."
)
@click.option(
    "--processes", default=6, show_default=True, type=click.IntRange(min=1), help="Fresh processes a cell, at least."
)
@click.option(
    "--duration",
    default=1.5,
    show_default=True,
    type=click.FloatRange(min=0, min_open=True, max=MAX_DURATION_S),
    callback=_no_nan,
    help="Seconds timed in each.",
)
@click.option(
    "--precision-target",
    default="1%",
    show_default=True,
    type=Share(),
    help="Half the width of its interval that a cell is visited for, as a share of the median.",
)
@click.option(
    "--budget",
    default="20s",
    show_default=True,
    type=Duration(),
    help="What a cell may cost in all, precise or not: 90s, 2m.",
)
@click.option(
    "--threads",
    type=CommaSeparated(threads, "a number or `all`"),
    help="Threads of one inference: 1,2,all. Default: the device's own.",
)
@click.option(
    "--cores", type=CommaSeparated(core, "the number of a core"), help="Cores to be bound to: 0,1. Default: any."
)
@click.option(
    "--anchor", is_flag=True, help=f"Measure also {ANCHOR}, which says what the hour is like (table --history)."
)
@click.option("--profile", is_flag=True, help="Show also, by layer type, where the time of each cell goes.")
@click.option(
    "--roofline/--no-roofline",
    default=True,
    envvar="MNBENCH_ROOFLINE",
    help="Measure the device's peak and bandwidth first, once in 30 days. Default: do.",
)
@click.option("--allow-fallback", is_flag=True, help="Measure also what does not all run on the device's own provider.")
@click.option("--seed", default=0, show_default=True, type=click.IntRange(min=0), help="Of weights, inputs and order.")
@click.option("--no-simplify", is_flag=True, help="Measure the plain graphs.")
@click.option("--keep-bn", is_flag=True, help="Keep batch normalization as nodes of its own.")
@click.option("--fresh", is_flag=True, help="Measure all again, instead of continuing an unfinished run.")
@click.option("--resume", is_flag=True, help="Continue the last unfinished run in --results, whatever it was.")
@format_option()
@click.pass_context
def command(
    ctx: click.Context,
    *,
    device: str,
    results: Path,
    processes: int,
    duration: float,
    precision_target: float,
    budget: float,
    threads: Sequence[int | Literal["all"]] | None,
    cores: Sequence[int] | None,
    anchor: bool,
    profile: bool,
    roofline: bool,
    allow_fallback: bool,
    seed: int,
    no_simplify: bool,
    keep_bn: bool,
    fresh: bool,
    resume: bool,
    output: str,
    **selection: Any,
) -> None:
    """Measure latency and append it to the results.

    GRAPH is a name, a path to a .toml table, or an .onnx model, which is measured as it is. Without one, every graph
    is measured. Each cell is visited by several fresh processes, in random order, until its interval is as narrow as
    --precision-target or --budget is spent. What is measured is kept at once: after Ctrl-C the same command continues,
    and so does --resume.
    """
    from mnbench.measure.drift import drift_of
    from mnbench.measure.plan import Plan, Protocol
    from mnbench.records.store import Store, unfinished

    if resume:
        with command.make_context(ctx.info_name, unfinished(results), parent=ctx.parent) as begun:
            command.invoke(begun)
        return
    selection["graphs"] = selection["graphs"] or tuple(locate.tables("graphs"))
    chosen, on = sources(**selection), locate.device(device)
    if anchor and ANCHOR not in {source.name for source in chosen}:
        chosen.append(named(ANCHOR))
    if selection["batch"] is None:
        raise click.UsageError("a measurement needs a batch of fixed size: --batch dynamic is for build")
    protocol = Protocol(
        processes=processes, min_duration_s=duration, precision=precision_target, budget_s=budget, seed=seed
    )
    store = Store(results, on.name)
    records: list[Record] = []
    profiles: list[Profile] = []
    runs: list[Run] = []
    with tempfile.TemporaryDirectory(prefix="mnbench-") as folder:
        cells = tuple(_cells(chosen, Path(folder), seed=seed, simplified=not no_simplify, keep_bn=keep_bn))
        for count in dict.fromkeys(threads or [on.threads]):
            setting = msgspec.structs.replace(on, threads=count, cores=tuple(cores or on.cores))
            ceilings = _ceilings(cells, setting, fresh=fresh) if roofline else {}
            plan = Plan(
                cells=cells,
                device=setting,
                protocol=protocol,
                allow_fallback=allow_fallback,
                ceilings=ceilings,
                drift=drift_of(setting),
            )
            runs.append(store.open_run(plan, fresh=fresh, arguments=ctx.meta[ARGUMENTS]))
            found = _measured(plan, store, runs[-1])
            records += found
            profiles += _profiled(plan, runs[-1], found) if profile else []
    # Not before: a command that is continued takes up each of its runs, the complete ones too.
    for run in runs:
        run.finish()
    _show(records, profiles if profile else None, store, output)
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
            cells.append(prepare(made, folder, variant=source.name + form, seed=seed))
            step()
    return cells


def _ceilings(cells: Sequence["Cell"], device: "Device", *, fresh: bool) -> dict[str, "Ceiling"]:
    """What bounds each cell from below, by variant; nothing where the device fails its probes."""
    from mnbench.errors import MeasureError
    from mnbench.measure.roofline import quantities, roofline
    from mnbench.show.progress import progress

    precisions: list[Precision] = [cell.precision for cell in cells]
    try:
        with progress("peak and bandwidth", len(quantities(precisions))) as step:
            found = roofline(device, precisions, fresh=fresh, step=step)
    except MeasureError as failure:
        click.echo(f"no roofline: {failure.message}", err=True)
        return {}
    return {cell.variant: found.over(cell) for cell in cells}


def _measured(plan: "Plan", store: "Store", run: "Run") -> list["Record"]:
    """The records, each with its graph beside it, so that a later gate can make the model again."""
    from mnbench.gate.skeleton import keep
    from mnbench.records.collect import collect
    from mnbench.records.table import COLUMNS
    from mnbench.show.progress import progress

    if run.visits:
        click.echo(f"continuing run {run.id}: {run.visits} visits are made (--fresh starts anew)", err=True)
    least = plan.protocol.processes
    with progress("measuring", len(plan.cells) * least) as step:

        def seen(cell: "Cell", process: int, record: "Record | None") -> None:
            if record and record.latency_ns:
                keep(store.folder, cell.path, cell.sha256)
            line = f"{record.variant}: {COLUMNS['latency_ns'].text(record)}" if record else ""
            line += " ms" if record and record.latency_ns else ""
            step(line, more=least - process - 1 if record else int(process + 1 >= least))

        try:
            return collect(plan, store, run, seen=seen)
        except KeyboardInterrupt:
            interrupted = True
    assert interrupted
    click.echo(f"stopped: {run.visits} visits are kept in {run.folder}; --resume continues", err=True)
    raise click.exceptions.Exit(INTERRUPTED)


def _profiled(plan: "Plan", run: "Run", records: Sequence["Record"]) -> list["Profile"]:
    """A profile of each cell that has a latency, kept with the run."""
    from mnbench.errors import MeasureError
    from mnbench.measure.profile import profile
    from mnbench.records.profiles import keep
    from mnbench.show.progress import progress

    profiles: list[Profile] = []
    with progress("profiling", len(records)) as step:
        for cell, record in zip(plan.cells, records, strict=True):
            if record.latency_ns:
                try:
                    profiles.append(profile(plan, cell, latency_ns=record.latency_ns.median))
                    keep(run, profiles[-1])
                except MeasureError as failure:
                    click.echo(f"{cell.variant}: no profile: {failure.message}", err=True)
            step()
    return profiles


def _show(records: Sequence["Record"], profiles: list["Profile"] | None, store: "Store", output: str) -> None:
    import msgspec

    from mnbench import files
    from mnbench.records.table import latency_table, latest
    from mnbench.show.profiles import profile_payload, profile_table
    from mnbench.show.render import echo, markdown

    if output == "json":
        payload = {"records": msgspec.to_builtins(records)}
        echo_json(payload if profiles is None else payload | {"profiles": [profile_payload(one) for one in profiles]})
    else:
        echo(latency_table(records), output)
        for one in profiles or ():
            click.echo()
            echo(profile_table(one, "type"), output)
    files.write(store.path.with_suffix(".md"), markdown(latency_table(latest(store.records()))).encode())
    click.echo(f"kept in {store.path}", err=True)

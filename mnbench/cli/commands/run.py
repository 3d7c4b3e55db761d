"""`mnbench run`."""

import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import click
import msgspec

from mnbench.cli.options import format_option, select_sources, variant_options
from mnbench.cli.output import emit
from mnbench.cli.param_types import CommaSeparated, Duration, Percent, WorkspaceNames, parse_core, parse_threads
from mnbench.errors import MnbenchError
from mnbench.families import parse_variant
from mnbench.workspace import table_paths

if TYPE_CHECKING:
    from mnbench.results.layer_profile import LayerProfile
    from mnbench.results.record import Record
    from mnbench.results.store import ResultsFile
    from mnbench.targets.device import Device, Threads

MAX_DURATION_S = 3600.0
ANCHOR = "v1-a0.25-r64"
ARGUMENTS = "mnbench.run.arguments"


class ArgumentRecorder(click.Command):
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
    cls=ArgumentRecorder,
    epilog="\b\nExample:\n  mnbench run v1 --alpha 1,0.75,0.5,0.25 --res 224,192,160,128\n  mnbench run model.onnx",
)
@variant_options
@click.option(
    "--device",
    "names",
    default="cpu",
    show_default=True,
    type=WorkspaceNames("devices", ".toml"),
    help="Where to measure: cpu,openvino are measured in turn.",
)
@click.option(
    "--with",
    "packages",
    multiple=True,
    metavar="PACKAGE",
    help="Measure with this package, in an environment of its own: onnxruntime==1.26.0. Repeatable.",
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
    type=Percent(),
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
    type=CommaSeparated(parse_threads, "number", expected="a number or `all`"),
    help="Threads of one inference: 1,2,all. Default: the device's own.",
)
@click.option(
    "--cores",
    type=CommaSeparated(parse_core, "core", expected="the number of a core"),
    help="Cores to be bound to: 0,1. Default: any.",
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
    names: Sequence[str],
    packages: Sequence[str],
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
    from mnbench.bench.drift import load_drift
    from mnbench.bench.plan import Plan, SamplingConfig
    from mnbench.bench.schedule import DeviceRun
    from mnbench.cli import measuring
    from mnbench.results.store import ResultsFile, last_unfinished_arguments

    if resume:
        with command.make_context(ctx.info_name, last_unfinished_arguments(results), parent=ctx.parent) as begun:
            command.invoke(begun)
        return
    selection["graphs"] = selection["graphs"] or tuple(table_paths("graphs"))
    chosen, on = select_sources(**selection), measuring.read_devices(names, packages)
    if anchor and ANCHOR not in {source.name for source in chosen}:
        chosen.append(parse_variant(ANCHOR))
    if selection["batch"] is None:
        raise click.UsageError("a measurement needs a batch of fixed size: --batch dynamic is for build")
    protocol = SamplingConfig(
        processes=processes, min_duration_s=duration, precision=precision_target, budget_s=budget, seed=seed
    )
    if profile and any(item.is_fleet for item in on):
        raise click.UsageError("--profile: a fleet does not tell where the time goes; name a board that ssh reaches")
    on, lost = measuring.prepare_devices(on)
    with tempfile.TemporaryDirectory(prefix="mnbench-") as folder:
        cells = tuple(
            measuring.prepare_cases(chosen, Path(folder), seed=seed, simplified=not no_simplify, keep_bn=keep_bn)
            if on
            else ()
        )

        def task(device: "Device", count: "Threads | None") -> DeviceRun:
            setting = msgspec.structs.replace(
                device, threads=count or device.threads, cores=tuple(cores or device.cores)
            )
            real = not (setting.is_fleet or setting.emulated)
            plan = Plan(
                cases=cells,
                device=setting,
                sampling=protocol.for_emulator() if setting.emulated else protocol,
                allow_fallback=allow_fallback,
                roofline_bounds=measuring.measure_roofline_bounds(cells, setting, fresh=fresh)
                if roofline and real
                else {},
                drift=load_drift(setting) if real else None,
            )
            store = ResultsFile(results, device.name)
            return DeviceRun(
                plan=plan,
                results_file=store,
                folder=store.open_run(plan.id, fresh=fresh, arguments=ctx.meta[ARGUMENTS]),
            )

        outcome = measuring.measure_in_turn(on, list(dict.fromkeys(threads or [None])), task, with_profiles=profile)
    # Not before: a command that is continued takes up each of its runs, the complete ones too.
    for run in outcome.device_runs:
        run.folder.finish()
    if outcome.device_runs:
        stores = {run.results_file.path: run.results_file for run in outcome.device_runs}
        _show(outcome.records, outcome.profiles if profile else None, stores.values(), output)
    if lost or outcome.failures:
        measuring.raise_failures([*lost, *outcome.failures])
    failed = sum(record.error is not None for record in outcome.records)
    if failed:
        raise MnbenchError(
            f"{failed} of {len(outcome.records)} cells could not be measured", hint="the notes below the table say why"
        )


def _show(
    records: Sequence["Record"], profiles: list["LayerProfile"] | None, stores: Iterable["ResultsFile"], output: str
) -> None:
    from mnbench import atomic_files
    from mnbench.results.latency_table import latency_table, newest_records
    from mnbench.results.layer_profile_table import layer_profile_table, layer_profile_to_dict

    tables = [latency_table(records), *(layer_profile_table(profile, "type") for profile in profiles or ())]
    data: dict[str, Any] = {"records": records}
    if profiles is not None:
        data["profiles"] = [layer_profile_to_dict(profile) for profile in profiles]
    emit(tables, output, data)
    for store in stores:
        text = latency_table(newest_records(store.read_records())).to("markdown")
        atomic_files.write_atomically(store.path.with_suffix(".md"), text.encode())
        click.echo(f"kept in {store.path}", err=True)

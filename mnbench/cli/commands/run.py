"""Measure latency and append it to the results."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import click

from mnbench.cli.options import (
    format_option,
    parse_option,
    results_option,
    seed_option,
    select_sources,
    variant_options,
)
from mnbench.cli.output import emit
from mnbench.cli.param_types import CommaSeparated, Duration, Percent, WorkspaceNames, parse_core, parse_threads
from mnbench.cli.progress_bar import ProgressBar
from mnbench.errors import MnbenchError
from mnbench.families import parse_variant
from mnbench.network.variant import ANCHOR
from mnbench.workspace import table_paths

if TYPE_CHECKING:
    from mnbench.bench.benchmark import BenchmarkOutcome

MAX_DURATION_S = 3600.0
ARGUMENTS = "mnbench.run.arguments"


class ArgumentRecorder(click.Command):
    """A command that stores its arguments as they were typed, so that `--resume` can repeat them."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Store all arguments but `--fresh`, and parse."""
        ctx.meta[ARGUMENTS] = tuple(argument for argument in args if argument != "--fresh")
        return super().parse_args(ctx, args)


def _reject_nan(ctx: click.Context, parameter: click.Parameter, value: float) -> float:
    """Reject NaN, which passes every range check."""
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
    help="Devices to measure on: cpu,openvino share their rounds.",
)
@click.option(
    "--with",
    "packages",
    multiple=True,
    metavar="PACKAGE",
    help="Measure with this package, in an environment of its own: onnxruntime==1.26.0. Repeatable.",
)
@results_option
@click.option(
    "--processes",
    default=6,
    show_default=True,
    type=click.IntRange(min=1),
    help="Minimum number of processes per case.",
)
@click.option(
    "--duration",
    default=1.5,
    show_default=True,
    type=click.FloatRange(min=0, min_open=True, max=MAX_DURATION_S),
    callback=_reject_nan,
    help="Seconds to time in each process.",
)
@click.option(
    "--precision-target",
    default="1%",
    show_default=True,
    type=Percent(),
    help="Stop measuring a case when its confidence interval is within ± this share of the median.",
)
@click.option("--budget", default="20s", show_default=True, type=Duration(), help="Time limit per case: 90s, 2m.")
@click.option(
    "--threads",
    type=CommaSeparated(parse_threads, "number", expected="a number or `all`"),
    help="Threads per inference: 1,2,all. Default: the device's own.",
)
@click.option(
    "--cores",
    type=CommaSeparated(parse_core, "core", expected="the number of a core"),
    help="Cores to bind the process to: 0,1. Default: any.",
)
@click.option("--anchor", is_flag=True, help=f"Also measure {ANCHOR}, the reference for `table --history`.")
@click.option("--profile", is_flag=True, help="Also measure the time of each layer type.")
@click.option(
    "--roofline/--no-roofline",
    default=True,
    envvar="MNBENCH_ROOFLINE",
    help="Measure the device's peak and bandwidth first, once in 30 days. Default: do.",
)
@click.option("--allow-fallback", is_flag=True, help="Accept nodes that run on another provider than the device's.")
@seed_option("Seed for the random weights, the inputs and the order.")
@click.option("--no-simplify", is_flag=True, help="Measure the plain graphs.")
@click.option("--keep-bn", is_flag=True, help="Keep batch normalization as separate nodes.")
@click.option("--fresh", is_flag=True, help="Start a new run instead of continuing an unfinished one.")
@click.option("--resume", is_flag=True, help="Continue the last unfinished run in --results with its own arguments.")
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

    GRAPH is a name, a path to a .toml table, or an .onnx model, which is measured as it is. Without a GRAPH, every
    graph is measured. Each case runs in several fresh processes, in random order, until its interval is as narrow as
    --precision-target or --budget is spent. Each trial is stored at once: after Ctrl-C, the same command or --resume
    continues.
    """
    from mnbench.bench.benchmark import BenchmarkOptions, run_benchmark, select_devices
    from mnbench.bench.plan import SamplingConfig
    from mnbench.results.store import last_unfinished_arguments

    if resume:
        with command.make_context(ctx.info_name, last_unfinished_arguments(results), parent=ctx.parent) as resumed:
            command.invoke(resumed)
        return
    selection["graphs"] = selection["graphs"] or tuple(table_paths("graphs"))
    sources = select_sources(**selection)
    devices = parse_option(lambda _: select_devices(names, packages), "")
    if anchor and ANCHOR not in {source.name for source in sources}:
        sources.append(parse_variant(ANCHOR))
    if selection["batch"] is None:
        raise click.UsageError("a measurement needs a batch of fixed size: --batch dynamic is for build")
    if profile and any(device.is_fleet for device in devices):
        raise click.UsageError("--profile: a fleet does not tell where the time goes; name a board that ssh reaches")
    options = BenchmarkOptions(
        sampling=SamplingConfig(
            processes=processes, duration_s=duration, precision=precision_target, budget_s=budget, seed=seed
        ),
        threads=tuple(threads or ()),
        cores=tuple(cores or ()),
        simplified=not no_simplify,
        keep_bn=keep_bn,
        roofline=roofline,
        profile=profile,
        allow_fallback=allow_fallback,
        fresh=fresh,
        arguments=ctx.meta[ARGUMENTS],
    )
    with ProgressBar() as bar:
        outcome = run_benchmark(sources, devices, results, options, bar)
    _show(outcome, output, profiled=profile)


def _show(outcome: "BenchmarkOutcome", output: str, *, profiled: bool) -> None:
    """Print the records and where they are stored; fail if a device was skipped or a case has no latency."""
    if outcome.runs:
        from mnbench.results.latency_table import latency_table

        data: dict[str, Any] = {"records": outcome.records}
        if profiled:
            data["profiles"] = [profile.to_dict() for profile in outcome.profiles]
        profiles = (profile.table("type") for profile in outcome.profiles)
        emit([latency_table(outcome.records), *profiles], output, data)
    for results_file in outcome.results_files:
        click.echo(f"kept in {results_file.path}", err=True)
    errors = list(outcome.skipped.values())
    for error in errors[:-1]:
        click.echo(f"Error: {error.message}\nHint: {error.hint}", err=True)
    if errors:
        raise errors[-1]
    failed = sum(record.error is not None for record in outcome.records)
    if failed:
        raise MnbenchError(
            f"{failed} of {len(outcome.records)} cases could not be measured",
            hint="the notes below the table say why",
        )

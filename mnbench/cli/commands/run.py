"""Measure latency and append it to the results."""

import shlex
from collections.abc import Sequence
from dataclasses import replace
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from mnbench.cli import options as shared
from mnbench.cli.output import emit, failure, rejected_to_dict
from mnbench.cli.param_types import (
    DURATION_S,
    SHARE_BELOW_1,
    WorkspaceNames,
    comma_separated,
    parse_core,
    parse_threads,
)
from mnbench.cli.progress_bar import ProgressBar, echo_note, verbosity_options
from mnbench.errors import MnbenchError, ResultsError
from mnbench.families import architectures, parse_variant
from mnbench.network.variant import ANCHOR, Variant
from mnbench.workspace import table_paths

if TYPE_CHECKING:
    from mnbench.bench.benchmark import BenchmarkOutcome
    from mnbench.bench.plan import SamplingConfig
    from mnbench.network.variant import ModelSource

ARGUMENTS = "mnbench.run.arguments"
MAX_PIXELS = 1024**2
"""Of an image of the variants that `--published` measures."""

NOT_REPEATED = ("--fresh", "--trust", "-q", "--quiet", "-v", "--verbose")
"""Arguments that `--resume` does not repeat."""


class ArgumentRecorder(click.Command):
    """A command that stores its arguments as they were typed, so that `--resume` can repeat them."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Store all arguments but those that hold for this call alone, and parse."""
        ctx.meta[ARGUMENTS] = tuple(argument for argument in args if argument not in NOT_REPEATED)
        return super().parse_args(ctx, args)


sampling_options = shared.combine(
    click.option("--quick", is_flag=True, help="A first look: ±10%; 16 rows are measured in about 10 s."),
    click.option("--thorough", is_flag=True, help="Figures to publish: ±1%, 12 processes, a budget of 20 s per case."),
    click.option("--processes", type=click.IntRange(min=1), help="Minimum number of processes per case. Default: 6."),
    click.option(
        "--duration",
        "duration_s",
        type=DURATION_S,
        help="Time to measure each case in a process: 60ms, 1s. Default: 60ms.",
    ),
    click.option(
        "--precision-target",
        type=SHARE_BELOW_1,
        help="Stop measuring a case when its confidence interval is within ± this share of the median. Default: 2%.",
    ),
    click.option(
        "--budget", "budget_s", type=DURATION_S, help="Time per case, shared by all cases: 10s, 2m. Default: 2.7s."
    ),
)
"""The presets, and the numbers: those that are not named are the preset's, or else the default."""


@click.command(
    cls=ArgumentRecorder,
    epilog="\b\nExample:\n  mnbench run v1 --alpha 1,0.75,0.5,0.25 --res 224,192,160,128\n  mnbench run model.onnx",
)
@shared.variant_options
@click.option(
    "--device",
    "names",
    default="cpu",
    type=WorkspaceNames("devices"),
    help="Devices to measure on, in interleaved rounds: cpu,openvino.",
)
@click.option(
    "--with",
    "packages",
    multiple=True,
    metavar="PACKAGE",
    help="Measure with this package, in an environment of its own: onnxruntime==1.26.0. Repeatable.",
)
@shared.results_option
@sampling_options
@click.option(
    "--threads",
    type=comma_separated(parse_threads, "number", "a number or `all`"),
    default=(),
    help="Threads per inference: 1,2,all. Default: the device's own.",
)
@click.option(
    "--cores",
    type=comma_separated(parse_core, "core", "the number of a core"),
    default=(),
    help="Cores to bind the process to: 0,1. Default: any.",
)
@click.option("--anchor", is_flag=True, help=f"Also measure {ANCHOR}, the reference for `table --history`.")
@click.option("--profile", is_flag=True, help="Also measure the time of each layer type.")
@click.option(
    "--roofline/--no-roofline",
    default=True,
    envvar="MNBENCH_ROOFLINE",
    help="Measure the device's peak and bandwidth first, once in 30 days.",
)
@shared.allow_fallback_option
@shared.seed_option("Seed for the random weights, the inputs and the order.")
@shared.graph_form_options
@click.option("--fresh", is_flag=True, help="Start a new run instead of continuing an unfinished one.")
@click.option("--resume", is_flag=True, help="Continue the last unfinished run in --results with its own arguments.")
@shared.trust_option
@verbosity_options
@shared.format_option()
@click.pass_context
def command(
    ctx: click.Context,
    *,
    names: Sequence[str],
    packages: Sequence[str],
    results: Path,
    anchor: bool,
    resume: bool,
    output: str,
    **options: Any,
) -> None:
    """Measure latency and append it to the results.

    GRAPH is a graph's or variant's name, a path to a .toml table, or an .onnx model, which is measured as it is.
    Without a GRAPH, every graph is measured. Each case runs in several fresh processes, in random order, until its
    interval is as narrow as --precision-target or --budget is spent. Each trial is stored at once: after Ctrl-C, the
    same command or --resume continues.
    """
    from mnbench.bench.benchmark import BenchmarkOptions, run_benchmark
    from mnbench.bench.devices import select_devices
    from mnbench.results.store import last_unfinished_arguments

    if resume:
        arguments = last_unfinished_arguments(results)
        echo_note(f"resuming: mnbench run {shlex.join(arguments)}")
        with command.make_context(ctx.info_name, arguments, parent=ctx.parent) as resumed:
            _check_resumed(resumed.params, results)
            command.invoke(resumed)
        return
    benchmark = BenchmarkOptions(
        sampling=_sampling(options),
        threads=tuple(options.pop("threads")),
        cores=tuple(options.pop("cores")),
        simplified=not options.pop("no_simplify"),
        arguments=ctx.meta[ARGUMENTS],
        **{name: options.pop(name) for name in ("keep_bn", "roofline", "profile", "allow_fallback", "fresh")},
    )
    if not options["graphs"]:
        echo_note("no GRAPH is named, so every graph is measured; name one to measure less: mnbench run v1")
        options["graphs"] = _every_graph(options["alpha"] or ())
    sources = shared.select_sources(**options, to_measure=True)
    if options["published"]:
        sources = _without_large_images(sources)
    if anchor and ANCHOR not in {source.name for source in sources}:
        sources.append(parse_variant(ANCHOR))
    devices = shared.parse_option(lambda _: select_devices(names, packages), "")
    if benchmark.profile and any(device.is_fleet for device in devices):
        raise click.UsageError("--profile does not work with a fleet: name one board that SSH reaches")
    with ProgressBar() as bar:
        outcome = run_benchmark(sources, devices, results, benchmark, bar)
    _show(outcome, output, profiled=benchmark.profile)


def _without_large_images(sources: "Sequence[ModelSource]") -> "list[ModelSource]":
    """Leave out the variants of Cityscapes: one takes as long as a hundred others, and all share a budget."""
    large = [item.name for item in sources if isinstance(item, Variant) and prod(item.resolution) > MAX_PIXELS]
    if large:
        echo_note(
            f"{len(large)} variants for large images are left out; name them to measure them: mnbench run {large[0]}"
        )
    return [item for item in sources if item.name not in large]


def _every_graph(alphas: Sequence[float]) -> list[str]:
    """Return the names of all graphs that can be built at these α."""
    tables = architectures() if any(alpha != 1 for alpha in alphas) else []
    unscaled = [table.name for table in tables if not table.has_width_rule]
    if unscaled:
        echo_note(f"left out, since no source gives their widths at another alpha than 1: {', '.join(unscaled)}")
    return [name for name in table_paths("graphs") if name not in unscaled]


def _sampling(options: dict[str, Any]) -> "SamplingConfig":
    """Take the sampling options out of all options.

    Raises:
        click.UsageError: there are two presets.
    """
    from mnbench.bench.plan import SamplingConfig

    quick, thorough = options.pop("quick"), options.pop("thorough")
    if quick and thorough:
        raise click.UsageError("--quick and --thorough exclude each other")
    preset = SamplingConfig.quick() if quick else SamplingConfig.thorough() if thorough else SamplingConfig()
    numbers = {
        "precision": options.pop("precision_target"),
        **{name: options.pop(name) for name in ("processes", "duration_s", "budget_s", "seed")},
    }
    return replace(preset, **{name: number for name, number in numbers.items() if number is not None})


def _check_resumed(params: dict[str, Any], results: Path) -> None:
    """Refuse what the stored arguments of a run, which may be a stranger's, must not decide.

    Raises:
        TrustError: they install a package, or start very many threads.
        ResultsError: they write elsewhere.
    """
    from mnbench.targets.demands import install_actions, thread_actions
    from mnbench.trust import Demand, require_trust

    if params["results"].absolute() != results.absolute():
        raise ResultsError(
            f"{results}: the unfinished run writes to {params['results']}", hint="name that folder: --results"
        )
    actions = (*install_actions(params["packages"]), *thread_actions(params["threads"]))
    require_trust([Demand(file=results / "raw", actions=actions, is_of_file=False)])


def _show(outcome: "BenchmarkOutcome", output: str, *, profiled: bool) -> None:
    """Print the records and where they are stored; fail if a device was skipped or a case has no latency."""
    if outcome.runs or outcome.rejected:
        from mnbench.results.latency_table import latency_table

        data: dict[str, Any] = {"records": outcome.records, **rejected_to_dict(outcome.rejected)}
        if profiled:
            data["profiles"] = [profile.to_dict() for profile in outcome.profiles]
        profiles = (profile.table("type") for profile in outcome.profiles)
        emit([latency_table(outcome.records).with_failures(outcome.rejected), *profiles], output, data)
    for results_file in outcome.results_files:
        echo_note(f"stored in {results_file.path}")
    errors = list(outcome.skipped.values())
    for error in errors[:-1]:
        failure(error).show()
    if errors:
        raise errors[-1]
    failed = sum(record.error is not None for record in outcome.records) + len(outcome.rejected)
    if failed:
        raise MnbenchError(
            f"{failed} of {len(outcome.records) + len(outcome.rejected)} cases could not be measured",
            hint="the notes below the table say why",
        )

"""`mnbench doctor`."""

import tempfile
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from mnbench import families
from mnbench.cli.options import format_option
from mnbench.cli.output import emit
from mnbench.cli.param_types import Duration, WorkspaceName
from mnbench.errors import MnbenchError
from mnbench.targets.device import read_device

if TYPE_CHECKING:
    from mnbench.bench.plan import BenchmarkCase
    from mnbench.bench.self_comparison import SelfComparison
    from mnbench.hosts.noise_sources import NoiseSource
    from mnbench.targets.device import Device

REST_S = 1.0
TIMEOUT_S = 60.0
MODELS = ((0.25, 96), (0.5, 224))
"""α and resolution of V1: a quarter of a millisecond and several, where processors are fast."""

PROCESSES = 6
"""An arm: as many as `run` makes of a cell."""

DURATION_S = 0.5
RUNS = 24
"""Of a calibration."""


@click.command(
    epilog="\b\nExample:\n  mnbench doctor\n  mnbench doctor --quick --format json\n  mnbench doctor --calibrate 2h"
)
@click.option(
    "--device",
    default="cpu",
    show_default=True,
    type=WorkspaceName("devices", ".toml"),
    help="Where to look and measure.",
)
@click.option("--quick", is_flag=True, help="Only look: measure no noise.")
@click.option(
    "--calibrate",
    type=Duration(),
    help="Measure for so long how far runs lie apart, and keep it for the intervals of later runs: 2h.",
)
@format_option("rich", "json")
def command(*, device: str, quick: bool, calibrate: float | None, output: str) -> None:
    """Tell what a device is, what disturbs it, and its noise.

    Shows the facts of the host, what disturbs measurements there and how to mend it, and measures A against A: how far
    two runs of the same model lie apart, in about 20 seconds.
    """
    from mnbench.cli.measuring import announce_environment, reject_emulated
    from mnbench.hosts.noise_sources import noise_sources
    from mnbench.targets.environments import prepare_device

    profile = prepare_device(read_device(device), on_create=announce_environment)
    if calibrate:
        reject_emulated(profile, "and neither does their drift")
        _calibrate(profile, calibrate, output)
        return
    first = _look(profile, rest_s=REST_S)
    looks = [first["before"], first["conditions"]]
    sources = noise_sources(first["facts"], *looks, gpu=first["gpu"])
    if output == "rich":
        _show_look(profile, first, sources)
    noises, missing = ([], "skipped with --quick") if quick else _noise(profile)
    if noises:
        # Stolen time, heat, swapping: what one second of rest does not show. The load was our own.
        looks.append(_look(profile, rest_s=0)["conditions"])
    every = noise_sources(first["facts"], *looks, gpu=first["gpu"])
    if output == "rich":
        known = {source.name for source in sources}
        _show_noise(noises, missing, [source for source in every if source.name not in known])
        return
    from mnbench.bench import self_comparison

    emit(
        (),
        output,
        {
            "device": profile.name,
            "runtime": {"name": profile.runtime, "version": first["runtime_version"]},
            "facts": first["facts"],
            "conditions": looks[-1],
            "gpu": first["gpu"],
            "disturbances": [asdict(source) for source in every],
            "noise": self_comparison.self_comparisons_to_dict(noises) if noises else None,
            "noise_missing": missing,
        },
    )


def _look(profile: "Device", *, rest_s: float) -> dict[str, Any]:
    """Facts and conditions, told by a worker on the device."""
    from mnbench.targets.transport import call_worker

    request = {"kind": "host_facts", "rest_s": rest_s, "gpu": profile.nvidia, "runtime": profile.runtime}
    return call_worker(profile, request, timeout_s=TIMEOUT_S)


def _calibrate(profile: "Device", duration_s: float, output: str) -> None:
    """Runs all through the time given; what an interrupted calibration found is kept."""
    from mnbench.bench.drift import calibrate, compute_drift
    from mnbench.bench.plan import Plan, SamplingConfig
    from mnbench.cli.progress_bar import show_progress
    from mnbench.hosts.facts_table import drift_table

    with tempfile.TemporaryDirectory(prefix="mnbench-") as folder:
        protocol = SamplingConfig(processes=PROCESSES, min_duration_s=DURATION_S)
        plan = Plan(cases=tuple(_cells(Path(folder))), device=profile, sampling=protocol)
        with show_progress("calibrating", RUNS) as step:
            log = calibrate(plan, runs=RUNS, interval_s=duration_s / RUNS, on_run=step)
    host_drift = compute_drift(log)
    tables = [drift_table(host_drift, len(log.runs))] if host_drift else []
    emit(tables, output, {"runs": log.runs, "drift": host_drift})


def _noise(profile: "Device") -> tuple[list["SelfComparison"], str | None]:
    """What A against A shows, or why it cannot be measured."""
    from mnbench.bench import self_comparison
    from mnbench.bench.plan import Plan, SamplingConfig
    from mnbench.cli.measuring import reject_emulated
    from mnbench.cli.progress_bar import show_progress

    try:
        reject_emulated(profile, "and neither does their noise")
        with tempfile.TemporaryDirectory(prefix="mnbench-") as folder:
            protocol = SamplingConfig(processes=PROCESSES, min_duration_s=DURATION_S)
            plan = Plan(cases=tuple(_cells(Path(folder))), device=profile, sampling=protocol)
            with show_progress("measuring noise", self_comparison.trial_count(plan)) as step:
                return self_comparison.compare_with_itself(plan, on_trial=step), None
    except MnbenchError as failure:
        return [], f"{failure.message} ({failure.hint})"


def _cells(folder: Path) -> list["BenchmarkCase"]:
    from mnbench.bench.prepare import prepare_case
    from mnbench.model.build import build_model
    from mnbench.network.variant import Variant

    table = families.architecture("v1")
    variants = [Variant(architecture=table, alpha=alpha, resolution=(side, side)) for alpha, side in MODELS]
    return [prepare_case(build_model(variant), folder, variant=variant.name, seed=0) for variant in variants]


def _show_look(profile: "Device", look: dict[str, Any], found: Sequence["NoiseSource"]) -> None:
    from mnbench.hosts import facts_table

    facts_table.print_facts(profile, look["facts"], look["conditions"], look["gpu"], look["runtime_version"])
    facts_table.print_noise_sources(found, f"{'what' if found else 'nothing'} disturbs measurements here")


def _show_noise(noises: Sequence["SelfComparison"], missing: str | None, later: Sequence["NoiseSource"]) -> None:
    from mnbench.hosts import facts_table

    if later:
        facts_table.print_noise_sources(later, "seen while measuring")
    click.echo()
    if noises:
        emit(facts_table.self_comparison_table(noises), "rich", None)
    else:
        click.echo(f"no noise: {missing}")

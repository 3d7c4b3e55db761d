"""A device is proved by a run: a small graph, its outputs checked, the place of every node told."""

from pathlib import Path

from mnbench import families
from mnbench.bench.plan import BenchmarkCase, Plan, SamplingConfig
from mnbench.bench.prepare import prepare_case
from mnbench.bench.trial import run_trial
from mnbench.model.build import build_model
from mnbench.network.variant import Variant
from mnbench.results.trial_result import TrialResult
from mnbench.targets.device import Device

ALPHA, SIDE = 0.25, 96
PROBE_SAMPLING = SamplingConfig(processes=1, min_duration_s=0.2)


def probe(device: Device, folder: Path, *, allow_fallback: bool = False) -> tuple[BenchmarkCase, TrialResult]:
    """One visit of a small V1 on the device; the model is written into `folder`.

    Raises:
        TrialError: the worker crashed, hung or failed, its outputs are wrong, or nodes ran elsewhere.
        RuntimeUnavailable, UnreachableError: nothing can be measured on this device.
    """
    variant = Variant(architecture=families.architecture("v1"), alpha=ALPHA, resolution=(SIDE, SIDE))
    cell = prepare_case(build_model(variant), folder, variant=variant.name, seed=0)
    protocol = PROBE_SAMPLING.for_emulator() if device.emulated else PROBE_SAMPLING
    return cell, run_trial(Plan(cases=(cell,), device=device, sampling=protocol, allow_fallback=allow_fallback), cell)

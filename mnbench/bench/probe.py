"""Prove that a device works: run a small graph, check its outputs, and report the placement of its nodes."""

import msgspec

from mnbench import families
from mnbench.bench.case_trials import measure_alone
from mnbench.bench.plan import Plan, SamplingConfig
from mnbench.bench.prepare import prepare_case
from mnbench.model.build import build_model
from mnbench.network.variant import Variant
from mnbench.results.facts import HostFacts
from mnbench.results.record import Runtime
from mnbench.tables.table import ABSENT, Table
from mnbench.targets.device import Device
from mnbench.targets.listing import key_value_table
from mnbench.temporary import temporary_folder
from mnbench.units import format_ms

ALPHA, SIDE = 0.25, 96
PROBE_SAMPLING = SamplingConfig(duration_s=0.2)


class ProbeResult(msgspec.Struct, frozen=True, kw_only=True):
    """What one trial of a small model showed.

    `placement` is how many nodes each provider took, None if the runtime does not report it. An emulator has no times.
    """

    device: str
    variant: str
    runtime: Runtime
    provider: str
    placement: dict[str, int] | None
    difference: float | None
    latency_ns: int | None
    session_ns: int | None
    conversion_ns: int | None
    threads: int
    host: HostFacts

    def table(self) -> Table[tuple[str, str]]:
        nodes = sum((self.placement or {}).values())
        placement = ", ".join(f"{count} of {nodes} nodes on {name}" for name, count in (self.placement or {}).items())
        rows = [
            ("device", f"{self.device} works"),
            ("runtime", f"{self.runtime.name} {self.runtime.version}"),
            ("build", self.runtime.build or ABSENT),
            ("host", f"{self.host.get('cpu')}, {self.host.get('cores')} cores, {self.host.get('system')}"),
            ("placement", placement or "not reported by this version"),
            ("outputs", f"differ from the reference by {self.difference or 0:.1e} of their largest number"),
            ("conversion", ABSENT if self.conversion_ns is None else f"{format_ms(self.conversion_ns)} ms"),
        ]
        if self.latency_ns is None or self.session_ns is None:
            rows.append(("a run", f"{self.variant}; emulated, so it has no latency"))
        else:
            rows.append(("session", f"{format_ms(self.session_ns)} ms"))
            rows.append(("a run", f"{format_ms(self.latency_ns)} ms, {self.variant}; one process, not a measurement"))
        return key_value_table("what", rows)


def probe(device: Device, *, allow_fallback: bool = False) -> ProbeResult:
    """Run one trial of a small V1 on the device.

    Raises:
        TrialError: the worker crashed, hung or failed, its outputs are wrong, or nodes ran on another provider.
        RuntimeUnavailable, UnreachableError: nothing can be measured on this device.
    """
    variant = Variant(architecture=families.architecture("v1"), alpha=ALPHA, resolution=(SIDE, SIDE))
    sampling = PROBE_SAMPLING.for_emulator() if device.emulated else PROBE_SAMPLING
    with temporary_folder() as folder:
        case = prepare_case(build_model(variant), folder, variant=variant.name, seed=0)
        trial = measure_alone(
            Plan(cases=(case,), device=device, sampling=sampling, allow_fallback=allow_fallback), case
        )
    placement, emulated = trial.placement, bool(trial.host.get("emulated"))
    return ProbeResult(
        device=device.name,
        variant=variant.name,
        runtime=trial.runtime,
        provider=device.provider,
        placement=None if placement is None else {name: len(nodes) for name, nodes in placement.items()},
        difference=trial.difference,
        latency_ns=None if emulated else round(trial.median_ns),
        session_ns=None if emulated else trial.session_ns,
        conversion_ns=trial.conversion_ns,
        threads=trial.threads,
        host=trial.host,
    )

"""A device is proved by a run: a small graph, its outputs checked, the place of every node told."""

from pathlib import Path

from mnbench import families
from mnbench.bench.plan import Cell, Plan, Protocol
from mnbench.bench.prepare import prepare
from mnbench.bench.trial import Sample, take
from mnbench.model.build import make
from mnbench.network.variant import Variant
from mnbench.targets.device import Device

ALPHA, SIDE = 0.25, 96
PROTOCOL = Protocol(processes=1, min_duration_s=0.2)


def probe(device: Device, folder: Path, *, allow_fallback: bool = False) -> tuple[Cell, Sample]:
    """One visit of a small V1 on the device; the model is written into `folder`.

    Raises:
        MeasureError: the worker crashed, hung or failed, its outputs are wrong, or nodes ran elsewhere.
        RuntimeUnavailable, GatewayError: nothing can be measured on this device.
    """
    variant = Variant(architecture=families.architecture("v1"), alpha=ALPHA, resolution=(SIDE, SIDE))
    cell = prepare(make(variant), folder, variant=variant.name, seed=0)
    protocol = PROTOCOL.emulated() if device.emulated else PROTOCOL
    return cell, take(Plan(cells=(cell,), device=device, protocol=protocol, allow_fallback=allow_fallback), cell)

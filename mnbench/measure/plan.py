"""What is measured, in which order, by which protocol."""

import hashlib
import json
import random
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path

import mnbench
from mnbench.network.cost import Cost
from mnbench.spec.device import Device


@dataclass(frozen=True, slots=True, kw_only=True)
class Protocol:
    """The absolute protocol of `docs/measuring.md`.

    Each cell is visited by `processes` fresh processes. A visit creates a session, runs it once, warms it up, and times
    runs until both minima are met. Six processes make the range of their medians a 96.9 % interval.
    """

    processes: int = 6
    warmup_runs: int = 3
    min_warmup_s: float = 0.05
    min_runs: int = 10
    min_duration_s: float = 1.0
    timeout_s: float = 120.0
    seed: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """One row of the table to come: a model file and what is known of it without running it.

    `alpha` and `architecture` are None for a model that did not come from a table; `resolution` is (height, width), or
    None where the input is no image. `node_mult_adds` are the Mult-Adds of each node, by name.
    """

    variant: str
    architecture: str | None
    alpha: float | None
    resolution: tuple[int, int] | None
    path: Path
    sha256: str
    cost: Cost
    peak_activation_bytes: int
    node_mult_adds: Mapping[str, int] = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """Cells × a device, by a protocol."""

    cells: tuple[Cell, ...]
    device: Device
    protocol: Protocol

    @property
    def id(self) -> str:
        """Eight characters that change with anything that would change a measurement, but for the host."""
        facts = [
            mnbench.__version__,
            asdict(self.protocol),
            {name: getattr(self.device, name) for name in self.device.__struct_fields__},
            [(cell.variant, cell.sha256) for cell in self.cells],
        ]
        return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:8]

    def visits(self) -> Iterator[tuple[Cell, int]]:
        """Every cell once a round, in an order drawn anew each round: the host's slow drift hits all cells alike."""
        draw = random.Random(self.protocol.seed)  # noqa: S311  an order, not a secret
        for process in range(self.protocol.processes):
            yield from ((cell, process) for cell in draw.sample(self.cells, len(self.cells)))

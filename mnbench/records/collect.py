"""A plan becomes records: visit by visit, each kept as soon as it is made."""

from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from itertools import count

from mnbench.errors import MeasureError, MnbenchError
from mnbench.measure.plan import Cell, Plan, Protocol
from mnbench.measure.sample import Sample, take
from mnbench.records.record import Record, failed, latency, measured
from mnbench.records.store import Run, Store
from mnbench.units import NS_PER_S

Seen = Callable[[Cell, int, Record | None], None]
"""Called after every visit, made now or earlier, with the cell's record where the visit completed it."""


def collect(
    plan: Plan, store: Store, run: Run, *, seen: Seen, visit: Callable[[Plan, Cell], Sample] = take
) -> list[Record]:
    """Visit every cell once a round until it is complete, and append its record then. Visits the run holds count.

    A cell that cannot be measured gets a record that says why, and the others go on.

    Returns:
        The run's records of the plan's cells, in the plan's order.

    Raises:
        RuntimeUnavailable, GatewayError, FileError: nothing more can be measured or kept; what was, stays.
    """
    with _released(run):
        kept = {cell.variant: run.samples(cell) for cell in plan.cells if cell.variant not in run.recorded}
        for process in count():
            left = [cell for cell in plan.round(process) if cell.variant not in run.recorded]
            if not left:
                break
            for cell in left:
                record = _visited(plan, cell, process, run, kept[cell.variant], visit)
                if record:
                    store.append(record)
                    run.recorded.add(cell.variant)
                seen(cell, process, record)
    order = {cell.variant: index for index, cell in enumerate(plan.cells)}
    mine = {record.variant: record for record in store.records() if record.run == run.id}
    return sorted(mine.values(), key=lambda record: order[record.variant])


def complete(protocol: Protocol, samples: Sequence[Sample]) -> bool:
    """Whether a cell needs no more visits: it has its processes and is precise, or its budget has no room for one."""
    spent_s = sum(sample.duration_ns for sample in samples) / NS_PER_S
    if spent_s * (1 + 1 / len(samples)) > protocol.budget_s:
        return True
    return len(samples) >= protocol.processes and latency(samples).precision <= protocol.precision


def _visited(
    plan: Plan, cell: Cell, process: int, run: Run, kept: dict[int, Sample], visit: Callable[[Plan, Cell], Sample]
) -> Record | None:
    """Make one visit, unless it was made; the cell's record, if that was what it lacked."""
    if process not in kept:
        try:
            kept[process] = visit(plan, cell)
        except MeasureError as failure:
            return failed(plan, cell, run.id, failure.message, list(kept.values()))
        run.save(cell, process, kept[process])
    samples = list(kept.values())
    return measured(plan, cell, run.id, samples) if complete(plan.protocol, samples) else None


@contextmanager
def _released(run: Run) -> Generator[None]:
    try:
        yield
    except MnbenchError:
        run.discard()
        raise
    finally:
        run.release()

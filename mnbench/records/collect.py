"""A plan becomes records: visit by visit, each kept as soon as it is made."""

from collections.abc import Callable, Generator
from contextlib import contextmanager

from mnbench.errors import MeasureError, MnbenchError
from mnbench.measure.plan import Cell, Plan
from mnbench.measure.sample import Sample, take
from mnbench.records.record import Record, failed, measured
from mnbench.records.store import Run, Store

Seen = Callable[[Cell, int, Record | None], None]
"""Called after every visit, made now or earlier, with the cell's record where the visit completed it."""


def collect(
    plan: Plan, store: Store, run: Run, *, seen: Seen, visit: Callable[[Plan, Cell], Sample] = take
) -> list[Record]:
    """Make the visits of the plan that the run does not hold yet, and append each cell's record once it is complete.

    A cell that cannot be measured gets a record that says why, and the others go on.

    Returns:
        The run's records of the plan's cells, in the plan's order.

    Raises:
        RuntimeUnavailable, GatewayError, FileError: nothing more can be measured or kept; what was, stays.
    """
    with _released(run):
        for cell, process in plan.visits():
            record = None
            if cell.variant not in run.recorded:
                record = _visited(plan, cell, process, run, visit)
                if record:
                    store.append(record)
                    run.recorded.add(cell.variant)
            seen(cell, process, record)
    order = {cell.variant: index for index, cell in enumerate(plan.cells)}
    mine = {record.variant: record for record in store.records() if record.run == run.id}
    return sorted(mine.values(), key=lambda record: order[record.variant])


def _visited(plan: Plan, cell: Cell, process: int, run: Run, visit: Callable[[Plan, Cell], Sample]) -> Record | None:
    """Make one visit, unless it was made; the cell's record, if that was what it lacked."""
    processes = plan.protocol.processes
    if not run.has(cell, process):
        try:
            run.save(cell, process, visit(plan, cell))
        except MeasureError as failure:
            return failed(plan, cell, run.id, failure.message, list(run.samples(cell, processes)))
    if all(run.has(cell, other) for other in range(processes)):
        return measured(plan, cell, run.id, list(run.samples(cell, processes)))
    return None


@contextmanager
def _released(run: Run) -> Generator[None]:
    try:
        yield
    except MnbenchError:
        run.discard()
        raise
    finally:
        run.release()

"""A plan becomes records: visit by visit, each kept as soon as it is made."""

from collections.abc import Callable, Generator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from itertools import count

from mnbench.bench.aggregate import failed, latency, measured
from mnbench.bench.plan import Cell, Plan, Protocol, shuffled
from mnbench.bench.trial import Sample, take
from mnbench.errors import GatewayError, MeasureError, MnbenchError, RuntimeUnavailable
from mnbench.results.record import Record
from mnbench.results.store import Run, Store
from mnbench.units import NS_PER_S

Seen = Callable[[Cell, int, Record | None], None]
"""Called after every visit, made now or earlier, with the cell's record where the visit completed it."""


@dataclass(frozen=True, kw_only=True)
class Task:
    """A plan, and where its results go."""

    plan: Plan
    store: Store
    run: Run

    def records(self) -> list[Record]:
        """The run's records of the plan's cells, in the plan's order."""
        order = {cell.variant: index for index, cell in enumerate(self.plan.cells)}
        mine = {record.variant: record for record in self.store.records() if record.run == self.run.id}
        return sorted(mine.values(), key=lambda record: order[record.variant])


def collect(
    plan: Plan, store: Store, run: Run, *, seen: Seen, visit: Callable[[Plan, Cell], Sample] = take
) -> list[Record]:
    """Visit every cell of a plan, and append its records.

    Raises:
        RuntimeUnavailable, GatewayError, FileError: nothing more can be measured or kept; what was, stays.
    """
    task = Task(plan=plan, store=store, run=run)
    for failure in collect_all([task], seen=seen, visit=visit).values():
        raise failure
    return task.records()


def collect_all(
    tasks: Sequence[Task], *, seen: Seen, visit: Callable[[Plan, Cell], Sample] = take
) -> dict[int, MnbenchError]:
    """Visit every cell once a round until it is complete, and append its record then. Visits that runs hold count.

    All tasks share rounds: the host's slow drift hits all their cells alike. A cell that cannot be measured gets a
    record that says why, and the others go on.

    Returns:
        By the index of a task, why nothing more can be measured on its device; the other tasks went on.

    Raises:
        FileError: nothing more can be kept; what was, stays.
    """
    lost: dict[int, MnbenchError] = {}
    with ExitStack() as stack:
        for task in tasks:
            stack.enter_context(released(task.run))
        kept = [
            {cell.variant: task.run.samples(cell) for cell in task.plan.cells if cell.variant not in task.run.recorded}
            for task in tasks
        ]
        for process in count():
            left = [(at, cell) for at, cell in _round(tasks, process) if cell.variant in kept[at] and at not in lost]
            if not left:
                return lost
            for at, cell in left:
                if at in lost:
                    continue
                task = tasks[at]
                try:
                    record = visited(task, cell, process, kept[at][cell.variant], visit)
                except (RuntimeUnavailable, GatewayError) as failure:
                    lost[at] = failure
                    task.run.discard()
                    continue
                if record:
                    task.store.append(record)
                    task.run.recorded.add(cell.variant)
                    del kept[at][cell.variant]
                seen(cell, process, record)
    raise AssertionError


def _round(tasks: Sequence[Task], process: int) -> list[tuple[int, Cell]]:
    """Every cell of every task, in an order drawn anew for each round."""
    cells = [(at, cell) for at, task in enumerate(tasks) for cell in task.plan.cells]
    return shuffled(cells, tasks[0].plan.protocol.seed, process)


def complete(protocol: Protocol, samples: Sequence[Sample]) -> bool:
    """Whether a cell needs no more visits: it has its processes and is precise, or its budget has no room for one."""
    spent_s = sum(sample.duration_ns for sample in samples) / NS_PER_S
    if spent_s * (1 + 1 / len(samples)) > protocol.budget_s:
        return True
    return len(samples) >= protocol.processes and latency(samples).precision <= protocol.precision


def visited(
    task: Task, cell: Cell, process: int, kept: dict[int, Sample], visit: Callable[[Plan, Cell], Sample]
) -> Record | None:
    """Make one visit, unless it was made; the cell's record, if that was what it lacked."""
    plan, run = task.plan, task.run
    if process not in kept:
        try:
            kept[process] = visit(plan, cell)
        except MeasureError as failure:
            return failed(plan, cell, run.id, failure.message, list(kept.values()))
        run.save(cell, process, kept[process])
    samples = list(kept.values())
    return measured(plan, cell, run.id, samples) if complete(plan.protocol, samples) else None


@contextmanager
def released(run: Run) -> Generator[None]:
    """Let others continue the run after the block; one that fails having found nothing leaves nothing."""
    try:
        yield
    except MnbenchError:
        run.discard()
        raise
    finally:
        run.release()

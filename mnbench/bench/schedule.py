"""The schedule: the devices of a run take turns, process after process, until every case has its record."""

from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager

from mnbench.bench.case_sampling import CaseSampling, DeviceRun, SamplingStatus
from mnbench.bench.case_trials import MeasureCases, measure_cases
from mnbench.bench.plan import shuffle_round
from mnbench.errors import MnbenchError, RuntimeUnavailable, UnreachableError
from mnbench.results.record import Record

OnProcess = Callable[[Sequence[Record], SamplingStatus], None]
"""Called after every process, with the records of the cases that have one since."""


@contextmanager
def unlocking(runs: Sequence[DeviceRun]) -> Generator[None]:
    """Unlock the runs after the block; if it failed, remove those without a trial."""
    try:
        yield
    except MnbenchError:
        for run in runs:
            run.folder.discard_if_empty()
        raise
    finally:
        for run in runs:
            run.folder.unlock()


def run_all(
    runs: Sequence[DeviceRun], *, on_process: OnProcess, measure: MeasureCases = measure_cases
) -> dict[str, MnbenchError]:
    """Measure the open cases round by round, and append the record of each case that is complete.

    Stored results count. All runs share rounds, so slow drift of the host affects their cases alike. A case that fails
    gets a record with the error, and the others continue.

    Returns:
        The error of each device that cannot be used any more; the runs of the others continued.

    Raises:
        FileError: storing cannot continue; stored results stay.
    """
    lost: dict[str, MnbenchError] = {}
    with unlocking(runs):
        samplings = {run.device: CaseSampling(run, measure) for run in runs}

        def report(records: Sequence[Record]) -> None:
            on_process(records, SamplingStatus.join(sampling.status for sampling in samplings.values()))

        while True:
            for sampling in samplings.values():
                if records := sampling.complete():
                    report(records)
            jobs = [(device, group) for device, sampling in samplings.items() for group in sampling.groups()]
            if not jobs:
                return lost
            trial_count = sum(run.folder.trial_count for run in runs)
            for device, group in shuffle_round(jobs, runs[0].plan.sampling.seed, trial_count):
                if device in lost:
                    continue
                try:
                    for failed in samplings[device].measure(group):
                        report(failed)
                except (RuntimeUnavailable, UnreachableError) as failure:
                    lost[device] = failure
                    samplings.pop(device).run.folder.discard_if_empty()

"""Issues: reasons to doubt a figure, each with advice."""

from collections import Counter
from collections.abc import Iterator, Sequence
from statistics import median

from mnbench.bench.plan import BenchmarkCase, Plan, SamplingConfig
from mnbench.hosts.noise_sources import noise_sources
from mnbench.results.record import Issue, Latency, Placement
from mnbench.results.trial_result import TrialResult
from mnbench.units import format_ms, format_significant

HOST_ISSUES = {
    "emulated": "emulated",
    "stopped by quota": "cgroup-limited",
    "heat": "throttled",
    "firmware limits": "throttled",
    "GPU clocks": "throttled",
    "swapping": "disturbed",
    "steal": "disturbed",
    "other load": "disturbed",
    "CPU pressure": "disturbed",
}
"""Noise sources of the host that are issues of a case, with the name of the issue."""

TIMELESS = ("misplaced", "emulated")
"""Issues that do not concern time."""

NOISY_RATIO = 1.2
SHORT_RUNS = 10
"""Fewer runs have no 10th and 90th percentile. How precise their median is, the interval says."""

OUTLIER_RATIO = 1.5
OUTLIER_SHARE = 0.05
SLOWING_RATIO, MIN_SLOWING_PROCESSES = 1.1, 2
SLOW_FIRST_RATIO = 10
SLOW_FIRST_NS = 50_000_000
DENORMAL_SHARE = 0.001
"""At a thousandth, one in 60 vectors of 16 numbers holds one."""

FLUSH_DENORMALS = "session.set_denormal_as_zero"


def find_issues(
    plan: Plan, case: BenchmarkCase, trials: Sequence[TrialResult], latency: Latency, placement: Placement
) -> Iterator[Issue]:
    """Yield every issue of a measured case, the most severe first."""
    if placement.nodes is not None and placement.nodes < 1:
        elsewhere = f"{1 - placement.nodes:.0%} of the nodes did not run on {plan.device.provider}"
        yield Issue(name="misplaced", advice=elsewhere)
    if case.denormal_share and not plan.device.nvidia and plan.device.options.get(FLUSH_DENORMALS) != "1":
        percent = format_significant(100 * case.denormal_share)
        reason = f"{percent}% of the weights are denormal numbers, which many CPUs compute slowly with"
        advice = f'{reason}: set them to 0, or give onnxruntime the option "{FLUSH_DENORMALS}" = "1"'
        yield Issue(name="denormal", advice=advice, minor=case.denormal_share < DENORMAL_SHARE)
    threads, cores = trials[0].threads, trials[0].host.get("cores")
    if cores is not None and threads > cores:
        yield Issue(name="oversubscribed", advice=f"{threads} threads share {cores} cores: give --threads {cores}")
    yield from _host_issues(trials)
    slowing = _slowing([trial.median_ns for trial in trials])
    if slowing > SLOWING_RATIO:
        slower = f"all of the last processes were {slowing - 1:.0%} slower than the first"
        yield Issue(name="throttled", advice=f"{slower}: cool the device, or fix its clock")
    if latency.high > NOISY_RATIO * latency.low:
        apart = f"processes differ by {latency.high / latency.low - 1:.0%}"
        yield Issue(name="noisy", advice=f"{apart}: end other load, run again")
    if shortfall := _shortfall(plan.sampling, len(trials), latency):
        yield Issue(name="imprecise", advice=f"{shortfall}: give it more with --budget")
    runs = sum(len(trial.latencies_ns) for trial in trials)
    if runs < SHORT_RUNS:
        yield Issue(name="short", advice=f"only {runs} runs: give it more time with --duration")
    outliers = _outliers(trials)
    if outliers > OUTLIER_SHARE:
        often = f"{outliers:.0%} of the runs took over {OUTLIER_RATIO:g} × the median"
        yield Issue(name="outliers", advice=f"{often}: end other load", minor=True)
    first_runs_ns = [trial.first_run_ns for trial in trials if trial.first_run_ns is not None]
    first_run_ns = median(first_runs_ns or [0])
    if first_run_ns > max(SLOW_FIRST_NS, SLOW_FIRST_RATIO * latency.median):
        took = f"the first run took {format_ms(first_run_ns)} ms"
        yield Issue(name="first-run-slow", advice=f"{took}: warm up before you serve", minor=True)


def _host_issues(trials: Sequence[TrialResult]) -> Iterator[Issue]:
    """Yield the noise sources that were present in most trials."""
    sources = [
        source
        for trial in trials
        for source in noise_sources(trial.host, *trial.conditions, gpu=trial.gpu)
        if source.severity == "disturbs" and source.name in HOST_ISSUES
    ]
    counts, reported = Counter(source.name for source in sources), set[str]()
    for name, source in {source.name: source for source in sources}.items():
        issue = HOST_ISSUES[name]
        if 2 * counts[name] > len(trials) and issue not in reported:
            reported.add(issue)
            yield Issue(name=issue, advice=f"{source.evidence}: {source.fix}", minor=issue == "disturbed")


def _shortfall(sampling: SamplingConfig, processes: int, latency: Latency) -> str:
    """Return which request the budget did not reach; empty if none."""
    if processes == 1:
        return "one process gives no interval"
    if processes < sampling.processes:
        return f"only {processes} of {sampling.processes} processes were within the budget"
    if latency.precision > sampling.precision:
        return f"±{latency.precision:.1%}, and ±{sampling.precision:.1%} was asked for"
    return ""


def _slowing(medians_ns: Sequence[float]) -> float:
    """Return the ratio of the fastest of the last third of processes to the slowest of the first; 1 for few processes.

    Noise makes some processes slow; heat makes all later ones slow.
    """
    third = len(medians_ns) // 3
    return min(medians_ns[-third:]) / max(medians_ns[:third]) if third >= MIN_SLOWING_PROCESSES else 1.0


def _outliers(trials: Sequence[TrialResult]) -> float:
    """Return the share of runs above `OUTLIER_RATIO` times the median of their process."""
    far = sum(int((trial.latencies_ns > OUTLIER_RATIO * trial.median_ns).sum()) for trial in trials)
    return far / sum(len(trial.latencies_ns) for trial in trials)

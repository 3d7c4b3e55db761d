"""The host's own drift: calibrated, kept, and part of later intervals."""

import json
from dataclasses import replace
from math import log

import msgspec
import pytest
from answers import answering

from mnbench.bench import drift as drifts
from mnbench.bench.aggregate import aggregate
from mnbench.bench.plan import HostDrift
from mnbench.workspace import cache_folder

FACTS = {"facts": {"cpu": "a CPU", "machine": "x86_64", "cores": 2}, "runtime_version": "1.2.3"}


@pytest.fixture(autouse=True)
def host(monkeypatch):
    """A host that needs no worker to be known; the test may change what it is."""
    facts = msgspec.json.decode(json.dumps(FACTS))
    monkeypatch.setattr("mnbench.hosts.host_facts.call_worker", answering(facts))
    return facts


@pytest.fixture
def calibrated(make_plan, make_sample):
    """Calibrations whose runs find these latencies of their one model, one after another."""

    def run(*latencies_ns, device=None, on_progress=None, interval_s=0.0, wait=lambda _: None):
        plan = make_plan("a", processes=2, device=device)
        trials = iter([make_sample((latency_ns,) * 10) for latency_ns in latencies_ns for _ in range(2)])
        return drifts.calibrate(
            plan,
            runs=len(latencies_ns),
            interval_s=interval_s,
            on_progress=on_progress,
            measure=lambda _, cases, __: {case.row.id: next(trials) for case in cases},
            sleep=wait,
        )

    return run


def test_a_run_is_the_median_of_its_processes_medians(make_plan, make_sample):
    """As `mnbench run` computes it."""
    plan = make_plan("a", "b", processes=3)
    medians = {"a": iter([100, 300, 200]), "b": iter([7, 7, 9])}

    def measure(_plan, cases, _seed):
        return {case.row.id: make_sample((1, next(medians[case.variant]), 10**6)) for case in cases}

    stored = drifts.calibrate(plan, runs=1, interval_s=0, measure=measure)

    assert stored.runs[0].latencies_ns == {"a": 200, "b": 7}


def test_runs_are_spread_over_the_time(calibrated):
    """One starts every so many seconds; after the last nobody waits."""
    waited = []
    steps = []
    calibrated(1, 1, 1, interval_s=60.0, wait=waited.append, on_progress=steps.append)

    assert [59 < pause <= 60 for pause in waited] == [True, True]
    assert steps[-1].done == steps[-1].total == 3


def test_calibrations_add_up(calibrated, make_device):
    """A second calibration adds to the first; what is too old goes."""
    calibrated(*[100] * 4)
    assert None is drifts.load_drift(make_device())
    calibrated(*[100] * 6)
    assert drifts.load_drift(make_device()).deviations == {100: [0.0] * 10}

    calibrated(*[200] * drifts.MAX_RUNS)
    assert drifts.load_drift(make_device()).deviations == {200: [0.0] * drifts.MAX_RUNS}


def test_an_interrupted_calibration_keeps_its_runs(calibrated, make_device):
    """Each run is kept as soon as it is made."""

    def stop(_):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        calibrated(100, 100, wait=stop)
    assert len(drifts.load_drift_log(make_device()).runs) == 1


@pytest.mark.parametrize("change", [{"threads": 2}, {"provider": "Other"}, {"cores": (0,)}], ids=str)
def test_another_setting_has_its_own_drift(calibrated, make_device, change):
    """What one thread showed says nothing of two."""
    calibrated(*[100] * 10)

    assert drifts.load_drift(make_device()) is not None
    assert None is drifts.load_drift(make_device(**change))


def test_another_host_has_its_own_drift(calibrated, make_device, host):
    """Nor does what one CPU showed say anything of another."""
    calibrated(*[100] * 10)
    host["facts"]["cpu"] = "another CPU"

    assert None is drifts.load_drift(make_device())


@pytest.mark.parametrize("spoiled", [b"", b"{}", b"\xff", b'{"setting": {}, "runs": 3}'])
def test_a_spoiled_file_is_no_calibration(calibrated, make_device, spoiled):
    """What cannot be read is as if it were not there."""
    calibrated(*[100] * 10)
    for path in cache_folder().glob("drift-*.json"):
        path.write_bytes(spoiled)

    assert None is drifts.load_drift(make_device())


def test_without_any_calibration_no_worker_is_asked(make_device, monkeypatch):
    """Those who never calibrate pay nothing."""
    monkeypatch.setattr(drifts, "host_fingerprint", lambda _: pytest.fail("asked"))

    assert None is drifts.load_drift(make_device())


def test_the_nearest_model_speaks():
    """Short runs and long ones drift differently: the one whose latency is nearest counts, by its ratio."""
    drift = HostDrift(deviations={100: [log(0.9), 0.0, log(1.1)], 10_000: [log(0.5), 0.0, log(2.0)]})

    assert pytest.approx(drift.factors_near(900), rel=0.02) == (0.9, 1.1)
    assert pytest.approx(drift.factors_near(1100), rel=0.05) == (0.5, 2.0)


def test_few_runs_drift_as_far_as_their_extremes():
    """A further run lies outside the range of 38 in 5 % of cases; between its percentiles, in more."""
    few, many = (HostDrift.of_runs([{"a": 100 + run} for run in range(count)]) for count in (38, 101))

    assert pytest.approx(few.factors_near(100)) == (100 / 118.5, 137 / 118.5)
    assert pytest.approx(many.factors_near(100), rel=1e-4) == (101.55 / 150, 198.45 / 150)


def test_an_interval_includes_the_drift(make_plan, make_cell, make_sample):
    """A run that was among the slowest had a truth below it, and one among the fastest above it."""
    drift = HostDrift(deviations={100: [log(0.8)] * 50 + [log(1.25)] * 50})
    plan = make_plan("a", processes=2)
    samples = [make_sample((90,) * 100), make_sample((110,) * 100)]
    plain = aggregate(plan, make_cell("a"), "run", samples).latency_ns
    wide = aggregate(replace(plan, drift=drift), make_cell("a"), "run", samples).latency_ns

    assert (plain.low_with_drift, plain.high_with_drift) == (None, None)
    assert (wide.low, wide.high) == (90, 110)
    assert (round(90 / 1.25), round(110 / 0.8)) == (wide.low_with_drift, wide.high_with_drift)


@pytest.mark.slow
@pytest.mark.usefixtures("fake_worker")
def test_the_command_says_what_it_found(invoke, monkeypatch):
    """`mnbench doctor --calibrate` ends with a table; a run after it says what its interval includes."""
    monkeypatch.setattr("mnbench.bench.diagnose.CALIBRATION_RUNS", 10)
    shown = invoke("doctor", "--calibrate", "1ms").stdout
    payload = json.loads(invoke("doctor", "--calibrate", "1ms", "--format", "json").stdout)
    table = invoke("run", "v1", "--alpha", "0.25", "--res", "32", "--processes", "2").stdout

    assert "10 runs are stored" in shown
    assert len(payload["runs"]) == 20
    assert "calibrated drift" in table

"""What tests share: the command line in an empty folder, and measurements that need no process and no clock."""

import hashlib
import os
from collections import Counter
from contextvars import ContextVar
from pathlib import Path

import msgspec
import numpy as np
import pytest
from answers import FakeWorker
from click.testing import CliRunner
from common import CELLS, PROCESSES, PROVIDER, RUNTIME, collect
from hypothesis import settings

from mnbench.bench.plan import BenchmarkCase, Plan, SamplingConfig
from mnbench.bench.trial import ProcessError
from mnbench.cli import main
from mnbench.errors import TrialError
from mnbench.model.outputs import Output
from mnbench.network.cost import Cost
from mnbench.network.layer import Layer, Tensor
from mnbench.results.record import Latency, Placement, Record, Runtime
from mnbench.results.store import ResultsFile
from mnbench.results.trial_result import TrialResult
from mnbench.targets import transport
from mnbench.targets.device import Device
from mnbench.workspace import built_in

# A busy machine is no failure: hypothesis limits the number of examples, and no time.
settings.register_profile("mnbench", settings.get_profile("ci" if os.environ.get("CI") else "default"), deadline=None)
settings.load_profile("mnbench")


@pytest.fixture(autouse=True)
def _no_roofline(monkeypatch, tmp_path):
    """No run measures this machine's roofline, here or in a process that a test starts, or finds one that was kept."""
    monkeypatch.setenv("MNBENCH_ROOFLINE", "0")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.fixture(autouse=True)
def _no_trust(monkeypatch, tmp_path):
    """No test finds what the user trusts, or makes the user trust a file."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.delenv("MNBENCH_TRUST", raising=False)
    monkeypatch.setattr("mnbench.trust._everything", ContextVar("everything", default=False))


@pytest.fixture
def workspace(tmp_path, monkeypatch):
    """An empty folder, in which the test runs."""
    folder = tmp_path / "workspace"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return folder


@pytest.fixture
def invoke(workspace):  # noqa: ARG001  the command runs in that folder
    """Run one command in an empty folder; its result has `exit_code`, `stdout` and `stderr`.

    An exception that reaches Click's top fails the test: for a user it would be a traceback.
    """

    def run(*arguments, env=None):
        clean = {"FORCE_COLOR": None, "NO_COLOR": None, "TTY_COMPATIBLE": None, "COLUMNS": None}
        return CliRunner(env=clean | (env or {})).invoke(
            main, [str(argument) for argument in arguments], prog_name="mnbench", catch_exceptions=False
        )

    return run


@pytest.fixture
def make_device():
    """A device like the built-in `cpu`, with what the test changes."""

    def make(**changes):
        device = Device(
            name="cpu", summary="a CPU", gateway="popen", runtime="onnxruntime", provider=PROVIDER, threads=1
        )
        return msgspec.structs.replace(device, **changes)

    return make


ANSWERS = (np.arange(3.0),)
IMAGE = np.ones((1, 3), np.float32)


def layer(scope, mult_adds):
    """A fully connected layer of that many Mult-Adds."""
    inputs, outputs = Tensor(f"{scope}.in", (1, mult_adds)), Tensor(f"{scope}.out", (1, 1))
    return Layer(
        scope=scope,
        kind="fully_connected",
        inputs=(inputs,),
        outputs=(outputs,),
        weights=(Tensor(f"{scope}.weight", (1, mult_adds)), Tensor(f"{scope}.bias", (1,))),
        mult_adds=mult_adds,
    )


@pytest.fixture
def make_cell(tmp_path):
    """A cell whose model file holds the bytes that the test gives; its right answer is 0, 1, 2 unless given."""

    def make(variant="v1-a1-r224", data=b"model", answers=ANSWERS, image=IMAGE, **changes):
        path, feed = tmp_path / f"{variant}.model", tmp_path / f"{variant}.npz"
        path.write_bytes(data)
        outputs = {f"out.{at}": item for at, item in enumerate(answers)}
        np.savez(feed, **{"in.input": image}, **outputs)
        facts = {
            "architecture": "v1",
            "alpha": 1.0,
            "resolution": (224, 224),
            "sha256": hashlib.sha256(variant.encode()).hexdigest(),
            "cost": Cost(params=3, mult_adds=1_000_000, memory_access=5),
            "peak_activation_bytes": 7,
            "precision": "fp32",
            "batch": 1,
            "layers": (layer("a", 1), layer("b", 3)),
            "outputs": tuple(Output(name=f"y{at}") for at in range(len(answers))),
        }
        return BenchmarkCase(variant=variant, path=path, inputs_path=feed, **facts | changes)

    return make


@pytest.fixture
def make_plan(make_cell, make_device):
    """A plan for cells of these names, on the device `cpu`."""

    def make(*cells, device=None, allow_fallback=False, **protocol):
        built = tuple(make_cell(cell) if isinstance(cell, str) else cell for cell in cells)
        return Plan(
            cases=built,
            device=device or make_device(),
            sampling=SamplingConfig(**protocol),
            allow_fallback=allow_fallback,
        )

    return make


@pytest.fixture
def make_sample():
    """A sample with the latencies that the test gives, in nanoseconds."""

    def make(latencies_ns=(100,) * 100, **changes):
        facts = {
            "cpu_ns": np.array([90] * len(latencies_ns), np.int64),
            "duration_ns": 10**8,
            "difference": 0.0,
            "threads": 1,
            "copies_ns": {},
            "first_run_ns": 1000,
            "session_ns": 2000,
            "peak_rss_bytes": 3000,
            "placement": {PROVIDER: ["a", "b"]},
            "runtime": Runtime(name="onnxruntime", version="1.2.3", build="Release", library_sha256="0" * 64),
            "conditions": ({"at_ns": 0}, {"at_ns": 10**9}),
            "gpu": None,
            "host": {"cpu": "a CPU", "cores": 2},
        }
        return TrialResult(latencies_ns=np.array(latencies_ns, np.int64), **facts | changes)

    return make


SHARED = dict.fromkeys(("first_run_ns", "session_ns", "peak_rss_bytes"))
"""What is not known of a case that was in a process with others."""


class ScriptedVisit:
    """A `measure` for `collect`: its processes answer from a script.

    The script takes the plan, the case, and how many trials were asked for before. It returns a trial, or None for one
    like all others, or raises: a TrialError fails the case, any other error ends the process. `groups` holds the cases
    of each process, and `made` counts the trials of each case in the processes that came to their end.
    """

    def __init__(self, script, sample):
        self.script = script
        self.sample = sample
        self.asked = 0
        self.made = Counter()
        self.groups = []

    def __call__(self, plan, cases, _seed):
        self.groups.append(tuple(case.variant for case in cases))
        results = {case.row.id: self._trial(plan, case, alone=len(cases) == 1) for case in cases}
        self.made.update(case.variant for case in cases if isinstance(results[case.row.id], TrialResult))
        return results

    def _trial(self, plan, case, *, alone):
        self.asked += 1
        try:
            trial = self.script(plan, case, self.asked - 1) or self.sample
        except ProcessError:
            raise
        except TrialError as failure:
            return failure
        return trial if alone else msgspec.structs.replace(trial, **SHARED)


@pytest.fixture
def scripted_visit(make_sample):
    """A `measure` that follows a script; without one, all trials are the same."""

    def make(script=lambda *_: None):
        return ScriptedVisit(script, make_sample())

    return make


@pytest.fixture
def fake_worker(monkeypatch):
    """`mnbench run` without a worker process: each trial gets a scripted answer at once."""
    worker = FakeWorker()
    monkeypatch.setattr("mnbench.bench.trial.call_worker", worker)
    return worker


@pytest.fixture
def make_record():
    """A record of V1 whose latency, in nanoseconds, is what the test gives."""

    def make(alpha=1.0, side=224, median=10_000_000, **changes):
        variant = "own" if alpha is None else f"v1-a{alpha:g}-r{side}"
        latency = Latency(
            median=median,
            low=median * 97 // 100,
            high=median * 104 // 100,
            undisturbed=median * 94 // 100,
            p10=median * 95 // 100,
            p90=median * 110 // 100,
            min=median * 90 // 100,
            coverage=0.9688,
        )
        facts = {
            "id": f"run/{variant}",
            "run": "run",
            "measured_at": "2026-01-01T00:00:00+00:00",
            "mnbench_version": "0.1.0",
            "variant": variant,
            "architecture": "v1",
            "alpha": alpha,
            "resolution": (side, side),
            "device": "cpu",
            "provider": PROVIDER,
            "runtime": Runtime(name="onnxruntime", version="1.2.3"),
            "threads": 1,
            "latency_ns": latency,
            "first_run_ns": 2 * median,
            "session_ns": 3 * median,
            "cpu_ns": median,
            "difference": 1e-6,
            "effective_runs": 900,
            "peak_rss_bytes": 50_000_000,
            "processes": 6,
            "runs": 1000,
            "params": 4_231_976,
            "mult_adds": 568_740_352,
            "memory_access": 14_448_000,
            "memory_access_bytes": 57_792_000,
            "peak_activation_bytes": 4_816_896,
            "placement": Placement(nodes=1.0, mult_adds=1.0),
            "model_sha256": "0" * 64,
            "seed": 0,
            "host": {"cpu": "AMD EPYC", "cores": 2},
        }
        return Record(**facts | changes)

    return make


@pytest.fixture
def tree():
    """What a folder holds: every path in it, with a file's bytes."""

    def read(folder: Path):
        return {
            str(path.relative_to(folder)): path.read_bytes() if path.is_file() else None for path in folder.rglob("*")
        }

    return read


@pytest.fixture
def mine(workspace):
    """A graph of the user's own: V1 by another name, in `./graphs`."""
    text = (built_in("graphs") / "v1.toml").read_text(encoding="utf-8")
    (workspace / "graphs").mkdir()
    path = workspace / "graphs" / "mine.toml"
    path.write_text(text.replace('name = "v1"', 'name = "mine"').replace("MobileNet V1", "Mine"), encoding="utf-8")
    return path


@pytest.fixture
def stored(workspace, make_record):
    """Results of three cells, in the order in which they were measured."""
    records = [make_record(0.5, 160, 2_000_000), make_record(1.0, 224, 9_000_000), make_record(0.25, 128, 300_000)]
    for record in records:
        ResultsFile(workspace / "results", "cpu").append(record)
    return records


@pytest.fixture
def store(tmp_path):
    """An empty store."""
    return ResultsFile(tmp_path / "results", "cpu")


@pytest.fixture
def plan(make_plan):
    """Two cases, measured by three processes each: scripted trials are precise at once."""
    return make_plan(*CELLS, processes=PROCESSES)


@pytest.fixture
def measure(plan, store):
    """Run the plan, or go on with it, as `mnbench run` does."""

    def measured(visit, *, on_process=lambda *_: None, fresh=False):
        run = store.open_run(plan.id, fresh=fresh)
        records = collect(plan, store, run, measure=visit, on_process=on_process)
        run.finish()
        return records

    return measured


@pytest.fixture
def made_up_runtime(monkeypatch):
    """Real workers, whose runtime executes models that are Python code."""
    sources = transport._worker_sources() | {f"{transport.WORKER_PACKAGE}.runtimes.onnxruntime": (False, RUNTIME)}
    monkeypatch.setattr(transport, "_worker_sources", lambda: sources)
    return sources


@pytest.fixture
def measure_codes(make_cell, make_plan, tmp_path):
    """Measure three cases on that device, of which the second runs that code; the error of each."""

    def run(code, device=None, *, other="import time; time.sleep(0.001)", **protocol):
        codes = {"first": other, "second": code, "third": other}
        cells = [make_cell(name, code.encode()) for name, code in codes.items()]
        quick = {"processes": 2, "precision": 10.0, "duration_s": 0.01, "max_settle_s": 0.0, "timeout_s": 20.0}
        plan = make_plan(*cells, device=device, **quick | protocol)
        store = ResultsFile(tmp_path / "results", "cpu")
        collect(plan, store, store.open_run(plan.id))
        return {record.variant: record.error for record in store.read_records()}

    return run


@pytest.fixture
def machine(monkeypatch):
    """Let the process see these CPUs on such a machine."""

    def set_up(name, cpus):
        monkeypatch.setattr("platform.machine", lambda: name)
        monkeypatch.setattr("mnbench.worker.host.facts.allowed_cpus", lambda: cpus)
        monkeypatch.setattr("mnbench.worker.host.conditions.allowed_cpus", lambda: cpus)
        monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)

    return set_up


@pytest.fixture
def model(invoke, workspace):
    """The file of a tiny model."""

    def build(name, side=32, alpha=0.25):
        path = workspace / name
        path.parent.mkdir(exist_ok=True, parents=True)
        assert invoke("build", "v1", "--alpha", alpha, "--res", side, "-o", path).exit_code == 0
        return path

    return build

"""What a gate refuses to judge: each refusal as a user sees it, by the command itself; nothing is measured really."""

# ruff: noqa: SIM300  expected == actual

import json
import lzma

import msgspec
import onnxruntime
import pytest
from answers import answering

from mnbench.comparison.paired_trial import PairedTrial, pair_columns
from mnbench.comparison.procedure import Procedure
from mnbench.errors import RuntimeUnavailable
from mnbench.families import parse_variant
from mnbench.model.build import build_model
from mnbench.model.weightless import strip_weights, weightless_path
from mnbench.results.record import Runtime, SessionOptions
from mnbench.results.store import ResultsFile

VARIANT, BEFORE = "v1-a0.25-r32", "v1-a0.35-r32"
HOST = {"cpu": "EPYC", "cpu_family": 25, "cpu_model": 17, "cpu_stepping": 1, "cpu_flags": ["avx2"], "hypervisor": "KVM"}


class Processes:
    """Stands in for a process: no row differs from itself; `hosts` are the processes', the last for all later ones."""

    def __init__(self):
        self.hosts = [{}]
        self.pairs = 40
        self.made = 0
        self.rows = []

    def __call__(self, rows, _sampling):
        self.rows = rows
        host = HOST | self.hosts[min(self.made, len(self.hosts) - 1)]
        self.made += 1
        pairs = [(row, 0, pair % 2, *[10**6 + pair] * 4) for row in range(len(rows)) for pair in range(self.pairs)]
        return PairedTrial(
            variants=tuple(row.variant for row in rows),
            columns=pair_columns(pairs),
            facts={
                "host": host,
                "sessions": {
                    f"{row.variant} {item}": {"waits": False} for row in rows for item in ("base", "candidate")
                },
            },
        )


@pytest.fixture
def processes(monkeypatch):
    """No process is started."""
    fake = Processes()
    monkeypatch.setitem(Procedure.__init__.__kwdefaults__, "run_trial", fake)
    return fake


@pytest.fixture(scope="module")
def graphs():
    """The model of the row as it is now, and as it was when the table was measured."""
    return build_model(parse_variant(VARIANT)), build_model(parse_variant(BEFORE))


@pytest.fixture
def gate(invoke, workspace, make_record, graphs, processes):  # noqa: ARG001  nothing is measured
    """Gate a table of one row, whose graph has changed since; its finding, and the exit code."""

    def judged(*arguments, stored=True, changes=None):
        runtime = Runtime(name="onnxruntime", version=onnxruntime.__version__)
        record = make_record(0.25, 32, runtime=runtime, model_sha256=graphs[1].sha256)
        store = ResultsFile(workspace / "results", "cpu")
        store.append(msgspec.structs.replace(record, **(changes or {})))
        path = weightless_path(workspace / "results", graphs[1].sha256)
        path.parent.mkdir()
        if stored:
            path.write_bytes(strip_weights(graphs[1]) if stored is True else stored)
        result = invoke("gate", store.path, "--format", "json", *arguments)
        (matches,) = json.loads(result.stdout)["findings"]
        return matches, result.exit_code

    return judged


def test_nothing_is_refused_without_a_reason(gate, processes):
    """The same row with nothing against it is judged: what the other tests see is what they changed."""
    result, code = gate()
    assert (0, "same", 4, 160) == (code, result["verdict"], result["processes"], result["pairs"])
    (row,) = processes.rows
    assert row.baseline.case.sha256 != row.candidate.case.sha256


def test_the_runtime_is_that_of_the_devices_environment(gate, graphs, monkeypatch):
    """A row is identical if the device still has its runtime version, whatever this Python has."""
    monkeypatch.setattr("mnbench.hosts.host_facts.call_worker", answering({"facts": {}, "runtime_version": "0.0.1"}))
    row = {"model_sha256": graphs[0].sha256, "runtime": Runtime(name="onnxruntime", version="0.0.1")}

    assert "identical" == gate(changes=row)[0]["verdict"]


@pytest.mark.parametrize(
    ("other", "reason"),
    [
        ({"cpu": "Xeon"}, "another host: cpu EPYC, then Xeon"),
        ({"cpu_stepping": 2}, "another host: cpu_stepping 1, then 2"),
        ({"cpu_flags": ["avx2", "avx512f"]}, "another host: cpu_flags differ"),
        ({"hypervisor": "Xen"}, "another host: hypervisor KVM, then Xen"),
    ],
    ids=["name", "stepping", "flags", "hypervisor"],
)
def test_another_cpu_or_hypervisor(gate, processes, other, reason):
    """The third process finds itself elsewhere."""
    processes.hosts = [{}, {}, other]
    result, code = gate()
    assert (4, "incomparable") == (code, result["verdict"])
    assert result["reason"].startswith(reason)
    assert result["reason"].endswith("(--allow cpu)")


def test_another_cpu_if_it_is_allowed(gate, processes):
    """By those who know better."""
    processes.hosts = [{}, {}, {"cpu": "Xeon"}]
    assert 0 == gate("--allow", "cpu")[1]


def test_a_hash_that_does_not_match(gate, graphs):
    """The kept graph was changed: something else comes of it than when it was kept."""
    plain = lzma.decompress(strip_weights(graphs[1]))
    spoiled = plain.replace(b"conv1/conv", b"conv1/conw")
    assert plain != spoiled
    result, code = gate(stored=lzma.compress(spoiled))
    assert (4, "incomparable") == (code, result["verdict"])
    assert "the hash of the graph that is kept is" in result["reason"]


def test_a_broken_baseline(gate, graphs):
    """Cut short, as by a full disk."""
    result, code = gate(stored=strip_weights(graphs[1])[:-10])
    assert (4, "incomparable", f"{VARIANT}: the graph that is kept cannot be read") == (
        code,
        result["verdict"],
        result["reason"],
    )


def test_a_baseline_that_is_not_there(gate):
    """Nobody committed it."""
    result, code = gate(stored=False)
    assert (4, "incomparable") == (code, result["verdict"])
    assert "its graph has changed, and the table's graph is not stored" in result["reason"]


def test_a_missing_row(gate):
    """Its graph's table was deleted."""
    result, code = gate(changes={"variant": "gone-a1-r64", "architecture": "gone"})
    assert (4, "missing") == (code, result["verdict"])
    assert "unknown graph" in result["reason"]


def test_too_few_processes(gate, processes):
    """The budget has no room for a second one; on a busy machine not even for the first."""
    result, code = gate("--budget", "1ms")
    assert (4, "inconclusive") == (code, result["verdict"])
    assert 1 >= processes.made
    assert f"{processes.made} of at least 4 processes: raise --budget" == result["reason"]


def test_too_few_pairs(gate, processes):
    """Twenty-four processes with one pair each decide nothing."""
    processes.pairs = 1
    result, code = gate()
    assert (4, "inconclusive") == (code, result["verdict"])
    assert "24 of at least 30 pairs: raise --budget" == result["reason"]


def test_more_threads_than_one(gate):
    """As the row was measured; unless they are allowed."""
    result, code = gate(changes={"threads": 2})
    assert (4, "incomparable") == (code, result["verdict"])
    assert "2 threads: their latency scatters too much to judge by (--allow threads)" == result["reason"]


def test_a_version_that_cannot_be_reached(gate, monkeypatch):
    """The runtime that the table was measured with is gone from the index."""

    def fail(device, **_):
        raise RuntimeUnavailable(f"{' '.join(device.requires)} cannot be installed: no such version", hint="")

    monkeypatch.setattr("mnbench.comparison.sides.create_environment", fail)
    result, code = gate("--trust", changes={"runtime": Runtime(name="onnxruntime", version="0.0.1")})
    assert (4, "incomparable") == (code, result["verdict"])
    assert "the base: onnxruntime==0.0.1 cannot be installed: no such version" == result["reason"]


def test_profiling(gate):
    """A session that writes down what it does takes longer."""
    result, code = gate(changes={"session": SessionOptions(provider_options={"profiling_level": "basic"})})
    assert (4, "incomparable") == (code, result["verdict"])
    assert result["reason"].startswith("profiling is on (provider.profiling_level=basic)")


def test_a_profile_is_no_table(invoke, workspace):
    """What `run --profile` keeps cannot be gated."""
    path = workspace / "results" / "v1.profile.json"
    path.parent.mkdir()
    path.write_text('{"variant": "v1-a1-r224", "layers": []}\n', encoding="utf-8")
    result = invoke("gate", path, "--device", "cpu")
    assert (1, "") == (result.exit_code, result.stdout)
    assert "v1.profile.json: is not a results table" in result.stderr

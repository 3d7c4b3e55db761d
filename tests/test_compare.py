"""`mnbench compare`: what its arguments mean, the measuring behind a judgement, and real comparisons."""

# ruff: noqa: SIM300  expected == actual

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mnbench.errors import ArchitectureError, BuildError, MeasureError, MnbenchError, RecordError, RuntimeUnavailable
from mnbench.gate.compare import Preparation
from mnbench.gate.contest import Contest, Settings
from mnbench.gate.judge import Judgement, Rules, overall
from mnbench.gate.kept import Kept, judged_again
from mnbench.gate.sides import Pairing, Setup, pairings, side
from mnbench.measure.pairs import Arm, Pairs, Row
from mnbench.measure.plan import Cell
from mnbench.network.cost import Cost
from mnbench.network.variant import OnnxFile, Variant, named
from mnbench.spec import locate
from mnbench.worker.pairs import COLUMNS

# Names


def variants():
    """Any variant that can be built."""

    def made(name, alpha, sides, options):
        architecture = locate.architecture(name)
        try:
            return Variant(architecture=architecture, alpha=alpha, resolution=sides, **options)
        except BuildError:
            return None

    options = st.fixed_dictionaries(
        {},
        optional={
            "batch": st.one_of(st.none(), st.integers(1, 64)),
            "classes": st.integers(0, 2000),
            "groups": st.sampled_from([1, 2, 3, 4, 8]),
            "unit": st.sampled_from(["paper", "torchvision", "megvii"]),
            "padding": st.sampled_from(["torch", "same"]),
            "relu": st.booleans(),
            "precision": st.sampled_from(["fp32", "fp16", "int8"]),
        },
    )
    sides = st.tuples(st.integers(32, 512), st.integers(32, 512)) | st.integers(32, 512).map(lambda one: (one, one))
    alphas = st.sampled_from([1.0, 0.75, 0.333]) | st.floats(1e-6, 4, exclude_min=True)
    names = st.sampled_from(sorted(locate.tables("graphs")))
    return st.builds(made, names, alphas, sides, options).filter(lambda one: one is not None)


@given(variants())
def test_a_name_leads_back_to_its_variant(variant):
    """Whatever differs from the table's own."""
    assert variant == named(variant.name)


@pytest.mark.parametrize("name", ["", "v1", "v1-a1", "v1-r224", "v1-a-r224", "v1-a1-r224-x", "v1-a1.2.3-r224", "fp31"])
def test_what_is_no_name_is_refused(name):
    """In one line with an example."""
    with pytest.raises(BuildError) as caught:
        named(name)
    assert "v1-a0.5-r160" in caught.value.hint


def test_a_name_of_an_unknown_table_says_which_are_known():
    """As everywhere."""
    with pytest.raises(ArchitectureError, match="no graph of that name"):
        named("v9-a1-r224")


# Sides


def test_arguments_are_told_apart(tmp_path):
    """Files, folders, variants, precisions, runtimes, settings."""
    path = tmp_path / "a.onnx"
    path.touch()
    assert OnnxFile(path=path) == side(str(path))
    assert tmp_path == side(str(tmp_path))
    assert named("v1-a0.5-r160") == side("v1-a0.5-r160")
    assert Setup(precision="int8") == side("int8")
    assert Setup(requirement="onnxruntime==1.30.0") == side("onnxruntime==1.30.0")
    assert Setup() == side("onnxruntime") == side("default")
    settings = {"session.intra_op.allow_spinning": "1", "threads": "2", "provider.use_tf32": "1"}
    assert Setup(settings=settings) == side("session.intra_op.allow_spinning=1,threads=2,provider.use_tf32=1")
    with pytest.raises(MnbenchError, match="there is no such file"):
        side(str(tmp_path / "b.onnx"))
    with pytest.raises(BuildError, match="'nonsense' is no variant's name"):
        side("nonsense")


def test_settings_change_the_device(make_device):
    """Session options, provider options and threads, each in its place, over what the profile has."""
    device = make_device(options={"session.x": "0", "session.y": "0"})
    found = Setup(settings={"session.x": "1", "threads": "2", "provider.z": "3"}).device(device)
    assert ({"session.x": "1", "session.y": "0"}, {"z": "3"}, 2) == (
        found.options,
        found.provider_options,
        found.threads,
    )


def test_a_runtime_of_its_own_has_an_environment_of_its_own(make_device, monkeypatch):
    """The gateway starts that environment's Python."""
    monkeypatch.setattr("mnbench.gate.sides.environment", lambda *asked: Path("/cache") / asked[0] / "python")
    found = Setup(requirement="onnxruntime==1.30.0").device(make_device())
    assert "popen//python=/cache/onnxruntime==1.30.0/python" == found.gateway


def test_a_runtime_is_not_installed_on_other_machines(make_device):
    """A gateway to another machine, or into a container, has the runtime that it has."""
    for gateway in ("ssh=board", "popen//python=docker run -i image python3"):
        with pytest.raises(RuntimeUnavailable, match="is not installed on other machines"):
            Setup(requirement="onnxruntime==1.30.0").device(make_device(gateway=gateway))


def test_folders_are_paired_by_file_name(tmp_path):
    """One-sided files are there with one side."""
    for name in ("a/x.onnx", "b/x.onnx", "a/old.onnx", "b/new.onnx", "a/deep/y.onnx", "b/deep/y.onnx", "a/other.txt"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    found = pairings(tmp_path / "a", tmp_path / "b", [])
    assert {
        "deep/y": (True, True),
        "new": (False, True),
        "old": (True, False),
        "x": (True, True),
    } == {one.variant: (one.base is not None, one.candidate is not None) for one in found}


@pytest.mark.parametrize(
    ("base", "candidate", "graphs", "message"),
    [
        ("fp32", "int8", [], "no graphs"),
        ("fp32", "default", ["v1-a1-r224"], "a precision is compared with another"),
        ("v1-a1-r224", "v1-a1-r224", ["v1-a1-r224"], "GRAPH is for comparisons"),
        ("v1-a1-r224", "fp32", [], "two kinds"),
        ("a.onnx", ".", [], "two kinds"),
        (".", ".", [], "hold no .onnx files"),
    ],
)
def test_sides_that_do_not_go_together_are_refused(workspace, base, candidate, graphs, message):
    """In one line."""
    if base == "a.onnx":
        (workspace / base).touch()
    with pytest.raises(BuildError, match=message):
        pairings(side(base), side(candidate), [named(name) for name in graphs])


def test_a_files_precision_is_its_own(tmp_path):
    """Nobody converts it."""
    with pytest.raises(BuildError, match="has the precision"):
        pairings(Setup(precision="fp32"), Setup(precision="int8"), [OnnxFile(path=tmp_path / "x.onnx")])


# The measuring, with processes that are faked


class FakeProcesses:
    """Stands in for `take_pairs`: each row has its effect in percent, each process takes so many seconds."""

    def __init__(self, effects, seconds=5.0, scatter=0.1):
        self.effects = effects
        self.seconds = seconds
        self.scatter = scatter
        self.now = 0.0
        self.slept = []
        self.asked = []
        self.answers = {}

    def __call__(self, rows, dose, *, heard):
        self.asked.append((dose.seed, [row.variant for row in rows]))
        answer = self.answers.pop(len(self.asked) - 1, None)
        if isinstance(answer, Pairs):
            return answer
        if isinstance(answer, Exception):
            raise answer
        heard(1.0)
        self.now += self.seconds
        draw = random.Random(dose.seed)
        columns = {name: [] for name in COLUMNS}
        for at, row in enumerate(rows):
            effect = self.effects[row.variant]
            percent = (effect(dose.seed) if callable(effect) else effect) + draw.gauss(0, self.scatter)
            for pair in range(10):
                base = 1_000_000 if not answer else answer["base_ns"]
                candidate = round(base * (1 + percent / 100))
                for name, value in zip(COLUMNS, (at, 0, pair % 2, base, candidate, base, candidate), strict=True):
                    columns[name].append(value)
        return Pairs(
            variants=tuple(row.variant for row in rows),
            columns={name: np.array(values, np.int64) for name, values in columns.items()},
            failed={},
            facts={
                "host": {"cpu": (answer or {}).get("cpu", "x"), "emulated": (answer or {}).get("emulated")},
                "arms": {f"{row.variant} {one}": {"waits": False} for row in rows for one in ("base", "candidate")},
            },
        )

    def sleep(self, seconds):
        """Time passes."""
        self.slept.append(seconds)
        self.now += seconds


@pytest.fixture
def make_row(tmp_path, make_device):
    """A row that nothing measures."""

    def make(variant):
        (tmp_path / "model").touch()
        cell = Cell(
            variant=variant,
            architecture=None,
            alpha=None,
            resolution=None,
            precision="fp32",
            batch=1,
            path=tmp_path / "model",
            feed=tmp_path / "feed",
            sha256="0",
            cost=Cost(params=1, mult_adds=1, memory_access=1),
            peak_activation_bytes=1,
            layers=(),
        )
        return Row(
            variant=variant, base=Arm(cell=cell, device=make_device()), candidate=Arm(cell=cell, device=make_device())
        )

    return make


@pytest.fixture
def held(make_row):
    """Hold a contest of rows with these effects."""

    def hold(effects, folder=None, answers=None, seconds=5.0, scatter=0.1, **settings):
        processes = FakeProcesses(effects, seconds, scatter)
        processes.answers = answers or {}
        contest = Contest(
            [make_row(variant) for variant in effects],
            Settings(**settings),
            Kept(folder),
            seen=lambda _: None,
            take=processes,
            clock=lambda: processes.now,
            sleep=processes.sleep,
        )
        context, findings = contest.held("base", "candidate")
        return processes, context, {one.variant: one for one in findings}

    return hold


def nothing(busy=None, failed=None):
    """A process that measured nothing."""
    columns = {name: np.array([], np.int64) for name in COLUMNS}
    return Pairs(variants=("a", "b"), columns=columns, failed=failed or {}, facts={}, busy=busy)


def test_a_table_without_change_takes_four_processes(held):
    """Each with all rows and a seed of its own."""
    processes, _, found = held({"a": 0, "b": 0})
    assert [(f"0/first/{at}/0", ["a", "b"]) for at in range(4)] == processes.asked
    assert {"same"} == {one.verdict for one in found.values()}


def test_suspects_are_measured_again_alone(held):
    """With new seeds; the innocent is not."""
    processes, _, found = held({"a": 3, "b": 0})
    assert [["a", "b"]] * 4 + [["a"]] * 4 == [rows for _, rows in processes.asked]
    assert [f"0/again/{at}/0" for at in range(4)] == [seed for seed, _ in processes.asked[4:]]
    assert ("slower", "same") == (found["a"].verdict, found["b"].verdict)


def test_what_does_not_repeat_is_not_accused(held):
    """3 % slower at first, and no more when it is alone."""
    _, _, found = held({"a": lambda seed: 3 if "first" in seed else 0, "b": 0})
    assert "same" == found["a"].verdict
    assert found["a"].reason.startswith("looked +3.")


def test_only_undecided_rows_are_measured_on(held):
    """After four processes the quiet rows are decided; the doubtful one has all twelve."""

    def doubtful(seed):
        return (0, 8)[int(seed.split("/")[2]) % 2]

    processes, _, found = held({"a": 0, "b": 0, "c": 0, "d": doubtful}, budget_s=1000)
    assert ["a", "b", "c", "d"] == processes.asked[0][1]
    assert ["d"] == processes.asked[-1][1]
    assert 12 == len(processes.asked)
    assert ("inconclusive", 12) == (found["d"].verdict, found["d"].processes)


def test_the_budget_ends_it(held):
    """Seventy percent of it may pass before suspects are measured again; what was measured is judged."""
    processes, _, found = held({"a": lambda seed: (0, 8)[int(seed.split("/")[2]) % 2], "b": 0}, seconds=10, budget_s=80)
    assert 5 == len(processes.asked)
    assert ("inconclusive", 5) == (found["a"].verdict, found["a"].processes)
    processes, _, found = held({"a": 0, "b": 0}, seconds=10, budget_s=35)
    assert "2 of at least 4 processes: give more --budget" == found["a"].reason


def test_a_busy_machine_is_waited_for(held):
    """Five seconds at a time, and not forever."""
    processes, _, found = held({"a": 0, "b": 0}, answers={1: nothing(busy="load 9"), 2: nothing(busy="load 9")})
    assert [5.0, 5.0] == processes.slept
    assert {"same"} == {one.verdict for one in found.values()}
    processes, context, found = held({"a": 0, "b": 0}, answers={at: nothing(busy="load 9") for at in range(99)})
    assert 30.0 == sum(processes.slept)
    assert "the machine is too busy: load 9 (--allow busy)" == context.stopped
    assert {"inconclusive"} == {one.verdict for one in found.values()}
    assert "too busy" in found["a"].reason


def test_a_base_that_drifts_is_waited_for(held):
    """At 1.5 times its first latency, but not at 1.3 times."""
    drifted = {1: {"base_ns": 1_500_000}, 2: {"base_ns": 1_300_000}}
    processes, _, _ = held({"a": 0, "b": 0}, answers=drifted)
    assert [5.0] == processes.slept
    processes, _, _ = held({"a": 0, "b": 0}, answers=drifted, allow=frozenset({"busy"}))
    assert [] == processes.slept


def test_an_emulated_cpu_is_refused(held):
    """Wherever it hides; nothing allows it."""
    emulated = {0: {"base_ns": 1_000_000, "emulated": True}}
    _, _, found = held({"a": 0, "b": 0}, answers=emulated, allow=frozenset({"cpu", "busy"}))
    assert {"incomparable"} == {one.verdict for one in found.values()}
    assert "the CPU is emulated: times tell nothing" == found["a"].reason


def test_another_cpu_is_refused(held):
    """In mid-comparison, as a cloud may move a machine; unless it is allowed."""
    moved = {2: {"base_ns": 1_000_000, "cpu": "y"}}
    _, _, found = held({"a": 0, "b": 0}, answers=moved)
    assert {"incomparable"} == {one.verdict for one in found.values()}
    assert "another CPU: x, then y (--allow cpu)" == found["a"].reason
    _, _, found = held({"a": 0, "b": 0}, answers=moved, allow=frozenset({"cpu"}))
    assert {"same"} == {one.verdict for one in found.values()}


def test_a_row_that_crashes_costs_itself(held):
    """The process begins anew without it, and does not count."""
    failed = nothing(failed={"a": ("candidate", "killed by SIGSEGV")})
    processes, _, found = held({"a": 0, "b": 0}, answers={0: failed})
    assert [["a", "b"]] + [["b"]] * 4 == [rows for _, rows in processes.asked]
    assert ("missing", "the candidate fails: killed by SIGSEGV") == (found["a"].verdict, found["a"].reason)
    assert "same" == found["b"].verdict


def test_a_process_that_dies_while_it_measures_ends_it(held):
    """What was measured is judged; the rest is inconclusive, with the reason."""
    dead = MeasureError("the worker was killed by SIGKILL: out of memory?", hint="")
    processes, context, found = held({"a": 0, "b": 0}, answers={2: dead})
    assert 3 == len(processes.asked)
    assert "a process failed: the worker was killed by SIGKILL: out of memory?" == context.stopped
    assert f"2 of at least 4 processes: {context.stopped}" == found["a"].reason


def test_a_large_table_takes_several_processes(held):
    """In place of one, each with rows drawn anew; every row has its four."""
    processes, _, found = held({f"row {at}": 0 for at in range(40)}, budget_s=1000)
    assert [32, 8] * 4 == [len(rows) for _, rows in processes.asked]
    assert processes.asked[1][1] != processes.asked[3][1]
    assert {("same", 4)} == {(one.verdict, one.processes) for one in found.values()}


def test_the_verdict_can_be_computed_again(held, tmp_path):
    """From what is kept, by the same rules or by others; a folder that holds nothing says so."""
    folder = tmp_path / "kept"
    folder.mkdir()
    _, context, found = held({"a": 1.5, "b": 0, "c": 3}, folder, scatter=0.05)
    assert list(found.values()) == list(judged_again(folder))
    assert context.processes == len(list(folder.glob("pairs.*.npz")))
    lenient = {one.variant: one.verdict for one in judged_again(folder, Rules(min_effect=0.02))}
    assert ("slower", "slower") == (found["a"].verdict, found["c"].verdict)
    assert ("same", "slower") == (lenient["a"], lenient["c"])
    (folder / "pairs.1.npz").write_bytes(b"cut")
    with pytest.raises(RecordError, match="holds no comparison that can be read"):
        judged_again(folder)


# Refusals


@pytest.fixture
def prepared(tmp_path, make_device):
    """Prepare pairings of files and variants; what became of them."""

    def prepare(*found, device=None, alone=False, **settings):
        preparation = Preparation(device or make_device(), tmp_path, Settings(**settings))
        for one in found:
            preparation.add(one, alone=alone)
        return preparation

    return prepare


def both(base, candidate, variant="row"):
    """A pairing of two sources."""
    return Pairing(variant=variant, base=base and (base, Setup()), candidate=candidate and (candidate, Setup()))


@pytest.fixture
def model(invoke, workspace):
    """The file of a tiny model."""

    def build(name, side=32, alpha=0.25):
        path = workspace / name
        path.parent.mkdir(exist_ok=True, parents=True)
        assert 0 == invoke("build", "v1", "--alpha", alpha, "--res", side, "-o", path).exit_code
        return path

    return build


def test_other_shapes_are_refused(model, prepared):
    """Two files that take other inputs; two variants by name are another matter, for the names say so."""
    one, other = OnnxFile(path=model("a.onnx", 32)), OnnxFile(path=model("b.onnx", 64))
    (found,) = prepared(both(one, other)).known
    assert "incomparable" == found.verdict
    assert "input input is float32 1x3x32x32 and float32 1x3x64x64 (--allow shapes)" == found.reason
    assert 1 == len(prepared(both(one, other), allow=frozenset({"shapes"})).rows)
    assert 1 == len(prepared(both(named("v1-a0.25-r32"), named("v1-a0.25-r64"))).rows)


def test_more_threads_than_one_are_refused(prepared, make_device):
    """On either side."""
    row = both(named("v1-a0.25-r32"), named("v1-a0.25-r32"))
    for pairing in (row, replace(row, candidate=(named("v1-a0.25-r32"), Setup(settings={"threads": "2"})))):
        device = make_device(threads=2) if pairing is row else None
        (found,) = prepared(pairing, device=device).known
        assert "incomparable" == found.verdict
        assert "threads" in found.reason
        assert "(--allow threads)" in found.reason
        assert 1 == len(prepared(pairing, device=device, allow=frozenset({"threads"})).rows)


def test_missing_and_broken_files_are_findings_of_a_folder(model, prepared, tmp_path):
    """And errors of a single pair."""
    good, broken = OnnxFile(path=model("a.onnx")), OnnxFile(path=tmp_path / "broken.onnx")
    broken.path.write_bytes(b"no model")
    found = prepared(both(good, None), both(None, good), both(good, broken), both(broken, good)).known
    assert ["missing", "missing", "missing", "incomparable"] == [one.verdict for one in found]
    assert "the candidate has no such file (--allow missing)" == found[0].reason
    assert "the base has no such file (--allow missing)" == found[1].reason
    assert all("is no ONNX model" in one.reason for one in found[2:])
    assert "inconclusive" == overall(found)
    assert [] == prepared(both(good, None), allow=frozenset({"missing"})).known
    with pytest.raises(BuildError, match="is no ONNX model"):
        prepared(both(good, broken), alone=True)


def test_a_runtime_that_cannot_be_installed_is_a_finding(prepared, monkeypatch):
    """Of each row; a single row's is an error."""

    def fail(*_):
        raise RuntimeUnavailable("onnxruntime==9 cannot be installed", hint="")

    monkeypatch.setattr("mnbench.gate.sides.environment", fail)
    variant = named("v1-a0.25-r32")
    row = Pairing(variant="row", base=(variant, Setup(requirement="onnxruntime==9")), candidate=(variant, Setup()))
    (found,) = prepared(row).known
    assert ("incomparable", "the base: onnxruntime==9 cannot be installed") == (found.verdict, found.reason)
    with pytest.raises(RuntimeUnavailable):
        prepared(row, alone=True)


# The command


@pytest.mark.slow
def test_a_model_is_not_slower_than_itself(invoke, model, workspace):
    """Real processes; whatever the machine is busy with, nobody is accused."""
    path = model("a.onnx")
    result = invoke("compare", path, path, "--allow", "busy", "--format", "json", "--processes", "4")
    payload = json.loads(result.stdout)
    (found,) = payload["findings"]
    assert {"pass": 0, "inconclusive": 4}[payload["verdict"]] == result.exit_code
    assert ("a", "cpu", 4) == (found["variant"], found["device"], found["processes"])
    assert found["pairs"] >= 30
    assert 0 < found["low"] <= found["ratio"] <= found["high"]
    kept = workspace / "results" / "raw" / payload["run"]
    (again,) = judged_again(kept)
    assert found == msgspec.to_builtins(again)


@pytest.mark.slow
def test_a_wider_network_is_slower(invoke):
    """Twice the width: exit 3, in every format."""
    arguments = ("compare", "v1-a0.25-r64", "v1-a0.5-r64", "--allow", "busy")
    result = invoke(*arguments, "--format", "json")
    payload = json.loads(result.stdout)
    (found,) = payload["findings"]
    assert (3, "slower", "slower") == (result.exit_code, payload["verdict"], found["verdict"])
    assert 1.2 < found["low"] < found["high"] < 10
    assert "when measured again, alone" in found["reason"]
    result = invoke(*reversed_arms(arguments))
    assert (0, True, True) == (result.exit_code, "faster" in result.stdout, "PASS" in result.stdout)
    assert "\x1b" not in result.stdout


def reversed_arms(arguments):
    """The same, the other way round."""
    first, base, candidate, *rest = arguments
    return first, candidate, base, *rest


@pytest.mark.slow
def test_folders_precisions_settings_and_runtimes(invoke, model, workspace, monkeypatch):
    """Each kind of comparison runs to its end."""
    model("old/a.onnx")
    model("old/b.onnx", alpha=0.5)
    shutil.copytree(workspace / "old", workspace / "new")
    (workspace / "new" / "b.onnx").unlink()
    quick = ("--allow", "busy", "--processes", "4", "--format", "json")
    result = invoke("compare", "old", "new", *quick)
    found = {one["variant"]: one["verdict"] for one in json.loads(result.stdout)["findings"]}
    assert (4, {"a", "b"}, "missing") == (result.exit_code, set(found), found["b"])
    assert found["a"] in ("same", "inconclusive")

    # a Python of its own, without a package index: this very one by another path
    monkeypatch.setattr("mnbench.gate.sides.environment", lambda *_: Path(sys.executable))
    for base, candidate in (
        ("fp32", "fp16"),
        ("default", "session.intra_op.allow_spinning=1"),
        ("onnxruntime==1.0", "onnxruntime"),
    ):
        result = invoke("compare", base, candidate, "v2", "--alpha", "0.35", "--res", "32", *quick)
        (found,) = json.loads(result.stdout)["findings"]
        assert ("v2-a0.35-r32", 4) == (found["variant"], found["processes"]), (base, result.stderr)


def test_self_check_compares_the_base_with_itself(invoke, monkeypatch):
    """The candidate is not even made."""
    seen = []

    def compare(rows, _known, settings, *, names, folder, **_):
        seen.append((rows, names, settings))
        return Judgement(
            verdict="pass",
            base=names[0],
            candidate=names[1],
            findings=(),
            rules=settings.rules,
            seed=0,
            run=folder.name,
        )

    monkeypatch.setattr("mnbench.gate.compare.compare", compare)
    assert 0 == invoke("compare", "v1-a0.25-r32", "v1-a0.5-r32", "--self-check").exit_code
    (rows, names, settings) = seen[0]
    assert rows[0].base == rows[0].candidate
    assert ("v1-a0.25-r32", "v1-a0.25-r32") == names
    assert settings.self_check


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (("nonsense", "v1-a1-r224"), 1, "'nonsense' is no variant's name"),
        (("a.onnx", "b.onnx"), 1, "a.onnx: there is no such file"),
        (("fp32", "int8"), 1, "no graphs to compare them with"),
        (("v1-a1-r224", "v1-a1-r224", "--processes", "3"), 2, "--processes"),
        (("v1-a1-r224", "v1-a1-r224", "--margin", "5"), 2, "--margin"),
        (("v1-a1-r224", "v1-a1-r224", "--allow", "anything"), 2, "--allow"),
        (("fp32", "int8", "v1", "--batch", "dynamic"), 2, "batch of fixed size"),
        (("v1-a1-r224", "v1-a1-r224", "--device", "nowhere"), 1, "no device of that name"),
    ],
)
def test_wrong_arguments_are_told(invoke, workspace, tree, arguments, code, message):
    """In a line, and nothing is left behind."""
    result = invoke("compare", *arguments)
    assert (code, "") == (result.exit_code, result.stdout)
    assert message in result.stderr
    assert {} == tree(workspace)


def test_a_broken_file_is_told(invoke, workspace, tree):
    """A baseline that is cut short; nothing is left behind."""
    (workspace / "a.onnx").write_bytes(b"no model")
    result = invoke("compare", "a.onnx", "a.onnx")
    assert (1, "") == (result.exit_code, result.stdout)
    assert "is no ONNX model, or is cut short" in result.stderr
    assert ["a.onnx"] == list(tree(workspace))


@pytest.mark.slow
def test_ctrl_c_leaves_nothing(workspace, tree):
    """No process, no folder, no traceback; exit 130."""
    code = "import runpy, signal\nsignal.signal(signal.SIGINT, signal.default_int_handler)\n"
    code += 'runpy.run_module("mnbench", run_name="__main__")'
    command = [sys.executable, "-c", code, "compare", "v1-a0.25-r32", "v1-a0.25-r32", "--allow", "busy"]
    temporary = workspace.parent / "temporary"
    temporary.mkdir()
    with subprocess.Popen(
        command,
        cwd=workspace,
        env=os.environ | {"TMPDIR": str(temporary)},
        start_new_session=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            end = time.monotonic() + 60
            while not list(workspace.glob("results/raw/*/pairs.0.npz")) and time.monotonic() < end:
                time.sleep(0.02)
            os.killpg(process.pid, signal.SIGINT)
            stdout, stderr = process.communicate(timeout=30)
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
    assert (130, "") == (process.returncode, stdout)
    assert "nothing is kept" in stderr
    assert "Traceback" not in stderr
    assert {} == tree(workspace)
    assert [] == list(temporary.glob("mnbench*"))

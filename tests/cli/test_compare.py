"""`mnbench compare`: what it refuses, and real comparisons."""

# ruff: noqa: SIM300  expected == actual

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import msgspec
import pytest

from mnbench.comparison.cases import CaseBuilder
from mnbench.comparison.comparison import Comparison
from mnbench.comparison.decide import overall_verdict
from mnbench.comparison.procedure import ComparisonSettings
from mnbench.comparison.sides import ComparisonRequest, SideOptions
from mnbench.errors import BuildError, RuntimeUnavailable
from mnbench.families import parse_variant
from mnbench.network.variant import OnnxFile

# Refusals


@pytest.fixture
def prepared(tmp_path, make_device):
    """Prepare pairings of files and variants; what became of them."""

    def prepare(*requests, device=None, alone=False, **settings):
        preparation = CaseBuilder(device or make_device(), tmp_path, ComparisonSettings(**settings))
        for item in requests:
            preparation.add(item, raise_errors=alone)
        return preparation

    return prepare


def both(base, candidate, variant="row"):
    """A pairing of two sources."""
    return ComparisonRequest(
        variant=variant, baseline=base and (base, SideOptions()), candidate=candidate and (candidate, SideOptions())
    )


def test_other_shapes_are_refused(model, prepared):
    """Two files that take other inputs; two variants by name are another matter, for the names say so."""
    onnx_file, other = OnnxFile(path=model("a.onnx", 32)), OnnxFile(path=model("b.onnx", 64))
    (result,) = prepared(both(onnx_file, other)).findings
    assert "incomparable" == result.verdict
    assert "input input is float32 1x3x32x32 and float32 1x3x64x64 (--allow shapes)" == result.reason
    assert 1 == len(prepared(both(onnx_file, other), allow=frozenset({"shapes"})).cases)
    assert 1 == len(prepared(both(parse_variant("v1-a0.25-r32"), parse_variant("v1-a0.25-r64"))).cases)


def test_more_threads_than_one_are_refused(prepared, make_device):
    """On either side."""
    row = both(parse_variant("v1-a0.25-r32"), parse_variant("v1-a0.25-r32"))
    for pairing in (
        row,
        replace(row, candidate=(parse_variant("v1-a0.25-r32"), SideOptions(settings={"threads": "2"}))),
    ):
        device = make_device(threads=2) if pairing is row else None
        (result,) = prepared(pairing, device=device).findings
        assert "incomparable" == result.verdict
        assert "threads" in result.reason
        assert "(--allow threads)" in result.reason
        assert 1 == len(prepared(pairing, device=device, allow=frozenset({"threads"})).cases)


def test_missing_and_broken_files_are_findings_of_a_folder(model, prepared, tmp_path):
    """And errors of a single pair."""
    good, broken = OnnxFile(path=model("a.onnx")), OnnxFile(path=tmp_path / "broken.onnx")
    broken.path.write_bytes(b"no model")
    result = prepared(both(good, None), both(None, good), both(good, broken), both(broken, good)).findings
    assert ["missing", "missing", "missing", "incomparable"] == [item.verdict for item in result]
    assert "the candidate has no such file (--allow missing)" == result[0].reason
    assert "the base has no such file (--allow missing)" == result[1].reason
    assert all("is not an ONNX model" in item.reason for item in result[2:])
    assert "inconclusive" == overall_verdict(result)
    assert [] == prepared(both(good, None), allow=frozenset({"missing"})).findings
    with pytest.raises(BuildError, match="is not an ONNX model"):
        prepared(both(good, broken), alone=True)


def test_a_runtime_that_cannot_be_installed_is_a_finding(prepared, monkeypatch):
    """Of each row; a single row's is an error."""

    def fail(*_, **__):
        raise RuntimeUnavailable("onnxruntime==9 cannot be installed", hint="")

    monkeypatch.setattr("mnbench.comparison.sides.create_environment", fail)
    variant = parse_variant("v1-a0.25-r32")
    row = ComparisonRequest(
        variant="row", baseline=(variant, SideOptions(requirement="onnxruntime==9")), candidate=(variant, SideOptions())
    )
    (result,) = prepared(row).findings
    assert ("incomparable", "the base: onnxruntime==9 cannot be installed") == (result.verdict, result.reason)
    with pytest.raises(RuntimeUnavailable):
        prepared(row, alone=True)


# The command


@pytest.fixture
def compared(invoke, monkeypatch):
    """The sources of the rows that a command would compare; nothing is measured."""
    rows = []

    def record_requests(requests, *_, **__):
        rows.extend((request.baseline[0], request.candidate[0]) for request in requests)
        raise BuildError("nothing is measured", hint="")

    monkeypatch.setattr("mnbench.comparison.compare.compare_requests", record_requests)

    def compare(*arguments):
        rows.clear()
        return rows, invoke("compare", *arguments).stderr

    return compare


def test_options_apply_to_both_sides(compared, model):
    """Sizes of files, batch and precision of variants, and everything of graphs; several sizes are several rows."""
    path = model("a.onnx")
    rows, _ = compared(path, path, "--dim", "height=32,64", "--batch", 8)
    assert [{"height": 32}, {"height": 64}] == [candidate.input_options.sizes for _, candidate in rows]
    assert all(base == candidate and base.input_options.batch == 8 for base, candidate in rows)
    rows, _ = compared("v1-a0.25-r64", "v2-a1-r64", "--batch", 8, "--precision", "int8")
    assert ["v1-a0.25-r64-b8-int8", "v2-a1-r64-b8-int8"] == [source.name for source in rows[0]]
    rows, _ = compared("v1", "v2", "--alpha", "0.5,1", "--res", 64)
    assert ["v2-a0.5-r64", "v2-a1-r64"] == [candidate.name for _, candidate in rows]


@pytest.mark.parametrize(
    ("sides", "options", "message"),
    [
        (("v1-a0.25-r64", "v1-a0.25-r64"), ("--res", 32), "v1-a0.25-r64 is one variant: resolution cannot be set"),
        (
            ("v1-a0.25-r64", "v1-a0.25-r64"),
            ("--dim", "height=32"),
            "v1-a0.25-r64 is a graph, to which --dim does not apply",
        ),
        (
            ("a.onnx", "a.onnx"),
            ("--precision", "int8"),
            "a.onnx is a finished model, to which --precision does not apply",
        ),
        ((".", "."), ("--alpha", 0.5), "a.onnx is a finished model, to which --alpha does not apply"),
        (("fp32", "int8", "v1"), ("--precision", "fp16"), "v1-a1-r224-fp16 is in fp16"),
    ],
)
def test_options_that_mean_nothing_are_refused(compared, model, sides, options, message):
    """Nothing else is measured in silence."""
    model("a.onnx")
    rows, error = compared(*sides, *options)
    assert [] == rows
    assert message in error


@pytest.mark.slow
def test_a_model_is_not_slower_than_itself(invoke, model, workspace):
    """Real processes; whatever the machine is busy with, nobody is accused."""
    path = model("a.onnx")
    result = invoke("compare", path, path, "--allow", "busy", "--format", "json", "--processes", "4")
    payload = json.loads(result.stdout)
    (matches,) = payload["findings"]
    assert {"pass": 0, "inconclusive": 4}[payload["verdict"]] == result.exit_code
    assert ("a", "cpu", 4) == (matches["variant"], matches["device"], matches["processes"])
    assert matches["pairs"] >= 30
    assert 0 < matches["low"] <= matches["ratio"] <= matches["high"]
    stored = workspace / "results" / "raw" / payload["run"]
    (again,) = Comparison.load(stored).findings
    assert matches == msgspec.to_builtins(again)


@pytest.mark.parametrize(("allowed", "code", "verdict"), [((), 4, "inconclusive"), (("inconclusive",), 0, "pass")])
def test_what_nobody_can_tell_fails_unless_it_is_allowed(invoke, model, allowed, code, verdict):
    """A budget for one process is none for a verdict."""
    path = model("a.onnx")
    words = [word for item in ("busy", *allowed) for word in ("--allow", item)]
    result = invoke("compare", path, path, "--budget", "1ms", "--format", "json", *words)
    payload = json.loads(result.stdout)
    assert (code, verdict) == (result.exit_code, payload["verdict"])
    assert "1 of at least 4 processes: raise --budget" == payload["findings"][0]["reason"]


@pytest.mark.slow
def test_a_wider_network_is_slower(invoke):
    """Twice the width: exit 3, in every format."""
    arguments = ("compare", "v1-a0.25-r64", "v1-a0.5-r64", "--allow", "busy")
    result = invoke(*arguments, "--format", "json")
    payload = json.loads(result.stdout)
    (matches,) = payload["findings"]
    assert (3, "slower", "slower") == (result.exit_code, payload["verdict"], matches["verdict"])
    assert 1.2 < matches["low"] < matches["high"] < 10
    assert "when measured again, alone" in matches["reason"]
    result = invoke(*reversed_arms(arguments))
    assert (0, True, True) == (result.exit_code, "faster" in result.stdout, "PASS" in result.stdout)
    assert "\x1b" not in result.stdout


def reversed_arms(arguments):
    """The same, the other way round."""
    first, base, candidate, *remainder = arguments
    return first, candidate, base, *remainder


@pytest.mark.slow
def test_folders_precisions_settings_and_runtimes(invoke, model, workspace, monkeypatch):
    """Each kind of comparison runs to its end."""
    model("old/a.onnx")
    model("old/b.onnx", alpha=0.5)
    shutil.copytree(workspace / "old", workspace / "new")
    (workspace / "new" / "b.onnx").unlink()
    quick = ("--allow", "busy", "--processes", "4", "--format", "json")
    result = invoke("compare", "old", "new", *quick)
    entries = {load["variant"]: load["verdict"] for load in json.loads(result.stdout)["findings"]}
    assert (4, {"a", "b"}, "missing") == (result.exit_code, set(entries), entries["b"])
    assert entries["a"] in ("same", "inconclusive")

    # a Python of its own, without a package index: this very one by another path
    monkeypatch.setattr("mnbench.comparison.sides.create_environment", lambda *_, **__: Path(sys.executable))
    for base, candidate in (
        ("fp32", "fp16"),
        ("default", "session.intra_op.allow_spinning=1"),
        ("onnxruntime==1.0", "onnxruntime"),
    ):
        result = invoke("compare", base, candidate, "v2", "--alpha", "0.35", "--res", "32", *quick)
        (entries,) = json.loads(result.stdout)["findings"]
        assert ("v2-a0.35-r32", 4) == (entries["variant"], entries["processes"]), (base, result.stderr)


def test_self_check_compares_the_base_with_itself(invoke, monkeypatch):
    """The candidate is not even made."""
    recorded = []

    def run(procedure, *labels, **_):
        recorded.append((list(procedure.cases.values()), labels, procedure.settings))
        return Comparison(
            verdict="pass",
            base=labels[0],
            candidate=labels[1],
            findings=(),
            rules=procedure.settings.rules,
            seed=0,
            run=procedure.log.folder.name,
        )

    monkeypatch.setattr("mnbench.comparison.procedure.Procedure.run", run)
    assert 0 == invoke("compare", "v1-a0.25-r32", "v1-a0.5-r32", "--self-check").exit_code
    (rows, names, settings) = recorded[0]
    assert rows[0].baseline == rows[0].candidate
    assert ("v1-a0.25-r32", "v1-a0.25-r32") == names
    assert settings.self_check


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (("nonsense", "v1-a1-r224"), 1, "nonsense: unknown graph"),
        (("a.onnx", "b.onnx"), 1, "a.onnx: cannot be read (No such file or directory)"),
        (("fp32", "int8"), 1, "no graphs to compare them with"),
        (("v1-a1-r224", "v1-a1-r224", "--processes", "3"), 2, "--processes"),
        (("v1-a1-r224", "v1-a1-r224", "--margin", "5"), 2, "--margin"),
        (("v1-a1-r224", "v1-a1-r224", "--allow", "anything"), 2, "--allow"),
        (("fp32", "int8", "v1", "--batch", "dynamic"), 2, "batch of fixed size"),
        (("v1-a1-r224", "v1-a1-r224", "--device", "nowhere"), 1, "unknown device"),
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
    assert "is not an ONNX model, or is cut short" in result.stderr
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
    assert "the unfinished comparison is not stored" in stderr
    assert "Traceback" not in stderr
    assert {} == tree(workspace)
    assert [] == list(temporary.glob("mnbench*"))

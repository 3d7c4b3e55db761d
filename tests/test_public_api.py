"""The public Python API: its names, its signatures, its types, and that it neither prints nor reads the folder."""

# ruff: noqa: SIM300  expected == actual

import ast
import inspect
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
from checkpoints import tensors
from safetensors.numpy import save_file

import mnbench
from mnbench.errors import MnbenchError
from mnbench.model.sources import Sources
from mnbench.network.variant import OnnxFile, Variant
from mnbench.results.results import Results

ROOT = Path(__file__).parents[1]

CLASSES = ["Comparison", "DecisionRules", "MnbenchError", "Model", "Results", "SamplingConfig"]

SIGNATURES = {
    "build": "graph *alpha *resolution *batch *classes *precision *padding *weights *seed *opset *simplify "
    "*fold_batch_norm **options",
    "compare": "baseline candidate *graphs *device *rules *budget_s *seed *allow *results *on_progress",
    "cost": "graph *per **variant",
    "diagnose": "device *measure_noise *on_progress",
    "gate": "table *models *host *base_ref *measure_unchanged *device *rules *budget_s *seed *allow *results"
    " *on_progress",
    "load_results": "path *device *host *newest",
    "onnx_file": "path *name *sizes *shapes *inputs *batch *resolution",
    "plot": "results kind *dark",
    "run": "graphs *device *sampling *threads *cores *packages *seed *results *resume *roofline *profile "
    "*allow_fallback *on_progress",
    "variants": "graphs *alpha *resolution *published **options",
    "verify": "model reference *device *inputs *random_inputs *tolerance *seed *on_progress",
}

MARKS = {inspect.Parameter.KEYWORD_ONLY: "*", inspect.Parameter.VAR_KEYWORD: "**"}


def signature(function):
    """Return the parameters in a line; `*` is before those that must be named."""
    return " ".join(MARKS.get(item.kind, "") + item.name for item in inspect.signature(function).parameters.values())


def test_the_names_are_those_documented():
    """There are seventeen names; each can be imported, and `dir` shows it."""
    assert sorted([*CLASSES, *SIGNATURES]) == sorted(mnbench.__all__)
    assert set(mnbench.__all__) <= set(dir(mnbench))
    assert all(getattr(mnbench, name) for name in mnbench.__all__)
    with pytest.raises(AttributeError, match="nonsense"):
        mnbench.nonsense  # noqa: B018


@pytest.mark.parametrize("name", CLASSES)
def test_public_classes_are_documented(name):
    """The linter asks for no docstrings below `api.py`, so this test does for what users see."""
    public = {key: value for key, value in vars(getattr(mnbench, name)).items() if not key.startswith("_")}
    methods = {key: value for key, value in public.items() if inspect.isroutine(value) or isinstance(value, property)}
    assert getattr(mnbench, name).__doc__
    assert [] == [key for key, method in methods.items() if not inspect.getdoc(method)]


@pytest.mark.parametrize("name", SIGNATURES)
def test_the_signatures_are_those_documented(name):
    """A parameter that is renamed or removed breaks users' scripts."""
    assert SIGNATURES[name] == signature(getattr(mnbench, name))
    assert getattr(mnbench, name).__doc__


def test_importing_is_quick():
    """`import mnbench` imports nothing else."""
    heavy = {"click", "execnet", "msgspec", "numpy", "onnx", "rich"}
    code = f"import sys, mnbench; print(sorted({heavy} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert "[]\n" == done.stdout


@pytest.mark.slow
def test_a_users_script_has_strict_types(tmp_path):
    """Pyright, in strict mode, accepts a script that uses every function."""
    (tmp_path / "pyrightconfig.json").write_text('{"typeCheckingMode": "strict"}')
    script = tmp_path / "user_script.py"
    script.write_text((ROOT / "tests/data/user_script.py").read_text())
    command = [sys.executable, "-m", "pyright", "--pythonpath", sys.executable, "-p", str(tmp_path), str(script)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
    assert 0 == done.returncode, done.stdout


def test_the_library_neither_prints_nor_exits_nor_reads_the_folder():
    """Below `cli/`, no module calls print or input, leaves the process, or asks for the current folder."""
    forbidden = {"print", "input", "sys.exit", "sys.stdout.write", "sys.stdin.read", "os.getcwd", "Path.cwd"}
    allowed = ("mnbench/cli/", "mnbench/worker/", "mnbench/__main__.py")
    calls = [
        f"{path.relative_to(ROOT)}:{node.lineno}: {ast.unparse(node)}"
        for path in sorted((ROOT / "mnbench").rglob("*.py"))
        if not str(path.relative_to(ROOT)).startswith(allowed)
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call) and ast.unparse(node.func) in forbidden
    ]
    assert [] == calls


def test_variants_are_a_grid():
    """Every α at every size; a variant's name is one variant; sizes are sides or pairs."""
    names = [variant.name for variant in mnbench.variants("v1", alpha=(0.5, 1), resolution=[160, (96, 128)])]
    assert ["v1-a0.5-r160", "v1-a0.5-r96x128", "v1-a1-r160", "v1-a1-r96x128"] == names
    assert ["v1-a0.5-r160"] == [variant.name for variant in mnbench.variants("v1-a0.5-r160")]
    assert ["v1-a1-r240x320"] == [variant.name for variant in mnbench.variants("v1", resolution=(240, 320))]
    (variant,) = mnbench.variants("shufflenet-v1", groups=8, precision="fp16")
    assert "shufflenet-v1-g8-a1-r224-fp16" == variant.name


@pytest.mark.parametrize(
    ("graph", "options", "names"),
    [
        ("v1-a0.5-r160", {"alpha": 0.25}, "alpha"),
        ("v1-a0.5-r160", {"resolution": 96}, "resolution"),
        ("shufflenet-v1-a0.5-r160", {"groups": 8, "alpha": 1.5}, "alpha, groups"),
        ("own.onnx", {"precision": "fp16"}, "precision"),
        ("own.onnx", {"classes": 5}, "classes"),
    ],
)
def test_an_option_is_set_or_rejected(graph, options, names):
    """What a variant's name or a file fixes cannot be set again, in any function; the error names the options."""
    functions = [mnbench.build, mnbench.cost] + [mnbench.variants] * (not graph.endswith(".onnx"))
    for function in functions:
        with pytest.raises(MnbenchError, match=rf"(?m): {names} cannot be set$"):
            function(graph, **options)


def test_models_and_variants_take_no_alpha_again():
    """A Model is finished, and a Variant has its alpha; what all variants have can still be set."""
    model = mnbench.build("v1-a0.25-r32")
    (variant,) = mnbench.variants("v1-a0.25-r32", precision="fp16", batch=None)
    assert "v1-a0.25-r32-bdynamic-fp16" == variant.name
    assert "v1-a0.25-r32-fp16" == mnbench.build("v1-a0.25-r32", precision="fp16").name
    for graph in (model, model.proto, variant):
        with pytest.raises(MnbenchError, match="alpha cannot be set"):
            mnbench.build(graph, alpha=0.5)


def test_weights_decide_alpha_unless_it_is_set(tmp_path):
    """The alpha that the shapes fit, or the one that was set, which they must then fit."""
    save_file(tensors("v2", "torchvision", 0.5), tmp_path / "v2.safetensors")
    assert "v2-a0.5-r64" == mnbench.build("v2", resolution=64, weights=tmp_path / "v2.safetensors").name
    assert "v2-a0.5-r64" == mnbench.build("v2-a0.5-r64", weights=tmp_path / "v2.safetensors").name
    for graph, options in (("v2", {"alpha": 0.75}), ("v2-a0.75-r64", {})):
        with pytest.raises(MnbenchError, match=r"is not v2 at alpha 0.75"):
            mnbench.build(graph, weights=tmp_path / "v2.safetensors", **options)


@pytest.mark.slow
def test_what_is_not_stored_is_not_drawn(fake_worker, tmp_path):  # noqa: ARG001
    """Profiles and samples are read where the results are, also of some of them; without a folder there are none."""
    sampling = mnbench.SamplingConfig(processes=1, budget_s=0.001)
    with pytest.raises(MnbenchError, match="profiles are stored with the results"):
        mnbench.run("v1-a0.25-r32", profile=True)
    stored = mnbench.run("v1-a0.25-r32", sampling=sampling, results=tmp_path / "elsewhere")
    for results in (stored, mnbench.load_results(tmp_path / "elsewhere").where("graph=v1").sort("latency_ns")):
        assert tmp_path / "elsewhere" == results.folder
        assert 1 == len(mnbench.plot(results, "distribution").records)
    for kind in ("distribution", "layers"):
        with pytest.raises(MnbenchError, match=r"is kept|are kept"):
            mnbench.plot(mnbench.run("v1-a0.25-r32", sampling=sampling), kind)


def test_build_and_cost_agree(tmp_path):
    """A model, its file and its costs without building it."""
    model = mnbench.build("v1", alpha=0.25, resolution=32)
    path = model.save(tmp_path / "v1.onnx")
    assert path.read_bytes() == model.to_bytes()
    assert model.proto == onnx.load(path)
    assert "v1-a0.25-r32" == model.name
    assert model.cost.mult_adds == mnbench.cost("v1-a0.25-r32").mult_adds == mnbench.cost(path).mult_adds
    assert mnbench.cost(model).params == mnbench.cost(model.proto).params
    assert "<table>" in model._repr_html_()
    assert "<table>" in mnbench.cost("v1", per="row")._repr_html_()


def test_values_are_shown_in_a_line_or_as_their_table(make_record):
    """What a prompt shows is short: a value's name, or its table, and not all fields."""
    model, costs = mnbench.build("v1-a0.25-r32"), mnbench.cost("v1-a0.25-r32")
    assert "[<Variant: v1-a0.25-r32>]" == repr(mnbench.variants("v1-a0.25-r32"))
    assert f"<Model: v1-a0.25-r32, {model.nodes} nodes>" == repr(model)
    assert repr(costs) == str(costs) == repr(costs.table())
    assert "<Plot: mult-adds of 1 records>" == repr(mnbench.plot(Results([make_record()])))


@pytest.mark.slow
def test_run_returns_results(fake_worker, tmp_path):  # noqa: ARG001
    """Records in order; progress is reported; nothing is stored unless a folder is named."""
    reports = []
    sampling = mnbench.SamplingConfig(processes=1, budget_s=0.001)
    names = ["v1-a0.25-r32", "v1-a0.25-r64"]
    results = mnbench.run(names, sampling=sampling, results=tmp_path / "kept", on_progress=reports.append)

    assert names == [record.variant for record in results]
    assert {"build", "measure"} <= {report.stage for report in reports}
    assert names == [report.record.variant for report in reports if report.record] or len(names) == len(results)
    assert names == sorted(record.variant for record in mnbench.load_results(tmp_path / "kept"))
    again = mnbench.run(mnbench.build("v1", alpha=0.25, resolution=32), sampling=sampling)
    assert ["v1-a0.25-r32"] == [record.variant for record in again]


@pytest.mark.slow
def test_a_model_that_run_would_build_is_its_variant(fake_worker, tmp_path):  # noqa: ARG001
    """Its record is that of the variant; with other weights, another seed or another form of the graph it is a file."""
    name, sampling = "shufflenet-v2-megvii-a0.5-r32", mnbench.SamplingConfig(processes=1, budget_s=0.001)
    records = [mnbench.run(graph, sampling=sampling)[0] for graph in (name, mnbench.build(name))]
    assert {"unit": "megvii"} == records[0].options
    facts = [(item.variant, item.architecture, item.alpha, item.options, item.model_sha256) for item in records]
    assert facts[0] == facts[1]

    save_file(tensors("v2", "timm", 0.35), tmp_path / "v2.safetensors")
    trained = mnbench.build("v2", resolution=32, weights=tmp_path / "v2.safetensors")
    models = [mnbench.build("v1-a0.25-r32", **form) for form in ({}, {"simplify": False}, {"fold_batch_norm": False})]
    sources = Sources(tmp_path)
    assert [OnnxFile] * 4 == [
        type(source) for source in sources.sources([trained, *models[1:], models[0].proto], seed=0)
    ]
    assert [Variant] == [type(source) for source in sources.sources(models[0], seed=0)]
    assert [OnnxFile] == [type(source) for source in sources.sources(models[0], seed=1)]


def test_an_unknown_graph_raises_an_error_with_its_hint():
    """The hint is a note, so a notebook shows it below the error."""
    with pytest.raises(MnbenchError) as raised:
        mnbench.cost("v9")
    assert any(note.startswith("Hint: ") for note in raised.value.__notes__)


@pytest.mark.slow
def test_verify_takes_arrays():
    """An array in memory, on a worker of the device."""
    image = np.random.default_rng(0).standard_normal((1, 3, 32, 32)).astype(np.float32)
    verification = mnbench.verify("v1-a0.25-r32", inputs=[image])
    assert verification.agrees
    assert 1 == verification.inputs


@pytest.mark.slow
def test_the_examples_of_the_documentation_run(workspace, capsys):  # noqa: ARG001
    """The Python blocks of docs/api.md run as they stand, in their order, and name every function."""
    pytest.importorskip("vl_convert")
    text = (ROOT / "docs/api.md").read_text(encoding="utf-8")
    code = "\n".join(re.findall(r"^```python\n(.*?)^```", text, re.MULTILINE | re.DOTALL))
    exec(compile(code, "docs/api.md", "exec"), {})  # noqa: S102
    assert [] == [name for name in SIGNATURES if f"mnbench.{name}(" not in code]
    assert capsys.readouterr().out

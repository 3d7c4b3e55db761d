"""The golden files: what mnbench prints and which bytes its models have, recorded before the code is rearranged.

The tests use the command line only, so they survive every move inside the package. Each part has a file of its own in
`tests/data/golden/`. To record all parts again, run `python tests/e2e/test_golden.py`; to record some of them, run
pytest with `MNBENCH_UPDATE_GOLDEN=1`. The differences then belong into the changelog.
"""

import hashlib
import json
import os
import sys
from importlib.metadata import version
from pathlib import Path

import click
import onnx
import pytest
from click.testing import CliRunner
from small_variants import FIXED, HEAVY, SCALABLE, SMALL_SIZES

from mnbench.cli import main

ROOT = Path(__file__).parents[2]
GOLDEN = ROOT / "tests/data/golden"
UPDATE = bool(os.environ.get("MNBENCH_UPDATE_GOLDEN"))

STUDIES = sorted(path.relative_to(ROOT).as_posix() for path in (ROOT / "graphs/study_networks").glob("*.toml"))
SHUFFLENETS = [
    *(f"shufflenet-v1 --groups {groups}" for groups in (1, 2, 4, 8)),
    "shufflenet-v1 --unit megvii",
    "shufflenet-v2 --unit megvii",
    "shufflenet-v2 --unit torchvision",
]
OPTIONS = [
    "v1 --alpha 0.25 --res 128",
    "v1 --alpha 0.25 --rho 0.714",
    "v1 --alpha 0.25 --res 96x128 --batch 4",
    "v1 --alpha 0.25 --batch dynamic",
    "v1 --alpha 0.25 --padding same",
    "v2 --alpha 0.35 --classes 0",
    "v2 --alpha 0.35 --classes 10 --padding same",
    "v2 --alpha 0.35 --seed 1",
    "v2 --alpha 0.35 --opset 21",
    "v3-small --alpha 0.5 --activation relu",
    "v3-small --alpha 0.5 --precision fp16 --keep-bn",
    "v3-small --alpha 0.5 --precision int8 --no-simplify",
]

QUICK_MODELS = [
    *(f"{graph} --alpha 0.5 --no-simplify" for graph in SCALABLE),
    "v1 --alpha 0.5",
    "v3-small --alpha 0.5",
    "v3-small --alpha 0.5 --precision fp16",
    "shufflenet-v2 --alpha 0.5",
]
SLOW_MODELS = [
    *(f"{graph} --alpha {alpha}" for graph in SCALABLE for alpha in ("0.5", "1")),
    *(f"{graph} --alpha 0.5 {form}" for graph in SCALABLE for form in ("--precision fp16", "--precision int8")),
    *(f"{graph} --alpha 0.5 --keep-bn" for graph in SCALABLE),
    *(f"{graph} --alpha 0.5" for graph in SHUFFLENETS),
    *(f"{graph} --res {SMALL_SIZES.get(graph, (64, 64))[0]}" for graph in FIXED if graph not in HEAVY),
    *OPTIONS,
]
SLOW_MODELS = [arguments for arguments in SLOW_MODELS if arguments not in QUICK_MODELS]
MODEL_LIBRARIES = ("numpy", "onnx", "onnxruntime", "onnxsim")
"""The libraries whose versions decide on a model's bytes."""
TEXT_LIBRARIES = ("click", "rich")
"""The libraries whose versions decide on the layout of a help text or a table."""

TABLES = {"rich": "txt", "md": "md", "csv": "csv", "json": "json", "latex": "tex", "html": "html"}
COLUMNS = (
    "variant,graph,alpha,resolution,params,mult_adds,memory_access,memory_access_bytes,peak_activation_bytes,latency_ns,"
    "interval_ns,low_ns,high_ns,undisturbed_ns,p10_ns,p90_ns,min_ns,mult_adds_per_s,bound_ns,of_bound,placed,first_run_ns,"
    "session_ns,conversion_ns,peak_rss_bytes,p99_ns,cpu_ns,copy_in_ns,copy_out_ns,difference,top1,accuracy_source,precision,batch,"
    "effective_runs,processes,runs,device,threads,runtime,host,measured_at,issues"
)


def mnbench(*arguments, columns=100):
    """Run a command in this process and return what it prints."""
    clean = {"FORCE_COLOR": None, "NO_COLOR": None, "TTY_COMPATIBLE": None, "COLUMNS": str(columns)}
    result = CliRunner(env=clean).invoke(main, arguments, prog_name="mnbench", catch_exceptions=False)
    assert result.exit_code == 0, result.stderr
    return result.stdout


def release():
    """Return the version of mnbench."""
    return mnbench("--version").split()[-1]


def recorded_versions(libraries):
    """Return the versions that the golden files were recorded with; skip the test if these libraries differ from them.

    The versions are those of constraints.txt.
    """
    path = GOLDEN / "versions.json"
    if UPDATE:
        versions = {library: version(library) for library in (*MODEL_LIBRARIES, *TEXT_LIBRARIES)}
        path.write_text(json.dumps({"mnbench": release()} | versions, indent=1) + "\n")
    recorded = json.loads(path.read_text())
    for library in libraries:
        if version(library) != recorded[library]:
            pytest.skip(f"recorded with {library} {recorded[library]}, and {version(library)} is installed")
    return recorded


def check(name, text):
    """Compare a text with the golden file of that name, or write that file."""
    path = GOLDEN / name
    if UPDATE:
        path.write_text(text, encoding="utf-8")
    assert path.read_text(encoding="utf-8").splitlines() == text.splitlines()


def model_cases():
    """List the models' arguments; the models that take long are marked."""
    return [*QUICK_MODELS, *(pytest.param(arguments, marks=pytest.mark.slow) for arguments in SLOW_MODELS)]


@pytest.mark.parametrize("arguments", model_cases())
def test_models_bytes(arguments, tmp_path):
    """A model has the recorded bytes, apart from the version of mnbench in it."""
    recorded = recorded_versions(MODEL_LIBRARIES)
    mnbench("build", *arguments.split(), "-o", str(tmp_path / "model.onnx"))
    digest = sha256(tmp_path / "model.onnx", recorded["mnbench"])
    compare_digest("models.json", arguments, digest)
    exact_digests = f"models-int8-{vector_instructions()}.json"
    if "int8" in arguments and recorded["mnbench"] == release() and (UPDATE or (GOLDEN / exact_digests).exists()):
        exact = hashlib.sha256((tmp_path / "model.onnx").read_bytes()).hexdigest()
        compare_digest(exact_digests, arguments, exact)


def compare_digest(name, arguments, digest):
    """Compare a model's digest with the one in a golden file, or write it there."""
    path = GOLDEN / name
    digests = json.loads(path.read_text()) if path.exists() else {}
    if UPDATE:
        digests[arguments] = digest
        ordered = {case: digests[case] for case in (*QUICK_MODELS, *SLOW_MODELS) if case in digests}
        path.write_text(json.dumps(ordered, indent=1) + "\n")
    assert digests[arguments] == digest


def vector_instructions():
    """Return the widest vector instructions of this processor, on which the last bits of a sum depend."""
    path = Path("/proc/cpuinfo")
    flags = path.read_text().split() if path.exists() else []
    return next((flag for flag in ("avx512f", "avx2") if flag in flags), "other")


def sha256(path, mnbench_version):
    """Return the digest of a model as that version of mnbench writes it: a model holds the version in two places.

    Of an int8 model, the digest leaves out the numbers that follow from the calibration: onnxruntime's sums in fp32
    have other last bits on a processor with other vector instructions. The exact digests have a file for each kind.
    """
    data = path.read_bytes()
    proto = onnx.load_from_string(data)
    assert proto.SerializeToString() == data
    proto.producer_version = mnbench_version
    for entry in proto.metadata_props:
        if entry.key == "mnbench_version":
            entry.value = mnbench_version
    calibrated = set(calibrated_names(proto.graph))
    for tensor in proto.graph.initializer:
        if tensor.name in calibrated:
            for field in ("raw_data", "float_data", "int32_data"):
                tensor.ClearField(field)
    return hashlib.sha256(proto.SerializeToString()).hexdigest()


def calibrated_names(graph):
    """List the scales and zero points of activations, and the biases, whose scale is that of an activation in part."""
    biases = {tensor.name for tensor in graph.initializer if tensor.data_type == onnx.TensorProto.INT32}
    for node in graph.node:
        if node.op_type == "QuantizeLinear":
            yield from node.input[1:]
        elif node.op_type == "DequantizeLinear" and node.input[0] in biases:
            yield from node.input


def test_cost(monkeypatch):
    """One line a variant, with its counts and those of each layer type."""
    monkeypatch.chdir(ROOT)
    plain = [
        *(f"{graph} --alpha 0.5,1 --res 128,224" for graph in SCALABLE),
        *(f"{graph} --alpha 0.5" for graph in SHUFFLENETS),
        *(f"{graph} --res {SMALL_SIZES.get(graph, (64, 64))[0]}" for graph in FIXED if graph not in HEAVY),
        *(f"{graph} --alpha 0.5 --precision int8" for graph in SCALABLE),
        *OPTIONS[:7],
        *STUDIES,
    ]
    lines = []
    for arguments in plain:
        printed = json.loads(mnbench("cost", *arguments.split(), "--format", "json"))
        lines += [f"{arguments}: {dumps(cost)}" for cost in printed.get("costs", [printed])]
    check("cost.jsonl", "\n".join(lines) + "\n")


def test_cost_of_layers():
    """One line a layer, with the names of its numbers at the top."""
    lines = []
    for graph in SCALABLE:
        layers = json.loads(mnbench("cost", graph, "--layers", "--format", "json"))["layers"]
        assert len({tuple(layer) for layer in layers}) == 1
        lines.append(f"{graph}: {dumps(list(layers[0]))}")
        lines += [dumps(list(layer.values())) for layer in layers]
    check("layers.jsonl", "\n".join(lines) + "\n")


def dumps(value):
    """Write JSON on one line."""
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False)


@pytest.mark.parametrize("form", TABLES)
def test_table(form):
    """One table in each format."""
    recorded_versions(TEXT_LIBRARIES)
    check(f"table.{TABLES[form]}", mnbench("table", "--results", str(GOLDEN / "results"), "--format", form))


def test_schema_1_is_readable():
    """All numbers of records of schema 1: of four devices, one from before `session` was stored, one that failed."""
    printed = mnbench("table", "--results", str(GOLDEN / "schema-1"), "--columns", COLUMNS, "--format", "csv")
    check("schema-1.csv", printed)


def test_help():
    """The help of every command and subcommand at 80 columns."""
    recorded_versions(TEXT_LIBRARIES)
    lines = []
    for path in sorted(commands(main, [])):
        lines += [f"$ mnbench {' '.join([*path, '--help'])}", mnbench(*path, "--help", columns=80)]
    check("help.txt", "\n".join(lines))


def commands(command, path):
    """List the paths of a command and its subcommands."""
    yield path
    if isinstance(command, click.Group):
        context = click.Context(command)
        for name in command.list_commands(context):
            yield from commands(command.get_command(context, name), [*path, name])


if __name__ == "__main__":
    os.environ["MNBENCH_UPDATE_GOLDEN"] = "1"
    sys.exit(pytest.main([__file__, "-q", "-p", "no:randomly", "-p", "no:xdist", *sys.argv[1:]]))

"""Profiles: what the runtime wrote is read right, each node finds its layer or a row of its own, nothing is lost."""

# ruff: noqa: SIM300  expected == actual

import csv
import io
import json
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from small_variants import HEAVY, SCALABLE, small_variant
from small_variants import NAMES as GRAPHS

from mnbench.bench.plan import Plan, SamplingConfig
from mnbench.bench.prepare import prepare_case
from mnbench.bench.profiling import CONVERSION_OPS, assign_kernels, profile_layers, subtract_overhead
from mnbench.errors import TrialError
from mnbench.model import probe_models
from mnbench.model.build import build_model
from mnbench.network.layer import Layer, Tensor
from mnbench.network.row import Row
from mnbench.results.layer_profile import KernelTime, LayerProfile, LayerTime
from mnbench.targets.device import read_device
from mnbench.targets.runtimes import runtime_facts
from mnbench.worker.runtimes.onnxruntime import kernels
from mnbench.workspace import built_in

PROFILER = runtime_facts("onnxruntime").profiler_nodes
CONVERSIONS = CONVERSION_OPS | set(PROFILER.conversions)
RECORDED = Path(__file__).parents[1] / "data" / "profile-onnxruntime-1.32.json"
CPU = "CPUExecutionProvider"
RUN = ("run", "v1", "--alpha", "0.25", "--res", "32", "--processes", "1", "--duration", "0.01", "--profile")


def chain(*kinds):
    """Layers one behind the other, each named after its kind and place."""
    return [
        Layer(
            scope=f"{kind}{at}",
            kind=kind,
            inputs=(Tensor(f"t{at}", (1, 4, 2, 2)),),
            outputs=(Tensor(f"t{at + 1}", (1, 4, 2, 2)),),
            weights=(Tensor(f"conv{at}.weight", (4, 4, 1, 1)),) if kind == "conv" else (),
            mult_adds=64 if kind == "conv" else 0,
        )
        for at, kind in enumerate(kinds)
    ]


def node(name, op="Conv", duration_ns=1000, tensors=3, provider=CPU):
    """A node as a worker tells of it."""
    return KernelTime(name=name, op=op, provider=provider, tensors=tensors, duration_ns=duration_ns)


def places(nodes, layers):
    """Where each node went: its layer's scope, or `+` and its own name."""
    parts = assign_kernels(nodes, layers, PROFILER)
    return {kernel.name: f"+ {part.scope}" if part.added else part.scope for part in parts for kernel in part.nodes}


def make_profile(layers, nodes, **changes):
    """A profile of these layers and nodes."""
    facts = {
        "variant": "own",
        "row": Row("own", None, "own.onnx"),
        "host_identity": None,
        "device": "cpu",
        "provider": CPU,
        "runtime": "onnxruntime 1.2.3",
        "threads": 1,
        "measured_at": "2026-01-01T00:00:00+00:00",
        "runs": 50,
        "latency_ns": 10_000,
        "parts": assign_kernels(nodes, layers, PROFILER),
    }
    return LayerProfile(**facts | changes)


def test_a_recorded_profile_gives_each_node_once_in_order():
    """The file of onnxruntime 1.32: one entry a node, warm-up runs left out, sessions' own events too."""
    result = kernels(json.loads(RECORDED.read_text()), skip=1)

    assert ["r_nchwc", "p_nchwc", "ReorderOutput", "flatten", "fc"] == [item["name"] for item in result]
    assert ["Conv", "GlobalAveragePool", "ReorderOutput", "Flatten", "Gemm"] == [item["op"] for item in result]
    assert {CPU} == {item["provider"] for item in result}
    # x, weight, bias and what it writes.
    assert 4 == result[0]["tensors"]
    # 17, 13 and 12 µs, cut off: their mean and half a microsecond.
    assert 14_500 == result[0]["duration_ns"]


def test_a_recorded_profile_joins_nodes_that_are_named_after_tensors():
    """A fused node is named after the tensor it writes: time goes to the convolution before the activation."""
    layers = [
        Layer(
            scope=scope,
            kind=kind,
            inputs=(Tensor(read, (1, 4)),),
            outputs=(Tensor(written, (1, 4)),),
            weights=(Tensor(f"{scope}.weight", (4, 4, 1, 1)),) if kind in ("conv", "fully_connected") else (),
        )
        for scope, kind, read, written in (
            ("conv1/conv", "conv", "x", "c"),
            ("conv1/relu", "relu", "c", "r"),
            ("pool", "global_average_pool", "r", "p"),
            ("flatten", "flatten", "p", "f"),
            ("fc", "fully_connected", "f", "y"),
        )
    ]
    nodes = msgspec.convert(kernels(json.loads(RECORDED.read_text()), skip=1), list[KernelTime])

    assert {
        "r_nchwc": "conv1/conv",
        "p_nchwc": "pool",
        "ReorderOutput": "+ ReorderOutput",
        "flatten": "flatten",
        "fc": "fc",
    } == places(nodes, layers)


def test_nodes_of_one_name_stay_apart():
    """ONNX lets nodes share a name: they are told apart by their index."""
    events = [
        {"cat": "Node", "name": "same_kernel_time", "dur": dur, "args": {"op_name": "Relu", "node_index": index}}
        for dur, index in ((1, "0"), (5, "1"), (1, "0"), (5, "1"))
    ]

    assert [1500, 5500] == [kernel["duration_ns"] for kernel in kernels(events, skip=0)]


def test_one_slow_run_moves_no_kernel():
    """The middle half of the runs is what counts."""
    events = [
        {"cat": "Node", "name": "a_kernel_time", "dur": dur, "args": {"op_name": "Relu"}} for dur in [9] * 9 + [900]
    ]

    assert [9500] == [kernel["duration_ns"] for kernel in kernels(events, skip=0)]


def test_what_the_profiler_takes_is_taken_off():
    """A probe shows it for two tensors and for ten; between them it grows by the tensor. Nothing goes below 0."""
    probe = [node(f"few{at}", tensors=2, duration_ns=2000) for at in range(3)]
    probe += [node(f"many{at}", tensors=10, duration_ns=4000) for at in range(3)]
    nodes = [node("a", tensors=2, duration_ns=9000), node("b", tensors=6, duration_ns=9000), node("c", duration_ns=1)]

    assert [7000, 6000, 0] == [kernel.duration_ns for kernel in subtract_overhead(nodes, probe)]


@pytest.mark.parametrize(
    ("name", "op", "expected"),
    [
        ("conv0", "Conv", "conv0"),
        ("conv0_nchwc", "Conv", "conv0"),
        ("conv0_token_12", "QLinearConv", "conv0"),
        ("relu1_nchwc", "Conv", "conv0"),
        ("InsertedPrecisionFreeCast_relu1_nchwc", "Conv", "conv0"),
        ("fused conv0", "FusedConv", "conv0"),
        ("relu1", "Relu", "relu1"),
        ("relu1_token_3", "QLinearRelu", "relu1"),
        ("t2_nchwc", "Conv", "conv0"),
        ("conv10", "Conv", "+ conv10"),
        ("ReorderOutput_token_2", "ReorderOutput", "+ ReorderOutput_token_2"),
        ("conv0_cast", "Cast", "+ conv0_cast"),
    ],
)
def test_the_runtimes_names_lead_to_layers(name, op, expected):
    """What onnxruntime makes of a name is undone; a longer number is another name; conversions are no layers."""
    assert {name: expected} == places([node(name, op)], chain("conv", "relu", "conv"))


def test_a_layer_taken_apart_gets_its_pieces():
    """The runtime makes h-swish of two nameless nodes; those of another layer keep their own rows."""
    layers = chain("conv", "hard_swish", "conv")
    nodes = [node("conv0"), node("HardSigmoid_9", "HardSigmoid"), node("Mul_10", "Mul"), node("conv2")]
    nodes.append(node("Mul_11", "Mul"))

    assert {
        "conv0": "conv0",
        "HardSigmoid_9": "hard_swish1",
        "Mul_10": "hard_swish1",
        "conv2": "conv2",
        "Mul_11": "+ Mul_11",
    } == places(nodes, layers)


NAMES = st.sampled_from(
    ["conv0", "conv0_nchwc", "relu1_nchwc", "fused conv2", "t1", "Mul_4", "Reorder", "", "conv", "1"]
)
OPS = st.sampled_from(["Conv", "Relu", "Mul", "HardSigmoid", "Cast", "ReorderOutput", "Anything"])
NODES = st.lists(st.builds(node, NAMES, OPS, st.integers(0, 10**9)), max_size=30)
LAYERS = st.lists(st.sampled_from(["conv", "relu", "hard_swish", "add"]), max_size=8).map(lambda kinds: chain(*kinds))


@given(NODES, LAYERS)
def test_nothing_is_lost(nodes, layers):
    """Each node is in one part, each layer is one part, in order; shares of parts and of types sum to 1."""
    profile = make_profile(layers, nodes)
    payload = profile.to_dict()

    assert [layer.scope for layer in layers] == [part.scope for part in profile.parts if not part.added]
    assert sorted(map(repr, nodes)) == sorted(repr(kernel) for part in profile.parts for kernel in part.nodes)
    assert sorted(map(repr, nodes)) == sorted(repr(kernel) for part in profile.times_by_type for kernel in part.nodes)
    assert sum(item.duration_ns for item in nodes) == profile.kernels_ns
    if profile.kernels_ns:
        assert 1 == pytest.approx(sum(part["time_share"] for part in payload["types"]))
        assert 1 == pytest.approx(sum(part["time_share"] for part in payload["layers"]))
    assert msgspec.json.decode(msgspec.json.encode(profile), type=LayerProfile) == profile


def real(name, precision, folder, device=None):
    """A real profile of a small network."""
    variant = small_variant(name, precision=precision)
    cell = prepare_case(build_model(variant), folder, variant=variant.name, seed=0)
    plan = Plan(cases=(cell,), device=device or read_device("cpu"), sampling=SamplingConfig())
    return cell, profile_layers(plan, cell, runs=3)


FAMILIES = [
    *((name, "fp32") for name in GRAPHS if name not in HEAVY),
    *((name, precision) for name in SCALABLE for precision in ("fp16", "int8")),
    *((name, kind) for name in ("condensenet-c8", "googlenet", "nasnet-mobile") for kind in ("fp16", "int8")),
]
"""Comparators take minutes in fp16 and int8; there only those are tried whose operators no other graph has."""


@pytest.mark.slow
@pytest.mark.parametrize(("name", "precision"), FAMILIES)
def test_every_family_joins(name, precision, tmp_path):
    """Each layer with Mult-Adds has its time, and what belongs to no layer only converts tensors."""
    cell, profile = real(name, precision, tmp_path)
    counted = [part for part in profile.parts if part.mult_adds]

    assert [] == [part.scope for part in counted if not part.nodes]
    assert sum(part.mult_adds for part in profile.parts) == cell.cost.mult_adds
    assert set() == {kernel.op for part in profile.parts if part.added for kernel in part.nodes} - CONVERSION_OPS - set(
        PROFILER.conversions
    )
    assert {CPU} == {kernel.provider for part in profile.parts for kernel in part.nodes}
    assert 0 < profile.assigned_share <= 1


def test_the_idle_probe_shows_few_and_many_tensors():
    """The probe that shows the profiler's own time has nodes of two sizes, as many of each."""
    nodes = probe_models.idle_model().proto.graph.node
    sizes = [len(node_proto.input) + len(node_proto.output) for node_proto in nodes]

    assert {2: probe_models.IDLE_NODES, probe_models.IDLE_INPUTS + 1: probe_models.IDLE_NODES} == {
        size: sizes.count(size) for size in sizes
    }


def test_a_type_with_a_layer_that_no_rule_counts_is_unknown():
    """An attention with a cache is not counted, one without is: their sum would be too small."""
    parts = tuple(LayerTime(scope=f"a{at}", type="Attention", mult_adds=count) for at, count in enumerate((64, None)))
    (summed,) = make_profile([], [], parts=parts).times_by_type

    assert summed.mult_adds is None


def test_types_stand_by_time_with_their_shares():
    """The table by type sums its layers, shows what the runtime added as such, and says what coverage is."""
    layers = chain("conv", "relu", "conv", "add")
    nodes = [node("relu1_nchwc", duration_ns=1000), node("ReorderOutput", "ReorderOutput", 2000)]
    nodes.append(node("conv2", duration_ns=5000))
    table = make_profile(layers, nodes).table("type")
    rows = [[column.text(row) for column in table.columns] for row in table.rows]

    assert ["Conv 1×1", "6.0", "75.00%", "100.00%", "75.00%", "100.00%"] == rows[0][:6]
    assert ["+ ReorderOutput", "2.0", "25.00%", "–", "–", "–"] == rows[1][:6]
    assert ["Add", "–", "–", "0.00%", "25.00%", "0.00%"] == rows[2][:6]
    assert 3 == len(rows)
    assert "0.00800 ms a run, 80% of the latency of 0.0100 ms" in table.notes[0]
    assert "25% of the time" in table.notes[1]
    assert "Relu, Add" in table.notes[2]


def test_layers_stand_in_order_with_what_follows_them():
    """Layer by layer, what the runtime added stands behind the layer that it follows, with its provider."""
    nodes = [node("conv0"), node("ReorderOutput", "ReorderOutput"), node("conv2", provider="CUDAExecutionProvider")]
    table = make_profile(chain("conv", "relu", "conv"), nodes).table("layer")
    rows = [(table.columns[0].text(row), table.columns[-1].text(row)) for row in table.rows]

    assert [("conv0", "CPU"), ("+ ReorderOutput", "CPU"), ("conv2", "CUDA")] == rows


def test_a_profile_without_latency_or_time_has_no_shares():
    """Nothing is divided by zero."""
    profile = make_profile(chain("conv"), [], latency_ns=None)

    assert (0, 0.0, None) == (profile.kernels_ns, profile.assigned_share, profile.coverage)
    assert "latency" not in profile.table("type").notes[0]


@pytest.mark.slow
def test_run_shows_and_keeps_a_profile_and_profile_shows_it_again(invoke, workspace):
    """`run --profile` prints shares by type below the latency and keeps them; `profile` reads what was kept."""
    done = invoke(*RUN, "--format", "json")
    stored = list((workspace / "results" / "raw").glob("*/*.profile.json"))
    [profiled] = json.loads(done.stdout)["profiles"]
    [record] = json.loads(done.stdout)["records"]

    assert 0 == done.exit_code
    assert ["v1-a0.25-r32.profile.json"] == [path.name for path in stored]
    assert record["run"] == stored[0].parent.name
    assert record["latency_ns"]["median"] == profiled["latency_ns"]
    assert {"profiles": [profiled]} == json.loads(invoke("profile", "--format", "json").stdout)
    assert 1 == pytest.approx(sum(item["time_share"] for item in profiled["types"]))
    text = invoke("profile", "v1-a0.25-r32").stdout
    assert "Conv DW 3×3" in text
    assert max(map(len, text.splitlines())) <= 100
    rows = list(csv.DictReader(io.StringIO(invoke("profile", "--by", "layer", "--format", "csv").stdout)))
    assert "separable1/depthwise/conv" in [row["scope"] for row in rows]
    assert "Conv DW 3×3" in invoke(*RUN, "--fresh").stdout


@pytest.mark.slow
def test_a_fallback_shows_in_the_provider_column(invoke, workspace):
    """On a provider that takes nothing, --allow-fallback measures, and the profile says what ran instead."""
    builtin = (built_in("devices") / "cpu.toml").read_text()
    mine = builtin.replace('"cpu"', '"azure"').replace(CPU, "AzureExecutionProvider")
    (workspace / "devices").mkdir()
    (workspace / "devices" / "azure.toml").write_text(mine)
    done = invoke(*RUN, "--device", "azure", "--allow-fallback", "--format", "json")
    [profiled] = json.loads(done.stdout)["profiles"]

    assert 0 == done.exit_code
    assert "AzureExecutionProvider" == profiled["provider"]
    assert {CPU} == {provider for item in profiled["types"] for provider in item["providers"]}


@pytest.mark.slow
def test_a_profile_that_fails_costs_no_record(invoke, monkeypatch):
    """The latency is shown and kept, and stderr says why there is no profile."""

    def crash(*_, **__):
        raise TrialError("the worker was killed by SIGKILL", hint="wait")

    monkeypatch.setattr("mnbench.bench.profiling.call_worker", crash)
    done = invoke(*RUN, "--format", "json")

    assert 0 == done.exit_code
    assert [] == json.loads(done.stdout)["profiles"]
    assert 1 == len(json.loads(done.stdout)["records"])
    assert "no profile: the worker was killed by SIGKILL" in done.stderr


def test_profiles_that_are_not_there_or_broken_are_told(invoke, workspace):
    """An unknown variant, an empty folder and a broken file are one line each, with what to do."""
    folder = workspace / "results" / "raw" / "20260101T000000-0"
    folder.mkdir(parents=True)
    assert "holds no profile yet" in invoke("profile").stderr

    good = make_profile(chain("conv"), [node("conv0")])
    (folder / "own.profile.json").write_bytes(msgspec.json.encode(good))
    unknown = invoke("profile", "v1")
    assert 1 == unknown.exit_code
    assert "holds no profile of v1" in unknown.stderr
    assert "known: own" in unknown.stderr
    assert "did you mean `own`?" in invoke("profile", "owen").stderr

    (folder / "own.profile.json").write_text("{")
    broken = invoke("profile")
    assert 1 == broken.exit_code
    assert "own.profile.json: cannot be read: Input data was truncated" in broken.stderr


def test_the_newest_profile_of_a_variant_is_shown(invoke, workspace):
    """Of two runs the later one's; of two thread counts both."""
    for run, name, threads in (("20260102T000000-1", "new", 1), ("20260101T000000-1", "old", 1), ("2025-2", "two", 2)):
        folder = workspace / "results" / "raw" / run
        folder.mkdir(parents=True)
        profile = make_profile(chain("conv"), [node("conv0")], runtime=name, threads=threads)
        (folder / "own.profile.json").write_bytes(msgspec.json.encode(profile))

    shown = json.loads(invoke("profile", "own", "--format", "json").stdout)["profiles"]

    assert [("new", 1), ("two", 2)] == [(item["runtime"], item["threads"]) for item in shown]


def test_parts_tell_their_time_and_place():
    """A part without nodes has no time and no provider."""
    part = LayerTime(scope="a", type="Conv 1×1")

    assert (None, ()) == (part.duration_ns, part.providers)

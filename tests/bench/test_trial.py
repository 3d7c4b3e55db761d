"""What a process measures of a case: right outputs, the right place, and what is asked of a worker."""

# ruff: noqa: SIM300  expected == actual

import numpy as np
import pytest
from common import PROVIDER
from int8 import exact_int8
from small_variants import HEAVY, NAMES, small_variant

from mnbench.bench.aggregate import aggregate
from mnbench.bench.case_trials import measure_alone
from mnbench.bench.plan import Plan, SamplingConfig
from mnbench.bench.prepare import prepare_case
from mnbench.errors import TrialError
from mnbench.model.build import build_model
from mnbench.model.equivalence import OUTPUT_TOLERANCES
from mnbench.model.outputs import Output
from mnbench.targets.device import read_device

GRAPHS = [name for name in NAMES if name not in HEAVY]


@pytest.fixture
def answered(fake_worker, make_plan, make_cell):
    """The sample of a visit whose worker gives these outputs; the right ones are 0, 1, 2 unless given."""

    def visit(*outputs, answers=None, placement=None, device=None, allow_fallback=False, **cell):
        fake_worker.outputs = lambda _: [np.asarray(item) for item in outputs or [np.arange(3.0)]]
        fake_worker.changes["placement"] = lambda: placement
        cell = make_cell(**cell | ({"answers": answers} if answers else {}))
        plan = make_plan(cell, device=device, allow_fallback=allow_fallback)
        return measure_alone(plan, cell)

    return visit


# Right answers


def test_right_outputs_have_no_difference(answered):
    """An output equal to the reference's differs by 0."""
    assert 0.0 == answered([0.0, 1.0, 2.0]).difference


def test_the_difference_is_a_share_of_the_largest_number(answered):
    """It is the largest of any number, divided by the largest right number, and it is recorded."""
    assert 0.0001 == pytest.approx(answered([0.0001, 1.0, 2.0002]).difference)


def test_the_difference_is_that_of_the_worst_output(answered):
    """Of several outputs, each is compared in its own scale, and the worst counts."""
    small = np.arange(3.0) / 1000
    sample = answered(np.arange(3.0), small + 1e-7, answers=[np.arange(3.0), small])

    assert 5e-5 == pytest.approx(sample.difference)


@pytest.mark.parametrize("precision", OUTPUT_TOLERANCES)
def test_a_wrong_output_costs_the_cell(answered, precision):
    """Just inside the tolerance of its precision an output passes, just outside it does not."""
    right, allowed = np.arange(30.0), OUTPUT_TOLERANCES[precision] * 29
    almost, wrong = ([*right[:-1], 29 + share * allowed] for share in (0.99, 1.01))

    assert answered(almost, answers=[right], precision=precision).difference < OUTPUT_TOLERANCES[precision]
    with pytest.raises(TrialError, match=rf"differ .*for {precision}.*: `y0` .* allowed") as caught:
        answered(wrong, answers=[right], precision=precision)
    assert "report it" in caught.value.hint


@pytest.mark.parametrize("precision", OUTPUT_TOLERANCES)
@pytest.mark.parametrize(
    "wrong",
    [np.zeros(1000), np.ones(1000), np.random.default_rng(1).standard_normal(1000)],
    ids=["zeros", "ones", "another answer"],
)
def test_what_has_nothing_to_do_with_the_answer_never_passes(answered, precision, wrong):
    """A thousand zeros, or a thousand numbers of the right scale, are refused in every precision."""
    right = np.random.default_rng(0).standard_normal(1000)

    assert answered(right, answers=[right]).difference == 0
    with pytest.raises(TrialError, match="outputs differ"):
        answered(wrong, answers=[right], precision=precision)


def test_a_quantized_graph_must_meet_its_own_definition(make_plan, make_cell, fake_worker):
    """What rounding excuses against fp32 is not excused against what the graph itself says; a file has that alone."""
    right, noise = np.random.default_rng(0).standard_normal((2, 1000))
    cell = make_cell(precision="int8", answers=[right])
    defined = right + 0.3 * noise
    arrays = {"in.input": np.ones((1, 3), np.float32), "own.0": defined}
    np.savez(cell.inputs_path, **arrays, **{"out.0": right})
    fake_worker.outputs = lambda _: [defined + 0.01]
    assert 0.1 < measure_alone(make_plan(cell), cell).difference < 0.5

    fake_worker.outputs = lambda _: [right]
    with pytest.raises(TrialError, match="differ from the quantized graph's own definition"):
        measure_alone(make_plan(cell), cell)

    np.savez(cell.inputs_path, **arrays)
    fake_worker.outputs = lambda _: [defined + 0.01]
    assert 0.01 > measure_alone(make_plan(cell), cell).difference


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("kind", [np.float16, np.float32, np.float64])
def test_outputs_that_are_not_finite_cost_the_cell(answered, value, kind):
    """One NaN or infinity among right numbers is no answer, unless it is the right one."""
    with pytest.raises(TrialError, match="NaN or an infinity"):
        answered(np.array([0, value, 2], kind))

    right = np.array([0, value, 2], kind)
    assert 0.0 == answered(right, answers=[right]).difference


@pytest.mark.parametrize(
    "outputs",
    [([0.0, 1.0],), ([[0.0, 1.0, 2.0]],), ([0.0, 1.0, 2.0], [0.0])],
    ids=["shorter", "other rank", "one more"],
)
def test_outputs_of_other_shapes_cost_the_cell(answered, outputs):
    """Right numbers in another shape, or an output too many, are no answer."""
    with pytest.raises(TrialError, match="other shapes"):
        answered(*outputs)


def test_a_constant_answer_has_a_scale_too(answered):
    """One number, as a score is, may be off by rounding."""
    right = [np.full((1, 1), 0.7)]

    assert 1e-6 > answered([[0.7 + 1e-7]], answers=right).difference
    with pytest.raises(TrialError, match="outputs differ"):
        answered([[0.71]], answers=right)


@pytest.mark.parametrize("kind", [np.int64, np.bool_, np.uint8])
def test_outputs_of_integers_are_compared_too(answered, kind):
    """Classes and masks are numbers as well."""
    right = [np.array([0, 1, 7], kind)]

    assert 0.0 == answered(right[0], answers=right).difference
    with pytest.raises(TrialError, match="outputs differ"):
        answered(np.array([1, 0, 0], kind), answers=right)


def test_outputs_that_are_not_compared(answered):
    """The reason is in the sample; without any other output there is no difference."""
    outputs = (Output(name="y"), Output(name="n", random_node="RandomNormal `noise`"))
    reason = "output `n` depends on RandomNormal `noise`"
    sample = answered(np.arange(3.0), np.ones(2), answers=[np.arange(3.0), np.zeros(2)], outputs=outputs)
    assert (0.0, (reason,)) == (sample.difference, sample.not_compared)

    sample = answered(np.ones(2), answers=[np.zeros(2)], outputs=outputs[1:])
    assert (None, (reason,)) == (sample.difference, sample.not_compared)


# Where nodes ran


def test_nodes_elsewhere_cost_the_cell(answered):
    """The error names how many nodes, who took them, and what kinds they are."""
    with pytest.raises(TrialError) as caught:
        answered(placement={PROVIDER: ["a"], "Other": ["b", "its own"], "Another": ["c"]})

    assert f"3 of 4 nodes ran on Another, Other and not on {PROVIDER}: fully_connected" == caught.value.message
    assert "--allow-fallback" in caught.value.hint


@pytest.mark.parametrize("placement", [None, {}, {PROVIDER: ["a", "b"]}], ids=["not told", "empty", "all"])
def test_nodes_in_their_place_cost_nothing(answered, placement):
    """A runtime that does not tell is not refused."""
    assert placement == answered(placement=placement).placement


def test_fallback_is_measured_where_allowed_and_marked(answered, make_plan, make_cell):
    """With `allow_fallback` the cell is measured, and its record says what share ran in its place."""
    sample = answered(placement={PROVIDER: ["b"], "Other": ["a"]}, allow_fallback=True)
    record = aggregate(make_plan(make_cell(), processes=1), make_cell(), "run", [sample])

    assert (0.5, 0.75) == (record.placement.nodes, record.placement.mult_adds)
    assert "misplaced" in [issue.name for issue in record.issues]
    assert not record.trusted


# What a worker is asked for


def test_the_request_says_what_device_and_protocol_say(answered, fake_worker, make_device):
    """Every setting of the device and of the protocol is in the request."""
    device = make_device(
        threads="all", cores=(1, 0), options={"a": "b"}, provider_options={"device_id": "0"}, provider="P"
    )
    answered(device=device, allow_fallback=True)
    ((_, request, timeout_s),) = fake_worker.requests
    (session,) = request["sessions"]

    assert ("trial", 1, None, 0) == tuple(request[key] for key in ("kind", "sides", "limits", "warmup_runs"))
    assert {
        "slices": 1,
        "slice_ns": 60_000_000,
        "min_turns": 2,
        "warmup_ns": 5_000_000,
        "min_settle_ns": 25_000_000,
        "max_settle_ns": 2_000_000_000,
    } == request["protocol"]
    assert ("onnxruntime", "P", 0) == tuple(session[key] for key in ("runtime", "provider", "threads"))
    assert ([1, 0], {"a": "b"}, {"device_id": "0"}) == tuple(
        session[key] for key in ("cores", "options", "provider_options")
    )
    assert ("float32", (1, 3), np.ones(3, np.float32).tobytes()) == session["inputs"]["input"]
    assert b"model" == session["model"]
    assert SamplingConfig().timeout_s == timeout_s


def test_a_trial_holds_what_the_worker_measured(answered, fake_worker):
    """Latencies, work, threads and copies of the answer are in the trial, and how long the process took."""
    fake_worker.changes |= {"copies_ns": lambda: {"in": 5}, "threads": lambda: 3}
    trial = answered()

    assert (200, 200) == (len(trial.latencies_ns), len(trial.cpu_ns))
    assert ({"in": 5}, 3) == (trial.copies_ns, trial.threads)
    assert 0 < trial.duration_ns


# Real workers


def real(graph, precision, folder):
    """A plan for one small graph of that precision, on this machine."""
    variant = small_variant(graph, precision=precision)
    cell = prepare_case(build_model(variant), folder, variant=variant.name, seed=0)
    return Plan(cases=(cell,), device=read_device("cpu"), sampling=SamplingConfig(duration_s=0.001, max_settle_s=0.0))


@pytest.mark.slow
@pytest.mark.parametrize("precision", ["fp32", "fp16", pytest.param("int8", marks=exact_int8)])
@pytest.mark.parametrize("graph", GRAPHS)
def test_every_graph_answers_rightly_in_every_precision(graph, precision, tmp_path):
    """Onnxruntime's answers lie within the tolerance of their precision, and none is equal by accident."""
    plan = real(graph, precision, tmp_path)
    sample = measure_alone(plan, plan.cases[0])

    assert 0 < sample.difference < 0.8 * OUTPUT_TOLERANCES[precision]
    assert precision == plan.cases[0].precision


@pytest.mark.slow
def test_a_model_of_other_weights_answers_wrongly(tmp_path):
    """The answers of a network with other weights, of the same shape and scale, are refused by a real worker."""
    plan = real("v1", "fp32", tmp_path)
    variant = small_variant("v1")
    plan.cases[0].path.write_bytes(build_model(variant, seed=1).to_bytes())

    with pytest.raises(TrialError, match="outputs differ"):
        measure_alone(plan, plan.cases[0])

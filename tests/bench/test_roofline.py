"""Rooflines: bounds are right, figures are measured once and kept, and records and tables tell them."""

# ruff: noqa: SIM300  expected == actual

import json
from datetime import UTC, datetime, timedelta

import msgspec
import onnx
import pytest
from answers import answering
from int8 import exact_int8

from mnbench import families
from mnbench.bench import roofline
from mnbench.bench.plan import Plan, SamplingConfig
from mnbench.bench.prepare import prepare_case
from mnbench.bench.roofline import CachedRate, Roofline
from mnbench.errors import TrialError
from mnbench.model import probe_models
from mnbench.model.build import build_model
from mnbench.network.cost import total_cost
from mnbench.network.variant import Variant
from mnbench.results.latency_table import latency_table
from mnbench.results.record import Record, RooflineBound
from mnbench.workspace import cache_folder

FACTS = {"runtime_version": "1.2.3", "facts": {"cpu": "a CPU", "machine": "x86_64", "cores": 2}}
RUN = ("run", "v1", "--alpha", "0.25", "--res", "32", "--processes", "1", "--duration", "0.01")


@pytest.fixture
def cell(tmp_path):
    """V1 at α = 0.25 and 32 × 32: 463,600 weights, 1.9 MB."""
    variant = Variant(architecture=families.architecture("v1"), alpha=0.25, resolution=(32, 32))
    return prepare_case(build_model(variant), tmp_path, variant=variant.name, seed=0)


def over(cell, *, peak=1e9, bandwidths=None):
    """The ceiling of a cell under a made-up roofline."""
    return Roofline(peaks={"fp32": peak}, bandwidths=bandwidths or {2**20: 1e9}).bound_for(cell)


def test_what_must_move_is_weights_input_and_output_once(cell):
    """Activations do not count, and neither do biases."""
    assert 4 * (cell.cost.weights + 3 * 32 * 32 + 1000) == cell.moved_bytes
    assert 4 * (463_600 + 3 * 32 * 32 + 1000) == cell.moved_bytes


def test_the_bound_is_the_longer_of_both(cell):
    """Mult-Adds over the peak, or bytes over the bandwidth."""
    compute_s, memory_s = cell.cost.mult_adds / 1e9, cell.moved_bytes / 1e9

    assert round(1e9 * max(compute_s, memory_s)) == over(cell).bound_ns
    assert round(1e9 * compute_s) == over(cell, bandwidths={2**20: 1e15}).bound_ns
    assert round(1e9 * memory_s) == over(cell, peak=1e15).bound_ns


def test_the_bandwidth_is_that_of_arrays_as_large_as_what_moves(cell):
    """1.9 MB may come from a cache that holds 1 MiB, not from a faster one; a larger array's may be the better one."""
    assert 2**20 < cell.moved_bytes < 2**22
    assert 2e9 == over(cell, bandwidths={2**19: 9e9, 2**20: 2e9, 2**22: 1e9}).bandwidth_bytes_per_s
    assert 3e9 == over(cell, bandwidths={2**19: 9e9, 2**20: 2e9, 2**22: 3e9}).bandwidth_bytes_per_s
    assert 1e9 == over(cell, bandwidths={2**22: 1e9, 2**24: 5e8}).bandwidth_bytes_per_s
    assert 1e9 == over(cell, bandwidths={2**20: None, 2**22: 1e9}).bandwidth_bytes_per_s


@pytest.mark.parametrize("changes", [{"peak": None}, {"bandwidths": {2**20: None}}])
def test_without_a_figure_there_is_no_bound(cell, changes):
    """What no probe could tell bounds nothing."""
    assert None is over(cell, **changes).bound_ns


def test_a_precision_without_a_peak_has_no_bound(cell):
    """The peak of fp32 says nothing of int8."""
    assert None is Roofline(peaks={"int8": 1e9}, bandwidths={2**20: 1e9}).bound_for(cell).bound_ns


@pytest.fixture
def measured(monkeypatch):
    """Figures without a device: the quantities that were measured, each found to be 1, 2, 3 … a second."""
    asked = []

    def measure(_device, quantity):
        asked.append(quantity)
        return float(len(asked))

    monkeypatch.setattr("mnbench.hosts.host_facts.call_worker", answering(FACTS))
    monkeypatch.setattr(roofline, "measure_rate", measure)
    return asked


def test_each_figure_is_measured_once(measured, make_device):
    """The second time all comes from the folder; another precision adds its peak alone."""
    steps = []
    first = roofline.measure_roofline(make_device(), ["fp32", "fp32"], on_progress=steps.append)
    assert [*roofline.READ_SIZES_BYTES, "fp32"] == measured
    assert len(measured) == steps[-1].done == steps[-1].total
    assert 5.0 == first.peaks["fp32"]

    assert first == roofline.measure_roofline(make_device(), ["fp32"])
    assert 5 == len(measured)

    both = roofline.measure_roofline(make_device(), ["int8", "fp32"])
    assert "int8" == measured[-1]
    assert {"int8": 6.0, "fp32": 5.0} == both.peaks
    assert first.bandwidths == both.bandwidths


@pytest.mark.parametrize(
    "change",
    [
        {"runtime_version": "1.2.4"},
        {"facts": FACTS["facts"] | {"cpu": "another"}},
        {"facts": FACTS["facts"] | {"cores": 4}},
    ],
    ids=["runtime", "cpu", "cores"],
)
def test_another_host_is_measured_anew(measured, make_device, monkeypatch, change):
    """What the worker finds there is part of what a figure is kept under."""
    roofline.measure_roofline(make_device(), ["fp32"])
    monkeypatch.setattr("mnbench.hosts.host_facts.call_worker", answering(FACTS | change))
    roofline.measure_roofline(make_device(), ["fp32"])

    assert 10 == len(measured)


@pytest.mark.parametrize(
    "change",
    [
        {"provider": "Other"},
        {"threads": 2},
        {"options": {"a": "1"}},
        {"provider_options": {"a": "1"}},
        {"cores": (1,)},
        {"environment": {"A": "1"}},
    ],
    ids=lambda change: next(iter(change)),
)
def test_another_setting_is_measured_anew(measured, make_device, change):
    """How the device runs a model is part of what a figure is kept under; its name is not."""
    roofline.measure_roofline(make_device(), ["fp32"])
    roofline.measure_roofline(make_device(name="other"), ["fp32"])
    assert 5 == len(measured)

    roofline.measure_roofline(make_device(**change), ["fp32"])
    assert 10 == len(measured)


def rewritten(change):
    """Change every kept figure."""
    for path in cache_folder().glob("roofline-*.json"):
        path.write_bytes(change(path.read_bytes()))


def aged(age):
    """A change that makes a figure that old."""

    def change(data):
        cached_rate = msgspec.json.decode(data, type=CachedRate)
        return msgspec.json.encode(msgspec.structs.replace(cached_rate, measured_at=datetime.now(UTC) - age))

    return change


@pytest.mark.parametrize(
    ("change", "again"),
    [
        (aged(timedelta(days=29)), False),
        (aged(timedelta(days=31)), True),
        (aged(timedelta(days=-1)), True),
        (lambda _: b"{", True),
        (lambda _: b"\xff", True),
        (lambda _: b"{}", True),
        (lambda data: data.replace(b'"host":"', b'"host":"0'), True),
    ],
    ids=["29 days", "31 days", "tomorrow", "cut off", "no text", "empty", "about another"],
)
def test_what_cannot_be_relied_on_is_measured_again(measured, make_device, change, again):
    """Old, unreadable or foreign files are replaced."""
    roofline.measure_roofline(make_device(), ["fp32"])
    rewritten(change)
    roofline.measure_roofline(make_device(), ["fp32"])
    assert (10 if again else 5) == len(measured)

    roofline.measure_roofline(make_device(), ["fp32"])
    assert (10 if again else 5) == len(measured)


def test_fresh_measures_again(measured, make_device):
    """And what it finds is kept."""
    roofline.measure_roofline(make_device(), ["fp32"])
    fresh = roofline.measure_roofline(make_device(), ["fp32"], fresh=True)

    assert 10 == len(measured)
    assert fresh == roofline.measure_roofline(make_device(), ["fp32"])


def test_a_folder_that_cannot_be_written_costs_only_time(measured, make_device, tmp_path, monkeypatch):
    """Each run measures, and none fails."""
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    for _ in range(2):
        roofline.measure_roofline(make_device(), ["fp32"])

    assert 10 == len(measured)


def test_what_no_probe_could_tell_is_kept_too(make_device, monkeypatch):
    """A device without int8 is not asked for it at every run."""
    asked = []
    monkeypatch.setattr("mnbench.hosts.host_facts.call_worker", answering(FACTS))
    monkeypatch.setattr(roofline, "measure_rate", lambda *_: asked.append(1))
    for _ in range(2):
        result = roofline.measure_roofline(make_device(), ["int8"])

    assert 5 == len(asked)
    assert {"int8": None} == result.peaks


def test_caches_are_where_the_system_keeps_them(monkeypatch, tmp_path):
    """XDG_CACHE_HOME, or ~/.cache."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert tmp_path / "mnbench" == cache_folder()

    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert tmp_path / ".cache" / "mnbench" == cache_folder()


def test_a_short_probe_grows_until_it_is_long_enough(make_device, monkeypatch):
    """At 10¹² Mult-Adds a second a batch of 1 takes 0.1 ms: too short to tell, and a batch of 8 is long enough."""
    asked = []

    def rate(_device, _model, work):
        asked.append(work)
        return 1e12

    monkeypatch.setattr(roofline, "_probe_rate", rate)

    assert 1e12 == roofline.measure_rate(make_device(), "fp32")
    assert [1, 8] * len(roofline.COMPUTE_PROBES) == [
        work // min(item for item in asked if work % item == 0 and work // item in (1, 8)) for work in asked
    ]


def test_the_peak_is_the_best_of_all_probes(make_device, monkeypatch):
    """A probe that the runtime cannot run is left out; if none runs there is no peak."""
    iterator = iter([None, 3e9, 2e9])
    monkeypatch.setattr(roofline, "_probe_rate", lambda *_: next(iterator))
    assert 3e9 == roofline.measure_rate(make_device(), "fp32")

    monkeypatch.setattr(roofline, "_probe_rate", lambda *_: None)
    assert None is roofline.measure_rate(make_device(), "fp32")
    assert None is roofline.measure_rate(make_device(), 2**20)


def test_a_probe_that_fails_has_no_rate(make_device, monkeypatch):
    """The worker's failure costs the figure and not the run."""

    def crash(*_):
        raise TrialError("the worker was killed by SIGKILL", hint="wait")

    monkeypatch.setattr(roofline, "measure_alone", crash)

    assert None is roofline.measure_rate(make_device(), 2**20)


@pytest.mark.parametrize("probe", roofline.COMPUTE_PROBES, ids=["matmul", "conv1x1", "conv3x3"])
def test_compute_probes_are_valid_and_large(probe):
    """ONNX's checker takes them, and a batch of 8 has eight times the Mult-Adds."""
    item, eight = probe(1), probe(8)
    onnx.checker.check_model(item.proto, full_check=True)

    assert 5e7 < total_cost(item.node_layers).mult_adds < 3e8
    assert 8 * total_cost(item.node_layers).mult_adds == total_cost(eight.node_layers).mult_adds


@pytest.mark.parametrize("size", roofline.READ_SIZES_BYTES)
def test_reading_probes_read_what_they_say_and_are_small(size):
    """The matrix has that many bytes, and none of them is in the file."""
    model = probe_models.memory_read_model(size)
    onnx.checker.check_model(model.proto, full_check=True)

    assert size == 4 * total_cost(model.node_layers).mult_adds
    assert 1000 > len(model.to_bytes())


@pytest.mark.slow
@pytest.mark.parametrize("quantity", [2**20, "fp32", pytest.param("int8", marks=exact_int8)])
def test_a_real_worker_runs_every_probe(make_device, monkeypatch, quantity):
    """On onnxruntime's CPU provider each probe runs, and its answers are right."""
    rates = []
    rate = roofline._probe_rate
    monkeypatch.setattr(roofline, "_probe_rate", lambda *args: rates.append(rate(*args)) or rates[-1])
    monkeypatch.setattr(roofline, "RATE_SAMPLING", SamplingConfig(duration_s=0.01, max_settle_s=0))

    assert max(rates, default=0) < roofline.measure_rate(make_device(), quantity)
    assert None not in rates


def test_a_ceiling_changes_no_plan(cell, make_device):
    """What bounds a cell changes no measurement, so an unfinished run goes on with another roofline."""
    plan = Plan(cases=(cell,), device=make_device(), sampling=SamplingConfig())
    other = Plan(
        cases=(cell,), device=make_device(), sampling=SamplingConfig(), roofline_bounds={cell.variant: over(cell)}
    )

    assert plan.id == other.id


CEILING = RooflineBound(
    peak_mult_adds_per_s=1e11, bandwidth_bytes_per_s=1e10, moved_bytes=17_000_000, bound_ns=5_000_000
)


def cells(records, *columns):
    """The texts of these columns, row by row."""
    table = latency_table(records, columns)
    return [[column.text(row) for column in table.columns] for row in table.rows]


def test_the_table_shows_how_close_a_latency_comes(make_record):
    """The bound as a share of the median; a record without one, or without latency, shows none."""
    records = [make_record(roofline=CEILING), make_record(), make_record(roofline=CEILING, latency_ns=None, error="no")]

    assert [["5.00", "50%"], ["–", "–"], ["5.00", "–"]] == cells(records, "bound_ns", "of_bound")


def test_by_default_the_share_of_the_bound_stands_for_the_rate(make_record):
    """Where any record knows its bound; a note says what it is."""
    bounded = latency_table([make_record(roofline=CEILING), make_record()])
    plain = latency_table([make_record()])

    assert "of_bound" in [column.name for column in bounded.columns]
    assert "mult_adds_per_s" not in [column.name for column in bounded.columns]
    assert "mult_adds_per_s" in [column.name for column in plain.columns]
    assert 1 == sum(note.startswith("bound:") for note in bounded.notes)
    assert 0 == sum(note.startswith("bound:") for note in plain.notes)


def test_a_record_without_roofline_can_be_read(make_record):
    """Records written before rooflines were known."""
    old = json.loads(msgspec.json.encode(make_record()))
    del old["roofline"]

    assert None is msgspec.convert(old, Record).roofline
    assert CEILING == msgspec.json.decode(msgspec.json.encode(make_record(roofline=CEILING)), type=Record).roofline


@pytest.mark.slow
def test_run_measures_the_roofline_once_and_keeps_it(invoke, measured):
    """With --roofline, or by default, the record has its bound; the second run measures no more, --fresh does."""
    first = invoke(*RUN, "--roofline", "--format", "json")
    [record] = json.loads(first.stdout)["records"]
    assert 0 == first.exit_code
    assert 5.0 == record["roofline"]["peak_mult_adds_per_s"]
    assert record["roofline"]["bound_ns"] > 0
    assert 5 == len(measured)

    invoke(*RUN, env={"MNBENCH_ROOFLINE": None})
    assert 5 == len(measured)
    invoke(*RUN, "--roofline", "--fresh")
    assert 10 == len(measured)
    without = invoke(*RUN, "--no-roofline", "--format", "json")
    assert None is json.loads(without.stdout)["records"][0]["roofline"]


@pytest.mark.slow
def test_a_device_that_fails_its_probes_is_measured_all_the_same(invoke, monkeypatch):
    """The table has no bounds, and stderr says why."""

    def crash(*_, **__):
        raise TrialError("the worker was killed by SIGKILL", hint="wait")

    monkeypatch.setattr("mnbench.hosts.host_facts.call_worker", crash)
    done = invoke(*RUN, "--roofline", "--format", "json")

    assert 0 == done.exit_code
    assert None is json.loads(done.stdout)["records"][0]["roofline"]
    assert "no roofline: the worker was killed by SIGKILL" in done.stderr

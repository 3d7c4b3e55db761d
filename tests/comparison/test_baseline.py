"""`mnbench gate`: the rows of a table as pairings, and real gates over a changed graph."""

# ruff: noqa: SIM300  expected == actual

import hashlib
import json
import subprocess
from pathlib import Path

import msgspec
import onnx
import onnxruntime
import pytest

from mnbench.bench.aggregate import session_options
from mnbench.comparison.baseline import RequestBuilder
from mnbench.families import parse_variant
from mnbench.model.build import build_model
from mnbench.model.weightless import refill_weights, save_weightless, strip_weights, weightless_path
from mnbench.network.variant import OnnxFile
from mnbench.results.record import FedInput, Record, SessionOptions
from mnbench.results.store import ResultsFile
from mnbench.workspace import built_in

pytestmark = pytest.mark.slow

VARIANT = "v1-a0.25-r64"
COMMITTED = Path(__file__).parents[2] / "results" / "cpu.jsonl"


@pytest.fixture(scope="module")
def model():
    """A small model, made once."""
    return build_model(parse_variant(VARIANT))


# The rows of a table


@pytest.fixture
def make_row(model):
    """A record of the small model, measured with the runtime that is installed, but for what the test changes."""

    def make_record(**changes):
        line = COMMITTED.read_text(encoding="utf-8").splitlines()[0]
        record = msgspec.json.decode(line, type=Record)
        runtime = msgspec.structs.replace(record.runtime, version=onnxruntime.__version__)
        facts = {"variant": VARIANT, "model_sha256": model.sha256, "runtime": runtime, "seed": 0, "architecture": "v1"}
        facts |= {"alpha": 0.25, "resolution": (64, 64), "session": None}
        return msgspec.structs.replace(record, **facts | changes)

    return make_record


@pytest.fixture
def baseline(tmp_path, make_device):
    """A table's rows on their way."""

    def make_baseline(**changes):
        (tmp_path / "models").mkdir(exist_ok=True)
        facts = {"version": onnxruntime.__version__, "device": make_device(), "results": tmp_path / "results"}
        return RequestBuilder(folder=tmp_path / "models", **facts | changes)

    return make_baseline


def kept_graph(results, model):
    """Keep a model's graph as `mnbench run` does."""
    file = results.parent / "model.onnx"
    file.write_bytes(model.to_bytes())
    save_weightless(results, file, model.sha256)
    return weightless_path(results, model.sha256)


def known(baseline):
    """Verdicts and reasons of the rows that need no measuring."""
    return [(finding.verdict, finding.reason) for finding in baseline.findings]


def test_a_row_in_which_nothing_changed_is_identical(baseline, make_row):
    """The same model and runtime; measured all the same if asked to."""
    result = baseline()
    result.add(make_row())
    assert ([("identical", "the same model, runtime and options")], []) == (known(result), result.requests)
    result = baseline(measure_unchanged=True)
    result.add(make_row())
    (pairing,) = result.requests
    assert pairing.baseline == pairing.candidate


def test_another_runtime_is_installed_beside(baseline, make_row):
    """The base runs with the version that the table was measured with."""
    result = baseline()
    row = make_row()
    result.add(msgspec.structs.replace(row, runtime=msgspec.structs.replace(row.runtime, version="1.30.0")))
    (pairing,) = result.requests
    assert "onnxruntime==1.30.0" == pairing.baseline[1].requirement
    assert "" == pairing.candidate[1].requirement
    assert pairing.baseline[0] == pairing.candidate[0]


def test_a_changed_graph_needs_the_one_that_is_kept(baseline, make_row, tmp_path):
    """Without it nobody can tell; with it both sides are measured; if it is broken, the row says so."""
    before = build_model(parse_variant("v1-a0.5-r64"))
    row = make_row(model_sha256=before.sha256)
    result = baseline()
    result.add(row)
    ((verdict, reason),) = known(result)
    assert "incomparable" == verdict
    assert "its graph has changed, and the table's graph is not stored" in reason

    path = kept_graph(tmp_path / "results", before)
    result = baseline()
    result.add(row)
    (pairing,) = result.requests
    assert pairing.baseline[0].path.stem == refill_weights(strip_weights(before), "x").sha256
    assert pairing.baseline != pairing.candidate

    path.write_bytes(path.read_bytes()[:-5])
    result = baseline()
    result.add(row)
    assert [("incomparable", f"{VARIANT}: the graph that is kept cannot be read")] == known(result)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"variant": "gone-a1-r64", "architecture": "gone"}, "unknown graph"),
        ({"variant": "v1-a1-g9-r64", "options": {"groups": 9}}, "groups"),
        ({"variant": "mine", "architecture": None}, "it was a model in memory; name a file"),
        ({"variant": "mine", "architecture": None, "file": "mine.onnx"}, "mine.onnx: cannot be read"),
    ],
)
def test_a_row_that_has_vanished_is_missing(baseline, make_row, changes, reason):
    """It cannot be made any more."""
    result = baseline()
    result.add(make_row(**changes))
    ((verdict, reported),) = known(result)
    assert ("missing", True) == (verdict, reason in reported)


def test_forms_of_a_graph_are_made_again(baseline, make_row):
    """Plain graphs, and graphs with their batch normalization."""
    for form, options, fields in (
        ("-plain", {"simplified": False}, {"simplified": False}),
        ("-bn", {"keep_bn": True}, {"fold_batch_norm": False}),
    ):
        result = baseline()
        model = build_model(parse_variant(VARIANT), **options)
        result.add(make_row(variant=VARIANT + form, model_sha256=model.sha256, **fields))
        assert ["identical"] == [verdict for verdict, _ in known(result)], form


def test_a_row_is_run_with_the_options_it_was_measured_with(baseline, make_row, make_device):
    """If they are others now, both sides are measured, each with its own; if they are the same, or unknown, neither."""
    now, before = {"session.x": "1"}, {"session.x": "0", "session.y": "2"}
    device = make_device(options=now, provider_options={"z": "1"}, environment={"PAGES": "huge"})
    for session in (session_options(device), None):
        result = baseline(device=device)
        result.add(make_row(session=session))
        assert ["identical"] == [verdict for verdict, _ in known(result)]
    result = baseline(device=device)
    result.add(make_row(session=SessionOptions(options=before)))
    (pairing,) = result.requests
    base, candidate = (setup.configure_device(device) for _, setup in (pairing.baseline, pairing.candidate))
    assert (before, {}, {}) == (base.options, base.provider_options, base.environment)
    assert session_options(device) == session_options(candidate)


def test_another_provider_is_refused(baseline, make_row, make_device):
    """A profile that is another device by the same name."""
    result = baseline(device=make_device(provider="CUDAExecutionProvider"))
    result.add(make_row())
    ((verdict, reason),) = known(result)
    assert "incomparable" == verdict
    assert reason.startswith("measured with onnxruntime CPUExecutionProvider, and device cpu now has onnxruntime CUDA")


@pytest.fixture
def own_row(make_row, workspace):
    """A row of a user's file with open sizes, which was fed 1×3×64×64, and the file."""
    path = workspace / "own.onnx"
    proto = onnx.ModelProto.FromString(build_model(parse_variant("v1-a0.25-r32")).to_bytes())
    for axis, name in ((0, "batch"), (2, "height"), (3, "width")):
        proto.graph.input[0].type.tensor_type.shape.dim[axis].dim_param = name
    path.write_bytes(proto.SerializeToString())
    name = proto.graph.input[0].name
    fed = FedInput(name=name, type="float32", shape=(2, 3, 48, 64), values="0..1", sha256="")
    facts = {"variant": "own[res=48x64]", "architecture": None, "alpha": None, "file": "own.onnx", "inputs": (fed,)}
    return make_row(model_sha256=hashlib.sha256(path.read_bytes()).hexdigest(), **facts), path


def test_a_row_of_a_file_is_fed_the_same_again(baseline, own_row):
    """Sizes and values; an unchanged file is identical."""
    row, _ = own_row
    result = baseline()
    result.add(row)
    assert ["identical"] == [verdict for verdict, _ in known(result)]
    result = baseline(measure_unchanged=True)
    result.add(row)
    ((candidate, _),) = (request.candidate for request in result.requests)
    (fed,) = row.inputs
    assert {fed.name: fed.shape} == candidate.inputs.shapes
    assert {fed.name: "0..1"} == candidate.inputs.values


def test_true_weights_are_used_where_both_sides_have_them(baseline, own_row, workspace):
    """The old file beside its replacement. If it is overwritten, both have random weights, and the row says so."""
    row, path = own_row
    new = workspace / "new.onnx"
    new.write_bytes(build_model(parse_variant("v1-a0.35-r64")).to_bytes())
    save_weightless(workspace / "results", path, row.model_sha256)

    result = baseline(user_models={row.row: OnnxFile(path=new)}, results=workspace / "results")
    result.add(row)
    (request,) = result.requests
    assert [path.read_bytes(), new.read_bytes()] == [
        side[0].path.read_bytes() for side in (request.baseline, request.candidate)
    ]
    assert "" == request.note

    path.write_bytes(new.read_bytes())
    result = baseline(results=workspace / "results")
    result.add(row)
    (request,) = result.requests
    assert new.read_bytes() != request.candidate[0].path.read_bytes()
    assert "random weights" in request.note
    assert request.baseline[0].inputs == request.candidate[0].inputs


def test_a_file_of_a_revision_is_the_baseline(baseline, own_row, workspace):
    """As it was there, whatever its runtime was; a file that is not there has its stored graph."""
    row, path = own_row
    tree = workspace / "tree"
    tree.mkdir()
    (tree / "own.onnx").write_bytes(path.read_bytes())
    path.write_bytes(build_model(parse_variant("v1-a0.35-r64")).to_bytes())
    row = msgspec.structs.replace(row, runtime=msgspec.structs.replace(row.runtime, version="1.0.0"))
    result = baseline(tree=tree)
    result.add(row)
    (request,) = result.requests
    assert (tree / "own.onnx").read_bytes() == request.baseline[0].path.read_bytes()
    assert "" == request.baseline[1].requirement
    (tree / "own.onnx").unlink()
    result = baseline(tree=tree)
    result.add(row)
    assert ["incomparable"] == [verdict for verdict, _ in known(result)]


def test_an_array_in_memory_cannot_be_fed_again(baseline, own_row):
    """Its numbers are not stored."""
    row, _ = own_row
    fed = msgspec.structs.replace(row.inputs[0], values="array")
    result = baseline()
    result.add(msgspec.structs.replace(row, inputs=(fed,)))
    ((verdict, reason),) = known(result)
    assert "missing" == verdict
    assert "was an array in memory" in reason


def test_rows_of_several_thread_counts_stay_apart(baseline, make_row):
    """Each is a pairing of its own."""
    result = baseline(measure_unchanged=True)
    for threads in (1, 2):
        result.add(make_row(threads=threads))
    assert [(VARIANT, "1"), (f"{VARIANT} with 2 threads", "2")] == [
        (pairing.variant, pairing.candidate[1].settings["threads"]) for pairing in result.requests
    ]


@pytest.mark.parametrize("path", sorted(COMMITTED.parent.glob("*.jsonl")), ids=lambda path: path.stem)
def test_the_tables_of_this_repository_can_be_gated(path):
    """Every row's graph is kept with them, whole: `mnbench run` has done so, and it is to be committed."""
    hashes = {record.model_sha256 for record in ResultsFile(path.parent, path.stem).read_records() if record.latency_ns}
    assert hashes
    for sha256 in hashes:
        refill_weights(weightless_path(path.parent, sha256).read_bytes(), sha256)


# The command


@pytest.fixture
def table(workspace, make_row):
    """A table of two rows in the workspace, the second of which the test may change."""

    def write(**changes):
        path = workspace / "results" / "cpu.jsonl"
        path.parent.mkdir(exist_ok=True)
        other = build_model(parse_variant("v1-a0.25-r32"))
        facts = {"variant": "v1-a0.25-r32", "resolution": (32, 32), "model_sha256": other.sha256}
        rows = [make_row(), make_row(**facts | changes)]
        path.write_bytes(b"".join(msgspec.json.encode(row) + b"\n" for row in rows))
        return path

    return write


def slower_table(workspace):
    """V1 with nine of its five repeated blocks."""
    (workspace / "graphs").mkdir(exist_ok=True)
    text = (built_in("graphs") / "v1.toml").read_text(encoding="utf-8")
    assert "times = 5" in text
    (workspace / "graphs" / "v1.toml").write_text(text.replace("times = 5", "times = 9"), encoding="utf-8")


def test_an_unchanged_table_passes_at_once(invoke, table, workspace):
    """Nothing is measured and nothing is written."""
    path = table()
    result = invoke("gate", path, "--format", "json")
    payload = json.loads(result.stdout)
    assert (0, "pass", None) == (result.exit_code, payload["verdict"], payload["run"])
    assert ["identical", "identical"] == [item["verdict"] for item in payload["findings"]]
    assert ["cpu.jsonl"] == [item.name for item in (workspace / "results").iterdir()]


def test_a_row_is_what_was_measured_last(invoke, table, make_row):
    """Whatever failed later, and with whatever runtime and CPU it was: no row vanishes, and none is there twice."""
    path = table()
    before = msgspec.structs.replace(make_row().runtime, version="1.0.0")
    old = make_row(runtime=before, host={"cpu": "another"})
    failed = make_row(latency_ns=None, error="out of memory")
    lines = [msgspec.json.encode(item) + b"\n" for item in (old, make_row(), failed)]
    path.write_bytes(b"".join(lines))
    result = invoke("gate", path, "--format", "json")
    (matches,) = json.loads(result.stdout)["findings"]
    assert (0, VARIANT, "identical") == (result.exit_code, matches["variant"], matches["verdict"])


def test_a_missing_row_fails(invoke, table):
    """Exit 4, although the other row is identical."""
    result = invoke("gate", table(variant="gone-a1-r64", architecture="gone"))
    assert 4 == result.exit_code
    assert "missing" in result.stdout
    assert "INCONCLUSIVE" in result.stdout


@pytest.mark.parametrize(
    ("content", "message"),
    [(None, "the table does not exist"), (b"", "holds no latencies"), (b"{}\n{}\n", "line 1 is not a record")],
)
def test_a_broken_table_is_told(invoke, workspace, content, message):
    """In a line."""
    if content is not None:
        (workspace / "cpu.jsonl").write_bytes(content)
    result = invoke("gate", "cpu.jsonl")
    assert (1, "") == (result.exit_code, result.stdout)
    assert message in result.stderr


def test_a_revision_that_is_not_there_is_told(invoke, table):
    """No repository, or no such revision."""
    result = invoke("gate", table(), "--base-ref", "nowhere")
    assert (1, "") == (result.exit_code, result.stdout)
    assert "Error: git rev-parse: fatal: not a git repository" in result.stderr


@pytest.mark.slow
def test_a_graph_that_does_more_is_slower_than_the_one_kept(invoke, table, workspace):
    """Nine blocks for five, measured by the graph beside the table."""
    path = table()
    for name in (VARIANT, "v1-a0.25-r32"):
        kept_graph(workspace / "results", build_model(parse_variant(name)))
    slower_table(workspace)
    result = invoke("gate", path, "--allow", "busy", "--format", "json")
    payload = json.loads(result.stdout)
    assert (3, "slower") == (result.exit_code, payload["verdict"])
    assert all(1.05 < item["ratio"] < 2 for item in payload["findings"])


@pytest.mark.slow
def test_a_graph_that_does_more_is_slower_than_another_revisions(invoke, table, workspace):
    """The table and its graphs as they were committed; nothing is left in the repository."""

    def git(*arguments):
        named_by = ("-c", "user.name=x", "-c", "user.email=x@example.org")
        return subprocess.run(
            ["git", *named_by, *arguments], cwd=workspace, check=True, capture_output=True, text=True
        ).stdout

    path = table()
    git("init", "--quiet")
    git("add", "results")
    git("commit", "--quiet", "-m", "base")
    slower_table(workspace)
    result = invoke("gate", path.relative_to(workspace), "--base-ref", "HEAD", "--allow", "busy", "--format", "json")
    payload = json.loads(result.stdout)
    assert (3, ["slower", "slower"]) == (result.exit_code, [item["verdict"] for item in payload["findings"]])
    assert 1 == len(git("worktree", "list").splitlines())

"""Any bytes in place of a file: a valid value or one error of mnbench, from each reader."""

# ruff: noqa: SIM300  expected == actual

import lzma
import os
from contextlib import suppress
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from limits import model_with_input, within

from mnbench.array_files import read_arrays
from mnbench.comparison.comparison import Comparison
from mnbench.errors import DeviceFileError, MnbenchError, ResultsError, StudyFileError
from mnbench.families import read_architecture
from mnbench.model.pretrained.checkpoint import open_checkpoint
from mnbench.model.read_onnx import read_onnx
from mnbench.model.weightless import refill_weights
from mnbench.network.toml_struct import read_toml
from mnbench.results.latency_table import latency_table
from mnbench.results.layer_profile import newest_profiles
from mnbench.results.store import ResultsFile, RunFolder, last_unfinished_arguments
from mnbench.studies.study_file import Study
from mnbench.targets.device import Device
from mnbench.workspace import built_in

pytestmark = pytest.mark.filterwarnings("ignore::hypothesis.errors.HypothesisWarning")
"""Of a failure it says that the sample files are long, in place of the failure."""

EXAMPLES = int(os.environ.get("MNBENCH_FUZZ_EXAMPLES", "10"))
"""Mutations of each file; raise it to search by hand."""

SIGNS = (b"0", b"-1", b"1e999", b"null", b"[]", b"{}", b'"', b"9" * 40, b"\0", b"\xff\xfe", b"[" * 3000, b"nan", b"../")


@st.composite
def edits(draw):
    """Return a function that changes some bytes of a file: replaced, removed, repeated, cut or inserted."""
    kinds = ("replace", "remove", "repeat", "cut", "insert")
    steps = draw(
        st.lists(
            st.tuples(st.sampled_from(kinds), st.floats(0, 1), st.integers(1, 40), st.sampled_from(SIGNS), st.binary()),
            min_size=1,
            max_size=4,
        )
    )

    def apply(data):
        for kind, place, length, sign, noise in steps:
            begin = round(place * len(data))
            removed = {"replace": len(noise), "remove": length}.get(kind, 0)
            added = {"replace": noise, "repeat": data[begin : begin + length] * 3, "insert": sign}.get(kind, b"")
            data = data[:begin] if kind == "cut" else data[:begin] + added + data[begin + removed :]
        return data

    return apply


@pytest.fixture(scope="module")
def samples(tmp_path_factory):
    """A real file for each reader."""
    folder = tmp_path_factory.mktemp("samples")
    import safetensors.numpy

    weights = folder / "x.safetensors"
    safetensors.numpy.save_file({"w": np.ones((2, 3), np.float32)}, weights)
    arrays, array = BytesIO(), BytesIO()
    np.savez_compressed(arrays, latencies_ns=np.arange(1, 50))
    np.save(array, np.ones((2, 3)))
    results = built_in("graphs").parent / "results"
    return {
        "records": b"".join((results / "cpu.jsonl").read_bytes().splitlines(keepends=True)[:3]),
        "arguments": b'["v1", "--alpha", "0.25"]',
        "graph table": (built_in("graphs") / "v2.toml").read_bytes(),
        "device table": (built_in("devices") / "cpu.toml").read_bytes(),
        "study table": (built_in("graphs/studies") / "g1.toml").read_bytes(),
        "xz graph": min((results / "graphs").glob("*.xz"), key=lambda path: path.stat().st_size).read_bytes(),
        "archive": arrays.getvalue(),
        "array": array.getvalue(),
        "model": model_with_input([1, 3, 8, 8]).SerializeToString(),
        "checkpoint": weights.read_bytes(),
        "pairs": b'{"base": "a", "candidate": "b", "rules": {}, "seed": 0, "measured": {"r": "cpu"}, "processes": 0}',
        "profile": b'{"variant":"v1","row":["v1","v1",null,null],"host_identity":["a","b"],"device":"cpu",'
        b'"provider":"c",'
        b'"runtime":"o","threads":1,"measured_at":"x","runs":3,"latency_ns":5,"parts":[{"scope":"a","type":"b",'
        b'"nodes":[{"name":"n","op":"o","provider":"p","tensors":1,"duration_ns":4}]}]}',
    }


def read_raw_trial(folder, path):
    """Read an archive as arrays and as a trial."""
    (folder / "v1.0.npz").write_bytes(path.read_bytes())
    assert {} == RunFolder(folder, set()).load_trials("v1")
    return read_arrays(path)


def read_model(_, path):
    """Read a model, count it and make its inputs."""
    model = read_onnx(path)
    return model.cost, model.make_inputs(0)


READERS = {
    "records": ("cpu.jsonl", lambda folder, _: str(latency_table(ResultsFile(folder, "cpu").read_records()))),
    "arguments": ("raw/x/arguments.json", lambda folder, _: last_unfinished_arguments(folder)),
    "graph table": ("v2.toml", lambda _, path: read_architecture(path)),
    "device table": ("cpu.toml", lambda _, path: read_toml(path, Device, DeviceFileError)),
    "study table": ("g1.toml", lambda _, path: read_toml(path, Study, StudyFileError).check(path)),
    "xz graph": ("x.onnx.xz", lambda _, path: refill_weights(path.read_bytes(), "x")),
    "archive": ("x.npz", read_raw_trial),
    "array": ("x.npy", lambda _, path: read_arrays(path)),
    "model": ("x.onnx", read_model),
    "checkpoint": ("x.safetensors", lambda _, path: open_checkpoint(path).tensors),
    "pairs": ("comparison.json", lambda folder, _: Comparison.load(folder)),
    "profile": ("raw/x/v1.profile.json", lambda folder, _: [item.table("type") for item in newest_profiles(folder)]),
}


def read(folder: Path, reader: str, data: bytes) -> None:
    """Read the bytes as that kind of file; only errors of mnbench may arise."""
    name, function = READERS[reader]
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    with within(20), suppress(MnbenchError):
        function(folder, path)


def test_the_samples_are_valid(samples, tmp_path):
    """Mutations begin from files that are read without an error; one of pairs has no process to decide from."""
    for reader, data in samples.items():
        folder = tmp_path / reader
        name, function = READERS[reader]
        path = folder / name
        path.parent.mkdir(parents=True)
        path.write_bytes(data)
        function(folder, path)


@pytest.mark.parametrize("reader", READERS)
@settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck), database=None)
@given(edit=edits())
def test_a_changed_file_is_valid_or_one_error(samples, tmp_path, reader, edit):
    """Some bytes of a real file are changed."""
    read(tmp_path, reader, edit(samples[reader]))


@pytest.mark.parametrize("reader", READERS)
@settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck), database=None)
@given(data=st.binary(max_size=2000))
def test_any_bytes_are_one_error(tmp_path, reader, data):
    """Nothing of the file is right."""
    read(tmp_path, reader, data)


@pytest.mark.slow
@settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck), database=None)
@given(edit=edits())
def test_a_changed_graph_inside_a_whole_archive(samples, edit):
    """The archive is right, and the model inside is changed."""
    changed = edit(lzma.decompress(samples["xz graph"]))
    with within(20), suppress(ResultsError):
        refill_weights(lzma.compress(changed, preset=0), "x")

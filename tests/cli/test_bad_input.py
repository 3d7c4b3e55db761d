"""Bad input: one clear line and a hint, the right exit code, and nothing written."""

# ruff: noqa: SIM300  expected == actual

import pytest
from common import ONCE, own_model


@pytest.fixture
def spoiled(workspace):
    """A folder with a good model and all kinds of bad files."""
    outside = workspace.parent / "outside.bin"
    outside.write_bytes(bytes(48))
    files = {
        "good.onnx": own_model(),
        "truncated.onnx": own_model()[:-60],
        "empty.onnx": b"",
        "text.onnx": b"<html>not found</html>",
        "outside.onnx": own_model(data_at="../outside.bin"),
        "absolute.onnx": own_model(data_at=str(outside)),
        "linked.onnx": own_model(data_at="link.bin"),
        "missing.onnx": own_model(data_at="nowhere.bin"),
        "broken.toml": b'name = "x\n',
        "binary.toml": b"\xff\xfe\x00",
        "strange.toml": b'family = "mobilenet-v1"\nname = "x"\nnonsense = 1\n',
        "file": b"a file where a folder belongs",
    }
    for name, data in files.items():
        (workspace / name).write_bytes(data)
    (workspace / "link.bin").symlink_to(outside)
    for name in ("folder", "folder.onnx", "folder.toml"):
        (workspace / name).mkdir()
    return workspace


def start_command(text):
    """The words of a command line, with the options that make a run short."""
    first, *remainder = text.split()
    return [first, *(ONCE if first == "run" else ()), *remainder]


FAILURES = {
    "run v1 --alpha 0.25 --res 32 --cores 99": "device cpu: cannot be bound to cores 99",
    "run v1 --alpha 0.25 --res 32 --cores 0,1000000": "device cpu: cannot be bound to cores 1000000",
    "run --resume": "results: there is no unfinished run",
    "run --resume --results file": "file: there is no unfinished run",
    # α
    "cost v1 --alpha 0": "alpha 0 is impossible",
    "cost v1 --alpha -1": "alpha -1 is impossible",
    "cost v1 --alpha nan": "alpha nan is impossible",
    "cost v1 --alpha inf": "alpha inf is impossible",
    "cost v1 --alpha 1e9": "alpha 1e+09 is impossible",
    "cost v1 --alpha 1,0": "alpha 0 is impossible",
    "build v1 --alpha nan": "alpha nan is impossible",
    "run v1 --alpha 0": "alpha 0 is impossible",
    "graphs show v1 --alpha 1e9": "alpha 1e+09 is impossible",
    # resolution
    "cost v1 --res 0": "resolution 0 is impossible",
    "cost v1 --res 7": "resolution 7 is impossible",
    "cost v1 --res -5": "resolution -5 is impossible",
    "cost v1 --res 224x7": "resolution 224x7 is impossible",
    "cost v1 --res 1000000": "resolution 1000000 is impossible",
    "build v1 --res 0": "resolution 0 is impossible",
    "run v1 --res 1000000": "resolution 1000000 is impossible",
    "cost v1 --rho 0": "rho 0 is impossible",
    "cost v1 --rho nan": "rho nan is impossible",
    "cost v1 --rho 0.01": "resolution 2 is impossible",
    "cost v1 --alpha 1,1.0": "selected twice",
    # names
    "cost v9": "unknown graph",
    "cost v11": "did you mean `v1`?",
    "build v11": "did you mean `v1`?",
    "run v11": "did you mean `v1`?",
    "graphs show v11": "did you mean `v1`?",
    "cost v11-a0.5-r160": "did you mean `v1`?",
    "cost v1-a9-r160": "v1: alpha 9 is impossible",
    "cost v1-a0.5-r160 --alpha 1": "v1-a0.5-r160 is one variant: alpha cannot be set",
    "build v1-a0.5-r160 --res 32 --groups 2": "v1-a0.5-r160 is one variant: resolution, groups cannot be set",
    "run v1-a0.5-r160 --rho 0.5": "v1-a0.5-r160 is one variant: rho cannot be set",
    "cost v1-a0.5-r160 --published": "v1-a0.5-r160 is one variant: published cannot be set",
    "cost v1 v1-a1-r224": "v1-a1-r224 is selected twice",
    "run v1 --device cpuu": "did you mean `cpu`?",
    "devices show gpu": "unknown device",
    "table gpu": "holds no results of device gpu",
    "table": "holds no results yet",
    # tables
    "cost broken.toml": "broken.toml: is not TOML",
    "graphs show broken.toml": "at line 1",
    "run v1 --device broken.toml": "broken.toml: is not TOML",
    "cost binary.toml": "is not UTF-8",
    "cost strange.toml": "`nonsense`",
    "devices show strange.toml": "unknown key",
    "cost nothing.toml": "No such file",
    # files
    "cost nothing.onnx": "No such file",
    "cost empty.onnx": "empty.onnx: is empty",
    "cost text.onnx": "text.onnx: is a web page, not a model",
    "cost truncated.onnx": "truncated.onnx: is not an ONNX model, or is cut short",
    "build truncated.onnx": "truncated.onnx: is not an ONNX model, or is cut short",
    "run truncated.onnx": "truncated.onnx: is not an ONNX model, or is cut short",
    "cost outside.onnx": "outside its folder",
    "build outside.onnx": "outside its folder",
    "run outside.onnx": "outside its folder",
    "build absolute.onnx": "outside its folder",
    "build linked.onnx": "outside its folder",
    "build missing.onnx": "is not there",
    "cost good.onnx --res 16": "--res 16: good takes input 1×3×8×8",
    # folders where files belong, and files where folders belong
    "cost folder": "unknown graph",
    "cost folder.onnx": "folder.onnx: is a folder",
    "build folder.onnx": "folder.onnx: is a folder",
    "cost folder.toml": "folder.toml: cannot be read (Is a directory)",
    "run v1 --device folder.toml": "folder.toml: cannot be read (Is a directory)",
    "build v1 --alpha 0.25 --res 32 -o folder": "folder: is a folder",
    # Root may write into any folder, whatever its permission bits say; nobody may below a regular file or in /proc.
    "build v1 --alpha 0.25 --res 32 -o file/model.onnx": "file/model.onnx: cannot be written",
    "build v1 --alpha 0.25 --res 32 -o /proc/model.onnx": "/proc/model.onnx: cannot be written",
    "run good.onnx --results file": "file/cpu.jsonl: cannot be read",
    "run good.onnx --results file/results": "cannot be ",
    "run good.onnx --results /proc/results": "cannot be written",
    "table --results file": "holds no results",
}

USAGE_ERRORS = {
    "cost v1 --res 1e6": "'1e6' is not a size",
    "cost v1 --res large": "'large' is not a size",
    "cost v1 --alpha one": "'one' is not a number",
    "cost v1 --format xml": "'xml' is not one of",
    "cost v1 --nonsense": "No such option",
    "cots v1": "No such command 'cots'",
    "run v1 --processes 0": "0 is not in the range",
    "run v1 --duration 0": "'0' is not a duration",
    "run v1 --duration nan": "'nan' is not a duration",
    "run v1 --duration inf": "'inf' is not a duration",
    "run v1 --seed -1": "-1 is not in the range",
    "run v1 --budget 0s": "'0s' is not a duration",
    "run v1 --budget -1s": "'-1s' is not a duration",
    "run v1 --budget soon": "'soon' is not a duration",
    "run v1 --budget 20x": "'20x' is not a duration",
    "run v1 --budget nan": "'nan' is not a duration",
    "run v1 --budget inf": "'inf' is not a duration",
    "run v1 --budget 1e999s": "'1e999s' is not a duration",
    "pick --budget 5ms --max-size 5ms": "'5ms' is not a size",
    "verify v1-a1-r32 --tolerance 0": "'0' is not a share",
    "run v1 --precision-target 1": "'1' is not a share",
    "run v1 --precision-target 0%": "'0%' is not a share",
    "run v1 --precision-target 100%": "'100%' is not a share",
    "run v1 --precision-target -1%": "'-1%' is not a share",
    "run v1 --precision-target nan%": "'nan%' is not a share",
    "run v1 --precision-target 1%%": "'1%%' is not a share",
    "run v1 --precision-target small": "'small' is not a share",
    "run v1 --threads 0": "'0' is not a number or `all`",
    "run v1 --threads -1": "'-1' is not a number or `all`",
    "run v1 --threads many": "'many' is not a number or `all`",
    "run v1 --threads 1,,2": "'1,,2' is not a number or `all`",
    "run v1 --cores -1": "'-1' is not the number of a core",
    "run v1 --cores one": "'one' is not the number of a core",
    "runn v1": "Did you mean 'run'?",
    "devices prob cpu": "Did you mean 'probe'?",
    "cost v1 --alhpa 1": "'--alpha'",
    "run v1-a0.25-r32-bdynamic": "a measurement needs a batch of fixed size",
    "run v1 --batch dynamic": "a measurement needs a batch of fixed size",
    "build v1 --seed -1": "-1 is not in the range",
    "table --columns latnecy_ns": "did you mean `latency_ns`?",
    "table --columns nonsense": "there is no column 'nonsense'",
    "table --sort interval_ns": "name low_ns or high_ns",
    "table --where interval_ns<1ms": "name low_ns or high_ns",
    "table --sort nonsense": "there is no column 'nonsense'",
    "table --columns ,": "there is no column ''",
}


@pytest.mark.parametrize("line", FAILURES)
def test_bad_input_gives_an_error_a_hint_and_exit_code_1(invoke, spoiled, tree, line):
    """What cannot be done ends with one line that says why and one that says what to do; nothing is written."""
    before = tree(spoiled)
    result = invoke(*start_command(line))
    error, hint = result.stderr.splitlines()

    assert 1 == result.exit_code
    assert error.startswith("Error: ")
    assert hint.startswith("Hint: ")
    assert len(hint) > len("Hint: ")
    assert FAILURES[line] in result.stderr
    assert "" == result.stdout
    assert before == tree(spoiled)


@pytest.mark.parametrize("line", USAGE_ERRORS)
def test_wrong_usage_gives_the_usage_an_error_and_exit_code_2(invoke, spoiled, tree, line):
    """A command line that makes no sense ends with its usage and one line that says why; nothing is written."""
    before = tree(spoiled)
    result = invoke(*start_command(line))
    *usage, error = result.stderr.splitlines()

    assert 2 == result.exit_code
    assert usage[0].startswith("Usage: mnbench")
    assert [] == [text for text in usage[1:] if text and not text.startswith("Try ")]
    assert error.startswith("Error: ")
    assert USAGE_ERRORS[line] in error
    assert "" == result.stdout
    assert before == tree(spoiled)


def test_a_good_model_is_taken(invoke, spoiled):
    """The model that the bad ones are made from is right: it is counted and built."""
    assert 0 == invoke("cost", "good.onnx").exit_code
    assert 0 == invoke("build", "good.onnx", "-o", "built.onnx").exit_code
    assert (spoiled / "built.onnx").is_file()


def test_one_bad_model_among_good_ones_leaves_whole_files(invoke, spoiled):
    """Models built before the one that fails are whole files, and nothing else is left."""
    before = {path.name for path in spoiled.iterdir()}
    result = invoke("build", "v1", "truncated.onnx", *(), "--res", "32")

    assert 1 == result.exit_code
    assert {"v1-a1-r32.onnx"} == {path.name for path in spoiled.iterdir()} - before
    assert 0 == invoke("cost", "v1-a1-r32.onnx").exit_code


def test_results_that_are_a_folder(invoke, workspace):
    """A folder in the place of `cpu.jsonl` is an error of `table` and of `run`."""
    (workspace / "results" / "cpu.jsonl").mkdir(parents=True)
    (workspace / "own.onnx").write_bytes(own_model())
    for words in (("table",), ("run", "own.onnx", *ONCE)):
        result = invoke(*words)
        assert 1 == result.exit_code
        assert "Error: results/cpu.jsonl: cannot be read (Is a directory)" == result.stderr.splitlines()[0]

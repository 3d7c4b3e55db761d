"""Tables that are wrong: file, row, key and what is allowed are in the error."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mnbench.errors import DeviceFileError, GraphFileError
from mnbench.families import family_classes, read_architecture
from mnbench.model.to_onnx import check_model, to_onnx
from mnbench.network.network import build_network
from mnbench.network.variant import Variant
from mnbench.targets.device import read_device
from mnbench.workspace import built_in

V1 = (built_in("graphs") / "v1.toml").read_text(encoding="utf-8")
CPU = (built_in("devices") / "cpu.toml").read_text(encoding="utf-8")
ROWS = V1[V1.index("rows = [\n") : V1.index("# Channels at another")]
ROW_1 = 'type = "Conv", s = 2, filter = [3, 3, 3, 32]'
ROW_14_1 = 'type = "Conv dw", s = 1, filter = [3, 3, 512], input = [14, 14, 512]'
ROW_14_2 = 'type = "Conv", s = 1, filter = [1, 1, 512, 512]'
POOL = '  { type = "Avg Pool", s = 1, pool = [7, 7], input = [7, 7, 1024] },\n'
CLASSIFIER = '  { type = "FC", s = 1, filter = [1024, 1000], input = [1, 1, 1024] },\n'

TABLE_KEYS = (
    "allowed keys: family, name, short (optional), title, paper, table, batch_norm_epsilon, errata (optional), "
    "published (optional), checkpoint (optional), activation, width, rows"
)
FAMILIES = f"a table has a `family`, one of: {', '.join(sorted(family_classes()))}"
CONV_KEYS = "allowed keys: type, s, filter, input"
ERRATUM_KEYS = "allowed keys: row, key, printed, used, reason"
TYPES = "every row has a `type`, one of: Conv, Conv dw, Avg Pool, FC, Softmax, Repeat"
NESTED_TYPES = "every row has a `type`, one of: Conv, Conv dw"
EXAMPLES = "fix that key; `mnbench graphs show v1` and `mnbench devices show cpu` show correct files"
AGREE = "row shapes must match at α = 1: fix this row or the one above it"


def _changed(text, old, new):
    assert old in text
    return text.replace(old, new, 1)


def _error(path, text):
    path.write_text(text, encoding="utf-8")
    with pytest.raises(GraphFileError) as caught:
        read_architecture(path)
    return caught.value


def _refusal(path):
    try:
        read_architecture(path)
    except GraphFileError as error:
        return error
    return None


def _device_error(path, text):
    path.write_text(text, encoding="utf-8")
    with pytest.raises(DeviceFileError) as caught:
        read_device(str(path))
    return caught.value


@pytest.mark.parametrize(
    ("old", "new", "where", "problem", "hint"),
    [
        ('name = "v1"', 'name = "v1"\ncolour = "red"', "", "has an unknown key `colour`", TABLE_KEYS),
        ('title = "MobileNet V1"\n', "", "", "misses the required key `title`", TABLE_KEYS),
        ('title = "MobileNet V1"', "title = 1", "key `title`", "Expected text, got a whole number", EXAMPLES),
        ('name = "v1"', 'name = "V 1"', "key `name`", "Expected text matching", EXAMPLES),
        ("epsilon = 0.001", "epsilon = 0", "key `batch_norm_epsilon`", "> 0", EXAMPLES),
        ('"relu6"', '"gelu"', "key `activation`", "Invalid enum value 'gelu'", "allowed values: relu, relu6"),
        ("divisor = 1", "divizor = 1", "key `width`", "unknown key `divizor`", "allowed keys: divisor, minimum"),
        ("divisor = 1", "divisor = 0", "key `width`, key `divisor`", "a whole number >= 1", EXAMPLES),
        (ROWS, "rows = []\n", "key `rows`", "Expected a list of length >= 1", EXAMPLES),
        (ROWS, 'rows = "Conv"\n', "key `rows`", "Expected a list, got text", EXAMPLES),
        (ROWS, 'rows = ["Conv"]\n', "row 1", "Expected a table, got text", TYPES),
        ('row = "17"\n', "", "key `errata`, entry 1", "misses the required key `row`", ERRATUM_KEYS),
        ('row = "17"\n', "row = 17\n", "key `errata`, entry 1, key `row`", "Expected text", EXAMPLES),
    ],
)
def test_wrong_key_of_the_table(tmp_path, old, new, where, problem, hint):
    """A key of the table that is unknown, missing or wrong is named with what may stand there."""
    path = tmp_path / "x.toml"
    error = _error(path, _changed(V1, old, new))

    assert (path, where, hint) == (error.path, error.where, error.hint)
    assert error.message.startswith(f"{path}: {where}")
    assert problem in error.message


@pytest.mark.parametrize(
    ("old", "new", "where", "problem", "hint"),
    [
        (ROW_1, f"stride = 2, {ROW_1}", "row 1", "has an unknown key `stride`", CONV_KEYS),
        (ROW_1, ROW_1.replace("s = 2, ", ""), "row 1", "misses the required key `s`", CONV_KEYS),
        (ROW_1, ROW_1.replace('type = "Conv", ', ""), "row 1", "misses the required key `type`", TYPES),
        (ROW_1, ROW_1.replace('"Conv"', '"Convv"'), "row 1, key `type`", "Invalid value 'Convv'", TYPES),
        (ROW_1, ROW_1.replace('"Conv"', "3"), "row 1, key `type`", "Expected text, got a whole number", TYPES),
        (ROW_1, ROW_1.replace("s = 2", "s = 3"), "row 1, key `s`", "Invalid enum value 3", "allowed values: 1, 2"),
        (
            ROW_1,
            ROW_1.replace("s = 2", 's = "2"'),
            "row 1, key `s`",
            "Expected a whole number, got text",
            "allowed values: 1, 2",
        ),
        (ROW_1, ROW_1.replace("3, 3, 3, ", "3, 3, "), "row 1, key `filter`", "list of length 4, got 3", EXAMPLES),
        (
            ROW_1,
            ROW_1.replace("3, 32", '"3", 32'),
            "row 1, key `filter`, entry 3",
            "a whole number, got text",
            EXAMPLES,
        ),
        (ROW_1, ROW_1.replace("3, 32", "0, 32"), "row 1, key `filter`, entry 3", "a whole number >= 1", EXAMPLES),
        (POOL, POOL.replace("pool", "kernel"), "row 19", "unknown key `kernel`", "allowed keys: type, s, pool, input"),
        (POOL, POOL.replace("s = 1", "s = 7"), "row 19, key `s`", "Invalid enum value 7", "allowed values: 1"),
        (CLASSIFIER, CLASSIFIER.replace("filter", "units"), "row 20", "unknown key `units`", CONV_KEYS),
        ("times = 5", "times = 0", "row 14, key `times`", "a whole number >= 1", EXAMPLES),
        ("times = 5", "times = true", "row 14, key `times`", "Expected a whole number, got", EXAMPLES),
        ("times = 5", "count = 5", "row 14", "has an unknown key `count`", "allowed keys: type, times, rows"),
        (ROW_14_1, f"{ROW_14_1}, pad = 1", "row 14.1", "has an unknown key `pad`", CONV_KEYS),
        (ROW_14_2, ROW_14_2.replace("s = 1, ", ""), "row 14.2", "misses the required key `s`", CONV_KEYS),
        (
            ROW_14_1,
            ROW_14_1.replace("s = 1", "s = 5"),
            "row 14.1, key `s`",
            "Invalid enum value 5",
            "allowed values: 1, 2",
        ),
        (ROW_14_2, ROW_14_2.replace('"Conv"', '"FC"'), "row 14.2, key `type`", "Invalid value 'FC'", NESTED_TYPES),
    ],
)
def test_wrong_key_of_a_row(tmp_path, old, new, where, problem, hint):
    """A key of a row is named with the row's number in the paper's table, nested rows too."""
    path = tmp_path / "x.toml"
    error = _error(path, _changed(V1, old, new))

    assert (path, where, hint) == (error.path, error.where, error.hint)
    assert error.message.startswith(f"{path}: {where}: ")
    assert problem in error.message


@pytest.mark.parametrize(
    ("old", "new", "where", "problem"),
    [
        (
            "[112, 112, 32] },\n  { type",
            "[112, 113, 32] },\n  { type",
            "row 2, key `input`",
            "is 112 × 113 × 32, but the rows above it give 112 × 112 × 32",
        ),
        (
            ROW_1,
            ROW_1.replace("s = 2", "s = 1"),
            "row 2, key `input`",
            "is 112 × 112 × 32, but the rows above it give 224 × 224 × 32",
        ),
        (
            ROW_1,
            ROW_1.replace("3, 32", "4, 32"),
            "row 1, key `filter`",
            "is 3 × 3 × 4 × 32, but its input has 3 channels",
        ),
        (
            "filter = [3, 3, 32], input",
            "filter = [3, 3, 31], input",
            "row 2, key `filter`",
            "is 3 × 3 × 31, but its input has 32 channels",
        ),
        (
            ROW_14_1,
            ROW_14_1.replace("14, 14", "14, 15"),
            "row 14.1, key `input`",
            "is 14 × 15 × 512, but the rows above it give 14 × 14 × 512",
        ),
        (
            ROW_14_2,
            ROW_14_2.replace("512, 512]", "511, 512]"),
            "row 14.2, key `filter`",
            "is 1 × 1 × 511 × 512, but its input has 512 channels",
        ),
        (
            ROW_14_2,
            ROW_14_2.replace("512, 512]", "512, 511]"),
            "row 14.1, key `input`",
            "is 14 × 14 × 512, but the rows above it give 14 × 14 × 511",
        ),
        ("pool = [7, 7]", "pool = [7, 6]", "row 19, key `pool`", "is 7 × 6, but it must cover its whole input, 7 × 7"),
        (
            "filter = [1024, 1000]",
            "filter = [1023, 1000]",
            "row 20, key `filter`",
            "is 1023 × 1000, but its input has 1024 channels",
        ),
        (
            "filter = [1024, 1000]",
            "filter = [1024, 1001]",
            "row 21, key `input`",
            "is 1 × 1 × 1000, but the rows above it give 1 × 1 × 1001",
        ),
    ],
)
def test_row_that_contradicts_the_table(tmp_path, old, new, where, problem):
    """A row whose printed numbers are not what the rows above it give is refused with both."""
    path = tmp_path / "x.toml"
    expected = f"{path}: {where}: {problem}"
    error = _error(path, _changed(V1, old, new))

    assert (expected, AGREE) == (error.message, error.hint)


def test_repeat_must_hold_rows(tmp_path):
    """A table whose only row repeats nothing is refused at that row."""
    error = _error(tmp_path / "x.toml", _changed(V1, ROWS, 'rows = [{ type = "Repeat", times = 5, rows = [] }]\n'))

    assert error.where.startswith("row 1, key `rows`")


def test_repeat_has_a_limit(tmp_path):
    """A slip of the finger in `times` is refused instead of filling the memory."""
    error = _error(tmp_path / "x.toml", _changed(V1, "times = 5", "times = 100_000"))

    assert error.where.startswith("row 14, key `times`")


@pytest.mark.parametrize(
    ("old", "new", "where"),
    [
        (ROWS, 'rows = [{ type = "Softmax", s = 1, input = [1, 1, 1000] }]\n', "row 1"),
        (POOL + CLASSIFIER, CLASSIFIER.replace("[1, 1, 1024]", "[7, 7, 1024]"), "row 19"),
    ],
    ids=["softmax alone", "classifier on a map"],
)
def test_rows_that_cannot_be_built(tmp_path, old, new, where):
    """Rows that no graph can be made of are refused with the table, not later."""
    error = _error(tmp_path / "x.toml", _changed(V1, old, new))

    assert error.where.startswith(where)


@pytest.mark.parametrize(
    ("old", "new", "where"),
    [
        (POOL, POOL + POOL.replace("[7, 7", "[1, 1"), "row 20"),
        (CLASSIFIER, f"  {{ {ROW_14_2.replace('512', '1024')}, input = [1, 1, 1024] }},\n{CLASSIFIER}", "row 20"),
        (CLASSIFIER, CLASSIFIER + CLASSIFIER.replace("1024", "1000"), "row 21"),
    ],
    ids=["pooled twice", "convolution behind the pooling", "two classifiers"],
)
def test_rows_in_another_order(tmp_path, old, new, where):
    """Rows in an order that V1 does not have are refused with the table, or make a graph that is right."""
    path = tmp_path / "x.toml"
    path.write_text(_changed(V1, old, new), encoding="utf-8")
    error = _refusal(path)

    assert error is None or error.where.startswith(where)
    if error is None:
        check_model(
            to_onnx(build_network(Variant(architecture=read_architecture(path), alpha=0.25, resolution=(64, 64))))
        )


@pytest.mark.parametrize("kernel", [2, 4])
def test_even_kernel(tmp_path, kernel):
    """A kernel with no centre is refused: with symmetric padding its map is not ceil(side / stride)."""
    new = ROW_1.replace("[3, 3, 3, ", f"[{kernel}, {kernel}, 3, ")
    error = _error(tmp_path / "x.toml", _changed(V1, ROW_1, new))

    assert error.where.startswith("row 1, key `filter`")


@pytest.mark.parametrize("kernel", [1, 5, 7])
def test_other_odd_kernels(tmp_path, kernel):
    """Kernels of other odd sizes are read as they stand."""
    path = tmp_path / "x.toml"
    path.write_text(_changed(V1, ROW_1, ROW_1.replace("[3, 3, 3, ", f"[{kernel}, {kernel}, 3, ")), encoding="utf-8")
    expected = (kernel, kernel, 3, 32)

    assert expected == read_architecture(path).rows[0].filter


def test_rows_are_numbered_as_in_the_paper():
    """Row 14 stands for five pairs, so that the rows behind it keep the paper's numbers."""
    pairs = ["14.1", "14.2"] * 5
    numbers = [number for number, _ in read_architecture(built_in("graphs") / "v1.toml").numbered_rows()]

    assert [*map(str, range(1, 14)), *pairs, *map(str, range(15, 22))] == numbers


@pytest.mark.parametrize(
    ("data", "message", "hint"),
    [
        (b"name = v1", "is not TOML: Invalid value (at line 1, column 8)", "fix the file at that line"),
        (b"\x00", "is not TOML: Invalid statement (at line 1, column 1)", "fix the file at that line"),
        ("name = 'é'".encode("latin-1"), "is not UTF-8 text", "save the file as UTF-8"),
        (b"\xff\xfen\x00", "is not UTF-8 text", "save the file as UTF-8"),
        (b"", "misses the required key `family`", FAMILIES),
    ],
)
def test_file_that_holds_no_table(tmp_path, data, message, hint):
    """A file that is not UTF-8, not TOML or empty is refused as such."""
    path = tmp_path / "x.toml"
    path.write_bytes(data)
    expected = f"{path}: {message}"

    with pytest.raises(GraphFileError) as caught:
        read_architecture(path)

    assert (expected, hint) == (caught.value.message, caught.value.hint)


@pytest.mark.parametrize(("name", "reason"), [("none.toml", "No such file or directory"), (".", "Is a directory")])
def test_file_that_cannot_be_read(tmp_path, name, reason):
    """A missing file and a folder are refused with the system's reason."""
    path = tmp_path / name
    expected = (f"{path}: cannot be read ({reason})", "name a .toml file that you can read")

    with pytest.raises(GraphFileError) as caught:
        read_architecture(path)

    assert expected == (caught.value.message, caught.value.hint)


@pytest.mark.slow
@settings(deadline=None)
@given(line=st.integers(0, V1.count("\n")), junk=st.text(max_size=20))
def test_any_line_replaced_is_read_or_refused(tmp_path_factory, line, junk):
    """Whatever stands in place of a line, the table is read, or refused in one line."""
    lines = V1.splitlines()
    path = tmp_path_factory.mktemp("junk") / "x.toml"
    path.write_bytes("\n".join([*lines[:line], junk, *lines[line + 1 :]]).encode("utf-8", "surrogatepass"))

    error = _refusal(path)

    assert error is None or str(path) in error.message
    assert error is None or "\n" not in error.message + error.hint


@pytest.mark.parametrize(
    ("old", "new", "where", "problem", "hint"),
    [
        ("threads = 1", "threads = 0", "key `threads`", "a whole number >= 1", EXAMPLES),
        ("threads = 1", 'threads = "many"', "key `threads`", "'many'", EXAMPLES),
        ('runtime = "onnxruntime"\n', "", "", "misses the required key `runtime`", "allowed keys: name, summary,"),
        ("threads = 1", "threads = 1\ncore = 4", "", "has an unknown key `core`", "allowed keys: name, summary,"),
        ("threads = 1", "threads = 1\ncores = 4", "key `cores`", "a list", EXAMPLES),
        ("threads = 1", "threads = 1\ncores = [-1]", "key `cores`", "a whole number >= 0", EXAMPLES),
        ('name = "cpu"', 'name = "../cpu"', "key `name`", "Expected text matching", EXAMPLES),
        ('intra_op.allow_spinning" = "0"', 'intra_op.allow_spinning" = 0', "key `options`", "Expected text", EXAMPLES),
        ("threads = 1", "threads = 1\nenvironment = {'A=B' = '1'}", "key `environment`", "Expected text", EXAMPLES),
    ],
)
def test_wrong_device(tmp_path, old, new, where, problem, hint):
    """A device profile is read as strictly as a graph."""
    path = tmp_path / "x.toml"
    error = _device_error(path, _changed(CPU, old, new))

    assert error.message.startswith(f"{path}: {where}")
    assert problem in error.message
    assert error.hint.startswith(hint)


def test_threads_cores_and_provider_options(tmp_path):
    """A profile may leave threads to the device, bind cores, and set what its provider understands."""
    path = tmp_path / "cpu.toml"
    text = _changed(CPU, "threads = 1", 'threads = "all"\ncores = [0, 2]')
    path.write_text(text + '[provider_options]\ndevice_id = "1"\n', encoding="utf-8")
    device = read_device(str(path))

    assert (device.threads, device.cores, device.provider_options) == ("all", (0, 2), {"device_id": "1"})

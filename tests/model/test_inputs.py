"""The arrays that a model is fed: sizes and values that are given, chosen, or asked for."""

# ruff: noqa: SIM300  expected == actual

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from mnbench.errors import InputError, MnbenchError
from mnbench.model.input_sizes import write_sizes
from mnbench.model.inputs import make_inputs
from mnbench.network.variant import InputOptions

FLOAT, INT64 = TensorProto.FLOAT, TensorProto.INT64


def _model(inputs, nodes=(), weights=()):
    """A graph with these inputs, each a type and a shape."""
    values = [helper.make_tensor_value_info(name, *entry) for name, entry in inputs.items()]
    return helper.make_model(helper.make_graph(list(nodes), "g", values, [], list(weights)))


def _fed(inputs, nodes=(), seed=0, **options):
    return make_inputs(_model(inputs, nodes), InputOptions(**options), seed=seed, name="net")


def _shapes(inputs, **options):
    return {name: entry.array.shape for name, entry in _fed(inputs, **options).items()}


def _error(inputs, **options):
    with pytest.raises(InputError) as caught:
        _fed(inputs, **options)
    return caught.value


IMAGE = {"image": (FLOAT, ["batch", 3, "height", "width"])}
CHANNELS_LAST = {"image": (TensorProto.UINT8, ["N", "h", "w", 3])}
AUDIO = {"audio": (FLOAT, [None, "samples"]), "state": (FLOAT, [2, "batch", 16]), "rate": (INT64, [])}


# sizes


@pytest.mark.parametrize(
    ("inputs", "options", "expected"),
    [
        (IMAGE, {"sizes": {"height": 8, "width": 9}}, {"image": (1, 3, 8, 9)}),
        (IMAGE, {"resolution": (8, 9)}, {"image": (1, 3, 8, 9)}),
        (IMAGE, {"resolution": (8, 9), "batch": 4}, {"image": (4, 3, 8, 9)}),
        (IMAGE, {"shapes": {"": (2, 3, 8, 9)}}, {"image": (2, 3, 8, 9)}),
        (CHANNELS_LAST, {"resolution": (8, 9)}, {"image": (1, 8, 9, 3)}),
        (
            AUDIO,
            {"sizes": {"samples": 512, "batch": 1}, "values": {"rate": "16000"}},
            {"audio": (1, 512), "state": (2, 1, 16), "rate": ()},
        ),
        ({"a": (INT64, ["N", "t"]), "b": (INT64, ["N", "t"])}, {"sizes": {"t": 7}}, {"a": (1, 7), "b": (1, 7)}),
        ({"x": (FLOAT, ["batch", 4]), "state": (FLOAT, [2, "batch", 4])}, {}, {"x": (1, 4), "state": (2, 1, 4)}),
        ({"x": (FLOAT, [-1, 4])}, {}, {"x": (1, 4)}),
        ({"x": (FLOAT, [0, 4])}, {}, {"x": (0, 4)}),
        ({"x": (FLOAT, None)}, {"shapes": {"x": (2, 3)}}, {"x": (2, 3)}),
        ({"x:0": (FLOAT, [1, "t"])}, {"shapes": {"x:0": (1, 5)}}, {"x:0": (1, 5)}),
        ({"x": (FLOAT, ["n_rows", 2])}, {"values": {"x": np.ones((5, 2))}}, {"x": (5, 2)}),
        ({"x": (INT64, ["k"]), "y": (FLOAT, ["k"])}, {"values": {"x": "4,5,6"}}, {"x": (3,), "y": (3,)}),
    ],
)  # fmt: skip
def test_sizes_are_given_by_name_by_shape_or_by_value(inputs, options, expected):
    """A size that is known in one input holds in the others; an open batch is 1."""
    assert expected == _shapes(inputs, **options)


@pytest.mark.parametrize("name", ["", "N", "b", "batch", "batch_size", "s6", "unk__7", "DynamicDimension.0"])
def test_a_first_size_with_a_generic_name_is_one(name):
    """The axis is named as one that nobody gave."""
    entry = _fed({"x": (FLOAT, [name or None, 4])})["x"]

    assert ((1, 4), (0,)) == (entry.array.shape, entry.assumed)


@pytest.mark.parametrize(
    ("inputs", "options", "message", "hint"),
    [
        (
            IMAGE,
            {},
            "net: sizes are open: image batch×3×height×width",
            "give them: --dim height=320 --dim width=320, or --shape 1,3,320,320",
        ),
        (
            AUDIO,
            {},
            "net: sizes are open: audio ?×samples, state 2×batch×16",
            "give them: --dim samples=… --dim batch=…, or --shape audio=1,…",
        ),
        (
            {"x": (FLOAT, [None, None]), "h": (FLOAT, [2, None, 8])},
            {},
            "net: sizes are open: x ?×?, h 2×?×8",
            "give them: --shape x=1,… --shape h=2,…,8",
        ),
        (
            {"x in": (FLOAT, [1, "floor(h/2)"]), "y": (FLOAT, [1])},
            {},
            "net: sizes are open: x in 1×floor(h/2)",
            "give them: --dim 'floor(h/2)'=…, or --shape 'x in'=1,…",
        ),
        ({"x": (FLOAT, ["num_frames", 40])}, {}, "net: sizes are open: x num_frames×40", None),
        ({"x": (FLOAT, None)}, {}, "net: sizes are open: x ?", None),
        (IMAGE, {"sizes": {"hight": 8}}, "--dim hight=8: net has no size hight; open are batch, height, width", None),
        (IMAGE, {"shapes": {"": (1, 4, 8, 8)}}, "--shape 1,4,8,8: net takes image batch×3×height×width", None),
        (IMAGE, {"shapes": {"": (1, 3, 8)}}, "--shape 1,3,8: net takes image batch×3×height×width", None),
        (IMAGE, {"shapes": {"x": (1, 3)}}, "--shape x=1,3: net has no input x; its inputs: image", "name one: INPUT=…"),
        (AUDIO, {"shapes": {"": (1, 8)}}, "--shape 1,8: net has several inputs; its inputs: audio, state, rate", None),
        (
            IMAGE,
            {"sizes": {"height": 8}, "shapes": {"": (1, 3, 9, 9)}},
            "--dim height=8 and --shape 1,3,9,9 contradict each other",
            None,
        ),
        ({"x": (FLOAT, [2, 4])}, {"batch": 8}, "--batch 8: net takes x 2×4", "its batch is not open"),
        ({"x": (FLOAT, ["N", 4])}, {"resolution": (8, 8)}, "--res 8: no input of net is an image: x N×4", None),
        ({"x": (FLOAT, [1, 3, 8, 8])}, {"resolution": (8, 9)}, "--res 8x9: net takes x 1×3×8×8", None),
    ],
)  # fmt: skip
def test_sizes_that_are_missing_or_do_not_fit(inputs, options, message, hint):
    """One error lists all open sizes; an option that does not fit is refused with what the model takes."""
    error = _error(inputs, **options)

    assert message == error.message
    assert hint is None or hint == error.hint


@given(data=st.data())
@settings(max_examples=100)
def test_every_open_size_is_given_assumed_or_asked_for(data):
    """Whatever is open, the arrays have the file's fixed sizes and the given ones, or the error lists what is open."""
    side = st.one_of(st.integers(1, 3), st.sampled_from(["N", "h", "w", None]))
    sides = data.draw(st.dictionaries(st.sampled_from("xyz"), st.lists(side, max_size=4), min_size=1))
    names = {side for shape in sides.values() for side in shape if isinstance(side, str)}
    sizes = {name: data.draw(st.integers(0, 4)) for name in sorted(names) if data.draw(st.booleans())}
    try:
        shapes = _shapes({name: (FLOAT, shape) for name, shape in sides.items()}, sizes=sizes)
    except InputError as error:
        assert "sizes are open" in error.message  # noqa: PT017
    else:
        wanted = {name: tuple(sizes.get(side, side) for side in shape) for name, shape in sides.items()}
        for name, shape in shapes.items():
            assert all(side == want for side, want in zip(shape, wanted[name], strict=True) if isinstance(want, int))


def test_sizes_are_written_into_a_copy():
    """A model for a converter has the sizes of the arrays, and the model itself does not change."""
    model = _model(IMAGE)
    sized = write_sizes(model, {"image": (1, 3, 8, 9)})

    assert [1, 3, 8, 9] == [side.dim_value for side in sized.graph.input[0].type.tensor_type.shape.dim]
    assert _model(IMAGE) == model


# values


def test_numbers_are_seeded(plain):
    """A seed fixes the numbers that a model is run on, and another seed gives others."""
    item, same, other = (plain.make_inputs(seed)["input"] for seed in (0, 0, 1))

    assert np.array_equal(item, same)
    assert not np.array_equal(item, other)


def test_numbers_are_standard_normal(plain):
    """The numbers have mean 0 and standard deviation 1, and the input's shape and type."""
    array = plain.make_inputs(0)["input"]

    assert ((1, 3, 64, 64), np.float32) == (array.shape, array.dtype)
    assert abs(array.mean()) < 0.03
    assert abs(array.std() - 1) < 0.03


@pytest.mark.parametrize(
    ("kind", "values", "expected"),
    [
        (TensorProto.INT64, "ones", np.ones((2, 8), np.int64)),
        (TensorProto.INT32, "ones", np.ones((2, 8), np.int32)),
        (TensorProto.BOOL, "true", np.ones((2, 8), np.bool_)),
        (TensorProto.STRING, "the text a", np.full((2, 8), "a", object)),
        (TensorProto.FLOAT16, "normal", None),
        (TensorProto.BFLOAT16, "normal", None),
        (TensorProto.DOUBLE, "normal", None),
        (TensorProto.UINT8, "0..255", None),
        (TensorProto.INT8, "-128..127", None),
    ],
)
def test_values_of_other_types(kind, values, expected):
    """An index, a length and a mask is 1; bytes are drawn from their whole range."""
    entry = _fed({"x": (kind, [2, 8])})["x"]

    assert values == entry.values
    assert helper.tensor_dtype_to_np_dtype(kind) == entry.array.dtype
    assert len(np.unique(entry.array.astype(np.float64))) > 4 if expected is None else (expected == entry.array).all()


def test_one_whole_number_is_asked_for():
    """A number without axes steers the model, so it is not chosen."""
    error = _error({"x": (FLOAT, [1, 4]), "rate": (INT64, [])})

    assert error.message == "net: rate is one whole number that steers the model, and is not given"
    assert error.hint == "--input rate=VALUE"


@pytest.mark.parametrize("operator", ["GRU", "LSTM", "RNN"])
def test_lengths_are_full(operator):
    """The lengths of sequences are those of the sequences, so that nothing is skipped."""
    node = helper.make_node(operator, ["x", "w", "r", "b", "lengths"], ["y"])
    entry = _fed({"x": (FLOAT, [200, 1, 4]), "lengths": (TensorProto.INT32, [1])}, [node])["lengths"]

    assert ([200], "200, as long as x") == (entry.array.tolist(), entry.values)


@pytest.mark.parametrize(
    ("kind", "shape", "text", "expected"),
    [
        (INT64, [], "16000", 16000),
        (INT64, [2, 2], "7", [[7, 7], [7, 7]]),
        (INT64, [3], "1,2,3", [1, 2, 3]),
        (INT64, [2, 2], "1,2,3,4", [[1, 2], [3, 4]]),
        (FLOAT, [2], "-0.5,1e3", [-0.5, 1000]),
        (TensorProto.BOOL, [2], "true,false", [True, False]),
        (TensorProto.STRING, [2], "monday,tuesday", ["monday", "tuesday"]),
    ],
)
def test_values_are_typed(kind, shape, text, expected):
    """One value fills the input; as many as it has elements are taken in order."""
    entry = _fed({"x": (kind, shape)}, values={"x": text})["x"]

    assert (expected, text) == (entry.array.tolist(), entry.values)


@given(low=st.integers(-50, 50), width=st.integers(0, 50), kind=st.sampled_from([INT64, FLOAT]), seed=st.integers(0, 9))
@settings(max_examples=30)
def test_a_range_is_drawn_from(low, width, kind, seed):
    """Whole numbers lie between both ends, which are included; a seed fixes them."""
    drawn, again = (
        _fed({"x": (kind, [64])}, seed=seed, values={"x": f"{low}..{low + width}"})["x"].array for _ in range(2)
    )

    assert ((low <= drawn) & (drawn <= low + width)).all()
    assert np.array_equal(drawn, again)


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        *((INT64, text) for text in ("1.5", "x", "9..1", "1,,3")),
        (TensorProto.UINT8, "300"),
        *((FLOAT, text) for text in ("1,2", "one")),
    ],
)  # fmt: skip
def test_values_that_do_not_fit(kind, text):
    """A value that the type or the shape does not hold is refused with the option that gave it."""
    assert _error({"x": (kind, [3])}, values={"x": text}).message.startswith(f"--input x={text}: ")


def test_values_from_files(tmp_path):
    """An .npy file holds one input, an .npz file one by name or several; both give their shape."""
    arrays = {"x": np.arange(6, dtype=np.float32).reshape(3, 2), "ids": np.arange(3)}
    np.save(tmp_path / "x.npy", arrays["x"])
    np.savez(tmp_path / "both.npz", **arrays)
    inputs = {"x": (FLOAT, ["rows", 2]), "ids": (INT64, ["rows"])}

    for values in ({"x": f"{tmp_path}/x.npy", "ids": f"{tmp_path}/both.npz"}, {"": f"{tmp_path}/both.npz"}):
        fed = _fed(inputs, values=values)
        assert all(np.array_equal(array, fed[name].array) for name, array in arrays.items())
    assert f"{tmp_path}/both.npz" == fed["x"].values


@pytest.mark.parametrize(
    "name", ["none.npy", "text.npy", "text.npz", "objects.npy", "other.npz", "words.npy", "wide.npy"]
)
def test_files_that_do_not_fit(tmp_path, name):
    """A file that is missing, spoiled, or holds something else is refused by name, in one line."""
    for text in ("text.npy", "text.npz"):
        (tmp_path / text).write_text("no numbers", encoding="utf-8")
    np.save(tmp_path / "objects.npy", np.array([{}, []], object), allow_pickle=True)
    np.savez(tmp_path / "other.npz", other=np.ones(2, np.float32))
    np.save(tmp_path / "words.npy", np.array(["a", "b"]))
    np.save(tmp_path / "wide.npy", np.ones((2, 2), np.float32))
    with pytest.raises(MnbenchError) as caught:
        _fed({"x": (FLOAT, [2])}, values={"x": f"{tmp_path}/{name}"})

    assert name in caught.value.message
    assert "\n" not in caught.value.message


def test_weights_are_not_fed():
    """A weight that the file lists among its inputs is no input."""
    inputs = {name: (FLOAT, [2]) for name in ("x", "w")}
    proto = _model(inputs, weights=[numpy_helper.from_array(np.ones(2, np.float32), "w")])

    assert {"x"} == set(make_inputs(proto, InputOptions(), seed=0, name="net"))


def test_inputs_that_are_no_tensors_are_refused():
    """A sequence cannot be fed, and the error names it."""
    proto = _model({})
    proto.graph.input.append(helper.make_tensor_sequence_value_info("list", FLOAT, [2]))
    with pytest.raises(InputError, match="input list is no tensor"):
        make_inputs(proto, InputOptions(), seed=0, name="net")

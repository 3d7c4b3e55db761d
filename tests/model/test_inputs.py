"""Random inputs of a model; those of files are tested with `mnbench verify`."""

import numpy as np
from onnx import TensorProto, helper, numpy_helper

from mnbench.model.inputs import random_inputs


def test_feed_is_seeded(plain):
    """A seed fixes the numbers that a model is run on, and another seed gives others."""
    item, same, other = (random_inputs(plain.proto, seed)["input"] for seed in (0, 0, 1))

    assert np.array_equal(item, same)
    assert not np.array_equal(item, other)


def test_feed_is_standard_normal(plain):
    """The numbers have mean 0 and standard deviation 1, and the input's shape and type."""
    feed = random_inputs(plain.proto, 0)["input"]
    expected = ((1, 3, 64, 64), np.float32)

    assert expected == (feed.shape, feed.dtype)
    assert abs(feed.mean()) < 0.03
    assert abs(feed.std() - 1) < 0.03


def test_feed_of_other_types():
    """Integers and truth values are fed zeros, and half precision gets normal numbers of its own type."""
    kinds = {"ids": TensorProto.INT64, "mask": TensorProto.BOOL, "half": TensorProto.FLOAT16}
    inputs = [helper.make_tensor_value_info(name, kind, [2, 8]) for name, kind in kinds.items()]
    feed = random_inputs(helper.make_model(helper.make_graph([], "g", inputs, [])), 0)
    expected = {"ids": np.int64, "mask": np.bool_, "half": np.float16}
    fed = ["half"]

    assert expected == {name: value.dtype for name, value in feed.items()}
    assert fed == [name for name, value in feed.items() if value.any()]


def test_feed_leaves_weights_alone():
    """A weight that the file lists among its inputs is not fed."""
    inputs = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [2]) for name in ("x", "w")]
    weight = numpy_helper.from_array(np.ones(2, np.float32), "w")
    expected = {"x"}

    assert expected == set(random_inputs(helper.make_model(helper.make_graph([], "g", inputs, [], [weight])), 0))

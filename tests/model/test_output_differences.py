"""Which outputs agree: scale, constants, NaN, infinities, integers, strings, order and chance."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mnbench.model.output_differences import NOISE_LIMIT, Limits, compare_outputs, shape_problem
from mnbench.model.outputs import Output

FP32, INT8 = Limits(1e-3), Limits(0.5)
PLAIN = Output(name="y")
SORTED = Output(name="y", ordering_node="TopK `top`")
NORMAL = np.random.default_rng(0).standard_normal((8, 1, 100))


def compare(expected, actual, limits=FP32, output=PLAIN):
    """The difference of one output; a list holds its arrays for several inputs."""
    expected, actual = (values if isinstance(values, list) else [values] for values in (expected, actual))
    (difference,) = compare_outputs([output], [[value] for value in expected], [[value] for value in actual], limits)
    return difference


@given(st.floats(1e-5, 1e30), st.floats(-0.01, 0.01), st.integers(0, 99))
def test_the_scale_does_not_matter(scale, share, at):
    """One number that is off by a share of the largest differs by that share, in any unit."""
    right = np.linspace(-1, 1, 100)
    wrong = right.copy()
    wrong[at] += share
    difference = compare(right * scale, wrong * scale)

    assert difference.relative == pytest.approx(abs(share), rel=1e-6, abs=1e-12)
    assert (difference.problem is None) == (difference.relative <= FP32.tolerance)


@given(st.floats(-1e6, 1e6).filter(lambda number: abs(number) > 1e-3), st.integers(1, 10))
def test_constants_are_compared_by_their_own_size(number, count):
    """One number, or several equal ones, have no spread; a rounding error of theirs is none."""
    right = np.full((1, count), number)

    assert compare(right, right * (1 + 1e-6)).problem is None
    assert "allowed" in compare(right, right * 1.01).problem
    assert compare([right] * 3, [right] * 3).varies is False


def test_zeros_forgive_what_rounding_leaves():
    """Their own size is nothing, so a smallest scale stands for it."""
    assert compare(np.zeros(3), np.full(3, 1e-10)).problem is None
    assert compare(np.zeros(3), np.full(3, 1e-6)).problem


@pytest.mark.parametrize("answer", [0.0, 0.5, "mean"])
@pytest.mark.parametrize("limits", [FP32, INT8])
def test_a_constant_never_passes(answer, limits):
    """Zeros, one half, or each number's mean over all inputs: none says anything of the input."""
    right = 0.5 + NORMAL / 100  # varies little, as the probabilities of a network with small weights do
    constant = right.mean(axis=0) if answer == "mean" else np.full((1, 100), answer)
    wrong = compare([*right], [constant] * 8, limits)

    assert wrong.problem
    assert compare([*right], [*(right + NORMAL[::-1] / 1000)], INT8).problem is None


def test_an_output_beside_a_large_offset():
    """It varies by less than rounding costs, and is judged by the largest difference alone."""
    right = 29315 + NORMAL
    rounded = [*right.astype(np.float32)]

    assert compare([*right], rounded).problem is None
    assert compare([*right], [*(right + 100)]).problem


def test_noise_is_allowed_up_to_its_limit():
    """The root mean square counts; a tolerance of one's own counts alone."""
    noise = np.random.default_rng(1).standard_normal(NORMAL.shape)
    less, more = ([*(NORMAL + share * noise)] for share in (0.9 * NOISE_LIMIT, 1.2 * NOISE_LIMIT))

    assert compare([*NORMAL], less, Limits(1.0)).problem is None
    assert "standard deviation" in compare([*NORMAL], more, Limits(1.0)).problem
    assert compare([*NORMAL], more, Limits(1.0, noise=None)).problem is None


@pytest.mark.parametrize("kind", [np.float16, np.float32, np.float64])
def test_what_is_not_finite_must_be_in_its_place(kind):
    """NaN where NaN is expected, an infinity where one of its sign is."""
    right = np.array([1, np.nan, np.inf, -np.inf, 2], kind)
    assert (compare(right, right).problem, compare(right, right).relative) == (None, 0.0)

    for at, number in ((0, np.nan), (0, np.inf), (1, 1), (2, -np.inf), (2, np.nan), (3, 0)):
        wrong = right.copy()
        wrong[at] = number
        difference = compare(right, wrong)
        assert (difference.relative, difference.max_abs) == (None, None)
        assert "NaN or an infinity" in difference.problem


def test_outputs_without_a_finite_number_are_not_compared():
    """Equality of nothing but NaN proves nothing; zero elements are equal."""
    nothing = np.full(3, np.nan)
    assert compare(nothing, nothing).not_compared == "output `y` has no finite number"
    assert compare(nothing, np.zeros(3)).problem
    empty = compare(np.zeros((0, 4)), np.zeros((0, 4)))
    assert (empty.relative, empty.problem, empty.not_compared) == (0.0, None, None)


@pytest.mark.parametrize("kind", [np.int64, np.int32, np.uint16, np.bool_])
def test_integers_count_by_the_share_that_differs(kind):
    """However far they are apart."""
    right = np.arange(2000).astype(kind)
    wrong = right.copy()
    wrong[:2] = wrong[:2] == 0

    assert (compare(right, wrong).relative, compare(right, wrong).problem) == (0.001, None)
    wrong[2:4] = wrong[2:4] == 0
    assert compare(right, wrong).problem
    assert compare(right, right).relative == 0


def test_integers_of_64_bits_are_exact():
    """A double would round both to the same number."""
    assert compare(np.array([2**62]), np.array([2**62 + 1])).problem


@pytest.mark.parametrize("kind", [np.int8, np.uint8])
def test_quantized_numbers_may_differ_by_a_step(kind):
    """Rounding to 8 bits goes one way or the other."""
    right = np.arange(100).astype(kind)

    assert compare(right, right + kind(1)).problem is None
    assert compare(right, right + kind(2)).problem


def test_strings_are_equal_or_not():
    """Objects and numpy's own strings alike."""
    right = np.array(["cat", "dog"], object)

    assert compare(right, right.astype(str)).problem is None
    assert compare(right, np.array(["cat", "dig"], object)).problem
    assert compare(right, np.zeros(2)).problem


def test_order_may_depend_on_rounding():
    """Behind a node that orders, agreement counts, and a difference in numbers or shape says nothing."""
    right = np.arange(4.0)
    assert compare(right, right, output=SORTED).relative == 0.0
    for wrong in (right[::-1], right[:3]):
        difference = compare(right, wrong, output=SORTED)
        assert (difference.problem, difference.relative) == (None, None)
        assert difference.not_compared == "output `y` depends on TopK `top`, where rounding changes the order"


def test_what_is_not_compared():
    """Chance, and what is not a tensor."""
    noisy, sequence = Output(name="z", random_node="Bernoulli `b`"), Output(name="s", kind="sequence")

    assert compare(np.ones(2), np.zeros(2), output=noisy).not_compared == "output `z` depends on Bernoulli `b`"
    assert compare(None, None, output=sequence).not_compared == "output `s` is of type sequence"
    assert "numpy" in compare(None, None).not_compared
    assert compare(np.ones(2), None).problem == "is not an array"


def test_shapes():
    """The number of outputs, and each one's shape for each input."""
    row, column = np.ones((1, 2)), np.ones((2, 1))

    assert shape_problem([PLAIN], [[row], [row]], [[row], [column.T]]) == ""
    assert shape_problem([PLAIN], [[row], [row]], [[row], [column]]) == "`y` has the shape (2, 1) in place of (1, 2)"
    assert shape_problem([SORTED], [[row]], [[column]]) == ""
    assert shape_problem([PLAIN], [[row]], [[]]) == "0 outputs in place of 1"

"""Windows over a side against PyTorch's rules, written out pixel by pixel."""

from itertools import pairwise

from hypothesis import assume, given
from hypothesis import strategies as st

from mnbench.network.windows import ceil_padding, even_windows, same_padding

SIDES = st.integers(1, 300)


@given(SIDES, st.integers(1, 11), st.integers(1, 4), st.integers(0, 5), st.integers(0, 5))
def test_ceil_padding_fits_as_many_windows_as_pytorch(size, reach, stride, before, after):
    """So many as divide the side, rounded up, without one that begins behind the map; PyTorch pads half a window."""
    assume(size + before + after >= reach)
    assume(max(before, after) <= reach // 2)
    expected = -(-(size + before + after - reach) // stride) + 1
    if (expected - 1) * stride >= size + before:
        expected -= 1
    padded = ceil_padding(size, reach, stride, before, after)

    assert expected == (size + before + padded - reach) // stride + 1
    assert after <= padded < after + stride


@given(SIDES, st.integers(1, 11), st.integers(1, 4))
def test_same_padding_fits_ceil_windows(size, reach, stride):
    """As TensorFlow: ceil(size / stride) windows, and never a pixel more than they need."""
    before, after = same_padding(size, reach, stride)
    count = -(-size // stride)

    assert count == (size + before + after - reach) // stride + 1 or size + before + after < reach
    assert 0 <= after - before <= 1


@given(SIDES, st.integers(1, 40))
def test_even_windows_are_adaptive_windows(size, count):
    """They are PyTorch's adaptive windows, where these have one size and one stride."""
    begins = [index * size // count for index in range(count)]
    ends = [-((-(index + 1) * size) // count) for index in range(count)]
    windows = even_windows(size, count)
    if windows is None:
        steps = {after - before for before, after in pairwise(begins)}
        assert len({end - begin for begin, end in zip(begins, ends, strict=True)}) > 1 or len(steps) > 1 or 0 in steps
    else:
        length, stride = windows
        assert [(index * stride, index * stride + length) for index in range(count)] == list(
            zip(begins, ends, strict=True)
        )

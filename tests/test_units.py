"""Numbers as text."""

from math import floor, log10

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from mnbench import units

NUMBERS = st.floats(1e-9, 1e15) | st.floats(-1e15, -1e-9)
SIGNIFICANT = st.integers(1, 15)


def _number(text):
    return float(text.replace(",", ""))


def _significant_digits(text):
    return text.replace(",", "").replace(".", "").lstrip("-0")


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (0, "0"),
        (0.0413, "0.0413"),
        (0.412, "0.412"),
        (4.13, "4.13"),
        (4, "4.00"),
        (41.3, "41.3"),
        (413, "413"),
        (4130, "4,130"),
        (1234567, "1,234,567"),
        (0.09996, "0.100"),
        (9.996, "10.0"),
        (99.96, "100"),
        (999.6, "1,000"),
        (-4.126, "-4.13"),
        (1e-9, "0.00000000100"),
    ],
)
def test_digits(value, expected):
    """Three significant digits, thousands apart, and no exponent."""
    assert expected == units.format_significant(value)


@given(NUMBERS, SIGNIFICANT)
@example(9.9999999, 8)
def test_digits_are_within_half_a_digit(value, significant):
    """The text is the value to half a unit of its last significant digit."""
    unit = 10.0 ** (floor(log10(abs(value))) - significant + 1)

    assert abs(_number(units.format_significant(value, significant)) - value) <= unit * 0.501 + abs(value) * 2**-51


@given(NUMBERS, SIGNIFICANT)
def test_digits_are_enough(value, significant):
    """At least so many significant digits are printed, and never an exponent."""
    text = units.format_significant(value, significant)

    assert len(_significant_digits(text)) >= significant
    assert "e" not in text


@given(NUMBERS, SIGNIFICANT)
def test_digits_are_not_too_many(value, significant):
    """Behind a decimal point stand only digits that are significant."""
    text = units.format_significant(value, significant)

    assert "." not in text or len(_significant_digits(text)) == significant


@given(NUMBERS)
def test_digits_are_stable(value):
    """Printing what was printed changes nothing."""
    text = units.format_significant(value)

    assert text == units.format_significant(_number(text))


@given(st.floats(1e-9, 1e12), st.floats(1e-9, 1e12))
def test_digits_keep_the_order(first, other):
    """A larger number never prints as a smaller one."""
    low, high = sorted((first, other))

    assert _number(units.format_significant(low)) <= _number(units.format_significant(high))


@given(NUMBERS, SIGNIFICANT)
def test_digits_keep_the_sign(value, significant):
    """The text of a negative number is a minus sign and the text of the positive one."""
    expected = f"-{units.format_significant(abs(value), significant)}"

    assert expected == units.format_significant(-abs(value), significant)


@pytest.mark.parametrize(
    ("show", "value", "expected"),
    [
        (units.format_ms, 412_345, "0.412"),
        (units.format_ms, 41_234_567, "41.2"),
        (units.millions_formatter(2), 4_231_976, "4.23"),
        (units.millions_formatter(0), 568_740_352, "569"),
        (units.millions_formatter(1), 1_131_852_800, "1,131.9"),
        (units.format_giga, 12_345_678_901, "12.3"),
        (units.format_percent, 0.994, "99%"),
        (units.format_percent_1, 0.0317, "3.2%"),
        (units.format_binary_bytes, 33_554_432, "32 MiB"),
        (units.format_binary_bytes, 25_276_514_304, "23.5 GiB"),
        (units.format_binary_bytes, 512, "512 B"),
        (units.format_binary_bytes, 32_768, "32 KiB"),
        (units.format_ghz, 2_596_132_000, "2.6 GHz"),
        (units.format_percent_2, 0.94858, "94.86%"),
    ],
)
def test_units(show, value, expected):
    """Base units in, the printed unit out."""
    assert expected == show(value)


def test_rate_of_nanoseconds_is_a_second():
    """A million in a millisecond is a thousand million a second."""
    assert pytest.approx(1e9) == units.rate_per_s(1e6, 1e6)


@pytest.mark.parametrize(
    ("text", "base_unit", "value"),
    [
        ("1.5s", "s", 1.5),
        ("500ms", "s", 0.5),
        ("2m", "s", 120),
        ("1h", "s", 3600),
        ("0.2", "s", 0.2),
        ("10ms", "ns", 1e7),
        ("3 µs", "ns", 3e3),
        ("7", "ns", 7),
        ("10MB", "bytes", 1e7),
        ("10KB", "bytes", 1e4),
        ("1%", "", 0.01),
        ("0.01", "", 0.01),
        ("300M", "", 3e8),
    ],
)
def test_a_quantity_is_read_in_its_base_unit(text, base_unit, value):
    """Options and conditions read one syntax; a number alone is in the base unit."""
    assert pytest.approx(value) == units.parse_quantity(text, base_unit)


@pytest.mark.parametrize(
    ("text", "base_unit"), [("5MB", "s"), ("10ms", "bytes"), ("1%", "ns"), ("2 s s", "s"), ("", "s")]
)
def test_a_unit_of_another_kind_is_refused(text, base_unit):
    """So is what is not a number."""
    with pytest.raises(ValueError, match=r"."):
        units.parse_quantity(text, base_unit)

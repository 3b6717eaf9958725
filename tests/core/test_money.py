"""Decimals: exact crossings from float, rounding to steps, texts for the wire and for people."""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from milo.money import (
    ceil_to,
    decimals_of,
    floor_to,
    from_float,
    nearest_to,
    plain,
    shown,
    to_wallet,
)

PROPERTY = settings(deadline=None, derandomize=True, max_examples=200)
AMOUNTS = st.decimals(-(10**9), 10**9, places=8)
STEPS = st.builds(
    lambda digit, places: Decimal(digit).scaleb(-places),
    st.sampled_from((1, 2, 5, 25)),
    st.integers(-2, 8),
)


@PROPERTY
@given(st.floats(allow_nan=False, allow_infinity=False))
def test_a_float_becomes_the_decimal_that_reads_back_as_itself(value: float) -> None:
    assert float(from_float(value)) == value


def test_a_float_becomes_its_shortest_decimal() -> None:
    assert from_float(0.1) == Decimal("0.1")


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_what_is_no_number_is_refused(value: float) -> None:
    with pytest.raises(ValueError, match="finite"):
        from_float(value)


@PROPERTY
@given(AMOUNTS, STEPS)
def test_rounding_down_gives_the_next_multiple_below(value: Decimal, step: Decimal) -> None:
    rounded = floor_to(value, step)

    assert Fraction(rounded) % Fraction(step) == 0
    assert 0 <= Fraction(value) - Fraction(rounded) < Fraction(step)


@PROPERTY
@given(AMOUNTS, STEPS)
def test_rounding_up_mirrors_rounding_down(value: Decimal, step: Decimal) -> None:
    assert ceil_to(value, step) == -floor_to(-value, step)


@PROPERTY
@given(AMOUNTS, STEPS)
def test_the_nearest_multiple_is_at_most_half_a_step_away(value: Decimal, step: Decimal) -> None:
    rounded = nearest_to(value, step)

    assert abs(Fraction(rounded) - Fraction(value)) <= Fraction(step) / 2


@pytest.mark.parametrize("value", ["9.999999999999999999999999999", "-0.000000000000000000000001"])
def test_a_number_a_hair_below_a_multiple_is_not_rounded_down_to_it(value: str) -> None:
    # Divided by 5 it has more digits than a Decimal keeps.
    below = Decimal(value)

    assert floor_to(below, Decimal(5)) <= below
    assert ceil_to(-below, Decimal(5)) >= -below


@pytest.mark.parametrize("rounding", [floor_to, ceil_to, nearest_to])
def test_a_number_beyond_all_markets_is_rounded_without_an_error(rounding: object) -> None:
    value = Decimal("9" * 40)

    rounded = rounding(value, Decimal("0.1"))  # type: ignore[operator]

    assert abs(rounded / value - 1) < Decimal("1E-20")


@pytest.mark.parametrize("rounding", [floor_to, ceil_to, nearest_to])
def test_no_step_rounds_nothing(rounding: object) -> None:
    assert rounding(Decimal("1.2345"), Decimal(0)) == Decimal("1.2345")  # type: ignore[operator]


def test_the_wallet_keeps_eight_decimals_and_rounds_ties_to_even() -> None:
    assert to_wallet(Decimal("1.000000005")) == Decimal("1.00000000")
    assert to_wallet(Decimal("1.000000015")) == Decimal("1.00000002")


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("0", "0"), ("-0.00", "0"), ("0E-8", "0"), ("100", "100"), ("1E+3", "1000"),
        ("0.00000010", "0.0000001"), ("-12.500", "-12.5"), ("1000", "1000"),
    ],
)  # fmt: skip
def test_the_wire_wants_no_exponent_and_no_trailing_zeros(value: str, text: str) -> None:
    assert plain(Decimal(value)) == text


@PROPERTY
@given(AMOUNTS)
def test_the_wires_text_reads_back_as_the_same_number(value: Decimal) -> None:
    assert Decimal(plain(value)) == value


def test_people_see_thousands_separators() -> None:
    assert shown(Decimal("1234567.891")) == "1,234,567.89"
    assert shown(Decimal("0.1"), 0) == "0"


def test_people_see_no_minus_before_nothing() -> None:
    assert shown(Decimal("-0.004")) == "0.00"
    assert shown(Decimal("-1234.5")) == "-1,234.50"


@pytest.mark.parametrize(
    ("step", "places"), [("1", 0), ("10", 0), ("0.10", 1), ("0.5", 1), ("0.0000001", 7)]
)
def test_a_step_says_how_many_decimals_its_multiples_need(step: str, places: int) -> None:
    assert decimals_of(Decimal(step)) == places

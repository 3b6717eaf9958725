"""Decimals for money, and the only crossings between float and Decimal (layer 0)."""

from __future__ import annotations

from decimal import ROUND_CEILING, ROUND_FLOOR, ROUND_HALF_EVEN, Decimal

ZERO = Decimal(0)
ONE = Decimal(1)
CENT_OF_CENT = Decimal("0.00000001")
"""The wallet's smallest unit: USD-M futures keep 8 decimals."""


def from_float(value: float) -> Decimal:
    """Return the shortest decimal that reads back as `value`; ValueError unless finite."""
    number = Decimal(repr(float(value)))
    if not number.is_finite():
        raise ValueError(f"not a finite number: {value!r}")
    return number


def floor_to(value: Decimal, step: Decimal) -> Decimal:
    """Round down (toward minus infinity) to a multiple of `step`; step 0 leaves it as it is."""
    if not step:
        return value
    floor = (value / step).to_integral_value(rounding=ROUND_FLOOR) * step
    # A quotient of more than 28 digits is rounded, perhaps up to the next multiple.
    return floor - step if floor > value else floor


def ceil_to(value: Decimal, step: Decimal) -> Decimal:
    """Round up to a multiple of `step`; step 0 leaves it as it is."""
    if not step:
        return value
    ceiling = (value / step).to_integral_value(rounding=ROUND_CEILING) * step
    return ceiling + step if ceiling < value else ceiling


def nearest_to(value: Decimal, step: Decimal) -> Decimal:
    """Round to the nearest multiple of `step` (ties to even), for prices that are only shown."""
    if not step:
        return value
    return (value / step).to_integral_value(rounding=ROUND_HALF_EVEN) * step


def to_wallet(value: Decimal) -> Decimal:
    """Round an amount of money to the wallet's 8 decimals, ties to even."""
    return value.quantize(CENT_OF_CENT, rounding=ROUND_HALF_EVEN)


def plain(value: Decimal) -> str:
    """Return the decimal without exponent and without trailing zeros, as the wire wants it."""
    text = format(value, "f")
    if "." in text:
        text = text.rstrip("0").rstrip(".")
    return "0" if text in ("-0", "") else text


def shown(value: Decimal, places: int = 2) -> str:
    """Return the number with thousands separators and `places` decimals, never "-0"."""
    return f"{value:z,.{places}f}"


def decimals_of(step: Decimal) -> int:
    """Return how many decimals a multiple of `step` needs."""
    exponent = step.normalize().as_tuple().exponent
    assert isinstance(exponent, int)
    return max(0, -exponent)

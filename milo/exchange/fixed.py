"""Fixed-point numbers of the embedded exchange: ints in units of 1e-8 ("e8"). Pure.

Amounts of money are cut toward zero to 8 decimals, as the exchange's recorded fills are.
"""

from __future__ import annotations

import re

from milo.exchange.feed import E8

E16 = E8 * E8

_DECIMAL = re.compile(r"[+-]?(\d{1,20})(?:\.(\d*))?|[+-]?\.(\d+)")
_PLACES = 8


class TooFine(ValueError):
    """A number has more than 8 decimals that matter."""


def parse_e8(text: str) -> int:
    """Return a plain decimal as e8.

    ValueError where it is no decimal (no exponents, no blanks), TooFine where e8 cannot hold it.
    """
    match = _DECIMAL.fullmatch(text)
    if match is None:
        raise ValueError(f"not a decimal number: {text!r}")
    whole, fraction, bare = match.groups()
    digits = (fraction or bare or "").rstrip("0")
    if len(digits) > _PLACES:
        raise TooFine(f"more than {_PLACES} decimals: {text!r}")
    value = int(whole or "0") * E8 + int(digits.ljust(_PLACES, "0"))
    return -value if text.startswith("-") else value


def places_of(value_e8: int) -> int:
    """Return how many decimals the value needs (0..8)."""
    places = _PLACES
    while places and value_e8 % 10 == 0:
        value_e8 //= 10
        places -= 1
    return places


def show(value_e8: int, places: int = 0) -> str:
    """Return the decimal with at least `places` (0..8) decimals, more where it is finer."""
    size, rest = divmod(abs(value_e8), _SCALES[places])
    if rest:
        places = places_of(value_e8)
        size = abs(value_e8) // _SCALES[places]
    digits = str(size)
    if places:
        digits = digits.rjust(places + 1, "0")
        digits = f"{digits[:-places]}.{digits[-places:]}"
    return f"-{digits}" if value_e8 < 0 else digits


_SCALES = tuple(10 ** (_PLACES - places) for places in range(_PLACES + 1))


def money(value_e8: int) -> str:
    """Return an amount with exactly 8 decimals, as balances are written."""
    sign = "-" if value_e8 < 0 else ""
    whole, fraction = divmod(abs(value_e8), E8)
    return f"{sign}{whole}.{fraction:08d}"


def show_e16(value_e16: int, places: int = 0) -> str:
    """Return a price kept in 1e-16, half up to 12 decimals, with at least `places` decimals."""
    sign = "-" if value_e16 < 0 else ""
    whole, fraction = divmod((abs(value_e16) + 5_000) // 10_000, 10**12)
    digits = f"{fraction:012d}".rstrip("0").ljust(places, "0")
    return f"{sign}{whole}.{digits}" if digits else f"{sign}{whole}"


def cut(numerator: int, denominator: int) -> int:
    """Return the quotient cut toward zero."""
    if denominator < 0:
        numerator, denominator = -numerator, -denominator
    return numerator // denominator if numerator >= 0 else -(-numerator // denominator)


def times(a_e8: int, b_e8: int) -> int:
    """Return the product of two e8 numbers as e8, cut toward zero."""
    product = a_e8 * b_e8
    return product // E8 if product >= 0 else -(-product // E8)


def nearest(numerator: int, denominator: int) -> int:
    """Return the quotient rounded to the nearest int, halves away from zero."""
    if denominator < 0:
        numerator, denominator = -numerator, -denominator
    if numerator >= 0:
        return (2 * numerator + denominator) // (2 * denominator)
    return -((denominator - 2 * numerator) // (2 * denominator))


def ceil_div(numerator: int, denominator: int) -> int:
    """Return the quotient rounded up."""
    return -(-numerator // denominator)

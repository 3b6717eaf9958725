"""Operators over arrays: bit for bit what Python gives, or left to the script."""

from __future__ import annotations

import ast
import itertools
import math
import random
import struct
from typing import Any

import numpy as np
import pytest

from milo.script.lift_builtins import library_of
from milo.script.lift_calls import Calls
from milo.script.lift_ops import PYTHON_OPERATIONS, Block, binary, compare, unary
from milo.script.lift_values import Choice, Column, Path, alternatives_of
from milo.script.names import Session, script_builtins

FLOATS = [
    0.0, -0.0, 1.0, -1.0, 0.1, -0.3, 2.0, 3.5, -7.0, 0.5, 1.5, 2.5, -2.5, 1e-308, 5e-324, -5e-324,
    1e308, -1.7e308, 1e16, 2.0**53, 2.0**53 + 2, 2.0**62, 2.0**63, 1e-17, 123456.789, math.pi,
    math.inf, -math.inf, math.nan,
]  # fmt: skip
WHOLE = [
    0, 1, -1, 2, 3, -7, 10, 1000, 2**31, 2**53 - 1, 2**53, 2**53 + 1, -(2**53) - 1, 2**61,
    -(2**62) + 1, 1_767_225_600_000,
]  # fmt: skip
TRUTHS = [True, False]


def pairs() -> tuple[list[Any], list[Any]]:
    rng = random.Random(5)
    listed = list(itertools.product(FLOATS, FLOATS))
    listed += [
        (struct.unpack("<d", rng.randbytes(8))[0], struct.unpack("<d", rng.randbytes(8))[0])
        for _ in range(20_000)
    ]
    listed += [(rng.uniform(-1e3, 1e3), rng.uniform(-10, 10)) for _ in range(20_000)]
    one, other = zip(*listed, strict=True)
    return list(one), list(other)


def column(values: list[Any]) -> Column:
    kind = {float: np.float64, int: np.int64, bool: np.bool_}[type(values[0])]
    return Column(np.array(values, dtype=kind))


def same(one: Any, other: Any) -> bool:
    if type(one) is not type(other):
        return False
    if isinstance(one, float):
        return struct.pack("<d", one) == struct.pack("<d", other) or (one != one and other != other)
    return bool(one == other)


def value_at(value: Any, index: int) -> Any:
    for mask, one in alternatives_of(value):
        if mask is None or mask[index]:
            return one.items.tolist()[index] if isinstance(one, Column) else one
    raise AssertionError("no alternative for this candle")


def check(run: Any, lifted: Any, block: Block, rows: list[tuple[Any, ...]]) -> int:
    """Assert that each candle is Python's or doubtful; return how many were not."""
    lists = {
        id(one): one.items.tolist() for _, one in alternatives_of(lifted) if isinstance(one, Column)
    }
    sure = 0
    for index, row in enumerate(rows):
        try:
            wanted = run(*row)
        except (ArithmeticError, ValueError, TypeError):
            assert block.doubtful[index], f"{row} fails"
            continue
        if block.doubtful[index]:
            continue
        sure += 1
        if isinstance(lifted, Choice):
            got = value_at(lifted, index)
        else:
            got = lists[id(lifted)][index] if isinstance(lifted, Column) else lifted
        assert same(got, wanted), f"{row}: {got!r} instead of {wanted!r}"
    return sure


OPERATORS = [kind for kind in PYTHON_OPERATIONS if kind not in (ast.LShift, ast.RShift)]


@pytest.mark.parametrize("kind", OPERATORS)
def test_operators_on_floats_give_the_bits_of_python(kind: type[ast.operator]) -> None:
    one, other = pairs()
    if kind is ast.Pow:
        one, other = one[:3000], other[:3000]
    block = Block(0, len(one))

    with np.errstate(all="ignore"):
        lifted = binary(block, kind, column(one), column(other), Path())

    sure = check(PYTHON_OPERATIONS[kind], lifted, block, list(zip(one, other, strict=True)))
    assert sure > len(one) / 2 or kind in (ast.Pow, ast.BitAnd, ast.BitOr, ast.BitXor)


@pytest.mark.parametrize("kind", OPERATORS)
@pytest.mark.parametrize("kinds", ["ii", "if", "fi", "bb", "bf", "ib"])
def test_operators_on_all_kinds_of_numbers(kind: type[ast.operator], kinds: str) -> None:
    values: dict[str, list[Any]] = {"f": FLOATS, "i": WHOLE, "b": TRUTHS}
    listed = list(itertools.product(values[kinds[0]], values[kinds[1]]))
    if kind is ast.Pow:
        listed = [pair for pair in listed if abs(pair[1]) < 2**31]
    one, other = (list(items) for items in zip(*listed, strict=True))
    block = Block(0, len(one))

    with np.errstate(all="ignore"):
        lifted = binary(block, kind, column(one), column(other), Path())

    check(PYTHON_OPERATIONS[kind], lifted, block, listed)


@pytest.mark.parametrize("kind", OPERATORS)
@pytest.mark.parametrize("constant", [0, 0.0, -0.0, 3, 2.5, True, 2**70, 10**400, math.nan])
def test_operators_with_a_constant(kind: type[ast.operator], constant: Any) -> None:
    if kind is ast.Pow and abs(constant) > 1e6:
        return
    for values in (FLOATS, WHOLE, TRUTHS):
        for is_left in (True, False):
            rows = [(constant, v) if is_left else (v, constant) for v in values]
            if kind is ast.Pow:
                rows = [row for row in rows if not abs(row[1]) > 2**31]
            listed: list[Any] = [row[1] if is_left else row[0] for row in rows]
            block = Block(0, len(listed))
            sides = (constant, column(listed)) if is_left else (column(listed), constant)

            with np.errstate(all="ignore"):
                lifted = binary(block, kind, *sides, Path())

            check(PYTHON_OPERATIONS[kind], lifted, block, rows)


COMPARISONS: dict[type[ast.cmpop], Any] = {
    ast.Eq: lambda a, b: a == b,
    ast.NotEq: lambda a, b: a != b,
    ast.Lt: lambda a, b: a < b,
    ast.LtE: lambda a, b: a <= b,
    ast.Gt: lambda a, b: a > b,
    ast.GtE: lambda a, b: a >= b,
}


@pytest.mark.parametrize("kind", list(COMPARISONS))
@pytest.mark.parametrize("kinds", ["ff", "ii", "if", "fi", "bb", "bf", "ib"])
def test_comparisons_are_exact(kind: type[ast.cmpop], kinds: str) -> None:
    values: dict[str, list[Any]] = {"f": FLOATS, "i": WHOLE, "b": TRUTHS}
    listed = list(itertools.product(values[kinds[0]], values[kinds[1]]))
    one, other = (list(items) for items in zip(*listed, strict=True))
    block = Block(0, len(one))

    lifted = compare(block, kind, column(one), column(other), Path())

    sure = check(COMPARISONS[kind], lifted, block, listed)
    assert sure > len(listed) / 3


@pytest.mark.parametrize("constant", [2**53 + 1, 2**63, -(2**64), 10**400, 0.5, True, math.nan])
@pytest.mark.parametrize("kind", list(COMPARISONS))
def test_comparisons_with_a_constant_are_exact(kind: type[ast.cmpop], constant: Any) -> None:
    for values in (FLOATS, WHOLE, TRUTHS):
        listed: list[Any] = list(values)
        block = Block(0, len(listed))

        lifted = compare(block, kind, column(listed), constant, Path())

        check(COMPARISONS[kind], lifted, block, [(value, constant) for value in listed])


@pytest.mark.parametrize("kind", [ast.USub, ast.UAdd])
def test_signs(kind: type[ast.unaryop]) -> None:
    sign = {ast.USub: lambda a: -a, ast.UAdd: lambda a: +a}[kind]  # type: ignore[index]
    for values in (FLOATS, WHOLE, TRUTHS):
        listed: list[Any] = list(values)
        block = Block(0, len(listed))

        lifted = unary(block, kind, column(listed), Path())

        assert check(sign, lifted, block, [(value,) for value in listed]) == len(listed)


FUNCTIONS = script_builtins(Session(0), lambda *_: None)
OF_ONE = [
    "sqrt", "fabs", "floor", "ceil", "trunc", "exp", "log", "log10", "log2", "log1p", "expm1",
    "sin", "cos", "tan", "asin", "acos", "atan", "sinh", "cosh", "tanh", "isnan", "isinf",
    "isfinite", "degrees", "radians", "gamma", "erf", "ulp",
]  # fmt: skip
OF_TWO = ["pow", "fmod", "copysign", "hypot", "atan2", "remainder", "isclose", "nextafter"]


@pytest.mark.parametrize("name", [*OF_ONE, "abs", "int", "round", "float", "bool"])
def test_functions_of_one_number_give_the_bits_of_python(name: str) -> None:
    function = FUNCTIONS[name] if name in FUNCTIONS else getattr(FUNCTIONS["math"], name)
    one, _ = pairs()
    for values in (one[:6000], WHOLE, TRUTHS):
        block = Block(0, len(values))
        calls = Calls(block, library_of(FUNCTIONS), {})

        with np.errstate(all="ignore"):
            lifted = calls.call(function, [column(values)], {}, Path())

        check(function, lifted, block, [(value,) for value in values])


@pytest.mark.parametrize("name", [*OF_TWO, "round", "min", "max"])
def test_functions_of_two_numbers_give_the_bits_of_python(name: str) -> None:
    function = FUNCTIONS[name] if name in FUNCTIONS else getattr(FUNCTIONS["math"], name)
    values: dict[str, list[Any]] = {"f": FLOATS, "i": WHOLE, "b": TRUTHS}
    for left, right in itertools.product("fib", repeat=2):
        listed = list(itertools.product(values[left], values[right]))
        if name in ("pow", "round"):
            listed = [pair for pair in listed if abs(pair[1]) < 400]
        one, other = (list(items) for items in zip(*listed, strict=True))
        block = Block(0, len(one))
        calls = Calls(block, library_of(FUNCTIONS), {})

        with np.errstate(all="ignore"):
            lifted = calls.call(function, [column(one), column(other)], {}, Path())

        check(function, lifted, block, listed)


@pytest.mark.parametrize("digits", [0, 1, 2, 4, 8, 15, -2, 30, True, None])
def test_rounding_to_decimals_gives_the_bits_of_python(digits: Any) -> None:
    rng = random.Random(6)
    ties = [(2 * k + 1) / 2 / 10.0**d for d in range(5) for k in range(-300, 300)]
    near = [math.nextafter(tie, rng.choice([-1e9, 1e9])) for tie in ties]
    prices = [rng.uniform(0, 1e5) for _ in range(5000)]
    values = [*FLOATS, *ties, *near, *prices, 2.675, 1.005, -0.001, 0.049999999999999996]
    block = Block(0, len(values))
    calls = Calls(block, library_of(FUNCTIONS), {})

    with np.errstate(all="ignore"):
        lifted = calls.call(round, [column(values), digits], {}, Path())

    sure = check(lambda value: round(value, digits), lifted, block, [(v,) for v in values])
    assert sure > len(values) * 0.9


def test_the_path_decides_whose_errors_count() -> None:
    block = Block(0, 4)
    path = Path().where(np.array([True, True, False, False]))
    divisor = Column(np.array([1.0, 0.0, 0.0, 2.0]))

    binary(block, ast.Div, 1.0, divisor, path)

    assert block.doubtful.tolist() == [False, True, False, False]

"""Operators of a lifted script: NumPy where it agrees with Python to the bit (layer 1).

Elsewhere Python's own operation is applied to each candle of the path, and where that fails, or
gives what no array holds, the candle becomes doubtful: the script itself will decide it.
"""

from __future__ import annotations

import ast
import builtins
import datetime
import itertools
import operator
import re
from collections.abc import Callable, Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from milo.script.guards import OPERATIONS
from milo.script.lift_values import (
    GARBAGE,
    LARGEST_WHOLE,
    UNBOUND,
    Bools,
    Choice,
    Column,
    Function,
    Garbage,
    History,
    Items,
    Line,
    NotLiftable,
    Objects,
    Opaque,
    Path,
    Row,
    Unbound,
    Value,
    Whole,
    alternatives_of,
    is_number,
    is_plain,
    items_of,
    kind_of,
    merge,
)
from milo.script.vocabulary import EXCEPTIONS

SCRIPT_ERRORS: Final = tuple(getattr(builtins, name) for name in sorted(EXCEPTIONS))
EXACT: Final = 2**53
"""Up to here every whole number is a float."""


class Block:
    """Some candles of the history, and which of them became doubtful."""

    def __init__(self, start: int, stop: int) -> None:
        """Take the candles `start` <= index < `stop`."""
        self.start = start
        self.stop = stop
        self.size = stop - start
        self.doubtful: Bools = np.zeros(self.size, dtype=np.bool_)
        self.counts: Whole = np.arange(start + 1, stop + 1, dtype=np.int64)
        """How many candles each candle's script sees."""

    def doubt(self, path: Path, bad: Bools | None = None) -> None:
        """Leave the candles of the path (those that are bad) to the script itself."""
        if bad is not None and not bad.any():
            return
        mask = path.mask()
        if mask is None:
            self.doubtful |= True if bad is None else bad
        else:
            self.doubtful |= mask if bad is None else mask & bad

    def fail(self, path: Path) -> Value:
        """Leave the whole path to the script itself."""
        self.doubt(path)
        return GARBAGE

    def full(self, value: bool) -> Bools:
        return np.full(self.size, value, dtype=np.bool_)


def spread(
    block: Block,
    path: Path,
    operate: Callable[..., Value],
    values: Sequence[Value],
) -> Value:
    """Apply `operate(*values, path)` to each combination of alternatives; merge the results."""
    if not any(isinstance(value, Choice | Garbage | Unbound) for value in values):
        return operate(*values, path)
    pairs: list[tuple[Bools, Value]] = []
    for combined in itertools.product(*map(alternatives_of, values)):
        mask = block.full(True)
        for inner, _ in combined:
            if inner is not None:
                mask = mask & inner
        if len(combined) > 1 and not mask.any():
            continue
        taken = [value for _, value in combined]
        if any(value is GARBAGE for value in taken):
            continue
        part = path.where(mask)
        if any(value is UNBOUND for value in taken):
            block.doubt(part)
            continue
        pairs.append((mask, operate(*taken, part)))
    return merge(pairs)


def plainly(block: Block, path: Path, run: Callable[..., Any], *values: Any) -> Value:
    """Run Python's own operation on values that are the same for all candles."""
    try:
        return run(*values)
    except SCRIPT_ERRORS:
        return block.fail(path)


def each(block: Block, path: Path, run: Callable[..., Any], values: Sequence[Value]) -> Value:
    """Run Python's own operation on each candle of the path that is not doubtful."""
    mask = path.mask()
    wanted = ~block.doubtful if mask is None else mask & ~block.doubtful
    at = np.flatnonzero(wanted)
    if not len(at):
        return GARBAGE
    # Lists of Python's numbers are large: not too many at a time.
    width = max(1, _AT_ONCE // (1 + sum(map(_width, values))))
    results: list[Any] = []
    for start in range(0, len(at), width):
        part = at[start : start + width]
        lists = [_listed(value, part, len(part)) for value in values]
        try:
            results += list(map(run, *lists))
        except SCRIPT_ERRORS:
            results += _one_by_one(block, part, run, lists)
    return _columns(block, at, results)


_FAILED: Final = object()
_AT_ONCE: Final = 500_000


def _width(value: Value) -> int:
    return sum(map(_width, value.items)) if isinstance(value, Items) else 1


def _listed(value: Value, at: Whole, count: int) -> list[Any]:
    if isinstance(value, Column):
        return list(value.items[at].tolist())
    if isinstance(value, Objects):
        return list(value.items[at])
    if isinstance(value, Items):
        rows = zip(*(_listed(item, at, count) for item in value.items), strict=True)
        listed = [tuple(row) if value.kind == "tuple" else list(row) for row in rows]
        return listed if value.items else [[] for _ in range(count)]
    if not is_plain(value):
        raise NotLiftable("this value has no form for single candles")
    return [value] * count


def _one_by_one(block: Block, at: Whole, run: Callable[..., Any], lists: list[Any]) -> list[Any]:
    results = []
    for index, values in zip(at.tolist(), zip(*lists, strict=True), strict=True):
        try:
            results.append(run(*values))
        except SCRIPT_ERRORS:
            block.doubtful[index] = True
            results.append(_FAILED)
    return results


DATES: Final = (datetime.datetime, datetime.date, datetime.time, datetime.timedelta)
_TYPES: Final[dict[type, Any]] = {float: np.float64, int: np.int64, bool: np.bool_}


def _columns(block: Block, at: Whole, results: list[Any]) -> Value:
    types = set(map(type, results))
    if len(types) == 1 and (kind := next(iter(types))) in (float, bool):
        return Column(_scattered(block, at, np.array(results, dtype=_TYPES[kind])))
    pairs: list[tuple[Bools, Value]] = []
    for kind in types:
        chosen = [index for index, result in enumerate(results) if type(result) is kind]
        mask = np.zeros(block.size, dtype=np.bool_)
        mask[at[chosen]] = True
        if kind is object:
            continue
        taken = [results[index] for index in chosen]
        if kind is int and not all(-LARGEST_WHOLE < item < LARGEST_WHOLE for item in taken):
            kind = complex
        if kind is complex:
            block.doubtful |= mask
            continue
        if kind is str:
            pairs.append((mask, Opaque(max(map(len, taken)))))
            continue
        if kind in DATES:
            objects = np.empty(block.size, dtype=np.object_)
            objects[at[chosen]] = taken
            pairs.append((mask, Objects(objects, kind)))
            continue
        if kind not in _TYPES:
            raise NotLiftable(f"a {kind.__name__} for each candle")
        values = np.array(taken, dtype=_TYPES[kind])
        pairs.append((mask, Column(_scattered(block, at[chosen], values))))
    return merge(pairs)


def _scattered(block: Block, at: Whole, values: NDArray[Any]) -> NDArray[Any]:
    if len(at) == block.size:
        return values
    full = np.zeros(block.size, dtype=values.dtype)
    full[at] = values
    return full


# ------------------------------------------------------------------------------------------------
# Arithmetic

_FLOAT_OPERATIONS: Final[dict[type[ast.operator], Callable[..., Any]]] = {
    ast.Add: np.add,
    ast.Sub: np.subtract,
    ast.Mult: np.multiply,
}
_DIVISIONS: Final[dict[type[ast.operator], Callable[..., Any]]] = {
    ast.Div: np.true_divide,
    ast.FloorDiv: np.floor_divide,
    ast.Mod: np.remainder,
}
_BIT_OPERATIONS: Final[dict[type[ast.operator], Callable[..., Any]]] = {
    ast.BitAnd: np.bitwise_and,
    ast.BitOr: np.bitwise_or,
    ast.BitXor: np.bitwise_xor,
}
PYTHON_OPERATIONS: Final[dict[type[ast.operator], Callable[..., Any]]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: OPERATIONS["mul"],
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: OPERATIONS["mod"],
    ast.Pow: OPERATIONS["pow"],
    ast.LShift: OPERATIONS["lshift"],
    ast.RShift: operator.rshift,
    ast.BitAnd: operator.and_,
    ast.BitOr: operator.or_,
    ast.BitXor: operator.xor,
}
_NEVER_OPERANDS: Final = (History, Line, Row, Function)
"""No operator takes them: a TypeError in Python."""


def binary(block: Block, kind: type[ast.operator], left: Value, right: Value, path: Path) -> Value:
    """Return `left op right`; the values are no choices."""
    if is_plain(left) and is_plain(right):
        return plainly(block, path, PYTHON_OPERATIONS[kind], left, right)
    if is_number(left) and is_number(right):
        return _numbers(block, kind, left, right, path)
    if isinstance(left, _NEVER_OPERANDS) or isinstance(right, _NEVER_OPERANDS):
        if isinstance(left, str) and kind is ast.Mod:
            raise NotLiftable("a % format of what is no number")
        return block.fail(path)
    if isinstance(left, Objects) or isinstance(right, Objects):
        return each(block, path, PYTHON_OPERATIONS[kind], (left, right))
    if kind is ast.Add:
        return _joined(block, left, right, path)
    if kind is ast.Mod and isinstance(left, str):
        return _percent(block, left, right, path)
    if left is None or right is None:
        return block.fail(path)
    raise NotLiftable("an operator on values that are no numbers")


def _joined(block: Block, left: Value, right: Value, path: Path) -> Value:
    if isinstance(left, Items) and isinstance(right, Items) and left.kind == right.kind:
        if left.kind in ("tuple", "list") and left.present is None and right.present is None:
            return Items(left.kind, left.items + right.items)
        raise NotLiftable("two sequences of this kind are joined")
    if isinstance(left, str | Opaque) and isinstance(right, str | Opaque):
        return Opaque(length_of(left) + length_of(right))
    return block.fail(path)


def length_of(text: str | Opaque) -> int:
    return text.longest if isinstance(text, Opaque) else len(text)


_CONVERSION: Final = re.compile(r"%[^a-zA-Z%]*[a-zA-Z%]")


def _percent(block: Block, left: str, right: Value, path: Path) -> Value:
    if isinstance(right, Items) and (right.kind != "tuple" or right.present is not None):
        raise NotLiftable("a % format of a list")
    letters = {found[-1] for found in _CONVERSION.findall(left)}
    if not letters <= set("%eEfFgGrs"):
        raise NotLiftable("a % format for whole numbers")
    parts = right.items if isinstance(right, Items) else (right,)

    def one(*values: Any) -> Value:
        *given, part = values
        if not all(is_plain(item) or isinstance(item, Column | Opaque) for item in given):
            raise NotLiftable("a % format of this kind of value")
        sample = tuple(item if is_plain(item) else _SAMPLES[kind_of(item)] for item in given)
        made = plainly(block, part, PYTHON_OPERATIONS[ast.Mod], left, sample)
        if made is GARBAGE or all(map(is_plain, given)):
            return made
        return Opaque(len(made) + sum(330 + _longest(item) for item in given))

    return spread(block, path, one, parts)


_SAMPLES: Final[dict[str, Any]] = {"f": 1.5, "i": 1, "b": True, "": "text"}


def _longest(value: Value) -> int:
    return value.longest if isinstance(value, Opaque) else 0


def _numbers(
    block: Block, kind: type[ast.operator], left: Value, right: Value, path: Path
) -> Value:
    if kind in _BIT_OPERATIONS and kind_of(left) == kind_of(right) == "b":
        return Column(_BIT_OPERATIONS[kind](items_of(left), items_of(right)))
    left, right = _unboolean(left), _unboolean(right)
    kinds = {kind_of(left), kind_of(right)}
    if kind not in _FLOAT_OPERATIONS and kind not in _DIVISIONS:
        return each(block, path, PYTHON_OPERATIONS[kind], (left, right))
    if kinds == {"i"}:
        return _wholes(block, kind, left, right, path)
    if _is_beyond(left, 2**1000) or _is_beyond(right, 2**1000):
        return each(block, path, PYTHON_OPERATIONS[kind], (left, right))
    first, second = _floats(left), _floats(right)
    if kind in _FLOAT_OPERATIONS:
        return Column(_FLOAT_OPERATIONS[kind](first, second))
    second = _nonzero(block, second, path)
    if second is None:
        return GARBAGE
    if kind is not ast.Div:
        # At infinity the two go ways of their own.
        bad = ~(np.isfinite(first) & np.isfinite(second))
        if np.any(bad):
            block.doubt(path, np.broadcast_to(bad, (block.size,)))
    return Column(_DIVISIONS[kind](first, second))


def _nonzero(block: Block, divisor: Any, path: Path) -> Any:
    """Return a divisor for arrays; None where it is zero for all."""
    if not isinstance(divisor, np.ndarray):
        if divisor == 0:
            block.doubt(path)
            return None
        return divisor
    is_zero = divisor == 0
    if is_zero.any():
        block.doubt(path, is_zero)
        return np.where(is_zero, np.ones(1, dtype=divisor.dtype), divisor)
    return divisor


def _unboolean(value: Value) -> Value:
    """Return a truth value as the whole number that Python takes it for."""
    if isinstance(value, Column):
        return Column(value.items.astype(np.int64)) if value.kind == "b" else value
    return int(value) if isinstance(value, bool) else value


def _is_beyond(value: Value, limit: int) -> bool:
    return isinstance(value, int) and not -limit < value < limit


def _floats(value: Value) -> Any:
    """Return numbers as floats, rounded as Python rounds whole numbers of 64 bits."""
    if isinstance(value, Column):
        return value.items.astype(np.float64, copy=False)
    return float(value)


def _wholes(block: Block, kind: type[ast.operator], left: Value, right: Value, path: Path) -> Value:
    limit = EXACT if kind is ast.Div else LARGEST_WHOLE
    if _is_beyond(left, limit) or _is_beyond(right, limit):
        return each(block, path, PYTHON_OPERATIONS[kind], (left, right))
    first, second = items_of(left), items_of(right)
    if kind in _DIVISIONS:
        second = _nonzero(block, second, path)
        if second is None:
            return GARBAGE
        if kind is ast.Div:
            for one in (first, second):
                _doubt_beyond(block, one, EXACT, path)
        return Column(_DIVISIONS[kind](first, second))
    operate = _FLOAT_OPERATIONS[kind]
    if _largest(operate, first, second) >= LARGEST_WHOLE:
        near = operate(_floats(left), _floats(right))
        block.doubt(path, np.abs(near) >= LARGEST_WHOLE)
    return Column(operate(first, second))


def _largest(operate: Callable[..., Any], first: Any, second: Any) -> float:
    """Return what no result can exceed."""
    one, other = (
        float(max(abs(int(np.min(item))), abs(int(np.max(item))))) for item in (first, second)
    )
    return one * other if operate is np.multiply else one + other


def _doubt_beyond(block: Block, items: Any, limit: int, path: Path) -> None:
    if isinstance(items, np.ndarray):
        block.doubt(path, (items > limit) | (items < -limit))


def unary(block: Block, node: type[ast.unaryop], value: Value, path: Path) -> Value:
    """Return `-value`, `+value` or `~value`; the value is no choice."""
    if is_plain(value):
        python: dict[type[ast.unaryop], Callable[[Any], Any]] = {
            ast.USub: operator.neg, ast.UAdd: operator.pos, ast.Invert: operator.invert,
        }  # fmt: skip
        return plainly(block, path, python[node], value)
    if not isinstance(value, Column):
        return block.fail(path)
    value = _unboolean(value)
    if node is ast.UAdd:
        return value
    if node is ast.USub:
        return Column(-value.items)
    return block.fail(path) if value.kind == "f" else Column(~value.items)


# ------------------------------------------------------------------------------------------------
# Comparisons and truth

_COMPARISONS: Final[dict[type[ast.cmpop], tuple[Callable[..., Any], Callable[..., Any]]]] = {
    ast.Eq: (operator.eq, np.equal),
    ast.NotEq: (operator.ne, np.not_equal),
    ast.Lt: (operator.lt, np.less),
    ast.LtE: (operator.le, np.less_equal),
    ast.Gt: (operator.gt, np.greater),
    ast.GtE: (operator.ge, np.greater_equal),
}


def compare(block: Block, kind: type[ast.cmpop], left: Value, right: Value, path: Path) -> Value:
    """Return `left op right`, a truth value for each candle or for all; no choices."""
    if kind in (ast.Is, ast.IsNot):
        return _identity(kind is ast.Is, left, right)
    if kind in (ast.In, ast.NotIn):
        return _membership(block, kind is ast.In, left, right, path)
    on_values, on_arrays = _COMPARISONS[kind]
    if is_plain(left) and is_plain(right):
        result = plainly(block, path, on_values, left, right)
        if result is not GARBAGE and not isinstance(result, bool):
            raise NotLiftable("a comparison that is neither true nor false")
        return result
    if is_number(left) and is_number(right):
        return _compared(block, on_values, on_arrays, left, right, path)
    if isinstance(left, Objects) or isinstance(right, Objects):
        return each(block, path, on_values, (left, right))
    is_equality = kind in (ast.Eq, ast.NotEq)
    if isinstance(left, Line) or isinstance(right, Line):
        other = right if isinstance(left, Line) else left
        if is_equality and (other is None or isinstance(other, str | Opaque)):
            return kind is ast.NotEq
        return block.fail(path)
    if is_equality and (left is None or right is None):
        return kind is ast.NotEq
    if is_equality and is_number(left) != is_number(right):
        other = right if is_number(left) else left
        if isinstance(other, str | Opaque | Items | Row):
            return kind is ast.NotEq
    if not is_equality and (left is None or right is None):
        return block.fail(path)
    if not is_equality and is_number(left) != is_number(right):
        other = right if is_number(left) else left
        if isinstance(other, str | Opaque | Items | Row | Function | History):
            return block.fail(path)
    raise NotLiftable("a comparison of values that are no numbers")


def _compared(
    block: Block,
    on_values: Callable[..., Any],
    on_arrays: Callable[..., Any],
    left: Value,
    right: Value,
    path: Path,
) -> Value:
    kinds = {kind_of(left), kind_of(right)}
    if "f" in kinds and kinds != {"f"}:
        for value in (left, right):
            if _is_beyond(value, EXACT):
                return each(block, path, on_values, (left, right))
            if kind_of(value) == "i":
                # NumPy compares them as floats, Python exactly.
                _doubt_beyond(block, items_of(value), EXACT, path)
    elif _is_beyond(left, LARGEST_WHOLE) or _is_beyond(right, LARGEST_WHOLE):
        return each(block, path, on_values, (left, right))
    return Column(on_arrays(items_of(left), items_of(right)))


def _identity(is_same: bool, left: Value, right: Value) -> Value:
    for one, other in ((left, right), (right, left)):
        if other is None:
            return (one is None) == is_same
        if isinstance(other, bool):
            if isinstance(one, Column) and one.kind == "b":
                return Column(one.items if other == is_same else ~one.items)
            return (one is other) == is_same
    raise NotLiftable("'is' between values of which neither is None, True or False")


def _membership(block: Block, is_in: bool, left: Value, right: Value, path: Path) -> Value:
    if is_plain(left) and is_plain(right):
        result = plainly(block, path, operator.contains, right, left)
        return result if result is GARBAGE else bool(result) == is_in
    if not isinstance(right, Items) or right.present is not None or right.kind == "window":
        raise NotLiftable("'in' where the values differ from candle to candle")
    if is_plain(left) and all(map(is_plain, right.items)):
        result = plainly(block, path, operator.contains, right.items, left)
        return result if result is GARBAGE else bool(result) == is_in
    if not is_number(left):
        raise NotLiftable("'in' for what is no number")
    found: Value = False
    for item in right.items:
        if isinstance(item, Column) or (isinstance(item, float) and item != item):
            # An item is found that is the same object, even where it does not equal itself.
            raise NotLiftable("'in' a sequence of values that differ from candle to candle")
        equal = compare(block, ast.Eq, left, item, path)
        found = Column(np.logical_or(items_of(found), items_of(equal)))
    if not isinstance(found, Column):
        return found == is_in
    items = np.broadcast_to(found.items, (block.size,))
    return Column(items if is_in else ~items)


def truth(block: Block, value: Value, path: Path) -> bool | Bools:
    """Return whether Python takes the value for true: on each candle, or the same on all."""
    if isinstance(value, Choice | Garbage | Unbound):
        merged = spread(block, path, lambda one, part: _as_value(truth(block, one, part)), [value])
        return False if merged is GARBAGE else bool_items(merged)
    if isinstance(value, Column):
        return value.items if value.kind == "b" else value.items != 0
    if isinstance(value, Opaque):
        raise NotLiftable("a decision by a text that differs from candle to candle")
    if isinstance(value, Objects):
        found = each(block, path, bool, (value,))
        return bool_items(found) if isinstance(found, Column) else False
    if isinstance(value, Items):
        return _any_present(value)
    if isinstance(value, History | Line):
        return True if value.behind == 0 else block.counts > value.behind
    if not is_plain(value):
        return True
    result = plainly(block, path, bool, value)
    return False if result is GARBAGE else bool(result)


def _as_value(condition: bool | Bools) -> Value:
    return condition if isinstance(condition, bool) else Column(condition)


def bool_items(value: Value) -> bool | Bools:
    """Return the truth values of a bool or a column of them."""
    if isinstance(value, Column):
        items: Bools = value.items
        return items
    return bool(value)


def _any_present(value: Items) -> bool | Bools:
    if value.present is None:
        return len(value.items) > 0
    found: bool | Bools = False
    for present in value.present:
        if present is None:
            return True
        found = present if found is False else found | present
    return found

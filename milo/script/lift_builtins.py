"""Builtins, math and action builders over arrays (layer 1)."""

from __future__ import annotations

import ast
import math
import statistics
import sys
from collections.abc import Callable, Mapping
from typing import Any, Final

import numpy as np

from milo.script.lift_calls import (
    SAMPLES,
    Calls,
    Handler,
    Library,
    decide_over,
    items_present,
    plain_of,
)
from milo.script.lift_ops import (
    EXACT,
    Block,
    binary,
    plainly,
    spread,
    truth,
)
from milo.script.lift_values import (
    GARBAGE,
    Bools,
    Choice,
    Column,
    Function,
    History,
    Items,
    Line,
    NotLiftable,
    Objects,
    Opaque,
    Path,
    Row,
    Value,
    is_number,
    is_plain,
    kind_of,
    merge,
)
from milo.script.names import INDICATOR_NAMES
from milo.script.vocabulary import MODULES

# ------------------------------------------------------------------------------------------------
# Builtins


def _len(calls: Calls, arguments: list[Value], options: dict[str, Value], path: Path) -> Value:
    if len(arguments) != 1 or options:
        return calls.block.fail(path)

    def one(value: Value, part: Path) -> Value:
        if isinstance(value, History | Line):
            counts = calls.block.counts
            return Column(counts if not value.behind else np.maximum(counts - value.behind, 0))
        if isinstance(value, Items) and value.present is None:
            return len(value.items)
        if is_plain(value):
            return plainly(calls.block, part, len, value)
        if isinstance(value, Items) and value.present is not None:
            total = np.zeros(calls.block.size, dtype=np.int64)
            for present in value.present:
                total += True if present is None else present
            return Column(total)
        if isinstance(value, Column):
            return calls.block.fail(part)
        raise NotLiftable("the length of what differs from candle to candle")

    return spread(calls.block, path, one, arguments)


def _abs(calls: Calls, arguments: list[Value], options: dict[str, Value], path: Path) -> Value:
    if len(arguments) != 1 or options:
        return calls.block.fail(path)

    def one(value: Value, part: Path) -> Value:
        if is_plain(value):
            return plainly(calls.block, part, abs, value)
        if not isinstance(value, Column):
            return calls.block.fail(part)
        items = value.items.astype(np.int64) if value.kind == "b" else value.items
        return Column(np.abs(items))

    return spread(calls.block, path, one, arguments)


def _extreme(kind: type[ast.cmpop]) -> Handler:
    def run(calls: Calls, arguments: list[Value], options: dict[str, Value], path: Path) -> Value:
        if options.keys() - {"default"} or not arguments:
            raise NotLiftable("min or max with a key")
        block = calls.block
        if len(arguments) > 1:
            if options:
                return block.fail(path)
            best = arguments[0]
            for other in arguments[1:]:
                best = calls.best(kind, best, other, path)
            return best
        if is_number(arguments[0]):
            return block.fail(path)
        best = None
        found: bool | Bools = False
        for item, present in items_present(arguments[0]):
            if best is None and present is None:
                best, found = item, True
                continue
            if best is None:
                best, found = item, present if present is not None else True
                continue
            part = path if present is None else path.where(present)
            if not isinstance(found, bool):
                part = part.where(found)
            better = calls.best(kind, best, item, part)
            if present is not None:
                better = calls.select(present, better, best)
            if found is not True:
                better = calls.select(found, better, item)
                found = True if present is None else found | present
            best = better
        if found is True:
            return best
        if "default" in options:
            return options["default"] if found is False else calls.select(
                found, best, options["default"]
            )  # fmt: skip
        if found is False:
            return block.fail(path)
        block.doubt(path, ~found)
        return best

    return run


def _sum(calls: Calls, arguments: list[Value], options: dict[str, Value], path: Path) -> Value:
    if not 1 <= len(arguments) + len(options) <= 2 or options.keys() - {"start"} or not arguments:
        return calls.block.fail(path)
    block = calls.block
    total = arguments[1] if len(arguments) > 1 else options.get("start", 0)
    if isinstance(total, str | Opaque):
        return block.fail(path)
    pairs = list(items_present(arguments[0]))
    if sys.version_info >= (3, 12) and any(kind_of(item) != "i" for item, _ in pairs):
        # Newer Pythons carry the rounding errors of floats along.
        if any(present is not None for _, present in pairs):
            raise NotLiftable("a sum of some of the items")
        return calls.apply(sum, [Items("tuple", tuple(item for item, _ in pairs)), total], path)
    for item, present in pairs:
        part = path if present is None else path.where(present)
        new = spread(
            block, part, lambda one, two, inner: binary(block, ast.Add, one, two, inner),
            [total, item],
        )  # fmt: skip
        total = new if present is None else calls.select(present, new, total)
    return total


def _any(calls: Calls, arguments: list[Value], options: dict[str, Value], path: Path) -> Value:
    return _all_or_any(calls, arguments, options, path, is_any=True)


def _all(calls: Calls, arguments: list[Value], options: dict[str, Value], path: Path) -> Value:
    return _all_or_any(calls, arguments, options, path, is_any=False)


def _all_or_any(
    calls: Calls, arguments: list[Value], options: dict[str, Value], path: Path, *, is_any: bool
) -> Value:
    if len(arguments) != 1 or options:
        return calls.block.fail(path)
    items = ((item, present, path) for item, present in items_present(arguments[0]))
    return decide_over(calls, items, [], is_any=is_any)


_MOST_DIGITS: Final = 15


def _round_to(calls: Calls, number: Value, digits: Value, path: Path) -> Value:
    """Return `round(number, digits)`.

    Where the scaled number is not near the middle of two whole ones, its rounding is plain; and
    the quotient of two exact numbers is the float nearest to that decimal, as Python's is.
    """
    is_plain_case = isinstance(number, Column) and number.kind == "f" and type(digits) is int
    if not is_plain_case or not 0 <= digits <= _MOST_DIGITS:
        return calls.apply(round, [number, digits], path)
    power = 10.0**digits
    scaled = number.items * power
    whole = np.rint(scaled)
    is_sure = np.abs(scaled) < 2.0**40
    is_sure &= np.abs(scaled - whole) < 0.499
    rounded = Column(whole / power)
    if is_sure.all():
        return rounded
    others = calls.apply(round, [number, digits], path.where(is_sure, False))
    return merge([(is_sure, rounded), (~is_sure, others)])


def _round(calls: Calls, arguments: list[Value], options: dict[str, Value], path: Path) -> Value:
    given = dict(zip(("number", "ndigits"), arguments, strict=False)) | options
    if "number" not in given or given.keys() - {"number", "ndigits"} or len(arguments) > 2:
        return calls.block.fail(path)
    digits = given.get("ndigits")
    if digits is not None:
        return spread(
            calls.block,
            path,
            lambda one, part: _round_to(calls, one, digits, part),
            [given["number"]],
        )
    return _to_whole(calls, [given["number"]], path, np.rint, round)


def _int(calls: Calls, arguments: list[Value], options: dict[str, Value], path: Path) -> Value:
    if len(arguments) != 1 or options:
        raise NotLiftable("int() of this form")
    return _to_whole(calls, arguments, path, np.trunc, int)


def _to_whole(
    calls: Calls,
    arguments: list[Value],
    path: Path,
    on_floats: Callable[[Any], Any],
    run: Callable[[Any], Any],
) -> Value:
    block = calls.block

    def one(value: Value, part: Path) -> Value:
        if is_plain(value):
            return plainly(block, part, run, value)
        if not isinstance(value, Column):
            if isinstance(value, Opaque):
                raise NotLiftable("a number read from a text")
            return block.fail(part)
        if value.kind != "f":
            return Column(value.items.astype(np.int64))
        bad = ~(np.abs(value.items) < EXACT)
        if bad.any():
            block.doubt(part, bad)
            return Column(on_floats(np.where(bad, 0.0, value.items)).astype(np.int64))
        return Column(on_floats(value.items).astype(np.int64))

    return spread(block, path, one, arguments)


def _float(calls: Calls, arguments: list[Value], options: dict[str, Value], path: Path) -> Value:
    block = calls.block
    if options or len(arguments) != 1:
        return 0.0 if not options and not arguments else block.fail(path)

    def one(value: Value, part: Path) -> Value:
        if is_plain(value):
            return plainly(block, part, float, value)
        if isinstance(value, Column):
            return Column(value.items.astype(np.float64))
        if isinstance(value, Opaque):
            raise NotLiftable("a number read from a text")
        return block.fail(part)

    return spread(block, path, one, arguments)


def _bool(calls: Calls, arguments: list[Value], options: dict[str, Value], path: Path) -> Value:
    if options or len(arguments) != 1:
        return False if not options and not arguments else calls.block.fail(path)
    result = truth(calls.block, arguments[0], path)
    return result if isinstance(result, bool) else Column(result)


def _str(calls: Calls, arguments: list[Value], options: dict[str, Value], path: Path) -> Value:
    if options or len(arguments) != 1:
        raise NotLiftable("str() of this form")
    return calls.formatted(arguments[0], 115, "", path)


def _isinstance(
    calls: Calls, arguments: list[Value], options: dict[str, Value], path: Path
) -> Value:
    if options or len(arguments) != 2:
        return calls.block.fail(path)
    kinds = plain_of(arguments[1])

    def one(value: Value, part: Path) -> Value:
        if isinstance(value, Column):
            value = SAMPLES[value.kind]
        elif isinstance(value, Objects):
            return plainly(calls.block, part, lambda: issubclass(value.kind, kinds))
        elif isinstance(value, Opaque):
            value = ""
        elif isinstance(value, Items) and value.kind in ("tuple", "list"):
            value = () if value.kind == "tuple" else []
        elif isinstance(value, Function | Line | History | Row):
            value = object()
        elif not is_plain(value):
            raise NotLiftable("isinstance of this kind of value")
        return plainly(calls.block, part, isinstance, value, kinds)

    return spread(calls.block, path, one, [arguments[0]])


def _range(calls: Calls, arguments: list[Value], options: dict[str, Value], path: Path) -> Value:
    if any(isinstance(value, Column | Choice) for value in arguments):
        raise NotLiftable("a loop whose length differs from candle to candle")
    values = [plain_of(value) for value in arguments]
    made = plainly(calls.block, path, lambda: range(*values, **options))
    if made is GARBAGE:
        return GARBAGE
    if len(made) > 2000:
        raise NotLiftable("a loop of more than 2000 rounds")
    return Items("range", tuple(made))


def _sequence(kind: str) -> Handler:
    def run(calls: Calls, arguments: list[Value], options: dict[str, Value], path: Path) -> Value:
        if options or len(arguments) > 1:
            return calls.block.fail(path)
        if not arguments:
            return Items(kind, ())
        pairs = list(items_present(arguments[0]))
        present = tuple(mask for _, mask in pairs)
        is_whole = all(mask is None for mask in present)
        return Items(kind, tuple(item for item, _ in pairs), None if is_whole else present)

    return run


def _whole_lists(arguments: list[Value]) -> list[list[Value]]:
    lists = []
    for value in arguments:
        pairs = list(items_present(value))
        if any(mask is not None for _, mask in pairs):
            raise NotLiftable("a list whose length differs from candle to candle")
        lists.append([item for item, _ in pairs])
    return lists


def _zip(calls: Calls, arguments: list[Value], options: dict[str, Value], path: Path) -> Value:
    if options:
        raise NotLiftable("zip() of this form")
    rows = zip(*_whole_lists(arguments), strict=False)
    return Items("list", tuple(Items("tuple", tuple(row)) for row in rows))


def _enumerate(
    calls: Calls, arguments: list[Value], options: dict[str, Value], path: Path
) -> Value:
    start = plain_of(arguments[1]) if len(arguments) > 1 else options.get("start", 0)
    if not 1 <= len(arguments) <= 2 or not isinstance(start, int) or options.keys() - {"start"}:
        return calls.block.fail(path)
    (items,) = _whole_lists(arguments[:1])
    return Items("list", tuple(Items("tuple", pair) for pair in enumerate(items, start)))


def _reversed(calls: Calls, arguments: list[Value], options: dict[str, Value], path: Path) -> Value:
    if options or len(arguments) != 1:
        return calls.block.fail(path)
    (items,) = _whole_lists(arguments)
    return Items("list", tuple(reversed(items)))


# ------------------------------------------------------------------------------------------------
# Actions

_RANGES: Final = {
    # What the grammar takes for sure, with room to its limits; the rest is the script's own.
    "risk": (1e-6, 100.0),
    "margin": (1e-6, 100.0),
    "leverage": (1.0, 1e6),
    "sl": (1e-9, 1e15),
    "tp": (1e-9, 1e15),
    "rr": (1e-9, 1e15),
    "percent": (1e-6, 100.0),
}


def _builder(name: str) -> Handler:
    def run(calls: Calls, arguments: list[Value], options: dict[str, Value], path: Path) -> Value:
        if name == "close" and len(arguments) == 1 and not options:
            arguments, options = [], {"percent": arguments[0]}
        if arguments or options.keys() - _RANGES.keys():
            return calls.block.fail(path)
        words = list(options)

        def one(*values: Any) -> Value:
            *given, part = values
            return _built(calls, calls.functions[name], dict(zip(words, given, strict=True)), part)

        return spread(calls.block, path, one, list(options.values()))

    return run


def _built(calls: Calls, build: Callable[..., str], options: dict[str, Value], path: Path) -> Value:
    sample: dict[str, Any] = {}
    for name, value in options.items():
        if isinstance(value, Column) and value.kind != "b":
            low, high = _RANGES[name]
            calls.block.doubt(path, ~((value.items >= low) & (value.items <= high)))
            sample[name] = 1.0 if value.kind == "f" else 1
        elif is_plain(value):
            sample[name] = value
        elif isinstance(value, Opaque):
            raise NotLiftable(f"{name}= of a text that differs from candle to candle")
        else:
            return calls.block.fail(path)
    made = plainly(calls.block, path, lambda: build(**sample))
    if made is GARBAGE or all(is_plain(value) for value in options.values()):
        return made
    return Opaque(len(made) + 40 * len(options))


# ------------------------------------------------------------------------------------------------
# Math


def _sqrt(block: Block, items: Any, path: Path) -> Column:
    block.doubt(path, items < 0)
    return Column(np.sqrt(items))


_MATH: Final[dict[str, Callable[[Block, Any, Path], Column]]] = {
    "sqrt": _sqrt,
    "fabs": lambda block, items, path: Column(np.abs(items)),
    "isnan": lambda block, items, path: Column(np.isnan(items)),
    "isinf": lambda block, items, path: Column(np.isinf(items)),
    "isfinite": lambda block, items, path: Column(np.isfinite(items)),
}
"""The functions of one number that NumPy computes to the same bit: IEEE 754 says how."""
_ROUNDINGS: Final = {"floor": np.floor, "ceil": np.ceil, "trunc": np.trunc}


def _rounding(function: Callable[..., Any], on_floats: Callable[[Any], Any]) -> Handler:
    def run(calls: Calls, arguments: list[Value], options: dict[str, Value], path: Path) -> Value:
        if options or len(arguments) != 1:
            return calls.block.fail(path)
        return _to_whole(calls, arguments, path, on_floats, function)

    return run


def _math_handler(
    function: Callable[..., Any], on_array: Callable[[Block, Any, Path], Column]
) -> Handler:
    def run(calls: Calls, arguments: list[Value], options: dict[str, Value], path: Path) -> Value:
        if options or len(arguments) != 1:
            return calls.block.fail(path)

        def one(value: Value, part: Path) -> Value:
            if isinstance(value, Column):
                return on_array(calls.block, value.items.astype(np.float64, copy=False), part)
            if is_plain(value):
                return plainly(calls.block, part, function, value)
            return calls.block.fail(part)

        return spread(calls.block, path, one, arguments)

    return run


_HANDLERS: Final[dict[str, Handler]] = {
    "len": _len,
    "abs": _abs,
    "max": _extreme(ast.Gt),
    "min": _extreme(ast.Lt),
    "sum": _sum,
    "any": _any,
    "all": _all,
    "round": _round,
    "int": _int,
    "float": _float,
    "bool": _bool,
    "str": _str,
    "isinstance": _isinstance,
    "range": _range,
    "list": _sequence("list"),
    "tuple": _sequence("tuple"),
    "zip": _zip,
    "enumerate": _enumerate,
    "reversed": _reversed,
    "long": _builder("long"),
    "short": _builder("short"),
    "close": _builder("close"),
    "print": Calls.print,
    "plot": Calls.plot,
    "mark": Calls.mark,
    "param": Calls.param,
}


def library_of(functions: Mapping[str, Any]) -> Library:
    """Return what has a form over arrays of the constant names of a script."""
    handlers = {id(functions[name]): handler for name, handler in _HANDLERS.items()}
    elementwise = {
        id(functions[name]) for name in ("pow", "hex", "bin", "oct", "chr", "ord", "repr")
    }
    # The others of statistics are so slow for one candle that arrays gain nothing.
    elementwise.add(id(statistics.fmean))
    for name in MODULES["math"]:
        # Some functions are younger than the oldest Python that Milo runs on.
        function = getattr(functions["math"], name) if hasattr(math, name) else None
        if not callable(function):
            continue
        elementwise.add(id(function))
        if name in _MATH:
            handlers[id(function)] = _math_handler(function, _MATH[name])
        elif name in _ROUNDINGS:
            handlers[id(function)] = _rounding(function, _ROUNDINGS[name])
    statistical = MODULES["statistics"] - {"StatisticsError"}
    plain = ("datetime", "timedelta", "timezone", "divmod", "sorted", "dict", "set")
    return Library(
        functions=functions,
        indicators={id(functions[name]): name for name in INDICATOR_NAMES},
        handlers=handlers,
        elementwise=frozenset(elementwise),
        plain=frozenset(id(functions[name]) for name in plain)
        | {id(getattr(statistics, name)) for name in statistical},
    )

"""What a lifted script may call: builtins, math, actions, drawing (layer 1)."""

from __future__ import annotations

import ast
import datetime
import math
import statistics
import sys
from collections.abc import Callable, ItemsView, Iterator, KeysView, Mapping, ValuesView
from typing import Any, Final

import numpy as np

from milo.script.guards import guarded_method
from milo.script.lift_ops import (
    EXACT,
    Block,
    binary,
    bool_items,
    compare,
    each,
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
    Method,
    NotLiftable,
    Opaque,
    Path,
    Row,
    Value,
    is_number,
    is_plain,
    kind_of,
    merge,
)
from milo.script.limits import MAX_MARKS, MAX_PLOTS, MAX_SEQUENCE
from milo.script.rewrite import GUARDED_METHODS
from milo.script.vocabulary import MODULES

_Handler = Callable[["Calls", list[Value], dict[str, Value], Path], Value]

FLOAT_LENGTH: Final = 24
"""Characters of the longest float's repr."""
_FORMATTED_LENGTH: Final = 330
_SAMPLES: Final[dict[str, Any]] = {"f": 1.5, "i": 1, "b": True}
_MUTABLE: Final = (dict, set, list)
_METHOD_OWNERS: Final = (
    str, int, float, dict, type, datetime.date, datetime.time, datetime.timedelta,
    datetime.tzinfo,
)  # fmt: skip
"""Their methods read only: those that change a dict are not to be had."""
_DICT_METHODS: Final = frozenset({"get", "keys", "values", "items", "copy"})


def known(value: Any) -> Value:
    """Return what Python's own function gave, in the form of this package."""
    if isinstance(value, KeysView | ValuesView | ItemsView):
        value = list(value)
    if type(value) in (tuple, list):
        kind = "tuple" if isinstance(value, tuple) else "list"
        return Items(kind, tuple(known(item) for item in value))
    return value


def plain_of(value: Value) -> Any:
    """Return a value as a Python object; raises NotLiftable where it is not one for all candles."""
    if isinstance(value, Items) and value.kind != "window" and value.present is None:
        parts = [plain_of(item) for item in value.items]
        return tuple(parts) if value.kind == "tuple" else parts
    if not is_plain(value):
        raise NotLiftable("this call takes values that are the same for all candles")
    return value


def _as_it_is(value: Any) -> Any:
    return value


_CONVERSIONS: Final[dict[int, Callable[[Any], Any]]] = {
    -1: _as_it_is,
    ord("r"): repr,
    ord("s"): str,
    ord("a"): ascii,
}


class Calls:
    """Calls of Python's and Milo's own functions within one block."""

    def __init__(
        self, block: Block, functions: Mapping[str, Any], inputs: Mapping[str, float]
    ) -> None:
        """Take the constant names of a script, as the runner has them."""
        self.block = block
        self._inputs = inputs
        self._plots: set[str] = set()
        self._marks = 0
        # By identity: what a script calls may be any object, hashable or not.
        self._handlers: dict[int, _Handler] = {
            id(functions[name]): handler for name, handler in _HANDLERS.items()
        }
        self._elementwise = {
            id(functions[name]) for name in ("pow", "hex", "bin", "oct", "chr", "ord", "repr")
        }
        module = functions["math"]
        for name in MODULES["math"]:
            # Some functions are younger than the oldest Python that Milo runs on.
            function = getattr(module, name) if hasattr(math, name) else None
            if not callable(function):
                continue
            self._elementwise.add(id(function))
            if name in _MATH:
                self._handlers[id(function)] = _math_handler(function, _MATH[name])
            elif name in _ROUNDINGS:
                self._handlers[id(function)] = _rounding(function, _ROUNDINGS[name])
        self._elementwise |= {
            id(getattr(statistics, name)) for name in MODULES["statistics"] - {"StatisticsError"}
        }
        self._plain = {id(functions[name]) for name in ("datetime", "timedelta", "timezone")}
        self._plain |= {id(functions[name]) for name in ("divmod", "sorted", "dict", "set")}
        self.builders = functions

    def call(
        self, function: Value, arguments: list[Value], options: dict[str, Value], path: Path
    ) -> Value:
        """Return what a call gives; the function is no function of the script."""
        if isinstance(function, Method):
            return self._method(function, arguments, options, path)
        handler = self._handlers.get(id(function))
        if handler is not None:
            return handler(self, arguments, options, path)
        everything = [*arguments, *options.values()]
        is_own = id(function) in self._elementwise or id(function) in self._plain
        if not callable(function):
            return self.block.fail(path)
        if not is_own and not isinstance(getattr(function, "__self__", None), _METHOD_OWNERS):
            raise NotLiftable("a call that has no form over arrays")
        if all(_is_known(value) for value in everything):
            values = [plain_of(value) for value in arguments]
            named = {name: plain_of(value) for name, value in options.items()}
            return known(plainly(self.block, path, lambda: function(*values, **named)))
        if id(function) not in self._elementwise or options:
            raise NotLiftable("this call takes values that are the same for all candles")
        return self.apply(function, arguments, path)

    def apply(self, function: Callable[..., Any], arguments: list[Value], path: Path) -> Value:
        """Call a pure function for each candle."""

        def one(*values: Any) -> Value:
            *given, part = values
            return each(self.block, part, function, [_gone_through(value) for value in given])

        return spread(self.block, path, one, arguments)

    def _method(
        self, method: Method, arguments: list[Value], options: dict[str, Value], path: Path
    ) -> Value:
        raise NotLiftable(f"'.{method.name}' has no form over arrays")

    def attribute(self, owner: Value, name: str, path: Path) -> Value:
        """Return `owner.name` of a plain value."""
        if not is_plain(owner):
            if isinstance(owner, Column | Items | Opaque | Line | History | Row):
                return Method(owner, name)
            return self.block.fail(path)
        if isinstance(owner, _MUTABLE) and name not in _DICT_METHODS:
            raise NotLiftable(f"'.{name}' changes a value")
        if name in GUARDED_METHODS:
            return plainly(self.block, path, guarded_method, owner, name)
        return plainly(self.block, path, lambda: getattr(owner, name))

    # Choosing ------------------------------------------------------------------------------------

    def select(self, condition: bool | Bools, one: Value, other: Value) -> Value:
        """Return `one if condition else other`."""
        if isinstance(condition, bool | np.bool_):
            return one if condition else other
        return merge([(condition, one), (~condition, other)])

    def best(self, kind: type[ast.cmpop], best: Value, other: Value, path: Path) -> Value:
        """Return `other if other op best else best`, as min and max choose."""
        block = self.block

        def one(first: Value, second: Value, part: Path) -> Value:
            found = compare(block, kind, second, first, part)
            if found is GARBAGE:
                return GARBAGE
            return self.select(bool_items(found), second, first)

        return spread(block, path, one, [best, other])

    # Texts ---------------------------------------------------------------------------------------

    def formatted(self, value: Value, conversion: int, spec: Value, path: Path) -> Value:
        """Return the text of `{value!conversion:spec}`: it is not made, only proved to exist."""

        def one(single: Value, part: Path) -> Value:
            return self._formatted(single, conversion, spec, part)

        return spread(self.block, path, one, [value])

    def _formatted(self, value: Value, conversion: int, spec: Value, path: Path) -> Value:
        if not isinstance(spec, str):
            raise NotLiftable("a format that differs from candle to candle")
        convert = _CONVERSIONS[conversion]
        if is_plain(value):
            return plainly(self.block, path, lambda: format(convert(value), spec))
        if isinstance(value, Column):
            sample = convert(_SAMPLES[value.kind])
            if spec[-1:] == "c":
                raise NotLiftable("a format that not every number has")
            made = plainly(self.block, path, format, sample, spec)
            if made is GARBAGE:
                return GARBAGE
            longest = FLOAT_LENGTH if not spec else len(made) + _FORMATTED_LENGTH
            return Opaque(self._longest_number(value, spec, len(made), longest))
        if isinstance(value, Opaque) or conversion != -1:
            made = plainly(self.block, path, format, "", spec)
            longest = value.longest if isinstance(value, Opaque) else MAX_SEQUENCE
            return made if made is GARBAGE else Opaque(max(longest, len(made)))
        return self.block.fail(path) if spec else Opaque(MAX_SEQUENCE)

    @staticmethod
    def _longest_number(value: Column, spec: str, sample: int, longest: int) -> int:
        """Bound the text by the largest number, where they are of ordinary size."""
        finite = value.items[np.isfinite(value.items)] if value.kind == "f" else value.items
        if not spec or not len(finite):
            return longest
        largest = max(abs(float(finite.min())), abs(float(finite.max())), 1.0)
        # A sign, percents, and a comma for each three digits.
        return sample + int((math.log10(largest) + 4) * 1.4) + 4

    # Drawing -------------------------------------------------------------------------------------

    def print(self, arguments: list[Value], options: dict[str, Value], path: Path) -> Value:
        for name, value in options.items():
            if name not in ("sep", "end"):
                return self.block.fail(path)
            if value is not None and not isinstance(value, str | Opaque):
                return self.block.fail(path)
        for value in arguments:
            self._shown(value, path)
        return None

    def _shown(self, value: Value, path: Path) -> None:
        """A whole number of very many digits is the only thing that has no text."""
        if isinstance(value, Items):
            for item in value.items:
                self._shown(item, path)
        elif type(value) is int:
            plainly(self.block, path, str, value)

    def plot(self, arguments: list[Value], options: dict[str, Value], path: Path) -> Value:
        given = dict(zip(("series", "name", "pane"), arguments, strict=False))
        if len(arguments) > 3 or options.keys() & given.keys():
            return self.block.fail(path)
        given |= options
        if not {"series", "name"} <= given.keys() <= {"series", "name", "pane"}:
            return self.block.fail(path)
        texts = (given["name"], given.get("pane", "price"))
        if not all(isinstance(text, str) for text in texts):
            raise NotLiftable("a plot whose name differs from candle to candle")
        self._plots.add("\0".join(texts))
        if len(self._plots) > MAX_PLOTS:
            raise NotLiftable(f"more than {MAX_PLOTS} plots")
        return spread(self.block, path, self._plotted, [given["series"]])

    def _plotted(self, series: Value, path: Path) -> Value:
        if isinstance(series, Items) and series.kind != "range":
            series = series.items[-1] if series.items and not series.present else 0.0
        if isinstance(series, Line):
            return None
        if isinstance(series, Choice):
            return spread(self.block, path, self._plotted, [series])
        if not is_number(series) or kind_of(series) == "b":
            return self.block.fail(path)
        if is_plain(series):
            plainly(self.block, path, float, series)
        return None

    def mark(self, arguments: list[Value], options: dict[str, Value], path: Path) -> Value:
        if len(arguments) + len(options) != 1 or options.keys() - {"text"}:
            return self.block.fail(path)
        self._marks += 1
        if self._marks > MAX_MARKS:
            raise NotLiftable(f"more than {MAX_MARKS} marks")
        for value in (*arguments, *options.values()):
            self._shown(value, path)
        return None

    def param(self, arguments: list[Value], options: dict[str, Value], path: Path) -> Value:
        given = dict(zip(("name", "default"), arguments, strict=False)) | options
        return self._inputs.get(given["name"], given["default"])


def _is_known(value: Value) -> bool:
    if isinstance(value, Items):
        return value.kind != "window" and value.present is None and all(
            map(_is_known, value.items)
        )  # fmt: skip
    return is_plain(value)


def _gone_through(value: Value) -> Value:
    """Return items as `each` takes them: a function like fmean only walks through them."""
    if isinstance(value, Items):
        if value.present is not None:
            raise NotLiftable("a list whose length differs from candle to candle")
        if not all(is_number(item) for item in value.items):
            raise NotLiftable("a list of values that are no numbers")
    return value


# ------------------------------------------------------------------------------------------------
# Builtins


def items_present(value: Value) -> Iterator[tuple[Value, Bools | None]]:
    """Yield what a loop over a value meets, and on which candles; raises NotLiftable."""
    if isinstance(value, Items):
        yield from zip(value.items, value.present or [None] * len(value.items), strict=True)
    elif isinstance(value, range | str | tuple | list | dict):
        if len(value) > 2000:
            raise NotLiftable("more than 2000 items to go through")
        yield from ((known(item), None) for item in value)
    elif isinstance(value, History | Line):
        raise NotLiftable("a loop over the whole history")
    else:
        raise NotLiftable("a loop over a value that differs from candle to candle")


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


def _extreme(kind: type[ast.cmpop]) -> _Handler:
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


def decide_over(
    calls: Calls,
    items: Iterator[tuple[Value, Bools | None, Path]],
    live: list[Bools],
    *,
    is_any: bool,
) -> Value:
    """Return `any` or `all` of items that are there on some candles; `live` tells their source
    which candles are not yet decided."""
    block = calls.block
    result: bool | Bools = not is_any
    for item, present, part in items:
        found = truth(block, item, part)
        if present is not None:
            found = (found & present) if is_any else (found | ~present)
        result = (result | found) if is_any else (result & found)
        if isinstance(result, bool):
            if result is is_any:
                return result
        else:
            live.append(~result if is_any else result)
    return result if isinstance(result, bool) else Column(np.asarray(result))


def _round(calls: Calls, arguments: list[Value], options: dict[str, Value], path: Path) -> Value:
    given = dict(zip(("number", "ndigits"), arguments, strict=False)) | options
    if "number" not in given or given.keys() - {"number", "ndigits"} or len(arguments) > 2:
        return calls.block.fail(path)
    digits = given.get("ndigits")
    if digits is not None:
        return calls.apply(round, [given["number"], digits], path)
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
            value = _SAMPLES[value.kind]
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


def _sequence(kind: str) -> _Handler:
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


def _builder(name: str) -> _Handler:
    def run(calls: Calls, arguments: list[Value], options: dict[str, Value], path: Path) -> Value:
        if name == "close" and len(arguments) == 1 and not options:
            arguments, options = [], {"percent": arguments[0]}
        if arguments or options.keys() - _RANGES.keys():
            return calls.block.fail(path)
        words = list(options)

        def one(*values: Any) -> Value:
            *given, part = values
            return _built(calls, calls.builders[name], dict(zip(words, given, strict=True)), part)

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


def _rounding(function: Callable[..., Any], on_floats: Callable[[Any], Any]) -> _Handler:
    def run(calls: Calls, arguments: list[Value], options: dict[str, Value], path: Path) -> Value:
        if options or len(arguments) != 1:
            return calls.block.fail(path)
        return _to_whole(calls, arguments, path, on_floats, function)

    return run


def _math_handler(
    function: Callable[..., Any], on_array: Callable[[Block, Any, Path], Column]
) -> _Handler:
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


_HANDLERS: Final[dict[str, _Handler]] = {
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

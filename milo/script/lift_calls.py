"""What a lifted script may call: builtins, math, actions, drawing (layer 1)."""

from __future__ import annotations

import ast
import datetime
import math
from collections.abc import Callable, ItemsView, Iterator, KeysView, Mapping, ValuesView
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from milo.script.guards import guarded_method
from milo.script.lift_ops import (
    DATES,
    Block,
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
    History,
    Items,
    Line,
    Method,
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
from milo.script.limits import MAX_MARKS, MAX_PLOTS, MAX_SEQUENCE
from milo.script.rewrite import GUARDED_METHODS

Handler = Callable[["Calls", list[Value], dict[str, Value], Path], Value]

FLOAT_LENGTH: Final = 24
"""Characters of the longest float's repr."""
_FORMATTED_LENGTH: Final = 330
SAMPLES: Final[dict[str, Any]] = {"f": 1.5, "i": 1, "b": True}
_DATES: Final[dict[type, Any]] = {
    datetime.datetime: datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC),
    datetime.date: datetime.date(2026, 1, 1),
    datetime.time: datetime.time(0),
    datetime.timedelta: datetime.timedelta(0),
}
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Library:
    """Which of Python's and Milo's own functions have a form over arrays.

    By identity: what a script calls may be any object, hashable or not.
    """

    functions: Mapping[str, Any]
    """The constant names of a script, as the runner has them."""
    indicators: Mapping[int, str]
    handlers: Mapping[int, Handler]
    elementwise: frozenset[int]
    """Pure functions, called for each candle."""
    plain: frozenset[int]
    """Called with values that are the same for all candles."""


class Calls:
    """Calls of Python's and Milo's own functions within one block."""

    def __init__(self, block: Block, library: Library, inputs: Mapping[str, float]) -> None:
        """Take `inputs`, those that the user changed."""
        self.block = block
        self.functions = library.functions
        self._library = library
        self._inputs = inputs
        self._plots: set[str] = set()
        self._marks = 0

    def call(
        self, function: Value, arguments: list[Value], options: dict[str, Value], path: Path
    ) -> Value:
        """Return what a call gives; the function is no function of the script."""
        if isinstance(function, Method):
            return self._method(function, arguments, options, path)
        handler = self._library.handlers.get(id(function))
        if handler is not None:
            return handler(self, arguments, options, path)
        everything = [*arguments, *options.values()]
        is_own = id(function) in self._library.elementwise or id(function) in self._library.plain
        if not callable(function):
            return self.block.fail(path)
        owner = getattr(function, "__self__", None)
        of_class = owner if isinstance(owner, type) else function
        is_date = isinstance(of_class, type) and issubclass(of_class, DATES)
        if not (is_own or is_date or isinstance(owner, _METHOD_OWNERS)):
            raise NotLiftable("a call that has no form over arrays")
        if all(_is_known(value) for value in everything):
            values = [plain_of(value) for value in arguments]
            named = {name: plain_of(value) for name, value in options.items()}
            return known(plainly(self.block, path, lambda: function(*values, **named)))
        if not (is_date or id(function) in self._library.elementwise) or options:
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
        owner, name = method.owner, method.name
        if not isinstance(owner, Objects) or not all(
            map(_is_known, (*arguments, *options.values()))
        ):
            raise NotLiftable(f"'.{name}' has no form over arrays")
        values = [plain_of(value) for value in arguments]
        named = {word: plain_of(value) for word, value in options.items()}
        return each(self.block, path, lambda one: getattr(one, name)(*values, **named), (owner,))

    def attribute(self, owner: Value, name: str, path: Path) -> Value:
        """Return `owner.name` of a plain value."""
        if isinstance(owner, Objects) and not callable(getattr(owner.kind, name, None)):
            return each(self.block, path, lambda one: getattr(one, name), (owner,))
        if not is_plain(owner):
            if isinstance(owner, Column | Objects | Items | Opaque | Line | History | Row):
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
            sample = convert(SAMPLES[value.kind])
            if spec[-1:] == "c":
                raise NotLiftable("a format that not every number has")
            made = plainly(self.block, path, format, sample, spec)
            if made is GARBAGE:
                return GARBAGE
            longest = FLOAT_LENGTH if not spec else len(made) + _FORMATTED_LENGTH
            return Opaque(self._longest_number(value, spec, len(made), longest))
        if isinstance(value, Objects):
            # Whether a date has a text depends on the format alone.
            made = plainly(self.block, path, lambda: format(convert(_DATES[value.kind]), spec))
            return made if made is GARBAGE else Opaque(len(made) + _FORMATTED_LENGTH)
        if isinstance(value, Opaque) or conversion != -1:
            made = plainly(self.block, path, format, "", spec)
            longest = value.longest if isinstance(value, Opaque) else MAX_SEQUENCE
            return made if made is GARBAGE else Opaque(max(longest, len(made)))
        return self.block.fail(path) if spec else Opaque(MAX_SEQUENCE)

    @staticmethod
    def _longest_number(value: Column, spec: str, sample: int, longest: int) -> int:
        """Bound the text by the largest number, where they are of ordinary size."""
        largest = float(np.fmax.reduce(np.abs(value.items))) if spec else math.inf
        if not largest < math.inf:
            return longest
        # A sign, percents, and a comma for each three digits.
        return sample + int((math.log10(max(largest, 1.0)) + 4) * 1.4) + 4

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

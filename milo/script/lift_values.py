"""The values of a lifted script: the same for all candles, or an array of them (layer 1).

Whatever is none of the classes here is a plain Python value, the same for all candles of the path.
Arrays are as long as the block of candles that is being evaluated; outside of the path on which
they arose, and where a candle is doubtful, they hold anything.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from milo.script.views import SeriesBase

Bools = NDArray[np.bool_]
Whole = NDArray[np.int64]
Value = Any
"""One of the classes below, or any other Python value as it is."""

MOST_ALTERNATIVES: Final = 12


class NotLiftable(Exception):
    """The script does not fit over arrays; it is no error of the script."""

    def __init__(self, message: str, line: int | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.line = line

    def __str__(self) -> str:
        return self.message if self.line is None else f"line {self.line}: {self.message}"


REASONS: Final[dict[type[ast.AST], str]] = {
    ast.While: "a 'while' loop",
    ast.Try: "'try'",
    ast.Global: "'global'",
    ast.Nonlocal: "'nonlocal'",
    ast.Yield: "a generator function",
    ast.YieldFrom: "a generator function",
    ast.GeneratorExp: "a generator that is handed on",
    ast.SetComp: "a set comprehension",
    ast.DictComp: "a dict comprehension",
    ast.Set: "a set",
    ast.Starred: "a star",
}
"""How syntax is called that has no form over arrays."""


class Path:
    """The candles that take one way through the script; its array is made when one is asked for."""

    __slots__ = ("_condition", "_is_true", "_mask", "_outer")

    def __init__(
        self, outer: Path | None = None, condition: Bools | None = None, is_true: bool = True
    ) -> None:
        """All candles, or those of `outer` where the condition is so."""
        self._outer = outer
        self._condition = condition
        self._is_true = is_true
        self._mask: Bools | None = None

    def mask(self) -> Bools | None:
        """Return which candles it is; None: all."""
        if self._condition is None:
            return None
        if self._mask is None:
            here = self._condition if self._is_true else ~self._condition
            outer = self._outer.mask() if self._outer is not None else None
            self._mask = here if outer is None else outer & here
        return self._mask

    def where(self, condition: Bools, is_true: bool = True) -> Path:
        return Path(self, condition, is_true)


class Column:
    """A float (float64), whole number (int64) or truth value (bool) for each candle."""

    __slots__ = ("items",)

    def __init__(self, items: NDArray[Any]) -> None:
        self.items = items

    @property
    def kind(self) -> str:
        """Return 'f', 'i' or 'b'."""
        return self.items.dtype.kind


class Objects:
    """A date, time or duration for each candle: Python's own objects, which cannot be changed."""

    __slots__ = ("items", "kind")

    def __init__(self, items: NDArray[np.object_], kind: type) -> None:
        self.items = items
        self.kind = kind


@dataclass(frozen=True, slots=True, eq=False)
class Choice:
    """Another value, or kind of value, for some candles than for others; the masks are disjoint."""

    alternatives: tuple[tuple[Bools, Value], ...]


class Garbage:
    """The value of what failed: all its candles are doubtful."""


class Unbound:
    """The value of a name that nothing was assigned to on these candles."""


GARBAGE: Final = Garbage()
UNBOUND: Final = Unbound()


@dataclass(frozen=True, slots=True)
class Opaque:
    """A text that differs from candle to candle; nothing asks what it says."""

    longest: int
    """At most so many characters."""


@dataclass(frozen=True, slots=True, eq=False)
class Items:
    """A tuple, list or window of known length; lists never change, as no method of them is known.

    `present` says for each item on which candles it is there; None: on all.
    """

    kind: str
    """tuple, list, window (of a series or of candles) or range."""
    items: tuple[Value, ...]
    present: tuple[Bools | None, ...] | None = None


@dataclass(frozen=True, slots=True, eq=False)
class History:
    """`data`, without its newest `behind` candles."""

    behind: int = 0


@dataclass(frozen=True, slots=True, eq=False)
class Line:
    """An indicator's series, without its newest `behind` values."""

    base: SeriesBase
    behind: int = 0


@dataclass(frozen=True, slots=True)
class Place:
    """Which item: `back` from the end (1 is the newest), or at an index counted from the start."""

    back: int = 0
    index: int | None = None
    indices: Whole | None = field(default=None, compare=False)


@dataclass(frozen=True, slots=True, eq=False)
class Row:
    """One candle of `data`."""

    place: Place


@dataclass(frozen=True, slots=True, eq=False)
class Function:
    """A `def` or lambda of the script; it is run anew where it is called."""

    name: str
    arguments: ast.arguments
    body: list[ast.stmt]
    frame: Frame
    is_async: bool
    local_names: frozenset[str]
    defaults: tuple[Value, ...]
    named_defaults: dict[str, Value]


@dataclass(frozen=True, slots=True, eq=False)
class Call:
    """A coroutine that is not awaited yet: what to run, on `await`."""

    run: Callable[[Path], Value]


@dataclass(frozen=True, slots=True, eq=False)
class Method:
    """`owner.name` before it is called."""

    owner: Value
    name: str


@dataclass(slots=True, eq=False)
class Frame:
    """The variables of the script, of one call or of one comprehension."""

    outer: Frame | None
    local_names: frozenset[str]
    names: dict[str, Value] = field(default_factory=dict)
    returned: list[tuple[Path, Value]] = field(default_factory=list)
    is_comprehension: bool = False


_SPECIAL: Final = (
    Column, Objects, Choice, Garbage, Unbound, Opaque, Items, History, Line, Row, Function, Call,
    Method,
)  # fmt: skip


def is_plain(value: Value) -> bool:
    """Say whether it is a Python value, the same for all candles."""
    return not isinstance(value, _SPECIAL)


def is_number(value: Value) -> bool:
    """Say whether it is a number or truth value, for each candle or for all."""
    return isinstance(value, Column | int | float)


def kind_of(value: Value) -> str:
    """Return 'f', 'i' or 'b' for a number; '' for anything else."""
    if isinstance(value, Column):
        return value.kind
    if isinstance(value, bool):
        return "b"
    return "f" if isinstance(value, float) else "i" if isinstance(value, int) else ""


_DTYPES: Final = {"f": np.float64, "i": np.int64, "b": np.bool_}
LARGEST_WHOLE: Final = 2**62
"""Larger whole numbers are no items of an array."""


def merge(pairs: Iterable[tuple[Bools, Value]]) -> Value:
    """Return the value that is each of the values on its candles; of masks that overlap, the
    earlier counts."""
    flat: list[tuple[Bools, Value]] = []
    for mask, value in pairs:
        if isinstance(value, Choice):
            flat += [(mask & inner, one) for inner, one in value.alternatives]
        elif value is not GARBAGE:
            flat.append((mask, value))
    groups: list[list[tuple[Bools, Value]]] = []
    for pair in flat:
        group = next((group for group in groups if _fits(group[0][1], pair[1])), None)
        if group is None:
            groups.append([pair])
        else:
            group.append(pair)
    if not groups:
        return GARBAGE
    if len(groups) > MOST_ALTERNATIVES:
        raise NotLiftable("too many kinds of values meet here")
    merged = [_merged(group) for group in groups]
    return merged[0][1] if len(merged) == 1 else Choice(tuple(merged))


def _fits(left: Value, right: Value) -> bool:
    """Say whether two values can be one."""
    if left is right:
        return True
    kind = kind_of(left)
    if kind or kind_of(right):
        return kind == kind_of(right) and not (_is_huge(left) or _is_huge(right))
    if isinstance(left, Opaque):
        return isinstance(right, Opaque)
    if isinstance(left, Items):
        return (
            isinstance(right, Items)
            and left.kind == right.kind
            and len(left.items) == len(right.items)
            and left.present is None
            and right.present is None
        )
    if isinstance(left, Row):
        return isinstance(right, Row) and left.place == right.place and left.place.indices is None
    return isinstance(left, str) and isinstance(right, str) and left == right


def _is_huge(value: Value) -> bool:
    return isinstance(value, int) and not -LARGEST_WHOLE < value < LARGEST_WHOLE


def _merged(group: list[tuple[Bools, Value]]) -> tuple[Bools, Value]:
    mask, first = group[0]
    if len(group) == 1:
        return mask, first
    covered = mask
    for inner, _ in group[1:]:
        covered = covered | inner
    if isinstance(first, Items):
        parts = zip(*(value.items for _, value in group), strict=True)
        items = tuple(merge((inner, part) for (inner, _), part in zip(group, row, strict=True))
                      for row in parts)  # fmt: skip
        return covered, Items(first.kind, items)
    if isinstance(first, Opaque):
        return covered, Opaque(max(value.longest for _, value in group))
    kind = kind_of(first)
    if not kind or all(_is_same(first, value) for _, value in group[1:]):
        return covered, first
    result = items_of(group[-1][1])
    for inner, value in reversed(group[:-1]):
        result = np.where(inner, items_of(value), result)
    return covered, Column(np.asarray(result, dtype=_DTYPES[kind]))


def _is_same(left: Value, right: Value) -> bool:
    if left is right:
        return True
    if isinstance(left, Column) or isinstance(right, Column):
        return False
    # By its text: 0.0 and -0.0 are equal, and not the same.
    return repr(left) == repr(right)


def items_of(value: Value) -> Any:
    """Return what NumPy computes with: an array, or the number itself."""
    return value.items if isinstance(value, Column) else value


def alternatives_of(value: Value) -> tuple[tuple[Bools | None, Value], ...]:
    """Return the masks and values of a choice; any other value as the only one."""
    if isinstance(value, Choice):
        return value.alternatives
    return ((None, value),)

"""What a lifted script reads of the market: candles, prices, indicators, as arrays (layer 1).

Indicators are called as the script itself calls them, once for the whole history, so that both
have the same bits.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from milo.script.lift_ops import SCRIPT_ERRORS, Block
from milo.script.lift_values import (
    GARBAGE,
    Column,
    History,
    Items,
    Line,
    NotLiftable,
    Path,
    Place,
    Row,
    Value,
    is_plain,
    kind_of,
)
from milo.script.names import INDICATOR_NAMES
from milo.script.views import FIELDS, CandleBase, CandleHistory, Series, series_base_of
from milo.ta import INDICATORS
from milo.ta.averages import TALIB_LONGEST
from milo.ta.spec import IndicatorSpec, Returns

LONGEST_WINDOW: Final = 512
"""Most items of a slice whose items are computed one after another."""

_SPECS: Final[dict[str, IndicatorSpec]] = {spec.name: spec for spec in INDICATORS}
LIFTED_INDICATORS: Final = frozenset(
    name
    for name in INDICATOR_NAMES
    if _SPECS[name].returns in (Returns.SERIES, Returns.TUPLE, Returns.LAST)
)


class Market:
    """The whole history, and the indicators that were asked for."""

    def __init__(self, base: CandleBase, functions: Mapping[str, Callable[..., Any]]) -> None:
        """Take the candles and the indicators' functions by name."""
        self._base = base
        self._functions = functions
        self._called: dict[tuple[Any, ...], Any] = {}

    def name(self, block: Block, name: str) -> Value:
        """Return a name of the vocabulary that is different for each candle."""
        if name in ("data", "chart_data"):
            # Only closed candles are lifted.
            return History()
        if name == "live_candle":
            return None
        if name in ("available_balance", "open_positions"):
            raise NotLiftable(f"'{name}' depends on what was traded before")
        if name == "averagevolume":
            return self._newest(block, self._average_volume(14))
        if name == "lastclose":
            return self._newest(block, self._base.column("close"))
        if name == "previousclose":
            return Column(_shifted(self._base.column("close"), 1, block))
        return self._newest(block, self._base.column(name))

    @staticmethod
    def _newest(block: Block, values: NDArray[Any]) -> Column:
        return Column(values[block.start : block.stop])

    def place(self, block: Block, key: Value, behind: int, path: Path) -> Value:
        """Return which item `[key]` takes of a sequence without its `behind` newest; candles whose
        sequence has no such item become doubtful."""
        if isinstance(key, Column):
            return self._varying_place(block, key, behind, path)
        if not isinstance(key, int):
            return block.fail(path)
        if key < 0:
            back = behind - key
            self._need(block, back, path)
            return Place(back=back)
        self._need(block, key + 1 + behind, path)
        return Place(index=key)

    @staticmethod
    def _varying_place(block: Block, key: Column, behind: int, path: Path) -> Value:
        if key.kind == "f":
            return block.fail(path)
        keys = key.items.astype(np.int64)
        lengths = np.maximum(block.counts - behind, 0)
        indices = np.where(keys < 0, keys + lengths, keys)
        bad = (indices < 0) | (indices >= lengths)
        block.doubt(path, bad)
        return Place(indices=np.where(bad, 0, indices))

    @staticmethod
    def _need(block: Block, count: int, path: Path) -> None:
        """Leave candles with fewer candles to the script."""
        if count > block.start + 1:
            block.doubt(path, block.counts < count)

    def pick(self, block: Block, values: NDArray[Any], place: Place) -> Value:
        """Return one item of an array that holds a value for each candle of the history."""
        if place.indices is not None:
            return Column(values[place.indices])
        if place.index is not None:
            if place.index < len(values):
                return values.item(place.index)
            return GARBAGE
        return Column(_shifted(values, place.back - 1, block))

    def item(self, block: Block, sequence: History | Line, key: Value, path: Path) -> Value:
        """Return `data[key]` or `series[key]`."""
        place = self.place(block, key, sequence.behind, path)
        if place is GARBAGE:
            return GARBAGE
        if isinstance(sequence, History):
            return Row(place)
        return self.pick(block, sequence.base.values, place)

    def field(self, block: Block, row: Row, name: Value, path: Path) -> Value:
        """Return `candle[name]`."""
        if name not in FIELDS:
            return block.fail(path)
        values = self._base.open_ms if name == "time" else self._base.column(name)
        return self.pick(block, values, row.place)

    def part(
        self, block: Block, sequence: History | Line, limits: tuple[Value, ...], path: Path
    ) -> Value:
        """Return a slice: the same sequence without its newest, or a window of known length."""
        if not all(limit is None or type(limit) is int for limit in limits):
            raise NotLiftable("a slice whose limits differ from candle to candle")
        lower, upper, step = limits
        if step is None:
            step = 1
        if lower in (None, 0) and step == 1 and (upper is None or upper < 0):
            behind = sequence.behind - (upper or 0)
            # Fewer candles than that: an empty one, as its length says.
            return History(behind) if isinstance(sequence, History) else Line(
                sequence.base, behind
            )  # fmt: skip
        if lower is None or lower >= 0 or step == 0 or (upper is not None and upper >= 0):
            raise NotLiftable("a slice that is neither [-k:], [-k:-j] nor [:-k]")
        length = -lower
        indices = range(*slice(lower, upper, step).indices(length))
        if len(indices) > LONGEST_WINDOW:
            raise NotLiftable(f"a window of more than {LONGEST_WINDOW} candles")
        # A shorter history makes a shorter window.
        self._need(block, length + sequence.behind, path)
        items = [self.item(block, sequence, index - length, path) for index in indices]
        return Items("window", tuple(items))

    def indicator(
        self,
        block: Block,
        name: str,
        arguments: list[Value],
        options: dict[str, Value],
        path: Path,
    ) -> Value:
        """Return what `await name(...)` gives; raises NotLiftable where it takes other than whole
        series and constants."""
        if name not in LIFTED_INDICATORS:
            raise NotLiftable(f"{name} gives a list")
        behind = {
            value.behind
            for value in (*arguments, *options.values())
            if isinstance(value, History | Line)
        }
        if len(behind) > 1:
            raise NotLiftable(f"{name} of two series of different length")
        cut = behind.pop() if behind else 0
        given = [self._given(name, value) for value in arguments]
        named = {key: self._given(name, value) for key, value in options.items()}
        key = (name, *map(_key, given), *((word, _key(value)) for word, value in named.items()))
        if key not in self._called:
            try:
                self._called[key] = self._computed(name, given, named)
            except SCRIPT_ERRORS as error:
                # Kept without the traceback, which would hold the frames.
                self._called[key] = error.with_traceback(None)
        found = self._called[key]
        if isinstance(found, BaseException):
            return block.fail(path)
        if isinstance(found, np.ndarray):
            return Column(_shifted(found, cut, block))
        if isinstance(found, tuple):
            return Items("tuple", tuple(Line(series_base_of(one)[0], cut) for one in found))
        return Line(series_base_of(found)[0], cut)

    def _given(self, name: str, value: Value) -> Any:
        if isinstance(value, History):
            return CandleHistory(self._base, len(self._base))
        if isinstance(value, Line):
            return Series(value.base, len(value.base.values))
        if isinstance(value, int) and abs(value) > TALIB_LONGEST:
            raise NotLiftable(f"{name} with a period of more than {TALIB_LONGEST}")
        if not is_plain(value):
            kind = "a number that differs" if kind_of(value) else "a list or window that differs"
            raise NotLiftable(f"{name} takes {kind} from candle to candle")
        return value

    def _computed(self, name: str, given: list[Any], named: dict[str, Any]) -> Any:
        spec = _SPECS[name]
        call = self._functions[name](*given, **named)
        try:
            call.send(None)
        except StopIteration as done:
            if spec.returns is Returns.LAST:
                return self._average_volume(*given[1:], **{
                    key: value for key, value in named.items() if key != "data"
                })  # fmt: skip
            return done.value
        raise AssertionError("an indicator never waits")

    def _average_volume(self, *period: Any, **named: Any) -> NDArray[np.float64]:
        key = ("averagevolume", *period, *named.values())
        if key not in self._called:
            function = _SPECS["calculate_average_volume"].function
            self._called[key] = function(self._base.column("volume"), *period, **named)
        values: NDArray[np.float64] = self._called[key]
        return values


def _key(value: Any) -> tuple[Any, ...]:
    if isinstance(value, CandleHistory):
        return ("data",)
    if isinstance(value, Series):
        return ("series", id(series_base_of(value)[0]))
    return (type(value), repr(value))


def _shifted(values: NDArray[Any], by: int, block: Block) -> NDArray[Any]:
    """Return the values `by` candles before those of the block; NaN (or 0) before the first."""
    start, stop = block.start - by, block.stop - by
    if start >= 0:
        return values[start:stop]
    fill = 0 if values.dtype.kind == "i" else np.nan
    shifted = np.full(block.size, fill, dtype=values.dtype)
    if stop > 0:
        shifted[-stop:] = values[:stop]
    return shifted

"""The names that a script sees: indicators, actions, plots, inputs, print (layer 1).

`Session` holds what one evaluation collects. `script_builtins` makes everything that stays the same
from candle to candle; `MarketNames` what changes. Nothing here touches more than numbers and text.
"""

from __future__ import annotations

import builtins
from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from milo.model import Direction
from milo.script import guards
from milo.script.actions import close_action, entry_action
from milo.script.lazy_list import LazyList
from milo.script.limits import (
    MAX_ACTION,
    MAX_LABEL,
    MAX_MARK,
    MAX_MARK_BYTES,
    MAX_MARKS,
    MAX_PLOTS,
    MAX_PRINT_BYTES,
)
from milo.script.rewrite import PREFIX
from milo.script.text import clean, clean_line, fit_bytes
from milo.script.views import (
    FIELDS,
    CandleBase,
    CandleHistory,
    CandleView,
    Computed,
    Floats,
    Series,
    SeriesBase,
    base_of,
    series_base_of,
)
from milo.script.vocabulary import BUILTINS, EXCEPTIONS, MARKET_NAMES
from milo.ta import INDICATORS
from milo.ta.spec import IndicatorSpec, Returns
from milo.ta.swings import labels_of
from milo.ta.volume import average_volume
from milo.ta.zigzag import ZigZag

INDICATOR_NAMES: Final = frozenset(spec.name for spec in INDICATORS)

_NAN: Final = float("nan")
_MISSING: Final = object()
_MOST_KEPT: Final = 256
_FEWEST_KEPT: Final = 4_000_000
_COLUMNS_KEPT: Final = 24
"""Results of indicators that are kept from one candle to the next, in numbers and in columns."""


class AwaitBudget(BaseException):
    """The script awaited too often; no `except` of a script catches it."""


class Session:
    """What one evaluation prints, plots, marks and counts; reset before each."""

    def __init__(self, max_awaits: int) -> None:
        self.max_awaits = max_awaits
        self.inputs: dict[str, float] = {}
        self.is_quiet = False
        """Nobody is going to look at this candle: texts are made, but not kept."""
        self._labels: dict[str, str] = {}
        self.awaits = 0
        self.printed: list[str] = []
        self.printed_bytes = 0
        self.dropped_bytes = 0
        self.plots: dict[tuple[str, str], float] = {}
        self.marks: list[str] = []

    def __repr__(self) -> str:
        """What a script sees that prints `plot` or `mark` themselves."""
        return "milo"

    def reset(self) -> None:
        """Forget what the candle before left."""
        self.awaits = 0
        if self.printed_bytes or self.dropped_bytes:
            self.printed = []
            self.printed_bytes = self.dropped_bytes = 0
        if self.plots:
            self.plots = {}
        if self.marks:
            self.marks = []

    def count_await(self, awaited: Any) -> Any:
        """Count one `await`; raises AwaitBudget beyond the limit."""
        self.awaits += 1
        if self.awaits > self.max_awaits:
            raise AwaitBudget
        return awaited

    def print(self, *values: Any, sep: str | None = " ", end: str | None = "\n") -> None:
        """Collect text up to the limit; what is over is dropped and counted."""
        separator = " " if sep is None else sep
        text = separator.join([str(value) for value in values]) + ("\n" if end is None else end)
        if self.is_quiet:
            return
        text = clean(text)
        room = MAX_PRINT_BYTES - self.printed_bytes
        kept = fit_bytes(text, room)
        size = len(text.encode("utf-8", "replace"))
        kept_size = size if kept == text else len(kept.encode())
        # Counted first: whatever interrupts this, more is never kept than was counted.
        self.printed_bytes += kept_size
        self.dropped_bytes += size - kept_size
        if kept:
            self.printed.append(kept)

    def plot(self, series: Any, name: str, pane: str = "price") -> None:
        """Note the newest value of a line for the chart; NaN draws nothing."""
        if not isinstance(name, str) or not isinstance(pane, str):
            raise TypeError('plot needs a name (and a pane) in quotes: plot(rsi, "RSI")')
        value = series
        if isinstance(series, Series | list | tuple):
            value = series[-1] if len(series) else _NAN
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise TypeError(f"plot draws numbers or a series of them, not {_kind(value)}")
        key = (self._label(name), self._label(pane))
        if key not in self.plots and len(self.plots) >= MAX_PLOTS:
            raise ValueError(f"more than {MAX_PLOTS} plots")
        self.plots[key] = float(value)

    def _label(self, text: str) -> str:
        """Return a text cleaned; they are mostly the same on each candle."""
        found = self._labels.get(text)
        if found is None:
            if len(self._labels) >= _MOST_KEPT:
                self._labels.clear()
            found = self._labels[text] = clean_line(text, MAX_LABEL)
        return found

    def mark(self, text: Any) -> None:
        """Note a text for the chart at the candle of this evaluation."""
        if len(self.marks) >= MAX_MARKS:
            raise ValueError(f"more than {MAX_MARKS} marks on one candle")
        text = str(text)
        if not self.is_quiet:
            text = fit_bytes(clean_line(text, MAX_MARK), MAX_MARK_BYTES)
        self.marks.append(text)

    def param(self, name: str, default: float, low: Any = None, high: Any = None) -> float:
        """Return the input's value: what the user set, or its default."""
        return self.inputs.get(name, default)


def script_builtins(session: Session, c_import: Callable[..., Any]) -> dict[str, Any]:
    """Return every constant name of a script, `__builtins__` of its namespace.

    `c_import` serves modules that compiled code imports while it works (strptime); scripts cannot
    name it.
    """
    names: dict[str, Any] = {name: getattr(builtins, name) for name in BUILTINS | EXCEPTIONS}
    modules = guards.virtual_modules()
    for title, module in modules.items():
        names[PREFIX + title] = module
    names["math"] = modules["math"]
    for name in ("datetime", "timedelta", "timezone"):
        names[name] = getattr(modules["datetime"], name)
    for name, operation in guards.OPERATIONS.items():
        names[PREFIX + name] = operation
    names[PREFIX + "load"] = guards.load_item
    names[PREFIX + "store"] = guards.store_item
    names[PREFIX + "slice"] = slice
    names[PREFIX + "format"] = guards.format_value
    names[PREFIX + "method"] = guards.guarded_method
    names[PREFIX + "await"] = session.count_await
    names["pow"] = guards.power
    names["print"] = session.print
    names["plot"] = session.plot
    names["mark"] = session.mark
    names["param"] = session.param
    names["long"] = _entry(Direction.LONG)
    names["short"] = _entry(Direction.SHORT)
    names["close"] = close_action
    names["__import__"] = c_import
    for spec in INDICATORS:
        names[spec.name] = _indicator(spec)
    return names


def _entry(direction: Direction) -> Callable[..., str]:
    made: dict[tuple[Any, ...], str] = {}

    def build(
        *,
        risk: Any = None,
        margin: Any = None,
        leverage: Any = 1,
        sl: Any = None,
        tp: Any = None,
        rr: Any = None,
    ) -> str:
        values = (risk, margin, leverage, sl, tp, rr)
        key = (*values, *map(type, values))
        try:
            text = made.get(key)
        except TypeError:
            # Something that no action can hold: the next line says so.
            text = None
        if text is None:
            text = entry_action(
                direction, risk=risk, margin=margin, leverage=leverage, sl=sl, tp=tp, rr=rr
            )
            if len(made) >= _MOST_KEPT:
                made.clear()
            if all(not isinstance(value, str) or len(value) <= MAX_ACTION for value in values):
                made[key] = text
        return text

    build.__name__ = build.__qualname__ = direction.value
    return build


class MarketNames:
    """The names of a script's candles: for each candle a namespace of its own.

    What costs time is computed only where the script uses it, and once for all candles.
    """

    def __init__(
        self,
        base: CandleBase,
        constants: dict[str, Any],
        account: tuple[float, list[dict[str, Any]]],
        used: frozenset[str],
    ) -> None:
        """Take the candles; the last one may be forming. `constants` are `__builtins__`."""
        self._base = base
        self._same: dict[str, Any] = {"__builtins__": constants, "__name__": "script"}
        self._has_data = "data" in used
        self._has_closed = "chart_data" in used
        self._has_forming = "live_candle" in used
        if "available_balance" in used:
            self._same["available_balance"] = account[0]
        if "open_positions" in used:
            self._same["open_positions"] = account[1]
        self._most_numbers = max(_FEWEST_KEPT, _COLUMNS_KEPT * len(base))
        self._items: list[tuple[str, memoryview, int]] = []
        for name in used & _NUMBERS:
            if name == "averagevolume":
                values = _average_volume(base)
            else:
                values = base.column(_NUMBER_COLUMNS.get(name, name))
            behind = 2 if name == "previousclose" else 1
            self._items.append((name, values.data, behind))

    def at(self, count: int, closed_count: int) -> dict[str, Any]:
        """Return the namespace in which the candle before `count` is the newest.

        Nothing in it shows a later one.
        """
        if self._base.computed.tally[0] > self._most_numbers:
            self._base.forget()
        names = self._same.copy()
        if self._has_data:
            names["data"] = CandleHistory(self._base, count)
        for name, values, behind in self._items:
            names[name] = values[count - behind] if count >= behind else _NAN
        if self._has_closed:
            names["chart_data"] = CandleHistory(self._base, closed_count)
        if self._has_forming:
            names["live_candle"] = self._base.row(count - 1) if count > closed_count else None
        return names


def _average_volume(base: CandleBase) -> Floats:
    """Return it for all candles, found once while no others come."""
    key = ("averagevolume",)
    values: Floats | None = base.computed.found.get(key)
    if values is None:
        values = base.computed.found[key] = average_volume(base.column("volume"))
        base.computed.tally[0] += len(values)
    return values


_NUMBER_COLUMNS: Final = {"lastclose": "close", "previousclose": "close"}
_NUMBERS: Final = MARKET_NAMES - {
    "data", "chart_data", "live_candle", "available_balance", "open_positions",
}  # fmt: skip
ACCOUNT_NAMES: Final = frozenset({"available_balance", "open_positions"})
"""What a script reads that is not of its candles."""


def _indicator(spec: IndicatorSpec) -> Callable[..., Coroutine[Any, Any, Any]]:
    name = spec.name
    call = _on_candles if spec.takes_candles else _on_values
    view = CandleHistory if spec.takes_candles else Series

    async def run(data: Any = _MISSING, /, *numbers: Any, **options: Any) -> Any:
        # As a rule it is the same call as on the candle before: what makes the answer is there.
        if type(data) is view:
            calls = data._base.computed.calls.get(name)
            if calls is not None:
                key = _call_key(numbers, options)
                if key is not None and (make := calls.get(key)) is not None:
                    return make(data._length)
        return call(spec, () if data is _MISSING else (data, *numbers), options)

    run.__name__ = run.__qualname__ = name
    return run


def _bound(
    spec: IndicatorSpec, taken: tuple[str, ...], arguments: tuple[Any, ...], options: dict[str, Any]
) -> tuple[list[Any], tuple[Any, ...]]:
    """Sort a call's arguments: those that are data, and the parameters with their defaults."""
    names = [*taken, *(parameter.name for parameter in spec.parameters)]
    if len(arguments) > len(names):
        raise TypeError(f"{spec.name}({', '.join(names)}) got {len(arguments)} arguments")
    values = dict(zip(names, arguments, strict=False))
    for name, value in options.items():
        if name not in names or name in values:
            told = "twice" if name in values else "which it does not know"
            raise TypeError(f"{spec.name}({', '.join(names)}) got '{name}' {told}")
        values[name] = value
    for parameter in spec.parameters:
        if parameter.name not in values and not parameter.is_required:
            values[parameter.name] = parameter.default
    missing = [name for name in names if name not in values and name != "data"]
    if missing or (taken[0] == "data" and "data" not in values):
        raise TypeError(f"{spec.name}({', '.join(names)}) needs {', '.join(missing) or 'data'}")
    return (
        [values.get(name) for name in taken],
        tuple(values[parameter.name] for parameter in spec.parameters),
    )


def _on_candles(spec: IndicatorSpec, arguments: tuple[Any, ...], options: dict[str, Any]) -> Any:
    (data,), parameters = _bound(spec, ("data",), arguments, options)
    if isinstance(data, CandleHistory):
        base, count = base_of(data)
    else:
        base = _base_of_list(spec, data)
        count = len(base)
    found = _cached(base, spec, parameters, [base.column(name) for name in spec.takes])
    make = _maker(spec, found, base)
    _remember(base.computed, spec.name, arguments, options, make)
    return make(count)


def _on_values(spec: IndicatorSpec, arguments: tuple[Any, ...], options: dict[str, Any]) -> Any:
    taken, parameters = _bound(spec, spec.takes, arguments, options)
    if spec.returns is Returns.SERIES:
        # The average of a series: cached with it, and a prefix of it for a prefix.
        if isinstance(taken[0], Series):
            base, count = series_base_of(taken[0])
        else:
            base = SeriesBase(_values(taken[0], spec.takes[0]))
            count = len(base.values)
        make = _maker(spec, _cached(base, spec, parameters, [base.values]), None)
        _remember(base.computed, spec.name, arguments, options, make)
        return make(count)
    if (found := _of_swings(spec, taken, parameters)) is not None:
        return found
    readied = [
        _Times(value) if name == "data" else _values(value, name) if name in _SERIES else value
        for name, value in zip(spec.takes, taken, strict=True)
    ]
    if spec.search is not None and isinstance(taken[0], Series):
        base, _ = series_base_of(taken[0])
        key = _key(spec, parameters)
        try:
            known = base.computed.found.get(key)
            search, is_forming = known or _search(base, key, spec, parameters)
        except TypeError:
            return spec.function(*readied, *parameters)
        return search.items(*readied, len(base.values) - is_forming)
    return spec.function(*readied, *parameters)


def _of_swings(
    spec: IndicatorSpec, taken: list[Any], parameters: tuple[Any, ...]
) -> LazyList | None:
    """Answer for the points of a ZigZag just as they were given: only what is new costs time."""
    if spec.returns is not Returns.ITEMS:
        return None
    data = taken[-1]
    points = taken[spec.takes.index("zigzag_points")]
    if type(points) is not LazyList or type(data) is not CandleHistory:
        return None
    swings = points.unchanged_swings()
    if swings is None:
        return None
    if spec.search is None:
        newest = labels_of(swings)
        return LazyList(
            swings.labelled, swings.confirmed, [] if newest is None else [newest], swings
        )
    rsi = taken[0]
    if type(rsi) is not Series or not len(rsi) == len(data) == swings.rows:
        return None
    base, count = series_base_of(rsi)
    key = _key(spec, parameters)
    try:
        known = base.computed.found.get(key)
    except TypeError:
        return None
    search, is_forming = known or _search(base, key, spec, parameters)
    final_rows = len(base.values) - is_forming
    return LazyList(*search.of_zigzag(base.values[:count], swings, final_rows))


_SERIES: Final = frozenset({"values", "rsi"})


class _Times:
    """What the swing functions ask of `data`: how many candles, and when they opened."""

    def __init__(self, data: Any) -> None:
        self.open_ms: Any = None
        if isinstance(data, CandleHistory):
            base, self._count = base_of(data)
            self.open_ms = base.open_ms[: self._count] if base.has_times else None
        elif isinstance(data, list | tuple):
            self._count = len(data)
        else:
            raise TypeError(f"data must be candles, like data or data[-500:], not {_kind(data)}")

    def __len__(self) -> int:
        return self._count


def _cached(
    base: CandleBase | SeriesBase,
    spec: IndicatorSpec,
    parameters: tuple[Any, ...],
    columns: list[Floats],
) -> Any:
    key = _key(spec, parameters)
    computed = base.computed
    try:
        found = computed.found.get(key)
    except TypeError:
        # An unhashable parameter (a list, say): the indicator itself will refuse it.
        return spec.function(*columns, *parameters)
    if found is None:
        found = _computed(base, key, spec, parameters, tuple(columns))
        computed.tally[0] += len(columns[0]) * len(spec.outputs)
        computed.found[key] = found
    return found


def _key(spec: IndicatorSpec, parameters: tuple[Any, ...]) -> tuple[Any, ...]:
    return (spec.name, *((type(value), value) for value in parameters))


def _computed(
    base: CandleBase | SeriesBase,
    key: tuple[Any, ...],
    spec: IndicatorSpec,
    parameters: tuple[Any, ...],
    columns: tuple[Floats, ...],
) -> Any:
    origin, tally = base.origin, base.computed.tally
    if origin is None:
        found = spec.function(*columns, *parameters)
    else:
        found = origin.answer(key, spec, parameters, columns)
    if spec.returns is Returns.POINTS:
        return found
    arrays = found if spec.returns is Returns.TUPLE else (found,)
    bases = tuple(
        SeriesBase(values, tally, None if origin is None else origin.of_output(key, output))
        for output, values in enumerate(arrays)
    )
    return bases if spec.returns is Returns.TUPLE else bases[0]


def _search(
    base: SeriesBase, key: tuple[Any, ...], spec: IndicatorSpec, parameters: tuple[Any, ...]
) -> tuple[Any, bool]:
    """Return the indicator's search in a series, and whether its newest value is forming."""
    assert spec.search is not None
    if base.origin is None:
        found = (spec.search(*parameters), False)
    else:
        found = base.origin.search(key, spec, parameters)
    base.computed.tally[0] += len(base.values)
    base.computed.found[key] = found
    return found


def _maker(spec: IndicatorSpec, found: Any, base: CandleBase | None) -> Callable[[int], Any]:
    """Return what cuts the indicator of the whole to so many candles, in the form for scripts."""
    if spec.returns is Returns.POINTS:
        if base is None or not base.has_times:
            return lambda count: found.points(count)
        return partial(_listed, found, base.open_ms)
    if spec.returns is Returns.TUPLE:
        if len(found) == 2:
            first, second = map(_as_base, found)
            return lambda count: (Series(first, count), Series(second, count))
        bases = [_as_base(values) for values in found]
        return lambda count: tuple([Series(values, count) for values in bases])
    if spec.returns is Returns.LAST:
        view = _as_base(found).view
        return lambda count: view[count - 1] if count else _NAN
    return partial(Series, _as_base(found))


def _listed(found: ZigZag, open_ms: NDArray[np.int64], count: int) -> LazyList:
    swings = found.swings(count, open_ms)
    newest = [] if swings.newest is None else [swings.newest]
    return LazyList(swings.points, swings.confirmed, newest, swings)


def _remember(
    computed: Computed,
    name: str,
    arguments: tuple[Any, ...],
    options: dict[str, Any],
    make: Callable[[int], Any],
) -> None:
    """Keep what makes the answer for the next call with the same whole numbers."""
    key = _call_key(arguments[1:], options)
    if key is not None:
        computed.calls.setdefault(name, {})[key] = make


def _call_key(numbers: tuple[Any, ...], options: dict[str, Any]) -> tuple[Any, ...] | None:
    """Return what tells a call from others on the same data; None where that takes more."""
    for number in numbers:
        # 14.0 and True equal a whole number, and may not be taken for one.
        if type(number) is not int:
            return None
    if not options:
        return numbers
    for number in options.values():
        if type(number) is not int:
            return None
    return (*numbers, *options.items())


def _as_base(values: SeriesBase | Floats) -> SeriesBase:
    return values if isinstance(values, SeriesBase) else SeriesBase(values)


def _base_of_list(spec: IndicatorSpec, data: Any) -> CandleBase:
    """Return candles that the script put together itself as a history of their own."""
    if not isinstance(data, list | tuple):
        raise TypeError(
            f"{spec.name} needs candles, like data or data[-500:], not {_kind(data)}"
            + ("; for a series there is calculate_ema_internal" if _is_series(data) else "")
        )
    columns = [
        _values([_field(row, name) for row in data], name) if name in spec.takes else np.empty(0)
        for name in FIELDS[1:]
    ]
    times = [row.get("time") for row in data]
    has_times = all(type(time) is int for time in times)
    open_ms = np.array(times if has_times else range(len(data)), dtype=np.int64)
    return CandleBase(open_ms, columns, len(data), has_times=has_times)


def _field(row: Any, name: str) -> Any:
    if not isinstance(row, dict | CandleView):
        raise TypeError(f"a candle is a mapping with {', '.join(FIELDS)}, not {_kind(row)}")
    return row[name]


def _values(values: Any, name: str) -> Floats:
    """Return a script's series, or list of numbers, as an array."""
    if isinstance(values, Series):
        base, count = series_base_of(values)
        return base.values[:count]
    if isinstance(values, CandleHistory):
        candles, count = base_of(values)
        return candles.column("close")[:count]
    if not isinstance(values, list | tuple):
        raise TypeError(f"{name} must be a series or a list of numbers, not {_kind(values)}")
    for value in values:
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise TypeError(f"{name} must hold numbers only, not {_kind(value)}")
    return np.array(values, dtype=np.float64)


def _is_series(value: Any) -> bool:
    return isinstance(value, Series)


def _kind(value: Any) -> str:
    """Name a value's type as a trader would; a forgotten `await` is the usual mistake."""
    name = type(value).__name__
    return "a coroutine ('await' is missing)" if name == "coroutine" else name

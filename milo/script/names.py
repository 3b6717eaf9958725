"""The names that a script sees: indicators, actions, plots, inputs, print (layer 1).

`Session` holds what one evaluation collects. `script_builtins` makes everything that stays the same
from candle to candle; `market_names` what changes. Nothing here touches more than numbers and text.
"""

from __future__ import annotations

import builtins
from collections.abc import Callable, Coroutine
from typing import Any, Final

import numpy as np

from milo.model import Direction
from milo.script import guards
from milo.script.actions import close_action, entry_action
from milo.script.limits import (
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
    Floats,
    Origin,
    Series,
    SeriesBase,
    base_of,
    series_base_of,
)
from milo.script.vocabulary import BUILTINS, EXCEPTIONS, MARKET_NAMES
from milo.ta import INDICATORS
from milo.ta.spec import IndicatorSpec, Returns
from milo.ta.volume import average_volume

INDICATOR_NAMES: Final = frozenset(spec.name for spec in INDICATORS)

_NAN: Final = float("nan")


class AwaitBudget(BaseException):
    """The script awaited too often; no `except` of a script catches it."""


class Session:
    """What one evaluation prints, plots, marks and counts; reset before each."""

    def __init__(self, max_awaits: int) -> None:
        self._max_awaits = max_awaits
        self.inputs: dict[str, float] = {}
        self.reset()

    def __repr__(self) -> str:
        """What a script sees that prints `plot` or `mark` themselves."""
        return "milo"

    def reset(self) -> None:
        self.awaits = 0
        self.printed: list[str] = []
        self.printed_bytes = 0
        self.dropped_bytes = 0
        self.plots: dict[tuple[str, str], float] = {}
        self.marks: list[str] = []

    @property
    def is_over_awaits(self) -> bool:
        return self.awaits > self._max_awaits

    def count_await(self, awaited: Any) -> Any:
        """Count one `await`; raises AwaitBudget beyond the limit."""
        self.awaits += 1
        if self.awaits > self._max_awaits:
            raise AwaitBudget
        return awaited

    def print(self, *values: Any, sep: str | None = " ", end: str | None = "\n") -> None:
        """Collect text up to the limit; what is over is dropped and counted."""
        separator = " " if sep is None else sep
        text = separator.join([str(value) for value in values]) + ("\n" if end is None else end)
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
        key = (clean_line(name, MAX_LABEL), clean_line(pane, MAX_LABEL))
        if key not in self.plots and len(self.plots) >= MAX_PLOTS:
            raise ValueError(f"more than {MAX_PLOTS} plots")
        self.plots[key] = float(value)

    def mark(self, text: Any) -> None:
        """Note a text for the chart at the candle of this evaluation."""
        if len(self.marks) >= MAX_MARKS:
            raise ValueError(f"more than {MAX_MARKS} marks on one candle")
        self.marks.append(fit_bytes(clean_line(str(text), MAX_MARK), MAX_MARK_BYTES))

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
    def build(
        *,
        risk: Any = None,
        margin: Any = None,
        leverage: Any = 1,
        sl: Any = None,
        tp: Any = None,
        rr: Any = None,
    ) -> str:
        return entry_action(
            direction, risk=risk, margin=margin, leverage=leverage, sl=sl, tp=tp, rr=rr
        )

    build.__name__ = build.__qualname__ = direction.value
    return build


def market_names(
    base: CandleBase,
    closed_count: int,
    account: tuple[float, list[dict[str, Any]]],
    used: frozenset[str],
) -> dict[str, Any]:
    """Return the names of one candle; `base` may end with the forming one.

    What costs time is computed only where the script uses it.
    """
    count = len(base)
    names: dict[str, Any] = {"data": CandleHistory(base, count)}
    wanted = used & _MORE
    if not wanted:
        return names
    closes = base.column("close")
    for name in wanted:
        if name == "chart_data":
            names[name] = CandleHistory(base, closed_count)
        elif name == "live_candle":
            names[name] = base.row(count - 1) if count > closed_count else None
        elif name == "available_balance":
            names[name] = account[0]
        elif name == "open_positions":
            names[name] = account[1]
        elif name == "lastclose":
            names[name] = closes.item(count - 1) if count else _NAN
        elif name == "previousclose":
            names[name] = closes.item(count - 2) if count > 1 else _NAN
        elif name == "averagevolume":
            volumes = base.column("volume")
            names[name] = average_volume(volumes).item(-1) if count else _NAN
        else:
            names[name] = base.column(name).item(count - 1) if count else _NAN
    return names


_MORE: Final = MARKET_NAMES - {"data"}


def _indicator(spec: IndicatorSpec) -> Callable[..., Coroutine[Any, Any, Any]]:
    call = _on_candles if spec.takes_candles else _on_values

    async def run(*arguments: Any, **options: Any) -> Any:
        return call(spec, arguments, options)

    run.__name__ = run.__qualname__ = spec.name
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
    return _answer(
        spec,
        _cached(base, spec, parameters, tuple(base.column(name) for name in spec.takes)),
        count,
        base,
    )


def _on_values(spec: IndicatorSpec, arguments: tuple[Any, ...], options: dict[str, Any]) -> Any:
    taken, parameters = _bound(spec, spec.takes, arguments, options)
    if spec.returns is Returns.SERIES:
        # The average of a series: cached with it, and a prefix of it for a prefix.
        if isinstance(taken[0], Series):
            base, count = series_base_of(taken[0])
            found = _cached(base, spec, parameters, (base.values,))
            return _answer(spec, found, count, None)
        values = _values(taken[0], spec.takes[0])
        return _answer(spec, spec.function(values, *parameters), len(values), None)
    readied = [
        _Times(value) if name == "data" else _values(value, name) if name in _SERIES else value
        for name, value in zip(spec.takes, taken, strict=True)
    ]
    if spec.search is not None and isinstance(taken[0], Series):
        base, _ = series_base_of(taken[0])
        key = _key(spec, parameters)
        try:
            search, is_forming = base.cache.get(key) or _search(base, key, spec, parameters)
        except TypeError:
            return spec.function(*readied, *parameters)
        return search.items(*readied, len(base.values) - is_forming)
    return spec.function(*readied, *parameters)


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
    columns: tuple[Floats, ...],
) -> Any:
    key = _key(spec, parameters)
    try:
        found = base.cache.get(key)
    except TypeError:
        # An unhashable parameter (a list, say): the indicator itself will refuse it.
        return spec.function(*columns, *parameters)
    if found is None:
        found = base.cache[key] = _computed(base.origin, key, spec, parameters, columns)
    return found


def _search(
    base: SeriesBase, key: tuple[Any, ...], spec: IndicatorSpec, parameters: tuple[Any, ...]
) -> tuple[Any, bool]:
    """Return the indicator's search in a series, and whether its newest value is forming."""
    assert spec.search is not None
    if base.origin is None:
        found = (spec.search(*parameters), False)
    else:
        found = base.origin.search(key, spec, parameters)
    base.cache[key] = found
    return found


def _key(spec: IndicatorSpec, parameters: tuple[Any, ...]) -> tuple[Any, ...]:
    return (spec.name, *((type(value), value) for value in parameters))


def _computed(
    origin: Origin | None,
    key: tuple[Any, ...],
    spec: IndicatorSpec,
    parameters: tuple[Any, ...],
    columns: tuple[Floats, ...],
) -> Any:
    if origin is None:
        found = spec.function(*columns, *parameters)
    else:
        found = origin.answer(key, spec, parameters, columns)
    if spec.returns is Returns.POINTS:
        return found
    arrays = found if spec.returns is Returns.TUPLE else (found,)
    bases = tuple(
        SeriesBase(values, None if origin is None else origin.of_output(key, output))
        for output, values in enumerate(arrays)
    )
    return bases if spec.returns is Returns.TUPLE else bases[0]


def _answer(spec: IndicatorSpec, found: Any, count: int, base: CandleBase | None) -> Any:
    """Cut what was computed for the whole to `count` candles, in the form that scripts get."""
    if spec.returns is Returns.POINTS:
        return found.points(count, base.open_ms[:count] if base and base.has_times else None)
    if spec.returns is Returns.TUPLE:
        return tuple(Series(_as_base(values), count) for values in found)
    if spec.returns is Returns.LAST:
        return _as_base(found).values.item(count - 1) if count else _NAN
    return Series(_as_base(found), count)


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

"""The indicator lines of the chart's panes, computed once and continued (pure).

They are the functions that scripts call, over the same history: what the page shows at a candle is
what a script saw there. To add a line: a row in `LINES`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from milo.candles import PRICE_COLUMNS, Candles, Floats
from milo.model import Candle
from milo.ta import INDICATORS
from milo.ta.running import RunningIndicators
from milo.ta.spec import IndicatorSpec

_SPECS: Final = {spec.name: spec for spec in INDICATORS}
_ROOM = 64


@dataclass(frozen=True, slots=True)
class ChartLines:
    """One indicator, and the names of its columns on the chart."""

    spec: IndicatorSpec
    parameters: tuple[int, ...]
    names: tuple[str, ...]


def _lines(indicator: str, parameters: tuple[int, ...], *names: str) -> ChartLines:
    return ChartLines(_SPECS[indicator], parameters, names)


LINES: Final = (
    _lines("calculate_ema", (20,), "ema20"),
    _lines("calculate_ema", (200,), "ema200"),
    _lines("calculate_rsi", (14,), "rsi"),
    _lines("calculate_macd", (12, 26, 9), "macd", "macdSignal"),
    _lines("calculate_stochastic", (14, 3), "stochK", "stochD"),
)

LINE_NAMES: Final = tuple(name for lines in LINES for name in lines.names)


class ChartIndicators:
    """The lines of one growing series."""

    def __init__(self) -> None:
        self._running = RunningIndicators()
        self._copy = _GrowingColumns()

    def closed(self, candles: Candles) -> dict[str, Floats]:
        """Return every line over closed candles, whose earlier ones are those of the last call.

        The arrays are valid until the next call.
        """
        self._running.begin(is_forming=False)
        return self._answers({name: getattr(candles, name) for name in PRICE_COLUMNS})

    def forming(self, candles: Candles, forming: Candle) -> dict[str, float]:
        """Return every line's value at the candle that forms behind `candles`."""
        self._running.begin(is_forming=True)
        found = self._answers(self._copy.with_forming(candles, forming))
        return {name: values.item(-1) for name, values in found.items()}

    def _answers(self, columns: dict[str, Floats]) -> dict[str, Floats]:
        found: dict[str, Floats] = {}
        for lines in LINES:
            path = (lines.spec.name, lines.parameters)
            taken = tuple(columns[name] for name in lines.spec.takes)
            answer = self._running.answer(path, lines.spec, lines.parameters, taken)
            arrays = answer if isinstance(answer, tuple) else (answer,)
            found.update(zip(lines.names, arrays, strict=True))
        return found


class _GrowingColumns:
    """Candles' columns with one more row for the forming candle, copied once and then continued.

    The engine's own candles must not be appended to from here: it does so itself, elsewhere.
    """

    def __init__(self) -> None:
        self._count = 0
        self._columns = {name: np.empty(0) for name in PRICE_COLUMNS}

    def with_forming(self, candles: Candles, forming: Candle) -> dict[str, Floats]:
        count = len(candles)
        if count >= len(self._columns["close"]):
            self._count = 0
            room = count // 4 + _ROOM
            self._columns = {name: np.empty(count + room) for name in PRICE_COLUMNS}
        start = min(self._count, count)
        for name, column in self._columns.items():
            column[start:count] = getattr(candles, name)[start:]
            column[count] = getattr(forming, name)
        self._count = count
        return {name: column[: count + 1] for name, column in self._columns.items()}

"""Where a candle's path meets the levels of a position (layer 1).

Prices are floats, as candles have them; a level that is a multiple of 1e-8 equals the float of the
same decimal, so that a touch is a hit.
"""

from __future__ import annotations

from enum import StrEnum
from typing import NamedTuple

import numpy as np

from milo.backtest.ledger import Intrabar
from milo.candles import Candles, Floats
from milo.exchange.feed import E8
from milo.intervals import INTERVAL_MS

_FEW = 4
_FIRST_WINDOW = 256
_WINDOW_GROWTH = 4
_LARGEST_WINDOW = 65_536


class Met(StrEnum):
    """What a candle's path meets first."""

    STOP = "stop"
    TARGET = "target"
    LIQUIDATION = "liquidation"


class Levels:
    """What a position waits for. `sign`: +1 long, -1 short; absent levels are infinitely far.

    `adverse` is the level that a move against the position meets first; of two at one price the
    stop.
    """

    __slots__ = ("adverse", "is_stop_first", "sign", "target")

    def __init__(self, sign: int, stop: float, target: float, liquidation: float) -> None:
        self.sign = sign
        self.target = target
        self.is_stop_first = stop >= liquidation if sign > 0 else stop <= liquidation
        self.adverse = stop if self.is_stop_first else liquidation


class Touch(NamedTuple):
    """What was met. `price` is the level, or the open where the price jumped over it."""

    met: Met
    price: float
    is_at_open: bool
    is_gap: bool = False
    is_extreme: bool = False
    is_ambiguous: bool = False


def first_hit(low: Floats, high: Floats, start: int, end: int, levels: Levels) -> int:
    """Return the first candle in [start, end) whose range meets a level; `end` if none does.

    Windows grow, so that the cost follows the distance to the hit and not the length of history.
    """
    if levels.sign > 0:
        bottom, top = levels.adverse, levels.target
    else:
        bottom, top = levels.target, levels.adverse
    window = _FIRST_WINDOW
    while start < end:
        stop = min(start + window, end)
        if stop - start <= _FEW:
            for index in range(start, stop):
                if low.item(index) <= bottom or high.item(index) >= top:
                    return index
        else:
            hits = (low[start:stop] <= bottom) | (high[start:stop] >= top)
            place = int(hits.argmax())
            if hits[place]:
                return start + place
        start = stop
        window = min(window * _WINDOW_GROWTH, _LARGEST_WINDOW)
    return end


def touch_at_open(price: float, levels: Levels) -> Touch | None:
    """Return what a jump to `price`, the open, meets; it comes from where no level was met."""
    sign = levels.sign
    if sign * (price - levels.adverse) <= 0:
        met = Met.STOP if levels.is_stop_first else Met.LIQUIDATION
        return Touch(met, price, True, is_gap=price != levels.adverse)
    if sign * (price - levels.target) >= 0:
        return Touch(Met.TARGET, price, True, is_gap=price != levels.target)
    return None


def touch_within(
    candles: Candles, index: int, levels: Levels, rule: Intrabar, finer: FinerCandles | None
) -> Touch:
    """Return what a candle that is known to meet a level meets first after its open."""
    high, low = candles.high.item(index), candles.low.item(index)
    best, worst = (high, low) if levels.sign > 0 else (low, high)
    is_adverse = levels.sign * (worst - levels.adverse) <= 0
    is_target = levels.sign * (best - levels.target) >= 0
    is_ambiguous = False
    if is_adverse and is_target:
        is_adverse, is_ambiguous = _which_first(candles, index, levels, rule, finer)
    if not is_adverse:
        return Touch(
            Met.TARGET,
            levels.target,
            False,
            is_extreme=levels.target == best,
            is_ambiguous=is_ambiguous,
        )
    met = Met.STOP if levels.is_stop_first else Met.LIQUIDATION
    return Touch(
        met,
        levels.adverse,
        False,
        is_extreme=levels.adverse == worst,
        is_ambiguous=is_ambiguous,
    )


def _which_first(
    candles: Candles, index: int, levels: Levels, rule: Intrabar, finer: FinerCandles | None
) -> tuple[bool, bool]:
    """Return (the adverse level comes first, a rule and not the data says so)."""
    if rule is Intrabar.NEARER_OPEN:
        # In whole units: floats would make unequal what is equally far.
        open_, high, low = (
            round(c.item(index) * E8) for c in (candles.open, candles.high, candles.low)
        )
        is_high_first = high - open_ < open_ - low
        return is_high_first == (levels.sign < 0), True
    if rule is Intrabar.FINER and finer is not None:
        is_adverse = finer.is_adverse_first(candles.open_ms.item(index), levels)
        if is_adverse is not None:
            return is_adverse, False
    return True, True


class FinerCandles:
    """Candles of a shorter interval, to see inside of those that a script decides on."""

    def __init__(self, candles: Candles, finer_interval: str, interval: str) -> None:
        self._candles = candles
        self._step_ms = INTERVAL_MS[finer_interval]
        self._count = INTERVAL_MS[interval] // self._step_ms

    def is_adverse_first(self, open_ms: int, levels: Levels) -> bool | None:
        """Return whether the adverse level is met before the target in the candle of that time.

        None where the candles before the first hit are not all there, and where one of them meets
        both and its open does not tell which is first.
        """
        inside = self._candles
        start = int(np.searchsorted(inside.open_ms, open_ms))
        end = min(start + self._count, len(inside))
        index = first_hit(inside.low, inside.high, start, end, levels)
        if index == end or inside.open_ms.item(index) != open_ms + (index - start) * self._step_ms:
            return None
        at_open = touch_at_open(inside.open.item(index), levels)
        if at_open is not None and index > start:
            return at_open.met is not Met.TARGET
        high, low = inside.high.item(index), inside.low.item(index)
        best, worst = (high, low) if levels.sign > 0 else (low, high)
        is_adverse = levels.sign * (worst - levels.adverse) <= 0
        is_target = levels.sign * (best - levels.target) >= 0
        return None if is_adverse and is_target else is_adverse

"""Sizing and protection in floats where the result is certain: for thousands of entries (layer 1).

These are not rules of their own. A quotient is only rounded here where no error of a float could
move it over a whole number, and a limit only counts as kept where it is kept by a clear margin; in
every other case, and wherever something would be lowered, reduced or refused, the answer is None,
and `size_entry` or `plan_protection` decides. Where there is an answer it equals theirs to the last
digit: `tests/core/test_quick_sizing.py` compares them.
"""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from math import inf
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from milo.model import (
    AmountKind,
    CommissionRate,
    Direction,
    Distance,
    DistanceKind,
    EntryIntent,
    Instrument,
    LeverageBracket,
)
from milo.money import CENT_OF_CENT, ceil_to, floor_to
from milo.orders.lots import largest_market_qty, market_step, smallest_market_qty
from milo.orders.margin import max_leverage, max_notional
from milo.orders.protection import DEFAULT_STOP_SHARE
from milo.orders.sizing import HEADROOM

_SURE = 1e-9
"""By this share a limit must be kept."""
_ROUNDING = 1e-12
"""So near to a whole number, as a share of it, nothing is rounded here."""
_DIGITS = 1e-15
_MOST = 1e9


class QuickLevels(NamedTuple):
    """Where stop and target lie, in ticks."""

    stop_ticks: int
    target_ticks: int | None


class QuickSize(NamedTuple):
    """An entry's quantity in steps, and its protection at the price for sizing."""

    steps: int
    levels: QuickLevels


class QuickSizer:
    """One action on one symbol. Prices, quantities and money are floats."""

    def __init__(
        self,
        intent: EntryIntent,
        instrument: Instrument,
        brackets: Sequence[LeverageBracket],
        fees: CommissionRate,
    ) -> None:
        self._intent = intent
        self._sign = intent.direction.sign
        self._has_own_stop = intent.stop is None
        self._risks_to_stop = intent.amount_kind is AmountKind.RISK and intent.stop is not None
        self.leverage = int(intent.leverage)
        distances = (intent.stop, intent.target)
        self.needs_atr = any(d is not None and d.kind is DistanceKind.ATR for d in distances)
        step = market_step(instrument)
        leverages = [bracket.max_leverage for bracket in brackets]
        self._is_usable = (
            instrument.tick > 0
            and step > 0
            and step == step.quantize(CENT_OF_CENT)
            and self.leverage == intent.leverage
            and 1 <= self.leverage <= max_leverage(brackets)
            and leverages == sorted(leverages, reverse=True)
        )
        self.step = step
        self.step_e8 = int(step * 10**8)
        self._top_leverage = max_leverage(brackets)
        self._tick, self._step = float(instrument.tick), float(step)
        self._share = float(intent.amount) / 100
        self._taker = float(fees.taker)
        self._most_notional = float(max_notional(brackets, self.leverage)) * (1 - _SURE)
        self._largest = float(largest_market_qty(instrument)) * (1 - _SURE)
        smallest = smallest_market_qty(instrument)
        self._fewest_steps = int(ceil_to(smallest, step) / step) if step else 0
        self._least_notional = float(instrument.min_notional) * (1 + _SURE)
        self._cost = (1 / self.leverage + self._taker) * float(HEADROOM) * (1 + _SURE)
        self._low = float(instrument.min_price) * (1 + _SURE)
        self._high = float(instrument.max_price) * (1 - _SURE) if instrument.max_price else inf
        self._brackets = [(float(b.cap), float(b.maint_ratio), float(b.cum)) for b in brackets]
        self._stop = _Level(intent.stop, intent.direction, instrument.tick, is_stop=True)
        self._target = _Level(intent.target, intent.direction, instrument.tick, is_stop=False)
        self._has_target = intent.target is not None
        ratio = intent.reward_ratio
        self._reward = None if ratio is None else float(ratio)

    def size(
        self, price: float, equity: float, available: float, atr: float | None
    ) -> QuickSize | None:
        """Return what `size_entry` would, or None where that is not certain."""
        if not self._is_usable or price <= 0 or equity <= 0:
            return None
        doubt = _ROUNDING
        stop_ticks = None
        if self._risks_to_stop:
            stop_ticks = self._on_right_side(self._stop.ticks(price, atr), price)
            if stop_ticks is None:
                return None
            stop = stop_ticks * self._tick
            loss = abs(price - stop) + self._taker * (price + stop)
            if loss <= 0:
                return None
            qty = equity * self._share / loss
            doubt += 8 * _DIGITS * price / loss
        else:
            qty = equity * self._share * self.leverage / price
        notional = qty * price
        if (
            notional > self._most_notional
            or notional * self._cost > available
            or qty > self._largest
        ):
            return None
        steps = _sure_floor(qty / self._step, doubt)
        if steps is None or steps < self._fewest_steps:
            return None
        rounded = steps * self._step
        if rounded * price < self._least_notional:
            return None
        levels = self._levels(price, rounded, self.leverage, atr, stop_ticks)
        return None if levels is None else QuickSize(steps, levels)

    def plan(
        self, entry: float, qty: float, leverage: int, atr: float | None
    ) -> QuickLevels | None:
        """Return what `plan_protection` would, or None where that is not certain."""
        return self._levels(entry, qty, leverage, atr, None) if self._is_usable else None

    def _levels(
        self, entry: float, qty: float, leverage: int, atr: float | None, stop_ticks: int | None
    ) -> QuickLevels | None:
        """Return stop and target; `stop_ticks` where the stop of that entry is known already."""
        sign, tick = self._sign, self._tick
        is_own = self._has_own_stop
        if is_own:
            stop_ticks = self._default_stop(entry, qty, leverage)
        elif stop_ticks is None:
            stop_ticks = self._on_right_side(self._stop.ticks(entry, atr), entry)
        if stop_ticks is None:
            return None
        stop = stop_ticks * tick
        if not self._low <= stop <= self._high:
            return None
        if not is_own and not self._is_before_liquidation(entry, qty, leverage, stop):
            return None
        if self._reward is not None:
            risked = entry / leverage if is_own else abs(entry - stop)
            target_ticks = self._target.rounded(entry + sign * self._reward * risked)
        elif self._has_target:
            target_ticks = self._target.ticks(entry, atr)
        else:
            return QuickLevels(stop_ticks, None)
        if target_ticks is None:
            return None
        target = target_ticks * tick
        is_right = target > 0 and sign * (target - entry) > _SURE * entry
        is_inside = self._low <= target <= self._high
        return QuickLevels(stop_ticks, target_ticks) if is_right and is_inside else None

    def surely_refused(
        self,
        prices: NDArray[np.float64],
        equity: float,
        available: float,
        atrs: NDArray[np.float64] | None,
    ) -> NDArray[np.bool_]:
        """Return at which prices `size_entry` surely refuses, with that equity and balance.

        For long runs of refused signals: True only for a quantity or notional below the minimum,
        and for a stop without ATR, on the wrong side, or beyond the liquidation price. `atrs`: of
        each price, NaN where there is none; needed where `needs_atr`.
        """
        intent = self._intent
        if self.leverage < 1 or self.leverage > self._top_leverage:
            return np.ones(len(prices), np.bool_)
        kind = None if intent.stop is None else intent.stop.kind
        is_risk = intent.amount_kind is AmountKind.RISK and intent.stop is not None
        if self._tick <= 0:
            return np.zeros(len(prices), np.bool_)
        away = self._away(prices, atrs)
        at_stop = prices - self._sign * away
        # A stop is rounded by up to a tick toward the entry: the loss can be that much smaller.
        least_loss = np.maximum(away - self._tick, 0.0)
        if is_risk:
            least_loss += self._taker * np.maximum(prices + at_stop - self._tick, 0.0)
            with np.errstate(divide="ignore"):
                most = equity * self._share / least_loss
        else:
            most = equity * self._share * self.leverage / prices
        affordable = max(available, 0.0) / (self._cost * (1 - 2 * _SURE)) / prices
        wanted = most * (1 + _SURE)
        most = np.minimum(most, affordable) * (1 + _SURE)
        refused: NDArray[np.bool_] = (most < self._fewest_steps * self._step * (1 - _SURE)) | (
            most * prices * (1 + 3 * _SURE) < self._least_notional
        )
        if kind is not None:
            refused |= (away < -_SURE * prices) | np.isnan(away)
            left = 1 / self.leverage - (away - self._tick) / prices
            needed = self._brackets[0][1] * np.maximum((at_stop - self._tick) / prices, 0.0)
            # Where the notional that is wanted may lower the leverage, whatever the balance then
            # leaves of it, the liquidation price moves away.
            refused |= (left < needed - _SURE) & (wanted * prices < self._most_notional)
        return refused

    def _away(
        self, prices: NDArray[np.float64], atrs: NDArray[np.float64] | None
    ) -> NDArray[np.float64]:
        """Return how far each price is from its stop, before rounding; NaN without ATR."""
        stop = self._intent.stop
        if stop is None:
            return np.zeros(len(prices))
        value = float(stop.value)
        if stop.kind is DistanceKind.PERCENT:
            return prices * (value / 100)
        if stop.kind is DistanceKind.PRICE:
            return self._sign * (prices - value)
        return np.full(len(prices), np.nan) if atrs is None else value * atrs

    def _default_stop(self, entry: float, qty: float, leverage: int) -> int | None:
        sign = self._sign
        margin = qty * entry * (1 / leverage - sign)
        prices = [(margin + cum) / (qty * (ratio - sign)) for _, ratio, cum in self._brackets]
        liquidation = max(prices) if sign > 0 else min(prices)
        if abs(liquidation) < _SURE * entry:
            return None
        end = max(liquidation, 0.0)
        value = entry + (end - entry) * float(DEFAULT_STOP_SHARE)
        return self._on_right_side(self._stop.rounded(value), entry)

    def _on_right_side(self, stop_ticks: int | None, entry: float) -> int | None:
        if stop_ticks is None or stop_ticks <= 0:
            return None
        distance = self._sign * (entry - stop_ticks * self._tick)
        return stop_ticks if distance > _SURE * entry else None

    def _is_before_liquidation(self, entry: float, qty: float, leverage: int, stop: float) -> bool:
        """Return whether the margin at the stop is clearly above the maintenance margin."""
        notional = qty * stop
        margin = qty * (entry / leverage + self._sign * (stop - entry))
        needed = 0.0
        for cap, ratio, cum in self._brackets:
            needed = notional * ratio - cum
            if notional <= cap:
                break
        return margin - needed > _SURE * qty * entry


class _Level:
    """A stop or a target as the action says it, rounded toward the entry."""

    def __init__(
        self, distance: Distance | None, direction: Direction, tick: Decimal, *, is_stop: bool
    ) -> None:
        self._tick = float(tick)
        # A long's stop lies below the entry: rounding up brings it nearer. Its target: down.
        is_up = (direction is Direction.LONG) == is_stop
        self._sure = _sure_ceil if is_up else _sure_floor
        sign = -direction.sign if is_stop else direction.sign
        kind = None if distance is None else distance.kind
        value = 0.0 if distance is None else float(distance.value)
        self._is_share = kind is DistanceKind.PERCENT
        self._is_price = kind is DistanceKind.PRICE
        self._fixed: int | None = None
        if distance is not None and distance.kind is DistanceKind.PRICE and tick:
            on_tick = (ceil_to if is_up else floor_to)(distance.value, tick)
            self._fixed = int(on_tick / tick)
        self._factor = 1 + sign * value / 100
        self._reach = sign * value

    def ticks(self, entry: float, atr: float | None) -> int | None:
        if self._is_share:
            return self._sure(entry * self._factor / self._tick, _ROUNDING)
        if self._is_price:
            return self._fixed
        return None if atr is None else self.rounded(entry + self._reach * atr)

    def rounded(self, price: float) -> int | None:
        return self._sure(price / self._tick, _ROUNDING)


def _sure_floor(value: float, doubt: float) -> int | None:
    """Return the whole number below a value; None near a whole number, and below 0."""
    if not 0 <= value < _MOST:
        return None
    whole = int(value)
    margin = (value + 1) * doubt
    return whole if margin < value - whole < 1 - margin else None


def _sure_ceil(value: float, doubt: float) -> int | None:
    """Return the whole number above a value; None near a whole number, and below 0."""
    whole = _sure_floor(value, doubt)
    return None if whole is None else whole + 1

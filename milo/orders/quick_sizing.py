"""Sizing and protection without decimals where the result is certain: for thousands of entries
(layer 1).

These are not rules of their own. Levels in per cent and by a reward ratio are worked out in ints,
exactly, as decimals would. Elsewhere a quotient is only rounded where no error of a float could
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
from milo.money import CENT_OF_CENT, ZERO, ceil_to
from milo.orders.lots import largest_market_qty, market_step, smallest_market_qty
from milo.orders.margin import max_leverage
from milo.orders.protection import DEFAULT_STOP_SHARE
from milo.orders.sizing import HEADROOM

_SURE = 1e-9
"""By this share a limit must be kept."""
_ROUNDING = 1e-12
"""So near to a whole number, as a share of it, nothing is rounded here."""
_DIGITS = 1e-15
_HEADROOM = float(HEADROOM)
_MOST = 1e9
_E8 = 10**8
_MOST_E8 = 10**15
"""Below this, a float is the one decimal of 8 places that it was made of."""
_FINEST = Decimal("0.0001")
_MOST_VALUE = 1_000
"""So coarse and so small a percentage or ratio, times a price, has all its digits as a decimal."""


class QuickLevels(NamedTuple):
    """Where stop and target lie, in ticks."""

    stop_ticks: int
    target_ticks: int | None


class QuickSize(NamedTuple):
    """An entry's quantity in steps, and its protection at the price for sizing."""

    steps: int
    levels: QuickLevels


class QuickTerms:
    """One symbol's limits as numbers."""

    def __init__(
        self, instrument: Instrument, brackets: Sequence[LeverageBracket], fees: CommissionRate
    ) -> None:
        tick, step = instrument.tick, market_step(instrument)
        leverages = [bracket.max_leverage for bracket in brackets]
        self.is_usable = (
            tick > 0
            and step > 0
            and all(unit == unit.quantize(CENT_OF_CENT) for unit in (tick, step))
            and leverages == sorted(leverages, reverse=True)
        )
        self.step_as_decimal = step
        self.step_e8, self.tick_e8 = int(step * _E8), int(tick * _E8)
        self.tick, self.step = float(tick), float(step)
        self.taker = float(fees.taker)
        self.top_leverage = max_leverage(brackets)
        self.caps = [(bracket.max_leverage, float(bracket.cap)) for bracket in brackets]
        self.largest = float(largest_market_qty(instrument)) * (1 - _SURE)
        smallest = smallest_market_qty(instrument)
        self.fewest_steps = int(ceil_to(smallest, step) / step) if step else 0
        self.least_notional = float(instrument.min_notional) * (1 + _SURE)
        self.low = float(instrument.min_price) * (1 + _SURE)
        self.high = float(instrument.max_price) * (1 - _SURE) if instrument.max_price else inf
        self.brackets = [(float(b.cap), float(b.maint_ratio), float(b.cum)) for b in brackets]

    def most_notional(self, leverage: int) -> float:
        """Return what the leverage may clearly carry; 0 where it never may."""
        caps = [cap for most, cap in self.caps if most >= leverage]
        return max(caps, default=0.0) * (1 - _SURE)


class QuickSizer:
    """One action on one symbol. Quantities and money are floats, prices where nothing is said."""

    def __init__(self, intent: EntryIntent, terms: QuickTerms) -> None:
        self._intent = intent
        self._sign = intent.direction.sign
        self._has_own_stop = intent.stop is None
        self._risks_to_stop = intent.amount_kind is AmountKind.RISK and intent.stop is not None
        self.leverage = int(intent.leverage)
        distances = (intent.stop, intent.target)
        self.needs_atr = any(d is not None and d.kind is DistanceKind.ATR for d in distances)
        self.step, self.step_e8 = terms.step_as_decimal, terms.step_e8
        self._top_leverage = terms.top_leverage
        self._tick, self._step, self._tick_e8 = terms.tick, terms.step, terms.tick_e8
        self._share = float(intent.amount) / 100
        self._taker = terms.taker
        self._most_notional = terms.most_notional(self.leverage)
        self._largest = terms.largest
        self._fewest_steps, self._least_notional = terms.fewest_steps, terms.least_notional
        self._cost = (1 / self.leverage + self._taker) * _HEADROOM * (1 + _SURE)
        self._low, self._high, self._brackets = terms.low, terms.high, terms.brackets
        self._stop = _Level(intent.stop, intent.direction, self._tick_e8, is_stop=True)
        self._target = _Level(intent.target, intent.direction, self._tick_e8, is_stop=False)
        self._has_target = intent.target is not None
        ratio = intent.reward_ratio
        self._reward = None if ratio is None else float(ratio)
        self._ratio = (0, 1) if ratio is None else ratio.as_integer_ratio()
        self._is_usable = (
            terms.is_usable
            and self.leverage == intent.leverage
            and 1 <= self.leverage <= self._top_leverage
            and self._stop.is_usable
            and self._target.is_usable
            and (ratio is None or _is_coarse(ratio))
        )

    def size(
        self, price: float, equity: float, available: float, atr: float | None
    ) -> QuickSize | None:
        """Return what `size_entry` would, or None where that is not certain."""
        if not self._is_usable or price <= 0 or equity <= 0:
            return None
        price_e8 = round(price * _E8)
        if price_e8 / _E8 != price or price_e8 >= _MOST_E8:
            return None
        doubt = _ROUNDING
        stop_ticks = None
        if self._risks_to_stop:
            stop_ticks = self._on_right_side(self._stop.ticks(price_e8, atr), price_e8)
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
        levels = self._levels(price_e8, rounded, self.leverage, atr, stop_ticks)
        return None if levels is None else QuickSize(steps, levels)

    def plan(
        self, entry_e8: int, qty: float, leverage: int, atr: float | None
    ) -> QuickLevels | None:
        """Return what `plan_protection` would, or None where that is not certain.

        The entry's price is an int e8.
        """
        if not self._is_usable or entry_e8 >= _MOST_E8:
            return None
        return self._levels(entry_e8, qty, leverage, atr, None)

    def _levels(
        self, entry_e8: int, qty: float, leverage: int, atr: float | None, stop_ticks: int | None
    ) -> QuickLevels | None:
        """Return stop and target; `stop_ticks` where the stop of that entry is known already."""
        sign, tick, entry = self._sign, self._tick, entry_e8 / _E8
        is_own = self._has_own_stop
        if is_own:
            stop_ticks = self._default_stop(entry, entry_e8, qty, leverage)
        elif stop_ticks is None:
            stop_ticks = self._on_right_side(self._stop.ticks(entry_e8, atr), entry_e8)
        if stop_ticks is None:
            return None
        stop = stop_ticks * tick
        if not self._low <= stop <= self._high:
            return None
        if not is_own and not self._is_before_liquidation(entry, qty, leverage, stop):
            return None
        if self._reward is not None:
            if is_own:
                value = entry + sign * self._reward * (entry / leverage)
                target_ticks = self._target.rounded(value)
            else:
                (top, bottom), risked = self._ratio, abs(entry_e8 - stop_ticks * self._tick_e8)
                target_ticks = self._target.exactly(entry_e8 * bottom + sign * top * risked, bottom)
        elif self._has_target:
            target_ticks = self._target.ticks(entry_e8, atr)
        else:
            return QuickLevels(stop_ticks, None)
        if target_ticks is None:
            return None
        is_right = target_ticks > 0 and sign * (target_ticks * self._tick_e8 - entry_e8) > 0
        is_inside = self._low <= target_ticks * tick <= self._high
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
        if self._step:
            # Not less than what is left once it is rounded down: `most` is a little too much.
            most = np.floor(most / self._step) * self._step
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

    def _default_stop(self, entry: float, entry_e8: int, qty: float, leverage: int) -> int | None:
        sign = self._sign
        margin = qty * entry * (1 / leverage - sign)
        prices = [(margin + cum) / (qty * (ratio - sign)) for _, ratio, cum in self._brackets]
        liquidation = max(prices) if sign > 0 else min(prices)
        if abs(liquidation) < _SURE * entry:
            return None
        end = max(liquidation, 0.0)
        value = entry + (end - entry) * float(DEFAULT_STOP_SHARE)
        return self._on_right_side(self._stop.rounded(value), entry_e8)

    def _on_right_side(self, stop_ticks: int | None, entry_e8: int) -> int | None:
        if stop_ticks is None or stop_ticks <= 0:
            return None
        distance = self._sign * (entry_e8 - stop_ticks * self._tick_e8)
        return stop_ticks if distance > 0 else None

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
        self, distance: Distance | None, direction: Direction, tick_e8: int, *, is_stop: bool
    ) -> None:
        self._tick_e8 = tick_e8
        # A long's stop lies below the entry: rounding up brings it nearer. Its target: down.
        self._up = int((direction is Direction.LONG) == is_stop)
        sign = -direction.sign if is_stop else direction.sign
        kind = None if distance is None else distance.kind
        value = ZERO if distance is None else distance.value
        self.is_usable = True
        self._fixed: int | None = None
        self._share: tuple[int, int] | None = None
        if kind is DistanceKind.PRICE and tick_e8:
            top, bottom = value.as_integer_ratio()
            self._fixed = self.exactly(top * _E8, bottom)
            self.is_usable = value < _MOST_E8 // _E8
        elif kind is DistanceKind.PERCENT:
            self._share = (1 + sign * value / 100).as_integer_ratio()
            self.is_usable = _is_coarse(value)
        self._reach = sign * float(value)

    def ticks(self, entry_e8: int, atr: float | None) -> int | None:
        if self._share is not None:
            top, bottom = self._share
            return self.exactly(entry_e8 * top, bottom)
        if self._fixed is not None:
            return self._fixed
        return None if atr is None else self.rounded(entry_e8 / _E8 + self._reach * atr)

    def exactly(self, numerator_e8: int, denominator: int) -> int:
        """Return a quotient, a price e8, in ticks."""
        tick = denominator * self._tick_e8
        return -(-numerator_e8 // tick) if self._up else numerator_e8 // tick

    def rounded(self, price: float) -> int | None:
        below = _sure_floor(price * _E8 / self._tick_e8, _ROUNDING)
        return None if below is None else below + self._up


def _is_coarse(value: Decimal) -> bool:
    return value < _MOST_VALUE and value == value.quantize(_FINEST)


def _sure_floor(value: float, doubt: float) -> int | None:
    """Return the whole number below a value; None near a whole number, and below 0."""
    if not 0 <= value < _MOST:
        return None
    whole = int(value)
    margin = (value + 1) * doubt
    return whole if margin < value - whole < 1 - margin else None

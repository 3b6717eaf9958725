"""One slot as it is executed: its position, what waits to be filled, and what comes next (layer 1).

Events of a slot are ordered by (time, phase): a settlement, then what happens at a candle's open,
then what happens within the candle, which is told at its close time, then the decision.
"""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import replace
from decimal import Decimal
from math import inf
from typing import NamedTuple

import numpy as np

from milo.backtest.ledger import Assumptions
from milo.backtest.purse import OpenTrade
from milo.backtest.slot import Settlements, Slot, close_times, settlements_of
from milo.backtest.touch import (
    FinerCandles,
    Levels,
    Met,
    Touch,
    first_hit,
    touch_at_open,
    touch_within,
)
from milo.candles import Floats
from milo.exchange.account import (
    Position,
    bankruptcy_price,
    liquidation_price,
    maintenance_margin,
    notional_of,
)
from milo.exchange.feed import E8
from milo.model import Direction, EntryIntent
from milo.money import from_float
from milo.ta import atr

SETTLEMENT, AT_OPEN, WITHIN, DECISION = range(4)
ATR_PERIOD = 14
_MARGIN_SHARE = 1_000_000
"""So much of the notional is kept between what is surely safe and what is looked at."""


class Event(NamedTuple):
    """The next thing that happens to a slot, and the candle in which it does."""

    time_ms: int
    phase: int
    candle: int


class EntrySize(NamedTuple):
    """A sized entry, and its protection at the price for sizing."""

    qty: int
    """e8."""
    leverage: int
    loss_at_stop: Decimal
    stop_price: Decimal
    target_price: Decimal | None
    notes: tuple[str, ...]


class Pending(NamedTuple):
    """A market order that waits for the next open."""

    candle: int
    """The one at whose open it fills."""
    action: str
    run: int
    closing: int = 0
    """How much of the position it closes, e8."""
    entry: EntryIntent | None = None
    size: EntrySize | None = None
    """None with an `entry`: the entry of a reversal, sized once the position is gone."""


class Lane:
    """A slot's candles and state. `end` is the candle after the last that counts."""

    def __init__(self, slot: Slot, assumptions: Assumptions, first: int, end: int) -> None:
        """Raises ValueError where [first, end) is no part of the candles."""
        candles = slot.candles
        if not 0 <= first <= end <= len(candles):
            raise ValueError(f"{slot.script}: candles {first} to {end} of {len(candles)}")
        self.slot = slot
        self.candles = candles
        self.contract = slot.contract
        self.rules = slot.contract.rules
        self.first = first
        self.end = end
        self.open, self.close = candles.open, candles.close
        self.high, self.low = candles.high, candles.low
        self.open_ms = candles.open_ms
        self.close_ms = close_times(candles.open_ms, slot.interval)
        self.position = Position(slot.symbol)
        self.trade: OpenTrade | None = None
        self.pending: Pending | None = None
        self.levels: Levels | None = None
        self.decided = first
        """The next candle to be decided."""
        self.finer = (
            FinerCandles(slot.finer, assumptions.finer_interval, slot.interval)
            if slot.finer is not None and assumptions.finer_interval is not None
            else None
        )
        self._intrabar = assumptions.intrabar
        self._searched = 0
        self._hit: int | None = None
        self.calm_ms = 0
        """Until then nothing but funding happens to the position, by the last `next_event`."""
        self._most_notional: dict[int, int] = {}
        """Of each leverage that was asked for."""
        self._safe_wallet: int | None = None
        """`safe_wallet` of these levels, once it was asked for."""
        self._inside = -1
        """The candle whose open is over for the position."""
        self.settlements = self._settlements_of(assumptions)
        self._settled = 0
        self._atr: Floats | None = None
        # position changes, for the equity: time, signed quantity, entry price
        self.changes: list[tuple[int, int, int]] = []

    def _settlements_of(self, assumptions: Assumptions) -> Settlements:
        if self.end == self.first:
            return Settlements([], [], [])
        settlements = settlements_of(
            self.slot.funding,
            from_ms=int(self.open_ms[self.first]),
            until_ms=int(self.close_ms[self.end - 1]),
            assumed_e8=round(assumptions.funding_rate * E8),
        )
        times = np.array(settlements.times_ms, np.int64)
        rows = np.searchsorted(self.open_ms, times, side="right") - 1
        # In a gap of the recording the price stands still since the candle before.
        marks = np.where(times <= self.close_ms[rows], self.open[rows], self.close[rows])
        marks_e8 = [round(mark * E8) for mark in marks.tolist()]
        return replace(settlements, rows=rows.tolist(), marks_e8=marks_e8)

    # --- the position -------------------------------------------------------------------------

    @property
    def held(self) -> Direction | None:
        return None if self.trade is None else self.trade.direction

    @property
    def is_entering(self) -> bool:
        return self.pending is not None and self.pending.entry is not None

    def begin(self, trade: OpenTrade, *, is_at_close: bool) -> None:
        """Follow a position that was opened at the open or the close of its entry's candle."""
        self.trade = trade
        self._settled = bisect_right(self.settlements.times_ms, trade.entry_ms)
        self._inside = -1 if is_at_close else trade.entry_index
        self._note_change(trade.entry_ms)
        self._set_levels(trade.entry_index + is_at_close, trade.liquidation)

    def _look_again(self, start: int) -> None:
        """Work out what the position waits for, from candle `start` on."""
        self._set_levels(start, liquidation_price(self.position, self.rules))

    def _set_levels(self, start: int, liquidation: int) -> None:
        trade = self.trade
        assert trade is not None
        sign = 1 if self.position.qty > 0 else -1
        target = trade.target_price
        levels = Levels(
            sign,
            float(trade.stop_price),
            sign * inf if target is None else float(target),
            liquidation / E8 if liquidation else -sign * inf,
        )
        before = self.levels
        if before is None or before.adverse != levels.adverse:
            self._searched = start
            self._hit = None
        self.levels = levels
        self._safe_wallet = None

    def safe_wallet(self) -> int | None:
        """Return what the isolated wallet must exceed for the stop to lie clearly before the
        liquidation price; None where it does not.

        While it does, nobody needs to know that price.
        """
        position, levels = self.position, self.levels
        assert levels is not None
        if not levels.is_stop_first:
            return None
        if self._safe_wallet is None:
            stop = round(levels.adverse * E8)
            notional = notional_of(stop, position.qty)
            needed = maintenance_margin(notional, self.rules.bracket_of(notional))
            kept = notional // _MARGIN_SHARE + 1
            self._safe_wallet = needed - position.unrealized(stop) + kept
        return self._safe_wallet

    def note_reduced(self, time_ms: int, index: int) -> None:
        """Follow a position that was closed in part, or ended."""
        self._note_change(time_ms)
        if self.position.qty:
            self._look_again(index)
        else:
            self.trade = None
            self.levels = None
            self._hit = None

    def _note_change(self, time_ms: int) -> None:
        self.changes.append((time_ms, self.position.qty, self.position.entry_e16))

    # --- what comes next ----------------------------------------------------------------------

    def next_event(self, until: int) -> Event | None:
        """Return what happens next to the account, in candles up to and including `until`."""
        event: Event | None = None
        pending = self.pending
        if pending is not None:
            if pending.candle <= until and pending.candle < self.end:
                event = Event(self.open_ms.item(pending.candle), AT_OPEN, pending.candle)
        elif self.trade is not None:
            event = self._next_touch(until)
        last = min(until, self.end - 1)
        self.calm_ms = self.close_ms.item(last) if event is None else event.time_ms
        if self.trade is not None and self._settled < len(self.settlements.times_ms):
            due_ms = self.settlements.times_ms[self._settled]
            if event is None or due_ms <= event.time_ms:
                row = self.settlements.rows[self._settled]
                if row <= until and row < self.end:
                    return Event(due_ms, SETTLEMENT, row)
        return event

    def _next_touch(self, until: int) -> Event | None:
        assert self.levels is not None
        if self._hit is None:
            end = min(until + 1, self.end)
            if self._searched >= end:
                return None
            index = first_hit(self.low, self.high, self._searched, end, self.levels)
            self._searched = index
            if index == end:
                return None
            self._hit = index
        index = self._hit
        if index > until:
            return None
        if index != self._inside and self.touch_at_open(index) is not None:
            return Event(self.open_ms.item(index), AT_OPEN, index)
        return Event(self.close_ms.item(index), WITHIN, index)

    def touch_at_open(self, index: int) -> Touch | None:
        """Return what the open of a candle meets, coming from the candle before."""
        levels, price = self.levels, self.open.item(index)
        assert levels is not None
        if levels.sign * (price - levels.adverse) <= 0:
            # Beyond the bankruptcy price no order has time to fill before the liquidation.
            bankruptcy = bankruptcy_price(self.position)
            if bankruptcy and levels.sign * (price - bankruptcy / E8) <= 0:
                return Touch(Met.LIQUIDATION, price, True, is_gap=True)
        return touch_at_open(price, levels)

    def touch_within(self, index: int) -> Touch:
        """Return what a candle that meets a level meets first."""
        assert self.levels is not None
        return touch_within(self.candles, index, self.levels, self._intrabar, self.finer)

    def due_until(self, time_ms: int) -> range:
        """Return the places in `settlements` of those that are due until a time."""
        times_ms = self.settlements.times_ms
        return range(self._settled, bisect_right(times_ms, time_ms, self._settled))

    def note_settled(self, until: int) -> None:
        """Note that all settlements before the place `until` are done, the levels before the last
        one still standing."""
        self._settled = until
        index, time_ms = self.settlements.rows[until - 1], self.settlements.times_ms[until - 1]
        if time_ms > self.close_ms.item(index):
            index += 1
        elif time_ms > self.open_ms.item(index):
            self._inside = index
        kept = self.safe_wallet()
        if kept is None or self.position.wallet <= kept:
            self._look_again(index)

    def pass_open(self, index: int) -> None:
        """Note that the open of a candle is over for the position."""
        self._inside = index

    # --- prices -------------------------------------------------------------------------------

    def last_opened(self, time_ms: int) -> int:
        """Return the last candle that has opened at a time; before the first one: -1."""
        return int(self.open_ms.searchsorted(time_ms, side="right")) - 1

    def price_at(self, time_ms: int) -> Decimal:
        """Return the last price that is known at a time; the first open before all candles."""
        index = max(0, self.last_opened(time_ms))
        is_closed = self.close_ms.item(index) <= time_ms
        return from_float((self.close if is_closed else self.open).item(index))

    def atr_at(self, index: int) -> float | None:
        """Return ATR(14) of a closed candle; None before there are enough."""
        value: float = self.atrs.item(index)
        return value if value == value else None

    @property
    def atrs(self) -> Floats:
        """ATR(14) of every candle; NaN before there are enough."""
        if self._atr is None:
            self._atr = atr(self.high, self.low, self.close, ATR_PERIOD)
        return self._atr

    def max_notional(self, leverage: int) -> int:
        """Return the largest notional that the leverage may carry, e8."""
        most = self._most_notional.get(leverage)
        if most is None:
            most = self._most_notional[leverage] = self.rules.max_notional(leverage)
        return most

    def fill_price(self, price: float, sign: int, slippage: int) -> int:
        """Return at which price a market order fills, e8: `sign` +1 buys, -1 sells.

        Slippage (e8) moves it against the order, on to the next tick; without it the price is the
        candle's own.
        """
        price_e8 = round(price * E8)
        if not slippage:
            return price_e8
        tick = self.rules.shown_tick
        moved = price_e8 * (E8 + sign * slippage)
        if sign > 0:
            return -(-moved // (E8 * tick)) * tick
        return max(moved // (E8 * tick) * tick, tick)

"""Where the price path meets orders: levels, crossings, and what is marketable. Pure.

Within a candle the price moves continuously from point to point, so that a level between two
points is met at its own price; from one candle's close to the next open it jumps, and every level
in between is met at the open. A touch is a hit.
"""

from __future__ import annotations

from typing import NamedTuple

from milo.exchange.feed import E8
from milo.exchange.state import Algo, Order
from milo.model import OrderType, Side

_PERCENT = 100


class Level(NamedTuple):
    """A price that something waits for: from below (`is_up`) or from above."""

    price: int
    is_up: bool

    def is_met_at(self, price: int) -> bool:
        return price >= self.price if self.is_up else price <= self.price

    def distance(self, start: int, end: int) -> int | None:
        """Return how far along the path from `start` to `end` it is met; None where it is not."""
        if self.is_met_at(start):
            return 0
        return abs(self.price - start) if self.is_met_at(end) else None


def is_marketable(side: Side, price: int, last: int) -> bool:
    """Return whether a limit order would trade at once.

    The best prices stand one tick off the last price; an order at the last price itself rests.
    """
    return price > last if side is Side.BUY else price < last


def order_level(order: Order) -> Level:
    """Return where a resting limit order fills."""
    return Level(order.price, is_up=order.side is Side.SELL)


def trigger_level(algo: Algo) -> Level | None:
    """Return where a conditional order fires; None for a trailing stop that is not active yet."""
    if algo.is_trailing:
        return _trailing_level(algo)
    is_up = (algo.side is Side.BUY) == algo.is_stop
    return Level(algo.trigger_price, is_up)


def would_trigger_now(algo: Algo, last: int) -> bool:
    """Return whether the exchange refuses it with -2021: its condition holds already.

    A trailing stop must be activated at a price that the market has yet to reach.
    """
    if algo.is_trailing:
        if not algo.activate_price:
            return False
        is_sell = algo.side is Side.SELL
        return algo.activate_price <= last if is_sell else algo.activate_price >= last
    level = trigger_level(algo)
    return level is not None and level.is_met_at(last)


def trail(algo: Algo, price: int) -> bool:
    """Let a trailing stop see a price; return whether it became active by it."""
    is_sell = algo.side is Side.SELL
    was_activated = algo.is_activated
    if not was_activated:
        reached = price >= algo.activate_price if is_sell else price <= algo.activate_price
        if not reached:
            return False
        algo.is_activated = True
        algo.extreme = price
    algo.extreme = max(algo.extreme, price) if is_sell else min(algo.extreme, price)
    return not was_activated


def _trailing_level(algo: Algo) -> Level | None:
    if not algo.is_activated:
        return None
    give_back = algo.extreme * algo.callback_rate // (E8 * _PERCENT)
    if algo.side is Side.SELL:
        return Level(algo.extreme - give_back, is_up=False)
    return Level(algo.extreme + give_back, is_up=True)


def triggered_type(algo: Algo) -> OrderType:
    """Return the type of the regular order that a conditional one becomes."""
    if algo.type in (OrderType.STOP, OrderType.TAKE_PROFIT):
        return OrderType.LIMIT
    return OrderType.MARKET

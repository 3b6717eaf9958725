"""The readable lines about trades, made from the book's values. Pure."""

from __future__ import annotations

from decimal import Decimal

from milo.commands import Trade
from milo.money import decimals_of, plain, shown
from milo.orders.book import OpenTrade


def entry_line(trade: OpenTrade, tick: Decimal) -> str:
    """Return `long 0.065 @ 95,502.7 (10x, margin 620.77 USDT)  stop ...  target ...`."""
    places = decimals_of(tick)
    margin = trade.qty * trade.entry_price / trade.leverage
    parts = [
        f"{trade.direction} {plain(trade.qty)} @ {shown(trade.entry_price, places)} "
        f"({trade.leverage}x, margin {shown(margin)} USDT)"
    ]
    if trade.stop_price is not None:
        word = " confirmed" if trade.is_stop_confirmed else " not confirmed"
        parts.append(f"stop {_level(trade, trade.stop_price, places)}{word}")
    if trade.target_price is not None:
        parts.append(f"target {_level(trade, trade.target_price, places)}")
    return "  ".join(parts)


def exit_line(trade: Trade, tick: Decimal) -> str:
    """Return `long 0.065 closed @ 93,592.7 by stop: -131.40 USDT (fees 6.15)`."""
    places = decimals_of(tick)
    price = "?" if trade.exit_price is None else shown(trade.exit_price, places)
    sign = "+" if trade.profit >= 0 else ""
    costs = f"fees {shown(trade.fees)}"
    if trade.funding:
        costs += f", funding {shown(trade.funding)}"
    return (
        f"{trade.direction} {plain(trade.qty)} closed @ {price} by {trade.reason}: "
        f"{sign}{shown(trade.profit)} USDT ({costs})"
    )


def _level(trade: OpenTrade, price: Decimal, places: int) -> str:
    percent = (price / trade.entry_price - 1) * 100
    return f"{shown(price, places)} ({percent:+.2f} %)"

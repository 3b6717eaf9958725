"""The trade list: rows of what is still open. Pure. Closed rows come as RecordTrade commands."""

from __future__ import annotations

from milo.commands import Trade
from milo.money import ZERO
from milo.orders.book import Book, OpenTrade


def open_rows(book: Book) -> tuple[Trade, ...]:
    """Return one row for each open position; its profit is what is realised so far."""
    return tuple(_row(symbol, trade) for symbol, trade in book.open_trades())


def _row(symbol: str, trade: OpenTrade) -> Trade:
    pending_fees = sum((part.fees for part in trade.exits.values()), ZERO)
    pending_profit = sum((part.realized for part in trade.exits.values()), ZERO)
    pending_qty = sum((part.qty for part in trade.exits.values()), ZERO)
    fees = trade.fees + pending_fees
    return Trade(
        symbol=symbol,
        script=trade.script,
        direction=trade.direction,
        qty=trade.qty + pending_qty,
        entry_ms=trade.entry_ms,
        entry_price=trade.entry_price,
        exit_ms=None,
        exit_price=None,
        reason=None,
        fees=fees,
        funding=trade.funding,
        profit=trade.realized + pending_profit - fees + trade.funding,
    )

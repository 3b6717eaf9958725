"""What the report's page draws from: columns of numbers as JSON values (layer 1).

Columns are base64 of float32, or float64 where their name ends in 64. A million candles become
buckets of several, so that a page stays at a few MB.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from typing import Any

import numpy as np

from milo.backtest.buckets import buckets_of, float32_text, float64_text
from milo.backtest.curve import drawdowns
from milo.backtest.ledger import Ledger, Trade
from milo.backtest.stats import equity_curve
from milo.backtest.wording import Report, price_places
from milo.candles import Candles
from milo.intervals import INTERVAL_MS
from milo.model import ExitReason
from milo.shown import shown_line

MAX_TRADES = 15_000
"""A page lists and draws the newest ones; the rest is in the JSON."""
EQUITY_BUCKETS = 16_000
PRICE_BUCKETS = 24_000
"""Of all symbols together."""


def page_content(report: Report, candles: Mapping[tuple[str, str], Candles]) -> dict[str, Any]:
    """Return what the page's JavaScript reads; `candles` by symbol and interval.

    A market of the description without candles is not drawn.
    """
    ledger, description = report.ledger, report.description
    trades = ledger.trades[-MAX_TRADES:]
    drawn = [
        market for market in description.markets if (market.symbol, market.interval) in candles
    ]
    symbols = _distinct([market.symbol for market in drawn] + [trade.symbol for trade in trades])
    scripts = _distinct([trade.script for trade in trades])
    most = PRICE_BUCKETS // max(1, len(drawn))
    return {
        "startMs": report.stats.start_ms,
        "endMs": max(report.stats.end_ms, report.stats.start_ms),
        "stepMs": min((INTERVAL_MS[market.interval] for market in description.markets), default=1),
        "startBalance": float(report.stats.start_balance),
        "symbols": [shown_line(symbol) for symbol in symbols],
        "decimals": [price_places(description, trades, symbol) for symbol in symbols],
        "scripts": [shown_line(script) for script in scripts],
        "reasons": [str(reason) for reason in ExitReason],
        "tradesBefore": len(ledger.trades) - len(trades),
        "equity": _equity(ledger, report.stats.start_ms),
        "markets": [
            {
                "symbol": shown_line(market.symbol),
                "interval": market.interval,
                "decimals": price_places(description, trades, market.symbol),
                "columns": _price(candles[market.symbol, market.interval], most),
            }
            for market in drawn
        ],
        "trades": _trades(trades, symbols, scripts),
    }


def _equity(ledger: Ledger, start_ms: int) -> dict[str, str]:
    falls = drawdowns(equity_curve(ledger, start_ms))
    cut = buckets_of(len(ledger.equity), EQUITY_BUCKETS)
    return {
        "time64": float64_text(cut.last(ledger.times_ms)),
        "low": float32_text(cut.lowest(ledger.equity)),
        "high": float32_text(cut.highest(ledger.equity)),
        "last": float32_text(cut.last(ledger.equity)),
        "fall": float32_text(cut.lowest(falls) * 100),
    }


def _price(candles: Candles, most: int) -> dict[str, str]:
    cut = buckets_of(len(candles), most)
    return {
        "time64": float64_text(cut.first(candles.open_ms)),
        "open": float32_text(cut.first(candles.open)),
        "high": float32_text(cut.highest(candles.high)),
        "low": float32_text(cut.lowest(candles.low)),
        "close": float32_text(cut.last(candles.close)),
    }


def _trades(
    trades: Sequence[Trade], symbols: Sequence[str], scripts: Sequence[str]
) -> dict[str, str]:
    reasons = list(ExitReason)

    def column(value: Callable[[Trade], float | Decimal | None]) -> np.ndarray[Any, Any]:
        return np.array(
            [np.nan if (found := value(trade)) is None else float(found) for trade in trades],
            dtype=np.float64,
        )

    return {
        "entryMs64": float64_text(column(lambda trade: trade.entry_ms)),
        "exitMs64": float64_text(column(lambda trade: trade.exit_ms)),
        "entry64": float64_text(column(lambda trade: trade.entry_price)),
        "exit64": float64_text(column(lambda trade: trade.exit_price)),
        "qty": float32_text(column(lambda trade: trade.qty)),
        "net": float32_text(column(lambda trade: trade.net)),
        "r": float32_text(column(lambda trade: trade.r_multiple)),
        "stop": float32_text(column(lambda trade: trade.stop_price)),
        "target": float32_text(column(lambda trade: trade.target_price)),
        "isLong": float32_text(column(lambda trade: trade.direction.sign > 0)),
        "reason": float32_text(column(lambda trade: reasons.index(trade.exit_reason))),
        "flags": float32_text(column(_flags)),
        "symbol": float32_text(column(lambda trade: symbols.index(trade.symbol))),
        "script": float32_text(column(lambda trade: scripts.index(trade.script))),
    }


def _flags(trade: Trade) -> int:
    flags = (trade.is_ambiguous, trade.is_gap, trade.is_extreme, trade.is_open)
    return sum(is_set << place for place, is_set in enumerate(flags))


def _distinct(names: Sequence[str]) -> list[str]:
    return list(dict.fromkeys(names))

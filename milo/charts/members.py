"""The members of the chart's answers that do not depend on candles, as JSON items (pure)."""

from __future__ import annotations

from decimal import Decimal
from typing import Final

import numpy as np
from numpy.typing import NDArray

from milo.charts.overlays import Item
from milo.charts.snapshot import ChartPosition, ChartSnapshot, LogLine, RunNumbers, TradeMark
from milo.charts.trail import Said
from milo.intervals import INTERVAL_MS
from milo.money import plain

MAX_TRADES: Final = 1_000
MAX_LOG_LINES: Final = 200
_MAX_TEXT: Final = 2_000
_MOST_PRINTS: Final = 20


def meta_item(snapshot: ChartSnapshot, limit: int) -> Item:
    script = snapshot.script
    return {
        "symbol": snapshot.symbol,
        "interval": snapshot.interval,
        "intervalMs": INTERVAL_MS[snapshot.interval],
        "limit": limit,
        "symbols": snapshot.symbols,
        "intervals": snapshot.intervals,
        "venue": snapshot.venue,
        "title": snapshot.title,
        "isSimulated": snapshot.is_simulated,
        "isReal": snapshot.is_real,
        "unisolated": None if snapshot.unisolated is None else shown_text(snapshot.unisolated),
        "clock": iso_ms(snapshot.clock_ms),
        "clockSpeed": snapshot.clock_speed,
        "marketAgeMs": snapshot.market_age_ms,
        "priceDecimals": snapshot.price_decimals,
        "state": snapshot.state,
        "alert": None if snapshot.alert is None else shown_text(snapshot.alert),
        "script": None
        if script is None
        else {
            "name": shown_text(script.name),
            "symbol": script.symbol,
            "interval": script.interval,
            "lastAction": None if script.last_action is None else shown_text(script.last_action),
            "lastCondition": script.last_condition,
        },
        "run": _numbers(snapshot.numbers),
    }


def position_item(position: ChartPosition | None) -> Item | None:
    if position is None:
        return None
    return {
        "direction": position.direction,
        "quantity": plain(position.qty),
        "entryPrice": plain(position.entry_price),
        "stopPrice": _number(position.stop_price),
        "targetPrice": _number(position.target_price),
        "liquidationPrice": _number(position.liquidation_price),
        "leverage": position.leverage,
        "unrealized": _number(position.unrealized),
        "openTime": None if position.opened_ms is None else iso_ms(position.opened_ms),
    }


def trade_item(mark: TradeMark) -> Item:
    return {
        "time": iso_ms(mark.time_ms),
        "kind": mark.kind,
        "side": mark.side,
        "price": plain(mark.price),
        "quantity": plain(mark.qty),
        "reason": mark.reason,
        "profit": _number(mark.profit),
    }


def log_item(line: LogLine) -> Item:
    return {"time": iso_ms(line.time_ms), "kind": line.kind, "text": shown_text(line.text)}


def said_item(said: Said) -> Item:
    """Return what a script said on one candle; its texts are a stranger's."""
    result = said.result
    return {
        "openMs": said.open_ms,
        "isForming": said.is_forming,
        "condition": result.condition,
        "action": shown_text(result.action),
        "plots": [[shown_text(p.name), shown_text(p.pane), p.value] for p in result.plots],
        "marks": [shown_text(text) for text in result.marks],
        "prints": [shown_text(text) for text in result.prints[:_MOST_PRINTS]],
        "warnings": [shown_text(text) for text in result.warnings],
    }


def shown_text(text: str) -> str:
    """Return untrusted text at a bounded length and without what UTF-8 cannot carry."""
    shown = text if len(text) <= _MAX_TEXT else text[:_MAX_TEXT] + "…"
    return shown.encode("utf-8", "replace").decode("utf-8")


def _numbers(numbers: RunNumbers) -> Item:
    return {
        "startBalance": _number(numbers.start_balance),
        "walletBalance": _number(numbers.wallet_balance),
        "availableBalance": _number(numbers.available_balance),
        "unrealized": _number(numbers.unrealized),
        "profit": _number(numbers.profit),
        "closedTrades": numbers.closed_trades,
        "candles": numbers.candles,
        "evaluations": numbers.evaluations,
        "signals": numbers.signals,
        "scriptErrors": numbers.script_errors,
    }


def _number(value: Decimal | None) -> str | None:
    return None if value is None else plain(value)


def iso_ms(time_ms: int) -> str:
    """Return `2026-01-12T09:00:00Z` for ms UTC, with `.123` only where there are odd ms."""
    return iso_column(np.array([time_ms], dtype=np.int64))[0]


def iso_column(times_ms: NDArray[np.int64]) -> list[str]:
    moments = times_ms.astype("datetime64[ms]")
    has_odd_ms = bool(np.any(times_ms % 1000))
    texts: list[str] = np.datetime_as_string(moments, unit="ms" if has_odd_ms else "s").tolist()
    return [f"{text}Z" for text in texts]

"""A small market for the chart's tests: a ChartSource that the test moves by hand.

Run as a program, it prints the overlays of its candles: `tests/golden/chart_overlays.json`.
"""

from __future__ import annotations

import asyncio
import dataclasses
import json
import math
import random
from decimal import Decimal
from typing import Any

from milo.candles import Candles
from milo.charts.series import SeriesEncoder
from milo.charts.snapshot import (
    ChartPosition,
    ChartScript,
    ChartSnapshot,
    LogKind,
    LogLine,
    MarkKind,
    RunNumbers,
    RunState,
    TradeMark,
)
from milo.charts.views import SeriesViews
from milo.errors import ConfigError, EngineError
from milo.model import Candle, Direction, ExitReason, Side

HOUR_MS = 3_600_000
START_MS = 1_767_225_600_000
"""2026-01-01 00:00 UTC."""
HOSTILE_TEXT = "<img src=x onerror=alert(1)><script>document.title='owned'</script>"


def walk(count: int, *, price: float = 30_000.0, decimals: int = 1, seed: int = 1) -> Candles:
    """Return candles of a random walk, rounded so that every platform gets the same."""
    rng = random.Random(seed)
    rows = []
    for index in range(count):
        opened = price
        price *= 1.0 + 0.008 * math.sin(index / 2.5) + rng.uniform(-0.009, 0.009)
        high = max(opened, price) * (1.0 + rng.uniform(0.0, 0.003))
        low = min(opened, price) * (1.0 - rng.uniform(0.0, 0.003))
        values = (round(value, decimals) for value in (opened, high, low, price))
        rows.append((START_MS + index * HOUR_MS, *values, round(rng.uniform(5.0, 90.0), 3)))
    return Candles.from_rows(rows)


def after(candles: Candles, close: float) -> Candle:
    """Return a candle that follows the last one and moves from its close to `close`."""
    last = candles.candle(-1)
    low, high = sorted((last.close, close))
    return Candle(last.open_ms + HOUR_MS, last.close, high, low, close, 12.5)


def snapshot_of(candles: Candles, **changes: Any) -> ChartSnapshot:
    """Return a snapshot of a simulated BTCUSDT 1h; `changes` replace its members."""
    last_ms = int(candles.open_ms[-1]) if len(candles) else START_MS
    snapshot = ChartSnapshot(
        symbol="BTCUSDT",
        interval="1h",
        symbols=("BTCUSDT", "ETHUSDT"),
        intervals=("1h", "4h"),
        venue="sim-seed-1",
        title="simulated market (seed 1)",
        is_simulated=True,
        clock_ms=last_ms + HOUR_MS + 600_000,
        clock_speed=1.0,
        market_age_ms=200,
        price_decimals=1,
        candles=candles,
        state=RunState.RUNNING,
        script=ChartScript(name="macd_crossover", symbol="BTCUSDT", interval="1h"),
        numbers=RunNumbers(wallet_balance=Decimal(10_000), candles=12, evaluations=12),
    )
    return dataclasses.replace(snapshot, **changes)


def long_position(candles: Candles) -> ChartPosition:
    """Return a long position that was opened six candles ago, at that candle's close."""
    candle = candles.candle(-6)
    entry = Decimal(str(candle.close))
    return ChartPosition(
        direction=Direction.LONG,
        qty=Decimal("0.053"),
        entry_price=entry,
        opened_ms=candle.open_ms + 5,
        stop_price=round(entry * Decimal("0.99"), 1),
        target_price=round(entry * Decimal("1.01"), 1),
        liquidation_price=round(entry * Decimal("0.9"), 1),
        leverage=10,
        unrealized=Decimal("-12.345"),
    )


def round_trip(candles: Candles) -> tuple[TradeMark, ...]:
    """Return an entry and an exit with profit, within the newest candles."""
    entry, leave = candles.candle(-20), candles.candle(-12)
    return (
        TradeMark(
            time_ms=entry.open_ms + 1,
            kind=MarkKind.ENTRY,
            side=Side.BUY,
            price=Decimal(str(entry.close)),
            qty=Decimal("0.05"),
        ),
        TradeMark(
            time_ms=leave.open_ms + 1,
            kind=MarkKind.EXIT,
            side=Side.SELL,
            price=Decimal(str(leave.close)),
            qty=Decimal("0.05"),
            reason=ExitReason.TARGET,
            profit=Decimal("12.3456"),
        ),
    )


def line(text: str, kind: LogKind = LogKind.PRINT) -> LogLine:
    return LogLine(time_ms=START_MS, kind=kind, text=text)


class ChartMarket:
    """A ChartSource whose snapshot the test sets; it may also be slow or fail."""

    def __init__(self, snapshot: ChartSnapshot) -> None:
        self.now = snapshot
        self.asked = 0
        self.was_asked = asyncio.Event()
        self.failure: EngineError | None = None
        self.blocker: asyncio.Event | None = None
        """Answers wait for it where it is set."""

    def change(self, **changes: Any) -> None:
        self.now = dataclasses.replace(self.now, **changes)

    def close_candle(self, close: float) -> None:
        """Close a candle at that price; no candle is forming afterwards."""
        candles = self.now.candles
        self.change(candles=candles.appended(after(candles, close)), forming=None)

    def form_candle(self, close: float) -> None:
        self.change(forming=after(self.now.candles, close))

    async def snapshot(self, symbol: str | None, interval: str | None) -> ChartSnapshot:
        self.asked += 1
        self.was_asked.set()
        if self.blocker is not None:
            await self.blocker.wait()
        if self.failure is not None:
            raise self.failure
        if symbol not in (None, *self.now.symbols):
            raise ConfigError(f"unknown symbol {symbol}: did you mean BTCUSDT?")
        if interval not in (None, *self.now.intervals):
            raise ConfigError(f"unknown interval {interval}")
        return dataclasses.replace(
            self.now, symbol=symbol or self.now.symbol, interval=interval or self.now.interval
        )


def golden_overlays() -> dict[str, Any]:
    """Return the overlays of 160 candles, floats at 9 digits."""
    snapshot = snapshot_of(walk(160))
    view = SeriesViews("golden").of(snapshot)
    answer = json.loads(SeriesEncoder().body(snapshot, view))
    return {name: _rounded(answer[name]) for name in ("zigzag", "divergences")}


def _rounded(items: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [
        {key: round(value, 9) if isinstance(value, float) else value for key, value in item.items()}
        for item in items
    ]


if __name__ == "__main__":
    print(json.dumps(golden_overlays(), indent=1))

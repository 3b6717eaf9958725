"""`--print-indicators`: every indicator on the newest closed candle."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from milo.candles import Candles
from milo.cli import backfill
from milo.cli.context import App
from milo.cli.venue import Purpose, open_venue
from milo.clock import iso_minute
from milo.errors import EngineError
from milo.ta import INDICATORS, IndicatorSpec, Returns

RSI_PERIOD = 14
DIVERGENCES_SHOWN = 3


async def run(app: App) -> int:
    """Print one line an indicator for --symbol and --interval."""
    symbol, interval = app.config.only_symbol, app.config.interval[0]
    async with open_venue(app, Purpose(timeframe=interval)) as venue:
        await venue.instrument(symbol)
        await backfill.fill(venue, symbol, interval, count=app.config.history)
        candles = await backfill.load(venue, symbol, interval, count=app.config.history)
        title = venue.title
    if not len(candles):
        raise EngineError(f"no closed {interval} candles of {symbol} yet")
    newest = candles.candle(len(candles) - 1)
    app.console.say(
        f"{symbol} {interval}, {title}: candle of {iso_minute(newest.open_ms)} UTC, "
        f"{len(candles):,} candles"
    )
    app.console.say(
        f"open {newest.open:.10g}  high {newest.high:.10g}  low {newest.low:.10g}  "
        f"close {newest.close:.10g}  volume {newest.volume:.10g}"
    )
    for line in await indicator_lines(app.make.indicators(), candles):
        app.console.say(line)
    return 0


async def indicator_lines(indicators: Any, candles: Candles) -> list[str]:
    """Return a line for each indicator that takes candles, then swings and divergences."""
    lines = []
    for spec in INDICATORS:
        if spec.takes_candles and spec.returns in (Returns.SERIES, Returns.TUPLE, Returns.LAST):
            arguments = spec.typical_arguments()
            answer = await getattr(indicators, spec.name)(candles, *arguments)
            lines.append(_line(spec, arguments, answer))
    points = await indicators.calculate_zigzag(candles)
    swings = await indicators.classify_swing_points(points, candles)
    shown = "  ".join(f"{p['label']} {p['value']:.10g}" for p in swings[-5:])
    lines.append(f"{'classify_swing_points':<28} {shown or '-'}")
    rsi = await indicators.calculate_rsi(candles, RSI_PERIOD)
    found = await indicators.detect_divergences(rsi, points, candles)
    for item in found[-DIVERGENCES_SHOWN:]:
        end = iso_minute(int(candles.open_ms[item["endIndex"]]))
        state = "confirmed" if item["confirmed"] else "provisional"
        lines.append(f"{'detect_divergences':<28} {item['type']} ending {end}, {state}")
    return lines


def _line(spec: IndicatorSpec, arguments: Sequence[float | None], answer: Any) -> str:
    name = spec.name + "(" + ", ".join(f"{a:g}" for a in arguments if a is not None) + ")"
    match spec.returns:
        case Returns.TUPLE:
            values = [series[-1] for series in answer]
        case Returns.LAST:
            values = [answer]
        case _:
            values = [answer[-1]]
    shown = "  ".join(
        f"{label} {float(value):.10g}" for label, value in zip(spec.outputs, values, strict=True)
    )
    return f"{name:<28} {shown}"
